"""Runs the notebooks of the book side by side and keeps their outputs in jupyter-cache.

The page build then finds every output there and runs nothing itself. As a program
(`python -m book.execute SOURCE TARGET`) it runs one notebook.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

CELL_LIMIT = 3600  # seconds; a cell that takes longer hangs


def execute(notebooks: list[Path], cache_folder: Path, work: Path) -> dict[Path, str]:
    """Run the notebooks whose outputs are not in the cache yet; return what stopped any."""
    cache = get_cache(cache_folder)
    waiting = [path for path in notebooks if not _cached(cache, path)]
    waiting.reverse()  # late chapters take longest: begun last, they would run on alone
    print(f"{len(waiting)} of {len(notebooks)} notebooks to run", flush=True)
    work.mkdir(parents=True, exist_ok=True)
    cpus = _cpus()
    workers = max(1, min(len(waiting), cpus, 4))
    env = {"OMP_NUM_THREADS": str(max(1, cpus // workers)), **os.environ}
    running: dict[Path, _Run] = {}
    failed = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                path = waiting.pop(0)
                running[path] = _Run(path, work, env)
            time.sleep(0.2)
            _show(" | ".join(run.progress() for run in running.values()))
            for path in [path for path, run in running.items() if run.child.poll() is not None]:
                run = running.pop(path)
                _show("")
                if run.child.returncode:
                    failed[path] = run.failure()
                    print(f"FAILED  {path.name} after {run.seconds():.0f} s", flush=True)
                else:
                    cache.cache_notebook_bundle(run.bundle(), check_validity=False, overwrite=True)
                    print(f"ran     {path.name} in {run.seconds():.0f} s", flush=True)
    finally:
        for run in running.values():
            run.child.terminate()
            run.child.wait()
    return failed


class _Run:
    """One notebook running in a process of its own."""

    def __init__(self, path: Path, work: Path, env: dict[str, str]):
        self.path, self.target = path, work / path.name
        self.log, self.error = self.target.with_suffix(".log"), _error_file(self.target)
        self.error.unlink(missing_ok=True)
        self.started = time.monotonic()
        command = [sys.executable, "-m", "book.execute", path, self.target]
        with self.log.open("w") as log:
            self.child = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        print(f"runs    {path.name}", flush=True)

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def progress(self) -> str:
        last = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
        return f"{self.path.stem} {last[0] if last else 'starts'}"

    def failure(self) -> str:
        file = self.error if self.error.exists() else self.log  # the log, where it was killed
        text = file.read_text(encoding="utf-8", errors="replace")
        return text if sys.stdout.isatty() else re.sub(r"\x1b\[[0-9;]*m", "", text)

    def bundle(self) -> CacheBundleIn:
        executed = nbformat.read(self.target, as_version=4)
        facts = {"execution_seconds": self.seconds()}
        return CacheBundleIn(executed, str(self.path), data=facts)


def _error_file(target: Path) -> Path:
    return target.with_suffix(".error")


def _show(line: str) -> None:
    """Rewrite the line at the bottom of a terminal; elsewhere say nothing."""
    if sys.stdout.isatty():
        print(f"\r\033[K{line[:100]}", end="", flush=True)


def _cached(cache, path: Path) -> bool:
    try:
        cache.match_cache_notebook(nbformat.read(path, as_version=4))
    except KeyError:
        return False
    return True


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: those that this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_one(source: Path, target: Path) -> None:
    """Run one notebook in its own folder; leave the failing cell and its traceback in a file."""
    notebook = nbformat.read(source, as_version=4)
    total = len(notebook.cells)

    def report(cell, cell_index):
        print(f"cell {cell_index + 1} of {total}", flush=True)

    client = NotebookClient(
        notebook,
        timeout=CELL_LIMIT,
        kernel_name="python3",
        record_timing=False,  # it would write into the metadata that the cache compares
        resources={"metadata": {"path": str(source.parent)}},
        on_cell_start=report,
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        _error_file(target).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        sys.exit(1)
    nbformat.write(notebook, target)


if __name__ == "__main__":
    run_one(Path(sys.argv[1]), Path(sys.argv[2]))
