"""One parser for each publisher's format: from the downloaded files to labelled texts.

Each parser takes the files of one set by name and returns its official splits, the rows in the
publisher's order. Texts stay as published but for line ends and, where a parser says so, blanks
around the text. Archives are read member by member; nothing is unpacked to disk.
"""

import csv
import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from tutorial_lib.data.errors import DataError
from tutorial_lib.data.rows import Rows, concatenate

Files = Mapping[str, Path]
Splits = dict[str, Rows]


def mr(files: Files) -> Splits:
    """Parse rt-polarity: one sentence a line, one file a class, Windows-1252; blanks stripped."""
    parts = []
    for label, name in enumerate(("rt-polarity.neg", "rt-polarity.pos")):
        texts = [line.strip() for line in _lines(files[name].read_bytes(), "cp1252")]
        parts.append(Rows(texts, [label] * len(texts)))
    return {"full": concatenate(parts)}


def sst2(files: Files) -> Splits:
    """Parse stsa.binary: `0 sentence` or `1 sentence` a line."""
    splits = {}
    for split, end in {"train": "train", "validation": "dev", "test": "test"}.items():
        path = files[f"stsa.binary.{end}"]
        cut = [line.partition(" ") for line in _lines(path.read_bytes())]
        splits[split] = _rows(path.name, [(row[0], row[2]) for row in cut], ["0", "1"])
    return splits


def trec6(files: Files) -> Splits:
    """Parse TREC: `COARSE:fine question` a line, Latin-1; the fine class is dropped."""
    classes = ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"]
    splits = {}
    for split in ("train", "test"):
        path = files[f"TREC.{split}"]
        cut = [line.partition(" ") for line in _lines(path.read_bytes(), "latin-1")]
        pairs = [(row[0].partition(":")[0], row[2]) for row in cut]
        splits[split] = _rows(path.name, pairs, classes)
    return splits


def ag_news(files: Files) -> Splits:
    """Parse AG News: `"1","title","description"`; text = title, blank, description; stripped."""
    splits = {}
    for split in ("train", "test"):
        path = files[f"{split}.csv"]
        pairs = [
            (label, f"{title} {description}".strip())
            for label, title, description in _csv(path.name, path.read_bytes(), 3)
        ]
        splits[split] = _rows(path.name, pairs, ["1", "2", "3", "4"])
    return splits


def medical_abstracts(files: Files) -> Splits:
    """Parse Medical Abstracts: CSV with a header, labels 1 to 5."""
    splits = {}
    for split in ("train", "test"):
        path = files[f"medical_tc_{split}.csv"]
        pairs = _csv(path.name, path.read_bytes(), 2)[1:]
        splits[split] = _rows(path.name, pairs, ["1", "2", "3", "4", "5"])
    return splits


def amazon(files: Files) -> Splits:
    """Parse a domain of the multi-domain reviews: what stands between `<review_text>` tags.

    The files look like XML but are not (bare `&` and control characters), and are indented
    differently from domain to domain; blanks around a text are stripped.
    """
    parts = []
    for label, name in enumerate(("negative.review", "positive.review")):
        content = _decode(name, files[name].read_bytes())
        texts = re.findall(r"<review_text>\s*(.*?)\s*</review_text>", content, re.DOTALL)
        if len(texts) != len(re.findall(r"<review>", content)):
            raise DataError(f"{name}: the number of reviews and of their texts differ")
        parts.append(Rows(texts, [label] * len(texts)))
    return {"full": concatenate(parts)}


def sms_spam(files: Files) -> Splits:
    """Parse the SMS collection: `ham<TAB>message` or `spam<TAB>message` a line, CR LF ends."""
    path = files["SMSSpamCollection"]
    cut = [line.partition("\t") for line in _lines(path.read_bytes())]
    return {"full": _rows(path.name, [(row[0], row[2]) for row in cut], ["ham", "spam"])}


def financial_phrasebank(files: Files) -> Splits:
    """Parse PhraseBank: `sentence@label` a line, Latin-1."""
    path = files["Sentences_50Agree.txt"]
    cut = [line.rpartition("@") for line in _lines(path.read_bytes(), "latin-1")]
    classes = ["negative", "neutral", "positive"]
    return {"full": _rows(path.name, [(row[2], row[0]) for row in cut], classes)}


def chnsenticorp(files: Files) -> Splits:
    """Parse ChnSentiCorp: a zip of tab-separated files with a header, no quoting; stripped."""
    content = dict(members(files["chnsenticorp.zip"]))
    splits = {}
    for split, end in {"train": "train", "validation": "dev", "test": "test"}.items():
        name = f"{end}.tsv"
        cut = [line.partition("\t") for line in _lines(_member(content, name))[1:]]
        splits[split] = _rows(name, [(row[0], row[2].strip()) for row in cut], ["0", "1"])
    return splits


def online_shopping(files: Files) -> Splits:
    """Parse online_shopping_10_cats: a zipped CSV with a header: category, label, review."""
    name = "online_shopping_10_cats.csv"
    content = _member(dict(members(files["online_shopping_10_cats.zip"])), name)
    pairs = [(label, review) for _, label, review in _csv(name, content, 3)[1:]]
    return {"full": _rows(name, pairs, ["0", "1"])}


def imdb(files: Files) -> Splits:
    """Parse aclImdb: one review a file, `aclImdb/train/neg/17_3.txt`: number 17, three stars.

    Rows are negative, then positive, each by number. The reviews without a label are left out.
    """
    path_form = re.compile(r"(?:\./)?aclImdb/(train|test)/(neg|pos)/(\d+)_\d+\.txt")
    found = []
    for name, content in members(files["aclImdb_v1.tar.gz"]):
        match = path_form.fullmatch(name)
        if match:
            split, label, number = match.groups()
            found.append((split, label, int(number), _decode(name, content).strip(" \t\r\n")))
    found.sort()
    return {
        split: _rows(split, [row[1:4:2] for row in found if row[0] == split], ["neg", "pos"])
        for split in ("train", "test")
    }


PARSERS: dict[str, Callable[[Files], Splits]] = {
    "mr": mr,
    "sst2": sst2,
    "trec6": trec6,
    "ag_news": ag_news,
    "medical_abstracts": medical_abstracts,
    "amazon_books": amazon,
    "amazon_electronics": amazon,
    "amazon_kitchen": amazon,
    "sms_spam": sms_spam,
    "financial_phrasebank_50": financial_phrasebank,
    "chnsenticorp": chnsenticorp,
    "online_shopping_10_cats": online_shopping,
    "imdb": imdb,
}


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file in a zip or a tar.gz, in the archive's order.

    Raises:
        DataError: the archive is damaged, or a member's path leads out of the archive.
    """
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as opened:
                for entry in opened.infolist():
                    _refuse_escape(archive, entry.filename)
                    if not entry.is_dir():
                        yield entry.filename, opened.read(entry)
        else:
            with tarfile.open(archive, "r|gz") as stream:
                for member in stream:
                    _refuse_escape(archive, member.name)
                    file = stream.extractfile(member) if member.isreg() else None
                    if file is not None:
                        yield member.name, file.read()
    except (zipfile.BadZipFile, zlib.error, tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive.name} is damaged: {error}") from error


def _refuse_escape(archive: Path, member: str) -> None:
    path = PurePosixPath(member.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", member):
        raise DataError(f"{archive.name} is refused: its member {member!r} leads out of it")


def _member(content: Mapping[str, bytes], name: str) -> bytes:
    if name not in content:
        raise DataError(f"the archive holds {sorted(content)}, but not {name}")
    return content[name]


def _decode(name: str, content: bytes, encoding: str = "utf-8-sig") -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name}, line {line}: not {encoding}: {error.reason}") from error


def _lines(content: bytes, encoding: str = "utf-8-sig") -> list[str]:
    """Return the lines that are not empty. `splitlines` would also cut at U+0085 and others."""
    lines = _decode("the file", content, encoding).split("\n")
    return [line.removesuffix("\r") for line in lines if line not in ("", "\r")]


def _csv(name: str, content: bytes, fields: int) -> list[list[str]]:
    reader = csv.reader(io.StringIO(_decode(name, content), newline=""))
    rows = []
    for row in reader:
        if len(row) != fields:
            raise DataError(
                f"{name}, line {reader.line_num}: {len(row)} fields instead of {fields}"
            )
        rows.append(row)
    return rows


def _rows(name: str, pairs: Iterable[Sequence[str]], classes: Sequence[str]) -> Rows:
    """Return rows from pairs of a published label and a text."""
    index = {value: label for label, value in enumerate(classes)}
    rows = Rows([], [])
    for number, (value, text) in enumerate(pairs, start=1):
        if value not in index:
            raise DataError(f"{name}, row {number}: label {value!r} is none of {list(classes)}")
        rows.texts.append(text)
        rows.labels.append(index[value])
    return rows
