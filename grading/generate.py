"""Makes what is handed out, from the instructor's notebooks: `make assignments`.

_build/assignments/student/NAME.ipynb    without solutions and hidden tests (by nbgrader)
_build/assignments/solution/NAME.ipynb   with solutions, without hidden tests
_build/assignments/grading.zip           all that `make grade` needs on another machine
"""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat

from book import environment
from grading import notebooks
from grading.notebooks import ROOT

OUT = ROOT / "_build" / "assignments"
MARKS = re.compile(r"^[^\n]*### (BEGIN|END) SOLUTION[^\n]*\n?", re.M)
SECRET = re.compile(r"### BEGIN (SOLUTION|HIDDEN TESTS).*?### END \1", re.S)
BUNDLED = (
    "Makefile", "pyproject.toml", "requirements*.txt", "constraints.txt", "README.md",
    "LICENSE*", "book/*.py", "grading/*", "notebooks/assignments/*.ipynb", "tutorial_lib/**/*",
)  # fmt: skip


def generate(out: Path = OUT) -> None:
    """Make all three; end the program where a student's copy gives a secret away."""
    names, course = notebooks.assignments(), out / "course"
    shutil.rmtree(out, ignore_errors=True)
    for name in names:
        folder = course / "source" / name
        folder.mkdir(parents=True)
        shutil.copy(notebooks.SOURCES / f"{name}.ipynb", folder)
    program = Path(__file__).with_name("clear.py")
    command = [environment.nbgrader(), program, course, *names]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=course)
    if done.returncode:
        sys.exit(f"nbgrader failed:\n{done.stderr[-3000:]}")
    for kind in ("student", "solution"):
        (out / kind).mkdir()
    for name in names:
        copy, source = course / "release" / name / f"{name}.ipynb", course / "source" / name
        if leaked := leaks(source / f"{name}.ipynb", copy):
            sys.exit(f"{name}: the student's copy gives away {leaked[0]!r}")
        nbformat.write(solution(source / f"{name}.ipynb"), out / "solution" / f"{name}.ipynb")
        shutil.move(copy, out / "student")
    shutil.rmtree(course)
    bundle(out / "grading.zip")
    print(f"{len(names)} assignments are in\n{out}")


def solution(source: Path) -> nbformat.NotebookNode:
    """Return an instructor's notebook with its worked solutions and without its hidden tests."""
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        cell.source = MARKS.sub("", notebooks.visible(cell.source)).rstrip("\n")
    return notebook


def leaks(source: Path, copy: Path) -> list[str]:
    """Return the lines of solutions, hidden tests and mark schemes in a student's copy."""
    hidden, shown = set(), set()
    for cell in nbformat.read(source, as_version=4).cells:
        facts = cell.metadata.get("nbgrader", {})
        if facts.get("solution") and cell.cell_type == "markdown":
            hidden |= _lines(cell.source)
        else:
            hidden |= {line for found in SECRET.finditer(cell.source) for line in _lines(found[0])}
            shown |= _lines(SECRET.sub("", cell.source))
    handed = {line for c in nbformat.read(copy, as_version=4).cells for line in _lines(c.source)}
    return sorted(line for line in (hidden - shown) & handed if line)


def _lines(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines()}


def bundle(target: Path) -> None:
    """Write all that grading needs into one archive."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for pattern in BUNDLED:
            for path in sorted(ROOT.glob(pattern)):
                if path.is_file() and "__pycache__" not in path.parts:
                    archive.write(path, Path("grading", path.relative_to(ROOT)))


if __name__ == "__main__":
    generate()
