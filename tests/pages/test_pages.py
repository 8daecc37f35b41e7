"""The built book in a browser, from its folder and with no network."""

import itertools
import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from book import pdf
from tests.pages.conftest import BOOK, CHAPTERS, PAGES

# Style sheets are not read a second time: from a folder a script may not.
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "preload": False,
    "resultTypes": ["violations"],  # no list of what passes
}


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_calls_nothing_outside_says_no_error_and_is_accessible(opened, name, dark, phone):
    watched = opened(name, dark=dark, phone=phone)
    assert watched.page.evaluate("document.documentElement.dataset.theme") == (
        "dark" if dark else "light"
    )
    found = Axe().run(watched.page, options=RULES).response["violations"]
    serious = [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert serious == []
    assert watched.outside == []
    assert watched.errors == []
    watched.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    wide, seen = watched.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= seen, "the page scrolls sideways"


def test_a_fault_is_seen(opened, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<html lang="en"><title>B</title><img src="http://127.0.0.2/x.png">'
        "<script>console.error('no')</script>"
    )
    watched = opened(bad.as_uri())
    assert watched.outside == ["http://127.0.0.2/x.png"]
    assert "no" in watched.errors
    found = Axe().run(watched.page, options=RULES).response["violations"]
    assert "image-alt" in [one["id"] for one in found]


@pytest.mark.parametrize("name", CHAPTERS)
def test_mathematics_is_set_and_has_a_form_for_screen_readers(opened, name):
    page = opened(name).page
    assert page.locator("mjx-container").count() > 0
    assert page.locator("mjx-merror").count() == 0
    without = "mjx-container:not(:has(mjx-assistive-mml))"
    assert page.locator(without).count() == 0


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_control_of_a_widget_moves_by_keyboard(opened, name):
    page = opened(name).page
    for control in page.locator("figure.tl-figure input[type=range]").all():
        figure = control.locator("xpath=ancestor::figure[1]")
        said = "e => [...e.querySelectorAll('output, svg')].map(x => x.outerHTML).join()"
        before = figure.evaluate(said)
        control.focus()
        low = control.evaluate("e => e.value == e.min")
        page.keyboard.press("ArrowRight" if low else "ArrowLeft")
        assert figure.evaluate(said) != before, control.evaluate("e => e.outerHTML")


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_quiz_answers_explains_and_counts(opened, name):
    page = opened(name).page
    quiz = page.locator("section#quiz")
    score = quiz.get_by_role("status")
    boxes = quiz.locator("details")
    right = boxes.filter(has=page.locator("strong", has_text="Right."))
    asked = right.count()
    assert asked >= 5 and score.text_content().startswith(f"{asked} questions.")
    first_wrong = boxes.filter(has=page.locator("strong", has_text="No.")).first
    first_wrong.locator("summary").press("Enter")
    assert first_wrong.locator("strong").first.is_visible()
    assert score.text_content() == f"0 of 1 right at the first try; {asked - 1} to go."
    for k in range(asked):
        right.nth(k).locator("summary").press("Enter")
    assert score.text_content() == f"{asked - 1} of {asked} right at the first try."


@pytest.mark.parametrize("place", ["server", "folder"])
def test_search_finds_attention(opened, served, place):
    start = (
        served if place == "server" else (BOOK / "index.html").as_uri().removesuffix("index.html")
    )
    watched = opened(start + "search.html?q=attention")
    # The results come one after the other.
    watched.page.locator("ul.search li a", has_text="Attention").first.wait_for()
    assert watched.errors == []


def test_the_first_page_leads_to_the_front_page(opened):
    page = opened("book/intro.html").page
    title = page.title()
    page.goto((BOOK / "index.html").as_uri())
    page.wait_for_url("**/book/intro.html")
    assert page.title() == title


def test_the_meaning_of_a_term_shows_by_keyboard_and_goes_with_escape(opened):
    page = opened("notebooks/01_softmax.html").page
    link = page.locator("a.term").first
    link.focus()
    tip = page.get_by_role("tooltip")
    assert tip.is_visible() and len(tip.text_content()) > 20
    assert link.get_attribute("aria-describedby") == tip.get_attribute("id")
    page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_a_link_to_an_equation_shows_it(opened):
    page = opened("notebooks/01_softmax.html").page
    link = page.locator('.bd-article a.reference[href^="#equation-"]').first
    link.hover()
    assert page.get_by_role("tooltip").locator("mjx-container").count() >= 1


def test_a_point_of_a_chart_leads_to_its_run(opened):
    page = opened("book/results.html").page
    point = page.locator(".tl-chart a").first
    run = page.locator(point.get_attribute("href"))
    assert not run.evaluate("e => e.open")
    point.press("Enter")
    run.locator("summary").wait_for()
    page.wait_for_function("e => e.open", arg=run.element_handle())


def test_a_page_reads_without_scripts(opened):
    page = opened("notebooks/01_softmax.html", scripts=False).page
    assert page.locator("section#quiz details").first.is_visible()
    assert not page.locator("figure.tl-figure input").first.is_visible()
    assert page.locator("figure.tl-figure svg").first.is_visible()


@pytest.mark.parametrize("name", CHAPTERS)
def test_figures_are_numbered_in_order(opened, name):
    chapter = int(name.removeprefix("notebooks/")[:2])
    numbers = opened(name).page.locator("figcaption .tl-number").all_text_contents()
    assert numbers == [f"Figure {chapter}.{k}." for k in range(1, len(numbers) + 1)]
    assert len(numbers) >= 3


@pytest.mark.parametrize("name", CHAPTERS)
def test_no_line_of_code_or_output_runs_off_a_desktop_page(opened, name):
    page = opened(name).page
    page.set_viewport_size({"width": 1440, "height": 900})
    blocks = page.locator("div.highlight pre")
    assert blocks.count() > 20
    off = "(all) => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
    assert blocks.evaluate_all(off) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_is_light_and_shows_soon(opened, served, name):
    page = opened(served + name).page
    entries = page.evaluate(
        """() => ({
          weight: performance.getEntriesByType("navigation")[0].encodedBodySize,
          first: performance.getEntriesByName("first-contentful-paint")[0].startTime,
        })"""
    )
    print(f"{name}: {entries['weight'] / 1e6:.2f} MB, first content {entries['first']:.0f} ms")
    assert 0 < entries["weight"] < 2.5e6  # the scripts, styles and fonts are shared by all pages
    assert entries["first"] < 5_000


def test_a_copy_button_is_reached_by_keyboard_and_then_seen(opened):
    page = opened("notebooks/01_softmax.html").page
    page.locator("button.copybtn").first.wait_for(state="attached")
    page.locator("div.highlight pre").first.click()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('button.copybtn')")
    page.wait_for_function("getComputedStyle(document.activeElement).opacity == 1")
    buttons = page.locator("button.copybtn:not(details *)").count()
    assert page.get_by_role("button", name="Copy").count() == buttons


def test_every_pair_of_neighbours_is_linked(opened):
    for one, two in itertools.pairwise(CHAPTERS):
        page = opened(one).page
        after = page.locator("a.right-next").evaluate("e => e.href")
        assert after.endswith(two)


def test_a_page_prints_complete_and_tagged(browser, tmp_path):
    target = tmp_path / "page.pdf"
    pdf.print_page(BOOK / "notebooks/01_softmax.html", target, browser)
    made = target.read_bytes()
    assert made.startswith(b"%PDF") and b"/StructTreeRoot" in made and b"/Outlines" in made


def test_every_term_of_the_glossary_is_linked_from_a_chapter():
    glossary = (BOOK / "book/glossary.html").read_text(encoding="utf-8")
    chapters = "".join((BOOK / name).read_text(encoding="utf-8") for name in CHAPTERS)
    terms = set(re.findall(r'<dt id="(term-[^"]+)"', glossary))
    assert len(terms) > 50
    assert terms - set(re.findall(r'glossary\.html#(term-[^"]+)"', chapters)) == set()


def test_what_is_folded_away_is_open_on_paper_and_closed_again_after(opened):
    page = opened("notebooks/01_softmax.html").page
    closed = page.locator("details:not([open])")
    before = closed.count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert before > 20 and closed.count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert closed.count() == before
    score = page.locator("section#quiz").get_by_role("status")
    assert score.text_content().startswith("6 questions.")  # none is counted
