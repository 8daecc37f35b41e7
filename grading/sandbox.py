"""A process for a student's code, behind bubblewrap's wall.

It sees the system's programs, this Python with its packages and `tutorial_lib`, all read-only; no
network, no other process, none of the user's files; a scratch folder of its own that is gone
afterwards. Time, memory, processes and what it sends are limited. https://github.com/containers/bubblewrap
"""

import contextlib
import dataclasses
import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "tutorial_lib"
SCRATCH = "/scratch"
MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a submission may use; seconds and bytes.

    Attributes:
        call: seconds for a call of an answer.
        cell: seconds for a cell.
        total: seconds for all cells and calls of a submission.
        memory: of all its processes together; half as much again in address space for each.
        scratch: of its files.
        processes: and threads, at once.
        reply: of a value that it sends.
    """

    call: float = 20
    cell: float = 120
    total: float = 600
    memory: int = 3_000 * MIB
    scratch: int = 256 * MIB
    processes: int = 64
    reply: int = 64 * MIB


class Died(Exception):
    """The process has ended, by itself or because it broke a limit; the message says which."""


class NoSandbox(SystemExit):
    """There is nothing to run a student's code in."""


class Process:
    """A fresh Python behind the wall, which runs cells and calls what they define.

    Args:
        limits: `Limits`.
        safe: behind bubblewrap; otherwise only limits hold, and the code can read and write all
            that you can.

    Raises:
        NoSandbox: bubblewrap is missing, or does not work here.
    """

    def __init__(self, limits: Limits, *, safe: bool = True) -> None:
        self.limits, self.number, self.peak, self.own = limits, 0, 0, None
        program = str(HERE / "inside.py")
        nobody = int(safe and os.getuid() == 0)
        inner = [limits.memory * 3 // 2, limits.scratch, limits.processes, nobody]
        self.child = subprocess.Popen(
            [*(wall(limits) if safe else []), sys.executable, program, *map(str, inner)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=_environment() if safe else {**os.environ, **_environment(), **_home()},
        )  # fmt: skip
        os.set_blocking(self.child.stdout.fileno(), False)
        try:
            self.run("", limits.cell)
        except Died as error:
            said = self.child.stderr.read().decode(errors="replace")[-500:]
            raise NoSandbox(f"the sandbox does not start: {error}\n{said}") from error
        self.own = {process.pid for process in self._tree()}

    def run(self, code: str, limit: float) -> str | None:
        """Run a cell; return what it raised, None where it went well."""
        return self._ask({"code": code}, limit).get("raised")

    def names(self, names: list[str], limit: float) -> dict[str, Any]:
        """Return what each name stands for: "function", "missing", {"value": …}, {"odd": …}."""
        return self._ask({"names": names}, limit)["found"]

    def call(self, name: str, what: str, args: Any, options: Any, limit: float) -> dict[str, Any]:
        """Call a function by its name; the reply has its "value", or what it "raised".

        Args:
            what: about the call is asked: see `inside.answer`.
            args, options: packed.
        """
        return self._ask({"call": name, "what": what, "args": args, "options": options}, limit)

    def _ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        self.number += 1
        line = json.dumps({"number": self.number, **request}) + "\n"
        ends = time.monotonic() + limit
        try:
            self.child.stdin.write(line.encode())
            self.child.stdin.flush()
            while True:
                reply = json.loads(self._line(ends, limit))
                if reply["number"] == self.number:  # others are from what a cell has left running
                    if "code" in request:
                        self._tidy()
                    return reply
        except BrokenPipeError:
            self._end("the process had ended")
        except (ValueError, KeyError, TypeError, RecursionError):
            self._end("the process sent what no reply looks like")

    def _line(self, ends: float, limit: float) -> bytes:
        """Return the next line that the process writes, while the limits hold."""
        out, found = self.child.stdout, bytearray()
        with selectors.DefaultSelector() as ready:
            ready.register(out, selectors.EVENT_READ)
            while not found.endswith(b"\n"):
                if time.monotonic() > ends:
                    self._end(f"not done after {limit:g} seconds")
                if len(found) > self.limits.reply:
                    self._end(f"a value of more than {self.limits.reply // MIB:,} MiB")
                if ready.select(0.1):
                    part = out.read(MIB)
                    if part == b"":
                        self._end("the process ended (by os._exit, or a crash)")
                    found += part or b""
                else:
                    self._weigh()
        return bytes(found)

    def _weigh(self) -> None:
        """Hold the process and its descendants to their memory, counting what they share once."""
        for exact in (False, True):
            total = 0
            for process in self._tree():
                with contextlib.suppress(psutil.Error):
                    total += process.memory_full_info().pss if exact else process.memory_info().rss
            if total <= self.limits.memory:  # the exact figure takes long, and is never larger
                break
        self.peak = max(self.peak, total)
        if total > self.limits.memory:
            self._end(f"more than {self.limits.memory // MIB:,} MiB of memory")

    def _tree(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.child.pid)
            return [top, *top.children(recursive=True)]
        return []

    def _tidy(self) -> None:
        """End what a cell has left running; it may start more of itself meanwhile."""
        ends = time.monotonic() + 5
        while self.own and (
            left := [p for p in self._tree() if p.pid not in self.own and alive(p)]
        ):
            for step in ("suspend", "kill"):
                for process in left:
                    with contextlib.suppress(psutil.Error):
                        getattr(process, step)()
            if time.monotonic() > ends:
                self._end("it started processes without end")
        self._weigh()

    def _end(self, why: str) -> None:
        self.close()
        raise Died(why)

    def close(self) -> None:
        """End the process and all that it started."""
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.child.kill()
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def alive(process: psutil.Process) -> bool:
    """Return whether a process still runs; one that has ended stays listed for a while."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wall(limits: Limits) -> list[str]:
    """Return the command that puts what follows it behind the wall.

    Raises:
        NoSandbox: bubblewrap is not installed.
    """
    program = shutil.which("bwrap")
    if not program:
        raise NoSandbox(
            "Students' code is graded behind bubblewrap, which is not installed here\n"
            "(Debian and Ubuntu: apt install bubblewrap; it needs Linux: elsewhere use a virtual\n"
            "machine). UNSAFE=1 grades without it: only for code that you trust."
        )
    command = [program, "--die-with-parent", "--new-session", "--unshare-net", "--unshare-pid"]
    command += ["--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "sandbox"]
    if os.getuid() == 0:  # then no namespace of users is needed, but the right to become nobody
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user"]
    for path in ("/usr", "/etc/ld.so.cache", "/etc/alternatives"):
        command += ["--ro-bind-try", path, path]
    for name in ("bin", "lib", "lib64", "sbin"):
        path = Path("/", name)
        if path.is_symlink():
            command += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            command += ["--ro-bind", str(path), str(path)]
    shown = dict.fromkeys(
        [*_pythons(), *map(str, (PACKAGE, HERE / "inside.py", HERE / "plain.py"))]
    )
    above = {str(folder): None for path in shown for folder in reversed(Path(path).parents)}
    for folder in above:  # made by hand, they would be closed to all but their owner
        command += ["--perms", "0755", "--dir", folder]
    for path in shown:
        command += ["--ro-bind", path, path]
    size = ["--perms", "1777", "--size", str(limits.scratch), "--tmpfs"]
    command += ["--proc", "/proc", "--dev", "/dev", *size, "/dev/shm", *size, SCRATCH]
    command += [*size, "/tmp", "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", SCRATCH]
    return [*command, "--"]


def _pythons() -> list[str]:
    """Return the folders that this Python and its packages are in, by every name they go by."""
    found = []
    for path in (sys.base_prefix, sys.base_exec_prefix, sys.prefix):
        found += [path, os.path.realpath(path)]
    link = Path(sys.executable)
    while link.is_symlink():  # python, python3, python3.11: each may be a link to elsewhere
        link = link.parent / os.readlink(link)
        found.append(re.sub(r"/bin/[^/]*$", "", str(link)))
    return [path for path in found if not path.startswith("/usr") or path.startswith("/usr/local")]


def _environment() -> dict[str, str]:
    names = {"HOME": SCRATCH, "TMPDIR": SCRATCH, "IPYTHONDIR": f"{SCRATCH}/ipython"}
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    return {
        "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "MPLBACKEND": "agg", "MPLCONFIGDIR": SCRATCH,
        "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "TUTORIAL_OFFLINE": "1",
        "TUTORIAL_SCALE": "smoke", **threads, **names,
    }  # fmt: skip


def _home() -> dict[str, str]:
    """Return what replaces the scratch folder where there is no wall."""
    return {name: os.environ.get(name, "/tmp") for name in ("HOME", "TMPDIR", "MPLCONFIGDIR")}
