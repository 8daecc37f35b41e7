"""A browser for the tests of pages; and a test marked with an equation must run its code."""

import os
import sys
from pathlib import Path

import pytest

from book import equations, pdf

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def browser():
    """A Chromium without a window; skips where there is none, but fails where CI is set."""
    try:
        pdf.chromium()
    except SystemExit as missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(missing))
    with pdf.browser() as started:
        yield started


@pytest.fixture(scope="session")
def code_of_equations() -> dict[str, list[equations.Code]]:
    """The code of the package that names each label."""
    found: dict[str, list[equations.Code]] = {}
    for label, code in equations.in_package(ROOT):
        found.setdefault(label, []).append(code)
    return found


@pytest.fixture(autouse=True)
def runs_the_code_of_its_equations(request):
    """Fail a test that is marked with an equation and runs none of the code that names it."""
    labels = {label for mark in request.node.iter_markers("equation") for label in mark.args}
    if not labels:
        yield
        return
    code_of_equations = request.getfixturevalue("code_of_equations")
    ran = set()
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, argument: ran.add(frame.f_code))
    yield
    sys.setprofile(before)
    lines = {(code.co_filename, code.co_firstlineno) for code in ran}
    for label in sorted(labels):
        places = code_of_equations.get(label, [])
        assert any(
            file == str(code.path) and code.first_line <= line <= code.last_line
            for code in places
            for file, line in lines
        ), f"marked with {label}, but ran none of {[code.name for code in places]}"
