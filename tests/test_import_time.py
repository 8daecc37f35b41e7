"""The package adds little to the time that torch itself takes to import."""

import pkgutil
import resource
import subprocess
import sys

import tutorial_lib

LIMIT = 1.3
ROUNDS = 5


def names() -> list[str]:
    walk = pkgutil.walk_packages(tutorial_lib.__path__, "tutorial_lib.")
    return ["tutorial_lib", *(module.name for module in walk)]


def seconds(program: str) -> float:
    """Return the processor time of a program: a clock would count what else the machine does."""
    used = [resource.getrusage(resource.RUSAGE_CHILDREN)]
    subprocess.run([sys.executable, "-c", program], check=True)
    used.append(resource.getrusage(resource.RUSAGE_CHILDREN))
    before, after = (u.ru_utime + u.ru_stime for u in used)
    return after - before


def test_every_module_together_takes_at_most_1_3_times_torch():
    package, torch = f"import {', '.join(names())}", "import torch"
    seconds(package)  # bring all files into memory
    # Alternating, and the least of several, so that what disturbs disturbs both alike.
    pairs = [(seconds(package), seconds(torch)) for _ in range(ROUNDS)]
    least_package, least_torch = map(min, zip(*pairs, strict=True))
    print(f"package {least_package:.2f} s, torch {least_torch:.2f} s")
    assert least_package <= LIMIT * least_torch


def test_no_heavy_library_is_imported():
    heavy = "datasets pyarrow pandas sklearn scipy matplotlib accelerate pooch requests jsonschema"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys, {', '.join(names())}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not set(heavy.split()) & set(found)
