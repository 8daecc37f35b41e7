"""Links to the glossary and numbered figures, on document trees as Sphinx makes them."""

import types

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from book import reading

TERMS = {
    "softmax": ("term-softmax", "Scores to probabilities."),
    "F1": ("term-F1", "A mean."),
    "language model": ("term-language-model", "The next word."),
    "masked language model": ("term-masked", "A hidden word."),
}


def linked(text):
    tree = publish_doctree(text)
    found = reading.link_first_uses(tree, TERMS, "glossary.html")
    links = [(n.astext(), n["refuri"], n["reftitle"]) for n in tree.findall(nodes.reference)
             if "term" in n["classes"]]  # fmt: skip
    return found, links, tree.astext()


def test_the_first_use_of_a_term_is_a_link_with_its_meaning():
    found, links, text = linked("A Softmax here, a softmax there.\n\nAnd F1.")
    assert found == ["softmax", "F1"]
    assert links[0] == ("Softmax", "glossary.html#term-softmax", "Scores to probabilities.")
    assert len(links) == 2
    assert text == "A Softmax here, a softmax there.\n\nAnd F1."


def test_the_longer_term_wins_and_a_plural_counts():
    found, links, _ = linked("Of masked language models and language models.")
    assert found == ["masked language model", "language model"]
    assert [shown for shown, *_ in links] == ["masked language models", "language models"]


@pytest.mark.parametrize(
    "text",
    ["``softmax``", "`softmax <https://a.org>`_", "softmaxes log-softmax", "softmax\n=======\n\nx"],
)
def test_code_links_titles_and_parts_of_words_stay(text):
    assert linked(text)[0] == []


def outputs(*pieces):
    tree = publish_doctree("Chapter")
    for piece in pieces:
        tree += nodes.raw("", piece, format="html")
    return tree


FIGURE = '<figure class="tl-figure"><img alt="a"><figcaption>Words.</figcaption></figure>'


def test_figures_count_through_a_chapter():
    tree = outputs(FIGURE, "<table></table>", FIGURE + FIGURE)
    reading.number_figures(None, tree, "notebooks/04_cnn")
    text = "".join(n.astext() for n in tree.findall(nodes.raw))
    for k in (1, 2, 3):
        assert text.count(f'<span class="tl-number">Figure 4.{k}.</span> Words.') == 1
        assert text.count(f'<figure id="figure-4-{k}" class="tl-figure">') == 1
    assert "<table></table>" in text


def test_other_pages_have_no_figure_numbers():
    tree = outputs(FIGURE)
    reading.number_figures(None, tree, "book/results")
    assert "Figure" not in tree.astext()


def test_the_meaning_leaves_out_where_it_is_taught():
    item = nodes.definition_list_item(
        "",
        nodes.term("", "softmax", ids=["term-softmax"]),
        nodes.definition("", nodes.paragraph("", "Scores to\nprobabilities. See chapter 1.")),
    )
    tree = types.SimpleNamespace(findall=lambda kind: [item])
    assert reading.definitions(tree) == {"softmax": TERMS["softmax"]}
