"""What the tests of an assignment say with: comparisons whose messages name a property.

A message says what should hold, for which input, and what the answer gave; never what it should
have given. The functions that ask about a call (`gradients`, `steps`, `after`) take a student's
answer behind the wall as well as a plain function here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from grading import inside
from grading.plain import KINDS, pack, unpack


class AnswerError(Exception):
    """An answer failed behind the wall; the message tells how, and for which input."""


class AnswerValueError(AnswerError, ValueError):
    """The answer itself raised a ValueError, or one of its kinds."""


class AnswerTypeError(AnswerError, TypeError):
    """The answer itself raised a TypeError."""


def close(
    got: Any, wanted: Any, says: str, given: Any = None, *, rtol: float = 1e-5, atol: float = 1e-7
) -> None:
    """Hold a result to what it should be: the same shape, and the same numbers up to rounding.

    Args:
        says: the property, as a sentence that is true of a right answer.
        given: the input, for the message.

    Raises:
        AssertionError: it is not.
    """
    found, true = as_array(got, says), as_array(wanted, says)
    where = "" if given is None else f"\nfor {show(given)}"
    if found.shape != true.shape:
        raise AssertionError(
            f"{says}{where}\nyour result has shape {found.shape}, not {true.shape}"
        )
    wrong = ~np.isclose(found, true, rtol=rtol, atol=atol, equal_nan=True)
    if wrong.any():
        place = tuple(map(int, np.argwhere(wrong)[0])) if found.shape else ""
        count = (
            f"{int(wrong.sum())} of {wrong.size} numbers are" if found.shape else "the number is"
        )
        at = f", the first at {list(place)}" if found.shape else ""
        yours = found[place] if place else found.item()
        raise AssertionError(f"{says}{where}\n{count} wrong{at}: yours is {yours}")


def true(holds: Any, says: str, given: Any = None) -> None:
    """Hold an answer to a property.

    Raises:
        AssertionError: it does not have it.
    """
    if not holds:
        raise AssertionError(says if given is None else f"{says}\nfor {show(given)}")


def raises(answer: Callable, *args: Any, says: str, **options: Any) -> None:
    """Hold an answer to refusing an input, with an error of the kinds that callers expect.

    Raises:
        AssertionError: it returns something, or fails with another kind of error.
    """
    try:
        found = answer(*args, **options)
    except (ValueError, TypeError):
        return
    except AnswerError as error:
        raise AssertionError(f"{says}\nyours: {error}") from error
    raise AssertionError(f"{says}\nfor {show(args)}\nyours returned {show(found)}")


def gradients(answer: Callable, *args: Any, **options: Any) -> list[torch.Tensor | None]:
    """Return the gradients of a result's sum by each floating-point tensor of the arguments."""
    return _about("gradients", answer, args, options)


def steps(answer: Callable, *args: Any, **options: Any) -> int:
    """Return how many of Python's instructions a call takes; work inside NumPy or Torch is one."""
    return _about("steps", answer, args, options)


def after(answer: Callable, *args: Any, **options: Any) -> tuple:
    """Return the arguments as a call leaves them."""
    return _about("arguments", answer, args, options)[0]


def _about(what: str, answer: Any, args: tuple, options: dict[str, Any]) -> Any:
    ask = getattr(answer, "ask", None)
    if ask:
        return ask(what, args, options)
    request = {"what": what, "args": pack(args), "options": pack(options)}
    return unpack(inside.answer(answer, request))


def as_array(value: Any, says: str) -> np.ndarray:
    """Return numbers as an array of floats, or of what they are if they are not real.

    Raises:
        AssertionError: these are not numbers.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().to(torch.float64).numpy()
    try:
        found = np.asarray(value)
    except (TypeError, ValueError):  # rows of different lengths
        found = np.array(None)
    if found.dtype.kind not in KINDS:
        raise AssertionError(f"{says}\nyour result is no array of numbers: {show(value)}")
    return found if found.dtype.kind == "c" else found.astype(np.float64)


def show(value: Any) -> str:
    """Return a value in a line or two."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        array = as_array(value, "") if torch.is_tensor(value) else value
        text = np.array2string(array, precision=4, threshold=20, separator=", ")
        return text if array.size <= 20 else f"an array of shape {array.shape}: {text}"
    if isinstance(value, (list, tuple)):
        parts: Sequence[Any] = value[:8]
        text = ", ".join(show(part) for part in parts) + (", …" if len(value) > 8 else "")
        return f"[{text}]" if isinstance(value, list) else f"({text})"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
