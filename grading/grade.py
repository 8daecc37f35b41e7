"""Grades a folder of notebooks: `make grade DIR=submissions/`.

Every notebook below DIR is marked, each in processes of its own, as many at a time as there are
processors. DIR/graded then has `grades.csv` (a line each), `hand.csv` (points that a person
gives: type them in and grade again) and a report for each student. A second run gives the same.
"""

import argparse
import csv
import dataclasses
import io
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from grading import marking, notebooks, report
from grading.notebooks import ROOT, BadNotebook
from grading.report import plain_cell, printable
from grading.sandbox import Limits, Process
from tutorial_lib import atomic

OUT = "graded"  # the folder of results, inside that of the submissions
GRADER = 12 * 2**30  # bytes of address space for the process that marks one submission
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
        pattern = rf"[ _-]*{self.assignment}[ _-]*" if self.assignment else "$"
        return re.sub(pattern, "", path.stem) or path.stem


def which(path: Path) -> str:
    """Return the assignment that a notebook answers, by its cells, else by its name; "" if none."""
    with path.open("rb") as file:
        text = file.read(notebooks.LARGEST).decode(errors="replace")
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
    student = student if isinstance(student, str) else ""
    note = "the name in the notebook is not filled in" if student == "your name" else ""
    return Graded(submission, name, questions, student, note, peak)


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
        command = [sys.executable, "-m", "grading.grade", str(folder), f"--one={submission}"]
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
        note = f"the grader itself failed: {said}"
        try:
            name = which(path)
        except OSError as error:
            name, note = "", f"the file cannot be read: {error}"
        return nothing(submission, name, note) if name else Graded(submission, "", [], note=note)


def handed_in(folder: Path) -> list[Path]:
    """Return the notebooks below a folder: its own files, not links, and none of what we wrote."""
    found = []
    for path in sorted(folder.rglob("*.ipynb")):
        parts = path.relative_to(folder).parts
        ours = parts[0] == OUT or any(part.startswith(".") or part == "__MACOSX" for part in parts)
        link = any(one.is_symlink() for one in [path, *path.parents] if one != folder)
        if path.is_file() and not link and path.resolve().is_relative_to(folder) and not ours:
            found.append(path)
    return found


def grade(folder: Path, *, safe: bool, jobs: int) -> list[Graded]:
    """Mark every notebook below a folder and write tables and reports.

    Raises:
        NoSandbox: there is nothing to run students' code in.
        SystemExit: there is no notebook.
    """
    folder = folder.resolve()
    out, paths = folder / OUT, handed_in(folder)
    if not paths:
        raise SystemExit(f"there is no notebook in {folder}")
    hand = read_hand(out / "hand.csv")
    Process(Limits(), safe=safe).close()  # fails here, once, and not for every submission
    started, graded = time.monotonic(), []
    with ThreadPoolExecutor(jobs) as pool:
        for one in pool.map(lambda path: grade_apart(folder, path, safe=safe), paths):
            graded.append(one)
            points, of, _ = report.total(one)
            print(f"{printable(one.submission)}: {points:g} of {of}", flush=True)
    out.mkdir(exist_ok=True)
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
        SystemExit: it is not that table; points that are no number, or more than there are.
    """
    if not path.exists():
        return {}
    text, found = path.read_text(encoding="utf-8-sig"), {}
    comma = ";" if text.partition("\n")[0].count(";") >= len(HAND) - 1 else ","  # a spreadsheet's
    table = csv.DictReader(io.StringIO(text), delimiter=comma)
    if missing := set(HAND) - set(table.fieldnames or ()):
        raise SystemExit(f"{path} has no column {', '.join(sorted(missing))}")
    for number, row in enumerate(table, 2):
        points = row["points"].strip().replace(",", ".")
        try:
            good = not points or 0 <= float(points) <= float(row["of"])
        except ValueError:
            good = False
        if not good:
            raise SystemExit(f"{path}, line {number}: points {points!r} of {row['of']}")
        found[row["submission"], row["question"]] = {**row, "points": points}
    return found


def write_hand(path: Path, graded: list[Graded], hand: dict) -> None:
    """Write a line for each answer that waits for a person, and keep all that was typed in."""
    rows = dict(hand)
    for one in graded:
        for question in one.questions:
            if question["by_hand"]:
                key = plain_cell(one.submission), question["question"]
                typed = hand.get(key, {"points": "", "comment": ""})
                fixed = dict(zip(HAND, (*key, question["by_hand"]), strict=False))
                rows[key] = {**fixed, "points": typed["points"], "comment": typed["comment"]}
    with io.StringIO(newline="") as file:
        table = csv.DictWriter(file, HAND)
        table.writeheader()
        table.writerows(rows.values())
        atomic.write(path, file.getvalue())


def write_grades(path: Path, graded: list[Graded], hand: dict) -> None:
    """Write a line for each notebook; `open` are points that still wait for a person."""
    with io.StringIO(newline="") as file:
        table = csv.writer(file)
        table.writerow(GRADES)
        for one in graded:
            points, of, waiting = report.total(one, hand)
            whose = [plain_cell(one.submission), plain_cell(one.student), one.assignment]
            told = [plain_cell(one.name), plain_cell(one.note)]
            table.writerow([*whose, f"{points:g}", of, waiting, *told])
        atomic.write(path, file.getvalue())


def room() -> int:
    """Return how many submissions this machine can take at once, by processors and memory."""
    limits = Limits()
    each = limits.memory + 3 * limits.scratch
    return max(1, min(os.cpu_count() or 1, psutil.virtual_memory().available // each))


def main() -> None:
    parser = argparse.ArgumentParser(prog="make grade", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--unsafe", action="store_true", help="without a sandbox")
    parser.add_argument("--jobs", type=int, default=room())
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        resource.setrlimit(resource.RLIMIT_AS, (GRADER, GRADER))
        graded = grade_one(given.folder / given.one, given.one, safe=not given.unsafe)
        given.result.write_text(json.dumps(dataclasses.asdict(graded)))
    elif not given.folder.is_dir():
        sys.exit(f"{given.folder} is no folder: make grade DIR=FOLDER")
    else:
        grade(given.folder, safe=not given.unsafe, jobs=given.jobs)


if __name__ == "__main__":
    main()
