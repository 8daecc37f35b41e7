"""Makes `.venv`, the project's own environment: once, with every version pinned.

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
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / ".installed"
LOG = ROOT / "_build" / "install.log"
INPUTS = ("pyproject.toml", "requirements.txt", "constraints.txt")
HALF_MADE = "half made"
OLDEST, NEWEST = (3, 11), (3, 13)  # the pinned versions need 3.11; the package ends at 3.13


def ensure():
    """Return the Python of `.venv`, after making or mending it where needed."""
    stamp = STAMP.read_text(encoding="utf-8") if STAMP.exists() else ""
    if stamp == digest() and PYTHON.exists():
        return PYTHON
    started = time.monotonic()
    if stamp == HALF_MADE or not PYTHON.exists():
        shutil.rmtree(VENV, ignore_errors=True)
    uv = shutil.which("uv")
    try:
        fill(uv)
    except InstallFailed as failure:
        if not uv:
            raise
        print(f"{failure}\nuv did not succeed; trying pip", flush=True)
        shutil.rmtree(VENV)
        fill(None)
    STAMP.write_text(digest(), encoding="utf-8")
    print(f"{VENV.name} is ready after {time.monotonic() - started:.0f} s", flush=True)
    return PYTHON


def digest():
    """Return a hash of what decides the environment: the pins and where it lies."""
    found = hashlib.sha256(os.fsencode(ROOT))  # a moved environment does not work
    for name in INPUTS:
        found.update((ROOT / name).read_bytes())
    return found.hexdigest()


def fill(uv):
    """Make `.venv` where there is none, and install the pinned packages into it."""
    new = not PYTHON.exists()
    base = interpreter() if new else None
    VENV.mkdir(exist_ok=True)
    STAMP.write_text(HALF_MADE, encoding="utf-8")
    if new:
        print(f"making {VENV.name} with {base}", flush=True)
        by_uv = [uv, "venv", "--allow-existing", "--python", base]
        run([*(by_uv if uv else [base, "-m", "venv"]), VENV])
    total = len((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    tool = [uv, "pip"] if uv else [PYTHON, "-m", "pip"]
    print(
        f"installing about {total} packages with {'uv' if uv else 'pip'}; "
        f"all it says goes to {LOG.relative_to(ROOT)}",
        flush=True,
    )
    run([*tool, "install", *(["--python", PYTHON] if uv else []), "-r", "requirements.txt"], total)


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
