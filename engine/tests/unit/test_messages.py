"""Messages of errors and logs use the words that people search for, in both languages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from parsed import nodes_of, tree_of

ROOT = Path(__file__).parents[3]
ENGINE = ROOT / "engine" / "src" / "holdfast"
BROWSER = ROOT / "browser" / "src"
STOCKROOM = ROOT / "stockroom" / "src"
WORDS = ROOT / "stockroom" / "web" / "src" / "i18n"

FOUND_BY_NO_SEARCH = (
    "a sign of life",
    "anew",
    "any more",
    "begun again",
    "begins again",
    "by itself",
    "goes on",
    "in trouble",
    "is another one",
    "makes no sense",
    "nobody",
    "none that",
    "our echo",
    "sign of life",
    "stands still",
    "tried again",
    "unforeseen",
    "what waits",
    "whoever",
)
"""heartbeat, again, no longer, retried, restarted, automatically, continues, failed, has changed,
is invalid, no device, not one that, the request's echo, health check, does not respond, retried,
unexpected, pending work, administrator: these are found."""

SAYING = re.compile(
    r"(Error|Refuse|Refused|BadValue|Offline|Needed|Busy|Full|Gone|Moved|Corrupt|Trouble|Failed"
    r"|Reason|broken|incomplete|not_ours|_fail)$"
)
LOGGING = re.compile(r"^(log|logger)\.(debug|info|warning|error|exception|log)$")


def texts(node: ast.AST) -> Iterator[str]:
    """The parts of a string, formatted or not, that are written down."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def messages_of(path: Path) -> Iterator[str]:
    """What a Python module says in errors and in its log."""
    for node in nodes_of(path):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if SAYING.search(name) or LOGGING.match(name):
                for argument in node.args:
                    yield from texts(argument)


def said_in_python() -> dict[str, list[str]]:
    ways_out = ENGINE / "core" / "connection" / "ways_out.py"
    paths = [*sorted(ENGINE.rglob("*.py")), *sorted(STOCKROOM.rglob("*.py"))]
    said = {str(path): list(messages_of(path)) for path in paths}
    return said | {str(ways_out): list(texts(tree_of(ways_out)))[1:]}


def said_in_typescript() -> dict[str, list[str]]:
    called = r"(?:new \w+|\b(?:broken|incomplete|notOurs|warn|error))\(\s*([\"`])((?:(?!\1).)*)\1"
    ways_out = BROWSER / "core" / "connection" / "waysOut.ts"
    said = {
        str(path): [text for _, text in re.findall(called, path.read_text(encoding="utf-8"))]
        for path in sorted(BROWSER.rglob("*.ts"))
        if not path.name.endswith(".generated.ts")
    }
    quoted = re.findall(r"[\"`]([A-Z][^\"`]+)[\"`]", ways_out.read_text(encoding="utf-8"))
    return said | {str(ways_out): quoted}


def said_in_the_app() -> dict[str, list[str]]:
    return {
        str(path): re.findall(r"\"((?:[^\"\\\n]|\\.)+)\"", path.read_text(encoding="utf-8"))
        for path in sorted(WORDS.glob("en*.ts"))
    }


def test_messages_are_in_words_that_are_searched_for() -> None:
    said = said_in_python() | said_in_typescript() | said_in_the_app()
    assert sum(map(len, said.values())) > 500
    private = [
        f"{path}: {text}"
        for path, listed in said.items()
        for text in listed
        if any(words in text for words in FOUND_BY_NO_SEARCH)
    ]
    assert not private
