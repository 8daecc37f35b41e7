"""The data card says what the catalogue knows, and looks nowhere but on the disk."""

import pytest

from tutorial_lib.data import DataError, catalogue, describe, load, provenance
from tutorial_lib.data.card import DataCard


@pytest.mark.parametrize("name", [n for n in catalogue.names() if n not in catalogue.EMBEDDED])
def test_a_card_holds_the_facts(cache, name):
    entry, card = catalogue.entry(name), describe(name)
    for shown in (str(card), card._repr_markdown_()):
        for fact in (entry.title, entry.language, entry.citation, entry.link, entry.terms):
            assert fact in shown
        for counts in [*entry.splits.values(), *entry.book.values()]:
            assert f"{sum(counts):,}" in shown
        for class_name in entry.classes:
            assert class_name in shown
    assert "load downloads" in str(card)
    book = f"SHA-256 {entry.book_sha256[:16]}" if entry.book_sha256 else "has not been counted"
    assert book in card.facts["Book split"]
    assert all(quirk in str(card) for quirk in entry.quirks)


def test_markdown_is_a_table_of_equal_rows_with_markup_escaped(cache):
    shown = describe("imdb")._repr_markdown_()
    table = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(table) == 5 and len({line.count("|") for line in table}) == 1
    assert "&lt;br /&gt;" in shown and "<br" not in shown


def test_no_field_of_a_card_can_be_markup_or_break_the_table():
    odd = "<b>a | b</b>"
    card = DataCard(odd, odd, {"Terms": odd}, (odd, "c"), {odd: (1, 2)}, (odd,))
    shown = card._repr_markdown_()
    table = [line for line in shown.splitlines() if line.startswith("|")]
    assert "<b>" not in shown.replace(f"`{odd}`", "") and len(table) == 5
    assert {line.count("|") for line in table} == {3}


def test_a_card_says_where_the_set_is(toy, cache, monkeypatch, tmp_path):
    assert f"load downloads 1 file from {toy.url}" in str(describe("toy"))
    monkeypatch.setenv("TUTORIAL_OFFLINE", "1")
    assert "TUTORIAL_OFFLINE=1 forbids" in str(describe("toy"))
    monkeypatch.delenv("TUTORIAL_OFFLINE")
    assert toy.requests == []
    load("toy")
    assert f"in the cache, {cache / 'toy'}" in str(describe("toy"))
    monkeypatch.setenv("TUTORIAL_DATA", str(tmp_path))
    (tmp_path / "toy").mkdir()
    assert f"prepared, in {tmp_path / 'toy'}" in str(describe("toy"))


def test_a_card_warns_of_partial_copies(cache):
    assert "44,067 of 120,000" in str(describe("ag_news"))
    assert "train with 0 of 11,550" in str(describe("medical_abstracts"))
    assert "partial" not in str(describe("mr"))


@pytest.mark.parametrize("name", catalogue.EMBEDDED)
def test_an_embedded_corpus_has_a_card(embedded, name):
    card = describe(name)
    assert card.title == provenance(load(name)).title == "a small corpus"
    assert card.classes == ("no", "yes")
    assert card.splits == dict.fromkeys(("train", "validation", "test"), (2, 1))


def test_an_unknown_name_is_an_error():
    with pytest.raises(DataError, match="no data set 'nothing'"):
        describe("nothing")
