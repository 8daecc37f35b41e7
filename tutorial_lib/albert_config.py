"""Chapter 07: the sizes of an ALBERT, and what they cost in parameters and arithmetic.

Read through `tutorial_lib.albert`, which has the model.

V vocabulary, E embedding, H hidden, K heads, L layers, G groups of layers, n layers in a group,
I width of the feed-forward network, P positions, S token types, T tokens of one text.
"""

import dataclasses

from tutorial_lib.embedding import check_sizes

# The names of activations in published configurations, and ours.
HIDDEN_ACTS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


@dataclasses.dataclass(frozen=True)
class AlbertConfig:
    """Sizes and settings, with the names and defaults of published `config.json` files.

    Attributes:
        vocab_size, embedding_size, hidden_size: V, E and H.
        num_hidden_layers: how often a group of layers is applied.
        num_hidden_groups: groups with parameters of their own; each serves as many layers.
        inner_group_num: layers within a group, each with parameters of its own.
        num_attention_heads, intermediate_size, hidden_act: of each layer.
        hidden_dropout_prob: share of elements set to 0 in training, after the embedding and
            each part of a layer; attention_probs_dropout_prob: of the attention weights;
            classifier_dropout_prob: before a head that reads the pooled state.
        max_position_embeddings: tokens of the longest text.
        type_vocab_size: token types; type 0 is the first stretch of text, 1 the second.
        initializer_range: standard deviation of the weights at the start.

    Raises:
        ValueError: sizes that cannot be, an unknown activation, shares outside [0, 1).
    """

    vocab_size: int = 30_000
    embedding_size: int = 128
    hidden_size: int = 4096
    num_hidden_layers: int = 12
    num_hidden_groups: int = 1
    inner_group_num: int = 1
    num_attention_heads: int = 64
    intermediate_size: int = 16_384
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | None = 3

    def __post_init__(self) -> None:
        check_sizes(
            self.vocab_size, self.embedding_size, self.hidden_size, self.num_hidden_layers,
            self.num_hidden_groups, self.inner_group_num, self.num_attention_heads,
            self.intermediate_size, self.max_position_embeddings, self.type_vocab_size,
        )  # fmt: skip
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} cannot share "
                f"hidden_size={self.hidden_size} evenly"
            )
        if self.num_hidden_layers % self.num_hidden_groups:
            raise ValueError(
                f"num_hidden_groups={self.num_hidden_groups} cannot share "
                f"num_hidden_layers={self.num_hidden_layers} evenly"
            )
        if self.hidden_act not in HIDDEN_ACTS:
            known = ", ".join(HIDDEN_ACTS)
            raise ValueError(f"hidden_act is one of {known}; got {self.hidden_act!r}")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob",
                     "classifier_dropout_prob"):  # fmt: skip
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 0 and below 1; got {getattr(self, name)}")
        if min(self.layer_norm_eps, self.initializer_range) <= 0:
            raise ValueError(
                "layer_norm_eps and initializer_range are above 0; got "
                f"{self.layer_norm_eps} and {self.initializer_range}"
            )
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(
                f"pad_token_id={self.pad_token_id} is not in a vocabulary of {self.vocab_size}"
            )


# Lan et al. 2020, table 1; dropout and activation are those of the second published version.
SIZES = {
    "base": AlbertConfig(hidden_size=768, num_attention_heads=12, intermediate_size=3072),
    "large": AlbertConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
    ),
    "xlarge": AlbertConfig(
        hidden_size=2048, num_hidden_layers=24, num_attention_heads=16, intermediate_size=8192
    ),
    "xxlarge": AlbertConfig(),
}


def embedding_parameters(config: AlbertConfig, *, factorised: bool = True) -> int:
    """Return the parameters of the embedding and of the mapping to the states' width.

    (V + P + S + 2) E + E H + H: a vector for each word, position and token type, scale and shift
    of the norm, and the mapping with its bias.

    Args:
        factorised: if not, all vectors have H elements and nothing is mapped, as in BERT:
            (V + P + S + 2) H.

    Source: Lan et al. 2020, section 3.1.

    Equation: eq-factorised
    """
    e, h = config.embedding_size, config.hidden_size
    vectors = config.vocab_size + config.max_position_embeddings + config.type_vocab_size + 2
    return vectors * e + e * h + h if factorised else vectors * h


def layer_parameters(config: AlbertConfig, *, shared: bool = True) -> int:
    """Return the parameters of all layers.

    G n (4 H² + 2 H I + 9 H + I): four projections of the attention, two of the feed-forward
    network, all with biases, and two norms.

    Args:
        shared: if not, each of the L layers has its own, as in BERT: L n (…).

    Source: Lan et al. 2020, section 3.1.

    Equation: eq-shared-parameters
    """
    h, i = config.hidden_size, config.intermediate_size
    groups = config.num_hidden_groups if shared else config.num_hidden_layers
    return groups * config.inner_group_num * (4 * h * h + 2 * h * i + 9 * h + i)


def parameter_count(config: AlbertConfig, *, factorised: bool = True, shared: bool = True) -> int:
    """Return the parameters of the encoder with its pooler; of BERT's if neither is chosen."""
    h = config.hidden_size
    embedding = embedding_parameters(config, factorised=factorised)
    return embedding + layer_parameters(config, shared=shared) + h * h + h


def flops(config: AlbertConfig, time: int, *, factorised: bool = True) -> int:
    """Return the floating-point operations of the matrix products for one text, forwards.

    2 T E H + L n (8 T H² + 4 T² H + 4 T H I) + 2 H²: each product of a multiply-add counts 2.
    Sharing changes nothing: a layer that is used again is computed again.

    Args:
        time: tokens of the text, T.
        factorised: if not, nothing is mapped, as in BERT: the first term is absent.

    Raises:
        ValueError: less than one token, or more than there are positions.

    Equation: eq-flops
    """
    if not 1 <= time <= config.max_position_embeddings:
        raise ValueError(f"a text has 1 to {config.max_position_embeddings} tokens; got {time}")
    h = config.hidden_size
    mapping = 2 * time * config.embedding_size * h if factorised else 0
    layer = 8 * time * h * h + 4 * time * time * h + 4 * time * h * config.intermediate_size
    return mapping + config.num_hidden_layers * config.inner_group_num * layer + 2 * h * h
