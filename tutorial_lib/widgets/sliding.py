"""Chapter 04: filters of a convolution slide over a sentence, and the maximum is kept."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tutorial_lib.plots import Data, Html
from tutorial_lib.widgets import frame

DRAW = """
const draw = () => {
  const {tokens, width, names, answers} = data;
  const filter = value("filter"), at = value("window") - 1, row = answers[filter];
  const most = Math.max(...row), best = row.indexOf(most);
  const words = k => `window ${k + 1}, “${tokens.slice(k, k + width).join(" ")}”`;
  tokens.forEach((token, k) => mark(k, most > 0 && row[k] > 0 ? row[k] / most : 0,
    k in row ? (k == best ? "max " : "") + show(row[k], 2) : "–", k >= at && k < at + width));
  return [`Filter ${names[filter]}, ${words(at)}: ${show(row[at], 2)}. Pooling keeps the ` +
    `largest, ${show(most, 2)} at ${words(best)}.`];
};
"""


def show(
    tokens: Sequence[str],
    answers: Float[np.ndarray, "..."],
    *,
    width: int,
    names: Sequence[str],
    caption: str,
    data: Data = None,
) -> Html:
    """Return the tokens with a window that slides over them and the answers of a filter.

    The bar and the number above and below a token are those of the window that begins there; the
    largest is marked "max". Bars show only what is above 0.

    Args:
        tokens: T of them, with any padding that the windows cover.
        answers: of each filter at each window, [O, M] with M = T - width + 1.
        width: w, tokens in a window.
        names: of the filters.

    Raises:
        ValueError: no tokens or too many, a width that does not fit, answers of another shape or
            not finite, or not one name for each filter.
    """
    frame.check_tokens(tokens)
    answers = np.asarray(answers, float)
    if not 1 <= width <= len(tokens):
        raise ValueError(f"a window of {width} tokens does not fit into {len(tokens)}")
    wanted = (len(names), len(tokens) - width + 1)
    if not len(names) or answers.shape != wanted:
        raise ValueError(
            f"{len(names)} filters at {wanted[1]} windows need answers of shape {wanted}; "
            f"got {answers.shape}"
        )
    if not np.isfinite(answers).all():
        raise ValueError("the answers must be finite")
    rounded = (answers.round(2) + 0.0).tolist()
    return frame.figure(
        "sliding",
        controls=[
            frame.Choice("filter", "filter", names),
            frame.Slider("window", "window", 1, wanted[1], 1),
        ],
        picture=_picture(tokens, rounded[0], width),
        said=_said(tokens, rounded[0], width, names[0]),
        caption=f"{caption} A bar stands where its window begins; what is below 0 has none.",
        draw=DRAW,
        values={"tokens": list(tokens), "width": width, "names": list(names), "answers": rounded},
        data=data,
    )


def _picture(tokens: Sequence[str], row: list[float], width: int) -> str:
    most = max(row)
    shares = [max(answer, 0) / most if most > 0 else 0.0 for answer in row]
    numbers = [f"{answer:,.2f}" for answer in row]
    numbers[row.index(most)] = f"max {most:,.2f}"
    rest = width - 1  # tokens at which no window begins
    return frame.strip(tokens, shares + [0.0] * rest, numbers + ["–"] * rest, range(width))


def _said(tokens: Sequence[str], row: list[float], width: int, name: str) -> str:
    def words(k: int) -> str:
        return f"window {k + 1}, “{' '.join(tokens[k : k + width])}”"

    most = max(row)
    return (
        f"Filter {name}, {words(0)}: {row[0]:,.2f}. Pooling keeps the largest, {most:,.2f} at "
        f"{words(row.index(most))}."
    )
