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
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tutorial_lib import evaluation, runtime
from tutorial_lib.data.provenance import Provenance

PACKAGES = ("tutorial-lib", "torch", "numpy", "scipy", "scikit-learn", "datasets", "accelerate")

_NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 1}
_TEXT = {"type": "string", "minLength": 1}
_FIELDS = {
    "task": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]*$"},
    "model": _TEXT,
    "command": _TEXT,
    "protocol": _TEXT,
    "data": {
        "type": "object",
        "required": [field.name for field in dataclasses.fields(Provenance)],
        "properties": {"sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
    },
    "classes": {"type": "array", "items": _TEXT},
    "hyperparameters": {"type": "object"},
    "parameters": {"type": "integer", "minimum": 0},
    "seeds": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": True},
    "metrics": {"type": "object", "minProperties": 1, "additionalProperties": _NUMBERS},
    "confusion": {"type": "array"},
    "wall_seconds": _NUMBERS,
    "cpu_seconds": _NUMBERS,
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
        data: `Provenance` as a dictionary: rows, hash, partial or not.
        classes: class names in the order of `confusion`; empty where there are no classes.
        hyperparameters: every setting that was chosen.
        parameters: number of trained numbers.
        seeds: one a repetition.
        metrics: metric name to one value a seed.
        confusion: one confusion matrix a seed, true class in rows; empty without classes.
        wall_seconds, cpu_seconds: cost of each seed, all of it (features, training, scoring).
        peak_memory_mb: largest memory of the process (of the GPU, where one was used).
        environment: `runtime.environment()`.
        versions: Python and packages.
        commit: of the code; ends in "+changes" when the working tree had changes.
    """

    task: str
    model: str
    command: str
    protocol: str
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

        Seeds that share one test set do not make it larger, so the counts are averaged over
        them; folds, which do not share texts, are added up.
        """
        cells = np.array(self.confusion).sum(0)
        if "fold" not in self.protocol:
            cells = np.rint(cells / len(self.seeds)).astype(int)
        truth, predicted = (
            np.repeat(axis.ravel(), cells.ravel()) for axis in np.indices(cells.shape)
        )
        return evaluation.bootstrap(truth, predicted, len(self.classes), metric=metric)


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
            "data": dataclasses.asdict(data),
            "classes": list(classes),
            "hyperparameters": hyperparameters,
        }
        self.parameters = 0
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

    def run(self) -> Run:
        """Return the finished run.

        Raises:
            ValueError: nothing was measured, or the seeds report different metrics.
        """
        names = {tuple(m.metrics) for m in self.measured}
        if len(names) != 1:
            raise ValueError(f"every seed must report the same metrics; got {sorted(names)}")
        return Run(
            **self.facts,
            parameters=self.parameters,
            seeds=self.seeds,
            metrics={name: [m.metrics[name] for m in self.measured] for name in names.pop()},
            confusion=[m.confusion for m in self.measured if m.confusion is not None],
            wall_seconds=self.wall,
            cpu_seconds=self.cpu,
            peak_memory_mb=runtime.peak_memory_mb(),
            environment=self.environment,
            versions=_versions(),
            commit=_commit(),
        )

    def write(self, folder: str | os.PathLike) -> Path:
        """Write the run to `folder/task.json` and return that path."""
        return write(self.run(), folder)


def write(run: Run, folder: str | os.PathLike) -> Path:
    """Check a run and write it to `folder/task.json`, all of it or nothing.

    Raises:
        ValueError: the run does not fit the schema; a file already there is left as it is.
    """
    record = dataclasses.asdict(run)
    check(record, run.task)
    path = Path(folder) / f"{run.task}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as part:
        try:
            json.dump(record, part, indent=1, ensure_ascii=False)
            part.close()
            os.replace(part.name, path)
        except BaseException:
            os.unlink(part.name)
            raise
    return path


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
    """Raise ValueError unless the record fits the schema and its lists agree with its seeds."""
    import jsonschema

    try:
        jsonschema.validate(record, SCHEMA)
    except jsonschema.ValidationError as error:
        raise ValueError(f"{name}: {error.json_path}: {error.message}") from error
    lists = {"wall_seconds": record["wall_seconds"], "cpu_seconds": record["cpu_seconds"]}
    lists.update({f"metrics.{key}": value for key, value in record["metrics"].items()})
    if record["classes"]:
        lists["confusion"] = record["confusion"]
    for field, values in lists.items():
        if len(values) != len(record["seeds"]):
            raise ValueError(f"{name}: {field} has {len(values)} entries, not one a seed")
        if field != "confusion" and not np.isfinite(values).all():
            raise ValueError(f"{name}: {field} holds a number that is not finite: {values}")


def table(runs: Sequence[Run], metric: str = "accuracy") -> str:
    """Return the runs that report a metric as a Markdown table, the best first.

    The number is the mean over seeds or folds, then their standard deviation; the interval is
    the 95 % bootstrap over the test texts.
    """
    lines = [
        f"| model | data | scored on | {metric} | 95 % interval | parameters | seconds | MB |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for run in sorted((r for r in runs if metric in r.metrics), key=lambda r: -r.mean(metric)):
        value = f"{100 * run.mean(metric):.1f} ± {100 * run.spread(metric):.1f} ({len(run.seeds)})"
        interval = "—"
        if metric == "accuracy" and run.classes:
            _, low, high = run.interval()
            interval = f"{100 * low:.1f} – {100 * high:.1f}"
        partial = " (partial)" if run.data["partial"] else ""
        lines.append(
            f"| {run.model} | {run.data['name']}{partial} | {run.protocol} | {value} | {interval} "
            f"| {run.parameters:,} | {statistics.fmean(run.wall_seconds):.1f} "
            f"| {run.peak_memory_mb:,.0f} |"
        )
    return "\n".join(lines)


def details(run: Run) -> str:
    """Return everything else about a run as Markdown: every metric, settings, data, machine."""
    lines = ["| metric | mean | standard deviation | lowest | highest |", "|---|--:|--:|--:|--:|"]
    for name, values in run.metrics.items():
        row = (run.mean(name), run.spread(name), min(values), max(values))
        lines.append(f"| {name} | " + " | ".join(f"{number:.4f}" for number in row) + " |")
    settings = ", ".join(f"{name} = {value}" for name, value in run.hyperparameters.items())
    rows = ", ".join(f"{name} {count:,}" for name, count in run.data["rows"].items())
    partial = f" Partial: {run.data['partial']}." if run.data["partial"] else ""
    machine = run.environment
    return "\n".join(
        [
            *lines,
            "",
            f"- Repeat it: `{run.command}` at commit `{run.commit}`",
            f"- Data: {run.data['title']}; rows: {rows}.{partial}",
            f"- Settings: {settings}",
            f"- Seeds or folds: {', '.join(map(str, run.seeds))}",
            f"- Machine: {machine['device']} ({machine['device_name']}), "
            f"precision {machine['precision']}; Python {run.versions['python']}, "
            f"torch {run.versions['torch']}",
        ]
    )


def _versions() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": sys.version.split()[0], **versions}


def _commit() -> str:
    """Return the commit of the code that runs, or "unknown" outside a git checkout."""

    def git(*words: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(
            ["git", *words], cwd=here, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        changes = git("status", "--porcelain", "--", "..", ":!../book/results")
        return git("rev-parse", "HEAD") + ("+changes" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
