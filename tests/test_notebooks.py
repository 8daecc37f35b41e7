"""Every chapter keeps to the book's form: short, without outputs, readable in every front end."""

import json
import re
import statistics
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PYTHON_BLOCK = re.compile(r"^```python\n.*?^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def code(notebook) -> list[str]:
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]


@pytest.fixture
def texts(notebook) -> list[str]:
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]


def test_there_are_chapters():
    assert NOTEBOOKS


def test_a_chapter_has_its_module_its_tests_and_its_place_in_the_contents(path):
    number, slug = re.fullmatch(r"(\d\d)_(\w+)", path.stem).groups()
    assert (ROOT / "tutorial_lib" / f"{slug}.py").exists()
    assert (ROOT / "tests" / f"test_{slug}.py").exists()
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [page["file"] for page in contents["parts"][0]["chapters"]]
    assert f"notebooks/{path.stem}" in chapters
    assert chapters == sorted(chapters)


def test_cells_are_few_and_short(notebook, code):
    assert len(notebook["cells"]) <= 40
    lengths = [len(source.splitlines()) for source in code]
    assert max(lengths) <= 25
    assert statistics.median(lengths) <= 5


def test_the_file_holds_no_outputs_and_lasting_cell_names(notebook):
    cells = notebook["cells"]
    assert not [c["id"] for c in cells if c.get("outputs") or c.get("execution_count")]
    assert len({c["id"] for c in cells}) == len(cells)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_colab_opens_this_notebook_and_installs_from_the_books_address(path, texts, code):
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    owner = settings["url"].removeprefix("https://github.com/")
    address = f"github/{owner}/blob/{settings['branch']}/notebooks/{path.name}"
    assert f"https://colab.research.google.com/{address}" in texts[0]
    assert f"%pip install -q git+{settings['url']}" in code[0]


def test_text_cells_use_only_what_every_front_end_shows(texts):
    for text in texts:
        prose = PYTHON_BLOCK.sub("", text)
        assert not re.search(r"^(```|:::)\s*\{", prose, re.MULTILINE), f"MyST directive in {text}"
        assert not re.search(r"\{[a-z:-]+\}`", prose), f"MyST role in {text}"
        assert "![](" not in prose, f"a picture without a text alternative in {text}"
        assert not re.search(r"<img(?![^>]*\balt=)", prose), f"the same in {text}"


def test_headings_go_down_one_level_at_a_time(texts):
    prose = "\n".join(PYTHON_BLOCK.sub("", text) for text in texts)
    levels = [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in zip(levels, levels[1:], strict=False))


@pytest.mark.parametrize("part", ["Spot the fault", "Exercises", "Quiz", "Summary", "Sources"])
def test_a_chapter_has_every_part(texts, part):
    assert any(part in text for text in texts)


def test_every_exercise_and_question_hides_its_solution(texts):
    everything = "\n".join(texts)
    asked = everything[everything.index("## Exercises") : everything.index("## Summary")]
    questions = re.findall(r"^\*\*\w+[.)]\*\*", asked, re.MULTILINE)
    assert len(questions) >= 4
    assert asked.count("<details>") == asked.count("</details>") == len(questions)
