"""Marks one submission: its cells run behind the wall, the tests run here.

A test cell sees the names that answers define. A function among them is an `Answer`, which calls
the student's function in its own process and brings back plain data. So a test runs unchanged on
a student's answer here and in the instructor's notebook.
"""

import contextlib
import dataclasses
import io
import os
import time
from collections.abc import Sequence
from typing import Any

from grading import checks, notebooks
from grading.notebooks import Assignment, Cell, Submission
from grading.plain import pack, unpack
from grading.sandbox import Died, Limits, NoSandbox, Process

DEATHS = 2  # calls of one answer that may end the process before it is called no more


@dataclasses.dataclass(frozen=True)
class Mark:
    """The outcome of one test cell: points reached, out of how many, and why not all of them."""

    test: str
    points: int
    of: int
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Marked:
    """The outcome of one question; `by_hand` points wait for a person who reads `text`."""

    question: str
    marks: list[Mark]
    by_hand: int = 0
    text: str = ""


class Student:
    """A student's cells, run in order in a process of their own.

    When a cell or a call ends the process, a new one is started and the cells are run again, but
    for those that ended it.
    """

    def __init__(self, cells: Sequence[Cell], limits: Limits, *, safe: bool = True) -> None:
        self.cells, self.limits, self.safe = cells, limits, safe
        self.ends = time.monotonic() + limits.total
        self.raised: dict[int, str] = {}  # what went wrong in the cell of this place
        self.deadly: set[int] = set()
        self.lost: dict[str, str] = {}  # why a name could not be brought over
        self.deaths: dict[str, int] = {}
        self.process: Process | None = None
        self.peak = 0

    def call(self, name: str, what: str, args: tuple, options: dict[str, Any]) -> Any:
        """Call an answer; return what was asked about the call.

        Raises:
            AnswerError: it raised an error, returned what is not plain data, or ended the process.
        """
        did = f"{name}{checks.show(args)}"[:500]
        if self.deaths.get(name, 0) >= DEATHS:
            raise checks.AnswerError(f"{name} was stopped {DEATHS} times and is called no more")
        packed = pack(args), pack(options)
        try:
            reply = self._running().call(name, what, *packed, self._left(self.limits.call))
            if "value" in reply:
                return unpack(reply["value"])
        except Died as error:
            self.process = None
            self.deaths[name] = self.deaths.get(name, 0) + 1
            raise checks.AnswerError(f"{did} was stopped: {error}") from None
        except checks.AnswerError:
            raise
        except Exception as error:  # what came was not made by `pack`
            raise checks.AnswerError(f"{did} sent what no value looks like") from error
        said = str(reply.get("raised"))
        if said.startswith("NotImplementedError"):
            missing = said.rpartition(", in ")[2].rstrip(")")
            calls = "" if missing in (name, said) else f"{name} needs {missing}: "
            raise checks.AnswerError(f"{calls}{missing if calls else name} is not answered")
        kinds = {"ValueError": checks.AnswerValueError, "TypeError": checks.AnswerTypeError}
        kind = kinds.get(str(reply.get("kind")), checks.AnswerError)
        raise kind(f"{did} raised {said}")

    def run(self, cell: Cell) -> str | None:
        """Run one more cell, which is not run again in a new process; return what it raised."""
        try:
            return self._running().run(cell.source, self._left(self.limits.cell))
        except Died as error:
            self.process = None
            return f"this cell was stopped: {error}"

    def values(self, names: Sequence[str]) -> dict[str, Any]:
        """Return what these names stand for; those that are missing or odd are left out."""
        found = {}
        for name in names:
            try:
                kind = self._running().names([name], self._left(self.limits.call)).get(name)
                if kind == "function":
                    found[name] = Answer(self, name)
                elif isinstance(kind, dict) and "value" in kind:
                    found[name] = unpack(kind["value"])
                elif isinstance(kind, dict):
                    self.lost[name] = str(kind.get("odd"))
            except Died as error:
                self.process, self.lost[name] = None, str(error)
            except checks.AnswerError:
                raise
            except Exception:  # a forged reply
                self.lost[name] = "it is sent as what no value looks like"
        return found

    def _running(self) -> Process:
        while self.process is None:
            self._start()
        return self.process

    def _start(self) -> None:
        try:
            process = Process(self.limits, safe=self.safe)
        except NoSandbox as error:
            raise checks.AnswerError(str(error)) from error
        try:
            for place, cell in enumerate(self.cells):
                if place not in self.deadly:
                    raised = process.run(cell.source, self._left(self.limits.cell))
                    if raised:
                        self.raised[place] = raised
        except Died as error:
            self.raised[place] = f"this cell was stopped: {error}"
            self.deadly.add(place)
            return
        except checks.AnswerError:
            process.close()
            raise
        finally:
            self.peak = max(self.peak, process.peak)
        self.process = process

    def _left(self, limit: float) -> float:
        """Return the seconds for the next step.

        Raises:
            AnswerError: the time for all is used up.
        """
        left = self.ends - time.monotonic()
        if left <= 0:
            limit = self.limits.total
            raise checks.AnswerError(f"the whole notebook has taken more than {limit:g} seconds")
        return min(left, limit)

    def close(self) -> None:
        if self.process:
            self.peak = max(self.peak, self.process.peak)
            self.process.close()
            self.process = None


class Answer:
    """A function of a student's, on the other side of the wall."""

    def __init__(self, student: Student, name: str) -> None:
        self.student, self.__name__ = student, name

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.ask("value", args, options)

    def ask(self, what: str, args: tuple, options: dict[str, Any]) -> Any:
        """Return what `inside.answer` finds about a call."""
        return self.student.call(self.__name__, what, args, options)


def given(assignment: Assignment) -> dict[str, Any]:
    """Return what the assignment's own cells define, run here."""
    os.environ["MPLBACKEND"] = "agg"  # its pictures are for students
    names: dict[str, Any] = {"__name__": "tests"}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in assignment.given:
            exec(compile(notebooks.python(cell.source), cell.name, "exec"), names)
    return names


def mark(
    assignment: Assignment, submission: Submission, limits: Limits, *, safe: bool = True
) -> tuple[list[Marked], dict[str, Any], int]:
    """Mark a submission.

    Returns:
        The marks, what the answers' names stand for, and the most memory its process took (bytes).
    """
    student, found = Student(submission.cells, limits, safe=safe), given(assignment)
    try:
        try:
            found = {**found, **student.values(list(assignment.defined))}
            why = _why(student, submission, assignment)
        except checks.AnswerError as error:  # out of time
            why = dict.fromkeys(assignment.defined, str(error))
        marked = [
            Marked(
                question.name,
                [judge(test, points, found, why) for test, points in question.tests],
                question.by_hand,
                submission.texts.get(question.name, "") if question.by_hand else "",
            )
            for question in assignment.questions
        ]  # fmt: skip
    finally:
        student.close()
    return follow(assignment, submission, marked, student), found, student.peak


def follow(
    assignment: Assignment, submission: Submission, marked: list[Marked], first: Student
) -> list[Marked]:
    """Mark again what failed behind earlier failures, with worked answers in their place.

    One mistake does not cost points twice: an answer that calls an earlier one is judged by itself.
    Nothing that is said there is reported, for it could hold a worked answer.

    Args:
        first: the process in which all was marked; what is left of its time is for this.
    """
    worked: dict[str, Cell] = {}
    for place, (question, mark) in enumerate(zip(assignment.questions, marked, strict=True)):
        if all(one.points == one.of for one in mark.marks):
            continue
        if worked:
            cells = [worked.get(cell.name, cell) for cell in submission.cells]
            student, found = Student(cells, first.limits, safe=first.safe), given(assignment)
            student.ends = first.ends
            try:
                found |= student.values(list(assignment.defined))
                again = [judge(test, points, found, {}) for test, points in question.tests]
            except checks.AnswerError:  # out of time
                again = mark.marks
            finally:
                student.close()
            said = f"right with the worked answer to {', '.join(worked)} in place of yours"
            marks = [
                was if was.points or not now.points else dataclasses.replace(now, why=said)
                for was, now in zip(mark.marks, again, strict=True)
            ]
            marked[place] = mark = dataclasses.replace(mark, marks=marks)
        if any(one.points < one.of for one in mark.marks):
            worked[question.name] = question.answer
    return marked


def judge(test: Cell, points: int, found: dict[str, Any], why: dict[str, str]) -> Mark:
    """Run a test cell on what the answers define.

    Args:
        found: names the test may use.
        why: for a name that is not among them, the reason.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(notebooks.python(test.source), test.name, "exec"), dict(found))
    except checks.AnswerError as error:
        return Mark(test.name, 0, points, str(error))
    except AssertionError as error:
        return Mark(test.name, 0, points, str(error) or "a test of this cell does not hold")
    except NameError as error:
        name = error.name or ""
        return Mark(test.name, 0, points, f"{name} is not there: {why.get(name, str(error))}")
    except Exception as error:
        said = f"{type(error).__name__}: {error}"[:300]
        return Mark(test.name, 0, points, f"the test cannot use what your answer returns ({said})")
    return Mark(test.name, points, points)


def _why(student: Student, submission: Submission, assignment: Assignment) -> dict[str, str]:
    """Return, for each name that answers define, what is known of a reason that it is missing."""
    failed = {submission.cells[place].name: said for place, said in student.raised.items()}
    reasons = {}
    for name, question in assignment.defined.items():
        if question in submission.missing:
            reasons[name] = "the cell for this answer has been deleted"
        elif failed.get(question, "").startswith("NotImplementedError:  (line"):
            missing = failed[question].rpartition(", in ")[2].rstrip(")")
            calls = ", in " in failed[question]
            reasons[name] = f"its cell needs {missing}: not answered" if calls else "not answered"
        else:
            reasons[name] = student.lost.get(name) or failed.get(
                question, "your cell does not define it as plain data"
            )
    return reasons
