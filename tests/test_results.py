"""Recorded runs survive a round trip, and nothing that does not fit gets in or out."""

import dataclasses
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tutorial_lib import evaluation, results, tables
from tutorial_lib.data.provenance import Provenance

DATA = Provenance("toy", "A toy set", "embedded", {"test": 100}, "0" * 64)


def recorder(**changes):
    facts = dict(
        task="toy-run", model="Toy", command="python toy.py", protocol="official test set",
        folds=False, data=DATA, classes=["no", "yes"], hyperparameters={"alpha": 1.0},
    )  # fmt: skip
    return results.Recorder(**{**facts, **changes})


def finished(rights=(80, 90, 70), **changes):
    record = recorder(**changes)
    record.parameters = 7
    truth = np.arange(100) % 2
    for seed, right in enumerate(rights):
        with record.measure(seed) as run:
            run.score(truth, np.where(np.arange(100) < right, truth, 1 - truth), ["no", "yes"])
    return record


def full(path, *_, **__):
    """A write to a disk with room for one more character."""
    with open(path, "w") as file:
        file.write("{")
    raise OSError(28, "No space left on device")


def test_a_run_survives_the_round_trip(tmp_path):
    written = finished().run()
    assert results.read(results.write(written, tmp_path)) == written
    assert results.read_all(tmp_path) == [written]


def test_mean_spread_and_interval_are_those_of_the_predictions():
    run = finished().run()
    assert run.metrics["accuracy"] == [0.8, 0.9, 0.7]
    assert run.mean("accuracy") == pytest.approx(0.8)
    assert run.spread("accuracy") == pytest.approx(np.std([0.8, 0.9, 0.7], ddof=1))
    # 100 test texts, whatever the number of seeds: half-width 1.96 sqrt(.8 .2 / 100) = 0.078
    _, low, high = run.interval()
    assert (low, high) == pytest.approx((0.722, 0.878), abs=0.011)
    # as folds the 300 texts are different ones
    _, low, high = finished(folds=True).run().interval()
    assert (low, high) == pytest.approx((0.755, 0.845), abs=0.011)


def test_measure_times_the_block_and_forgets_one_that_fails():
    record = recorder()
    with record.measure(0) as run:
        time.sleep(0.05)
        run.metrics["accuracy"] = 1.0
    with pytest.raises(KeyError), record.measure(1):
        raise KeyError
    assert record.seeds == [0] and record.wall[0] >= 0.05 > record.cpu[0]


def test_a_model_with_a_precision_of_its_own_says_so():
    assert finished(precision="float64").run().environment["precision"] == "float64"


@pytest.mark.parametrize("commit", ["0" * 40 + "+changes", "unknown"])
def test_seeds_of_code_that_nobody_knows_are_not_taken_up(tmp_path, monkeypatch, commit):
    monkeypatch.setattr(results, "_commit", lambda: commit)
    for _ in range(2):
        record = recorder()
        assert record.left(range(2), tmp_path) == [0, 1]
        with record.measure(0) as run:
            run.score(np.arange(4) % 2, np.arange(4) % 2, ["no", "yes"])
        assert list(tmp_path.iterdir())


def test_a_stopped_run_goes_on_with_the_seeds_that_are_left(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "_commit", lambda: "0" * 40)
    truth = np.arange(100) % 2

    def measured(record, seed):
        with record.measure(seed) as run:
            right = np.arange(100) < 80 + seed
            run.score(truth, np.where(right, truth, 1 - truth), ["no", "yes"])
            record.parameters = 7

    whole, first = recorder(), recorder()
    for seed in range(3):
        measured(whole, seed)
    assert first.left(range(3), tmp_path) == [0, 1, 2]
    measured(first, 0)
    measured(first, 1)
    other = recorder(hyperparameters={"alpha": 2.0})
    assert other.left(range(3), tmp_path) == [0, 1, 2]  # not the same run
    second = recorder()
    assert second.left(range(3), tmp_path) == [2]
    measured(second, 2)
    times = {"wall_seconds": [0.0] * 3, "cpu_seconds": [0.0] * 3, "peak_memory_mb": 1.0}
    assert dataclasses.replace(second.run(), **times) == dataclasses.replace(whole.run(), **times)
    assert second.run().wall_seconds[:2] == first.wall
    second.write(tmp_path / "out")
    assert recorder().left(range(3), tmp_path) == [0, 1, 2]  # it is written: begin anew


def test_the_memory_of_the_seeds_before_a_stop_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "_commit", lambda: "0" * 40)
    for peak in (5000.0, 3000.0):
        monkeypatch.setattr(results.runtime, "peak_memory_mb", lambda peak=peak: peak)
        record = recorder()
        with record.measure(record.left(range(2), tmp_path)[0]) as run:
            run.metrics["accuracy"] = 1.0
    assert record.seeds == [0, 1] and record.run().peak_memory_mb == 5000.0


def test_seeds_are_forgotten_only_when_the_run_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "_commit", lambda: "0" * 40)
    record = recorder()
    record.left([0], tmp_path)
    with record.measure(0) as run:
        run.metrics["accuracy"] = 1.0
    with pytest.raises(ValueError, match="parameters"):  # they were not counted
        record.write(tmp_path / "out")
    assert recorder().left([0], tmp_path) == []


def test_a_full_disk_leaves_the_seeds_before(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "_commit", lambda: "0" * 40)
    record = recorder()
    record.left(range(2), tmp_path)
    with record.measure(0) as run:
        run.metrics["accuracy"] = 1.0
    for name in ("write_bytes", "write_text"):
        monkeypatch.setattr(Path, name, full)
    with pytest.raises(OSError, match="No space"), record.measure(1) as run:
        run.metrics["accuracy"] = 1.0
    assert recorder().left(range(2), tmp_path) == [1]


def test_seeds_that_report_different_metrics_are_refused():
    record = recorder()
    for seed, name in enumerate(["accuracy", "f1"]):
        with record.measure(seed) as run:
            run.metrics[name] = 1.0
    with pytest.raises(ValueError, match="same metrics"):
        record.run()
    with pytest.raises(ValueError, match="same metrics"):
        recorder().run()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "No Spaces!"}, "task"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1, 2]}, "seeds"),
        ({"metrics": {}}, "metrics"),
        ({"metrics": {"accuracy": [0.5]}}, "one a seed"),
        ({"metrics": {"f1": [0.5, float("nan"), 0.5]}}, "not JSON compliant"),
        ({"metrics": {"accuracy": [0.8, 0.9, 0.6]}}, "not that of confusion 2"),
        ({"confusion": [[[80]]] * 3}, "not a table of 2 x 2"),
        ({"wall_seconds": [1.0, 1.0, -1.0]}, "wall_seconds"),
        ({"parameters": 0}, "parameters"),
        ({"hyperparameters": {"lr": float("inf")}}, "not JSON compliant"),
        ({"confusion": []}, "one a seed"),
        ({"peak_memory_mb": 0.0}, "peak_memory_mb"),
        ({"data": {"name": "toy"}}, "required"),
    ],
)
def test_what_does_not_fit_is_neither_written_nor_read(tmp_path, change, message):
    good = finished().run()
    path = results.write(good, tmp_path)
    bad = {**dataclasses.asdict(good), **change}
    with pytest.raises(ValueError, match=message):
        results.write(dataclasses.replace(good, **change), tmp_path)
    assert results.read(path) == good and len(list(tmp_path.iterdir())) == 1
    path.write_text(json.dumps(bad), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        results.read(path)


def test_an_unknown_field_and_a_broken_file_are_named(tmp_path):
    path = results.write(finished().run(), tmp_path)
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, "accuracy": 0.9}), encoding="utf-8")
    with pytest.raises(ValueError, match="accuracy"):
        results.read(path)
    path.write_text(json.dumps({**record, "wall_seconds": ["1", "1", "1"]}), encoding="utf-8")
    with pytest.raises(ValueError, match="not of type 'number'"):
        results.read(path)
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(ValueError, match="toy-run.json is not JSON"):
        results.read_all(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        results.read_all(tmp_path / "nowhere")


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    good = finished().run()
    path = results.write(good, tmp_path)
    for name in ("write_bytes", "write_text"):
        monkeypatch.setattr(Path, name, full)
    with pytest.raises(OSError, match="No space"):
        results.write(good, tmp_path)
    assert results.read(path) == good and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "change",
    [{"task": "Bad Task!"}, {"hyperparameters": {"path": Path()}}, {"model": ""}],
)
def test_facts_that_do_not_fit_are_refused_before_anything_is_measured(change):
    with pytest.raises(ValueError, match="toy-run|Bad Task!"):
        recorder(**change)


def test_the_interval_is_that_of_the_metric_asked_for():
    run = finished((60, 60, 60)).run()
    assert run.interval(evaluation.macro_f1).value == pytest.approx(run.mean("macro_f1"))


def test_the_commit_is_the_codes_own_and_tells_of_changes(tmp_path, monkeypatch):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        command = ["git", *who, *words]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    code, result = tmp_path / "package" / "results.py", tmp_path / "book" / "results" / "a.json"
    for path in (code, result):
        path.parent.mkdir(parents=True)
        path.write_text("x = 1")
    monkeypatch.setattr(results, "__file__", str(code))
    assert results._commit() == "unknown"
    git("init", "-q")
    assert results._commit() == "unknown"  # a checkout, but the code is not in it
    git("add", ".")
    git("commit", "-qm", "first")
    assert results._commit() == git("rev-parse", "HEAD")
    code.write_text("x = 2")
    assert results._commit() == git("rev-parse", "HEAD") + "+changes"
    git("checkout", ".")
    result.write_text("2")
    result.with_name("b.json").write_text("3")
    assert results._commit() == git("rev-parse", "HEAD")  # a benchmark's results are no changes
    (tmp_path / "benchmark.py").write_text("x = 1")
    assert results._commit() == git("rev-parse", "HEAD") + "+changes"


def test_the_table_puts_the_best_first_and_marks_partial_data():
    partial = dataclasses.replace(DATA, name="half", partial="50 of 100 rows")
    low = finished((60, 60, 60), model="Low", data=partial).run()
    rows = tables.table([low, finished(model="High").run()]).splitlines()[2:]
    assert rows[0].startswith(
        '| <a href="#run-toy-run">High</a> | toy | official test set | 80.0\u00a0±\u00a010.0 (3) |'
    )
    assert rows[1].startswith('| <a href="#run-toy-run">Low</a> | half (partial) | official')


def test_side_by_side_has_a_column_a_model():
    rows = tables.side_by_side([finished().run(), finished((50,), model="Other").run()], "recall")
    head, _, *body = rows.splitlines()
    assert head == "| recall | Toy | Other |"
    assert body[0] == "| [no] | 80.0\u00a0±\u00a010.0 | 50.0\u00a0±\u00a00.0 |" and len(body) == 2


def test_the_details_name_every_metric_the_settings_and_the_command():
    text = tables.details(finished().run())
    assert "| accuracy | 0.8000 | 0.1000 | 0.7000 | 0.9000 |" in text
    for part in ("| recall[yes] |", "`python toy.py`", "alpha = 1.0", "test 100", "0, 1, 2"):
        assert part in text


def test_the_files_of_the_book_are_valid():
    runs = results.read_all(Path(__file__).parents[1] / "book" / "results")
    assert len({run.task for run in runs}) == len(runs)


def made_of(model, **metrics):
    record = recorder(model=model, classes=())
    for seed in range(2):
        with record.measure(seed) as measured:
            measured.metrics = {name: values[seed] for name, values in metrics.items()}
    record.parameters = 1
    return record.run()


def test_bounds_stand_in_order_with_a_dash_where_there_is_no_code():
    words = made_of("words alone", loss=[3.0, 3.2], perplexity=[20.0, 22.0])
    code = made_of("with code", loss=[2.0, 2.0], perplexity=[9.0, 9.0], kl=[1.0, 2.0])
    head, _, first, second = tables.bounds([words, code]).splitlines()
    place = head.split(" | ").index("KL")
    assert first.startswith("| with code | 1 | 2.00\u00a0±\u00a00.00 |")
    assert first.split(" | ")[place] == "1.50\u00a0±\u00a00.71"
    assert second.startswith("| words alone | 1 | 3.10\u00a0±\u00a00.14 |")
    assert second.split(" | ")[place] == "—"


def test_accuracies_by_labels_have_a_row_a_method_and_their_differences():
    run = made_of("all", **{
        "code, 20 labels": [0.5, 0.6], "code, 2000 labels": [0.7, 0.7],
        "counts, 2000 labels": [0.9, 0.9],
        "20 labels: code minus counts": [0.1, 0.3],
        "20 labels: code minus counts, low": [0.0, 0.2],
        "20 labels: code minus counts, high": [0.2, 0.4],
    })  # fmt: skip
    lines = tables.by_labels(run).splitlines()
    assert lines[0] == "| accuracy with so many labels | 20 | 2,000 |"
    assert lines[2] == "| code | 55.0\u00a0±\u00a07.1 | 70.0\u00a0±\u00a00.0 |"
    assert lines[3] == "| counts | — | 90.0\u00a0±\u00a00.0 |"
    assert lines[-1] == "| 20 labels: code minus counts | +20.0 | +10.0 | +30.0 |"


def test_speeds_have_a_row_for_each_thing_timed_and_both_accuracies():
    run = made_of("ours against theirs", **{
        "step, times as fast, float32": [1.0, 1.1], "epoch, times as fast": [3.0, 5.0],
        "seconds an epoch, ours": [1.0, 1.0],
        "test accuracy, ours": [0.8, 0.8], "test accuracy, theirs": [0.7, 0.8],
    })  # fmt: skip
    _, _, step, epoch = tables.speeds([run]).splitlines()
    assert "| a training step, float32 | 1.05 (1.00 – 1.10) | — |" in step
    assert (
        "| a training epoch | 4.00 (3.00 – 5.00) | 80.0\u00a0±\u00a00.0, 75.0\u00a0±\u00a07.1 |"
        in epoch
    )


def test_an_ablation_shows_each_change_and_its_difference_seed_by_seed():
    record = finished()  # 80, 90 and 70 % right
    for measured, accuracy in zip(record.measured, (0.81, 0.93, 0.72), strict=True):
        measured.metrics[tables.CHANGED + "more words"] = accuracy
    head, _, base, changed = tables.ablation(record.run()).splitlines()
    assert head == "| Toy | accuracy | difference |"
    assert base == "| the recipe as it is | 80.0\u00a0±\u00a010.0 |  |"
    assert changed == "| more words | 82.0\u00a0±\u00a010.5 | +2.0\u00a0±\u00a01.0 |"
