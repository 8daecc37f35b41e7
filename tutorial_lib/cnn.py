"""Chapter 04: one-dimensional convolution and the classifier built on it.

A filter looks at `width` neighbouring tokens at a time. Kim's TextCNN slides filters of
several widths over a text and keeps, of each, the largest answer.

Shapes: B batch, T time (tokens), E embedding, O filters (outputs), w width, C classes,
V vocabulary, M = T + 2 · padding - w + 1 windows.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from tutorial_lib import text
from tutorial_lib.embedding import WordVectors, check_sizes

MODES = ("rand", "static", "non-static", "multichannel")


def output_length(time: int, width: int, padding: int = 0) -> int:
    """Return how many windows a filter sees, M.

    Args:
        padding: zero vectors added at each end.

    Raises:
        ValueError: a width below 1, a negative padding, or a filter longer than the padded text.

    Equation: eq-output-length
    """
    windows = time + 2 * padding - width + 1
    if width < 1 or padding < 0 or windows < 1:
        raise ValueError(
            f"a filter of width {width} does not fit into {time} tokens with padding {padding}; "
            "with padding = width - 1 it fits into any text"
        )
    return windows


def receptive_field(widths: Sequence[int]) -> int:
    """Return how many tokens one output of a stack of convolutions depends on.

    Args:
        widths: of the layers, the first one first.

    Equation: eq-receptive-field
    """
    return 1 + sum(width - 1 for width in widths)


def conv1d_loop(
    x: Float[Tensor, "B T E"],
    weight: Float[Tensor, "O E w"],
    bias: Float[Tensor, "O"],
    padding: int = 0,
) -> Float[Tensor, "B M O"]:
    """Convolve, one window and one filter at a time: the definition, slowly.

    Arguments and errors as for `conv1d`.

    Equation: eq-convolution
    """
    filters, _, width = weight.shape
    windows = output_length(x.shape[1], width, padding)
    x = F.pad(x, (0, 0, padding, padding))  # [B T+2·padding E]
    y = x.new_empty(len(x), windows, filters)
    for t in range(windows):
        for o in range(filters):
            y[:, t, o] = (x[:, t : t + width] * weight[o].T).sum((1, 2)) + bias[o]
    return y


def conv1d(
    x: Float[Tensor, "B T E"],
    weight: Float[Tensor, "O E w"],
    bias: Float[Tensor, "O"],
    padding: int = 0,
) -> Float[Tensor, "B M O"]:
    """Convolve by one matrix product: every window is laid out as a row.

    Equal to `torch.nn.functional.conv1d`, which has time last. As there, and against the usual
    meaning of the word in mathematics, the filter is not reversed.

    Args:
        weight: in torch's order of axes.
        padding: zero vectors added at each end of the time axis.

    Raises:
        ValueError: a filter longer than the padded text.

    Equation: eq-unfold, eq-equivariance
    """
    width = weight.shape[-1]
    output_length(x.shape[1], width, padding)
    windows = F.pad(x, (0, 0, padding, padding)).unfold(1, width, 1)  # [B M E w]
    return windows.flatten(2) @ weight.flatten(1).T + bias


def as_dense(weight: Float[Tensor, "O E w"], time: int) -> Float[Tensor, "inputs outputs"]:
    """Return the matrix of the dense layer that does the same to a text of `time` tokens.

    It is [T·E, M·O], without padding: most entries are 0 and the others repeat.

    Equation: eq-dense
    """
    filters, dim, _ = weight.shape
    units = torch.eye(time * dim, dtype=weight.dtype, device=weight.device).view(-1, time, dim)
    return conv1d(units, weight, weight.new_zeros(filters)).flatten(1)


def window_mask(mask: Bool[Tensor, "B T"], width: int) -> Bool[Tensor, "B M"]:
    """Tell which windows hold at least one token, with padding = width - 1.

    A text of n tokens has n + width - 1 of them, however much padding follows it.
    """
    return F.pad(mask, (width - 1, width - 1)).unfold(1, width, 1).any(-1)


def max_over_time(x: Float[Tensor, "B T O"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B O"]:
    """Return the largest value of each column where `mask` is true; 0 where it never is.

    Source: Collobert et al. 2011, "Natural Language Processing (Almost) from Scratch", the max
    layer of the sentence approach.

    Equation: eq-max-over-time
    """
    largest = x.masked_fill(~mask[..., None], -torch.inf).amax(1)  # [B O]
    return largest.masked_fill(~mask.any(1, keepdim=True), 0.0)


class TextCNN(nn.Module):
    """Convolutions of several widths over word vectors, the maximum of each filter, a linear layer.

    Every text is taken to have width - 1 zero vectors at both ends, and windows without any
    token do not count. So a text shorter than a filter works, no prediction depends on the
    batch, and a text without tokens has features of 0.

    Args:
        vocabulary_size: number of ids; `text.PAD` is one of them.
        classes: number of logits.
        embedding: size of a word vector, E.
        filters: of each width.
        widths: in tokens.
        dropout: share of the features set to 0 in training.
        mode: `rand` learns word vectors from nothing; `static` keeps the given ones;
            `non-static` starts from them and trains them; `multichannel` has both side by side,
            2E numbers a word, with filter weights of its own for each (the paper shares them).
        vectors: the word vectors, one row for each id, for every mode but `rand`; copied.

    Raises:
        ValueError: an unknown mode, sizes that cannot be, or vectors that are missing, not
            wanted, not finite, or not [vocabulary_size, embedding].

    Source: Kim 2014, "Convolutional Neural Networks for Sentence Classification".
    """

    def __init__(
        self,
        vocabulary_size: int,
        classes: int,
        *,
        embedding: int = 300,
        filters: int = 100,
        widths: Sequence[int] = (3, 4, 5),
        dropout: float = 0.5,
        mode: str = "rand",
        vectors: Float[Tensor, "..."] | None = None,
    ) -> None:
        super().__init__()
        if not widths:
            raise ValueError("widths must hold a width")
        check_sizes(vocabulary_size, classes, embedding, filters, *widths)
        if mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}; got {mode!r}")
        if (mode == "rand") != (vectors is None):
            raise ValueError(f"mode {mode} {'reads no' if mode == 'rand' else 'needs'} vectors")
        start = torch.empty(vocabulary_size, embedding).uniform_(-0.25, 0.25)  # as Kim's
        trained = {"static": [False], "multichannel": [False, True]}.get(mode, [True])
        self.embeddings = nn.ModuleList(
            WordVectors(start, vectors, train=train) for train in trained
        )
        self.convolutions = nn.ModuleList(
            nn.Conv1d(len(trained) * embedding, filters, width, padding=width - 1)
            for width in widths
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(filters * len(widths), classes)

    def forward(self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        """Return the logits.

        Args:
            mask: true at tokens; what `ids` holds elsewhere has no influence.

        Raises:
            ValueError: an empty batch, ids and mask that are not of one shape [B, T], or an id
                outside 0 … vocabulary_size - 1 where the mask is true.

        Equation: eq-textcnn
        """
        pooled = [max_over_time(y, counts) for y, counts in self.feature_maps(ids, mask)]
        features = torch.cat(pooled, 1).relu()  # [B widths·O]: ReLU and maximum may change places
        return self.output(self.dropout(features))

    def feature_maps(
        self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> list[tuple[Float[Tensor, "B _ O"], Bool[Tensor, "B _"]]]:
        """Return for each width what its filters answer at each window (before the ReLU), and
        which windows count, M = T + width - 1.
        """
        x = torch.cat([table(ids, mask) for table in self.embeddings], -1)  # [B T E or 2E]
        x = x.transpose(1, 2)  # [B E T]: torch has time last
        return [
            (convolution(x).transpose(1, 2), window_mask(mask, *convolution.kernel_size))
            for convolution in self.convolutions
        ]


@torch.no_grad()
def ngram_filters(
    model: TextCNN,
    sequences: Sequence[Any],
    labels: Sequence[int] | np.ndarray,
    *,
    n: int = 2,
    share: float = 0.1,
    seed: int = 0,
) -> None:
    """Start the filters of `model` from the n-grams that speak most for one class.

    For each class the n-grams of its texts are ranked by their log-count ratio against the
    other classes (chapter 03), the word vectors of the best are laid end to end and put into
    as many clusters as the class has filters of a width. The centres become the middle of the
    filters, scaled to the largest weight of the random start; the rest stays random.

    Args:
        sequences: the ids of each training text.
        labels: its class.
        n: length of the n-grams; narrower filters stay random.
        share: of the ranked n-grams that are clustered.
        seed: of the clustering.

    Raises:
        ValueError: labels that are not one class index for each text, or no n-gram to start from.

    Source: Li et al. 2017, "Initializing Convolutional Filters with Semantic Features for Text
    Classification", section 3.
    """
    from sklearn.cluster import KMeans

    vectors = torch.cat([embedding.weight for embedding in model.embeddings], 1).cpu()
    classes = model.output.out_features
    each = model.convolutions[0].out_channels // classes  # filters of a width for each class
    centres = []
    for ngrams in _telling_ngrams(sequences, labels, classes, n):
        best = ngrams[: max(each, int(share * len(ngrams)))]
        points = vectors[torch.from_numpy(best).long()].flatten(1).numpy()  # [n-grams n·E]
        if clusters := min(each, len(points)):
            found = KMeans(clusters, n_init=1, random_state=seed).fit(points).cluster_centers_
            centres.append(torch.from_numpy(found).view(clusters, n, -1).transpose(1, 2))
    if not centres:
        raise ValueError(f"no {n}-gram occurs twice in a class, or too few filters: {each} each")
    centre = torch.cat(centres).to(model.output.weight)  # [filters E n]
    for convolution in model.convolutions:
        (width,) = convolution.kernel_size
        if width >= n:
            start, weight = (width - n) // 2, convolution.weight
            scale = weight.abs().max() / centre.abs().max()
            weight[: len(centre), :, start : start + n] = scale * centre


@dataclasses.dataclass(frozen=True)
class Detector:
    """What one filter of a trained model looks for.

    Attributes:
        weights: what its feature adds to each class's logit, less the mean over the classes.
        ngrams: the different n-grams that it answers most, the strongest first; `<pad>` is a
            place before or after the text.
        values: its answer to each, before the ReLU: a negative one counts as 0.
    """

    weights: tuple[float, ...]
    ngrams: tuple[tuple[str, ...], ...]
    values: tuple[float, ...]


@torch.no_grad()
def top_ngrams(
    model: TextCNN, sequences: Sequence[Any], vocabulary: text.Vocabulary, *, k: int = 5
) -> list[Detector]:
    """Return for each filter the `k` n-grams that it fires on most, in the order of the features.

    Of each text only the window that wins the maximum over time is looked at.

    Raises:
        ValueError: there are no sequences.
    """
    weights = model.output.weight - model.output.weight.mean(0)  # [C features]
    detectors = []
    for values, windows in _winners(model, sequences):  # [N O], [N O w]
        for o in range(values.shape[1]):
            best: dict[tuple[str, ...], float] = {}
            for row in values[:, o].argsort(descending=True).tolist():
                best.setdefault(tuple(vocabulary.decode(windows[row, o])), values[row, o].item())
                if len(best) == k:
                    break
            share = weights[:, len(detectors)].tolist()
            detectors.append(Detector(tuple(share), tuple(best), tuple(best.values())))
    return detectors


def _winners(model: TextCNN, sequences: Sequence[Any]) -> list[tuple[Tensor, Tensor]]:
    """Return for each width the largest answers [N, O] and the ids of their windows [N, O, w]."""
    if not len(sequences):
        raise ValueError("there are no sequences to look at")
    found = [([], []) for _ in model.convolutions]
    for start in range(0, len(sequences), 128):
        batch = text.pad(sequences[start : start + 128])
        ids, mask = (tensor.to(model.output.weight.device) for tensor in batch)
        maps = model.feature_maps(ids, mask)
        for (y, counts), (answers, ngrams) in zip(maps, found, strict=True):
            width = y.shape[1] - ids.shape[1] + 1
            values, places = y.masked_fill(~counts[..., None], -torch.inf).max(1)  # [B O]
            windows = F.pad(ids, (width - 1, width - 1)).unfold(1, width, 1)  # [B M w]
            index = places[..., None].expand(-1, -1, width)  # [B O w]
            answers.append(values.cpu())
            ngrams.append(windows.gather(1, index).int().cpu())
    return [(torch.cat(answers), torch.cat(ngrams)) for answers, ngrams in found]


def _telling_ngrams(
    sequences: Sequence[Any], labels: Sequence[int] | np.ndarray, classes: int, n: int
) -> list[np.ndarray]:
    """Return for each class the n-grams that occur in it twice at least, the most telling first."""
    labels = np.asarray(labels)
    if labels.shape != (len(sequences),) or not np.isin(labels, np.arange(classes)).all():
        raise ValueError(f"need one label 0 … {classes - 1} for each of {len(sequences)} sequences")
    long = [(np.asarray(s), y) for s, y in zip(sequences, labels, strict=True) if len(s) >= n]
    windows = [np.lib.stride_tricks.sliding_window_view(ids, n) for ids, _ in long]
    owners = np.repeat([y for _, y in long], [len(w) for w in windows])
    windows = np.concatenate(windows or [np.zeros((0, n), int)])  # [windows n]
    known = (windows > text.UNK).all(1)
    ngrams, which = np.unique(windows[known], axis=0, return_inverse=True)
    cells = which.ravel() * classes + owners[known].astype(int)
    counts = np.bincount(cells, minlength=len(ngrams) * classes).reshape(-1, classes)
    ranked = []
    for c in range(classes):
        mine, others = counts[:, c] + 1, counts.sum(1) - counts[:, c] + 1
        ratio = np.log(mine / mine.sum()) - np.log(others / others.sum())
        often = np.flatnonzero(counts[:, c] > 1)
        ranked.append(ngrams[often[np.argsort(-ratio[often], kind="stable")]])
    return ranked
