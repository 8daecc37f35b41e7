"""Makes `.venv`, the project's own environment: once, with every version pinned.

Inside it lies a second one, for nbgrader, whose many packages the book does not need.

Standard library only, because it runs before anything is installed, and with no syntax newer
than Python 3.8, so that an old Python gets the message below and not a syntax error.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = ROOT / "_build" / "install.log"
INPUTS = ("pyproject.toml", "requirements.txt", "constraints.txt")
STAMP, HALF_MADE = ".installed", "half made"
OLDEST, NEWEST = (3, 11), (3, 13)  # the pinned versions need 3.11; the package ends at 3.13


def ensure():
    """Return the Python of `.venv`, after making or mending it where needed."""
    return made(VENV, "requirements.txt", INPUTS)


def nbgrader():
    """Return the Python of the environment that has nbgrader, made where needed."""
    wanted = "requirements-nbgrader.txt"
    return made(VENV / "nbgrader", wanted, (wanted,))


def made(venv, wanted, inputs):
    """Return the Python of an environment with the packages that a file names.

    `inputs` are all the files that decide what it holds.
    """
    python, stamp, now = python_of(venv), venv / STAMP, digest(venv, inputs)
    was = stamp.read_text(encoding="utf-8") if stamp.exists() else ""
    if was == now and python.exists():
        return python
    started = time.monotonic()
    if was == HALF_MADE or not python.exists():
        shutil.rmtree(venv, ignore_errors=True)
    uv, total = shutil.which("uv"), max(len(_lines(name)) for name in inputs)
    try:
        fill(venv, wanted, total, uv)
    except InstallFailed as failure:
        if not uv:
            raise
        print(f"{failure}\nuv did not succeed; trying pip", flush=True)
        shutil.rmtree(venv)
        fill(venv, wanted, total, None)
    stamp.write_text(now, encoding="utf-8")
    print(f"{venv.relative_to(ROOT)} is ready after {time.monotonic() - started:.0f} s", flush=True)
    return python


def python_of(venv):
    """Return where an environment has its Python."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def digest(venv, inputs):
    """Return a hash of what decides an environment: the pins and where it lies."""
    found = hashlib.sha256(os.fsencode(venv))  # a moved environment does not work
    for name in inputs:
        found.update((ROOT / name).read_bytes())
    return found.hexdigest()


def _lines(name):
    return (ROOT / name).read_text(encoding="utf-8").splitlines()


def fill(venv, wanted, total, uv):
    """Make an environment where there is none, and install about so many packages into it."""
    python = python_of(venv)
    new = not python.exists()
    base = interpreter() if new else None
    venv.mkdir(exist_ok=True)
    (venv / STAMP).write_text(HALF_MADE, encoding="utf-8")
    if new:
        print(f"making {venv.relative_to(ROOT)} with {base}", flush=True)
        by_uv = [uv, "venv", "--allow-existing", "--python", base]
        run([*(by_uv if uv else [base, "-m", "venv"]), venv])
    tool = [uv, "pip"] if uv else [python, "-m", "pip"]
    print(
        f"installing about {total} packages with {'uv' if uv else 'pip'}; "
        f"all it says goes to {LOG.relative_to(ROOT)}",
        flush=True,
    )
    run([*tool, "install", *(["--python", python] if uv else []), "-r", wanted], total)


def interpreter():
    """Return a Python that suits the pins: this one, else one on the path."""
    this = getattr(sys, "_base_executable", sys.executable)
    newest_first = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    for candidate in [this, *filter(None, map(shutil.which, newest_first))]:
        ask = [candidate, "-c", "import sys; print(*sys.version_info[:2])"]
        answer = subprocess.run(ask, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if answer.returncode == 0 and OLDEST <= tuple(map(int, answer.stdout.split())) <= NEWEST:
            return candidate
    sys.exit(
        "This book needs Python {}.{} to {}.{}; {} is {}.{}, and no other was found.\n"
        "Install one, then say which:  make book PYTHON=/path/to/python3".format(
            *OLDEST, *NEWEST, sys.executable, *sys.version_info[:2]
        )
    )


class InstallFailed(SystemExit):
    """Ends the program with a message."""


def run(command, total=0):
    """Run a command; its output goes to the log, a line now and then to the reader.

    Raises:
        InstallFailed: it did not succeed; the message holds the last lines of its output.
    """
    LOG.parent.mkdir(exist_ok=True)
    command = [str(word) for word in command]
    # uv reads none of pip's settings: hand on those that say where packages are.
    names = ("FIND_LINKS", "INDEX_URL", "EXTRA_INDEX_URL")
    places = {f"UV_{n}": os.environ[f"PIP_{n}"] for n in names if f"PIP_{n}" in os.environ}
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**places, **os.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    found = 0
    try:
        with LOG.open("w", encoding="utf-8") as log:
            for line in child.stdout:
                log.write(line)
                new = line.startswith(("Collecting ", "Processing /"))
                found += new
                if new and found % 20 == 0:
                    print(f"  found {found} of about {total}", flush=True)
                if line.startswith("Installing collected packages"):
                    print("  unpacking them, about a minute", flush=True)
        child.wait()
    except BaseException:
        child.terminate()
        child.wait()
        raise
    if child.returncode:
        last = "".join(LOG.read_text(encoding="utf-8").splitlines(keepends=True)[-25:])
        raise InstallFailed(f"{last}\nfailed: {' '.join(command)}\nThe whole output is in {LOG}")
