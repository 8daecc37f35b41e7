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
CHOICE = re.compile(r"<details><summary>([^\n]+)</summary>\n\n(\*\*.+?)\n\n</details>\n", re.DOTALL)


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


def section(texts: list[str], first: str, after: str) -> str:
    everything = "\n".join(texts)
    return everything[everything.index(f"## {first}\n") : everything.index(f"## {after}\n")]


def test_every_exercise_hides_its_solution(texts):
    exercises = section(texts, "Exercises", "Quiz")
    asked = re.findall(r"^\*\*\w+[.)]\*\*", exercises, re.MULTILINE)
    assert len(asked) >= 4
    assert exercises.count("<details>") == exercises.count("</details>") == len(asked)


def choices(quiz: str) -> list[list[tuple[str, str]]]:
    """Return what each question offers: the summary and the answer of each choice."""
    _, *questions = re.split(r"^\*\*[a-z]\)\*\* (?=\S)", quiz, flags=re.MULTILINE)
    return [CHOICE.findall(question) for question in questions]


def faults(quiz: str) -> set[str]:
    """Say what a quiz has that a reader, or the page's script, would stumble over."""
    asked, found = choices(quiz), set()
    offered = [choice for question in asked for choice in question]
    if len(asked) < 5:
        found.add("too few questions")
    if not len(offered) == quiz.count("<details") == quiz.count("</details>"):
        found.add("a choice that does not open")
    if not all(len(question) in (3, 4) for question in asked):
        found.add("not three or four choices")
    if any("$" in summary for summary, _ in offered):
        found.add("mathematics in a summary")
    verdicts = [[answer.split()[0] for _, answer in question] for question in asked]
    if any(v.count("**Right.**") != 1 or v.count("**No.**") != len(v) - 1 for v in verdicts):
        found.add("not exactly one right")
    elif len({v.index("**Right.**") for v in verdicts}) == 1:
        found.add("always in the same place")
    prose = [re.sub(r"\$[^$]*\$", "", answer) for _, answer in offered]
    if any(len(re.findall(r"[A-Za-z]+", answer)) < 7 for answer in prose):
        found.add("no explanation")
    return found


def test_a_quiz_answers_at_once_and_says_why(texts):
    assert faults(section(texts, "Quiz", "Summary")) == set()


def written(places: str) -> str:
    """Return a quiz of three choices a question, the right ones in these places."""
    quiz = "## Quiz\n\n"
    for letter, place in zip("abcdef", places, strict=False):
        quiz += f"**{letter})** What is it?\n\n"
        for n in range(3):
            verdict = "Right" if n == int(place) else "No"
            body = f"**{verdict}.** So it must be, for a good reason."
            quiz += f"<details><summary>Choice {n}</summary>\n\n{body}\n\n</details>\n\n"
    return quiz


@pytest.mark.parametrize(
    ("good", "bad", "fault"),
    [
        ("**e)**", "e)", "too few questions"),
        ("**e)**", "e)", "not three or four choices"),
        ("</summary>\n\n", "</summary>\n", "a choice that does not open"),
        ("\n\n</details>", "\n</details>", "a choice that does not open"),
        ("</details>\n\n**b)**", "**b)**", "a choice that does not open"),
        ("Choice 0", "$x$", "mathematics in a summary"),
        ("**No.**", "**Right.**", "not exactly one right"),
        ("**Right.**", "**No.**", "not exactly one right"),
        ("**No.**", "**Wrong.**", "not exactly one right"),
        ("So it must be, for a good reason.", "That is wrong: $a + b$.", "no explanation"),
    ],
)
def test_a_spoilt_quiz_is_found(good, bad, fault):
    quiz = written("02101")
    assert good in quiz and faults(quiz) == set()
    assert fault in faults(quiz.replace(good, bad, 1))


def test_a_right_choice_that_is_always_in_the_same_place_is_found():
    assert faults(written("11111")) == {"always in the same place"}


def test_the_longest_choice_is_not_the_right_one_to_guess():
    longest = []
    for file in NOTEBOOKS:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
        for question in choices(section(texts, "Quiz", "Summary")):
            summary, answer = max(question, key=lambda choice: len(choice[0]))
            longest.append(answer.startswith("**Right.**"))
    assert sum(longest) <= len(longest) / 2
