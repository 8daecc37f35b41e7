"""An assignment as the instructor writes it, in nbgrader's format, and what a student hands in.

A question is an answer cell (`solution`), with the name N, and the test cells behind it whose
names begin with `N-`, each with its points. Where the answer is text, the answer cell itself has
the points, to be given by hand. Locked cells give data and tools.
https://nbgrader.readthedocs.io/en/stable/user_guide/creating_and_grading_assignments.html
"""

import ast
import dataclasses
import json
import re
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "notebooks" / "assignments"
LARGEST = 20 * 2**20  # bytes of a file that is read
HIDDEN = re.compile(
    r"^[^\n]*### BEGIN HIDDEN TESTS.*?^[^\n]*### END HIDDEN TESTS[^\n]*\n?", re.M | re.S
)


class BadNotebook(Exception):
    """What was handed in cannot be read as a notebook; the message says why."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell: its name in the assignment ("" if it has none) and its text."""

    name: str
    source: str


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        name: of its answer cell.
        answer: the worked solution.
        tests: cells that decide, with the points of each.
        by_hand: points that a person gives.
    """

    name: str
    answer: Cell
    tests: list[tuple[Cell, int]]
    by_hand: int = 0

    @property
    def points(self) -> int:
        return self.by_hand + sum(points for _, points in self.tests)


@dataclasses.dataclass(frozen=True)
class Assignment:
    """An assignment: its name, the cells that are given, the questions, and all cells of code.

    Cells without a name are the student's to change, such as the one with their name.
    """

    name: str
    title: str
    given: list[Cell]
    questions: list[Question]
    cells: list[Cell]

    @property
    def points(self) -> int:
        return sum(question.points for question in self.questions)

    @property
    def defined(self) -> dict[str, str]:
        """For each name that answers and free cells define, the question it belongs to."""
        free = [Cell("", cell.source) for cell in self.cells if not cell.name]
        answers = [question.answer for question in self.questions if not question.by_hand]
        tests = "\n".join(test.source for q in self.questions for test, _ in q.tests)
        return {
            name: cell.name
            for cell in (*free, *answers)
            for name in names(cell.source)
            if not cell.name or re.search(rf"\b{name}\b", tests)
        }


def assignments() -> list[str]:
    """Return the names of all assignments."""
    return sorted(path.stem for path in SOURCES.glob("*.ipynb"))


def load(name: str) -> Assignment:
    """Return an assignment by its name, such as "01_softmax".

    Raises:
        ValueError: a test cell belongs to no question.
    """
    notebook = nbformat.read(SOURCES / f"{name}.ipynb", as_version=4)
    title = notebook.cells[0].source.splitlines()[0].lstrip("# ")
    given, cells, answers, tests, hand = [], [], {}, {}, {}
    for raw in notebook.cells:
        facts = raw.metadata.get("nbgrader", {})
        cell = Cell(facts.get("grade_id", ""), raw.source)
        if facts.get("solution"):
            answers[cell.name] = cell
            hand[cell.name] = facts.get("points", 0) if facts["grade"] else 0
        elif facts.get("grade"):
            tests[cell.name] = cell, facts["points"]
        elif facts.get("locked") and raw.cell_type == "code":
            given.append(cell)
        if raw.cell_type == "code":
            cells.append(cell)
    questions = []
    for key, answer in answers.items():
        own = [test for test_name, test in tests.items() if test_name.startswith(f"{key}-")]
        questions.append(Question(key, answer, own, hand[key]))
    lost = set(tests) - {test.name for question in questions for test, _ in question.tests}
    if lost:
        raise ValueError(f"{name}: test cells of no question: {', '.join(sorted(lost))}")
    return Assignment(name, title, given, questions, cells)


def visible(source: str) -> str:
    """Return a test cell as students see it."""
    return HIDDEN.sub("", source)


def python(source: str) -> str:
    """Return a cell's code with IPython's own commands turned into Python."""
    return TransformerManager().transform_cell(source)


def names(source: str) -> list[str]:
    """Return what a cell defines at its top: functions and variables."""
    found = []
    for node in ast.parse(python(source)).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    return found


@dataclasses.dataclass(frozen=True)
class Submission:
    """What a student handed in: the cells to run, in order, and the texts to be read by a person.

    Attributes:
        missing: names of answer cells that are not there.
    """

    cells: list[Cell]
    texts: dict[str, str]
    missing: list[str]


def submission(path: Path, assignment: Assignment) -> Submission:
    """Read what a student handed in.

    What is given is taken from the assignment, whatever was done to it; tests are left out.

    Raises:
        BadNotebook: it cannot be read.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise BadNotebook(f"the file is larger than {LARGEST // 2**20} MiB")
        raws = json.loads(path.read_text(encoding="utf-8-sig"))["cells"]
        found = [(_name(raw), raw["cell_type"], "".join(raw["source"])) for raw in raws]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadNotebook(f"this is not a notebook: {type(error).__name__}: {error}") from error
    given = {cell.name: cell for cell in assignment.given}
    tests = {test.name for question in assignment.questions for test, _ in question.tests}
    shown = {visible(t.source).strip() for q in assignment.questions for t, _ in q.tests}
    shown |= {cell.source.strip() for cell in assignment.given}  # where names were lost on the way
    here = {name for name, kind, _ in found if kind == "code" or name not in given}
    by_hand = {question.name for question in assignment.questions if question.by_hand}
    cells, texts = [cell for name, cell in given.items() if name not in here], {}
    for name, kind, source in found:
        if kind != "code" or name in by_hand:
            texts[name] = "\n\n".join(filter(None, (texts.get(name), source)))  # a split cell
        elif name in given:
            cells.append(given[name])
        elif name not in tests and source.strip() not in shown:
            cells.append(Cell(name, source))
    missing = [q.name for q in assignment.questions if q.name not in here]
    return Submission(cells, texts, missing)


def _name(raw: dict) -> str:
    return str(raw.get("metadata", {}).get("nbgrader", {}).get("grade_id", ""))
