"""Each parser against the publishers' bytes: small samples of each format, and the real files."""

import io
import random
import tarfile
import zipfile

import pytest

from tutorial_lib.data import DataError, catalogue
from tutorial_lib.data.parse import PARSERS
from tutorial_lib.data.rows import Rows, read_folder

COMPLETE = [name for name in PARSERS if name not in ("ag_news", "medical_abstracts", "imdb")]


def zipped(**contents: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name.replace("__", "."), content)
    return target.getvalue()


def tarred(contents: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", compresslevel=1) as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


CSV = b'"3","A ""title""","two\nlines "\r\n"4","b","c"\r\n'
STSA = b"0 bad .\n1 good , and caf\xc3\xa9 .\n"
TSV = 'label\ttext_a\n1\t\u3000很好"的 \n0\t差\t劲\n'.encode()
REVIEW = b'<review>\n\t<rating>\n1.0\n</rating>\n\t<review_text>\n\nAT&T "bad"\n\n</review_text>\n'
TREC = b"NUM:dist How far : 1 ?\nABBR:exp A sister\xf0city\n"
SAMPLES = {
    "mr": (
        {"rt-polarity.neg": b"dull \x96 and long . \n", "rt-polarity.pos": b" fine\x85\nnew\n"},
        {"full": Rows(["dull – and long .", "fine…", "new"], [0, 1, 1])},
    ),
    "sst2": (
        {f"stsa.binary.{end}": STSA for end in ("train", "dev", "test")},
        dict.fromkeys(
            ("train", "validation", "test"), Rows(["bad .", "good , and café ."], [0, 1])
        ),
    ),
    "trec6": (
        {f"TREC.{end}": TREC for end in ("train", "test")},
        dict.fromkeys(("train", "test"), Rows(["How far : 1 ?", "A sisterðcity"], [5, 0])),
    ),
    "ag_news": (
        {"train.csv": CSV, "test.csv": CSV},
        dict.fromkeys(("train", "test"), Rows(['A "title" two\nlines', "b c"], [2, 3])),
    ),
    "medical_abstracts": (
        {
            f"medical_tc_{end}.csv": b'condition_label,medical_abstract\n5,"a, b "\n1,c\n'
            for end in ("train", "test")
        },
        dict.fromkeys(("train", "test"), Rows(["a, b ", "c"], [4, 0])),
    ),
    "amazon_books": (
        {"negative.review": REVIEW, "positive.review": REVIEW.replace(b"\t", b"  ") * 2},
        {"full": Rows(['AT&T "bad"'] * 3, [0, 1, 1])},
    ),
    "sms_spam": (
        {"SMSSpamCollection": b'ham\tsay "hi\tthere" \r\nspam\t\xc2\xa31 win\r\n'},
        {"full": Rows(['say "hi\tthere" ', "£1 win"], [0, 1])},
    ),
    "financial_phrasebank_50": (
        {"Sentences_50Agree.txt": b"Write to a@b .@neutral\nEUR +\xf1 3@negative\n"},
        {"full": Rows(["Write to a@b .", "EUR +ñ 3"], [1, 0])},
    ),
    "chnsenticorp": (
        {"chnsenticorp.zip": zipped(train__tsv=TSV, dev__tsv=TSV, test__tsv=TSV)},
        dict.fromkeys(("train", "validation", "test"), Rows(['很好"的', "差\t劲"], [1, 0])),
    ),
    "online_shopping_10_cats": (
        {
            "online_shopping_10_cats.zip": zipped(
                online_shopping_10_cats__csv='\ufeffcat,label,review\n书,1,"好,书"\n水果,0,\n'.encode()
            )
        },
        {"full": Rows(["好,书", ""], [1, 0])},
    ),
    "imdb": (
        {
            "aclImdb_v1.tar.gz": tarred(
                {
                    "aclImdb/README": b"no review",
                    "aclImdb/train/unsup/0_0.txt": b"no label",
                    "aclImdb/train/pos/10_9.txt": b"tenth",
                    "aclImdb/train/pos/9_10.txt": b"caf\xc3\xa9<br />",
                    "aclImdb/train/neg/11_1.txt": b"bad",
                    "aclImdb/test/pos/0_7.txt": b"good",
                    "aclImdb/test/neg/0_2.txt": b"dull\xc2\x85",
                }
            )
        },
        {
            "train": Rows(["bad", "café<br />", "tenth"], [0, 1, 1]),
            "test": Rows(["dull\x85", "good"], [0, 1]),
        },
    ),
}  # fmt: skip


def on_disk(folder, contents):
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_of_the_format(tmp_path, name):
    contents, expected = SAMPLES[name]
    assert PARSERS[name](on_disk(tmp_path, contents)) == expected


@pytest.mark.parametrize("name", ["sst2", "chnsenticorp"])
def test_validation_is_the_publishers_dev(tmp_path, name):
    ends = {"train": "train", "validation": "dev", "test": "test"}
    files = {f"stsa.binary.{end}": f"0 {end}\n".encode() for end in ends.values()}
    tables = {f"{end}__tsv": f"label\ttext\n0\t{end}\n".encode() for end in ends.values()}
    found = PARSERS[name](on_disk(tmp_path, files | {"chnsenticorp.zip": zipped(**tables)}))
    assert found == {split: Rows([end], [0]) for split, end in ends.items()}


def test_every_set_of_the_catalogue_has_a_parser_and_a_sample():
    known = set(catalogue.names()) - set(catalogue.EMBEDDED)
    assert set(PARSERS) == known
    assert {PARSERS[name] for name in SAMPLES} == set(PARSERS.values())


@pytest.mark.parametrize(
    "name, file, content, complaint",
    [
        ("sst2", "stsa.binary.dev", b"1 good\n2 so so\n", "stsa.binary.dev, row 2: label '2'"),
        ("sms_spam", "SMSSpamCollection", b"ham\tyes\nspam\tn\xff\n", "line 2: not utf-8"),
        ("ag_news", "train.csv", b'"1","a","b"\n"2","c"\n', "line 2: 2 fields instead of 3"),
        ("amazon_books", "negative.review", b"<review>\n</review>\n", "number of reviews"),
        ("chnsenticorp", "chnsenticorp.zip", zipped(other__tsv=b""), "not train.tsv"),
    ],
)
def test_what_is_not_of_the_format_is_an_error(tmp_path, name, file, content, complaint):
    files = on_disk(tmp_path, SAMPLES[name][0] | {file: content})
    with pytest.raises(DataError, match=complaint):
        PARSERS[name](files)


def originals(raw, name):
    """The set's original files that are held here, by name."""
    paths = {
        file.name: raw / "/".join(file.url.split("/")[3:]) for file in catalogue.entry(name).files
    }
    return {file: path for file, path in paths.items() if path.is_file()}


def prepared(real, name):
    entry = catalogue.entry(name)
    return read_folder(real / name, list(entry.splits), entry.classes)


@pytest.mark.parametrize("name", COMPLETE)
def test_the_original_files_give_the_prepared_rows(real, raw, name):
    assert PARSERS[name](originals(raw, name)) == prepared(real, name)


@pytest.mark.parametrize("name", ["ag_news", "medical_abstracts"])
def test_the_original_test_file_gives_the_prepared_test(real, raw, name):
    (path,) = (path for file, path in originals(raw, name).items() if "test" in file)
    files = {path.name: path, path.name.replace("test", "train"): path}  # train is not held here
    assert PARSERS[name](files)["test"] == prepared(real, name)["test"]


def test_the_imdb_archive_gives_back_the_rows_put_into_it(real, tmp_path):
    rows = {
        split: Rows(
            found.texts[12_300:12_700],  # 200 of each class
            found.labels[12_300:12_700],
        )
        for split, found in prepared(real, "imdb").items()
    }
    contents = [
        (f"aclImdb/{split}/{('neg', 'pos')[label]}/{number}_{1 + 9 * label}.txt", text.encode())
        for split, found in rows.items()
        for number, (text, label) in enumerate(zip(*found, strict=True))
    ]
    random.Random(0).shuffle(contents)
    files = on_disk(tmp_path, {"aclImdb_v1.tar.gz": tarred(dict(contents))})
    assert PARSERS["imdb"](files) == rows
