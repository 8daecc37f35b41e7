"""The commands behind `make`: book, test, serve, zip, pdf, links, assignments, grade, clean.

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
SMOKE = OUT / "smoke"  # the book that the tests look at
CACHE = ".jupyter_cache"  # below them: the outputs of the notebooks
MADE_FROM = "made-from.txt"  # in html/: the hash of everything the pages were made from


def book(out=OUT):
    """Run what must be run, build the pages, check them; leave nothing where that fails."""
    html = out / "html"
    sources = digest("_config.yml", "_toc.yml", "book", "notebooks", "tests", *RUN_INPUTS)
    made_from = html / MADE_FROM
    if made_from.exists() and made_from.read_text() == sources:
        print("nothing has changed since the last build")
    else:
        shutil.rmtree(html, ignore_errors=True)
        run_notebooks(out)
        build_pages(out, sources)
    print(f"\nThe book is ready. Open\n{html / 'index.html'}")


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


def run_notebooks(out):
    """Bring the cache of outputs up to date; end the program where a notebook fails."""
    from book import check, execute

    stamp, now = out / "cache-made-from.txt", digest(*RUN_INPUTS)
    if not stamp.exists() or stamp.read_text() != now:
        stamp.unlink(missing_ok=True)
        shutil.rmtree(out / CACHE, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        stamp.write_text(now)
    notebooks = [path for path in check.sources(ROOT).values() if path.suffix == ".ipynb"]
    failed = execute.execute(notebooks, out / CACHE, out / "executed")
    for path, log in failed.items():
        print(f"\n{path.relative_to(ROOT)} failed:\n{log}")
    if failed:
        sys.exit(f"{len(failed)} of {len(notebooks)} notebooks failed: no page was built")


def build_pages(out, sources):
    """Build into a folder aside and move it into place when it has passed every check."""
    from book import check

    aside, started = out / "aside", time.monotonic()
    print("building the pages", flush=True)
    html = sphinx("html", aside, out)
    faults = check.faults(ROOT, html) if html else ["see the warnings and errors above"]
    if faults:
        shutil.rmtree(aside)
        sys.exit("the pages were not built:\n  " + "\n  ".join(faults))
    (html / MADE_FROM).write_text(sources)
    html.rename(out / "html")
    shutil.rmtree(aside)
    print(f"built the pages in {time.monotonic() - started:.0f} s")


def sphinx(builder, aside, out):
    """Build pages of one kind into a folder, of outputs that are there; None if a warning came."""
    shutil.rmtree(aside, ignore_errors=True)
    program = "from jupyter_book.cli.main import main; main()"
    options = ["build", ".", "--all", "-n", "-W", "--keep-going", "-q", "--builder", builder]
    command = [sys.executable, "-c", program, *options, "--path-output", aside]
    cache = {**os.environ, "BOOK_CACHE": str(out / CACHE)}
    built = subprocess.run(command, cwd=ROOT, env=cache, stdout=subprocess.DEVNULL)
    return None if built.returncode else aside / "_build" / builder


def pdf():
    """Print the whole book into one file."""
    from book import pdf

    pdf.chromium()  # where it is missing, say so before the long work
    book()
    aside, target = OUT / "aside", OUT / "text-classification-book.pdf"
    pages = sphinx("singlehtml", aside, OUT) or sys.exit("the single page was not built")
    # Its links are written for a page at the root.
    page = (pages / "book" / "intro.html").rename(pages / "book.html")
    with pdf.browser() as browser:
        pdf.print_page(page, target, browser)
    shutil.rmtree(aside)
    print(f"and printed, {target.stat().st_size / 2**20:.1f} MB\n{target}")


def links():
    """Ask for every outside address that a page links to; needs the network, so no test does it."""
    book()
    aside = OUT / "aside"
    fine = sphinx("linkcheck", aside, OUT)
    output = aside / "_build" / "linkcheck" / "output.txt"
    print(output.read_text(encoding="utf-8") if output.exists() else "no link was looked at")
    shutil.rmtree(aside)
    sys.exit(not fine)


def test():
    """Check style and spelling, run the unit tests, then the book at smoke scale in a browser."""
    python("ruff", "check", ".")
    python("ruff", "format", "--check", ".")
    python("codespell_lib", ".")
    notebooks = sorted(map(str, (ROOT / "notebooks").rglob("*.ipynb")))
    python("nbstripout", "--verify", "--keep-id", *notebooks)
    environment.nbgrader()  # here, once: the tests run side by side
    python("pytest", "-n", "2", "--ignore=tests/pages", "tests", OMP_NUM_THREADS="1")
    os.environ["TUTORIAL_SCALE"] = "smoke"
    book(SMOKE)
    python("pytest", "-n", "2", "tests/pages", BOOK_HTML=str(SMOKE / "html"))


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
    python("http.server", port, "--bind", "127.0.0.1", "--directory", str(OUT / "html"))


def pack():
    """Build what is not up to date, then put it into one archive."""
    from book import archive

    book()
    target = OUT / "text-classification-book.zip"
    archive.pack(OUT / "html", target)
    print(f"and packed, {target.stat().st_size / 2**20:.1f} MB\n{target}")


def clean():
    """Remove what was built."""
    for folder in (OUT, ROOT / ".pytest_cache", ROOT / ".ruff_cache"):
        shutil.rmtree(folder, ignore_errors=True)


def assignments():
    """Make the students' copies, the solutions and what grading elsewhere needs."""
    python("grading.generate")


def grade():
    """Grade a folder of notebooks, named in DIR."""
    unsafe = ["--unsafe"] if os.environ.get("UNSAFE") == "1" else []
    python("grading.grade", os.path.abspath(os.environ["DIR"]), *unsafe)


COMMANDS = {
    "book": book, "test": test, "serve": serve, "zip": pack, "pdf": pdf, "links": links,
    "clean": clean, "assignments": assignments, "grade": grade,
}  # fmt: skip


def main():
    name = sys.argv[1]
    os.chdir(ROOT)
    # An end by a signal runs every `finally`, so that no child outlives us. A shell starts what
    # it runs in the background with Ctrl-C switched off.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if name == "grade" and not os.path.isdir(os.environ.get("DIR", "")):  # before all is set up
        sys.exit("which notebooks? make grade DIR=FOLDER")
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
