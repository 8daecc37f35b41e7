"""Grades a folder of notebooks: `make grade DIR=submissions/`.

Every notebook below DIR is marked, each in processes of its own, as many at a time as there are
processors. DIR/graded then has `grades.csv` (a line each), `hand.csv` (points that a person
gives: type them in and grade again) and a report for each student. A second run gives the same.
"""

import argparse
import csv
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from grading import marking, notebooks
from grading.notebooks import ROOT, BadNotebook
from grading.sandbox import Limits, Process

GRACE = 120  # seconds beyond a submission's own limit, for starting and for the tests
HAND = ("submission", "question", "of", "points", "comment")
GRADES = ("submission", "student", "assignment", "points", "of", "open", "name", "note")


@dataclasses.dataclass
class Graded:
    """What became of one notebook.

    Attributes:
        submission: its path below the folder.
        assignment: its name; "" if it could not be told.
        questions: of `marking.Marked`, as dictionaries.
        name: what the student calls themselves in it.
        note: what was wrong with the notebook as a whole.
        peak: most memory that its process took, in bytes.
    """

    submission: str
    assignment: str
    questions: list[dict[str, Any]]
    name: str = ""
    note: str = ""
    peak: int = 0

    @property
    def student(self) -> str:
        """Whose it is: the folder it lies in, else its file's name without the assignment's."""
        path = Path(self.submission)
        if len(path.parts) > 1:
            return path.parts[0]
        return re.sub(rf"[ _-]*{self.assignment}[ _-]*", "", path.stem) or path.stem


def which(path: Path) -> str:
    """Return the assignment that a notebook answers, by its cells, else by its name; "" if none."""
    text = path.read_bytes()[: notebooks.LARGEST].decode(errors="replace")
    here = set(re.findall(r'"grade_id":\s*"([\w-]+)"', text))
    shared = {}
    for name in notebooks.assignments():
        assignment = notebooks.load(name)
        own = {t.name for q in assignment.questions for t, _ in q.tests}
        shared[name] = len(own & here), name in path.stem
    best = max(shared, key=lambda name: shared[name], default="")
    return best if best and any(shared[best]) else ""


def grade_one(path: Path, submission: str, *, safe: bool) -> Graded:
    """Mark one notebook in this process."""
    name = which(path)
    if not name:
        return Graded(submission, "", [], note="it answers none of the assignments")
    assignment = notebooks.load(name)
    try:
        handed_in = notebooks.submission(path, assignment)
    except BadNotebook as error:
        return nothing(submission, name, str(error))
    marked, found, peak = marking.mark(assignment, handed_in, Limits(), safe=safe)
    questions = [dataclasses.asdict(one) for one in marked]
    student = found.get("student", "")
    return Graded(
        submission, name, questions, student if isinstance(student, str) else "", "", peak
    )


def nothing(submission: str, name: str, note: str) -> Graded:
    """Return no points for any question, and why."""
    empty = [
        marking.Marked(q.name, [marking.Mark(t.name, 0, of, note) for t, of in q.tests], q.by_hand)
        for q in notebooks.load(name).questions
    ]
    return Graded(submission, name, [dataclasses.asdict(one) for one in empty], note=note)


def grade_apart(folder: Path, path: Path, *, safe: bool) -> Graded:
    """Mark one notebook in a process of its own, whatever happens in it."""
    submission = str(path.relative_to(folder))
    with tempfile.TemporaryDirectory() as aside:
        result = Path(aside, "result.json")
        command = [sys.executable, "-m", "grading.grade", str(folder), "--one", submission]
        command += ["--result", str(result), *([] if safe else ["--unsafe"])]
        said = ""
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=Limits().total + GRACE,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            said = done.stderr[-500:]
        except subprocess.TimeoutExpired:
            said = "it took too long"
        if result.exists():
            return Graded(**json.loads(result.read_text()))
        note, name = f"the grader itself failed: {said}", which(path)
        return nothing(submission, name, note) if name else Graded(submission, "", [], note=note)


def grade(folder: Path, *, safe: bool, jobs: int) -> list[Graded]:
    """Mark every notebook below a folder and write tables and reports.

    Raises:
        NoSandbox: there is nothing to run students' code in.
        SystemExit: there is no notebook.
    """
    from grading import report

    out = folder / "graded"
    inside = {out, *folder.rglob(".ipynb_checkpoints")}
    paths = [
        path for path in sorted(folder.rglob("*.ipynb")) if not inside.intersection(path.parents)
    ]
    if not paths:
        raise SystemExit(f"there is no notebook in {folder}")
    Process(Limits(), safe=safe).close()  # fails here, once, and not for every submission
    started, graded = time.monotonic(), []
    with ThreadPoolExecutor(jobs) as pool:
        for one in pool.map(lambda path: grade_apart(folder, path, safe=safe), paths):
            graded.append(one)
            print(f"{one.submission}: {report.total(one)[0]} of {report.total(one)[1]}", flush=True)
    out.mkdir(exist_ok=True)
    hand = read_hand(out / "hand.csv")
    write_hand(out / "hand.csv", graded, hand)
    write_grades(out / "grades.csv", graded, hand)
    for one in graded:
        report.write(out, one, hand)
    seconds, most = time.monotonic() - started, max(one.peak for one in graded) / 2**20
    print(f"{len(graded)} notebooks in {seconds:.0f} s, at most {most:,.0f} MiB each\n{out}")
    return graded


def read_hand(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Return what a person has typed in: by submission and question, "points" and "comment".

    Raises:
        SystemExit: points that are no number, or more than there are.
    """
    if not path.exists():
        return {}
    found = {}
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            points = row["points"].strip()
            try:
                good = not points or 0 <= float(points) <= float(row["of"])
            except ValueError:
                good = False
            if not good:
                raise SystemExit(f"{path}, line {number}: points {points!r} of {row['of']}")
            found[row["submission"], row["question"]] = row
    return found


def write_hand(path: Path, graded: list[Graded], hand: dict) -> None:
    """Write a line for each answer that waits for a person, and keep what was typed in."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, HAND)
        table.writeheader()
        for one in graded:
            for question in one.questions:
                if question["by_hand"]:
                    key = one.submission, question["question"]
                    old = hand.get(key, {"points": "", "comment": ""})
                    kept = {name: old[name] for name in ("points", "comment")}
                    fixed = dict(zip(HAND, (*key, question["by_hand"]), strict=False))
                    table.writerow({**fixed, **kept})


def write_grades(path: Path, graded: list[Graded], hand: dict) -> None:
    """Write a line for each notebook; `open` are points that still wait for a person."""
    from grading import report

    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(GRADES)
        for one in graded:
            points, of, waiting = report.total(one, hand)
            row = [one.submission, one.student, one.assignment, f"{points:g}", of, waiting]
            table.writerow([*row, plain_cell(one.name), plain_cell(one.note)])


def plain_cell(text: str) -> str:
    """Return a student's text so that no spreadsheet takes it for a formula."""
    text = " ".join(text.split())[:200]
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def main() -> None:
    parser = argparse.ArgumentParser(prog="make grade", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--unsafe", action="store_true", help="without a sandbox")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        graded = grade_one(given.folder / given.one, given.one, safe=not given.unsafe)
        given.result.write_text(json.dumps(dataclasses.asdict(graded)))
    elif not given.folder.is_dir():
        sys.exit(f"{given.folder} is no folder: make grade DIR=FOLDER")
    else:
        grade(given.folder, safe=not given.unsafe, jobs=given.jobs)


if __name__ == "__main__":
    main()
