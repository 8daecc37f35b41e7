"""The assignments, made once, and the wall that students' code runs behind."""

import os
import shutil

import pytest

from grading import generate


@pytest.fixture(scope="session")
def handed_out(tmp_path_factory):
    """The folder with students' copies and solutions, freshly made."""
    out = tmp_path_factory.mktemp("assignments") / "out"
    generate.generate(out)
    return out


@pytest.fixture(scope="session", autouse=True)
def wall():
    """Where bubblewrap is missing nothing here can run, except where all must: in CI."""
    if not shutil.which("bwrap") and not os.environ.get("CI"):
        pytest.skip("needs bubblewrap: apt install bubblewrap")
