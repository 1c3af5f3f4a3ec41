"""Python's modules as trees, each parsed and walked once a process: many tests look at all of them.

Who asks reads only: the trees are everybody's.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


@cache
def tree_of(path: Path) -> ast.Module:
    """Parse a module."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """List all nodes of a module, as ``ast.walk`` does."""
    return tuple(ast.walk(tree_of(path)))
