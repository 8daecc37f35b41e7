"""The commands behind `make`: book, test, serve, assignments, grade, clean.

It is started by any Python, makes `.venv` where needed and goes on in there; so this file
imports only the standard library at its top.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time

from book import environment
from book.environment import ROOT

OUT = ROOT / "_build"
HTML = OUT / "html"
CACHE = OUT / ".jupyter_cache"  # named in _config.yml too
MADE_FROM = "made-from.txt"  # in HTML: the hash of everything the pages were made from


def book():
    """Run what must be run, build the pages, check them; leave nothing where that fails."""
    sources = digest("_config.yml", "_toc.yml", "book", "notebooks", "tests", *RUN_INPUTS)
    made_from = HTML / MADE_FROM
    if made_from.exists() and made_from.read_text() == sources:
        print("nothing has changed since the last build")
    else:
        shutil.rmtree(HTML, ignore_errors=True)
        run_notebooks()
        build_pages(sources)
    print(f"\nThe book is ready. Open\n{HTML / 'index.html'}")


# What the output of a notebook depends on beside its own code, which is all the cache looks at.
RUN_INPUTS = ("tutorial_lib", "book/results", "requirements.txt", "constraints.txt")


def digest(*names):
    """Return a hash of files, folders, scale, data and Python."""
    found = hashlib.sha256(sys.version.encode())
    for variable in ("TUTORIAL_SCALE", "TUTORIAL_DATA"):
        found.update(f"{variable}={os.environ.get(variable)}\0".encode())
    for top in sorted(set(names)):
        inside = (ROOT / top).rglob("*") if (ROOT / top).is_dir() else [ROOT / top]
        for path in sorted(path for path in inside if path.is_file()):
            if "__pycache__" not in path.parts and ".ipynb_checkpoints" not in path.parts:
                found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()


def run_notebooks():
    """Bring the cache of outputs up to date; end the program where a notebook fails."""
    from book import check, execute

    stamp, now = OUT / "cache-made-from.txt", digest(*RUN_INPUTS)
    if not stamp.exists() or stamp.read_text() != now:
        stamp.unlink(missing_ok=True)
        shutil.rmtree(CACHE, ignore_errors=True)
        OUT.mkdir(exist_ok=True)
        stamp.write_text(now)
    notebooks = [path for path in check.sources(ROOT).values() if path.suffix == ".ipynb"]
    failed = execute.execute(notebooks, CACHE, OUT / "executed")
    for path, log in failed.items():
        print(f"\n{path.relative_to(ROOT)} failed:\n{log}")
    if failed:
        sys.exit(f"{len(failed)} of {len(notebooks)} notebooks failed: no page was built")


def build_pages(sources):
    """Build into a folder aside and move it into place when it has passed every check."""
    from book import check

    aside = OUT / "aside"
    shutil.rmtree(aside, ignore_errors=True)
    started = time.monotonic()
    print("building the pages", flush=True)
    program = "from jupyter_book.cli.main import main; main()"
    options = ["build", ".", "--all", "-n", "-W", "--keep-going", "-q", "--path-output"]
    command = [sys.executable, "-c", program, *options, aside]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL)  # warnings: stderr
    html = aside / "_build" / "html"
    faults = ["see the warnings and errors above"] if built.returncode else check.faults(ROOT, html)
    if faults:
        shutil.rmtree(aside)
        sys.exit("the pages were not built:\n  " + "\n  ".join(faults))
    (html / MADE_FROM).write_text(sources)
    html.rename(HTML)
    shutil.rmtree(aside)
    print(f"built the pages in {time.monotonic() - started:.0f} s")


def test():
    """Check style, then run the unit tests and every notebook at smoke scale."""
    notebooks = sorted(map(str, (ROOT / "notebooks").glob("*.ipynb")))
    python("ruff", "check", ".")
    python("ruff", "format", "--check", ".")
    assignments = sorted(map(str, (ROOT / "notebooks" / "assignments").glob("*.ipynb")))
    if notebooks:
        python("nbstripout", "--verify", "--keep-id", *notebooks, *assignments)
    environment.nbgrader()  # here, once: the tests run side by side
    smoke = {"TUTORIAL_SCALE": "smoke", "OMP_NUM_THREADS": "1"}
    nbmake = ("--nbmake", "--nbmake-kernel=python3", "--nbmake-timeout=300")
    python("pytest", "-n", "2", *nbmake, "tests", *notebooks, **smoke)


def python(module, *arguments, **variables):
    """Run a module of `.venv`; end the program with its status where that is not 0."""
    print(f"{module} …", flush=True)
    command = [sys.executable, "-m", module, *arguments]
    status = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}).returncode
    if status:
        sys.exit(status)


def serve():
    """Build what is not up to date, then serve it on this machine only."""
    book()
    port = os.environ.get("PORT", "8000")
    print(f"or http://127.0.0.1:{port}/ until you press Ctrl-C", flush=True)
    python("http.server", port, "--bind", "127.0.0.1", "--directory", str(HTML))


def clean():
    """Remove what was built."""
    for folder in (OUT, ROOT / ".pytest_cache", ROOT / ".ruff_cache"):
        shutil.rmtree(folder, ignore_errors=True)


def assignments():
    """Make the students' copies, the solutions and what grading elsewhere needs."""
    python("grading.generate")


def grade():
    """Grade a folder of notebooks, named in DIR."""
    folder = os.environ.get("DIR") or sys.exit("which notebooks? make grade DIR=FOLDER")
    unsafe = ["--unsafe"] if os.environ.get("UNSAFE") == "1" else []
    python("grading.grade", os.path.abspath(folder), *unsafe)


COMMANDS = {
    "book": book, "test": test, "serve": serve, "clean": clean,
    "assignments": assignments, "grade": grade,
}  # fmt: skip


def main():
    name = sys.argv[1]
    os.chdir(ROOT)
    # An end by a signal runs every `finally`, so that no child outlives us. A shell starts what
    # it runs in the background with Ctrl-C switched off.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if name != "clean" and sys.argv[2:] != ["inside"]:
        settled = {
            "JUPYTER_PREFER_ENV_PATH": "1",  # a kernel named python3 in the user's home is not ours
            "IPYTHONDIR": str(OUT / "ipython"),  # nor are the user's start-up files
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # a warning of the debugger that nobody uses
        }
        os.environ.update(settled)
        inside = str(environment.ensure())
        os.execv(inside, [inside, "-m", "book.build", name, "inside"])
    COMMANDS[name]()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; run it again to go on")
