"""What the interactive figures share: frame, controls, bars, rows of tokens, and the script.

Plain HTML, SVG and a script that runs once for each figure. Where scripts do not run, the picture
of the first state stands there, complete, and no control. A bar that is filled and one that is
hollow differ without their colours; pictures have a white ground of their own.
"""

import dataclasses
import html
import json
import math
from collections.abc import Collection, Sequence
from typing import Any

from tutorial_lib.plots import COLOURS, Data, Html, caption_of

BLUE, ORANGE = COLOURS[:2]
LEFT, WIDTH, ROW = 4, 332, 38  # of a full bar; the height that a bar takes with its text
MAX_TOKENS = 60

STYLE = """
.tl-widget{max-width:34em;margin:1rem 0}
.tl-widget [hidden]{display:none}
.tl-widget form div{line-height:1.8}
.tl-widget label>span{display:inline-block;min-width:11em}
.tl-widget input[type=range]{width:14em;max-width:100%;height:24px;margin:0;accent-color:#0072b2;
vertical-align:middle}
.tl-widget select{font:inherit;min-height:24px;max-width:100%}
.tl-widget :focus-visible,.tl-token:focus-within{outline:3px solid #0072b2;outline-offset:0}
.tl-widget svg{display:block;width:100%;background:#fff;margin:.5em 0}
.tl-strip{display:flex;flex-wrap:wrap;gap:2px;background:#fff;color:#111;padding:6px;margin:.5em 0}
.tl-token{position:relative;min-width:26px;max-width:100%;padding:2px;text-align:center;
overflow-wrap:anywhere;line-height:1.3;border:2px solid #fff;border-bottom-width:4px}
.tl-token.tl-on{border-color:#111}
.tl-token b{display:block;width:14px;margin:0 auto;background:#0072b2}
.tl-token i{display:flex;height:40px;align-items:flex-end}
.tl-token small{display:block;font-size:12px;min-height:1.3em}
.tl-token input{position:absolute;inset:0;width:100%;height:100%;margin:0;opacity:0;cursor:pointer}
.tl-live{position:absolute;width:1px;height:1px;margin:0;overflow:hidden;clip-path:inset(50%)}
"""

# `draw` is each figure's own: it reads the controls, changes the picture, and returns what is
# said of it and the picture's text alternative.
SCRIPT = """
document.querySelectorAll("figure[data-widget=KIND]").forEach(figure => {
  if (figure.live) return;
  figure.live = true;
  const all = what => [...figure.querySelectorAll(what)];
  const [form] = all("form"), [said] = all(".tl-said"), [live] = all(".tl-live");
  const data = JSON.parse(all("[type='application/json']")[0].textContent);
  const show = (x, digits = 0) => x.toLocaleString("en",
    {minimumFractionDigits: digits, maximumFractionDigits: digits});
  const value = name => {
    const input = form.elements[name], {low, high} = input.dataset ?? {};
    return low ? low * (high / low) ** (input.value / input.max) : +input.value;
  };
  const bar = (k, shares, number) => {
    const row = all(".tl-row")[k], rects = row.querySelectorAll("rect");
    let x = LEFT;
    shares.forEach((share, part) => {
      rects[part].setAttribute("x", x);
      rects[part].setAttribute("width", WIDTH * share);
      x += WIDTH * share;
    });
    row.querySelector(".n").textContent = number;
  };
  const mark = (k, share, number, on) => {
    const token = all(".tl-token")[k];
    token.classList.toggle("tl-on", on);
    token.querySelector("b").style.height = 40 * share + "px";
    token.style.background = `rgba(86,180,233,${share / 2})`;
    token.querySelector("small").textContent = number;
  };
  DRAW
  const update = event => {
    all("[type=range]").forEach(input => {
      const shown = show(value(input.name), +input.dataset.digits);
      input.setAttribute("aria-valuetext", shown);
      input.closest("div").querySelector("output").value = shown;
    });
    const [words, alternative] = draw();
    said.textContent = words;
    if (event?.type == "change") live.textContent = words;
    all("svg").forEach(svg => svg.setAttribute("aria-label", alternative));
  };
  all("[hidden]").forEach(control => control.hidden = false);
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("input", update);
  form.addEventListener("change", update);
  update();
});
"""


@dataclasses.dataclass(frozen=True)
class Slider:
    """A slider with its label and the value it starts at.

    Attributes:
        step: between two values.
        ratios: if given, so many equal ratios lie between `low` and `high` instead of steps.
        digits: of the number shown, after the point.
    """

    name: str
    label: str
    low: float | int
    high: float | int
    value: float | int
    step: float | int = 1
    ratios: int = 0
    digits: int = 0

    def source(self) -> str:
        if self.ratios:
            way = math.log(self.value / self.low) / math.log(self.high / self.low)
            numbers = f'min="0" max="{self.ratios}" value="{round(way * self.ratios)}"'
            numbers += f' data-low="{self.low}" data-high="{self.high}"'
        else:
            numbers = f'min="{self.low}" max="{self.high}" step="{self.step}" value="{self.value}"'
        shown = f"{self.value:,.{self.digits}f}"
        return (
            f"<div><label><span>{html.escape(self.label)}</span> "
            f'<input type="range" name="{self.name}" {numbers} data-digits="{self.digits}" '
            f'aria-valuetext="{shown}"></label> <output aria-live="off">{shown}</output></div>'
        )


@dataclasses.dataclass(frozen=True)
class Choice:
    """A list to choose from, with its label; its value is the index, at first 0."""

    name: str
    label: str
    options: Sequence[str]

    def source(self) -> str:
        if len(self.options) == 1:
            return f'<input type="hidden" name="{self.name}" value="0">'
        options = "".join(
            f'<option value="{k}">{html.escape(option)}</option>'
            for k, option in enumerate(self.options)
        )
        return (
            f"<div><label><span>{html.escape(self.label)}</span> "
            f'<select name="{self.name}">{options}</select></label></div>'
        )


def figure(
    kind: str,
    *,
    controls: Sequence[Slider | Choice],
    picture: str,
    said: str,
    caption: str,
    draw: str,
    values: Any = None,
    data: Data = None,
) -> Html:
    """Return the whole figure.

    Args:
        kind: names the widget; the script of one kind leaves the others alone.
        picture: of the first state, as HTML.
        said: what the picture shows, in words.
        draw: defines `draw` in JavaScript.
        values: what it needs to know, as `data`; anything that JSON can hold.
        data: adds its provenance to the caption.
    """
    if data is not None:
        caption += f" {caption_of(data)}"
    script = SCRIPT.replace("KIND", kind).replace("LEFT", str(LEFT)).replace("WIDTH", str(WIDTH))
    known = json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")
    return Html(
        f'<figure class="tl-figure tl-widget" data-widget="{kind}"><style>{STYLE}</style>'
        '<form autocomplete="off" data-lm-suppress-shortcuts="true"><div hidden>'
        f"{''.join(control.source() for control in controls)}</div>{picture}</form>"
        f'<p class="tl-said">{html.escape(said)}</p><p class="tl-live" aria-live="polite"></p>'
        f'<script type="application/json">{known}</script>'
        f"<script>{script.replace('DRAW', draw.strip())}</script>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>",
        f"[Figure: {said}]",
    )


def svg(height: float | int, body: str, alternative: str) -> str:
    """Return a picture 340 wide, with its text alternative."""
    return (
        f'<svg role="img" aria-label="{html.escape(alternative)}" viewBox="0 0 340 {height}" '
        f'font-family="sans-serif" font-size="13" fill="#111">{body}</svg>'
    )


def bar(y: float | int, label: str, number: str, filled: float, hollow: float = 0.0) -> str:
    """Return a bar with a filled and a hollow part, its label and number above it.

    Args:
        filled, hollow: shares of the full width.
    """
    label = label if len(label) <= 40 else f"{label[:39]}…"
    end = LEFT + WIDTH * filled
    return (
        f'<g class="tl-row"><text x="{LEFT}" y="{y + 14}">{html.escape(label)}</text>'
        f'<text class="n" x="{LEFT + WIDTH}" y="{y + 14}" text-anchor="end">{number}</text>'
        f'<rect x="{LEFT}" y="{y + 19}" width="{WIDTH * filled:.1f}" height="14" fill="{BLUE}"/>'
        f'<rect x="{end:.1f}" y="{y + 20}" width="{WIDTH * hollow:.1f}" height="12" fill="#fff" '
        f'stroke="{ORANGE}" stroke-width="2"/></g>'
    )


def strip(
    tokens: Sequence[str],
    shares: Sequence[float],
    numbers: Sequence[str],
    on: Collection[int],
    *,
    chosen: str | None = None,
) -> str:
    """Return the tokens in a row that wraps, each below a bar and above its number.

    Args:
        shares: heights of the bars, 0 to 1.
        on: which tokens are framed.
        chosen: if given, the label of a group of radio buttons, one for each token; the framed
            one is chosen.
    """
    tag = "label" if chosen else "span"
    cells = []
    for k, (token, share, number) in enumerate(zip(tokens, shares, numbers, strict=True)):
        checked = " checked" if k in on else ""
        radio = f'<input type="radio" name="token" value="{k}" hidden{checked}>' if chosen else ""
        aside = ' aria-hidden="true"' if chosen else ""  # no part of the button's name
        cells.append(
            f'<{tag} class="tl-token{" tl-on" if k in on else ""}" '
            f'style="background:rgba(86,180,233,{share / 2:.2f})">{radio}'
            f'<i><b style="height:{40 * share:.0f}px"></b></i>{html.escape(token)}'
            f"<small{aside}>{number}</small></{tag}>"
        )
    group = f' role="group" aria-label="{html.escape(chosen)}"' if chosen else ""
    return f'<div class="tl-strip"{group}>{"".join(cells)}</div>'


def check_tokens(tokens: Sequence[str]) -> None:
    """Raise a ValueError unless there is a token, and not too many to show."""
    if not 1 <= len(tokens) <= MAX_TOKENS:
        raise ValueError(f"the figure shows 1 to {MAX_TOKENS} tokens; got {len(tokens)}")
