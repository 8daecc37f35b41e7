"""Plain data, which is all that crosses the wall between the grader and a student's process.

Numbers, strings, None, lists, tuples, dictionaries, NumPy arrays and Torch tensors become JSON and
come back as they were, to the bit. Both sides use this file, so it imports nothing of the project.
"""

import base64
from typing import Any

import numpy as np
import torch

WHOLE = (type(None), bool, int, float, str)
LAZY = (range, map, filter, zip, type({}.keys()), type({}.values()))  # taken for lists
KINDS = "biufc"  # of NumPy's types: numbers only
TENSORS = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
        torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
        torch.complex128,
    )
}  # fmt: skip


def pack(value: Any) -> Any:
    """Return a value as what JSON can hold.

    Raises:
        TypeError: it is, or contains, what is not plain data.
    """
    if type(value) in WHOLE:
        return value
    if isinstance(value, str):  # NumPy has a kind of its own
        return str(value)
    if isinstance(value, torch.Tensor):
        whole = torch.empty(value.numel(), dtype=value.dtype)  # one number after the other
        numbers = whole.copy_(value.detach().reshape(-1)).view(torch.uint8).numpy()
        return {"torch": str(value.dtype).removeprefix("torch."), **_bytes(value.shape, numbers)}
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind not in KINDS:
            raise TypeError(f"an array of {value.dtype} is not plain data")
        return {"numpy": value.dtype.str, **_bytes(value.shape, value)}
    for kind in (list, tuple):
        if isinstance(value, kind):
            return {kind.__name__: [pack(part) for part in value]}
    if isinstance(value, LAZY):
        return {"list": [pack(part) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[pack(key), pack(part)] for key, part in value.items()]}
    raise TypeError(f"a {type(value).__name__} is not plain data (numbers, lists, arrays, tensors)")


def unpack(packed: Any) -> Any:
    """Return what was packed.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: this never came from `pack`.
    """
    if type(packed) in WHOLE:
        return packed
    if "torch" in packed:
        dtype, shape = TENSORS[packed["torch"]], packed["shape"]
        data = bytearray(base64.b64decode(packed["bytes"]))
        whole = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return whole.reshape(shape)
    if "numpy" in packed:
        dtype = np.dtype(packed["numpy"])
        if dtype.kind not in KINDS:
            raise ValueError(f"an array of {dtype} is not plain data")
        whole = np.frombuffer(base64.b64decode(packed["bytes"]), dtype)
        return whole.reshape(packed["shape"]).copy()[()]  # without axes it is a scalar again
    if "dict" in packed:
        return {unpack(key): unpack(part) for key, part in packed["dict"]}
    if "tuple" in packed:
        return tuple(unpack(part) for part in packed["tuple"])
    return [unpack(part) for part in packed["list"]]


def _bytes(shape: tuple[int, ...], numbers: np.ndarray) -> dict[str, Any]:
    return {"shape": list(shape), "bytes": base64.b64encode(numbers.tobytes()).decode()}
