"""Every labelled equation has code and a test; and the check that says so can fail."""

import json
from pathlib import Path

import pytest

from book import equations

ROOT = Path(__file__).resolve().parent.parent


def test_every_labelled_equation_is_code_with_a_test():
    found, faults = equations.collect(ROOT)
    assert found, "no labelled equation was found in notebooks/"
    assert not faults, "\n".join(faults)


@pytest.fixture
def tree(tmp_path):
    """A small book in order: two equations, one function, two tests."""
    for folder in ("notebooks", "tutorial_lib", "tests"):
        (tmp_path / folder).mkdir()
    write_chapter(
        tmp_path, "$$ p = e^z $$ (eq-exp)\n\n$$ a $$\n\nand\n\n$$\nz = \\log p\n$$ (eq-log)"
    )
    (tmp_path / "tutorial_lib" / "m.py").write_text(
        'class Model:\n    def f(self):\n        """Both.\n\n        Equation: eq-exp,\n'
        '        eq-log\n        """\n'
    )
    (tmp_path / "tests" / "test_m.py").write_text(
        "import pytest\n"
        '@pytest.mark.equation("eq-exp")\ndef test_one(): pass\n'
        '@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.equation("eq-log"))])\n'
        "def test_two(x): pass\n"
    )
    return tmp_path


def write_chapter(root, text, name="01_m"):
    cells = [{"cell_type": "markdown", "source": text.splitlines(keepends=True)}]
    (root / "notebooks" / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))


def append(path, text):
    path.write_text(path.read_text() + text)


def test_a_book_in_order(tree):
    found, faults = equations.collect(tree)
    assert faults == []
    assert [(e.label, e.latex, e.page) for e in found] == [
        ("eq-exp", "p = e^z", "notebooks/01_m"),
        ("eq-log", "z = \\log p", "notebooks/01_m"),
    ]
    assert [code.name for code in found[0].code] == ["tutorial_lib.m.Model.f"]
    assert found[1].tests == ["tests/test_m.py::test_two"]


def test_a_new_equation_without_code_or_test_fails(tree):
    write_chapter(tree, "$$ y $$ (eq-new)", name="02_new")
    _, faults = equations.collect(tree)
    assert faults == [
        "notebooks/02_new: no docstring says `Equation: eq-new`",
        "notebooks/02_new: no test is marked with eq-new",
    ]


def test_a_new_equation_with_code_but_no_test_fails(tree):
    write_chapter(tree, "$$ y $$ (eq-new)", name="02_new")
    append(tree / "tutorial_lib" / "m.py", 'def g():\n    """Equation: eq-new"""\n')
    _, faults = equations.collect(tree)
    assert faults == ["notebooks/02_new: no test is marked with eq-new"]


def test_a_label_given_twice_fails(tree):
    write_chapter(tree, "$$ y $$ (eq-exp)", name="02_new")
    assert equations.collect(tree)[1] == ["notebooks/02_new: eq-exp is also in notebooks/01_m"]


def test_a_misspelt_label_fails(tree):
    write_chapter(tree, "$$ y $$ (exp)", name="02_new")
    assert "not of the form" in equations.collect(tree)[1][0]


def test_code_and_tests_that_name_no_equation_fail(tree):
    append(tree / "tutorial_lib" / "m.py", 'def g():\n    """Equation: eq-gone"""\n')
    append(
        tree / "tests" / "test_m.py", '@pytest.mark.equation("eq-lost")\ndef test_three(): pass\n'
    )
    assert equations.collect(tree)[1] == [
        "tutorial_lib.m.g: its docstring names eq-gone, which is in no notebook",
        "tests/test_m.py::test_three: marked with eq-lost, which is in no notebook",
    ]
