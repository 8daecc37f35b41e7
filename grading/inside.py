"""The far side of the wall: runs a student's cells and calls what they define.

Started by `sandbox` as a program. Reads requests from its input, one line of JSON each, and writes
one line for each to its output. The student's code sees neither: its own input and output are
null. Only this file and `plain` of the project's grader are visible here.

A student may take this process over and send whatever they like. For values that wins nothing:
the grader's tests judge them on the other side. What is counted here (`steps`) could be forged by
someone who studies this file.
"""

import contextlib
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

_get, _set = sys.gettrace, sys.settrace  # before any student's code runs


def confine(memory: int, file: int, processes: int, user: int) -> None:
    """Limit memory (bytes), files (bytes) and processes; if asked to, become another user.

    A fork bomb is stopped by the number of processes, which does not bind root.
    """
    import resource

    limits = {"RLIMIT_AS": memory, "RLIMIT_FSIZE": file, "RLIMIT_CORE": 0, "RLIMIT_NOFILE": 256}
    if sys.platform == "linux":
        limits["RLIMIT_NPROC"] = processes
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    if user:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    if sys.platform == "linux":
        forbid()


def forbid() -> None:
    """Refuse the system calls that lead to memory that is not counted, or to other submissions."""
    import errno

    import pyseccomp

    calls = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for name in (
        "unshare", "setns", "mount", "memfd_create", "memfd_secret", "shmget", "io_uring_setup",
        "add_key", "request_key", "keyctl", "ptrace", "bpf", "perf_event_open", "userfaultfd",
    ):  # fmt: skip
        calls.add_rule(pyseccomp.ERRNO(errno.EPERM), name)
    new_user = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, 0x10000000, 0x10000000)
    calls.add_rule(pyseccomp.ERRNO(errno.EPERM), "clone", new_user)
    calls.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")  # then clone is called
    calls.load()


def serve() -> None:
    """Answer requests until there are no more."""
    import random

    import numpy as np
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def enable_gui(self, gui: str | None = None) -> None:
            """Do nothing: `%matplotlib inline` asks for it."""

    requests, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    shell = Shell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    _plain()  # takes seconds, which no student should pay for
    random.seed(0)
    np.random.seed(0)
    for line in requests:
        request = json.loads(line)
        reply: dict[str, Any] = {"number": request["number"]}
        try:
            if "code" in request:
                done = shell.run_cell(request["code"])
                reply["raised"] = said(done.error_before_exec or done.error_in_exec)
            elif "names" in request:
                reply["found"] = {name: kind(shell.user_ns, name) for name in request["names"]}
            else:
                reply["value"] = answer(shell.user_ns[request["call"]], request)
            text = json.dumps(reply)
        except BaseException as error:  # sys.exit in an answer is a mistake like any other
            known = [one.__name__ for one in (ValueError, TypeError) if isinstance(error, one)]
            reply = {"number": request["number"], "raised": said(error), "kind": [*known, ""][0]}
            text = json.dumps(reply)
        replies.write(text + "\n")
        replies.flush()


def said(error: BaseException | None) -> str | None:
    """Return an error in one line, with the line of the student's code where it arose."""
    if error is None:
        return None
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _cell(frame)]
    lines = [frame.lineno for frame in frames]
    inside = f", in {frames[-1].name}" if frames and frames[-1].name[0] != "<" else ""
    if isinstance(error, SyntaxError) and error.lineno:
        lines, inside = [error.lineno], ""
    place = f" (line {lines[-1]} of the cell{inside})" if lines else ""
    try:
        words = str(error)[:500]
    except Exception:
        words = "(it does not say what)"
    return f"{type(error).__name__}: {words}{place}"


def _cell(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith("<ipython-input") or "ipykernel_" in frame.filename


def kind(names: dict[str, Any], name: str) -> Any:
    """Return what a name stands for: nothing, a function, or its value packed."""
    if name not in names:
        return "missing"
    if callable(names[name]):
        return "function"
    try:
        return {"value": _plain().pack(names[name])}
    except TypeError as error:
        return {"odd": str(error)}


def answer(function: Callable, request: dict[str, Any]) -> Any:
    """Call a function as the request says; return what was asked about the call, packed."""
    plain = _plain()
    args, options = plain.unpack(request["args"]), plain.unpack(request["options"])
    way = {"value": _value, "arguments": _arguments, "gradients": gradients, "steps": steps}
    found = way[request["what"]](function, args, options)
    try:
        return plain.pack(found)
    except TypeError as error:  # not the answer's own: it has not refused anything
        raise RuntimeError(str(error)) from None


def _plain() -> ModuleType:
    """Return the module `plain`, which behind the wall is in no package."""
    return importlib.import_module("grading.plain" if __package__ else "plain")


def _value(function: Callable, args: tuple, options: dict[str, Any]) -> Any:
    return function(*args, **options)


def _arguments(function: Callable, args: tuple, options: dict[str, Any]) -> Any:
    """Return the arguments as they are after the call."""
    function(*args, **options)
    return args, options


def gradients(function: Callable, args: tuple, options: dict[str, Any]) -> Any:
    """Return the gradients of the sum of a result by every floating-point tensor among `args`.

    Of several results, the sum of all. None stands for an argument that it does not depend on.

    Raises:
        TypeError: the result is no tensor, or the way to it was cut.
    """
    import torch

    args = [
        x.requires_grad_() if isinstance(x, torch.Tensor) and x.is_floating_point() else x
        for x in args
    ]
    wanted = [x for x in args if isinstance(x, torch.Tensor) and x.requires_grad]
    results = function(*args, **options)
    parts = results if isinstance(results, (tuple, list)) else (results,)
    total = sum(x.sum() for x in parts if isinstance(x, torch.Tensor) and x.requires_grad)
    if not isinstance(total, torch.Tensor):
        raise TypeError("no gradient flows through the result")
    return list(torch.autograd.grad(total, wanted, allow_unused=True))


def steps(function: Callable, args: tuple, options: dict[str, Any]) -> int:
    """Return how many instructions of Python a call takes; the work inside NumPy is one."""
    count = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = _get()
    _set(trace)
    try:
        function(*args, **options)
        if _get() is not trace:
            raise RuntimeError("it switches the counting off")
    finally:
        _set(before)
    return count


if __name__ == "__main__":
    confine(*map(int, sys.argv[1:]))
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve()
