"""A process for a student's code, behind bubblewrap's wall.

It sees the system's programs, this Python with its packages and `tutorial_lib`, all read-only; no
network, no other process, none of the user's files; a scratch folder of its own that is gone
afterwards. Time, memory, processes and what it sends are limited. https://github.com/containers/bubblewrap
"""

import contextlib
import dataclasses
import json
import os
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
MOST_PARTS = 1_000_000  # of a value that is sent; each takes some 250 bytes when it is read


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
        self.unsent, self.found, self.weighed = b"", b"", time.monotonic()
        program = str(HERE / "inside.py")
        # Limits of processes are counted by user: each grader has one of its own to become.
        nobody = 200_000 + os.getpid() if safe and os.getuid() == 0 else 0
        inner = [limits.memory * 3 // 2, limits.scratch, limits.processes, nobody]
        self.child = subprocess.Popen(
            [*(wall(limits) if safe else []), sys.executable, program, *map(str, inner)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            env=_environment() if safe else {**os.environ, **_environment(), **_home()},
        )  # fmt: skip
        for pipe in (self.child.stdin, self.child.stdout):
            os.set_blocking(pipe.fileno(), False)
        try:
            self.run("", limits.cell)
        except Died as error:
            raise NoSandbox(f"the sandbox does not start: {error}\n{self.said[-500:]}") from error
        self.child.stderr.close()
        self.own = {process.pid for process in self._tree()}

    def run(self, code: str, limit: float) -> str | None:
        """Run a cell; return what it raised, None where it went well."""
        return self._ask({"code": code}, limit).get("raised")

    def names(self, names: list[str], limit: float) -> dict[str, Any]:
        """Return what each name stands for: "function", "missing", {"value": …}, {"odd": …}."""
        found = self._ask({"names": names}, limit).get("found")
        return found if isinstance(found, dict) else {}

    def call(self, name: str, what: str, args: Any, options: Any, limit: float) -> dict[str, Any]:
        """Call a function by its name; the reply has its "value", or what it "raised".

        Args:
            what: about the call is asked: see `inside.answer`.
            args, options: packed.
        """
        return self._ask({"call": name, "what": what, "args": args, "options": options}, limit)

    def _ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        self.number += 1
        self.unsent = (json.dumps({"number": self.number, **request}) + "\n").encode()
        ends = time.monotonic() + limit
        try:
            while True:
                line = self._line(ends, limit)
                if line.count(b"{") + line.count(b"[") > MOST_PARTS:
                    self._end(f"a value of more than {MOST_PARTS:,} parts")
                with contextlib.suppress(ValueError, RecursionError):
                    reply = json.loads(line)
                    if isinstance(reply, dict) and reply.get("number") == self.number:
                        break  # all else is noise, from what a cell has written or left running
        except BrokenPipeError:
            self._end("the process had ended")
        if "code" in request:
            self._tidy()
        return reply

    def _line(self, ends: float, limit: float) -> bytes:
        """Send what is unsent and return the next line that comes, while the limits hold."""
        into, out = self.child.stdin, self.child.stdout
        with selectors.DefaultSelector() as ready:
            ready.register(out, selectors.EVENT_READ)
            if self.unsent:
                ready.register(into, selectors.EVENT_WRITE)
            while b"\n" not in self.found:
                if time.monotonic() > ends:
                    self._end(f"not done after {limit:g} seconds")
                if len(self.found) > self.limits.reply:
                    self._end(f"a value of more than {self.limits.reply // MIB:,} MiB")
                if time.monotonic() > self.weighed + 0.1:
                    self._weigh()
                for key, _ in ready.select(0.1):
                    if key.fileobj is out:
                        part = os.read(out.fileno(), MIB)
                        if not part:
                            self._end("the process ended (by os._exit, or a crash)")
                        self.found += part
                    else:
                        self.unsent = self.unsent[os.write(into.fileno(), self.unsent[:MIB]) :]
                        if not self.unsent:
                            ready.unregister(into)
        line, _, self.found = self.found.partition(b"\n")
        return line

    def _weigh(self) -> None:
        """Hold the process and its descendants to their memory, counting what they share once."""
        self.weighed = time.monotonic()
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
        for process in self._tree()[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(1)  # bubblewrap ends after what it started
        self.child.kill()
        self.child.wait()
        if not self.child.stderr.closed:  # it has not started
            self.said = self.child.stderr.read().decode(errors="replace")
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr):
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
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user"]
    size = ["--perms", "1777", "--size", str(limits.scratch), "--tmpfs"]
    command += [*size, "/tmp", *size, SCRATCH]  # first: this project may lie below /tmp
    command += ["--perms", "0755", "--dir", "/etc"]
    for path in ("/usr", "/etc/ld.so.cache", "/etc/alternatives"):
        command += ["--ro-bind-try", path, path]
    for name in ("bin", "lib", "lib64", "sbin"):
        path = Path("/", name)
        if path.is_symlink():
            command += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            command += ["--ro-bind", str(path), str(path)]
    folders, links = python_places()
    shown = [*folders, *map(str, (PACKAGE, HERE / "inside.py", HERE / "plain.py"))]
    above = {str(folder): None for path in [*shown, *links] for folder in Path(path).parents}
    for folder in sorted(above):  # made by hand, they would be closed to all but their owner
        command += ["--perms", "0755", "--dir", folder]
    for path in shown:
        command += ["--ro-bind", path, path]
    for link, target in links.items():
        command += ["--symlink", target, link]
    command += ["--proc", "/proc", "--dev", "/dev", *size, "/dev/shm"]
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", SCRATCH]
    return [*command, "--"]


def python_places() -> tuple[list[str], dict[str, str]]:
    """Return the folders of this Python and its packages, and the links that lead there.

    A link may lie in the home folder, which must not be shown for its sake.
    """
    prefixes = (sys.base_prefix, sys.base_exec_prefix, sys.prefix)
    found = dict.fromkeys(
        path for prefix in prefixes for path in (prefix, os.path.realpath(prefix))
    )
    folders = [path for path in found if not path.startswith("/usr")]
    links, link = {}, Path(sys.executable)
    while link.is_symlink():  # python, python3, python3.11: each may be a link to elsewhere
        if not any(link.is_relative_to(folder) for folder in (*folders, "/usr")):
            links[str(link)] = os.readlink(link)
        link = Path(os.path.normpath(link.parent / os.readlink(link)))
    return folders, links


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
