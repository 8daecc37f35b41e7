"""Chapter 07: ALBERT in the file format of Hugging Face, from their hub or a folder.

A model is a folder: `config.json`, `model.safetensors`, and the tokenizer as `tokenizer.json`.
`transformers` reads what `save` writes, and the reverse. Only safetensors files are read: a pickle
can run any program when it is loaded.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from tutorial_lib import atomic
from tutorial_lib.albert import Albert, AlbertClassifier, AlbertConfig, AlbertPretraining
from tutorial_lib.hub_tensors import WeightsError, fill, published, within

if TYPE_CHECKING:
    import tokenizers

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
SENTENCEPIECE, TOKENIZER_CONFIG = "spiece.model", "tokenizer_config.json"
ARCHITECTURES: dict[type[nn.Module], str] = {
    Albert: "AlbertModel",
    AlbertPretraining: "AlbertForPreTraining",
    AlbertClassifier: "AlbertForSequenceClassification",
}
SPECIAL = {
    "cls_token": ("[CLS]",),
    "sep_token": ("[SEP]",),
    "mask_token": ("[MASK]",),
    "pad_token": ("<pad>", "[PAD]"),
    "unk_token": ("<unk>", "[UNK]"),
}
MINI = Path(__file__).parent / "pretrained" / "mini-albert"


class Loaded(NamedTuple):
    """What `load` returns.

    Attributes:
        model: in training mode, on the processor, in float32.
        tokenizer: text to ids, without padding or truncation; None if there is none.
        new: parts that the file lacks (`classifier`, `albert.pooler`, …), at a fresh start.
    """

    model: nn.Module
    tokenizer: "tokenizers.Tokenizer | None"
    new: tuple[str, ...]


def load(
    source: str | Path,
    kind: type[nn.Module] = Albert,
    *,
    classes: int | None = None,
    revision: str | None = None,
) -> Loaded:
    """Return a published or saved model, with its tokenizer.

    Args:
        source: a folder; or `mini-albert`, the model that comes with this package; or a name on
            the hub: `albert-base-v2`, or `owner/model`.
        kind: `Albert`, `AlbertPretraining` or `AlbertClassifier`, whatever was saved.
        classes: of an `AlbertClassifier`; if None, as many as the file's has.
        revision: branch, tag or commit on the hub.

    Raises:
        WeightsError: nothing there, another kind of model, a pickle, a damaged file, a tensor that
            is missing, does not fit or is not finite. The message says which.
        ValueError: classes for a model without or with others, no number of classes to be found,
            a revision of a folder.
    """
    if kind not in ARCHITECTURES:
        raise ValueError(f"kind is Albert, AlbertPretraining or AlbertClassifier; got {kind}")
    folder = _folder(source, revision)
    config = read_config(folder / CONFIG)
    tensors = _read(folder)
    if not _classifies(folder / CONFIG):  # of tokens or of answers, say
        tensors = {n: t for n, t in tensors.items() if not within(n, "classifier")}
    if kind is not AlbertClassifier and classes is not None:
        raise ValueError(f"classes={classes}, but {kind.__name__} does not classify")
    if kind is AlbertClassifier:
        weight = tensors.get("classifier.weight", torch.zeros(()))
        saved = len(weight) if weight.ndim == 2 else None
        if classes is None and saved is None:
            raise ValueError(f"{source} has no classifier: give classes, for a new one")
        if None not in (classes, saved) and classes != saved:
            raise ValueError(
                f"{source} has a classifier of {saved} classes, not {classes}: load it without "
                "`classes`, and give it another head with `transfer.new_head`"
            )
        model = kind(config, saved if classes is None else classes)
    else:
        model = kind(config)
    new = fill(model, tensors, folder / WEIGHTS)
    return Loaded(model, _tokenizer(folder, config), new)


def save(
    model: Albert | AlbertPretraining | AlbertClassifier,
    folder: str | Path,
    *,
    tokenizer: "tokenizers.Tokenizer | None" = None,
    labels: Sequence[str] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model that `load` and `transformers` read.

    Args:
        folder: made if need be; files of the same names are replaced.
        tokenizer: that the model was trained with.
        labels: names of a classifier's classes, in order; `transformers` answers with them.
        dtype: of the numbers in the file; float16 halves it.

    Raises:
        ValueError: weights that are not finite in this precision, labels that are not one name for
            each class; nothing is written.
        OSError: the folder cannot be written.
    """
    from safetensors.torch import save as to_bytes

    tensors = {
        name: tensor.detach().to("cpu", dtype, copy=True).contiguous()
        for name, tensor in published(model).items()
    }
    if bad := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{bad[0]} is not finite as {dtype}; nothing was written")
    encoder = model if isinstance(model, Albert) else model.albert
    facts = dataclasses.asdict(encoder.config) | {
        "model_type": "albert",
        "architectures": [ARCHITECTURES[type(model)]],
        "tie_word_embeddings": True,
        "dtype": "float32",  # to compute in, also where the file holds fewer digits
    }
    classes = model.output.out_features if isinstance(model, AlbertClassifier) else 0
    if labels is not None and not classes == len(labels) == len(set(labels)):
        raise ValueError(f"{list(labels)} are no {classes} names of classes; nothing was written")
    if classes:
        names = labels or [f"LABEL_{c}" for c in range(classes)]
        facts["id2label"] = {str(c): name for c, name in enumerate(names)}
        facts["label2id"] = {name: c for c, name in enumerate(names)}
    files = {CONFIG: _json(facts), WEIGHTS: to_bytes(tensors, metadata={"format": "pt"})}
    if tokenizer is not None:
        known = {
            role: name
            for role, names in SPECIAL.items()
            for name in names
            if tokenizer.token_to_id(name) is not None
        }
        known |= {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": encoder.config.max_position_embeddings,
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        }
        files |= {TOKENIZER: tokenizer.to_str(), TOKENIZER_CONFIG: _json(known)}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_all(folder, files)


def read_config(path: Path) -> AlbertConfig:
    """Return the configuration in a `config.json`; what it does not say has its default.

    Raises:
        WeightsError: no such file, not JSON, not of an ALBERT, or values that cannot be.
    """
    try:
        facts = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{path.parent} holds no {path.name}: it is no saved model") from None
    except ValueError as error:
        raise WeightsError(f"{path} is damaged or cut short: {error}") from error
    model_type = facts.get("model_type") if isinstance(facts, dict) else None
    if model_type != "albert":
        raise WeightsError(f"{path} is of model_type {model_type!r}; only 'albert' can be loaded")
    known = {}
    for field in dataclasses.fields(AlbertConfig):
        value = facts.get(field.name, field.default)
        if isinstance(field.default, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(field.default) and not (
            value is None and field.name.endswith("_token_id")
        ):
            raise WeightsError(f"{path}: {field.name} cannot be {value!r}")
        known[field.name] = value
    try:
        return AlbertConfig(**known)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from error


def _folder(source: str | Path, revision: str | None) -> Path:
    """Return a local folder; files on the hub are fetched into its client's cache."""
    local = Path(source) if Path(source).is_dir() else MINI if source == MINI.name else None
    if local and revision:
        raise ValueError(f"revision={revision!r} is for models on the hub; {source} is a folder")
    if local:
        return local
    if isinstance(source, Path) or not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", source):
        raise WeightsError(f"there is no folder {source}")
    from huggingface_hub import snapshot_download

    name = source if "/" in source else f"albert/{source}"
    try:
        files = [CONFIG, WEIGHTS, TOKENIZER, SENTENCEPIECE, TOKENIZER_CONFIG]
        return Path(snapshot_download(name, revision=revision, allow_patterns=files))
    except Exception as error:  # those of the connection share no class with the client's own
        raise WeightsError(
            f"there is no folder {source}, and {name} cannot be had from the hub: {error}"
        ) from error


def _read(folder: Path) -> dict[str, Tensor]:
    """Return all tensors by published name, `albert.` before those of the encoder, in float32."""
    from safetensors import SafetensorError, safe_open

    path = folder / WEIGHTS
    if not path.is_file():
        pickles = [file.name for file in folder.glob("*") if file.suffix in (".bin", ".pt", ".pth")]
        kind = (json.loads((folder / CONFIG).read_text("utf-8")).get("architectures") or [None])[0]
        raise WeightsError(
            f"weights are read from {WEIGHTS}; {folder} holds "
            f"{f'only {pickles[0]}, a pickle' if pickles else 'no such file'}. A pickle is never "
            "loaded, as it can run any program. If you trust one, convert it once: "
            f"transformers.{kind or 'AlbertModel'}.from_pretrained(old).save_pretrained(new)"
        )
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        with open(path, "rb") as file:
            start = file.read(2)
        if start[:1] == b"\x80" or start == b"PK":
            raise WeightsError(f"{path} is a pickle by another name: it is not loaded") from error
        raise WeightsError(f"{path} is damaged or cut short: {error}") from error
    if not any(name.startswith("albert.") for name in tensors):  # the encoder alone
        tensors = {
            f"albert.{name}" if name.startswith(("embeddings.", "encoder.", "pooler.")) else name: t
            for name, t in tensors.items()
        }
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def _classifies(path: Path) -> bool:
    """Return whether a saved `classifier`, if there is one, is of texts."""
    named = json.loads(path.read_text("utf-8")).get("architectures") or [None]
    return named[0] in (None, ARCHITECTURES[AlbertClassifier])


def _tokenizer(folder: Path, config: AlbertConfig) -> "tokenizers.Tokenizer | None":
    from tokenizers import Tokenizer

    if not (folder / TOKENIZER).is_file():
        if (folder / SENTENCEPIECE).is_file():
            raise WeightsError(
                f"{folder} has its tokenizer as {SENTENCEPIECE} only. Write {TOKENIZER} once: "
                "transformers.AutoTokenizer.from_pretrained(old).save_pretrained(new)"
            )
        return None
    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # the library raises no narrower class
        raise WeightsError(f"{folder / TOKENIZER} is damaged: {error}") from error
    if tokenizer.get_vocab_size() > config.vocab_size:
        raise WeightsError(
            f"{folder}: the tokenizer has {tokenizer.get_vocab_size()} ids, the model "
            f"{config.vocab_size}: they do not belong together"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _json(facts: Mapping[str, Any]) -> bytes:
    return (json.dumps(facts, indent=2, sort_keys=True) + "\n").encode()
