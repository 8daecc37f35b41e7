"""Collects every labelled equation of the book with the code that computes it and its tests.

- a notebook's text cell: `$$ … $$ (eq-name)`
- a docstring of the package: `Equation: eq-name` (several with commas)
- a test: `@pytest.mark.equation("eq-name")`
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_DISPLAY = re.compile(r"\$\$(.*?)\$\$(?:[ \t]*\(([^)\s]+)\))?", re.DOTALL)
_LABEL = r"eq-[a-z0-9]+(?:-[a-z0-9]+)*"
_DOCSTRING = re.compile(rf"\bEquations?:\s*({_LABEL}(?:,\s*{_LABEL})*)")


@dataclass(frozen=True)
class Code:
    """A function or class of the package whose docstring names an equation."""

    name: str
    path: Path
    first_line: int
    last_line: int


@dataclass
class Equation:
    """One labelled equation."""

    label: str
    latex: str
    page: str  # path of the notebook without suffix, as the table of contents has it
    code: list[Code] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)


def collect(root: Path) -> tuple[list[Equation], list[str]]:
    """Return the equations in reading order, and what is wrong with them, one line each."""
    equations: dict[str, Equation] = {}
    faults = []
    for label, latex, page in _in_notebooks(root):
        if not re.fullmatch(_LABEL, label):
            faults.append(f"{page}: the label {label} is not of the form eq-some-name")
        elif label in equations:
            faults.append(f"{page}: {label} is also in {equations[label].page}")
        else:
            equations[label] = Equation(label, latex, page)
    for label, code in in_package(root):
        if label in equations:
            equations[label].code.append(code)
        else:
            faults.append(f"{code.name}: its docstring names {label}, which is in no notebook")
    for label, test in _in_tests(root):
        if label in equations:
            equations[label].tests.append(test)
        else:
            faults.append(f"{test}: marked with {label}, which is in no notebook")
    for equation in equations.values():
        if not equation.code:
            faults.append(f"{equation.page}: no docstring says `Equation: {equation.label}`")
        if not equation.tests:
            faults.append(f"{equation.page}: no test is marked with {equation.label}")
    return list(equations.values()), faults


def _in_notebooks(root: Path) -> Iterator[tuple[str, str, str]]:
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        page = path.relative_to(root).with_suffix("").as_posix()
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                for latex, label in _DISPLAY.findall("".join(cell["source"])):
                    if label:
                        yield label, latex.strip(), page


def in_package(root: Path) -> Iterator[tuple[str, Code]]:
    """Yield every label that a docstring of the package names, with the code it documents."""
    for path in sorted((root / "tutorial_lib").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        for node, name in _definitions(path, module):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            for found in _DOCSTRING.findall(ast.get_docstring(node) or ""):
                for label in re.findall(_LABEL, found):
                    yield label, Code(name, path, first, node.end_lineno)


def _in_tests(root: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((root / "tests").rglob("test_*.py")):
        for node, name in _definitions(path, path.relative_to(root).as_posix()):
            for label in marks(node, "equation"):
                yield label, name.replace(".py.", ".py::")


def _definitions(path: Path, name: str) -> Iterator[tuple[ast.ClassDef | ast.FunctionDef, str]]:
    """Yield the functions and classes of a file and their methods, each with its dotted name."""
    yield from _below(ast.parse(path.read_text(encoding="utf-8")), name)


def _below(node: ast.AST, name: str) -> Iterator[tuple[ast.ClassDef | ast.FunctionDef, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef):
            yield child, f"{name}.{child.name}"
            yield from _below(child, f"{name}.{child.name}")


def marks(test: ast.ClassDef | ast.FunctionDef, marker: str) -> list:
    """Return the arguments of every `pytest.mark.<marker>(…)` in the decorators of a test."""
    return [
        argument.value
        for decorator in test.decorator_list
        for node in ast.walk(decorator)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"pytest.mark.{marker}"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    ]
