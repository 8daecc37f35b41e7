"""The graders' own exam: wrong answers that they must reject, right ones that they must accept.

    python -m grading.exam [ASSIGNMENT ...]     (all of them when none is named)

`tests/assignments/answers/ASSIGNMENT.py` has the answers, each below a line that says what it is:

    # %% right QUESTION: WHAT IT IS
    # %% wrong QUESTION: WHAT IS WRONG | TEST CELL THAT MUST FAIL | WORDS OF ITS MESSAGE
    # %% hard-coded QUESTION: WHAT IT KNOWS | TEST CELL THAT MUST FAIL | WORDS OF ITS MESSAGE

A hard-coded answer is a wrong one that passes every test that students see.
"""

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

from grading import marking, notebooks
from grading.notebooks import ROOT, Assignment, Cell, Question
from grading.sandbox import Limits

ANSWERS = ROOT / "tests" / "assignments" / "answers"
HEAD = re.compile(
    r"^# %% (right|wrong|hard-coded) ([\w]+): ([^|\n]+)(?:\| ([\w-]+) \| (.+))?$", re.M
)


@dataclasses.dataclass(frozen=True)
class Given:
    """An answer to one question: "right", "wrong" or "hard-coded", and what must become of it."""

    kind: str
    question: str
    title: str
    test: str
    words: str
    code: str


def answers(name: str) -> list[Given]:
    """Return the exam's answers for an assignment.

    Raises:
        ValueError: a wrong answer does not say which test rejects it with what words, or a line
            that begins like a head is none.
    """
    text = Path(ANSWERS, f"{name}.py").read_text(encoding="utf-8")
    heads = list(HEAD.finditer(text))
    if len(heads) != len(re.findall(r"^# %%", text, re.M)):
        raise ValueError(f"{name}: a line begins with '# %%' and is no head of an answer")
    found = []
    for head, after in zip(heads, [*heads[1:], None], strict=True):
        kind, question, title, test, words = head.groups()
        if (kind == "right") != (test is None):
            raise ValueError(f"{name}: {head[0]}: wrong answers, and only they, name a test")
        code = text[head.end() : after.start() if after else None].strip()
        found.append(Given(kind, question, title.strip(), test or "", (words or "").strip(), code))
    return found


def sit(name: str, limits: Limits | None = None) -> list[tuple[Given, str]]:
    """Mark each answer of an assignment's exam; return it with what is wrong with the grader.

    The second is empty where the grader did what it must.
    """
    assignment, limits = notebooks.load(name), limits or Limits(call=10)
    tests = {test.name for question in assignment.questions for test, _ in question.tests}
    student = marking.Student([c for c in assignment.cells if c.name not in tests], limits)
    given, questions = marking.given(assignment), {q.name: q for q in assignment.questions}
    found = []
    try:
        for answer in answers(name):
            question = questions[answer.question]
            found.append((answer, fault(answer, question, assignment, student, given)))
            student.ends += 60  # the limit for all is for one submission
            student.deaths.clear()
            student.run(question.answer)
    finally:
        student.close()
    return found


def fault(
    answer: Given,
    question: Question,
    assignment: Assignment,
    student: marking.Student,
    given: dict[str, Any],
) -> str:
    """Return what the grader does wrong with an answer; nothing if it does right."""
    raised = student.run(Cell(answer.question, answer.code))
    if raised:
        return f"its cell raised {raised}"
    found = {**given, **student.values(list(assignment.defined))}
    marks = {test.name: marking.judge(test, points, found, {}) for test, points in question.tests}
    lost = {name: mark.why for name, mark in marks.items() if not mark.points}
    if answer.kind == "right":
        return "\n".join(f"{name} rejects it: {why}" for name, why in lost.items())
    if answer.kind == "hard-coded":
        for test, points in question.tests:
            seen = Cell(test.name, notebooks.visible(test.source))
            mark = marking.judge(seen, points, found, {})
            if not mark.points:
                return f"the visible tests of {test.name} reject it: {mark.why}"
    if answer.test not in lost:
        return f"{answer.test} accepts it; rejected by {sorted(lost) or 'none'}"
    if answer.words.lower() not in lost[answer.test].lower():
        return f"{answer.test} does not say {answer.words!r}: {lost[answer.test]}"
    return ""


def main() -> None:
    names, failed = sys.argv[1:] or notebooks.assignments(), 0
    print(f"{'question':<32}{'wrong, rejected':>18}{'right, accepted':>18}")
    for name in names:
        outcomes = sit(name)
        for question in dict.fromkeys(answer.question for answer, _ in outcomes):
            own = [(a, why) for a, why in outcomes if a.question == question]
            count = {
                right: [not why for a, why in own if (a.kind == "right") == right]
                for right in (False, True)
            }
            shares = (f"{sum(count[k])} of {len(count[k])}" for k in (False, True))
            print(f"{name + ' ' + question:<32}" + "".join(f"{share:>18}" for share in shares))
        for answer, why in outcomes:
            if why:
                failed += 1
                print(f"  {answer.kind} {answer.question}: {answer.title}\n    {why}")
    if failed:
        sys.exit(f"{failed} answers are not marked as they must be")


if __name__ == "__main__":
    main()
