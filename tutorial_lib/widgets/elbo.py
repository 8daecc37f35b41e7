"""Chapter 08: the weight of the KL term in the linear VAE, whose optimum is known exactly.

The data have independent directions, x_i ~ N(0, lambda_i). One unit of the code serves each: its
prior is N(0, 1), the decoder is N(w z, 1), so that the lambda_i are in units of the decoder's
noise, the encoder N(v x, s²). With D = w² + beta, the loss of a unit, reconstruction plus beta
times KL, is least in v and s² at v = w / D and s² = beta / D. It is then, up to a constant,
beta (lambda / D + log D) / 2. This is least at D = lambda; or, where lambda <= beta, at the least D
there is, with w = 0.

Source: Lucas et al. 2019, "Don't Blame the ELBO!" (with the noise fixed and a weight beta).
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tutorial_lib.plots import Html
from tutorial_lib.widgets import frame
from tutorial_lib.widgets.frame import BLUE

LOW, HIGH, RATIOS = 0.05, 20.0, 60  # of beta
DRAW = """
const draw = () => {
  const {variances, top} = data, nats = x => show(x, 2);
  const bound = beta => {
    let rebuilt = 0, kl = 0;
    variances.forEach(v => {
      rebuilt += Math.log(2 * Math.PI) / 2 + Math.min(beta, v) / 2;
      kl += Math.max(0, Math.log(v / beta)) / 2;
    });
    return [rebuilt, kl];
  };
  const beta = value("beta"), [rebuilt, kl] = bound(beta), sum = rebuilt + kl;
  const alive = variances.map(v => v > beta);
  all(".tl-unit").forEach((unit, k) => {
    unit.querySelector("circle").setAttribute("fill", alive[k] ? "BLUE" : "#fff");
    unit.querySelector("path").setAttribute("visibility", alive[k] ? "hidden" : "visible");
  });
  bar(0, [rebuilt / top], nats(rebuilt));
  bar(1, [0, kl / top], nats(kl));
  bar(2, [rebuilt / top, kl / top], nats(sum));
  const living = alive.filter(Boolean).length, [a, b] = bound(1);
  const more = Math.max(0, sum - a - b);  // rounding may make it -0.00
  const words = `β = ${nats(beta)}: ${living} of ${alive.length} units alive. Reconstruction ` +
    `${nats(rebuilt)} and KL ${nats(kl)} make ${nats(sum)} nats, ${nats(more)} more than ` +
    "at β = 1.";
  return [words, "Bars. " + words];
};
"""


def bound(
    variances: Sequence[float], beta: float
) -> tuple[Float[np.ndarray, "Z"], Float[np.ndarray, "Z"]]:
    """Return reconstruction loss and KL of each unit in nats, at the optimum for a weight beta.

    A unit lives where its variance is above beta: then w² = lambda - beta, s² = beta / lambda, it
    pays 1/2 log(lambda / beta) and reconstructs to 1/2 log(2 pi) + beta / 2.
    """
    v = np.asarray(variances, float)
    reconstruction = (math.log(2 * math.pi) + np.minimum(beta, v)) / 2
    return reconstruction, np.log(np.maximum(v / beta, 1)) / 2


def show(variances: Sequence[float]) -> Html:
    """Return bars of reconstruction and KL, a mark for each unit, and a slider for beta.

    Args:
        variances: lambda_i, in units of the decoder's noise variance.

    Raises:
        ValueError: not 1 to 10 variances, or one that is not positive and finite.
    """
    if not 1 <= len(variances) <= 10:
        raise ValueError(f"the figure shows 1 to 10 units; got {len(variances)}")
    if not all(0 < v < math.inf for v in variances):
        raise ValueError(f"variances are positive and finite; got {list(variances)}")
    steps = [LOW * (HIGH / LOW) ** (k / RATIOS) for k in range(RATIOS + 1)]
    top = max(float(np.sum(bound(variances, beta))) for beta in steps)
    rebuilt, kl = (float(part.sum()) for part in bound(variances, 1.0))
    living = sum(v > 1 for v in variances)
    said = (
        f"β = 1.00: {living} of {len(variances)} units alive. Reconstruction {rebuilt:,.2f} and KL "
        f"{kl:,.2f} make {rebuilt + kl:,.2f} nats, 0.00 more than at β = 1."
    )
    y, x = 64 + 2 * frame.ROW, frame.LEFT + frame.WIDTH * (rebuilt + kl) / top
    body = (
        f"{_units(variances)}{frame.bar(64, 'reconstruction', f'{rebuilt:,.2f}', rebuilt / top)}"
        f"{frame.bar(64 + frame.ROW, 'KL', f'{kl:,.2f}', 0.0, kl / top)}"
        + frame.bar(y, "their sum, −ELBO", f"{rebuilt + kl:,.2f}", rebuilt / top, kl / top)
        + f'<path d="M{x:.1f} {y + 15}v22" stroke="#111" stroke-width="2"/>'
        f'<text x="{min(x, 290):.1f}" y="{y + 50}" text-anchor="middle">least: β = 1</text>'
    )
    return frame.figure(
        "elbo",
        controls=[frame.Slider("beta", "weight β of the KL term", LOW, HIGH, 1.0,
                               ratios=RATIOS, digits=2)],
        picture=frame.svg(y + 56, body, f"Bars. {said}"),
        said=said,
        caption="The linear VAE, trained to its optimum with a weight β: all numbers are exact. "
        "Variances are in units of the decoder's noise.",
        draw=DRAW.replace("BLUE", BLUE),
        values={"variances": list(variances), "top": top},
    )  # fmt: skip


def _units(variances: Sequence[float]) -> str:
    """Return a mark for each unit: filled, or hollow with a cross."""
    gap = frame.WIDTH / len(variances)
    marks = ['<text x="4" y="14">units by variance: filled alive, crossed out dead</text>']
    for k, v in enumerate(variances):
        x, lives = frame.LEFT + gap * (k + 0.5), v > 1
        marks.append(
            f'<g class="tl-unit"><circle cx="{x:.1f}" cy="32" r="9" '
            f'fill="{BLUE if lives else "#fff"}" stroke="{BLUE}" stroke-width="2"/>'
            f'<path d="M{x - 5:.1f} 27l10 10m0-10l-10 10" stroke="#111" stroke-width="2" '
            f'visibility="{"hidden" if lives else "visible"}"/>'
            f'<text x="{x:.1f}" y="57" text-anchor="middle">{v:g}</text></g>'
        )
    return "".join(marks)
