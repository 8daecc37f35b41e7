"""The sliders compute what `albert_config` computes, and say it without a script too."""

import json
import random
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from tutorial_lib import size_sliders
from tutorial_lib.albert_config import AlbertConfig

# A page with one figure, as little of it as the script touches.
PAGE = """
const element = () => ({attributes: {}, setAttribute(n, v) { this.attributes[n] = v; }});
const inputs = Object.entries(VALUES).map(([name, value]) =>
  ({name, value: String(value), nextElementSibling: {}}));
const bars = {}, svg = element(), sliders = {hidden: true};
const find = s => s == "svg" ? svg : s == ".tl-sliders" ? sliders :
  bars[s] ||= {rects: [element(), element()], text: {}, querySelectorAll() { return this.rects; },
               querySelector() { return this.text; }};
const figure = {dataset: {}, querySelector: find, querySelectorAll: () => inputs,
                addEventListener() {}};
globalThis.document = {querySelectorAll: () => [figure]};
"""


def a_config(v, e, h, layers):
    return AlbertConfig(
        vocab_size=v, embedding_size=e, hidden_size=h, num_hidden_layers=layers,
        num_attention_heads=1, intermediate_size=4 * h,
    )  # fmt: skip


def test_the_scripts_formulas_are_those_of_the_package():
    dice = random.Random(0)
    for _ in range(30):
        sizes = [dice.randrange(low, high) for _, low, high, *_ in size_sliders.SLIDERS.values()]
        names = dict(zip(size_sliders.SLIDERS, sizes, strict=True))
        for row, expected in size_sliders.counted(a_config(*sizes)).items():
            assert [eval(term, {}, names) for term in size_sliders.FORMULAS[row]] == expected


def test_without_a_script_the_published_counts_stand_there():
    shown = size_sliders.size_sliders()
    # Lan et al. 2020, table 1: 12 and 108 million; 768 of width, 12 layers.
    albert, bert = re.findall(r">([\d.]+) million<", shown.source)
    assert float(albert) == pytest.approx(12, abs=0.5) and float(bert) == pytest.approx(
        108, abs=1.5
    )
    assert f"ALBERT {albert} million, BERT {bert} million" in repr(shown)
    assert '<div class="tl-sliders" hidden>' in shown.source
    assert not re.search(r"(src|href)=", shown.source) and len(shown.source) < 6000


def test_every_slider_has_a_label_and_every_tag_an_end():
    open_tags, inputs = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag == "input":
                assert open_tags[-1] == "label"
                inputs.append(dict(attributes)["name"])
            elif not self.get_starttag_text().endswith("/>"):
                open_tags.append(tag)

        def handle_startendtag(self, tag, attributes):
            pass

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Reader().feed(size_sliders.size_sliders().source)
    assert not open_tags and inputs == ["V", "E", "H", "L"]


@pytest.mark.skipif(not shutil.which("node"), reason="needs node, to run the script")
@pytest.mark.parametrize("sizes", [(30_000, 128, 768, 12), (8000, 64, 4096, 48)])
def test_the_script_shows_what_the_package_computes(sizes):
    values = json.dumps(dict(zip("VEHL", sizes, strict=True)))
    script = re.search("<script>(.*)</script>", size_sliders.size_sliders().source, re.DOTALL)[1]
    end = "console.log(JSON.stringify([bars, svg.attributes, sliders.hidden]))"
    page = PAGE.replace("VALUES", values) + script + end
    out = subprocess.run(["node", "-e", page], capture_output=True, text=True, check=True).stdout
    bars, of_svg, hidden = json.loads(out)
    assert not hidden
    for row, parts in size_sliders.counted(a_config(*sizes)).items():
        unit, name = (1e9, " GFLOP") if row.endswith("_work") else (1e6, " million")
        says = f"{sum(parts) / unit:,.1f}{name}"
        assert bars[f".{row}"]["text"]["textContent"] == says
        assert says in of_svg["aria-label"]
        first, second = (r["attributes"]["width"] for r in bars[f".{row}"]["rects"])
        assert first / (first + second) == pytest.approx(parts[0] / sum(parts))
