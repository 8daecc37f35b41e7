"""Chapter 01: what a probability costs, and how hard the loss pushes at it."""

import math

from tutorial_lib.plots import Html
from tutorial_lib.widgets import frame
from tutorial_lib.widgets.frame import BLUE, ORANGE

FIRST = 0.2
X, Y, WIDE, TALL = 34, 176, 296, 34  # where 0 lies, and how long 1 is
DRAW = f"""
const draw = () => {{
  const p = value("p"), loss = -Math.log(p) + 0, squared = (1 - p) ** 2;
  const push = 1 - p, weaker = 2 * squared * p;
  const [circle, square] = all(".tl-point");
  circle.setAttribute("cx", {X} + {WIDE} * p);
  circle.setAttribute("cy", {Y} - {TALL} * loss);
  square.setAttribute("x", {X} + {WIDE} * p - 5);
  square.setAttribute("y", {Y} - {TALL} * squared - 5);
  bar(0, [push], show(push, 3));
  bar(1, [0, weaker], show(weaker, 3));
  const words = `p = ${{show(p, 2)}}: cross-entropy ${{show(loss, 3)}} nats, its gradient by the ` +
    `right class's logit ${{show(push, 3)}} in size. Squared error ${{show(squared, 3)}}, its ` +
    `gradient ${{show(weaker, 3)}}.`;
  return [words, "Two falling curves over p. " + words];
}};
"""


def show() -> Html:
    """Return the curves of -log p and (1 - p)² with a point that a slider moves, and their slopes.

    p is the probability given to the right class. The slopes are sizes of gradients by the right
    class's logit: 1 - p, for any number of classes, and 2 (1 - p)² p, for two.
    """
    loss, squared = -math.log(FIRST), (1 - FIRST) ** 2
    push, weaker = 1 - FIRST, 2 * squared * FIRST
    said = (
        f"p = {FIRST:.2f}: cross-entropy {loss:.3f} nats, its gradient by the right class's logit "
        f"{push:.3f} in size. Squared error {squared:.3f}, its gradient {weaker:.3f}."
    )
    top = Y + 36
    body = (
        f"{_axes()}{_legend()}{_curves()}"
        f'<circle class="tl-point" cx="{X + WIDE * FIRST:.1f}" cy="{Y - TALL * loss:.1f}" r="6" '
        f'fill="{BLUE}"/><rect class="tl-point" x="{X + WIDE * FIRST - 5:.1f}" '
        f'y="{Y - TALL * squared - 5:.1f}" width="10" height="10" fill="#fff" stroke="{ORANGE}" '
        f'stroke-width="2"/><text x="4" y="{top + 10}" font-weight="bold">size of the gradient by '
        f"the right class's logit</text>"
        + frame.bar(top + 14, "cross-entropy: 1 − p", f"{push:.3f}", push)
        + frame.bar(
            top + 14 + frame.ROW, "squared error, two classes: 2 (1 − p)² p", f"{weaker:.3f}",
            0.0, weaker,
        )
    )  # fmt: skip
    return frame.figure(
        "confidence",
        controls=[frame.Slider("p", "p of the right class", 0.01, 1.0, FIRST, step=0.01, digits=2)],
        picture=frame.svg(top + 16 + 2 * frame.ROW, body, f"Two falling curves over p. {said}"),
        said=said,
        caption="What a probability p of the right class costs, and how hard the loss pushes.",
        draw=DRAW,
    )


def _axes() -> str:
    """Return lines and numbers of both axes."""
    ticks = "".join(
        f'<path d="M{X} {Y - TALL * k}h{WIDE}" stroke="#ddd"/>'
        f'<text x="{X - 6}" y="{Y - TALL * k + 4}" text-anchor="end">{k}</text>'
        for k in range(6)
    )
    ticks += "".join(
        f'<text x="{X + WIDE * p:g}" y="{Y + 15}" text-anchor="middle">{p:g}</text>'
        for p in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        f'{ticks}<path d="M{X} 4V{Y}h{WIDE}" fill="none" stroke="#111"/>'
        f'<text x="{X + WIDE / 2}" y="{Y + 29}" text-anchor="middle">p of the right class</text>'
        f'<text transform="translate(12 {Y / 2}) rotate(-90)" text-anchor="middle">loss</text>'
    )


def _curves() -> str:
    """Return cross-entropy as a solid line, squared error as a dashed one."""
    near = [k / 200 for k in range(2, 20)]
    far = [k / 40 for k in range(4, 41)]
    lines = []
    for height, style in (
        (lambda p: -math.log(p), f'stroke="{BLUE}"'),
        (lambda p: (1 - p) ** 2, f'stroke="{ORANGE}" stroke-dasharray="6 3"'),
    ):
        points = " ".join(f"{X + WIDE * p:.1f},{Y - TALL * height(p):.1f}" for p in near + far)
        lines.append(f'<polyline points="{points}" fill="none" {style} stroke-width="2"/>')
    return "".join(lines)


def _legend() -> str:
    return (
        f'<path d="M160 24h28" stroke="{BLUE}" stroke-width="2"/>'
        f'<circle cx="174" cy="24" r="5" fill="{BLUE}"/><text x="196" y="28">cross-entropy, −log p'
        f'</text><path d="M160 46h28" stroke="{ORANGE}" stroke-width="2" stroke-dasharray="6 3"/>'
        f'<rect x="170" y="42" width="8" height="8" fill="#fff" stroke="{ORANGE}" '
        'stroke-width="2"/><text x="196" y="50">squared error, (1 − p)²</text>'
    )
