"""Chapter 06: what each token of a text looks at, head by head."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tutorial_lib.plots import Data, Html
from tutorial_lib.widgets import frame

DRAW = """
all(".tl-token").forEach(token => token.addEventListener("pointerenter", () => {
  token.querySelector("input").checked = true;
  update();
}));
const draw = () => {
  const {tokens, weights} = data, head = value("head"), asks = value("token");
  const row = weights[head][asks], most = Math.max(...row);
  row.forEach((w, k) => mark(k, w / most, show(w / 10, 1), k == asks));
  const best = row.map((w, k) => k).sort((a, b) => row[b] - row[a]).slice(0, 3);
  return [`Head ${head + 1}: “${tokens[asks]}” looks most at ` +
    best.map(k => `“${tokens[k]}” (${show(row[k] / 10, 1)} %)`).join(", ") + "."];
};
"""


def show(
    tokens: Sequence[str], weights: Float[np.ndarray, "..."], *, caption: str, data: Data = None
) -> Html:
    """Return the tokens; the one that is pointed at or chosen by key shows what it looks at.

    Bars and shades are relative to the largest weight; the numbers are weights in per cent.

    Args:
        tokens: T of them, without padding.
        weights: of each head, from each token (second axis) to each (third), [K, T, T].

    Raises:
        ValueError: no tokens or too many, weights of another shape or not finite, or a token's
            weights that are not shares of 1.
    """
    frame.check_tokens(tokens)
    weights, size = np.asarray(weights, float), len(tokens)
    if weights.ndim != 3 or not len(weights) or weights.shape[1:] != (size, size):
        raise ValueError(f"{size} tokens need weights [K, {size}, {size}]; got {weights.shape}")
    if not np.isfinite(weights).all():
        raise ValueError("the weights must be finite")
    if (weights < 0).any() or (abs(weights.sum(-1) - 1) > 0.01).any():
        raise ValueError("the weights of each token must be at least 0 and sum to 1")
    rounded = (1000 * weights).round().astype(int)
    row = rounded[0, 0]
    best = np.argsort(-row, kind="stable")[:3]
    strongest = ", ".join(f"“{tokens[k]}” ({row[k] / 10:.1f} %)" for k in best)
    shares, numbers = (row / row.max()).tolist(), [f"{w / 10:.1f}" for w in row]
    return frame.figure(
        "attention",
        controls=[frame.Choice("head", "head", [f"{k + 1}" for k in range(len(weights))])],
        picture=frame.strip(tokens, shares, numbers, [0], chosen="token that looks"),
        said=f"Head 1: “{tokens[0]}” looks most at {strongest}.",
        caption=f"{caption} Bars: relative to the largest weight; numbers: per cent.",
        draw=DRAW,
        values={"tokens": list(tokens), "weights": rounded.tolist()},
        data=data,
    )
