"""Word vectors, the first layer of every network of the book."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from tutorial_lib.vocabulary import PAD


class WordVectors(nn.Embedding):
    """One vector for each id; zeros for `PAD`, whatever training does.

    Args:
        start: the vectors at random, [V, E].
        vectors: those to start from instead, one row for each id; copied.
        train: whether training changes them.

    Raises:
        ValueError: vectors that are not finite or do not fit.
    """

    def __init__(
        self,
        start: Float[Tensor, "V E"],
        vectors: Float[Tensor, "..."] | None = None,
        *,
        train: bool = True,
    ) -> None:
        super().__init__(*start.shape, padding_idx=PAD)
        if vectors is not None:
            if vectors.shape != start.shape:
                raise ValueError(
                    f"vectors must be {[*start.shape]}, a row for each id; got {[*vectors.shape]}"
                )
            if not vectors.isfinite().all():
                raise ValueError("vectors must be finite numbers")
            start = vectors
        with torch.no_grad():
            self.weight.copy_(start)
            self.weight[PAD] = 0
        self.weight.requires_grad_(train)

    def forward(
        self, ids: Int64[Tensor, "..."], mask: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "B T E"]:
        """Return the vectors of ids [B, T]; zeros at `PAD` and where the mask is false.

        Raises:
            ValueError: ids and mask that are not of one shape [B, T], an empty batch, or an id
                outside the vocabulary where the mask is true.
        """
        if mask is not None:
            if ids.shape != mask.shape:
                shapes = f"{[*ids.shape]}, {[*mask.shape]}"
                raise ValueError(f"ids and mask are both [B, T]; got {shapes}")
            ids = ids.masked_fill(~mask, PAD)
        if ids.ndim != 2:
            raise ValueError(f"ids are [B, T]; got {[*ids.shape]}")
        if not ids.numel():
            raise ValueError(f"the batch is empty: ids are {[*ids.shape]}")
        if not 0 <= ids.min() <= ids.max() < self.num_embeddings:
            raise ValueError(
                f"ids run from 0 to {self.num_embeddings - 1}; got {ids.min()} … {ids.max()}"
            )
        return super().forward(ids)


def check_sizes(*sizes: int) -> None:
    """Raise ValueError if one of a model's sizes is below 1."""
    if min(sizes) < 1:
        raise ValueError(f"every size must be at least 1; got {sizes}")
