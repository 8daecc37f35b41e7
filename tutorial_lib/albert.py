"""Chapter 07: ALBERT, a Transformer encoder with few parameters.

It is BERT with two changes that save parameters, and one other task to pre-train on: word vectors
are short and mapped to the width of the states (factorised embeddings), all layers of a group are
one layer applied again and again (shared parameters), and pre-training asks in which order two
stretches of text stood. What a layer computes is `tutorial_lib.transformer.EncoderLayer`.

Lan et al. 2020, "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations";
Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding". `tutorial_lib.hub` loads and saves these models.

Shapes: B batch, T time (tokens), V vocabulary, E embedding, H hidden, K heads, C classes,
P chosen positions. A mask is true at tokens.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from tutorial_lib.albert_config import (
    HIDDEN_ACTS,
    SIZES,
    AlbertConfig,
    embedding_parameters,
    flops,
    layer_parameters,
    parameter_count,
)
from tutorial_lib.embedding import check_sizes
from tutorial_lib.transformer import ACTIVATIONS, EncoderLayer

__all__ = [
    "SIZES",
    "Albert",
    "AlbertClassifier",
    "AlbertConfig",
    "AlbertPretraining",
    "Encoded",
    "Pretrained",
    "embedding_parameters",
    "flops",
    "layer_parameters",
    "parameter_count",
    "start_weights",
]


class Encoded(NamedTuple):
    """What the encoder returns.

    Attributes:
        states: each token's state after the last layer, [B T H].
        all_states: what enters the first layer and what leaves each, L + 1 tensors; or None.
        weights: each layer's attention weights, [B K T T]; or None.
    """

    states: Tensor
    all_states: list[Tensor] | None
    weights: list[Tensor] | None


class Albert(nn.Module):
    """The encoder: embeddings, shared layers, and the pooler that sums a text up.

    Its dropout stands where the authors' code has it; `transformers` leaves out the one after
    the feed-forward network.

    Source: Lan et al. 2020, section 3.
    """

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.config = config
        e, h = config.embedding_size, config.hidden_size
        self.words = nn.Embedding(config.vocab_size, e, padding_idx=config.pad_token_id)
        self.positions = nn.Embedding(config.max_position_embeddings, e)
        self.token_types = nn.Embedding(config.type_vocab_size, e)
        self.norm = nn.LayerNorm(e, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.mapping = nn.Linear(e, h)
        self.groups = nn.ModuleList(
            nn.ModuleList(_layer(config) for _ in range(config.inner_group_num))
            for _ in range(config.num_hidden_groups)
        )
        self.pooler = nn.Linear(h, h)
        start_weights(self, config.initializer_range)

    @property
    def layers(self) -> list[EncoderLayer]:
        """The layers in the order in which they are applied; a shared one comes several times."""
        times = self.config.num_hidden_layers // self.config.num_hidden_groups
        return [layer for group in self.groups for _ in range(times) for layer in group]

    def forward(
        self,
        ids: Int64[Tensor, "B T"],
        mask: Bool[Tensor, "B T"] | None,
        token_types: Int64[Tensor, "B T"] | None = None,
        *,
        causal: bool = False,
        need_states: bool = False,
        need_weights: bool = False,
    ) -> Encoded:
        """Return the state of each token; at padding it has no meaning.

        Args:
            ids: each row begins with the token that stands for the text, `[CLS]`.
            mask: true at tokens, padding on the right; what `ids` holds there has no influence.
                None if there is no padding.
            token_types: 0 at all tokens if None.
            causal: let each token attend to itself and those before it only.
            need_states: keep the states between layers too.
            need_weights: return the attention weights; slower.

        Raises:
            ValueError: an empty batch, a text that is empty or longer than
                `max_position_embeddings`, shapes that differ, an id or a type that does not exist.
            TypeError: a mask that is not boolean.
        """
        ids, mask = self._checked(ids, mask, token_types)
        x = self.mapping(self.embed(ids, token_types))  # [B T H]
        if causal:
            earlier = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device)
            keys = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
            mask = keys[:, None] & earlier.tril()  # [B T T]
        all_states, maps = [x], []
        for layer in self.layers:
            x, weights = layer(x, mask, need_weights=need_weights)
            if need_states:
                all_states.append(x)
            maps.append(weights)
        return Encoded(x, all_states if need_states else None, maps if need_weights else None)

    def embed(
        self, ids: Int64[Tensor, "B T"], token_types: Int64[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T E"]:
        """Return the sum of the vectors of word, position and token type, normalised."""
        types = self.token_types.weight[0] if token_types is None else self.token_types(token_types)
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + types
        return self.dropout(self.norm(x))

    def pool(self, states: Float[Tensor, "B T H"]) -> Float[Tensor, "B H"]:
        """Return one vector for each text, made of the state of its first token."""
        return self.pooler(states[:, 0]).tanh()

    def _checked(
        self, ids: Tensor, mask: Tensor | None, token_types: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return ids that exist, also at padding, and the mask; None where it masks nothing."""
        if not ids.numel():
            raise ValueError(f"ids are [B, T] with at least one token; got {[*ids.shape]}")
        for name, other in (("mask", mask), ("token_types", token_types)):
            if other is not None and other.shape != ids.shape:
                shapes = f"{[*ids.shape]} and {[*other.shape]}"
                raise ValueError(f"ids and {name} are both [B, T]; got {shapes}")
        if ids.shape[1] > self.config.max_position_embeddings:
            raise ValueError(
                f"a text of {ids.shape[1]} tokens, but max_position_embeddings="
                f"{self.config.max_position_embeddings}; cut long texts"
            )
        if mask is not None:
            if mask.dtype != torch.bool:
                raise TypeError(f"the mask is boolean, not {mask.dtype}: give mask.bool()")
            ids = ids.masked_fill(~mask, self.config.pad_token_id or 0)
        if torch.compiler.is_compiling():  # what follows waits for the device
            return ids, mask
        types = ids.new_zeros(1) if token_types is None else token_types
        tokens = ids.new_ones(1, 1) if mask is None else mask.long()
        facts = [*ids.aminmax(), *types.aminmax(), tokens[:, 0].amin(), tokens.amin()]
        low, high, low_type, high_type, first, full = torch.stack(facts).tolist()
        if low < 0 or high >= self.config.vocab_size:
            raise ValueError(f"ids run from 0 to {self.config.vocab_size - 1}; got {low} … {high}")
        if low_type < 0 or high_type >= self.config.type_vocab_size:
            raise ValueError(
                f"token types run from 0 to {self.config.type_vocab_size - 1}; "
                f"got {low_type} … {high_type}"
            )
        if not first:
            raise ValueError(
                "a text has no token at its first position: drop empty texts, pad on the right"
            )
        return ids, None if full else mask


class Pretrained(NamedTuple):
    """What both pre-training heads return.

    Attributes:
        words: logits of the words, [B T V], or [P V] for P chosen positions.
        order: logits of the order of both stretches of text, [B 2]: 0 as in the source, 1 swapped.
    """

    words: Tensor
    order: Tensor


class AlbertPretraining(nn.Module):
    """The encoder with the heads of its two pre-training tasks.

    The word head scores each word by its vector in the embedding: the two share their weights.

    Source: Lan et al. 2020, section 3.1; Devlin et al. 2019, section 3.1 (masked words).
    """

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.albert = Albert(config)
        self.word_dense = nn.Linear(config.hidden_size, config.embedding_size)
        self.word_norm = nn.LayerNorm(config.embedding_size, config.layer_norm_eps)
        self.word_bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.activation = ACTIVATIONS[HIDDEN_ACTS[config.hidden_act]]
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.order = nn.Linear(config.hidden_size, 2)
        for head in (self.word_dense, self.order):
            start_weights(head, config.initializer_range)

    def forward(
        self,
        ids: Int64[Tensor, "B T"],
        mask: Bool[Tensor, "B T"] | None,
        token_types: Int64[Tensor, "B T"] | None = None,
        *,
        positions: Bool[Tensor, "B T"] | Int64[Tensor, "P"] | None = None,
        causal: bool = False,
    ) -> Pretrained:
        """Return the logits of both tasks.

        Args:
            positions: where to score words, as a mask or as places in the flattened [B T]; the
                product with all V word vectors is most of the work for a small model. All if None.
            ids, mask, token_types, causal: as for `Albert`, with its errors.
        """
        states = self.albert(ids, mask, token_types, causal=causal).states  # [B T H]
        chosen = states if positions is None else states.flatten(0, 1)[positions.flatten()]
        order = self.order(self.dropout(self.albert.pool(states)))
        return Pretrained(self.score_words(chosen), order)

    def score_words(self, states: Float[Tensor, "*positions H"]) -> Float[Tensor, "*positions V"]:
        """Return each word's logit: how near its vector is to what the state predicts."""
        x = self.word_norm(self.activation(self.word_dense(states)))  # [*positions E]
        return F.linear(x, self.albert.words.weight, self.word_bias)


class AlbertClassifier(nn.Module):
    """The encoder and a linear layer on the pooled state.

    Args:
        classes: number of logits.
    """

    def __init__(self, config: AlbertConfig, classes: int) -> None:
        super().__init__()
        check_sizes(classes)
        self.albert = Albert(config)
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.output = nn.Linear(config.hidden_size, classes)
        start_weights(self.output, config.initializer_range)

    def forward(
        self,
        ids: Int64[Tensor, "B T"],
        mask: Bool[Tensor, "B T"] | None,
        token_types: Int64[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B C"]:
        """Return the logits; arguments and errors as for `Albert`."""
        states = self.albert(ids, mask, token_types).states  # [B T H]
        return self.output(self.dropout(self.albert.pool(states)))


@torch.no_grad()
def start_weights(module: nn.Module, deviation: float) -> None:
    """Draw the weights of linear layers and embeddings from N(0, deviation²); biases are 0.

    Source: Devlin et al. 2019, the authors' code, there without the tails beyond two deviations.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            part.weight.normal_(0.0, deviation)
        if isinstance(part, nn.Linear):
            part.bias.zero_()
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            part.weight[part.padding_idx] = 0


def _layer(config: AlbertConfig) -> EncoderLayer:
    return EncoderLayer(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
        activation=HIDDEN_ACTS[config.hidden_act],
        epsilon=config.layer_norm_eps,
    )
