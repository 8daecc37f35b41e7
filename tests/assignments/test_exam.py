"""The graders' exam, and that it asks enough."""

import re

import nbformat
import pytest
import yaml

from grading import exam, notebooks

NAMES = notebooks.assignments()


def test_there_is_one_assignment_for_each_chapter():
    chapters = sorted(path.stem for path in (notebooks.ROOT / "notebooks").glob("*.ipynb"))
    assert chapters == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_question_has_wrong_and_right_answers(name):
    given = exam.answers(name)
    for question in notebooks.load(name).questions:
        if question.tests:
            kinds = [answer.kind for answer in given if answer.question == question.name]
            assert kinds.count("right") >= 2, question.name
            assert kinds.count("hard-coded") >= 1, question.name
            assert len(kinds) - kinds.count("right") >= 4, question.name
            assert len(question.tests) >= 2 or question.points <= 2, question.name


@pytest.mark.parametrize("name", NAMES)
def test_an_assignment_is_whole(name):
    assignment = notebooks.load(name)
    assert assignment.points == 20
    assert sum(question.by_hand for question in assignment.questions) >= 3
    tests = [test for question in assignment.questions for test, _ in question.tests]
    assert all(notebooks.visible(test.source).strip() != test.source.strip() for test in tests)
    assert all(notebooks.visible(test.source).strip() for test in tests)
    settings = yaml.safe_load((notebooks.ROOT / "_config.yml").read_text())["repository"]
    assert f"%pip install -q git+{settings['url']}" in assignment.given[0].source


@pytest.mark.parametrize("name", NAMES)
def test_the_instructors_page_tells_what_the_assignment_says(name):
    notebook = nbformat.read(notebooks.SOURCES / f"{name}.ipynb", as_version=4)
    title = notebook.cells[0].source
    number, words = re.search(r"# Assignment (\d+): (.+)", title).groups()
    level, minutes = re.search(r"20 points · (.+?) · (\d+ to \d+) minutes", title).groups()
    page = (notebooks.ROOT / "book" / "instructors.md").read_text()
    assert f"| {number} {words} | {level} | {minutes} |" in page


@pytest.mark.parametrize("name", NAMES)
def test_wrong_answers_lose_and_right_ones_win(name):
    outcomes = exam.sit(name)
    assert len(outcomes) == len(exam.answers(name)) > 0
    failed = [f"{a.kind} {a.question}: {a.title}: {why}" for a, why in outcomes if why]
    assert not failed, "\n".join(failed)


def test_the_exam_can_fail(monkeypatch):
    """A wrong answer that is called right, and a right one that is called wrong, are found."""
    good = "def softmax_gradient(p, u):\n    return p * (u - (p * u).sum(-1, keepdims=True))"
    bad = good.replace("u - ", "u + ")
    cases = [
        exam.Given("right", "gradient", "wrong in truth", "", "", bad),
        exam.Given("wrong", "gradient", "right in truth", "gradient-values", "small", good),
        exam.Given("wrong", "gradient", "with other words", "gradient-values", "small", bad),
        exam.Given("hard-coded", "gradient", "seen through", "gradient-values", "first", bad),
    ]
    monkeypatch.setattr(exam, "answers", lambda name: cases)
    said = [why for _, why in exam.sit("01_softmax")]
    assert "rejects it" in said[0] and "accepts it" in said[1]
    assert "does not say 'small'" in said[2] and "visible tests" in said[3]


def test_a_head_that_is_none_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(exam, "ANSWERS", tmp_path)
    (tmp_path / "01_softmax.py").write_text("# %% wrong softmax: no test named\nx = 1\n")
    with pytest.raises(ValueError, match="name a test"):
        exam.answers("01_softmax")
    (tmp_path / "01_softmax.py").write_text("# %% worng softmax: a slip\nx = 1\n")
    with pytest.raises(ValueError, match="no head"):
        exam.answers("01_softmax")
