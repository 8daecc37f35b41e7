"""Recorded runs: one JSON file a run, checked against a schema on write and on read.

The book's tables and figures about trained models are rendered from these files and from
nothing else. A benchmark records a run like this:

    recorder = Recorder(task="nbsvm-mr", model="NB-SVM", ...)
    for seed in range(5):
        with recorder.measure(seed) as run:
            ...                                     # train and predict
            run.score(truth, predicted, classes)
    recorder.write(folder)
"""

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tutorial_lib import __version__, atomic, evaluation, runtime
from tutorial_lib.data.provenance import Provenance

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "datasets", "accelerate")

_NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 1}
_SECONDS = {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 1}
_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 0}
_FIELDS = {
    "task": {"type": "string", "pattern": "^[a-z0-9-]+\\Z"},
    "model": _TEXT,
    "command": _TEXT,
    "protocol": _TEXT,
    "data": {
        "type": "object",
        "required": [field.name for field in dataclasses.fields(Provenance)],
        "properties": {
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}\\Z"},
            "rows": {"type": "object", "additionalProperties": _COUNT},
            **{key: {"type": "string"} for key in ("name", "title", "partial", "stands_in_for")},
        },
    },
    "classes": {"type": "array", "items": _TEXT},
    "hyperparameters": {"type": "object"},
    "folds": {"type": "boolean"},
    "parameters": {"type": "integer", "minimum": 1},
    "seeds": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": True},
    "metrics": {"type": "object", "minProperties": 1, "additionalProperties": _NUMBERS},
    "confusion": {
        "type": "array",
        "items": {"type": "array", "items": {"type": "array", "items": _COUNT}},
    },
    "wall_seconds": _SECONDS,
    "cpu_seconds": _SECONDS,
    "peak_memory_mb": {"type": "number", "exclusiveMinimum": 0},
    "environment": {"type": "object", "required": ["device", "device_name", "precision"]},
    "versions": {"type": "object", "required": ["python", "torch"]},
    "commit": _TEXT,
}
SCHEMA = {
    "type": "object",
    "properties": _FIELDS,
    "required": list(_FIELDS),
    "additionalProperties": False,
}


@dataclasses.dataclass(frozen=True)
class Run:
    """What was run, on what, with what result; lists hold one entry a seed (or fold).

    Attributes:
        task: short name, also the file's: letters, digits and hyphens.
        model: name for people.
        command: the command that repeats the run.
        protocol: how it was scored, such as "official test set" or "ten-fold".
        folds: whether each entry was scored on texts of its own (folds), or all on the same.
        data: `Provenance` as a dictionary: rows, hash, partial or not.
        classes: class names in the order of `confusion`; empty where there are no classes.
        hyperparameters: every setting that was chosen.
        parameters: number of trained numbers.
        seeds: one a repetition.
        metrics: metric name to one value a seed.
        confusion: one confusion matrix a seed, true class in rows; empty without classes.
        wall_seconds, cpu_seconds: cost of each seed, all of it (features, training, scoring).
        peak_memory_mb: largest memory of the process (of the GPU, where one was used), so give
            each run a process of its own.
        environment: `runtime.environment()`.
        versions: Python and packages.
        commit: of the code when the run began; ends in "+changes" where files had changed.
    """

    task: str
    model: str
    command: str
    protocol: str
    folds: bool
    data: dict[str, Any]
    classes: list[str]
    hyperparameters: dict[str, Any]
    parameters: int
    seeds: list[int]
    metrics: dict[str, list[float]]
    confusion: list[list[list[int]]]
    wall_seconds: list[float]
    cpu_seconds: list[float]
    peak_memory_mb: float
    environment: dict[str, Any]
    versions: dict[str, str]
    commit: str

    def mean(self, metric: str) -> float:
        """Return the metric's mean over the seeds."""
        return statistics.fmean(self.metrics[metric])

    def spread(self, metric: str) -> float:
        """Return the metric's standard deviation over the seeds; 0 for a single one."""
        values = self.metrics[metric]
        return statistics.stdev(values) if len(values) > 1 else 0.0

    def interval(self, metric: evaluation.Metric = evaluation.accuracy) -> evaluation.Interval:
        """Return a metric of all seeds' decisions pooled, with its 95 % bootstrap interval.

        Folds, which do not share texts, are added up. Seeds that share one test set do not
        make it larger, so their counts are averaged.
        """
        cells = np.array(self.confusion, float)
        cells = cells.sum(0) if self.folds else cells.mean(0)
        return evaluation.bootstrap_cells(cells, metric=metric)


class Measured:
    """Collects the scores of one seed; see `Recorder.measure`."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.confusion: list[list[int]] | None = None

    def score(self, truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> None:
        """Record the confusion matrix and every metric of `evaluation.report`."""
        self.metrics.update(evaluation.report(truth, predicted, classes))
        self.confusion = evaluation.confusion_matrix(truth, predicted, len(classes)).tolist()


class Recorder:
    """Measures the repetitions of one experiment and writes them as one `Run`.

    Args: those fields of `Run` that are known beforehand; `data` is a `Provenance`, and
        `precision` is for models that do not train in `runtime.precision()`.

    Raises:
        ValueError: a fact that does not fit the schema; better now than after the run.
    """

    def __init__(
        self,
        *,
        task: str,
        model: str,
        command: str,
        protocol: str,
        data: Provenance,
        classes: Sequence[str] = (),
        hyperparameters: dict[str, Any],
        folds: bool = False,
        precision: str | None = None,
    ) -> None:
        self.environment = runtime.environment()
        if precision:
            self.environment["precision"] = precision
        self.facts = {
            "task": task,
            "model": model,
            "command": command,
            "protocol": protocol,
            "folds": folds,
            "data": dataclasses.asdict(data),
            "classes": list(classes),
            "hyperparameters": hyperparameters,
            "environment": self.environment,
            "versions": _versions(),
            "commit": _commit(),
        }
        _validate(self.facts, {**SCHEMA, "required": list(self.facts)}, task)
        self.parameters = 0
        self.kept: Path | None = None
        self.peak = 0.0
        self.seeds: list[int] = []
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.measured: list[Measured] = []

    @contextlib.contextmanager
    def measure(self, seed: int) -> Iterator[Measured]:
        """Time the block and collect its scores; a block that raises leaves no trace."""
        measured, wall, cpu = Measured(), time.perf_counter(), time.process_time()
        yield measured
        self.wall.append(round(time.perf_counter() - wall, 3))
        self.cpu.append(round(time.process_time() - cpu, 3))
        self.seeds.append(seed)
        self.measured.append(measured)
        if self.kept:
            self.kept.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(self.kept, json.dumps(self._state()))

    def left(self, seeds: Iterable[int], folder: str | os.PathLike) -> list[int]:
        """Return the seeds to measure, less those that an earlier process of the same run has.

        Those stay in the run, asked for or not. Each seed is kept in `folder` when it is measured,
        and forgotten when the run is written. The same run is one with the same facts: settings,
        data, versions, machine and commit; so nothing is taken up where files had changed since the
        commit, or there is none.
        """
        self.kept = Path(folder) / f"{self.facts['task']}.json"
        known = "+" not in self.facts["commit"] and self.facts["commit"] != "unknown"
        if known and self.kept.exists():
            state = json.loads(self.kept.read_text(encoding="utf-8"))
            if state["facts"] == json.loads(json.dumps(self.facts)):
                self.parameters, self.peak = state["parameters"], state["peak"]
                for name in ("seeds", "wall", "cpu"):
                    setattr(self, name, state[name])
                for metrics, confusion in state["measured"]:
                    self.measured.append(one := Measured())
                    one.metrics, one.confusion = metrics, confusion
        return [seed for seed in seeds if seed not in self.seeds]

    def _state(self) -> dict[str, Any]:
        return {
            "facts": self.facts, "parameters": self.parameters, "seeds": self.seeds,
            "wall": self.wall, "cpu": self.cpu, "peak": max(self.peak, runtime.peak_memory_mb()),
            "measured": [(one.metrics, one.confusion) for one in self.measured],
        }  # fmt: skip

    def run(self) -> Run:
        """Return the finished run.

        Raises:
            ValueError: nothing was measured, or the seeds report different metrics.
        """
        names = self.measured[0].metrics if self.measured else []
        if not names or any(set(m.metrics) != set(names) for m in self.measured):
            raise ValueError("every seed must report the same metrics, at least one")
        return Run(
            **self.facts,
            parameters=self.parameters,
            seeds=self.seeds,
            metrics={name: [m.metrics[name] for m in self.measured] for name in names},
            confusion=[m.confusion for m in self.measured if m.confusion is not None],
            wall_seconds=self.wall,
            cpu_seconds=self.cpu,
            peak_memory_mb=max(self.peak, runtime.peak_memory_mb()),
        )

    def write(self, folder: str | os.PathLike) -> Path:
        """Write the run to `folder/task.json` and return that path."""
        path = write(self.run(), folder)
        if self.kept:
            self.kept.unlink(missing_ok=True)
        return path


def write(run: Run, folder: str | os.PathLike) -> Path:
    """Check a run and write it to `folder/task.json`, all of it or nothing.

    Raises:
        ValueError: the run does not fit the schema; a file already there is left as it is.
    """
    record = dataclasses.asdict(run)
    check(record, run.task)
    path = Path(folder) / f"{run.task}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return atomic.write(path, json.dumps(record, indent=1, ensure_ascii=False))


def read(path: str | os.PathLike) -> Run:
    """Read one run.

    Raises:
        ValueError: not JSON, or not a run; the message names the file and the field.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    check(record, str(path))
    return Run(**record)


def read_all(folder: str | os.PathLike) -> list[Run]:
    """Read every run of a folder, by task name.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"no folder of recorded runs at {folder}")
    return [read(path) for path in sorted(Path(folder).glob("*.json"))]


def check(record: Any, name: str) -> None:
    """Raise ValueError unless the record fits the schema and its lists agree with each other."""
    _validate(record, SCHEMA, name)
    seeds, classes = len(record["seeds"]), len(record["classes"])
    lists = {"wall_seconds": record["wall_seconds"], "cpu_seconds": record["cpu_seconds"]}
    lists |= {f"metrics.{key}": value for key, value in record["metrics"].items()}
    lists |= {"confusion": record["confusion"]} if classes else {}
    for field, values in lists.items():
        if len(values) != seeds:
            raise ValueError(f"{name}: {field} has {len(values)} entries, not one a seed")
    for k, rows in enumerate(record["confusion"]):
        if [len(row) for row in rows] != [classes] * classes or not any(map(any, rows)):
            raise ValueError(
                f"{name}: confusion {k} is not a table of {classes} x {classes} counts"
            )
        accuracy = record["metrics"].get("accuracy", [None] * seeds)[k]
        if accuracy is not None and abs(evaluation.accuracy(np.array(rows)) - accuracy) > 1e-9:
            raise ValueError(f"{name}: accuracy {accuracy} is not that of confusion {k}")


def _validate(record: Any, schema: dict[str, Any], name: str) -> None:
    import jsonschema

    try:
        json.dumps(record, allow_nan=False)
        jsonschema.validate(record, schema)
    except jsonschema.ValidationError as error:
        raise ValueError(f"{name}: {error.json_path}: {error.message}") from error
    except (TypeError, ValueError) as error:  # not JSON: NaN, infinity, a NumPy number, a path
        raise ValueError(f"{name}: {error}") from error


def _versions() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": sys.version.split()[0], "tutorial-lib": __version__, **versions}


def _commit() -> str:
    """Return the commit of the code that runs, or "unknown" outside a git checkout."""

    def git(*words: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(
            ["git", *words], cwd=here, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)  # the checkout must be ours
        changes = git("status", "--porcelain", "--", "..", ":!../book/results")
        return git("rev-parse", "HEAD") + ("+changes" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
