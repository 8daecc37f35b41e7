"""Chapter 07: a picture with sliders of what an ALBERT and a BERT of one size hold and compute.

Plain HTML, SVG and a short script, so that it works on a page without a kernel. Where scripts do
not run, the picture of ALBERT-base stands, without sliders.
"""

import html
import json

from tutorial_lib.albert_config import AlbertConfig, embedding_parameters, flops, parameter_count
from tutorial_lib.plots import Html

T = 128  # tokens of the text whose cost is shown
# Name, least, most, step and first value of each slider.
SLIDERS = {
    "V": ("vocabulary", 1000, 200_000, 1000, 30_000),
    "E": ("embedding", 16, 1024, 16, 128),
    "H": ("hidden state", 64, 4096, 64, 768),
    "L": ("layers", 1, 48, 1, 12),
}
# What the script computes, in terms that JavaScript and Python read alike; the feed-forward
# network is 4 H wide. The tests hold these to the functions of `albert_config`.
FORMULAS = {
    "albert": ["(V + 516) * E + E * H + H", "12 * H * H + 13 * H + H * H + H"],
    "bert": ["(V + 516) * H", "L * (12 * H * H + 13 * H) + H * H + H"],
    "albert_work": ["2 * 128 * E * H", "L * (24 * 128 * H * H + 4 * 128 * 128 * H) + 2 * H * H"],
    "bert_work": ["0", "L * (24 * 128 * H * H + 4 * 128 * 128 * H) + 2 * H * H"],
}
ROWS = {"albert": 40, "bert": 66, "albert_work": 122, "bert_work": 148}  # where each bar stands
LEFT, WIDTH = 70, 330  # of the bars

SCRIPT = """
document.querySelectorAll("figure.tl-sizes:not([data-live])").forEach(f => {
  f.dataset.live = 1;
  const inputs = [...f.querySelectorAll("input")], svg = f.querySelector("svg");
  const value = n => +inputs.find(i => i.name == n).value;
  const draw = () => {
    inputs.forEach(i => i.nextElementSibling.value = (+i.value).toLocaleString("en"));
    const [V, E, H, L] = ["V", "E", "H", "L"].map(value);
    const parts = {PARTS};
    const says = {};
    for (const [one, two] of [["albert", "bert"], ["albert_work", "bert_work"]]) {
      const sum = r => parts[r][0] + parts[r][1], top = Math.max(sum(one), sum(two));
      for (const r of [one, two]) {
        const g = f.querySelector("." + r), [a, b] = g.querySelectorAll("rect");
        const wide = parts[r].map(p => WIDTH * p / top);
        a.setAttribute("width", wide[0]);
        b.setAttribute("x", LEFT + wide[0]);
        b.setAttribute("width", wide[1]);
        const unit = r.endsWith("work") ? [1e9, " GFLOP"] : [1e6, " million"];
        const number = n => (n / unit[0]).toLocaleString("en",
          {minimumFractionDigits: 1, maximumFractionDigits: 1});
        says[r] = number(sum(r)) + unit[1];
        g.querySelector(".n").textContent = says[r];
      }
    }
    svg.setAttribute("aria-label", "Parameters: ALBERT " + says.albert + ", BERT " + says.bert +
      ". Work: ALBERT " + says.albert_work + ", BERT " + says.bert_work + ".");
  };
  f.querySelector(".tl-sliders").hidden = false;
  f.addEventListener("input", draw);
  draw();
});
"""


def size_sliders() -> Html:
    """Return sliders for V, E, H and L, and bars of parameters and work of ALBERT and BERT."""
    first = AlbertConfig(
        vocab_size=SLIDERS["V"][4], embedding_size=SLIDERS["E"][4], hidden_size=SLIDERS["H"][4],
        num_hidden_layers=SLIDERS["L"][4], num_attention_heads=1,
        intermediate_size=4 * SLIDERS["H"][4],
    )  # fmt: skip
    parts = counted(first)
    bars = "".join(_bar(row, parts) for row in ROWS)
    says = {row: _number(row, sum(parts[row])) for row in ROWS}
    alt = (
        f"Parameters: ALBERT {says['albert']}, BERT {says['bert']}. "
        f"Work: ALBERT {says['albert_work']}, BERT {says['bert_work']}."
    )
    caption = (
        "What an ALBERT and a BERT of the same V, H and L hold (top) and compute (below). Move the "
        "sliders, by mouse or arrow keys; where there are none, this is the size of ALBERT-base."
    )
    source = (
        f'<figure class="tl-figure tl-sizes">{_sliders()}'
        f'<svg role="img" aria-label="{alt}" viewBox="0 0 520 196" style="max-width:44em;'
        'background:#fff" font-family="sans-serif" font-size="12">'
        '<defs><pattern id="tl-stripes" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect width="6" height="6" fill="#e69f00"/>'
        '<rect width="2" height="6" fill="#fff"/></pattern></defs>'
        '<text x="4" y="26" font-weight="bold">parameters</text>'
        f'<text x="4" y="108" font-weight="bold">work for a text of {T} tokens, forwards</text>'
        f"{bars}"
        '<rect x="70" y="178" width="14" height="12" fill="#0072b2"/><text x="90" y="188">'
        "embedding and its mapping</text>"
        '<rect x="260" y="178" width="14" height="12" fill="url(#tl-stripes)"/>'
        '<text x="280" y="188">layers and pooler</text></svg>'
        f"<figcaption>{html.escape(caption)}</figcaption><script>{_script()}</script></figure>"
    )
    return Html(source, f"[Figure: {alt}]")


def counted(config: AlbertConfig) -> dict[str, list[int]]:
    """Return parameters and operations of both models, each as embedding and rest."""
    found = {}
    for name, own in (("albert", True), ("bert", False)):
        embedding = embedding_parameters(config, factorised=own)
        whole = parameter_count(config, factorised=own, shared=own)
        found[name] = [embedding, whole - embedding]
    inner = flops(config, T, factorised=False)
    found["albert_work"] = [flops(config, T) - inner, inner]
    found["bert_work"] = [0, inner]
    return found


def _script() -> str:
    rows = ", ".join(f"{row}: [{', '.join(terms)}]" for row, terms in FORMULAS.items())
    script = SCRIPT.replace("{PARTS}", f"{{{rows}}}")
    return script.replace("LEFT", json.dumps(LEFT)).replace("WIDTH", json.dumps(WIDTH))


def _sliders() -> str:
    labels = "".join(
        f'<label style="display:block"><span style="display:inline-block;width:9em">{symbol}, '
        f'{name}</span><input type="range" name="{symbol}" min="{low}" max="{high}" step="{step}" '
        f'value="{value}" style="width:14em;vertical-align:middle"> <output>{value:,}</output>'
        "</label>"
        for symbol, (name, low, high, step, value) in SLIDERS.items()
    )
    return f'<div class="tl-sliders" hidden>{labels}</div>'


def _bar(row: str, parts: dict[str, list[int]]) -> str:
    kind = "_work" if row.endswith("_work") else ""
    top = max(sum(parts[f"{model}{kind}"]) for model in ("albert", "bert"))
    first, second = (round(WIDTH * part / top, 1) for part in parts[row])
    y, name = ROWS[row], row.removesuffix("_work").upper()
    return (
        f'<g class="{row}"><text x="14" y="{y + 14}">{name}</text>'
        f'<rect x="{LEFT}" y="{y}" width="{first}" height="20" fill="#0072b2"/>'
        f'<rect x="{LEFT + first}" y="{y}" width="{second}" height="20" fill="url(#tl-stripes)"/>'
        f'<text class="n" x="{LEFT + WIDTH + 8}" y="{y + 14}">{_number(row, sum(parts[row]))}'
        "</text></g>"
    )


def _number(row: str, value: int) -> str:
    return f"{value / 1e9:,.1f} GFLOP" if row.endswith("_work") else f"{value / 1e6:,.1f} million"
