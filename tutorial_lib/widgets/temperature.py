"""Chapter 01: what temperature and logits do to the probabilities of softmax."""

import math
from collections.abc import Mapping

import torch

from tutorial_lib import softmax
from tutorial_lib.plots import Html
from tutorial_lib.widgets import frame

LARGEST = 6.0  # logit
DRAW = """
const draw = () => {
  const tau = value("tau"), z = data.map((name, k) => value("z" + k) / tau);
  const e = z.map(x => Math.exp(x - Math.max(...z))), sum = e.reduce((a, b) => a + b);
  const p = e.map(x => x / sum), most = Math.log(p.length);
  const entropy = -p.reduce((h, x) => h + (x && x * Math.log(x)), 0) + 0;
  p.forEach((x, k) => bar(k, [x], show(x, 3)));
  bar(p.length, [0, entropy / most], show(entropy, 3));
  const best = p.indexOf(Math.max(...p));
  return [`Temperature ${show(tau, 2)}: ${data[best]} has ${show(p[best], 3)}. The entropy is ` +
    `${show(entropy, 3)} of at most ${show(most, 3)} nats.`, "Bars of the probabilities: " +
    p.map((x, k) => `${data[k]} ${show(x, 3)}`).join(", ") + `; entropy ${show(entropy, 3)} nats.`];
};
"""


def show(logits: Mapping[str, float]) -> Html:
    """Return bars of softmax(z / tau) and its entropy, a slider for tau and one for each logit.

    Args:
        logits: of each class by name; rounded to one digit after the point, as the sliders are.

    Raises:
        ValueError: not two to eight classes, or a logit outside -6 … 6.
    """
    names, z = list(logits), [round(logit, 1) for logit in logits.values()]
    if not 2 <= len(names) <= 8:
        raise ValueError(f"the figure shows 2 to 8 classes; got {len(names)}")
    if not all(abs(logit) <= LARGEST for logit in z):
        raise ValueError(f"logits lie between -{LARGEST:g} and {LARGEST:g}; got {z}")
    p = softmax.softmax(torch.tensor(z, dtype=torch.float64))
    entropy, most = softmax.entropy(p).item(), math.log(len(names))
    p = p.tolist()
    sliders = [frame.Slider("tau", "temperature", 0.1, 10.0, 1.0, ratios=40, digits=2)] + [
        frame.Slider(f"z{k}", f"logit of {name}", -LARGEST, LARGEST, z[k], step=0.1, digits=1)
        for k, name in enumerate(names)
    ]
    body = "".join(
        frame.bar(k * frame.ROW, name, f"{p[k]:.3f}", p[k]) for k, name in enumerate(names)
    )
    below = len(names) * frame.ROW
    label = f"entropy in nats, at most log {len(names)} = {most:.3f}"
    body += frame.bar(below, label, f"{entropy:.3f}", 0.0, entropy / most)
    best = p.index(max(p))
    said = (
        f"Temperature 1.00: {names[best]} has {p[best]:.3f}. The entropy is {entropy:.3f} of at "
        f"most {most:.3f} nats."
    )
    listed = ", ".join(f"{name} {x:.3f}" for name, x in zip(names, p, strict=True))
    alternative = f"Bars of the probabilities: {listed}; entropy {entropy:.3f} nats."
    return frame.figure(
        "temperature",
        controls=sliders,
        picture=frame.svg(below + frame.ROW, body, alternative),
        said=said,
        caption="Softmax of logits divided by a temperature, and how undecided it is.",
        draw=DRAW,
        values=names,
    )
