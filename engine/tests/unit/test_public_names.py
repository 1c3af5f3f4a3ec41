"""Names that load on first use: what a type checker is told is there when the program runs."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"


def lazy_packages() -> dict[str, list[str]]:
    """Map each package with a ``__getattr__`` to the names that it promises to type checkers."""
    found = {}
    for path in SOURCE.rglob("__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(
            isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body
        ):
            names = [
                alias.asname or alias.name
                for node in tree.body
                if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
                for imported in ast.walk(node)
                if isinstance(imported, ast.ImportFrom)
                for alias in imported.names
            ]
            found[".".join(path.relative_to(SOURCE).parent.parts)] = names
    return found


@pytest.mark.parametrize("package", sorted(lazy_packages()))
def test_every_promised_name_is_there(package: str) -> None:
    names = lazy_packages()[package]
    assert names, f"{package} loads names that no type checker knows of"
    missing = [name for name in names if not hasattr(import_module(package), name)]
    assert not missing
