import os
import sys
import types
from pathlib import Path

import pytest
from faultserver import serving, toy_catalogue

from tutorial_lib.data.catalogue import EMBEDDED
from tutorial_lib.data.provenance import attach
from tutorial_lib.data.rows import Rows, to_datasets

REAL = os.environ.get("TUTORIAL_DATA")  # read before any test changes it


@pytest.fixture
def real() -> Path:
    """The folder of prepared real data."""
    if not REAL:
        pytest.skip("TUTORIAL_DATA is not set: no real data here to test on")
    return Path(REAL)


@pytest.fixture
def raw(real) -> Path:
    """The folder of the publishers' original files."""
    if not (real / "raw").is_dir():
        pytest.skip("TUTORIAL_DATA holds no folder raw of original files")
    return real / "raw"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache; no prepared data; downloads allowed."""
    for name in ("TUTORIAL_DATA", "TUTORIAL_OFFLINE", "TUTORIAL_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUTORIAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(cache, monkeypatch):
    """A server on loopback, in place of every pinned address."""
    with serving() as started:
        monkeypatch.setenv("TUTORIAL_MIRROR", started.url)
        yield started


@pytest.fixture
def toy(server):
    """The toy set is in the catalogue, and on the server."""
    with toy_catalogue():
        yield server


@pytest.fixture
def embedded(monkeypatch):
    """Three rows a split in place of each embedded corpus, whose own tests are elsewhere."""
    rows = Rows(["good", "bad", "so so"], [1, 0, 0])

    def dataset():
        splits = to_datasets(dict.fromkeys(("train", "validation", "test"), rows), ["no", "yes"])
        return attach(splits, name="small", title="a small corpus", source="embedded")

    for name in EMBEDDED:
        module = types.SimpleNamespace(dataset=dataset)
        monkeypatch.setitem(sys.modules, f"tutorial_lib.data.{name}", module)
