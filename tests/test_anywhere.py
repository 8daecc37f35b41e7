"""Every chapter's setup cell in an environment like Colab's, and what Binder is told to make.

One environment is made outside the tree, with what Colab brings along and matters here. The cells
run there in IPython, with a wheel of the package in place of the book's address.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from book import environment

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BROUGHT = ("torch", "numpy", "transformers", "matplotlib", "ipykernel")
WITH_IT = ("pyproject.toml", "README.md", "LICENSE")  # what the package is built from, beside it

pytestmark = pytest.mark.timeout(1200)  # packages may have to be downloaded


def needed(names) -> dict[str, metadata.Distribution]:
    """Packages of the book's environment, with all that they need."""
    found, wanted = {}, [*names]
    while wanted:
        package = metadata.distribution(wanted.pop())
        if package.name not in found:
            found[package.name] = package
            needs = map(Requirement, package.requires or ())
            wanted += [r.name for r in needs if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)  # a copy would be gigabytes where torch has its GPU libraries
    except OSError:  # on another disk
        shutil.copy2(source, target)


@pytest.fixture
def python(tmp_path_factory):
    """The Python of an environment that has what Colab brings, at the pinned versions, and pip."""
    folder = tmp_path_factory.mktemp("anywhere") / "colab"
    venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    packages = next(folder.rglob("site-packages"))
    for package in needed(BROUGHT).values():
        for file in package.files:
            if ".." not in file.parts:  # programs lie outside, and name their environment
                link(package.locate_file(file), packages / file)
    yield environment.python_of(folder)
    shutil.rmtree(folder)


def package_files() -> list[Path]:
    """Every file of the package in the tree, but what Python compiles."""
    files = [path for path in (ROOT / "tutorial_lib").rglob("*") if path.is_file()]
    return [path for path in files if "__pycache__" not in path.parts]


@pytest.fixture
def wheel(python, tmp_path_factory) -> Path:
    """The package as `pip` makes it, for Colab or anywhere."""
    folder = tmp_path_factory.mktemp("wheel")
    for path in (*package_files(), *(ROOT / name for name in WITH_IT)):
        target = folder / "source" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    command = [python, "-m", "pip", "wheel", "--no-deps", "-w", folder, folder / "source"]
    built = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if built.returncode:
        said = built.stdout[-3000:]
        pytest.fail(f"no wheel was built; can packages be had here?\n{said}", pytrace=False)
    return next(folder.glob("*.whl"))


@pytest.fixture
def run(python, tmp_path):
    """Runs a program in that environment, away from the checkout, and returns its output."""
    settings = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    # Most of what is installed is never imported: compiling it all takes longer than the test.
    settings |= {"PIP_NO_COMPILE": "1", "IPYTHONDIR": str(tmp_path / "ipython")}

    def run(program: str, given: str = "", **variables) -> str:
        done = subprocess.run(
            [python, "-c", program],
            cwd=tmp_path,
            env={**settings, **variables},
            input=given,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


CELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
sys.exit(not InteractiveShell().run_cell(sys.stdin.read()).success)
"""
PACKAGES = """
import importlib.metadata, json
found = {}
for package in importlib.metadata.distributions():
    record = package.locate_file(next(f for f in package.files if f.name == "RECORD"))
    found[package.name] = package.version, str(record), record.stat().st_mtime_ns
print(json.dumps(found))
"""
IMPORTABLE = """
import importlib, sys
for name in sys.stdin.read().split():
    importlib.import_module(name)
"""
AT_WORK = """
import tutorial_lib
from tutorial_lib import data, hub
model, tokenizer, new = hub.load("mini-albert")
assert not new and len(tokenizer.encode("a good film").ids) > 2
assert data.load("reviews").num_rows and data.load("pydoc").num_rows
assert data.describe("mr").name == "mr"
print(tutorial_lib.__file__)
"""


def code_cells(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def imports(code: str) -> set[str]:
    """Every module, other than Python's own, that some code imports somewhere."""
    nodes = list(ast.walk(ast.parse(re.sub(r"%pip.*", "pass", code))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.level == 0}
    return {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}


def chapters_import() -> set[str]:
    return {name for path in NOTEBOOKS for name in imports("\n".join(code_cells(path)))}


def test_setup_cells_add_what_is_missing_and_change_nothing(run, python, wheel, tmp_path):
    held = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert held == {path.relative_to(ROOT).as_posix() for path in package_files()}
    url = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    before = json.loads(run(PACKAGES))
    assert set(BROUGHT) <= set(before) and "tutorial-lib" not in before
    ran_pip = []
    for path in NOTEBOOKS:
        cell, log = code_cells(path)[0], tmp_path / f"{path.stem}.log"
        assert cell.count(f"git+{url}") == 1
        said = run(CELL, cell.replace(f"git+{url}", str(wheel)), PIP_LOG=str(log))
        *_, machine, data = said.splitlines()
        assert re.search(r", (cpu|cuda|mps) \(.+\), precision \w+, scale \w+$", machine), said
        assert re.match(r"Data: .*(TUTORIAL_DATA|the cache) \(\d+ of \d+ sets\)", data), said
        ran_pip += [path.stem] * log.exists()
    # The first brings the package. The second needs one thing more: torchtext, as it was.
    assert ran_pip == ["01_softmax", "02_text"]
    after = json.loads(run(PACKAGES))
    assert {name: after.get(name) for name in before} == before
    modules = [path.read_text(encoding="utf-8") for path in package_files() if path.suffix == ".py"]
    run(IMPORTABLE, "\n".join(chapters_import().union(*map(imports, modules))))
    assert run(AT_WORK).splitlines()[-1].startswith(str(python.parent.parent))


BINDER = ROOT / ".binder"


def test_binder_gets_a_python_in_range_and_all_that_the_chapters_import():
    conda = yaml.safe_load((BINDER / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    version = next(name.removeprefix("python=") for name in conda if name.startswith("python="))
    assert environment.OLDEST <= tuple(map(int, version.split("."))) <= environment.NEWEST
    assert "pytorch-cpu" in conda
    pip = re.search(r"pip install (.+)", (BINDER / "postBuild").read_text(encoding="utf-8"))[1]
    assert "-e ." in pip and "torch" not in pip.split()
    needs = [Requirement(line) for line in metadata.requires("tutorial-lib")]
    needs += [Requirement(word) for word in pip.split() if word[0] not in "-."]
    has = {canonicalize_name(need.name) for need in needs}
    owners = metadata.packages_distributions()
    for top in {name.split(".")[0] for name in chapters_import()} - {"tutorial_lib"}:
        assert has & set(map(canonicalize_name, owners[top])), f"{top} is not installed"


@pytest.mark.parametrize(("scale", "used"), [(None, "smoke"), ("laptop", "laptop")])
def test_binder_starts_small_and_hands_its_command_on(monkeypatch, scale, used):
    monkeypatch.delenv("TUTORIAL_SCALE", raising=False)
    if scale:
        monkeypatch.setenv("TUTORIAL_SCALE", scale)
    program = 'import os, sys; print(os.environ["TUTORIAL_SCALE"], *sys.argv[1:], sep="|")'
    command = [BINDER / "start", sys.executable, "-c", program, "a b", "*"]
    assert subprocess.check_output(command, text=True) == f"{used}|a b|*\n"
