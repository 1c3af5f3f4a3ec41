"""``docs/how-it-works.md`` is true: its links, its drawings, and the tables and messages in it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec
import pytest

from holdfast import Replica
from holdfast.protocol.messages import ExchangeRequest
from holdfast.replica.http.spool import SpooledAnswer
from holdfast.replica.memory import MemoryTransport
from holdfast.schema.model import Column, Schema, Table
from holdfast.server import Principal, open_server

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "how-it-works.md"
DRAWN = ("replica/changes/seal", "replica/exchange/exchanger", "server/feed/feed",
         "replica/rebase/overlay")  # fmt: skip
ANYTHING = "…"

STOCK = Table(
    name="stock",
    key=("sku",),
    columns=(
        Column("sku"),
        Column("name"),
        Column("on_hand", "integer", default=0, merge="counter"),
    ),
    scopes=("store/12",),
)
SHOP = Schema(name="shop", tables=(STOCK,))


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    """The fenced blocks of a kind, in order."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page(), re.MULTILINE | re.DOTALL)
    return [text for found, text in fenced if found == kind]


def names_of(path: Path) -> set[str]:
    """What a Python module defines: functions, classes, and their methods."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, kinds):
            found.add(node.name)
            inner = node.body if isinstance(node, ast.ClassDef) else []
            found |= {f"{node.name}.{item.name}" for item in inner if isinstance(item, kinds)}
    return found


def test_links_lead_to_what_they_name() -> None:
    links = re.findall(r"\[([^\]]+)\]\(([^)#]+)(?:#[^)]*)?\)", page())
    assert len(links) > 30
    for label, place in links:
        path = (PAGE.parent / place).resolve()
        assert path.is_file(), place
        name = label.strip("`")
        if path.suffix == ".py" and re.fullmatch(r"`[\w.]+`", label) and name != path.name:
            assert name in names_of(path), f"{place} has no {name}"


def test_modules_have_twins_in_the_browser() -> None:
    for module in ("seal", "overlay", "exchanger"):
        (twin,) = (ROOT / "browser" / "src" / "replica").rglob(f"{module}.ts")
        (drawn,) = re.findall(r"Drawn at the head of\s+(?:\* )?`(\S+)`", twin.read_text("utf-8"))
        assert (ROOT / drawn).is_file()
        assert Path(drawn).stem == module


def test_drawings_are_those_at_the_heads_of_modules() -> None:
    drawings = blocks("text")
    assert len(drawings) == len(DRAWN)
    for module, drawing in zip(DRAWN, drawings, strict=True):
        source = (ROOT / "engine/src/holdfast" / f"{module}.py").read_text(encoding="utf-8")
        head = ast.get_docstring(ast.parse(source), clean=True) or ""
        assert dedent(drawing) in dedent(re.sub(r"^    ", "", head, flags=re.MULTILINE)) + "\n"


def like(written: Any, real: Any) -> bool:
    """Whether a written message is the real one, with ``…`` for anything."""
    if written == ANYTHING:
        return True
    if isinstance(written, dict) and isinstance(real, dict):
        return written.keys() == real.keys() and all(like(v, real[k]) for k, v in written.items())
    if isinstance(written, list) and isinstance(real, list):
        return len(written) == len(real) and all(map(like, written, real))
    return bool(written == real)


class Listener(MemoryTransport):
    """Keeps what went up and what came down."""

    heard: list[Any]

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        answer = super().exchange(request, echo)
        lines = [request, answer.head, *answer.lines(), answer.checkpoint]
        self.heard = [json.loads(msgspec.json.encode(line)) for line in lines]
        return answer


class Shop:
    """Two tills of one shop, with ten pieces in both."""

    def __init__(self, folder: Path) -> None:
        self._server = open_server(SHOP, str(folder / "server.db"), lambda _headers: None)
        self.lines: dict[str, Listener] = {}
        self.tills = {name: self._till(folder, name) for name in ("a", "b")}
        with self.tills["a"].transaction() as db:
            db.execute("INSERT INTO stock VALUES ('85123A', 'T-light holder', 10)")
        for till in self.tills.values():
            till.sync()

    def _till(self, folder: Path, name: str) -> Replica:
        principal = Principal("ada", name, read=("store/12",), write=("store/12",))
        self.lines[name] = Listener(self._server.service, principal)
        return Replica.open(str(folder / f"{name}.db"), SHOP, transport=self.lines[name])

    def close(self) -> None:
        for till in self.tills.values():
            till.close()
        self._server.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.close()


def told(till: Replica, block: str) -> None:
    """Ask what a block asks, and compare."""
    question, *written = block.splitlines()
    rows = [["NULL" if cell is None else str(cell) for cell in row] for row in till.query(question)]
    assert [" ".join(row).split() for row in rows] == [line.split() for line in written]


def test_tables_and_messages_are_real(shop: Shop) -> None:
    (update,) = blocks("sql")
    logged, noted, sealed, seen = blocks("")
    a, b = shop.tills["a"], shop.tills["b"]
    with a.transaction() as db:
        db.execute(update)
    told(a, logged)
    a.seal()
    told(a, noted)
    told(a, sealed)
    a.sync()
    b.sync()
    told(b, seen)
    *answer, rows = map(json.loads, blocks("json"))
    assert len(answer) == len(shop.lines["a"].heard)
    for written, real in zip(answer, shop.lines["a"].heard, strict=True):
        assert like(written, real), real
    assert any(like(rows, real) for real in shop.lines["b"].heard)


def test_the_route_through_the_code_is_there() -> None:
    """Modules that CONTRIBUTING.md names in order; short names are of the folder before."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    route = text.partition("## Where to begin reading")[2].partition("Inside `core`")[0]
    named = re.findall(r"(?<!\[)`([a-z_]+(?:/[a-z_]+)*)`", route.partition("Behind the facades")[2])
    assert len(named) > 20
    folder = ROOT / "engine/src/holdfast"
    last = folder
    for name in named:
        found = (folder / name, last.parent / name)
        places = [place for place in found if place.is_dir() or place.with_suffix(".py").is_file()]
        assert places, name
        last = places[0]
