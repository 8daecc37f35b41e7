"""Each figure in a browser: by keyboard, without scripts, on narrow and dark pages, twice."""

import math
import re

import pytest
import scipy.special
import scipy.stats
from axe_playwright_python.sync_playwright import Axe

from tests.widgets.conftest import ANSWERS, FIGURES, LOGITS, TOKENS, VARIANCES, WEIGHTS
from tutorial_lib.albert_config import AlbertConfig
from tutorial_lib.widgets import elbo, sizes

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
# Everything that a reader can see of the picture, with the places of its parts to half a unit.
PICTURE = """
figure => [...figure.querySelectorAll("svg *, .tl-token, .tl-token *")].map(e => [e.tagName,
  e.children.length ? "" : e.textContent, e.getAttribute("fill"), e.getAttribute("visibility"),
  e.className.baseVal ?? e.className, ...["x", "y", "width", "cx", "cy"].map(name =>
    Math.round(2 * e.getAttribute(name)) / 2), Math.round(parseFloat(e.style.height))])
"""


def numbers(page):
    texts = page.locator(".tl-row .n, .tl-token small").all_text_contents()
    return [
        float(re.search(r"-?[\d.]+", text.replace(",", ""))[0]) for text in texts if text != "–"
    ]


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def test_without_scripts_the_picture_is_there_and_no_control(shown, kind):
    still = shown(kind, java_script_enabled=False)
    assert still.locator("input, select").count() > 0
    for control in still.locator("input, select, output").all():
        assert not control.is_visible()
    assert still.locator("svg, .tl-strip").first.is_visible()
    assert still.locator(".tl-said").inner_text() in repr(FIGURES[kind])
    live = shown(kind)
    figure = still.locator("figure").evaluate(PICTURE)
    assert figure == live.locator("figure").evaluate(PICTURE)
    assert live.locator("input, select").first.is_visible()


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_and_nothing_overflows(shown, dark, width):
    page = shown(*FIGURES, dark=dark, width=width)
    found = Axe().run(page, options=RULES).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for text in page.locator("svg text").all():  # inside its picture
        inside = "t => { const a = t.getBoundingClientRect(), b = t.ownerSVGElement"
        inside += (
            ".getBoundingClientRect(); return a.left >= b.left - 1 && a.right <= b.right + 1 }"
        )
        assert text.evaluate(inside), text.text_content()


def luminance(colour):  # WCAG 2.2, "relative luminance"
    parts = [x / 255 for x in colour]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_control_is_reached_by_tab_and_its_focus_stands_out(shown, kind):
    page = shown(kind)
    controls = page.locator("input[type=range], select").count()
    for _ in range(controls + (kind == "attention")):  # radio buttons are one stop
        page.keyboard.press("Tab")
        look = page.evaluate(
            "() => { const e = document.activeElement, s = getComputedStyle(e.closest('.tl-token')"
            " ?? e); return [e.tagName, s.outlineStyle, s.outlineWidth, s.outlineColor] }"
        )
        assert look[0] in ("INPUT", "SELECT") and look[1] == "solid" and look[2] == "3px"
        light = luminance([int(x) for x in re.findall(r"\d+", look[3])[:3]])
        assert 1.05 / (light + 0.05) >= 3  # on white
        assert (light + 0.05) / (luminance([0x12] * 3) + 0.05) >= 3


def test_temperature_and_logits_move_by_keyboard(shown):
    page = shown("temperature")
    press(page, "Tab", *["ArrowRight"] * 5, "Tab", "ArrowLeft", "ArrowLeft")
    tau, z = 0.1 * 100 ** (25 / 40), [1.8, 1.0, 0.2, -1.0]
    p = scipy.special.softmax([x / tau for x in z])
    entropy = scipy.stats.entropy(p)
    assert numbers(page) == pytest.approx([*p, entropy], abs=6e-4)
    widths = [float(w) for w in page.locator(".tl-row rect").evaluate_all(
        "all => all.map(e => e.getAttribute('width'))")]  # fmt: skip
    assert widths[:8:2] == pytest.approx(332 * p)
    assert widths[-1] == pytest.approx(332 * entropy / math.log(4))
    assert page.locator("output").all_text_contents()[:2] == [f"{tau:.2f}", "1.8"]
    assert page.locator("input").first.get_attribute("aria-valuetext") == f"{tau:.2f}"
    said = f"Temperature {tau:.2f}: place has {p[0]:.3f}. The entropy is {entropy:.3f} of"
    assert page.locator(".tl-live").inner_text().startswith(said)
    label = page.get_by_role("img").get_attribute("aria-label")
    assert all(f"{name} {x:.3f}" in label for name, x in zip(LOGITS, p, strict=True))


def test_the_lowest_temperature_is_certain(shown):
    page = shown("temperature")
    press(page, "Tab", "Home", "Tab", "End")  # tau 0.1, first logit 6
    assert numbers(page) == [1, 0, 0, 0, 0]


@pytest.mark.parametrize(("key", "p"), [("Home", 0.01), ("ArrowRight", 0.21), ("End", 1.0)])
def test_confidence_moves_by_keyboard(shown, key, p):
    page = shown("confidence")
    press(page, "Tab", key)
    push, weaker = 1 - p, 2 * (1 - p) ** 2 * p
    assert numbers(page) == pytest.approx([push, weaker], abs=6e-4)
    said = [float(x) for x in re.findall(r"\d\.\d+", page.locator(".tl-live").inner_text())]
    assert said == pytest.approx([p, -math.log(p), push, (1 - p) ** 2, weaker], abs=6e-4)
    # The circle lies as far above 0 as -log p, in units of the grid.
    at = page.locator("circle.tl-point").evaluate("e => [e.cx.baseVal.value, e.cy.baseVal.value]")
    assert at == pytest.approx([34 + 296 * p, 176 + 34 * math.log(p)], abs=0.1)


def test_sliding_moves_by_keyboard(shown):
    page = shown("sliding")
    press(page, "Tab", "Tab", "ArrowRight", "ArrowRight")
    assert numbers(page) == pytest.approx(ANSWERS[0])
    framed = page.locator(".tl-on").evaluate_all("all => all.map(e => e.childNodes[1].data)")
    assert framed == TOKENS[2:4]
    assert page.locator("small", has_text="max").all_text_contents() == ["max 2.00"]
    heights = page.locator(".tl-token b").evaluate_all("all => all.map(e => e.style.height)")
    assert heights == ["10px", "5px", "0px", "40px", "0px", "30px", "0px"]
    assert f"window 3, “{TOKENS[2]} bad”: -1.00" in page.locator(".tl-live").inner_text()
    press(page, "End", "Shift+Tab", "ArrowDown")  # the last window, the other filter
    assert numbers(page) == pytest.approx(ANSWERS[1])
    said = page.locator(".tl-live").inner_text()
    assert "window 6, “all <pad>”: -6.00. Pooling keeps the largest, -1.00" in said


def test_attention_moves_by_keyboard_and_pointer(shown):
    page = shown("attention")
    press(page, "Tab", "Tab", "ArrowRight", "ArrowRight")
    assert numbers(page) == pytest.approx(100 * WEIGHTS[0, 2], abs=0.06)
    assert page.locator(".tl-token:has(:checked)").get_attribute("class") == "tl-token tl-on"
    press(page, "Shift+Tab", "ArrowDown")  # the second head
    assert numbers(page) == pytest.approx(100 * WEIGHTS[1, 2], abs=0.06)
    names = [TOKENS[k] for k in WEIGHTS[1, 2].argsort()[::-1][:3]]
    said = page.locator(".tl-live").inner_text()
    assert said.startswith("Head 2: ")
    assert re.findall(r"“(.*?)”", said) == [TOKENS[2], *names]
    page.locator(".tl-token").nth(5).hover()
    assert numbers(page) == pytest.approx(100 * WEIGHTS[1, 5], abs=0.06)
    assert page.locator(".tl-said").inner_text().startswith("Head 2: “all” looks most at")
    radio = page.get_by_role("radio", name="all", exact=True)
    assert radio.is_checked()


def test_sizes_move_by_keyboard(shown):
    page = shown("sizes")
    press(page, "Tab", "End", "Tab", "ArrowLeft", "Tab", "End", "Tab", "End")
    config = AlbertConfig(vocab_size=200_000, embedding_size=112, hidden_size=4096,
                          num_hidden_layers=48, num_attention_heads=1,
                          intermediate_size=4 * 4096)  # fmt: skip
    parts = sizes.counted(config)
    units = [1e6, 1e6, 1e9, 1e9]
    wanted = [sum(row) / unit for row, unit in zip(parts.values(), units, strict=True)]
    assert numbers(page) == pytest.approx(wanted, abs=0.06)
    for bar, row in zip(page.locator(".tl-row").all(), parts.values(), strict=True):
        first, second = bar.locator("rect").evaluate_all("all => all.map(e => +e.attributes.width"
                                                         ".value)")  # fmt: skip
        assert first / (first + second) == pytest.approx(row[0] / sum(row))


@pytest.mark.parametrize("key", ["Home", "ArrowRight", "PageUp", "End"])
def test_the_weight_of_kl_moves_by_keyboard(shown, key):
    page = shown("elbo")
    press(page, "Tab", key)
    beta = 0.05 * 400 ** (int(page.locator("input").input_value()) / 60)
    assert beta != pytest.approx(1)
    reconstruction, kl = (sum(part) for part in elbo.bound(VARIANCES, beta))
    more = reconstruction + kl - sum(map(sum, elbo.bound(VARIANCES, 1.0)))
    wanted = [reconstruction, kl, reconstruction + kl]
    assert numbers(page) == pytest.approx(wanted, abs=6e-3)
    alive = [variance > beta for variance in VARIANCES]
    crossed = page.locator(".tl-unit path").evaluate_all(
        "all => all.map(e => getComputedStyle(e).visibility == 'visible')"
    )
    assert crossed == [not lives for lives in alive]
    said = page.locator(".tl-live").inner_text()
    assert said.startswith(f"β = {beta:.2f}: {sum(alive)} of 6 units alive.")
    assert said.endswith(f"{more:.2f} more than at β = 1.")
    assert more > 0


def test_a_drag_is_said_once_when_it_ends(shown):
    page = shown("confidence")
    box = page.locator("input").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 12)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 12, steps=5)
    said = page.locator(".tl-said").inner_text()
    assert not said.startswith("p = 0.20")
    assert page.locator(".tl-live").text_content() == ""
    page.mouse.up()
    assert page.locator(".tl-live").text_content() == said


def test_two_of_a_kind_do_not_disturb_each_other_nor_does_a_second_run(shown, kind):
    page = shown(kind, *FIGURES, kind)
    figures = page.locator("main > figure")
    script = figures.first.locator("script").last.text_content()
    page.evaluate(script)  # twice on one page, as in a notebook whose cell is run again
    before = [figure.evaluate("e => e.outerHTML") for figure in figures.all()]
    control = figures.first.locator("input:not([type=hidden])").first
    control.focus()
    page.keyboard.press("ArrowRight")
    sent = "new Event('submit', {bubbles: true, cancelable: true})"  # as Enter does in Firefox
    assert not control.evaluate(f"e => e.form.dispatchEvent({sent})")
    after = [figure.evaluate("e => e.outerHTML") for figure in figures.all()]
    assert [a != b for a, b in zip(before, after, strict=True)] == [True] + [False] * 7
