"""First words of docstrings: nouns and verbs say what a thing is or does; none asks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from parsed import nodes_of

ROOT = Path(__file__).resolve().parents[3]
ENGINE = ROOT / "engine/src/holdfast"
SOURCES = (ENGINE, ROOT / "stockroom/src/stockroom")
QUESTIONS = {"What", "Whether", "How", "Who", "Whose", "Which", "Where", "When", "Why"}


def modules(*folders: Path) -> Iterator[tuple[Path, tuple[ast.AST, ...]]]:
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            yield path, nodes_of(path)


def test_a_docstring_begins_with_a_noun_or_a_verb() -> None:
    asking = []
    for path, nodes in modules(*SOURCES):
        for node in nodes:
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text and text.split()[0].rstrip(",:") in QUESTIONS:
                    asking.append(f"{path.relative_to(ROOT)}: {text.splitlines()[0]}")
    assert not asking, "\n".join(asking)


EXPORTED = re.compile(
    r"/\*\*\s*(?:\*\s*)?(?P<word>[A-Z][a-z]+)\b(?:(?!\*/).)*\*/\s*"
    r"export (?:abstract )?(?:async )?(?:class|interface|type|function) (?P<name>\w+)",
    re.DOTALL,
)


def test_so_does_the_comment_on_an_export_of_typescript() -> None:
    asking = []
    for folder in (ROOT / "browser/src", ROOT / "stockroom/web/src"):
        for path in sorted(folder.rglob("*.ts")):
            text = path.read_text(encoding="utf-8")
            asking += [
                f"{path.relative_to(ROOT)}: {found['name']}"
                for found in EXPORTED.finditer(text)
                if found["word"] in QUESTIONS
            ]
    assert not asking, "\n".join(asking)
