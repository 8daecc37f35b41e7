"""The build: what it makes, what it refuses, what it mends."""

import ast
import re
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest

from book import build, check, environment, equations, execute, pages

ROOT = Path(__file__).resolve().parent.parent


# --- The list of corrections ---------------------------------------------------------------


@pytest.fixture(scope="module")
def corrections() -> dict[int, str]:
    """The last column of every row of the page, by number."""
    page = (ROOT / "book" / "corrections.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", page, re.MULTILINE)
    assert len(rows) == len(dict(rows)), "a number occurs twice"
    return {int(number): where for number, where in rows}


def test_all_45_corrections_are_listed(corrections):
    assert sorted(corrections) == list(range(1, 46))


def test_corrections_of_finished_chapters_are_exactly_those_with_a_test(corrections):
    tests = ast.parse((ROOT / "tests" / "test_corrections.py").read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tests) if isinstance(node, ast.FunctionDef)]
    tested = {number for test in functions for number in equations.marks(test, "correction")}
    finished = {number for number, where in corrections.items() if "in preparation" not in where}
    assert tested == finished


def test_a_correction_links_to_its_chapter_as_soon_as_there_is_one(corrections):
    for number, where in corrections.items():
        chapter = int(re.search(r"Chapter (\d)", where)[1])
        there = list((ROOT / "notebooks").glob(f"{chapter:02}_*.ipynb"))
        if there:
            assert f"](../notebooks/{there[0].name})" in where, number
        else:
            assert where == f"Chapter {chapter}, in preparation", number


# --- Pages ---------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """A book of two pages, built without fault."""
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: a\nchapters:\n- file: b\n")
    for name in ("a", "b"):
        (tmp_path / f"{name}.md").write_text("# Page\n")
        (tmp_path / f"{name}.html").write_text('<a href="https://a.org">link</a>')
    (tmp_path / "index.html").write_text("<p>")
    return tmp_path


def test_a_page_that_was_not_built_is_a_fault(small):
    assert check.faults(small, small) == []
    (small / "b.html").unlink()
    assert check.faults(small, small) == ["b.html was not built"]


@pytest.mark.parametrize(
    "fetches",
    [
        '<script async src="https://a.org/x.js"></script>',
        '<img src="//a.org/x.png" alt="">',
        '<link rel="stylesheet" href="http://a.org/x.css">',
    ],
)
def test_a_page_that_fetches_from_outside_is_a_fault(small, fetches):
    (small / "a.html").write_text(fetches)
    assert len(check.faults(small, small)) == 1


@pytest.mark.parametrize(
    "holds, fault",
    [
        ('<a href="c.html">', "a.html links to c.html, which is not there"),
        ('<a href="b.html#no">', "a.html links to b.html#no, which is not there"),
        ('<a href="#no">', "a.html links to #no, which is not there"),
        ('<img src="no.png" alt="A">', "a.html links to no.png, which is not there"),
        (
            '<img src="data:image/png;base64,AA==">',
            "a.html has a picture without a text alternative",
        ),
        ('<p id="x"><p id="x">', "a.html has two parts named x"),
    ],
)
def test_a_link_without_an_end_and_a_picture_without_words_are_faults(small, holds, fault):
    (small / "a.html").write_text(holds)
    assert check.faults(small, small) == [fault]


def test_links_that_have_an_end_are_no_fault(small):
    (small / "b.html").write_text('<p id="here">')
    (small / "a.html").write_text(
        '<a href="b.html#here"><a href="b.html?q=1"><a href="https://a.org/gone">'
    )
    assert check.faults(small, small) == []


def test_a_page_without_source_is_named(small):
    (small / "b.md").unlink()
    with pytest.raises(SystemExit, match="do not exist: b"):
        check.sources(small)


def test_every_public_module_is_on_the_package_page():
    page = pages.api_page()
    assert "automodule:: tutorial_lib.softmax\n" in page
    assert "automodule:: tutorial_lib.data.loading\n" in page
    assert "._" not in page


def test_docstrings_keep_their_signs_in_sphinx():
    lines = ["The |a| of b_ by `c*d`:", "", "    f(*a)", "Equation: eq-a, eq-b"]
    pages.from_markdown(None, "", "", None, None, lines)
    assert lines == [
        r"The \|a\| of b\_ by `c*d`::",
        "",
        "    f(*a)",
        "Equation: :eq:`eq-a`, :eq:`eq-b`",
    ]


def test_a_box_and_the_colab_badge_of_a_notebook_become_what_sphinx_shows():
    text = '<div class="admonition tip">\n<p class="title">T</p>\n\n*Body* $p$\n\n</div>'
    assert pages.from_notebook(text) == ":::::{admonition} T\n:class: tip\n\n*Body* $p$\n:::::"
    badge = "[![Open](https://colab.research.google.com/assets/x.svg)](https://colab.x)"
    assert pages.from_notebook(badge) == "[Open](https://colab.x)"


def test_a_picture_comes_from_the_output_of_its_cell_and_is_missed_where_there_is_none(tmp_path):
    (tmp_path / "notebooks").mkdir()
    code = 'from IPython.display import HTML\nHTML(\'<figure><img alt="A" src="data:,"></figure>\')'
    source = notebook(tmp_path / "notebooks" / "one.ipynb", code, "print(1)")
    drew, printed = (cell.id for cell in nbformat.read(source, 4).cells)
    cache = tmp_path / "cache"
    with pytest.raises(KeyError):  # it has not run
        pages.picture(tmp_path, cache, "one", drew)
    execute.execute([source], cache, tmp_path / "work")
    assert pages.picture(tmp_path, cache, "one", drew) == '<img alt="A" src="data:,">'
    for cell in (printed, "no-such-cell"):
        with pytest.raises(LookupError, match="drew no picture"):
            pages.picture(tmp_path, cache, "one", cell)


# --- Building ------------------------------------------------------------------------------


def test_what_decides_the_outputs_changes_the_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    (tmp_path / "lib" / "__pycache__").mkdir(parents=True)
    (tmp_path / "lib" / "a.py").write_text("1")
    seen = [build.digest("lib")]
    (tmp_path / "lib" / "__pycache__" / "a.pyc").write_text("compiled")
    assert build.digest("lib") == seen[0]
    (tmp_path / "lib" / "a.py").write_text("2")
    seen.append(build.digest("lib"))
    for variable in ("TUTORIAL_SCALE", "TUTORIAL_DATA"):
        monkeypatch.setenv(variable, "other")
        seen.append(build.digest("lib"))
    assert len(set(seen)) == 4


@pytest.mark.parametrize("status, page", [(1, "a.html"), (0, "other.html")])
def test_a_build_that_fails_leaves_no_page(small, monkeypatch, status, page):
    def sphinx(command, **options):
        html = Path(command[-1]) / "_build" / "html"
        html.mkdir(parents=True)
        (html / page).write_text("half a book")
        return types.SimpleNamespace(returncode=status)

    out = small / "_build"
    monkeypatch.setattr(build, "ROOT", small)
    monkeypatch.setattr(build.subprocess, "run", sphinx)
    with pytest.raises(SystemExit, match="were not built"):
        build.build_pages(out, "digest")
    assert not list(out.rglob("*.html"))


def notebook(path, *cells):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=code, metadata={"kernelspec": kernel}), path)
    return path


def test_notebooks_run_once_and_a_failing_one_shows_its_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    good = notebook(tmp_path / "good.ipynb", "print(6 * 7)")
    bad = notebook(tmp_path / "bad.ipynb", "x = 1", "x / 0")
    cache, work = tmp_path / "cache", tmp_path / "work"
    failed = execute.execute([good, bad], cache, work)
    assert list(failed) == [bad]
    assert "x / 0" in failed[bad] and "ZeroDivisionError" in failed[bad]
    capsys.readouterr()
    assert execute.execute([good], cache, work) == {}
    assert "0 of 1 notebooks to run" in capsys.readouterr().out
    notebook(good, "print(6 * 8)")
    execute.execute([good], cache, work)
    assert "1 of 1 notebooks to run" in capsys.readouterr().out


# --- The environment -----------------------------------------------------------------------


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty project whose installer only notes what it was asked to run."""
    (tmp_path / "constraints.txt").write_text("a==1\n")
    (tmp_path / "requirements.txt").write_text("a\n")
    (tmp_path / "pyproject.toml").write_text("")
    venv = tmp_path / ".venv"
    paths = {"ROOT": tmp_path, "VENV": venv, "LOG": tmp_path / "_build" / "install.log"}
    for name, path in paths.items():
        monkeypatch.setattr(environment, name, path)
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    asked = []

    def run(command, total=0):
        asked.append(" ".join(map(str, command)))
        if "venv" in command:
            (venv / "bin").mkdir(parents=True)
            (venv / "bin" / "python").write_text("")

    monkeypatch.setattr(environment, "run", run)
    return tmp_path, asked


def test_the_environment_is_made_once(place):
    root, asked = place
    environment.ensure()
    assert ["-m venv" in asked[0], "-m pip install" in asked[1]] == [True, True]
    environment.ensure()
    assert len(asked) == 2
    (root / "constraints.txt").write_text("a==2\n")
    environment.ensure()
    assert len(asked) == 3 and "pip install" in asked[2]


def test_a_half_made_environment_is_made_anew(place, monkeypatch):
    root, asked = place
    run = environment.run

    def interrupted(command, total=0):
        run(command)
        if "pip" in command:
            raise KeyboardInterrupt

    monkeypatch.setattr(environment, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        environment.ensure()
    (root / ".venv" / "torn").write_text("half a package")
    monkeypatch.setattr(environment, "run", run)
    environment.ensure()
    assert not (root / ".venv" / "torn").exists()
    assert sum("-m venv" in command for command in asked) == 2


def test_an_environment_of_the_users_own_is_kept(place):
    root, asked = place
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").write_text("")
    (root / ".venv" / "theirs").write_text("")
    environment.ensure()
    assert (root / ".venv" / "theirs").exists()
    assert len(asked) == 1 and "pip install" in asked[0]


def test_an_install_that_fails_says_why(place, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(environment, "LOG", tmp_path / "_build" / "install.log")
    with pytest.raises(environment.InstallFailed, match="no such package"):
        environment.run([sys.executable, "-c", "import sys; sys.exit('no such package')"])


def test_a_python_that_is_too_old_is_told_what_to_do(place, monkeypatch):
    answer = types.SimpleNamespace(returncode=0, stdout=b"3 9")
    monkeypatch.setattr(environment.subprocess, "run", lambda *given, **options: answer)
    with pytest.raises(SystemExit, match="needs Python 3.11 to 3.13"):
        environment.ensure()


def test_make_names_its_targets():
    shown = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^make (\w+)", shown.stdout, re.MULTILINE)) == set(build.COMMANDS)
