"""A run of pre-training in its folder: updates, curve, checkpoints, and the exported model."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from benchmarks import pretraining_corpus as corpora
from benchmarks.model_card import card
from tutorial_lib import hub, pretraining, runtime
from tutorial_lib.albert import AlbertConfig, AlbertPretraining
from tutorial_lib.packing import PackedText
from tutorial_lib.pretraining import Batch, Phase, PretrainConfig, Pretrainer, weighted
from tutorial_lib.training import TrainConfig, checkpoint, randomness
from tutorial_lib.training.update import Updater

if TYPE_CHECKING:
    import accelerate

LOG_EVERY = 20
HELD_OUT_BATCHES = 16  # that the curve is measured on


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that decides the run, but for its end.

    Attributes:
        piece: rows of a batch that are computed at once; for memory and speed only.
        decay: share of all steps over which the learning rate falls.
        warmup: steps over which it climbs.
        skip_gram: passes over the corpus for the word vectors to start from; 0 for a random start.
        before: what the exported model that the run begins with says of itself.
    """

    albert: AlbertConfig
    text: PretrainConfig
    train: TrainConfig
    piece: int = 64
    decay: float = 0.2
    warmup: int = 1000
    skip_gram: int = 0
    save_every: int = 200
    measure_every: int = 1000
    before: dict[str, Any] | None = None

    @classmethod
    def load(cls, path: Path) -> "Plan":
        """Return the plan of a run that was begun."""
        facts = json.loads(path.read_text(encoding="utf-8"))
        phases = tuple(Phase(**phase) for phase in facts["text"].pop("phases"))
        return cls(
            AlbertConfig(**facts.pop("albert")),
            PretrainConfig(phases=phases, **facts.pop("text")),
            TrainConfig(**facts.pop("train")),
            **facts,
        )


class Run:
    """A run in its folder; several processes share the work of each update.

    Args:
        weights: exported model to begin with; needed until the first checkpoint is there.

    Raises:
        ValueError: the corpus has another vocabulary than the model, or the longest rows are not
            as long as the model has positions.
    """

    def __init__(
        self, plan: Plan, corpus: corpora.Corpus, folder: Path, *, compiled: bool = False,
        weights: Path | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.corpus, self.folder = plan, corpus, folder
        self.here = processes()
        size = corpus.tokenizer.get_vocab_size()
        if size != plan.albert.vocab_size:
            raise ValueError(
                f"the plan has a vocabulary of {plan.albert.vocab_size}, the corpus one of {size}"
            )
        longest, most = longest_row(plan), plan.albert.max_position_embeddings
        if longest != most:  # what no row reaches would stay at its random start
            raise ValueError(f"the longest rows have {longest} tokens, the model {most} positions")
        torch.manual_seed(plan.train.seed)
        self.model = Pretrainer(plan.albert)
        if weights:
            begun = hub.load(weights, AlbertPretraining).model
            self.model.model.load_state_dict(begun.state_dict())
        if plan.skip_gram:
            words = self.model.model.albert.words.weight
            with self.here.main_process_first(), torch.no_grad():
                vectors = corpora.word_vectors(corpus, words.shape[1], plan.skip_gram)
                words[pretraining.WORDS :] = vectors[pretraining.WORDS :]
        self.model.to(self.here.device)
        forward = torch.compile(self.model, dynamic=False) if compiled else self.model
        self.text = PackedText(corpus.tokens, corpus.starts, plan.text)
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim < 2]
        shared = {"lr": plan.train.lr, "betas": (0.9, 0.98), "eps": 1e-6}
        groups = [
            {"params": matrices, **shared},
            {"params": others, **shared, "weight_decay": 0.0},
        ]
        self.updater = Updater(
            self.model, lambda _, batch: weighted(forward(batch)[0], plan.text), groups,
            plan.train, self.here,
        )  # fmt: skip
        self.state = checkpoint.State()

    def load(self, part: str) -> None:
        """Take up a part of the run, `stable` or `decay-STEP`, where it was left."""
        self.here.wait_for_everyone()
        inputs = {"tokens": len(self.corpus.tokens), "first": self.corpus.tokens[:1000].tolist()}
        found = checkpoint.load(self.folder / part, self.updater, lambda: inputs)
        self.state = found or checkpoint.State(inputs=inputs)

    def advance(self, part: str, end: int, rate: Callable[[int], float]) -> None:
        """Train up to a step, at `rate(step)` times the learning rate."""
        state, since = self.state, []
        begun = time.perf_counter() - state.seconds
        forget(self.folder / "curve.jsonl", part, state.step, self.here.is_main_process)
        for batch in ahead(self.text.batch, range(state.step, end)):
            randomness.seed(self.here.device, self.plan.train.seed, state.step)
            lr = rate(state.step)
            loss, norm, _ = self.updater.update(pieces(batch, self.plan.piece), lr, 1, state.step)
            since.append(loss)
            state.step += 1
            state.seconds = time.perf_counter() - begun
            last = state.step == end
            if state.step % LOG_EVERY == 0 or last:
                self.note(part, loss=sum(since) / len(since), norm=norm, rate=lr)
                since = []
            if state.step % self.plan.measure_every == 0 or last:
                self.note(part, **self.measure())
            if state.step % self.plan.save_every == 0 or last:
                self.save(part)

    def save(self, part: str) -> None:
        """Write a checkpoint."""
        if self.here.is_main_process:
            checkpoint.save(self.folder / part, self.state, self.updater)
        self.here.wait_for_everyone()

    def note(self, part: str, **numbers: float) -> None:
        """Add a line to the curve and print it."""
        if not numbers or not self.here.is_main_process:
            return
        phase, _ = self.plan.text.place(self.state.step - 1)
        line = {
            "part": part,
            "step": self.state.step,
            "tokens": self.state.step * self.plan.text.tokens,
            "seconds": round(self.state.seconds, 1),
            "objective": self.plan.text.phases[phase].objective,
            **{name: round(value, 4) for name, value in numbers.items()},
        }
        with open(self.folder / "curve.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def measure(self) -> dict[str, float]:
        """Return losses and accuracies on held-out texts; the same words are hidden each time."""
        if not self.here.is_main_process:
            return {}
        length = self.plan.text.phases[0].length
        return measure(self.model, self.corpus, length, self.here.device, HELD_OUT_BATCHES)

    def export(self, part: str) -> None:
        """Write the model for `hub.load` and `transformers`, and what there is to say of it."""
        if not self.here.is_main_process:
            return
        target = self.folder / "model"
        hub.save(self.model.model, target, tokenizer=self.corpus.tokenizer, dtype=torch.float16)
        facts = {
            "plan": dataclasses.asdict(self.plan),
            "part": part,
            "steps": self.state.step,
            "tokens": self.state.step * self.plan.text.tokens,
            "seconds": round(self.state.seconds),
            "processes": self.here.num_processes,
            "held-out texts": {
                length: measure(self.model, self.corpus, length, self.here.device)
                for length in sorted({phase.length for phase in self.plan.text.phases})
            },
            "environment": runtime.environment(),
        }
        (target / "training.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        curve = (self.folder / "curve.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        measured = [line for line in curve if "words_nats" in line]
        (target / "curve.jsonl").write_text("".join(measured), encoding="utf-8")
        overlap = json.dumps(self.corpus.record, indent=2) + "\n"
        (target / corpora.RECORD).write_text(overlap, encoding="utf-8")
        (target / "README.md").write_text(card(facts, self.corpus.record), encoding="utf-8")
        print(f"wrote {target}", flush=True)


def longest_row(plan: Plan) -> int:
    """Return the tokens of the longest rows that a run reads."""
    return max(phase.length for phase in plan.text.phases)


def pieces(batch: Batch, rows: int) -> list[Batch]:
    """Cut a batch into smaller ones."""
    parts = {name: tensor.split(rows) for name, tensor in batch.items()}
    return [dict(zip(parts, values, strict=True)) for values in zip(*parts.values(), strict=True)]


def ahead(batch: Callable[[int], Batch], steps: range) -> Iterator[Batch]:
    """Yield the batch of each step; the next one is made meanwhile."""
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(batch, steps.start) if steps else None
        for step in steps:
            now = coming.result()
            coming = maker.submit(batch, step + 1)
            yield now


@torch.no_grad()
def measure(
    model: Pretrainer, corpus: corpora.Corpus, length: int, device: torch.device, most: int = 10_000
) -> dict[str, float]:
    """Return the loss of hidden words in nats, and how often order and replacements are told.

    Measured on `most` batches of the held-out texts, or all.
    """
    config = PretrainConfig(1, (Phase("replaced", 1.0, length),), tokens=32 * length)
    text = PackedText(corpus.held_out, corpus.starts, config)
    nats, order, told, replaced, found = [], [], [], [], []
    model.eval()
    for step in range(min(most, len(corpus.held_out) // config.tokens + 1)):
        batch = {name: tensor.to(device) for name, tensor in text.batch(step).items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=runtime.precision() == "bf16"):
            _, logits = model(batch)
        targets, pairs = batch["targets"].flatten(), batch["order"] != pretraining.NONE
        losses = F.cross_entropy(logits["words"].float(), targets, reduction="none")
        nats.append(losses[targets != pretraining.NONE])
        order.append(logits["order"].argmax(1)[pairs] == batch["order"][pairs])
        counts, truth = batch["originals"] >= pretraining.WORDS, logits["replaced"]
        right = (logits["detection"] > 0) == truth
        told.append(right[counts])
        found.append(right[truth])
        replaced.append(truth[counts])
    model.train()
    names = ("words_nats", "order_accuracy", "detection_accuracy", "replaced_share", "found_share")
    values = (torch.cat(part).float().mean() for part in (nats, order, told, replaced, found))
    means = {name: value.item() for name, value in zip(names, values, strict=True)}
    return means | {"order_pairs": sum(map(len, order))}


def forget(curve: Path, part: str, step: int, main: bool) -> None:
    """Take lines out of the curve that the run is about to write again."""
    if main and curve.exists():
        lines = curve.read_text(encoding="utf-8").splitlines()
        # A kill may have left half a line at the end.
        facts = [json.loads(line) for line in lines if line.endswith("}")]
        kept = [f for f in facts if f["part"] != part or f["step"] <= step]
        curve.write_text("".join(json.dumps(f) + "\n" for f in kept), encoding="utf-8")


def steps_in(hours: float, run: Run) -> int:
    """Return how many steps this machine does in that time, by a few steps of each phase."""
    seconds, shared = 0.0, run.here.num_processes
    for phase in run.plan.text.phases:
        config = dataclasses.replace(run.plan.text, phases=(dataclasses.replace(phase, share=1.0),))
        text = PackedText(run.corpus.tokens, run.corpus.starts, config)
        for step in range(3):  # the first does not count
            begun = time.perf_counter()
            for piece in pieces(text.batch(step), run.plan.piece):
                mine = {
                    name: tensor[::shared].to(run.here.device) for name, tensor in piece.items()
                }
                with run.updater._autocast():
                    weighted(run.model(mine)[0], config).backward()
            seconds += phase.share * (time.perf_counter() - begun) / 2 * (step > 0)
    run.model.zero_grad()
    return max(1, int(hours * 3600 / seconds))


def processes() -> "accelerate.PartialState":
    """Return the device and this process's place among several."""
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    on_cpu = runtime.device().type == "cpu"
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or on_cpu)
