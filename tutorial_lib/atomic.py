"""Write a file so that at every moment it is either the old one or the new one, whole."""

import os
from pathlib import Path


def write(path: str | os.PathLike, content: bytes | str) -> Path:
    """Put content in the place of the file at `path`; text as UTF-8. An error changes nothing."""
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
