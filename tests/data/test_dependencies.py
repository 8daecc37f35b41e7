"""What the data package imports, the project declares."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_import_is_declared():
    trees = [
        ast.parse(path.read_text("utf-8")) for path in (ROOT / "tutorial_lib/data").glob("*.py")
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0}
    imported = {name.split(".")[0] for name in names} - sys.stdlib_module_names
    listed = (ROOT / "pyproject.toml").read_text("utf-8").split("dependencies = [")[1].split("]")[0]
    declared = set(re.findall(r'"([\w-]+)', listed))
    declared |= {"sklearn"} if "scikit-learn" in declared else set()  # one name to install by
    assert "numpy" in imported and imported - {"tutorial_lib"} <= declared
