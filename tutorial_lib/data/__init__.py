"""Data sets: the catalogue, verified downloads, a user's own files, embedded corpora, batches."""

from tutorial_lib.data.batches import batches
from tutorial_lib.data.card import describe
from tutorial_lib.data.catalogue import names
from tutorial_lib.data.errors import DataError, DatasetUnavailable
from tutorial_lib.data.files import from_files
from tutorial_lib.data.loading import load
from tutorial_lib.data.provenance import Provenance, provenance
from tutorial_lib.data.splits import stratified

__all__ = [
    "DataError",
    "DatasetUnavailable",
    "Provenance",
    "batches",
    "describe",
    "from_files",
    "load",
    "names",
    "provenance",
    "stratified",
]
