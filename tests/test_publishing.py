"""What others see of the book: its archive, its address, its buttons, and who builds it."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
import tomllib
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from book import address, archive, build

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PRESENT = "OWNER/text-classification-book"


# --- The archive ---------------------------------------------------------------------------


@pytest.fixture
def pages(tmp_path):
    """A small book: two pages, one in a folder, and a file that is no text."""
    (tmp_path / "html" / "notebooks").mkdir(parents=True)
    (tmp_path / "html" / "index.html").write_text("<p>first")
    (tmp_path / "html" / "notebooks" / "01.html").write_text("<p>second")
    (tmp_path / "html" / ".hidden").write_bytes(bytes(range(256)))
    return tmp_path / "html"


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_what_is_unpacked_is_what_was_packed(pages, tmp_path):
    archive.pack(pages, tmp_path / "book.zip")
    with zipfile.ZipFile(tmp_path / "book.zip") as packed:
        assert packed.testzip() is None
        assert "index.html" in packed.namelist()
        packed.extractall(tmp_path / "unpacked")
    assert contents(tmp_path / "unpacked") == contents(pages)


def test_the_same_pages_give_the_same_bytes_at_any_time_and_other_pages_others(pages, tmp_path):
    archive.pack(pages, tmp_path / "1.zip")
    copy = tmp_path / "copy"
    for name, content in sorted(contents(pages).items(), reverse=True):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(content)
        os.utime(copy / name, (1e9, 1e9))
        (copy / name).chmod(0o600)
    archive.pack(copy, tmp_path / "2.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    (copy / "index.html").write_text("<p>other")
    archive.pack(copy, tmp_path / "2.zip")
    assert (tmp_path / "1.zip").read_bytes() != (tmp_path / "2.zip").read_bytes()


def test_the_command_builds_first_and_says_where_and_how_large(pages, monkeypatch, capsys):
    out, index = pages.parent, pages / "index.html"
    index.unlink()
    monkeypatch.setattr(build, "OUT", out)
    monkeypatch.setattr(build, "book", lambda: index.write_bytes(os.urandom(3 * 2**20)))
    build.COMMANDS["zip"]()
    (packed,) = out.glob("*.zip")
    assert "index.html" in zipfile.ZipFile(packed).namelist()
    assert "3.0 MB" in (said := capsys.readouterr().out) and str(packed) in said


# --- The address ---------------------------------------------------------------------------


@pytest.fixture
def fork(tmp_path):
    """A copy of all that names the address."""
    for name in ("_config.yml", "pyproject.toml", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    checkpoints = shutil.ignore_patterns(".ipynb_checkpoints")
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=checkpoints)
    return tmp_path


def test_a_fork_changes_its_address_everywhere_and_nothing_else(fork):
    before = contents(fork)
    address.move("https://github.com/some-one/a.book.git", fork)
    after = contents(fork)
    assert all(PRESENT.encode() in text for text in before.values())
    assert after == {n: t.replace(PRESENT.encode(), b"some-one/a.book") for n, t in before.items()}
    address.move(f"https://github.com/{PRESENT}", fork)
    assert contents(fork) == before


@pytest.mark.parametrize("url", ["a/b", "http://github.com/a/b", "https://github.com/a/b c", ""])
def test_what_is_no_address_changes_nothing(fork, url):
    before = contents(fork)
    with pytest.raises(SystemExit, match="looks like https://github.com/NAME/BOOK"):
        address.move(url, fork)
    assert contents(fork) == before


# --- Buttons -------------------------------------------------------------------------------


class Links(HTMLParser):
    def __init__(self, page: Path):
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if tag == "a" and name == "href"]


def test_a_chapter_has_buttons_for_colab_binder_and_its_file_at_the_books_address(fork):
    address.move("https://github.com/someone/theirs", fork)
    settings = yaml.safe_load((fork / "_config.yml").read_text(encoding="utf-8"))
    kept = {key: settings[key] for key in ("repository", "launch_buttons")}
    kept["execute"] = {"execute_notebooks": "off"}
    (fork / "_config.yml").write_text(yaml.safe_dump(kept))
    contents = {"format": "jb-book", "root": "notebooks/01_softmax"}
    (fork / "_toc.yml").write_text(yaml.safe_dump(contents))
    program = "from jupyter_book.cli.main import main; main()"
    built = [sys.executable, "-c", program, "build", "-q", fork]
    subprocess.run(built, check=True, capture_output=True)
    html = fork / "_build" / "html"
    found = Links(html / "notebooks" / "01_softmax.html").found
    colab = "https://colab.research.google.com/github/someone/theirs/blob/main"
    assert f"{colab}/notebooks/01_softmax.ipynb" in found
    binder = "https://mybinder.org/v2/gh/someone/theirs/main?urlpath=lab/tree"
    assert f"{binder}/notebooks/01_softmax.ipynb" in found
    assert "../_sources/notebooks/01_softmax.ipynb" in found
    given = html / "_sources" / "notebooks" / "01_softmax.ipynb"
    assert given.read_bytes() == (fork / "notebooks" / "01_softmax.ipynb").read_bytes()


# --- Workflows -----------------------------------------------------------------------------


def workflow(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))


def jobs() -> list[dict]:
    return [job for path in WORKFLOWS for job in workflow(path.name)["jobs"].values()]


def steps() -> list[dict]:
    return [step for job in jobs() for step in job["steps"]]


def program(name: str, words: str) -> str:
    """The commands of a workflow's one step whose name holds some words."""
    found = [s for j in workflow(name)["jobs"].values() for s in j["steps"]]
    (step,) = [step for step in found if words in step.get("name", "")]
    return step["run"]


def valid(*paths: Path) -> subprocess.CompletedProcess:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    return subprocess.run([*check, "vendor.github-workflows", *paths], capture_output=True)


def test_the_workflows_are_valid():
    assert [path.name for path in WORKFLOWS] == ["publish.yml", "test.yml", "weekly.yml"]
    assert valid(*WORKFLOWS).returncode == 0


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
@pytest.mark.parametrize("key", ["runs-on", "jobs", "permissions"])
def test_a_workflow_with_a_misspelt_key_is_refused(tmp_path, path, key):
    (tmp_path / path.name).write_text(path.read_text().replace(f"{key}:", f"{key}x:"))
    assert valid(tmp_path / path.name).returncode == 1


def test_every_command_of_make_that_a_workflow_calls_exists():
    called = []
    for run in (step.get("run", "") for step in steps()):
        for words in re.findall(r"^\s*make ([a-z ]+)(?: 2>|$)", run, re.MULTILINE):
            called += words.split()
    assert {"test", "book", "pdf"} <= set(called) <= set(build.COMMANDS)


def test_every_python_that_a_workflow_names_is_one_of_the_project():
    named = [step.get("with", {}).get("python-version", "matrix") for step in steps()]
    matrices = [job.get("strategy", {}).get("matrix", {}) for job in jobs()]
    named += [version for matrix in matrices for version in matrix.get("python", [])]
    versions = {version for version in named if "matrix" not in version}
    assert versions == {"3.10", "3.11", "3.12", "3.13"}
    assert all(version in SpecifierSet(PROJECT["requires-python"]) for version in versions)


def test_every_action_is_of_one_major_version():
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in used)


def test_only_those_may_write_who_publish_and_tell():
    may_write = set()
    for path in WORKFLOWS:
        assert workflow(path.name)["permissions"] == {"contents": "read"}
        for name, job in workflow(path.name)["jobs"].items():
            for what, level in job.get("permissions", {}).items():
                may_write |= {(path.stem, name, what)} if level == "write" else set()
    deploys = {("publish", "deploy", "pages"), ("publish", "deploy", "id-token")}
    assert may_write == deploys | {("weekly", "newest", "issues")}


def bash(script: str, folder: Path, **variables) -> str:
    """Run a step as GitHub does, with programs of ours first on the path."""
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-e", "-c", script]
    environment = {**os.environ, "PATH": path, **variables}
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


def requirements(path: Path) -> list[str]:
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line]


def test_each_week_every_version_but_torchtexts_is_free_within_its_range(tmp_path):
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    bash(program("weekly.yml", "Loosen"), tmp_path)
    pinned = [Requirement(r) for r in requirements(ROOT / "requirements.txt") if r[0] != "-"]
    lines = requirements(tmp_path / "requirements.txt")
    assert [line for line in lines if line[0] == "-"] == ["-e ."]
    loose = [Requirement(line) for line in lines if line[0] != "-"]
    assert [(r.name, str(r.marker)) for r in loose] == [(r.name, str(r.marker)) for r in pinned]
    assert [str(r) for r in loose if "==" in str(r.specifier)] == ["torchtext==0.6.0"]
    ranges = {r.name: r.specifier for r in pinned if "==" not in str(r.specifier)}
    assert all(r.specifier == ranges.get(r.name, "") for r in loose if r.name != "torchtext")


GH = """#!/usr/bin/env python3
import os, sys
print(*sys.argv[1:], file=open("asked", "a"))
if sys.argv[1:3] == ["issue", "list"] and os.environ["TITLE"] in " ".join(sys.argv):
    print(os.environ["OPEN"], end="")
"""


@pytest.mark.parametrize(
    ("open_ones", "told"), [("", "issue create --title Failed"), ("7\n3\n", "issue comment 7 ")]
)
@pytest.mark.parametrize("lines", [0, 100])
def test_each_week_a_failure_is_told_once(tmp_path, open_ones, told, lines):
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    if lines:
        (tmp_path / "log").write_text("".join(f"line {n}\n" for n in range(lines)))
    github = {"GITHUB_SERVER_URL": "https://a", "GITHUB_REPOSITORY": "b", "GITHUB_RUN_ID": "9"}
    settings = {"RUNNER_TEMP": str(tmp_path), "TITLE": "Failed", "OPEN": open_ones, **github}
    bash(program("weekly.yml", "issue"), tmp_path, **settings)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 2 and asked[0].startswith("issue list") and asked[1].startswith(told)
    body = (tmp_path / "told.md").read_text()
    assert "https://a/b/actions/runs/9" in body
    assert ("line 99\n" in body and "line 39\n" not in body) if lines else "before" in body


MAKE = """#!/bin/sh
echo "$@" > asked
echo printed > _build/text-classification-book.pdf
"""


def test_the_pdf_is_published_beside_the_pages(tmp_path):
    (tmp_path / "_build" / "html").mkdir(parents=True)
    for name, text in (("make", MAKE), ("chromium", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    bash(program("publish.yml", "PDF"), tmp_path)
    assert (tmp_path / "asked").read_text() == "book pdf\n"
    assert [path.suffix for path in (tmp_path / "_build" / "html").iterdir()] == [".pdf"]


def test_the_oldest_python_tests_the_package_alone():
    alone = program("test.yml", "need nothing of the book")
    assert workflow("test.yml")["jobs"]["package"]["steps"][1]["with"]["python-version"] == "3.10"
    shown = bash(alone.replace("xargs", "xargs printf '%s\\n' #"), ROOT).split()
    assert "tests/test_softmax.py" in shown and "tests/data/test_loading.py" in shown
    assert not {"tests/test_book.py", "tests/test_publishing.py"} & set(shown)
