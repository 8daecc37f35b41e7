"""Packs a folder into one file: for a learning platform, an intranet, a stick."""

import io
import zipfile
from pathlib import Path

from tutorial_lib import atomic

LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first moment that the format knows


def pack(folder: Path, target: Path) -> None:
    """Write every file of a folder into a zip archive; the same files give the same bytes."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as on Unix, for all to read
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (folder / name).read_bytes())
    atomic.write(target, packed.getvalue())
