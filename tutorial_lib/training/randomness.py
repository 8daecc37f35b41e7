"""The global random numbers during a run: seeded for each step, put back after it."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def seed(device: torch.device, *place: int) -> None:
    """Seed Python, NumPy, torch and the device from a place in a run, such as seed, epoch, step."""
    number = int(np.random.SeedSequence(place).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)
    # Not torch.manual_seed: it costs a tenth of a millisecond on a machine without a GPU.
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(number)


@contextlib.contextmanager
def kept(device: torch.device) -> Iterator[None]:
    """Put all that `seed` changes back, or what is drawn later would be the same each time."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    module = None if device.type == "cpu" else getattr(torch, device.type)
    state = module and module.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if module:
            module.set_rng_state(state)
