"""A user's own files: read, mapped, and refused row by row."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tutorial_lib.data import DataError, files, from_files, provenance

GOOD = [(f"text {n}, with a comma", "ham" if n % 3 else "spam") for n in range(30)]
OTHER = [(f"other {text}", label) for text, label in GOOD]


def csv_file(path, rows, header="text,label"):
    lines = [header, *(f'"{text}",{label}' for text, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def written(folder, form, rows=GOOD):
    path = folder / f"mine.{form}"
    if form == "csv":
        return csv_file(path, rows)
    if form == "tsv":
        path.write_text("text\tlabel\n" + "".join(f"{t}\t{y}\n" for t, y in rows))
    elif form == "parquet":
        pq.write_table(
            pa.table({"text": [t for t, _ in rows], "label": [y for _, y in rows]}), path
        )
    else:
        path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n\n" for t, y in rows))
    return path


def texts_and_names(split):
    names = split.features["label"].names
    return [(text, names[label]) for text, label in zip(split["text"], split["label"], strict=True)]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "ndjson", "parquet"])
def test_each_format_gives_its_rows(tmp_path, form):
    data = from_files(written(tmp_path, form), splits="official")
    assert texts_and_names(data["full"]) == GOOD
    assert data["full"].features["label"].names == ["ham", "spam"]
    record = provenance(data)
    assert (record.name, record.title, record.source) == ("mine", f"mine.{form}", "files")


def test_one_file_is_cut_in_three(tmp_path):
    data = from_files(csv_file(tmp_path / "a.csv", GOOD), name="my texts")
    # 20 ham and 10 spam: a tenth of each to validation and to test.
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 24, "validation": 3, "test": 3,
    }  # fmt: skip
    assert sorted(row for part in data.values() for row in texts_and_names(part)) == sorted(GOOD)
    assert provenance(data).name == "my texts"


def test_splits_given_as_files_are_kept(tmp_path):
    paths = {
        "train": csv_file(tmp_path / "a.csv", GOOD[:20]),
        "test": written(tmp_path, "jsonl", GOOD[20:]),
    }
    data = from_files(paths, splits="official")
    assert texts_and_names(data["train"]) == GOOD[:20]
    assert texts_and_names(data["test"]) == GOOD[20:]
    book = from_files(paths)
    assert list(book) == ["train", "validation", "test"]
    assert texts_and_names(book["test"]) == GOOD[20:]


def test_columns_are_named_and_others_ignored(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,stars,body\n1,5,good\n2,1,bad\n\n3,1,"two\nlines, of""it"\n')
    data = from_files(path, text="body", label="stars", splits="official")["full"]
    assert data["text"][:] == ["good", "bad", 'two\nlines, of"it']
    assert texts_and_names(data)[1] == ("bad", "1")


@pytest.mark.parametrize(
    "labels, classes, names, expected",
    [
        (["b", "a", "b"], None, ["a", "b"], [1, 0, 1]),
        ([10, 9, 10], None, ["9", "10"], [1, 0, 1]),
        ([True, False, True], None, ["False", "True"], [1, 0, 1]),
        (["pos", "neg", " pos "], ["neg", "pos"], ["neg", "pos"], [1, 0, 1]),
        ([1, 0, 1], ["neg", "pos"], ["neg", "pos"], [1, 0, 1]),
        ([1, 2, 1], {1: "World", 2: "Sports"}, ["World", "Sports"], [0, 1, 0]),
        (["+", "-", "p"], {"-": "neg", "+": "pos", "p": "pos"}, ["neg", "pos"], [1, 0, 1]),
    ],
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_labels_are_mapped(tmp_path, form, labels, classes, names, expected):
    path = written(tmp_path, form, [(f"t{n}", label) for n, label in enumerate(labels)])
    data = from_files(path, classes=classes, splits="official")["full"]
    assert data.features["label"].names == names
    assert data["label"][:] == expected


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_whole_numbers_written_as_floats_are_the_same_labels(tmp_path, form):
    path = written(tmp_path, form, [("a", 2.0), ("b", 1), ("c", 2)])
    data = from_files(path, splits="official")["full"]
    assert data.features["label"].names == ["1", "2"]
    assert data["label"][:] == [1, 0, 1]


# A good row stands on the lines 2 and 3; each case adds line 4.
BAD_CSV = [
    (b"so\0so,ham", "line 4: a NUL byte"),
    (b"caf\xe9,ham", "line 4: not UTF-8"),
    (b"text,h\xe9", "line 4: not UTF-8"),
    (b"text,h\0", "line 4: a NUL byte in the label"),
    (b"only one field", "line 4: 1 fields instead of 2"),
    (b"one,two,three", "line 4: 3 fields instead of 2"),
    (b'"a" b,ham', "line 4: not CSV"),
    (b"   ,ham", "line 4: the text is empty"),
    (b"text,", "line 4: no label"),
    (b"text,eggs", "line 4: label 'eggs' is unknown; known are .*ham, spam"),
]


def test_numbers_are_no_indices_where_the_classes_come_from_the_file(tmp_path):
    paths = {
        "train": csv_file(tmp_path / "a.csv", [("a", 1), ("b", 2), ("c", 3)]),
        "test": csv_file(tmp_path / "b.csv", [("d", 0), ("e", 1)]),
    }
    with pytest.raises(DataError, match="bad rows: 1\n.*b.csv, line 2: label '0' is unknown"):
        from_files(paths, splits="official")


@pytest.mark.parametrize(
    "classes, complaint",
    [
        (["1", "0"], "could be a name or an index"),
        (["1", "2"], "could be a name or an index"),
        (["a", "b", "a"], "a class is named twice"),
        ({"1": "a", "1.0": "b"}, "label '1' has two names"),
    ],
)
def test_classes_that_mean_two_things_are_an_error(tmp_path, classes, complaint):
    path = csv_file(tmp_path / "a.csv", [("a", 0), ("b", 1)])
    with pytest.raises(DataError, match=complaint):
        from_files(path, classes=classes)


def test_the_lines_lost_to_an_open_quote_are_counted(tmp_path, capsys):
    lines = [f'"text {n}",{n % 2}' for n in range(1000)]
    lines[10] = '"' + lines[10]  # on line 12: open until the quote on line 13
    lines[20] = '"text 20,0'  # on line 22
    path = tmp_path / "a.csv"
    lines[21:900] = [line.replace('"', "") for line in lines[21:900]]  # next quote: line 902
    path.write_text("text,label\n" + "\n".join(lines) + "\n")
    data = from_files(path, splits="official", bad_rows="drop")
    lost = 1000 - len(data["full"])
    said = capsys.readouterr().out
    assert "line 22: not CSV" in said and "at line 902" in said
    assert f"bad rows: 2 ({lost} lines)" in said
    assert provenance(data).partial == f"bad rows left out: 2 ({lost} lines)"


# An open quote takes the rest of the file with it, so it can be named but not left out.
OPEN_QUOTE = (b'"never closed,ham\nand more', "line 4: not CSV .*at line 6")


@pytest.mark.parametrize("line, complaint", [*BAD_CSV, OPEN_QUOTE])
def test_a_bad_row_of_a_csv_is_named_by_its_line(tmp_path, line, complaint):
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\ngood,ham\nbad,spam\n" + line + b"\n" + b"fine,ham\n")
    with pytest.raises(DataError, match=f"a.csv, {complaint}"):
        from_files(path, classes=["ham", "spam"])


@pytest.mark.parametrize("line, complaint", BAD_CSV)
def test_a_bad_row_can_be_left_out(tmp_path, capsys, line, complaint):
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\ngood,ham\nbad,spam\n" + line + b"\n" + b"fine,ham\n")
    data = from_files(path, classes=["ham", "spam"], splits="official", bad_rows="drop")
    assert data["full"]["text"][:] == ["good", "bad", "fine"]
    assert "bad rows: 1" in capsys.readouterr().out
    assert provenance(data).partial == "bad rows left out: 1"


@pytest.mark.parametrize(
    "line, complaint",
    [
        (b'{"text": "a", "label": "ham"', "line 3: not JSON"),
        (b'{"text": "a", "label": ' + b"1" * 5000 + b"}", "line 3: not JSON that can be read"),
        (b"[" * 100_000, "line 3: not JSON that can be read"),
        (b'["a", "ham"]', "line 3: no fields 'text' and 'label': no object"),
        (b'{"text": "a", "lable": "ham"}', r"line 3: no fields .* only \['lable', 'text'\]"),
        (b'{"text": 7, "label": "ham"}', "line 3: the text is not a string: 7"),
        (b'{"text": null, "label": "ham"}', "line 3: the text is not a string: None"),
        (b'{"text": "a", "label": null}', "line 3: no label"),
        (b'{"text": "\\u0000", "label": "ham"}', "line 3: a NUL byte"),
        (b'{"text": "\\ud800", "label": "ham"}', "line 3: not UTF-8"),
        (b'{"text": "caf\xe9", "label": "ham"}', "line 3: not UTF-8"),
        (b'{"text": "a", "label": ["ham"]}', "line 3: the label is no string and no number"),
        (b'{"text": "a", "label": {"x": 1}}', "line 3: the label is no string and no number"),
        (b'{"text": "a", "label": "h\\u0000"}', "line 3: a NUL byte in the label"),
    ],
)
def test_a_bad_line_of_a_jsonl_is_named(tmp_path, line, complaint):
    good = b'{"text": "good", "label": "ham"}\n{"text": "bad", "label": "spam"}\n'
    (tmp_path / "a.jsonl").write_bytes(good + line + b"\n")
    with pytest.raises(DataError, match=f"a.jsonl, {complaint}"):
        from_files(tmp_path / "a.jsonl")


def test_lines_are_counted_through_quoted_line_ends_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbftext,label\r\n"two\r\nlines",ham\r\nx,spam\r\n,ham\r\n')
    with pytest.raises(DataError, match="bad rows: 1\n.*line 5: the text is empty"):
        from_files(path)


def test_all_bad_rows_are_reported_in_one_error_up_to_a_limit(tmp_path):
    path = csv_file(tmp_path / "a.csv", [*GOOD, *[("", "ham")] * 25])
    with pytest.raises(DataError) as caught:
        from_files(path)
    message = str(caught.value)
    assert "bad rows: 25" in message and "and 5 more" in message
    assert message.count("the text is empty") == 20
    assert "line 32:" in message and "line 51:" in message and "line 52:" not in message


def test_a_label_of_test_that_train_lacks_is_unknown(tmp_path):
    paths = {
        "train": csv_file(tmp_path / "a.csv", GOOD),
        "test": csv_file(tmp_path / "b.csv", [("x", "eggs")]),
    }
    with pytest.raises(DataError, match="b.csv, line 2: label 'eggs' is unknown"):
        from_files(paths)


def test_a_missing_cell_of_a_parquet_is_named_by_its_row(tmp_path):
    table = pa.table({"text": ["a", None, "c"], "label": [1.0, 2.0, float("nan")]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="row 2: the text is not(.|\n)*row 3: no label"):
        from_files(tmp_path / "a.parquet")


def test_a_text_longer_than_the_csv_module_s_limit_is_read(tmp_path):
    path = csv_file(tmp_path / "a.csv", [("word " * 100_000, "ham"), ("short", "spam")])
    before = csv.field_size_limit(5000)
    assert len(from_files(path, splits="official")["full"]["text"][0]) == 500_000
    assert csv.field_size_limit(before) == 5000


@pytest.mark.parametrize(
    "name, content, complaint",
    [
        ("a.csv", b"", "no column 'text'; its columns are \\[\\]"),
        (
            "a.csv",
            b"body,label\nx,ham\n",
            "no column 'text'; its columns are \\['body', 'label'\\]",
        ),
        ("a.csv", b"text,class\nx,ham\n", "no column 'label'"),
        ("a.csv", b"text,label\n", "holds no row"),
        ("a.csv", b'"text" x,label\na,ham\n', "a.csv, line 1: the header is not CSV"),
        ("a.csv", b"text,label,text\na,ham,b\n", "has the column 'text' twice"),
        ("a.jsonl", b"\n\n", "holds no row"),
        ("a.csv", b"text,label\nx,ham\ny,ham\nz,ham\n", "one class only"),
        ("a.csv", b"text,label\nx,ham\ny,ham\nz,ham\nv,spam\n", "class 1 has only 1 different"),
        ("a.xlsx", b"", "suffix is none of .csv"),
        ("a.parquet", b"PAR1", "cannot be read as Parquet"),
    ],
)
def test_a_file_that_will_not_do_is_an_error(tmp_path, name, content, complaint):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=complaint):
        from_files(tmp_path / name)


def test_wrong_paths_and_split_names_are_errors(tmp_path):
    path = csv_file(tmp_path / "a.csv", GOOD)
    for paths, complaint in [
        (tmp_path / "none.csv", "there is no file"),
        ({}, "no file is named"),
        ({"all": path}, "'all' cannot be a split's name"),
        ({"train": path, "dev": path}, "train and others"),
    ]:
        with pytest.raises(DataError, match=complaint):
            from_files(paths)
    unchecked = getattr(files._files, "__wrapped__", files._files)  # without the tests' type checks
    with pytest.raises(DataError, match="0 cannot be a split's name"):
        unchecked({0: path})


@pytest.mark.parametrize("same", [{"train", "test"}, {"validation", "test"}, {"full"}])
def test_a_split_left_empty_by_the_cleaning_is_an_error(tmp_path, same):
    one, other = (csv_file(tmp_path / f"{n}.csv", rows) for n, rows in enumerate([GOOD, OTHER]))
    paths = {name: one if name in same else other for name in {"train", "test", *same}}
    if same == {"full"}:
        paths = csv_file(tmp_path / "a.csv", [("same", n % 2) for n in range(40)])
    with pytest.raises(DataError, match="train has no row of class 0 left|validation has no row"):
        from_files(paths)


def test_a_class_that_test_takes_from_train_is_an_error(tmp_path):
    spam = [row for row in GOOD if row[1] == "spam"]
    paths = {
        "train": csv_file(tmp_path / "a.csv", GOOD),
        "test": csv_file(tmp_path / "b.csv", spam + OTHER),
    }
    with pytest.raises(DataError, match="train has no row of class 1 left"):
        from_files(paths)


@pytest.mark.parametrize("wish", [{"splits": "all"}, {"bad_rows": "dorp"}])
def test_wrong_wishes_are_errors(tmp_path, wish):
    path = csv_file(tmp_path / "a.csv", GOOD)
    unchecked = getattr(from_files, "__wrapped__", from_files)  # without the tests' type checks
    with pytest.raises(DataError, match="is not known"):
        unchecked(path, **wish)
