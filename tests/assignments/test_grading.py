"""What students do to graders: each gets the points for what is right, and no others."""

import copy
import csv
import json
import socket
import textwrap

import numpy as np
import pytest
import torch

from grading import checks, grade, marking, notebooks, plain, report, sandbox
from grading.notebooks import Cell
from grading.sandbox import Limits, NoSandbox, Process

QUICK = Limits(call=3, cell=6, total=90, memory=1_200 * sandbox.MIB)
ZERO = "\ndef softmax_gradient(probs, upstream):\n    return probs * 0\n"


@pytest.fixture(scope="module")
def solved(handed_out):
    return json.loads((handed_out / "solution" / "01_softmax.ipynb").read_text())


def submit(solved, path, gradient=None, change=lambda cells: cells):
    """Write a submission of assignment 1 that is right but for the answer `gradient`."""
    notebook = copy.deepcopy(solved)
    for cell in notebook["cells"]:
        if notebooks._name(cell) == "gradient" and gradient is not None:
            cell["source"] = textwrap.dedent(gradient)
    notebook["cells"] = change(notebook["cells"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook))
    return path


def points(path, limits=QUICK):
    """Mark a submission of assignment 1; return points and reasons by question."""
    assignment = notebooks.load("01_softmax")
    marked, _, _ = marking.mark(assignment, notebooks.submission(path, assignment), limits)
    return {
        one.question: (sum(mark.points for mark in one.marks), [mark.why for mark in one.marks])
        for one in marked
    }


HOSTILE = {
    "an endless loop": ("while True:\n    pass", "not done after"),
    "an endless loop in the answer": (
        "def softmax_gradient(probs, upstream):\n    while True:\n        pass",
        "not done after 3 seconds",
    ),
    "sys.exit": ("import sys\nsys.exit(0)", "SystemExit"),
    "os._exit": ("import os\nos._exit(0)", "the process ended"),
    "os._exit in the answer": (
        "import os\ndef softmax_gradient(probs, upstream):\n    os._exit(0)",
        "the process ended",
    ),
    "a fork bomb": ("import os\nwhile True:\n    os.fork()", "softmax_gradient is not there"),
    "10 GB at once": ("hoard = bytearray(10 * 2**30)", "MemoryError"),
    "memory bit by bit": (
        "import numpy as np\nhoard = []\nwhile True:\n    hoard.append(np.ones(2**20))",
        "MiB of memory",
    ),
    "an endless print": ("while True:\n    print('x' * 10_000)", "this cell was stopped"),
    "a huge result": (
        "def softmax_gradient(probs, upstream):\n    return 'x' * 2**28",
        "",
    ),
    "patched libraries": (
        """
        import numpy as np, torch
        torch.allclose = np.allclose = lambda *given, **options: True
        np.isclose = np.array_equal = np.allclose
        class Agreeable:
            def __eq__(self, other): return True
            def __getattr__(self, name): return Agreeable()
            def __call__(self, *given): return Agreeable()
        def softmax_gradient(probs, upstream):
            return Agreeable()
        """,
        "not plain data",
    ),
    "a forged score": (
        "import os\nprint('{\"points\": 20}')\n"
        "for fd in range(3, 20):\n"
        "    try:\n"
        '        os.write(fd, b\'{"number": 5, "value": 20}\\n{"points": 20}\\n\')\n'
        "    except OSError:\n"
        "        pass\n" + ZERO,
        "grow",
    ),
    "a replaced grader": (
        "import sys\n"
        "for module in list(sys.modules.values()):\n"
        "    for name in ('answer', 'said', 'kind'):\n"
        "        if hasattr(module, name) and hasattr(module, 'confine'):\n"
        "            setattr(module, name, lambda *given: True)\n"
        "open('/scratch/inside.py', 'w').write('x')\n" + ZERO,
        "",
    ),
    "a counter switched off": (
        "import sys\nsys.settrace = lambda trace: None\n" + ZERO,
        "grow",
    ),
    "memory that is not the process's own": (
        "import os\nos.memfd_create('hoard')",
        "PermissionError",
    ),
    "a namespace of its own": (
        "import subprocess\n"
        "done = subprocess.run(['unshare', '-Urm', 'true'], capture_output=True, text=True)\n"
        "raise OSError(done.returncode, done.stderr)",
        "not permitted",
    ),
    "a number without end": (
        "def softmax_gradient(probs, upstream):\n    return 10**5000",
        "ValueError",
    ),
    "an error that does not speak": (
        "class Mute(Exception):\n"
        "    def __str__(self): raise ValueError\n"
        "def softmax_gradient(probs, upstream):\n    raise Mute",
        "it does not say what",
    ),
    "a value of a million parts": (
        "def softmax_gradient(probs, upstream):\n    return [[]] * 2_000_000",
        "was stopped",
    ),
    "the network": ("import socket\nsocket.create_connection(('127.0.0.1', 80), 2)", "Error"),
    "a syntax error": ("def softmax_gradient(:", "SyntaxError"),
    "noise instead of replies": (
        "import os\n"
        "def softmax_gradient(probs, upstream):\n"
        "    for fd in range(3, 20):\n"
        "        try:\n"
        "            os.write(fd, b'{nonsense\\n' * 100)\n"
        "        except OSError:\n"
        "            pass\n",
        "",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_answer_loses_its_points_and_no_others(what, solved, tmp_path):
    code, words = HOSTILE[what]
    found = points(submit(solved, tmp_path / "01_softmax.ipynb", code))
    assert found["gradient"][0] == 0, found
    assert any(words in why for why in found["gradient"][1]), found
    assert {name: found[name][0] for name in ("softmax", "training", "temperature")} == {
        "softmax": 6, "training": 5, "temperature": 2,
    }, found  # fmt: skip


def without(kind):
    return lambda cells: [
        cell for cell in cells if not cell["metadata"].get("nbgrader", {}).get(kind)
    ]


@pytest.mark.parametrize(
    "change",
    [
        without("grade"),
        lambda cells: [
            {**cell, "source": "assert True"}
            if cell["metadata"].get("nbgrader", {}).get("grade") and cell["cell_type"] == "code"
            else cell
            for cell in cells
        ],
    ],
    ids=["deleted", "edited"],
)
def test_tests_that_a_student_deletes_or_edits_are_asked_all_the_same(change, solved, tmp_path):
    found = points(submit(solved, tmp_path / "01_softmax.ipynb", ZERO, change))
    assert found["gradient"][0] == 0 and "the loss grows" in found["gradient"][1][0]
    assert found["softmax"][0] == 6


def test_given_cells_that_a_student_edits_or_deletes_are_given_again(solved, tmp_path):
    def edited(cells):
        kept = [cell for cell in cells if notebooks._name(cell) != "faulty"]
        for cell in kept:
            if notebooks._name(cell) == "setup":
                cell["source"] += "\nletters = None"
        return kept

    path = submit(solved, tmp_path / "01_softmax.ipynb", change=edited)
    assert {name: got for name, (got, _) in points(path).items()}["temperature"] == 2


def test_an_answer_that_is_missing_costs_only_itself(solved, tmp_path):
    path = submit(
        solved,
        tmp_path / "01_softmax.ipynb",
        change=lambda cells: [cell for cell in cells if notebooks._name(cell) != "gradient"],
    )
    found = points(path)
    assert found["gradient"][0] == 0 and "deleted" in found["gradient"][1][0]
    assert found["training"][0] == 5


def replaced(solved, path, **answers):
    """Write a submission of assignment 1 that is right but for these answers."""

    def change(cells):
        for cell in cells:
            cell["source"] = answers.get(notebooks._name(cell), cell["source"])
        return cells

    return submit(solved, path, change=change)


BLANK = "def softmax(z, temperature=1.0):\n    raise NotImplementedError\n"


def test_a_mistake_costs_points_once(solved, tmp_path):
    found = points(replaced(solved, tmp_path / "01_softmax.ipynb", softmax=BLANK))
    assert found["softmax"][0] == 0 and "softmax is not answered" in found["softmax"][1][0]
    assert found["training"][0] == 5
    assert "right with the worked answer to softmax in place of yours" in found["training"][1]
    assert found["gradient"][1] == [""] * len(found["gradient"][1])  # needs none of it


def test_an_answer_that_calls_a_blank_one_is_not_called_blank(solved, tmp_path):
    both = {"softmax": BLANK, "training": "def train(*a, **k):\n    softmax([1.0])\n"}
    found = points(replaced(solved, tmp_path / "01_softmax.ipynb", **both))
    assert found["training"][0] == 0
    assert "train needs softmax: softmax is not answered" in found["training"][1][0]


def test_a_worked_answer_is_not_given_away(solved, tmp_path):
    tells = "def train(*a, **k):\n    raise ValueError(str(softmax.__code__.co_names))\n"
    path = replaced(solved, tmp_path / "01_softmax.ipynb", softmax=BLANK, training=tells)
    (reason, *_) = points(path)["training"][1]
    assert "('NotImplementedError',)" in reason and "exp" not in reason.partition("raised")[2]


def test_marking_again_takes_no_more_than_the_time_that_is_left(solved, tmp_path, monkeypatch):
    made, start = [], marking.Student.__init__

    def note(student, *args, **how):
        start(student, *args, **how)
        made.append(student)

    monkeypatch.setattr(marking.Student, "__init__", note)
    monkeypatch.setattr(
        marking, "judge", lambda test, points, *_: marking.Mark(test.name, 0, points)
    )
    points(replaced(solved, tmp_path / "01_softmax.ipynb"))
    assert len(made) > 2 and {student.ends for student in made} == {made[0].ends}


def test_an_answer_in_words_in_two_cells_is_read_whole(solved, tmp_path):
    def split(cells):
        (one,) = [cell for cell in cells if notebooks._name(cell) == "picture"]
        place, more = cells.index(one), copy.deepcopy(one)
        one["source"], more["source"] = "first half", "second half"
        return [*cells[: place + 1], more, *cells[place + 1 :]]

    path = submit(solved, tmp_path / "01_softmax.ipynb", change=split)
    found = notebooks.submission(path, notebooks.load("01_softmax"))
    assert found.texts["picture"] == "first half\n\nsecond half"


def test_a_name_that_was_not_filled_in_is_noted(solved, tmp_path):
    def unnamed(cells):
        for cell in cells:
            if "student = " in "".join(cell["source"]):
                cell["source"] = 'student = "your name"'
        return cells

    path = submit(solved, tmp_path / "smith_01_softmax.ipynb", change=unnamed)
    assert (
        "name in the notebook is not filled in" in grade.grade_one(path, path.name, safe=True).note
    )


def test_a_partial_answer_gets_partial_credit(solved, tmp_path):
    divides = (
        "def softmax_gradient(p, u):\n    return p * (u * p / p - (p * u).sum(-1, keepdims=True))"
    )
    found = points(submit(solved, tmp_path / "01_softmax.ipynb", divides))
    assert found["gradient"][0] == 3  # where no probability is 0


def test_the_time_for_all_is_limited(solved, tmp_path):
    slow = "import time\ndef softmax_gradient(probs, upstream):\n    time.sleep(2)\n"
    path = submit(solved, tmp_path / "01_softmax.ipynb", slow)
    found = points(path, Limits(call=60, cell=6, total=1))
    assert all("more than 1 seconds" in why for _, reasons in found.values() for why in reasons)


@pytest.mark.parametrize(
    "text", ["{not json", "[]", '{"cells": 3}', '{"cells": [1]}', "[" * 100_000, ""]
)
def test_what_is_no_notebook_is_said_to_be_none(text, tmp_path):
    path = tmp_path / "smith_01_softmax.ipynb"
    path.write_text(text)
    found = grade.grade_one(path, path.name, safe=True)
    assert "not a notebook" in found.note and found.student == "smith"
    assert report.total(found) == (0, 20, 3)


def test_the_wall_hides_tests_submissions_and_the_machine(tmp_path):
    secret = tmp_path / "other.ipynb"
    secret.write_text("another's answers")
    process = Process(QUICK)
    try:
        places = [secret, notebooks.SOURCES, notebooks.ROOT / "tests", notebooks.ROOT / ".git"]
        for place in [*places, notebooks.ROOT / "grading" / "checks.py"]:
            said = process.run(f"import os\nos.stat({str(place)!r})", 5)
            assert "FileNotFoundError" in said, place
        for place in ("/", "/usr", "/dev", notebooks.ROOT, notebooks.ROOT / "tutorial_lib"):
            said = process.run(f"open({str(place)!r} + '/new', 'w')", 5)
            assert said and said.startswith(("OSError", "PermissionError")), place
        assert process.run("open('/scratch/new', 'w').write('mine')", 5) is None
        assert "OSError" in process.run("open('/scratch/big', 'wb').write(bytes(2**29))", 20)
        assert "ZeroDivisionError" in process.run(
            "len(os.listdir('/proc')) / (os.getuid() == 0)", 5
        )
        shown = process.run(
            "raise ValueError(sorted(p for p in os.listdir('/proc') if p.isdigit()))", 5
        )
        assert shown.count("'") <= 8, shown  # its own processes only
    finally:
        process.close()
    again = Process(QUICK)
    try:
        assert "FileNotFoundError" in again.run("open('/scratch/new')", 5)
    finally:
        again.close()


def test_what_a_cell_leaves_running_is_ended():
    process = Process(QUICK)
    try:
        code = "import subprocess\nleft = subprocess.Popen(['sleep', '60'])"
        assert process.run(code, 5) is None
        assert process.run("assert left.wait(2) != 0", 5) is None
    finally:
        process.close()
    assert not process._tree()


def test_the_wall_lets_nobody_reach_a_server_of_the_machine():
    def reached(process, kind, address):
        code = f"import socket\nsocket.socket(socket.{kind}).connect({address!r})"
        return process.run(code, 5)

    with socket.socket() as port, socket.socket(socket.AF_UNIX) as abstract:
        port.bind(("127.0.0.1", 0))
        abstract.bind("\0the-graders-own")
        for server in (port, abstract):
            server.listen()
        asked = [("AF_INET", port.getsockname()), ("AF_UNIX", "\0the-graders-own")]
        for safe in (True, False):
            process = Process(QUICK, safe=safe)
            try:
                said = [reached(process, *one) for one in asked]
            finally:
                process.close()
            assert all("Error" in one for one in said) if safe else said == [None, None]


def test_two_submissions_do_not_count_against_each_other():
    greedy, modest = Process(QUICK), Process(QUICK)
    try:
        code = (
            "import threading\nfor _ in range(200):\n"
            "    threading.Thread(target=threading.Event().wait, daemon=True).start()"
        )
        assert "RuntimeError" in greedy.run(code, 10)
        assert (
            modest.run("import threading\nt = threading.Thread(target=int)\nt.start()", 10) is None
        )
    finally:
        greedy.close()
        modest.close()


def test_what_a_notebook_shows_inline_costs_nothing(solved, tmp_path):
    code = (
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\n"
        "def softmax_gradient(probs, upstream):\n"
        "    return probs * (upstream - (probs * upstream).sum(-1, keepdims=True))"
    )
    assert points(submit(solved, tmp_path / "01_softmax.ipynb", code))["gradient"][0] == 4


def test_an_error_of_ones_own_kind_is_a_refusal_and_an_odd_result_is_none():
    code = textwrap.dedent("""
        class Wrong(ValueError): pass
        def refuse(x): raise Wrong(x)
        def later(x): yield x
        def many(x): return range(x)
        odd = {1, 2}
    """)
    student = marking.Student([Cell("", code)], QUICK)
    try:
        found = student.values(["refuse", "later", "many", "odd"])
        assert "odd" not in found and "a set is not plain data" in student.lost["odd"]
        checks.raises(found["refuse"], 1, says="refused")
        with pytest.raises(AssertionError, match="refused"):
            checks.raises(found["later"], 1, says="refused")
        assert found["many"](3) == [0, 1, 2]
    finally:
        student.close()


def test_a_given_cell_turned_into_text_is_given_again_and_an_answer_in_code_is_read(
    solved, tmp_path
):
    def turned(cells):
        for cell in cells:
            if notebooks._name(cell) == "setup":
                cell["cell_type"] = "markdown"
            if notebooks._name(cell) == "picture":
                cell["cell_type"], cell["source"] = "code", "A is right because"
        return cells

    path = submit(solved, tmp_path / "01_softmax.ipynb", change=turned)
    assignment = notebooks.load("01_softmax")
    submission = notebooks.submission(path, assignment)
    assert submission.texts["picture"] == "A is right because"
    assert points(path)["softmax"][0] == 6


def test_without_a_sandbox_nothing_is_graded_unless_told(monkeypatch, tmp_path, solved):
    submit(solved, tmp_path / "01_softmax.ipynb")
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    with pytest.raises(NoSandbox, match="UNSAFE=1"):
        grade.grade(tmp_path, safe=True, jobs=1)
    assert not (tmp_path / "graded").exists()
    process = Process(QUICK, safe=False)
    try:
        assert process.run("x = 1", 5) is None
        assert process.names(["x", "y"], 5) == {"x": {"value": 1}, "y": "missing"}
    finally:
        process.close()


def test_a_sandbox_that_does_not_start_says_why(monkeypatch):
    monkeypatch.setattr(sandbox, "wall", lambda limits: ["sh", "-c", "echo no rights >&2; exit 1"])
    with pytest.raises(NoSandbox, match="no rights"):
        Process(QUICK)


def test_a_folder_is_graded_to_a_table_and_reports_and_again_the_same(solved, tmp_path):
    submit(solved, tmp_path / "ada" / "01_softmax.ipynb")
    submit(solved, tmp_path / "bob" / "hw.ipynb", "def softmax_gradient(p, u):\n    return '<b>'")
    (tmp_path / "eve_01_softmax.ipynb").write_text("{")
    (tmp_path / "notes.ipynb").write_text("{}")
    for cell in solved["cells"]:
        if notebooks._name(cell) == "picture":
            cell["source"] = "<script>alert(1)</script>"
    submit(solved, tmp_path / "cy" / "01_softmax.ipynb")
    (tmp_path / "link.ipynb").symlink_to(notebooks.SOURCES / "01_softmax.ipynb")
    (tmp_path / "folder.ipynb").mkdir()

    def pages():
        return {path.name: path.read_bytes() for path in (tmp_path / "graded").iterdir()}

    graded = [grade.grade(tmp_path, safe=True, jobs=2)]
    first = pages()
    graded.append(grade.grade(tmp_path, safe=True, jobs=2))
    assert [report.total(one) for one in graded[0]] == [report.total(one) for one in graded[1]]
    assert pages() == first
    with (tmp_path / "graded" / "grades.csv").open() as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert {name: row["points"] for name, row in rows.items()} == {
        "ada": "17", "bob": "13", "cy": "17", "eve": "0", "notes": "0",
    }  # fmt: skip
    assert rows["ada"]["open"] == "3" and "none of the assignments" in rows["notes"]["note"]
    page = (tmp_path / "graded" / "cy__01_softmax.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    page = (tmp_path / "graded" / "bob__hw.html").read_text()
    assert "gradient-values: 0 of 3" in page and "cannot use what" in page

    hand = (tmp_path / "graded" / "hand.csv").read_text()
    typed = hand.replace(
        "ada/01_softmax.ipynb,picture,3,,", "ada/01_softmax.ipynb,picture,3,2.5,Good."
    )
    assert typed != hand
    (tmp_path / "graded" / "hand.csv").write_text(typed)
    grade.grade(tmp_path, safe=True, jobs=2)
    with (tmp_path / "graded" / "grades.csv").open() as file:
        (ada,) = [row for row in csv.DictReader(file) if row["student"] == "ada"]
    assert (ada["points"], ada["open"]) == ("19.5", "0")
    assert "Good." in (tmp_path / "graded" / "hand.csv").read_text()
    assert "Good." in (tmp_path / "graded" / "ada__01_softmax.html").read_text()
    (tmp_path / "graded" / "hand.csv").write_text(typed.replace("2.5", "4"))
    with pytest.raises(SystemExit, match="points '4' of 3"):
        grade.grade(tmp_path, safe=True, jobs=2)


def test_what_a_spreadsheet_makes_of_the_table_is_read_and_nothing_typed_is_lost(tmp_path):
    path = tmp_path / "hand.csv"
    path.write_text(
        "\ufeffsubmission;question;of;points;comment\nada/hw.ipynb;picture;3;2,5;Good\n", "utf-8"
    )
    hand = grade.read_hand(path)
    assert hand["ada/hw.ipynb", "picture"]["points"] == "2.5"
    grade.write_hand(path, [], hand)  # this time Ada has handed in nothing
    assert grade.read_hand(path)["ada/hw.ipynb", "picture"]["comment"] == "Good"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(SystemExit, match="no column"):
        grade.read_hand(path)


def test_names_that_are_hard_to_write_stop_nobody(tmp_path):
    odd = grade.Graded("=cmd\udcff/x.ipynb", "", [], name="\ud800", note="n")
    grade.write_grades(tmp_path / "grades.csv", [odd], {})
    report.write(tmp_path, odd, {})
    assert "'=cmd" in (tmp_path / "grades.csv").read_text()
    names = ["ada/hw.ipynb", "ada__hw.ipynb", "x" * 250 + ".ipynb", "x" * 249 + "y.ipynb"]
    pages = {report.page_name(name) for name in names}
    assert len(pages) == 4 and max(map(len, pages)) < 100
    assert grade.Graded("mary-ann_lee.ipynb", "", []).student == "mary-ann_lee"
    assert grade.Graded("-x_01_softmax.ipynb", "01_softmax", []).student == "-x"


def test_no_notebook_and_no_folder_are_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="no notebook"):
        grade.grade(tmp_path, safe=True, jobs=1)
    monkeypatch.setattr("sys.argv", ["grade", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match="is no folder"):
        grade.main()


def test_a_table_holds_no_formula():
    assert grade.plain_cell("=1+1") == "'=1+1" and grade.plain_cell("Ada\nL") == "Ada L"


def test_plain_data_come_back_to_the_bit():
    rng = np.random.default_rng(0)
    there = {
        "numbers": (1, -2.5, float("inf"), 2**70, True, None, "a\u2028b"),
        1: [np.float32(0.1), np.int64(3), rng.normal(size=(2, 0, 3)), rng.normal(size=(2, 3)).T],
        "tensors": [torch.randn(2, 3, dtype=torch.bfloat16), torch.tensor(7), torch.zeros(0, 4)]
        + [torch.ones(3)[:1].expand(1), torch.tensor(2.0).expand(4), torch.randn(3, 4).T],
    }
    back = plain.unpack(json.loads(json.dumps(plain.pack(there))))
    assert back["numbers"] == there["numbers"] and type(back["numbers"]) is tuple
    for mine, yours in zip(there[1], back[1], strict=True):
        assert type(mine) is type(yours) and mine.dtype == yours.dtype
        np.testing.assert_array_equal(mine, yours)
    for mine, yours in zip(there["tensors"], back["tensors"], strict=True):
        assert mine.dtype == yours.dtype and torch.equal(mine, yours)


@pytest.mark.parametrize(
    "odd", [object(), {1, 2}, np.array([object()]), lambda: 0, [torch.nn.ReLU()]]
)
def test_what_is_not_plain_is_refused(odd):
    with pytest.raises(TypeError, match="not plain data"):
        plain.pack(odd)


@pytest.mark.parametrize(
    "forged",
    [
        {"numpy": "O", "shape": [1], "bytes": "AAAAAAAAAAA="},
        {"numpy": "<f8", "shape": [9], "bytes": "AAAAAAAAAAA="},
        {"torch": "no_such", "shape": [], "bytes": ""},
        {"torch": "float32", "shape": [9], "bytes": "AAAAAA=="},
        {"nothing": 1},
        {"tuple": 3},
    ],
)
def test_what_was_never_packed_is_refused(forged):
    with pytest.raises((ValueError, TypeError, KeyError, RuntimeError)):
        plain.unpack(forged)


def test_a_message_names_property_and_input_and_not_the_answer():
    with pytest.raises(AssertionError) as caught:
        checks.close([1.0, 2.0], [1.0, 7.25], "the second is right", np.array([5.0]))
    said = str(caught.value)
    assert "the second is right" in said and "[5.]" in said and "yours is 2.0" in said
    assert "7.25" not in said
    with pytest.raises(AssertionError, match="has shape"):
        checks.close(np.zeros((2, 3)), np.zeros((3, 2)), "as it should be")
    with pytest.raises(AssertionError, match="no array of numbers"):
        checks.close(None, 1.0, "a number comes back")
    with pytest.raises(AssertionError, match="yours returned 3"):
        checks.raises(lambda x: 3, 1, says="refused")


def test_checks_ask_the_same_of_a_function_here_and_behind_the_wall():
    code = textwrap.dedent("""
        import numpy as np
        def cube(x): return x ** 3, 2 * x
        def count(n): return sum(i for i in range(n))
        def spoil(x): x[0] = 9
        def cut(x): return x.detach()
    """)
    names: dict = {}
    exec(code, names)
    student = marking.Student([Cell("", code)], QUICK)
    try:
        behind = student.values(["cube", "count", "spoil", "cut"])
        x = torch.tensor([1.0, 2.0])
        for found in (names, behind):
            (slope,) = checks.gradients(found["cube"], x)
            assert torch.equal(slope, 3 * x**2 + 2)
            assert 5 < checks.steps(found["count"], 200) / checks.steps(found["count"], 20) < 11
            given = np.array([1.0, 2.0])
            assert checks.after(found["spoil"], given)[0].tolist() == [9, 2]
            assert given.tolist() == [1, 2]
            with pytest.raises(TypeError, match="no gradient"):
                checks.gradients(found["cut"], x)
    finally:
        student.close()
