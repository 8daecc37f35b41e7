"""The catalogue against what the publishers and the papers state."""

import json
import re

import pytest

from tutorial_lib.data import DataError, catalogue
from tutorial_lib.data.catalogue import EMBEDDED, entry, names

SETS = [name for name in names() if name not in EMBEDDED]

# Rows of each official split, as the papers and the publishers' pages state them.
PUBLISHED = {
    "mr": {"full": 10_662},
    "sst2": {"train": 6_920, "validation": 872, "test": 1_821},
    "trec6": {"train": 5_452, "test": 500},
    "ag_news": {"train": 120_000, "test": 7_600},
    "medical_abstracts": {"train": 11_550, "test": 2_888},
    "amazon_books": {"full": 2_000},
    "amazon_electronics": {"full": 2_000},
    "amazon_kitchen": {"full": 2_000},
    "sms_spam": {"full": 5_574},
    "financial_phrasebank_50": {"full": 4_846},
    "chnsenticorp": {"train": 9_600, "validation": 1_200, "test": 1_200},
    "online_shopping_10_cats": {"full": 62_774},
    "imdb": {"train": 25_000, "test": 25_000},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_rows_are_those_published(name):
    found = {split: sum(counts) for split, counts in entry(name).splits.items()}
    assert found == PUBLISHED[name]


def test_the_catalogue_holds_these_sets_and_the_embedded_corpora():
    assert names() == [*PUBLISHED, "reviews", "pydoc"]


def test_medical_abstracts_class_counts_add_up_to_the_paper_s_totals():
    splits = entry("medical_abstracts").splits.values()
    assert [sum(of_class) for of_class in zip(*splits, strict=True)] == [
        3_163, 1_494, 1_925, 3_051, 4_805,
    ]  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_an_entry_is_complete(name):
    found = entry(name)
    for field in ("title", "task", "language", "citation", "terms", "quirks", "files"):
        assert getattr(found, field), field
    assert found.link.startswith("https://")
    assert len(set(found.classes)) == len(found.classes) >= 2
    for counts in [*found.splits.values(), *found.book.values()]:
        assert len(counts) == len(found.classes) and min(counts) > 0
    assert set(found.partial) <= set(found.splits)


@pytest.mark.parametrize("name", SETS)
def test_addresses_are_pinned_and_hashes_well_formed(name):
    files = entry(name).files
    assert len({file.name for file in files}) == len(files)
    for file in files:
        # A commit's address, or (one file) the publisher's own.
        assert re.match(
            r"https://(raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/|ai\.stanford\.edu/)",
            file.url,
        )
        hashes = [(file.sha256, 64), (file.md5, 32), (file.git_blob_sha1, 40)]
        assert any(value for value, _ in hashes)
        for value, length in hashes:
            assert re.fullmatch(rf"([0-9a-f]{{{length}}})?", value)


@pytest.mark.parametrize("name", SETS)
def test_counts_are_those_of_the_prepared_data_s_manifest(real, name):
    manifest = json.loads((real / "MANIFEST.json").read_text())
    (facts,) = (facts for facts in manifest["datasets"] if facts["name"] == name)
    found = entry(name)
    assert list(found.classes) == facts["classes"]
    for split, held in facts["splits"].items():
        split = {"all": "full", "dev": "validation"}.get(split, split)
        counts = found.splits[split]
        if sum(counts) != held["rows"]:
            assert sum(counts) == held["official_rows"]
            counts = found.partial[split]
        assert counts == tuple(held["label_counts"].values())


@pytest.mark.parametrize("name", SETS)
def test_files_are_those_of_the_list_of_sources(real, name):
    sources = json.loads((real / "SOURCES.json").read_text())[name]["files"]
    facts = ("url", "sha256", "md5", "git_blob_sha1", "bytes")
    listed = [
        tuple(file.get(fact) or None for fact in facts)
        for file in sources
        if not file["url"].endswith("License.txt")  # the entry's terms say what it says
    ]
    ours = [tuple(getattr(file, fact) or None for fact in facts) for file in entry(name).files]
    assert ours == listed


@pytest.mark.parametrize(
    "wrong, near", [("imbd", "imdb"), ("SST-2", "sst2"), ("agnews", "ag_news")]
)
def test_an_unknown_name_gives_the_nearest(wrong, near):
    with pytest.raises(DataError, match=f"no data set '{wrong}'.*{near}"):
        entry(wrong)


def test_a_name_like_no_other_gives_all():
    with pytest.raises(DataError, match="known are mr, sst2.*pydoc"):
        entry("!!!")


def test_missing_rows_are_worded_and_unknown_differences_refused():
    found = entry("ag_news")
    whole, part = found.splits, found.partial["train"]
    assert found.missing(whole) == ""
    assert found.missing({"train": part, "test": whole["test"]}) == (
        "train has 44,067 of 120,000 rows"
    )
    with pytest.raises(DataError, match="split train: class counts are"):
        found.missing({"train": (1, 2, 3, 4), "test": whole["test"]})
    with pytest.raises(DataError, match="split test: class counts are missing"):
        found.missing({"train": part})
    assert catalogue.entry("medical_abstracts").missing(
        {"test": entry("medical_abstracts").splits["test"]}
    ) == ("train has none of 11,550 rows")
