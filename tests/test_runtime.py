"""Scale, device, precision and seeds: what is detected, and what a wrong setting says."""

import platform
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tutorial_lib import runtime


@pytest.mark.parametrize("name", runtime.SCALES)
def test_the_variable_sets_the_scale(monkeypatch, name):
    monkeypatch.setenv("TUTORIAL_SCALE", name)
    assert runtime.scale().name == name
    assert runtime.scale().pick(smoke="smoke", laptop="laptop", full="full") == name


@pytest.mark.parametrize(("device", "expected"), [("cpu", "laptop"), ("cuda", "full")])
def test_without_the_variable_the_device_decides(monkeypatch, device, expected):
    monkeypatch.delenv("TUTORIAL_SCALE", raising=False)
    monkeypatch.setattr(runtime, "device", lambda: torch.device(device))
    assert runtime.scale().name == expected


def test_an_unknown_scale_is_refused_with_the_allowed_ones(monkeypatch):
    monkeypatch.setenv("TUTORIAL_SCALE", "huge")
    with pytest.raises(ValueError, match="smoke, laptop, full"):
        runtime.scale()


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")],  # T4, A100, H100
)
def test_bf16_only_on_gpus_that_multiply_in_it(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert runtime.precision(torch.device("cuda")) == expected


@pytest.mark.parametrize(("flag", "expected"), [(True, "bf16"), (False, "no")])
def test_bf16_only_on_processors_that_multiply_in_it(monkeypatch, flag, expected):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: flag, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: flag, raising=False)
    runtime._cpu_multiplies_bf16.cache_clear()
    assert runtime.precision(torch.device("cpu")) == expected
    assert runtime.precision(torch.device("mps")) == "no"
    runtime._cpu_multiplies_bf16.cache_clear()


@pytest.mark.parametrize(("flags", "expected"), [("avx2 amx_bf16", "bf16"), ("avx2", "no")])
def test_without_torchs_probes_the_kernels_list_decides(monkeypatch, flags, expected):
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.setattr(runtime, "_cpuinfo", lambda key: [f"{key} : fpu {flags}"])
    runtime._cpu_multiplies_bf16.cache_clear()
    assert runtime.precision(torch.device("cpu")) == expected
    runtime._cpu_multiplies_bf16.cache_clear()


def test_the_processor_probe_agrees_with_the_kernel():
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        pytest.skip("only Linux tells the processor's features in a file")
    expected = bool({"amx_bf16", "avx512_bf16"} & set(flags))
    assert (runtime.precision(torch.device("cpu")) == "bf16") == expected


def test_a_seed_repeats_every_generator():
    def draws():
        return random.random(), np.random.random(), torch.rand(1).item()

    runtime.seed_everything(7)
    first = draws()
    runtime.seed_everything(7)
    assert draws() == first
    runtime.seed_everything(8)
    assert not set(draws()) & set(first)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_cannot_take_is_refused(seed):
    with pytest.raises(ValueError, match="between 0 and"):
        runtime.seed_everything(seed)


def test_the_report_has_a_line_with_what_a_comparison_needs_and_one_about_data():
    machine, data = runtime.report().split("\n")
    for value in runtime.environment().values():
        assert str(value) in machine
    assert data.startswith("Data: ")


def test_peak_memory_sees_a_large_array():
    before = runtime.peak_memory_mb()
    block = np.ones(int((before + 200) * 2**17))  # as large as everything so far, and 200 MB more
    assert runtime.peak_memory_mb() >= before + 200
    del block


def test_a_claim_that_does_not_hold_stops_the_notebook_at_laptop_scale_only(monkeypatch, capsys):
    monkeypatch.setenv("TUTORIAL_SCALE", "laptop")
    runtime.claim("water is wet", True)
    with pytest.raises(AssertionError, match="pigs fly"):
        runtime.claim("pigs fly", False)
    monkeypatch.setenv("TUTORIAL_SCALE", "full")
    runtime.claim("water is wet", True)
    runtime.claim("pigs fly", False)
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == ["Holds: water is wet", "DOES NOT HOLD in this run: pigs fly"]
    monkeypatch.setenv("TUTORIAL_SCALE", "smoke")
    runtime.claim("pigs fly", False)
    assert "Not checked at smoke scale: pigs fly" in capsys.readouterr().out


def held_after_freeing(setting: str) -> int:
    """MB that a new process still holds after freeing a hundred tensors of 4 MB."""
    code = f"""
import psutil, torch
from tutorial_lib import runtime
{setting}
tensors = [torch.ones(2**20) for _ in range(100)]
most = psutil.Process().memory_info().rss
del tensors
print((most - psutil.Process().memory_info().rss) // 2**20)
"""
    return 400 - int(subprocess.check_output([sys.executable, "-c", code], text=True))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_kept_when_asked_for():
    assert held_after_freeing("") < 100
    assert held_after_freeing("runtime.keep_freed_memory()") > 300
