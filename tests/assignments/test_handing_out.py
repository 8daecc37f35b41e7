"""What students and instructors get: copies that give nothing away, solutions that are right."""

import json
import zipfile

import nbformat
import pytest
from nbclient import NotebookClient

from grading import generate, grade, marking, notebooks
from grading.sandbox import Limits

NAMES = notebooks.assignments()


def marks(path, name):
    assignment = notebooks.load(name)
    marked, _, _ = marking.mark(assignment, notebooks.submission(path, assignment), Limits())
    return [mark for question in marked for mark in question.marks]


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_gets_full_marks(name, handed_out):
    found = marks(handed_out / "solution" / f"{name}.ipynb", name)
    assert found and [mark for mark in found if mark.points < mark.of] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_students_copy_gives_nothing_away(name, handed_out):
    source, copy = notebooks.SOURCES / f"{name}.ipynb", handed_out / "student" / f"{name}.ipynb"
    text = copy.read_text().upper()
    for word in ("SOLUTION ###", "### BEGIN", "HIDDEN TESTS", "MARK SCHEME", "GRADING.CHECKS"):
        assert word not in text
    assert generate.leaks(source, copy) == []
    assert text.count("YOUR CODE HERE") >= 4 and "YOUR ANSWER HERE" in text


def test_a_leak_would_be_found(tmp_path):
    source = notebooks.SOURCES / "01_softmax.ipynb"
    leaked = generate.leaks(source, source)
    assert "weights = np.exp(scaled - scaled.max(axis=-1, keepdims=True))" in leaked
    assert any("small changes of each score" in line for line in leaked)
    assert any(line.startswith("1 point: A goes on") for line in leaked)


@pytest.mark.parametrize("name", NAMES)
def test_only_unanswered_questions_fail_in_a_students_copy(name, handed_out, monkeypatch):
    """It runs in a fresh kernel, offline, with the package that students install."""
    monkeypatch.setenv("TUTORIAL_OFFLINE", "1")
    copy = nbformat.read(handed_out / "student" / f"{name}.ipynb", as_version=4)
    NotebookClient(copy, timeout=120, kernel_name="python3", allow_errors=True).execute()
    failed, fine = set(), set()
    for cell in copy.cells:
        if cell.cell_type == "code":
            errors = [out for out in cell.outputs if out.output_type == "error"]
            facts = cell.metadata.get("nbgrader", {})
            open_ = facts.get("solution") or facts.get("grade")
            (failed if errors else fine).add(facts.get("grade_id", ""))
            assert not errors or open_, f"{cell.source}\n{errors}"
    tests = {t.name for q in notebooks.load(name).questions for t, _ in q.tests}
    assert tests <= failed and "setup" in fine


@pytest.mark.parametrize("name", NAMES)
def test_an_unanswered_copy_gets_nothing_and_is_told_so(name, handed_out):
    assignment = notebooks.load(name)
    submission = notebooks.submission(handed_out / "student" / f"{name}.ipynb", assignment)
    marked, _, _ = marking.mark(assignment, submission, Limits())
    for question in marked:
        assert sum(mark.points for mark in question.marks) == 0
        assert not question.marks or any("not answered" in mark.why for mark in question.marks)
        assert not question.by_hand or question.text == "YOUR ANSWER HERE"


def test_solutions_come_without_hidden_tests(handed_out):
    for path in (handed_out / "solution").glob("*.ipynb"):
        text = path.read_text()
        assert "HIDDEN TESTS" not in text and "BEGIN SOLUTION" not in text
        assert "NotImplementedError()" not in text


def test_a_copy_is_known_by_its_cells_or_its_name(handed_out, tmp_path):
    copy = handed_out / "student" / "05_rnn.ipynb"
    (tmp_path / "renamed.ipynb").write_bytes(copy.read_bytes())
    (tmp_path / "smith 05_rnn (1).ipynb").write_text("not a notebook")
    (tmp_path / "poem.ipynb").write_text("not a notebook")
    assert grade.which(tmp_path / "renamed.ipynb") == "05_rnn"
    assert grade.which(tmp_path / "smith 05_rnn (1).ipynb") == "05_rnn"
    assert grade.which(tmp_path / "poem.ipynb") == ""


def test_marks_do_not_hang_on_the_cells_names(handed_out, tmp_path):
    """Some programs drop metadata that they do not know: all code runs, and texts are lost."""
    notebook = json.loads((handed_out / "solution" / "01_softmax.ipynb").read_text())
    for cell in notebook["cells"]:
        cell["metadata"] = {}
    path = tmp_path / "01_softmax.ipynb"
    path.write_text(json.dumps(notebook))
    assert all(mark.points == mark.of for mark in marks(path, "01_softmax"))


def test_the_archive_has_all_that_grading_needs(handed_out):
    with zipfile.ZipFile(handed_out / "grading.zip") as archive:
        here = {name.removeprefix("grading/") for name in archive.namelist()}
    assert {"Makefile", "book/build.py", "requirements-nbgrader.txt", "grading/grade.py"} <= here
    assert {f"notebooks/assignments/{name}.ipynb" for name in NAMES} <= here
    assert "tutorial_lib/pretrained/mini-albert/model.safetensors" in here
