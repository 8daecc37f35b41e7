"""Chapter 09: what one task has taught, carried to another: words, layers, and how to go on.

A model here is a classifier of this book: word vectors, layers, and a head called `output`.
`finetuning.depths` says how far above the input each parameter lies.

Shapes: N texts, F features (what the head reads).
"""

import contextlib
import copy
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutorial_lib import lora, text, training
from tutorial_lib.embedding import WordVectors
from tutorial_lib.finetuning import depths, parameter_groups
from tutorial_lib.training import TrainConfig
from tutorial_lib.vocabulary import SPECIAL, Vocabulary

STRATEGIES = ("full", "features", "gradual", "lora")


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What two vocabularies share, `<pad>` and `<unk>` not counted.

    Attributes:
        shared: words of both.
        new: words of the target's only: their vectors know nothing yet.
        lost: words of the source's only: their vectors are dropped.
    """

    shared: int
    new: int
    lost: int


def move_words(model: nn.Module, old: Vocabulary, new: Vocabulary) -> Overlap:
    """Give a model another vocabulary: each word keeps its vector, whatever its id was.

    The vectors of words that the old vocabulary lacks are drawn from a normal distribution with
    the mean and the deviation of each dimension over the old words. Every other weight stays.

    Args:
        model: read with the ids of `old`; changed in place, then to be read with those of `new`.

    Raises:
        ValueError: the model has no word vectors, or not one for each entry of `old`: then its
            ids are not those of `old`.

    Source: Howard and Ruder 2018, the authors' code, where a new word gets the mean vector itself.

    Equation: eq-move-words
    """
    tables = [part for part in model.modules() if isinstance(part, WordVectors)]
    if not tables:
        raise ValueError("the model has no word vectors to move")
    for table in tables:
        if len(table.weight) != len(old):
            raise ValueError(
                f"the model has {len(table.weight)} word vectors, the old vocabulary {len(old)} "
                "entries: it was not trained with this vocabulary"
            )
    shared = [token for token in new.tokens if token in old]  # the special ones as well
    to, origin = (torch.tensor(v.encode(shared)) for v in (new, old))
    for table in tables:
        weight = table.weight.detach()
        words = weight[len(SPECIAL) :]  # [V - 2 E]
        deviation, mean = torch.std_mean(words, 0, correction=0)
        rows = mean + deviation * torch.randn(len(new), words.shape[1]).to(words)
        rows[to] = weight[origin]
        table.weight = nn.Parameter(rows, requires_grad=table.weight.requires_grad)
        table.num_embeddings = len(new)
    kept = len(shared) - len(SPECIAL)
    return Overlap(kept, len(new) - len(SPECIAL) - kept, len(old) - len(SPECIAL) - kept)


def new_head(model: nn.Module, classes: int) -> nn.Module:
    """Put a new, random classifier in the place of the old one.

    Returns: the model itself.

    Raises:
        ValueError: fewer than two classes, or a model without a head to replace.
    """
    if classes < 2:
        raise ValueError(f"a classifier tells at least two classes apart; got {classes}")
    old = _head(model)
    model.output = nn.Linear(old.in_features, classes).to(old.weight)
    return model


def keep_classes(model: nn.Module, rows: Sequence[int]) -> nn.Module:
    """Keep of the classifier the source's classes that are the target's too, in this order.

    With the same classes in both, all of them: the old head is then the best start there is.

    Returns: the model itself.

    Raises:
        ValueError: fewer than two classes, one that the head does not have, or one twice; or a
            model without a head.
    """
    old, rows = _head(model), list(rows)
    if len(rows) < 2 or len(set(rows)) < len(rows) or not set(rows) <= set(range(old.out_features)):
        raise ValueError(f"need two or more of the classes 0 … {old.out_features - 1}; got {rows}")
    new_head(model, len(rows))
    with torch.no_grad():
        model.output.weight.copy_(old.weight[rows])
        model.output.bias.copy_(old.bias[rows])
    return model


def _head(model: nn.Module) -> nn.Linear:
    """Return the model's classifier."""
    head = getattr(model, "output", None)
    if not isinstance(head, nn.Linear) or head.bias is None:
        raise ValueError("the model has no head: no linear layer called `output`, with a bias")
    return head


@contextlib.contextmanager
def another_head(model: nn.Module, head: nn.Module) -> Iterator[nn.Module]:
    """Let a model have another head for a while, such as the one of its source task."""
    own, model.output = model.output, head
    try:
        yield model
    finally:
        model.output = own


def features(model: nn.Module, batches: Iterable[dict[str, Tensor]]) -> Float[Tensor, "N F"]:
    """Return what the head reads of each text, in the order of the data, on the CPU.

    Compute it once and train any number of heads on it: the layers below are run once a text and
    not once a text and epoch.

    Args:
        batches: with `ids`, `mask` and `rows`, the texts' places in the data.

    Raises:
        ValueError: a model without a head.
    """
    _head(model)
    with another_head(model, nn.Identity()):
        return training.predict(model, lambda m, b: m(b["ids"], b["mask"]), batches).float()


def fit_head(
    head: nn.Linear,
    x: Float[Tensor, "N F"],
    labels: Sequence[int] | np.ndarray,
    c: float | None = None,
) -> nn.Linear:
    """Set a head to the logistic regression on features.

    The features are scaled to deviation 1 for the fit, and the scale is put into the weights.

    Args:
        c: inverse strength of the penalty on the weights, as in scikit-learn. If None, the one of
            0.0001, 0.001, … 1 with the best likelihood in cross-validation on these texts: few
            labels and many features need a strong one.

    Returns:
        The head itself.

    Raises:
        ValueError: a head without a bias, features that are not finite or not as wide as the head,
            labels that are not one a text or none of the head's classes, a class without an
            example, or with a single one where c is to be found.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    labels = np.asarray(labels)
    if head.bias is None:
        raise ValueError("the head has no bias to set")
    if x.shape[1] != head.in_features:
        raise ValueError(f"the head reads {head.in_features} features, a text has {x.shape[1]}")
    if not x.isfinite().all():
        raise ValueError("some features are NaN or infinite: has training diverged?")
    if labels.shape != (len(x),) or set(np.unique(labels)) != set(range(head.out_features)):
        raise ValueError(
            f"need {len(x)} labels with each of the classes 0 … {head.out_features - 1}; got "
            f"{labels.size} with the classes {', '.join(map(str, np.unique(labels)))}"
        )
    deviation, mean = torch.std_mean(x.double(), 0, correction=0)
    scale = 1 / deviation.clamp(min=1e-6)  # [F]
    model = LogisticRegression(max_iter=1000)
    if c is None:
        folds = min(5, np.bincount(labels).min())
        if folds < 2:
            raise ValueError("cross-validation needs two examples of each class; or give c")
        model = GridSearchCV(model, {"C": np.logspace(-4, 0, 5)}, scoring="neg_log_loss", cv=folds)
    else:
        model.set_params(C=c)
    model.fit(((x - mean) * scale).numpy(), labels)
    found = model if c is not None else model.best_estimator_
    weight = torch.from_numpy(found.coef_) * scale  # [C F], [1 F] for two classes
    bias = torch.from_numpy(found.intercept_) - weight @ mean
    if len(weight) == 1:  # one logit for the second class: half of it to each
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return head


def unfreeze(model: nn.Module, count: int) -> list[str]:
    """Let the `count` highest depths learn, the head the first of them, and freeze all below.

    Returns:
        The names of the parameters that learn.

    Raises:
        ValueError: fewer than one depth or more than there are.
    """
    depth = depths(model)
    top = max(depth.values())
    if not 1 <= count <= top + 1:
        raise ValueError(f"the model has {top + 1} depths, so 1 to {top + 1} learn; got {count}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(depth[name] > top - count)
    return [name for name in depth if depth[name] > top - count]


def adapt(
    model: nn.Module,
    strategy: str,
    batches: Iterable[dict[str, Tensor]],
    config: TrainConfig,
    *,
    decay: float = 1.0,
    rank: int = 8,
    alpha: float = 8.0,
    progress: bool = False,
) -> None:
    """Train a model that was carried over on the target's texts, by one of four strategies.

    - `full`: all parameters learn, by rates that fall towards the input (`decay`).
    - `features`: only the head learns, by `fit_head` from features that are computed once; nothing
      of `config` or `decay` matters.
    - `gradual`: the head learns for one pass, then with the depth below it, and so on down; then
      all learn as in `full`. The passes on the way come before those of `config`, and each goes
      over the batches of the first epoch; a depth where nothing can learn has none.
    - `lora`: the head learns, and a change of low rank in each attention's query and value, all
      by one rate; at the end it is merged.

    In `full` and `gradual` what could not learn before does not learn here either; `features` and
    `lora` choose for themselves. Afterwards what could learn before can again.

    Args:
        batches: with `ids`, `mask`, `labels` and `rows`, shuffled.
        config: how to train; the last step's weights are kept.
        decay: of the rate from one depth to the one below it.
        rank, alpha: of the changes, which are scaled by `alpha / rank`: so rates that suit one
            rank suit others.

    Raises:
        ValueError: an unknown strategy, one that does not fit the model, or nothing that can learn.

    Source: Howard and Ruder 2018, section 3.3 (gradual unfreezing); Hu et al. 2022 (LoRA).
    """
    learned = {name for name, p in model.named_parameters() if p.requires_grad}

    def free(names: set[str]) -> None:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in names)

    def fit(passes: TrainConfig, decay: float) -> None:
        groups = parameter_groups(model, config.lr, decay=decay, weight_decay=config.weight_decay)
        training.fit_classifier(model, batches, None, passes, optimizer=groups, progress=progress)

    try:
        if strategy == "features":
            labels = training.predict(model, lambda _, batch: batch["labels"], batches)
            fit_head(_head(model), features(model, batches), labels.numpy())
        elif strategy == "lora":
            lora.add(model, rank, alpha)
            try:
                fit(config, 1.0)
            finally:
                lora.merge(model)
        elif strategy in ("full", "gradual"):
            for count in range(1, max(depths(model).values()) + 1 if strategy == "gradual" else 1):
                if names := learned.intersection(unfreeze(model, count)):
                    free(names)
                    fit(dataclasses.replace(config, epochs=1, seed=config.seed + count), decay)
            free(learned)
            fit(config, decay)
        else:
            raise ValueError(f"strategy is one of {', '.join(STRATEGIES)}; got {strategy!r}")
    finally:
        free(learned)


def forgetting(before: nn.Module, after: nn.Module, batches: Iterable[dict[str, Tensor]]) -> float:
    """Return what training on another task has cost on the source: accuracy before minus after.

    Args:
        before: the model as the source task left it, with that task's head.
        after: what has become of it; it is asked with the head of `before`.
        batches: the source's, with `ids`, `mask`, `labels` and `rows`.

    Equation: eq-forgetting
    """
    labels = training.predict(before, lambda _, batch: batch["labels"], batches).numpy()

    def right(model: nn.Module) -> float:
        with another_head(model, copy.deepcopy(before.output).to(model.output.weight)):
            return float((training.predict_classes(model, batches) == labels).mean())

    return right(before) - right(after)


def proxy_a_distance(error: float) -> float:
    """Return how far apart two domains are, by the error of telling their texts apart.

    2 (1 - 2 error): 2 where every text gives its domain away, 0 where one can only guess. An
    error above one half is chance, and counts as one half.

    Source: Ben-David et al. 2007, "Analysis of Representations for Domain Adaptation".

    Equation: eq-proxy-a-distance

    Raises:
        ValueError: not an error rate.
    """
    if not 0 <= error <= 1:
        raise ValueError(f"an error rate lies between 0 and 1; got {error}")
    return 2 * (1 - 2 * min(error, 0.5))


def domain_distance(first: Sequence[str], second: Sequence[str], *, seed: int = 0) -> float:
    """Return the proxy A-distance of two domains, from as many texts of each.

    The error is that of a logistic regression on the words that occur, over five folds.

    Args:
        seed: of the choice of texts and the folds.

    Raises:
        ValueError: fewer than ten texts of one.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline

    size = min(len(first), len(second))
    if size < 10:
        raise ValueError(f"ten texts of each domain are the least; got {size}")
    dice = np.random.default_rng(seed)
    texts = [side[i] for side in (first, second) for i in dice.permutation(len(side))[:size]]
    texts = [*map(text.normalize, texts)]
    judge = make_pipeline(CountVectorizer(binary=True, max_features=5000), LogisticRegression())
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    right = cross_val_score(judge, texts, np.repeat([0, 1], size), cv=folds).mean()
    return proxy_a_distance(1 - float(right))
