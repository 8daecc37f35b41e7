"""Scripts that produce the recorded runs in book/results; each prints what it measured."""

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from tutorial_lib.evaluation import Interval
from tutorial_lib.results import Recorder
from tutorial_lib.tables import table

RESULTS = Path(__file__).parents[1] / "book" / "results"
HALF_DONE = Path(__file__).parents[1] / "_build" / "half-done"  # seeds of runs that were stopped


def chosen(module: str, named: list[str], tasks: Collection[str]) -> str | None:
    """Return the one task to run here, or run several one after the other and return None.

    Each gets a process of its own: its peak memory is then its own too. One that fails does not
    keep the others from being run.

    Raises:
        SystemExit: unknown tasks, or some failed.
    """
    if unknown := set(named) - set(tasks):
        raise SystemExit(f"unknown tasks {sorted(unknown)}; there are {', '.join(tasks)}")
    if len(named) == 1:
        return named[0]
    failed = [
        task
        for task in named or tasks
        if subprocess.run([sys.executable, "-m", module, task]).returncode
    ]
    if failed:
        raise SystemExit(f"{len(failed)} failed: {', '.join(failed)}")
    return None


def with_ends(name: str, gap: Interval) -> dict[str, float]:
    """Return a difference and the ends of its interval as metrics, by name."""
    return {name + end: value for end, value in zip(("", ", low", ", high"), gap, strict=True)}


def finish(record: Recorder) -> None:
    """Write the run and print its means and its row of the table."""
    record.write(RESULTS)
    run = record.run()
    print(", ".join(f"{name} {run.mean(name):.4f}" for name in run.metrics))
    print(table([run]), flush=True)
