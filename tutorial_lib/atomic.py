"""Write a file so that at every moment it is either the old one or the new one, whole."""

import os
from collections.abc import Mapping
from pathlib import Path


def write(path: str | os.PathLike, content: bytes | str) -> Path:
    """Put content in the place of the file at `path`; text as UTF-8. An error changes nothing."""
    path = Path(path)
    write_all(path.parent, {path.name: content})
    return path


def write_all(folder: Path, contents: Mapping[str, bytes | str]) -> None:
    """Put files that belong together in a folder; none is replaced before all are written."""
    parts = {name: folder / f"{name}.{os.getpid()}.part" for name in contents}
    try:
        for name, content in contents.items():
            parts[name].write_bytes(content.encode() if isinstance(content, str) else content)
        for name, part in parts.items():
            os.replace(part, folder / name)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
