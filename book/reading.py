"""Sphinx extension: what helps a reader of the pages: links to the glossary, numbered figures.

Both work on the finished document tree, where the notebooks' outputs stand already.
"""

import re
from collections.abc import Iterator

from docutils import nodes
from sphinx import addnodes

GLOSSARY = "book/glossary"
CHAPTER = re.compile(r"notebooks/(\d\d)_")
# Text below these is not prose, or leads somewhere already.
NOT_PROSE = (
    nodes.reference, nodes.literal, nodes.literal_block, nodes.title, nodes.math,
    nodes.math_block, nodes.raw, nodes.table,
)  # fmt: skip


def pages(tree: nodes.document, page: str) -> Iterator[tuple[str, nodes.Element]]:
    """Return each page with its part of the tree; they are many where the book is one file."""
    files = list(tree.findall(addnodes.start_of_file))
    yield from ((part["docname"], part) for part in files) if files else [(page, tree)]


def number_figures(app, tree: nodes.document, page: str) -> None:
    """Number the figures of each chapter, in their captions: "Figure 4.2."."""
    for name, part in pages(tree, page):
        chapter = CHAPTER.match(name)
        outputs = [n for n in part.findall(nodes.raw) if "<figcaption>" in n.astext()]
        count = 0
        for output in outputs if chapter else ():
            pieces = output.astext().split("<figure ")
            for k, piece in enumerate(pieces[1:], start=1):
                count += 1
                number = f"{int(chapter[1])}.{count}"
                caption = f'<figcaption><span class="tl-number">Figure {number}.</span> '
                pieces[k] = f'id="figure-{number.replace(".", "-")}" ' + piece.replace(
                    "<figcaption>", caption, 1
                )
            output[:] = [nodes.Text("<figure ".join(pieces))]


def definitions(glossary: nodes.document) -> dict[str, tuple[str, str]]:
    """Return each term's anchor and meaning, without the sentence that names its chapter."""
    found = {}
    for item in glossary.findall(nodes.definition_list_item):
        term, meaning = item[0], item[-1]
        text = re.sub(r"\s*See\s+chapter \d+\.$", "", " ".join(meaning.astext().split()))
        found[term.astext()] = (term["ids"][0], text)
    return found


def link_terms(app, tree: nodes.document, page: str) -> None:
    """Make the first use of each term in a chapter a link to its meaning."""
    if not any(CHAPTER.match(name) for name, _ in pages(tree, page)):
        return
    terms = definitions(app.env.get_doctree(GLOSSARY))
    one_page = app.builder.name == "singlehtml"
    address = "" if one_page else app.builder.get_relative_uri(page, GLOSSARY)
    for name, part in pages(tree, page):
        if CHAPTER.match(name):
            link_first_uses(part, terms, address)


def link_first_uses(
    part: nodes.Element, terms: dict[str, tuple[str, str]], address: str
) -> list[str]:
    """Link them in one chapter; return the terms that were found."""
    waiting = {term.lower(): term for term in terms}
    found = []
    for text in list(part.findall(nodes.Text)):
        if _is_prose(text):
            rest, made = text.astext(), []
            while match := _next_use(rest, waiting):
                term = waiting.pop(_singular(match[0].lower(), waiting))
                anchor, meaning = terms[term]
                link = nodes.reference(
                    "", match[0], internal=True, refuri=f"{address}#{anchor}", reftitle=meaning,
                    classes=["term"],
                )  # fmt: skip
                made += [nodes.Text(rest[: match.start()]), link]
                rest = rest[match.end() :]
                found.append(term)
            if made:
                text.parent.replace(text, [*made, nodes.Text(rest)])
    return found


def _is_prose(text: nodes.Text) -> bool:
    above = text.parent
    while above is not None:
        if isinstance(above, NOT_PROSE):
            return False
        above = above.parent
    return True


def _next_use(text: str, waiting: dict[str, str]) -> re.Match | None:
    """Return the first term in a text, the longest where two begin at one place."""
    words = "|".join(re.escape(term) for term in sorted(waiting, key=len, reverse=True))
    return re.search(rf"(?<![\w-])(?:{words})s?(?![\w-])", text, re.IGNORECASE) if words else None


def _singular(word: str, waiting: dict[str, str]) -> str:
    return word if word in waiting else word.removesuffix("s")


def setup(app) -> dict[str, bool]:
    app.connect("doctree-resolved", number_figures)
    app.connect("doctree-resolved", link_terms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
