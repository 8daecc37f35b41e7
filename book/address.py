"""Gives the book another address: `python -m book.address https://github.com/NAME/BOOK`.

It stands in `_config.yml`, `pyproject.toml`, `CITATION.cff` and in the notebooks, which must find
the package from anywhere.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def move(url: str, root: Path = ROOT) -> None:
    """Put a repository's address in the place of the present one, everywhere."""
    new = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", url)
    if not new:
        sys.exit(f"an address looks like https://github.com/NAME/BOOK; this is {url!r}")
    config = root / "_config.yml"
    old = re.search(r"^  url: https://github\.com/(\S+)", config.read_text("utf-8"), re.MULTILINE)
    place = re.compile(rf"(github(?:\.com)?/){re.escape(old[1])}(?![\w-])")
    others = (root / "pyproject.toml", root / "CITATION.cff")
    for path in [config, *others, *root.glob("notebooks/**/*.ipynb")]:
        text = place.sub(rf"\g<1>{new[1]}", path.read_text("utf-8"))
        path.write_text(text, "utf-8", newline="\n")
    print(f"the book's address is now https://github.com/{new[1]}")


if __name__ == "__main__":
    move(*sys.argv[1:2] or sys.exit(__doc__))
