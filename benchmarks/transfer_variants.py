"""What matters in a transfer: LoRA's rank, the parts, rates and passes, the source's classes.

    python -m benchmarks.transfer_variants [TASK ...]     (all tasks when none is named)

`transfer-ranks` fine-tunes the mini-ALBERT from imdb to kitchen in full and by LoRA of several
ranks. `transfer-parts-SOURCE-TARGET` gives a TextCNN only the source's word vectors, or only its
filters. `transfer-rates-SOURCE-TARGET-FAMILY` goes step by step from fine-tuning at rates that fall
towards the input to that with the rate and passes of *from scratch*. All with 500 labels.
`transfer-balanced-SOURCE-TARGET` gives NB-SVM, with 100, a source with as many texts of each class,
and one of as many in the old shares. Sources, labels and what is scored are as in
`benchmarks.transfer`. Writes book/results/TASK.json as soon as a task is done; what was stopped
goes on at the same commit.
"""

import copy
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import HALF_DONE, chosen, finish, with_ends
from benchmarks.families import FAMILIES, Family
from benchmarks.transfer import AT, DOMAINS, SEEDS, Domain, Source, recorder
from tutorial_lib import evaluation, lora, transfer
from tutorial_lib import transfer_probes as tp
from tutorial_lib.baselines import nbsvm
from tutorial_lib.results import Recorder
from tutorial_lib.transfer_probes import Texts

LABELS = 500
PAIRS = (("ag-news", "medical"), ("finance", "kitchen"), ("imdb", "kitchen"))
RANKS = (1, 2, 4, 8, 16, 32)
PARTS = {
    "nothing": (), "word vectors": ("embeddings",), "filters": ("convolutions",),
    "both": ("embeddings", "convolutions"),
}  # fmt: skip
Ways = Callable[[Family, Source, Texts, int, int], Iterator[tuple[str, nn.Module, int]]]


def variants(
    task: str, title: str, names: tuple[str, str], kind: str, ways: Ways, **more: Any
) -> Recorder:
    """Measure ways to carry one source over with 500 labels, each beside the first of them.

    Args:
        ways: gives of each way its name, the trained model and how many parameters it trained.
    """
    source, target = (Domain.read(name) for name in names)
    family = FAMILIES[kind]
    record = recorder(
        task,
        f"{family.title}, {title}",
        names,
        family,
        [LABELS],
        module="benchmarks.transfer_variants",
        **more,
    )
    truth, classes = target.score.labels, len(target.classes)
    for seed in record.left(SEEDS, HALF_DONE):
        with record.measure(seed) as run:
            learned, texts = Source(family, source, target, seed), target.learn.few(LABELS, seed)
            first, others = "", None
            for name, model, trained in ways(family, learned, texts, classes, seed):
                says = tp.answers(model, target.score, learned.encode)
                run.metrics[f"{name}, accuracy"] = float((says == truth).mean())
                run.metrics[f"{name}, trained parameters"] = trained
                if others is None:
                    first, others = name, says
                else:
                    gap = evaluation.paired_bootstrap(truth, says, others, classes)
                    run.metrics |= with_ends(f"{name} minus {first}", gap)
            record.parameters = sum(p.numel() for p in model.parameters())
    return record


def ranks(
    family: Family, learned: Source, texts: Texts, classes: int, seed: int
) -> Iterator[tuple[str, nn.Module, int]]:
    """Fine-tune in full, then by LoRA of each rank."""
    for rank in (0, *RANKS):
        model = copy.deepcopy(learned.model)
        way, lr = ("lora", 2 * family.tuned) if rank else ("full", family.tuned)
        decay = 1.0 if rank else family.decay
        tp.learn(model, texts, learned.encode, way, lr=lr, decay=decay, seed=seed, rank=rank or 1)
        everything = sum(p.numel() for p in learned.model.parameters())
        trained = lora.size(learned.model, rank) if rank else everything
        yield f"rank {rank}" if rank else "full", model, trained


def parts(
    family: Family, learned: Source, texts: Texts, classes: int, seed: int
) -> Iterator[tuple[str, nn.Module, int]]:
    """Carry over only a part of a TextCNN; train all of it, as from scratch.

    Each has the words of both domains and a new head.
    """
    for name, prefixes in PARTS.items():
        torch.manual_seed(seed)
        model = family.start(learned.model.embeddings[0].num_embeddings, classes)
        state = learned.model.state_dict().items()
        carried = {key: value for key, value in state if key.startswith(prefixes)}
        model.load_state_dict(carried, strict=False)
        epochs = 2 * tp.passes(len(texts.labels))
        tp.learn(model, texts, learned.encode, lr=family.lr, epochs=epochs, seed=seed)
        yield name, model, sum(p.numel() for p in model.parameters())


def rates(
    family: Family, learned: Source, texts: Texts, classes: int, seed: int
) -> Iterator[tuple[str, nn.Module, int]]:
    """Fine-tune as `full`, then with one change more each time, up to `full, as from scratch`."""
    one = {"lr": family.tuned, "decay": 1.0}
    fast = {"lr": family.lr, "decay": 1.0}
    ways = {
        "full": {"lr": family.tuned, "decay": family.decay},
        "one rate for all parts": one,
        "twice that rate": fast,
        "twice the passes too": {**fast, "epochs": 2 * tp.passes(len(texts.labels))},
    }
    for name, options in ways.items():
        model = copy.deepcopy(learned.model)
        torch.manual_seed(seed)
        transfer.keep_classes(model, learned.keep)
        tp.learn(model, texts, learned.encode, seed=seed, **options)
        yield name, model, sum(p.numel() for p in model.parameters())


def balanced(task: str, names: tuple[str, str]) -> Recorder:
    """Measure what a source gives NB-SVM, with all its texts and with as many of each class."""
    source, target = (Domain.read(name) for name in names)
    title, module = "NB-SVM, the source's classes balanced", "benchmarks.transfer_variants"
    record = recorder(task, title, names, None, [AT], module=module)
    whole, truth = source.of_classes(source.places(target.classes)), target.score.labels
    for seed in record.left(SEEDS, HALF_DONE):
        with record.measure(seed) as run:
            few, even = target.learn.few(AT, seed), of_one_size(whole, seed)
            given = {"source": whole, "balanced source": even}
            given["smaller source"] = whole.few(len(even.labels), seed)
            learned = {"target": few, **given}
            learned |= {f"target and {name}": texts + few for name, texts in given.items()}
            says = {name: tp.nbsvm(texts, target.score, seed) for name, texts in learned.items()}
            for name, said in says.items():
                run.metrics[f"{name}, accuracy"] = float((said == truth).mean())
                run.metrics[f"{name}, said {target.classes[1]}"] = float((said == 1).mean())
                if name != "target":
                    gap = evaluation.paired_bootstrap(truth, said, says["target"], 2)
                    run.metrics |= with_ends(f"{name} minus target", gap)
            record.parameters = nbsvm(*learned["target and source"], target.score.strings)[1]
    return record


def of_one_size(texts: Texts, seed: int) -> Texts:
    """Return as many texts of each class as there are of the rarest, drawn by the seed."""
    order = np.random.default_rng(seed).permutation(len(texts.labels))
    sizes = np.bincount(texts.labels)
    rows = [order[texts.labels[order] == c][: sizes.min()] for c in range(len(sizes))]
    return texts.take(np.concatenate(rows))


TASKS: dict[str, Callable[[str], Recorder]] = {
    f"transfer-parts-{'-'.join(names)}": functools.partial(
        variants, title="by what is carried over", names=names, kind="textcnn", ways=parts,
        tuned=FAMILIES["textcnn"].lr, decay=1.0, passes=[2 * tp.passes(LABELS)],
        passes_from_scratch="as many",
    )
    for names in PAIRS
}  # fmt: skip
TASKS |= {
    f"transfer-rates-{'-'.join(names)}-{kind}": functools.partial(
        variants, title="by its rates and passes", names=names, kind=kind, ways=rates
    )
    for names in PAIRS[1:] for kind in ("textcnn", "lstm", "transformer")
}  # fmt: skip
TASKS |= {
    f"transfer-balanced-finance-{target}": functools.partial(balanced, names=("finance", target))
    for target in DOMAINS
}
TASKS["transfer-ranks"] = functools.partial(
    variants, title="LoRA by rank", names=("imdb", "kitchen"), kind="mini-albert", ways=ranks,
    rank=list(RANKS),
)  # fmt: skip

if __name__ == "__main__":
    task = chosen("benchmarks.transfer_variants", sys.argv[1:], TASKS)
    if task:
        finish(TASKS[task](task))
