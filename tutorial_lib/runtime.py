"""Scale, device, precision, seeds and an environment report.

A notebook asks here how large an experiment to run and on what; the answers depend on the
machine and can be set by the environment variable `TUTORIAL_SCALE`.
"""

import functools
import os
import platform
import random
import sys
from typing import Any, NamedTuple

import numpy as np
import torch

SCALES = ("smoke", "laptop", "full")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


class Scale(NamedTuple):
    """How large an experiment to run; `pick` chooses a value by it."""

    name: str

    def pick(self, *, smoke: Any, laptop: Any, full: Any) -> Any:
        """Return the argument that this scale names."""
        return {"smoke": smoke, "laptop": laptop, "full": full}[self.name]


def scale() -> Scale:
    """Return the scale: `TUTORIAL_SCALE` where set, else `full` with a GPU and `laptop` without.

    Raises:
        ValueError: `TUTORIAL_SCALE` is not one of `SCALES`.
    """
    default = "laptop" if device().type == "cpu" else "full"
    name = os.environ.get("TUTORIAL_SCALE") or default
    if name not in SCALES:
        raise ValueError(f"TUTORIAL_SCALE is {name!r}; set it to one of {', '.join(SCALES)}")
    return Scale(name)


def device() -> torch.device:
    """Return the fastest device here: CUDA, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def precision(on: torch.device | None = None) -> str:
    """Return the precision to train in, in accelerate's words: `bf16`, `fp16` or `no`.

    bfloat16 only where the hardware multiplies in it: CUDA GPUs of compute capability 8 or
    more (`torch.cuda.is_bf16_supported()` alone is also true where it is emulated, as on a
    T4), and processors with AVX-512 BF16 or AMX. Older CUDA GPUs get float16, which needs
    loss scaling; everything else float32.
    """
    on = on or device()
    if on.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(on)[0] >= 8 else "fp16"
    if on.type == "cpu" and _cpu_multiplies_bf16():
        return "bf16"
    return "no"


@functools.cache
def _cpu_multiplies_bf16() -> bool:
    # Newer releases of torch can ask the processor; for older ones Linux lists its features.
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    probes = [getattr(torch.cpu, name) for name in names if hasattr(torch.cpu, name)]
    if probes:
        return any(probe() for probe in probes)
    return any(bool({"amx_bf16", "avx512_bf16"} & set(line.split())) for line in _cpuinfo("flags"))


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (every device).

    Raises:
        ValueError: the seed is negative or does not fit in 32 bits (NumPy's limit).
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"a seed lies between 0 and 2**32 - 1; got {seed}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def claim(words: str, holds: bool) -> None:
    """State a conclusion of the text above and stop if the numbers just computed deny it.

    At smoke scale a model has seen too little to show anything, so there the conclusion is
    printed as not checked. At full scale, which the text was not written from, a conclusion that
    does not hold is printed and stops nothing.

    Raises:
        AssertionError: it does not hold at laptop scale.
    """
    if scale().name == "smoke":
        print(f"Not checked at smoke scale: {words}")
        return
    if not holds and scale().name == "laptop":
        raise AssertionError(f"does not hold in this run: {words}")
    print(f"Holds: {words}" if holds else f"DOES NOT HOLD in this run: {words}")


def environment() -> dict[str, str | int]:
    """Return what a reader needs to know to compare a number with ours."""
    here = device()
    name = torch.cuda.get_device_name(here) if here.type == "cuda" else _processor()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": here.type,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "precision": precision(here),
        "scale": scale().name,
    }


def report() -> str:
    """Return the environment and where data are looked for, a line each, for a first cell."""
    from tutorial_lib.data import loading  # here: nothing else of this module needs data

    e = environment()
    return (
        f"Python {e['python']}, torch {e['torch']}, {e['device']} ({e['device_name']}, "
        f"{e['threads']} threads), precision {e['precision']}, scale {e['scale']}\n"
        f"{loading.places()}"
    )


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next tensor instead of returning it to the system.

    Each training step asks for the same large tensors again, and handing out their pages anew
    takes time. Where the C library is another one (macOS, Windows, musl) nothing is done.
    """
    if platform.libc_ver()[0] == "glibc":
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
        # Older releases refuse more than 32 MB here; the other setting alone would do harm.
        if mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25):
            mallopt(M_TRIM_THRESHOLD, 2**30)


def peak_memory_mb() -> float:
    """Return the largest memory so far, in MB: of the GPU if one was used, else the process."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0:
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    if sys.platform == "win32":
        import psutil

        return round(psutil.Process().memory_info().peak_wset / 2**20, 1)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)


def _processor() -> str:
    lines = _cpuinfo("model name")
    return (
        lines[0].split(":", 1)[1].strip() if lines else platform.processor() or platform.machine()
    )


def _cpuinfo(key: str) -> list[str]:
    """Return the lines that begin with a key of Linux's description of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            return [line for line in info if line.startswith(key)]
    except OSError:  # not Linux
        return []
