"""Chapter 07: what an ALBERT and a BERT of one size hold and compute."""

from tutorial_lib.albert_config import AlbertConfig, embedding_parameters, flops, parameter_count
from tutorial_lib.plots import Html
from tutorial_lib.widgets import frame

T = 128  # tokens of the text whose cost is shown
SLIDERS = [
    frame.Slider("V", "V, vocabulary", 1000, 200_000, 30_000, step=1000),
    frame.Slider("E", "E, embedding", 16, 1024, 128, step=16),
    frame.Slider("H", "H, hidden state", 64, 4096, 768, step=64),
    frame.Slider("L", "L, layers", 1, 48, 12),
]
# What the script computes: each row's embedding, and the rest. The feed-forward network is 4 H
# wide. JavaScript and Python read the terms alike; the tests hold them to `albert_config`.
FORMULAS = {
    "ALBERT": ["(V + 516) * E + E * H + H", "12 * H * H + 13 * H + H * H + H"],
    "BERT": ["(V + 516) * H", "L * (12 * H * H + 13 * H) + H * H + H"],
    "ALBERT's work": ["2 * 128 * E * H", "L * (24 * 128 * H * H + 4 * 128 * 128 * H) + 2 * H * H"],
    "BERT's work": ["0", "L * (24 * 128 * H * H + 4 * 128 * 128 * H) + 2 * H * H"],
}
DRAW = """
const draw = () => {
  const [V, E, H, L] = ["V", "E", "H", "L"].map(value), parts = [TERMS];
  const sums = parts.map(([a, b]) => a + b);
  const says = sums.map((sum, k) =>
    k < 2 ? show(sum / 1e6, 1) + " million" : show(sum / 1e9, 1) + " GFLOP");
  parts.forEach((row, k) => {
    const top = k < 2 ? Math.max(sums[0], sums[1]) : Math.max(sums[2], sums[3]);
    bar(k, row.map(part => part / top), says[k]);
  });
  const words = `Parameters: ALBERT ${says[0]}, BERT ${says[1]}. ` +
    `Work: ALBERT ${says[2]}, BERT ${says[3]}.`;
  return [words, "Bars. " + words];
};
"""


def show() -> Html:
    """Return sliders for V, E, H and L, and bars of parameters and work of ALBERT and BERT."""
    start = {slider.name: slider.value for slider in SLIDERS}
    first = AlbertConfig(
        vocab_size=start["V"], embedding_size=start["E"], hidden_size=start["H"],
        num_hidden_layers=start["L"], num_attention_heads=1, intermediate_size=4 * start["H"],
    )  # fmt: skip
    parts = counted(first)
    says = {row: _number(row, sum(numbers)) for row, numbers in parts.items()}
    said = (
        f"Parameters: ALBERT {says['ALBERT']}, BERT {says['BERT']}. "
        f"Work: ALBERT {says[list(says)[2]]}, BERT {says[list(says)[3]]}."
    )
    body = '<text x="4" y="16" font-weight="bold">parameters</text>'
    body += f'<text x="4" y="120" font-weight="bold">work for {T} tokens, forwards</text>'
    tops = [max(sum(parts[row]) for row in list(parts)[k : k + 2]) for k in (0, 2)]
    for k, (row, numbers) in enumerate(parts.items()):
        shares = [number / tops[k // 2] for number in numbers]
        body += frame.bar((20, 58, 124, 162)[k], row.split("'")[0], says[row], *shares)
    body += (
        f'<rect x="4" y="208" width="14" height="12" fill="{frame.BLUE}"/>'
        '<text x="24" y="218">embedding and its mapping</text>'
        f'<rect x="204" y="209" width="14" height="10" fill="#fff" stroke="{frame.ORANGE}" '
        'stroke-width="2"/><text x="224" y="218">layers and pooler</text>'
    )
    terms = ", ".join(f"[{', '.join(pair)}]" for pair in FORMULAS.values())
    return frame.figure(
        "sizes",
        controls=SLIDERS,
        picture=frame.svg(226, body, f"Bars. {said}"),
        said=said,
        caption="What an ALBERT and a BERT of the same V, H and L hold (top) and compute (below). "
        "Where there are no sliders, this is the size of ALBERT-base.",
        draw=DRAW.replace("TERMS", terms),
    )


def counted(config: AlbertConfig) -> dict[str, list[int]]:
    """Return parameters and operations of both models, each as embedding and rest."""
    found = {}
    for name, own in (("ALBERT", True), ("BERT", False)):
        embedding = embedding_parameters(config, factorised=own)
        whole = parameter_count(config, factorised=own, shared=own)
        found[name] = [embedding, whole - embedding]
    inner = flops(config, T, factorised=False)
    found["ALBERT's work"] = [flops(config, T) - inner, inner]
    found["BERT's work"] = [0, inner]
    return found


def _number(row: str, value: int) -> str:
    return f"{value / 1e9:,.1f} GFLOP" if row.endswith("work") else f"{value / 1e6:,.1f} million"
