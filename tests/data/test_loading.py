"""Where `load` looks, what it accepts there, and what it says of it."""

import dataclasses
import functools
import http.server
import shutil
import threading

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faultserver import toy_catalogue, toy_entry

from tutorial_lib.data import (
    DataError,
    DatasetUnavailable,
    catalogue,
    describe,
    load,
    loading,
    provenance,
)
from tutorial_lib.data.provenance import fingerprint
from tutorial_lib.data.rows import Rows, write_folder

SETS = [name for name in catalogue.names() if name not in catalogue.EMBEDDED]
COMPLETE = [name for name in SETS if not catalogue.entry(name).partial]
NOT_SERVED = ("ag_news", "medical_abstracts", "imdb")  # files that the folder raw lacks
GOOD = {"text": [f"text {n}" for n in range(3000)], "label": [0] * 1500 + [1] * 1500}


@pytest.fixture
def prepared(toy, tmp_path, monkeypatch):
    """An empty folder for the toy set in TUTORIAL_DATA."""
    monkeypatch.setenv("TUTORIAL_DATA", str(tmp_path / "prepared"))
    (tmp_path / "prepared" / "toy").mkdir(parents=True)
    return tmp_path / "prepared" / "toy"


@pytest.fixture
def real_data(real, cache, monkeypatch):
    monkeypatch.setenv("TUTORIAL_DATA", str(real))
    monkeypatch.setenv("TUTORIAL_OFFLINE", "1")


def test_prepared_data_come_first_and_need_no_network(prepared, toy):
    pq.write_table(pa.table(GOOD), prepared / "all.parquet")
    data = load("toy", splits="official")
    assert data["full"][:] == GOOD
    assert data["full"].features["label"].names == ["even", "odd"]
    assert provenance(data).source == "prepared"
    assert provenance(data).rows == {"full": 3000}
    assert toy.requests == []


@pytest.mark.parametrize(
    "columns, complaint",
    [
        ({"text": GOOD["text"]}, "no column 'label'"),
        ({"label": GOOD["label"]}, "no column 'text'"),
        (GOOD | {"label": [0] * 1500 + [2] * 1500}, "label 2 is not between 0 and 1"),
        (GOOD | {"label": [0] * 1499 + [1] * 1501}, r"class counts are \[1499, 1501\]"),
        (GOOD | {"label": ["0"] * 3000}, "column 'label'"),
        (GOOD | {"text": [None, *GOOD["text"][1:]]}, "column 'text' holds empty cells"),
    ],
)
def test_prepared_data_that_are_not_the_catalogue_s_are_an_error(prepared, columns, complaint):
    pq.write_table(pa.table(columns), prepared / "all.parquet")
    with pytest.raises(DataError, match=complaint):
        load("toy")


def test_prepared_data_with_other_class_names_are_an_error(prepared):
    prepared.rmdir()
    write_folder(prepared, {"full": Rows(GOOD["text"], GOOD["label"])}, ["odd", "even"])
    with pytest.raises(DataError, match="its classes are"):
        load("toy")


def test_a_prepared_split_that_is_missing_or_damaged_is_an_error(prepared):
    complaint = "split full: class counts are missing.*looked in .*toy for all.parquet"
    with pytest.raises(DataError, match=complaint):
        load("toy")
    (prepared / "all.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        load("toy")


def test_a_folder_named_wrongly_is_an_error(toy, monkeypatch, tmp_path):
    monkeypatch.setenv("TUTORIAL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="TUTORIAL_DATA is .*nowhere.* not a folder"):
        load("toy")


@pytest.mark.parametrize("place", ["prepared", "cache"])
def test_other_texts_with_the_right_counts_are_an_error(toy, cache, monkeypatch, place):
    known = dataclasses.replace(toy_entry(), book_sha256=provenance(load("toy")).sha256)
    if place == "prepared":
        monkeypatch.setenv("TUTORIAL_DATA", str(cache))
    garbage = {"text": [f"garbage {n}" for n in range(3000)], "label": GOOD["label"]}
    with toy_catalogue(known):
        assert provenance(load("toy")).source == place
        pq.write_table(pa.table(garbage), cache / "toy" / "all.parquet")
        with pytest.raises(DataError, match=f"not the published ones.*Remove or replace {cache}"):
            load("toy")


def test_a_cache_that_may_not_be_entered_is_one_place_tried(toy, embedded, monkeypatch, tmp_path):
    # The system refuses so long a name, to the administrator as well.
    monkeypatch.setenv("TUTORIAL_CACHE", str(tmp_path / ("x" * 300)))
    with pytest.raises(DatasetUnavailable, match="cache: .*xxx"):
        load("toy")
    assert provenance(load("toy", offline="reviews")).stands_in_for == "toy"
    assert "not here" in str(describe("toy"))


@pytest.mark.parametrize("damage", ["cut", "other counts", "no file"])
def test_a_damaged_cache_is_made_again(toy, cache, capsys, monkeypatch, damage):
    before = fingerprint(load("toy"))
    kept = cache / "toy" / "all.parquet"
    if damage == "cut":
        kept.write_bytes(kept.read_bytes()[:1000])
    elif damage == "other counts":
        pq.write_table(pa.table({"text": ["a"], "label": [0]}), kept)
    else:
        kept.unlink()
    with monkeypatch.context() as context:
        context.setenv("TUTORIAL_OFFLINE", "1")
        with pytest.raises(DatasetUnavailable, match="cache: damaged(.|\n)*TUTORIAL_OFFLINE"):
            load("toy")
    capsys.readouterr()
    assert fingerprint(load("toy")) == before
    assert "damaged and will be made again" in capsys.readouterr().out
    assert provenance(load("toy")).source == "cache"
    assert capsys.readouterr().out == ""


def test_a_download_with_other_counts_is_not_cached(toy, cache, monkeypatch):
    other = dataclasses.replace(toy_entry(), splits={"full": (1400, 1600)})
    with monkeypatch.context() as context:
        context.setattr(catalogue, "_entries", lambda: {"toy": other})
        with pytest.raises(DataError, match=r"\[1500, 1500\], the catalogue's \[1400, 1600\]"):
            load("toy")
    assert not (cache / "toy").exists()
    assert provenance(load("toy")).source == "download"


def test_without_network_every_place_is_named(toy, cache, monkeypatch):
    monkeypatch.setenv("TUTORIAL_OFFLINE", "1")
    with pytest.raises(DatasetUnavailable) as caught:
        load("toy")
    assert len(caught.value.tried) == 3
    for words in ("TUTORIAL_DATA: not set", str(cache / "toy"), "TUTORIAL_OFFLINE=1", "reviews"):
        assert words in str(caught.value)


@pytest.mark.parametrize("corpus", catalogue.EMBEDDED)
def test_a_stand_in_is_said_and_remembered(toy, embedded, monkeypatch, capsys, corpus):
    monkeypatch.setenv("TUTORIAL_OFFLINE", "1")
    data = load("toy", offline=corpus)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "toy could not be had" in said and corpus in said
    record = provenance(data["train"].select(range(2)))
    assert (record.name, record.source, record.stands_in_for) == (corpus, "embedded", "toy")
    assert "in place of toy" in record.caption
    assert record.sha256 == provenance(load(corpus)).sha256
    assert list(data) == ["train", "validation", "test"]


def test_one_domain_of_the_reviews_stands_in(toy, monkeypatch, capsys):
    monkeypatch.setenv("TUTORIAL_OFFLINE", "1")
    data = load("toy", offline="reviews/kitchen")
    assert "reviews/kitchen stands in" in capsys.readouterr().out
    assert {d for rows in data.values() for d in rows["domain"]} == {"kitchen"}
    record = provenance(data)
    assert (record.name, record.stands_in_for) == ("reviews", "toy")
    assert "kitchen" in record.title and "film" not in record.title
    with pytest.raises(DataError, match="reviews/hotel"):
        load("toy", offline="reviews/garden")


def test_no_stand_in_where_the_set_is_here(toy, capsys):
    assert provenance(load("toy", offline="reviews")).stands_in_for == ""
    assert capsys.readouterr().out == ""


def test_a_stand_in_does_not_hide_wrong_data(prepared):
    with pytest.raises(DataError):
        load("toy", offline="reviews")


@pytest.mark.parametrize(
    "arguments, environment, complaint",
    [
        ({"splits": "all"}, {}, "splits is 'all'"),
        ({"offline": "mr"}, {}, "offline is 'mr'"),
        ({}, {"TUTORIAL_OFFLINE": "yes"}, "TUTORIAL_OFFLINE is 'yes'"),
    ],
)
def test_wrong_wishes_are_errors(toy, monkeypatch, arguments, environment, complaint):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    unchecked = getattr(load, "__wrapped__", load)  # without the tests' type checks
    with pytest.raises(DataError, match=complaint):
        unchecked("toy", **arguments)


@pytest.mark.parametrize("name", COMPLETE)
def test_a_real_set_is_the_published_one(real_data, capsys, name):
    entry = catalogue.entry(name)
    data = load(name)
    assert capsys.readouterr().out == ""
    assert isinstance(data, datasets.DatasetDict)
    assert list(data) == ["train", "validation", "test"]
    for split in data.values():
        assert split.column_names == ["text", "label"]
        assert split.features["label"].names == list(entry.classes)
    record = provenance(data)
    assert (record.source, record.partial) == ("prepared", "")
    assert record.sha256 == entry.book_sha256
    assert record.rows == {split: sum(counts) for split, counts in entry.book.items()}


@pytest.mark.parametrize(
    "name, words, rows",
    [
        ("ag_news", "train has 44,067 of 120,000 rows", {"train": 44_067, "test": 7_600}),
        ("medical_abstracts", "train has none of 11,550 rows", {"test": 2_888}),
    ],
)
def test_a_partial_set_is_accepted_and_said(real_data, capsys, name, words, rows):
    official = provenance(load(name, splits="official"))
    assert official.rows == rows and official.partial == words
    assert capsys.readouterr().out == f"{name} is partial here: {words}.\n"
    book = provenance(load(name))
    assert list(book.rows) == ["train", "validation", "test"]
    assert words in book.partial and words in book.caption
    assert ("cut from the official test" in book.partial) == (name == "medical_abstracts")
    assert capsys.readouterr().out.count("\n") == 1


def test_official_splits_keep_their_rows_and_names(real_data):
    data = load("chnsenticorp", splits="official")
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 9_600, "validation": 1_200, "test": 1_200,
    }  # fmt: skip


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(raw, cache, monkeypatch):
    """The folder of original files, served from loopback."""
    handler = functools.partial(_Handler, directory=raw)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        monkeypatch.setenv("TUTORIAL_MIRROR", f"http://127.0.0.1:{server.server_address[1]}")
        yield
        server.shutdown()


def test_downloads_of_the_real_files_equal_the_prepared_copies(mirror, real, cache, monkeypatch):
    names = [name for name in SETS if name not in NOT_SERVED]
    downloaded = {name: load(name, splits="official") for name in names}
    assert len(names) == 10
    for name, data in downloaded.items():
        assert provenance(data).source == "download"
        assert provenance(load(name)).sha256 == catalogue.entry(name).book_sha256
    assert not (cache / ".downloads").exists() or not any((cache / ".downloads").rglob("*.*"))
    # A copy of the cache serves as prepared data.
    shutil.move(cache, cache.with_name("copy"))
    for root in (str(cache.with_name("copy")), str(real)):
        monkeypatch.setenv("TUTORIAL_DATA", root)
        for name, data in downloaded.items():
            again = load(name, splits="official")
            assert provenance(again).source == "prepared"
            assert {split: rows[:] for split, rows in again.items()} == {
                split: rows[:] for split, rows in data.items()
            }


@pytest.mark.parametrize("name", NOT_SERVED)
def test_a_set_whose_files_are_not_served_is_unavailable(mirror, name):
    with pytest.raises(DatasetUnavailable, match="404"):
        load(name)


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch):
    monkeypatch.delenv("TUTORIAL_CACHE", raising=False)
    assert loading.cache_root().name == "tutorial_lib"


def test_the_line_about_places_names_them_in_the_order_of_load(toy, cache, embedded, monkeypatch):
    def first():
        """What `places` names first of all that has the set, and where `load` found it."""
        words = loading.places().removeprefix("Data: ").split("; ")[0].split(", then ")
        named = next(place for place in words if "(0 of 1" not in place)
        return named, provenance(load("toy", offline="reviews")).source

    assert first() == ("a download", "download")
    assert first() == ("the cache (1 of 1 sets)", "cache")
    monkeypatch.setenv("TUTORIAL_DATA", str(cache))
    assert first() == ("TUTORIAL_DATA (1 of 1 sets)", "prepared")
    shutil.rmtree(cache / "toy")
    monkeypatch.setenv("TUTORIAL_OFFLINE", "1")
    assert first() == ("an embedded corpus", "embedded")
    assert loading.places().endswith("; TUTORIAL_OFFLINE=1 forbids a download")


@pytest.mark.parametrize("variable", ["TUTORIAL_DATA", "TUTORIAL_OFFLINE"])
def test_the_line_about_places_says_what_is_set_wrongly(toy, monkeypatch, variable):
    monkeypatch.setenv(variable, "nowhere")
    with pytest.raises(DataError) as caught:
        load("toy")
    assert loading.places() == f"Data: {caught.value}"
