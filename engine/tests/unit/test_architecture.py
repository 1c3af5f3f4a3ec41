"""Dependencies point one way, and `core` is pure; see CONTRIBUTING.md for the map.

The rules read source text only, so they hold for modules that cannot be imported yet; imports under
TYPE_CHECKING and inside functions count too. The second half shows that each rule catches its prey.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from parsed import nodes_of, tree_of

ROOT = Path(__file__).resolve().parents[3]
SOURCES = (ROOT / "engine/src/holdfast", ROOT / "stockroom/src/stockroom")

LAYERS = {
    "schema": 0,
    "core": 1,
    "sql": 2,
    "sqlite": 2,
    "protocol": 2,
    "extras": 2,
    "replica": 3,
    "server": 3,
    "testing": 4,
    "cli": 5,
    "integrations": 4,
}
# `import holdfast` itself: the public names of the library, above what it shows and below nothing.
FACADE_LAYER = 4

# The floors inside a part, lowest first: a package or a module that stands directly in the part may
# import from floors below its own, and from itself.
FLOORS: dict[str, tuple[frozenset[str], ...]] = {
    "core": (
        frozenset({"backoff", "clock", "errors", "ids", "limits"}),
        frozenset({"connection", "enrolment_codes", "sides", "values"}),
        frozenset({"digest", "keys", "merging", "session_events"}),
        frozenset({"session"}),
    ),
    "replica": (
        frozenset({"failures", "guards", "host", "storage"}),
        frozenset({"changes", "events", "http", "turn"}),
        frozenset({"identity", "load", "memory"}),
        frozenset({"rebase"}),
        frozenset({"inbox", "migration", "salvage"}),
        frozenset({"exchange"}),
        frozenset({"runner", "sync_call"}),
        frozenset({"sync_control"}),
        frozenset({"replica"}),
    ),
    "server": (
        frozenset({"process", "tls"}),
        frozenset({"store"}),
        frozenset({"generations", "store.postgres", "store.sqlite"}),
        frozenset({"feed", "identity"}),
        frozenset({"files", "live", "merging", "open_store"}),
        frozenset({"push"}),
        frozenset({"direct", "maintenance"}),
        frozenset({"backup", "exchange"}),
        frozenset({"http", "service"}),
        frozenset({"assembly", "run"}),
    ),
}
MODULES_PER_PACKAGE_MAX = 12
LOGGERS = {
    "holdfast.callbacks",
    "holdfast.loading",
    "holdfast.runner",
    "holdfast.server",
    "holdfast.server.access",
    "holdfast.server.connections",
    "holdfast.server.maintenance",
    "holdfast.server.sign_in",
    "holdfast.server.tls",
    "holdfast.connection",
    "holdfast.salvage",
    "holdfast.sync",
}

# What `schema` may take from `core`: leaves that say what a value, a limit and an error are.
SCHEMA_MAY_IMPORT = ("holdfast.core.errors", "holdfast.core.limits", "holdfast.core.values")

IMPURE_MODULES = frozenset(
    {
        "anyio",
        "apsw",
        "asyncio",
        "concurrent",
        "http",
        "httpx2",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "psycopg",
        "random",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "starlette",
        "structlog",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "uvicorn",
    }
)
IMPURE_BUILTINS = frozenset({"open", "input", "print", "exec", "eval", "__import__"})
# Fully dotted names, as they read after imports are resolved.
IMPURE_NAMES = frozenset(
    {
        "datetime.datetime.now",
        "datetime.datetime.today",
        "datetime.datetime.utcnow",
        "datetime.date.today",
        "uuid.getnode",
        "uuid.uuid1",
        "uuid.uuid4",
        "uuid.uuid6",
        "uuid.uuid7",
    }
)


@dataclass(frozen=True)
class Module:
    """A module of ours, as text."""

    name: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...]
    is_package: bool = False

    @property
    def package(self) -> str:
        """The package that a relative import starts from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Import:
    """One imported name: `from a.b import c` gives module `a.b`, name `c`."""

    line: int
    module: str
    name: str = ""

    @property
    def dotted(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


@cache
def read_modules() -> list[Module]:
    modules = []
    for source in SOURCES:
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(source.parent).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            modules.append(Module(name, tree_of(path), nodes_of(path), is_package))
    return modules


@cache
def imports_of(module: Module) -> tuple[Import, ...]:
    return tuple(find_imports(module))


def find_imports(module: Module) -> Iterator[Import]:
    for node in module.nodes:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(node.lineno, alias.name)
            case ast.ImportFrom(module=target, names=names, level=level):
                base = module.package.split(".")[: len(module.package.split(".")) + 1 - level]
                origin = ".".join([*base, *([target] if target else [])]) if level else target or ""
                for alias in names:
                    yield Import(node.lineno, origin, alias.name)
            case ast.Call(
                func=ast.Attribute(attr="import_module")
                | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(target)), *_],
            ):
                yield Import(node.lineno, target)
            case _:
                pass


def within(dotted: str, package: str) -> bool:
    return dotted == package or dotted.startswith(f"{package}.")


def part_of(dotted: str) -> str:
    """Return the part of the house a module belongs to: `core`, `sql`, ...; "" is the facade."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else ""


def direction_problems(module: Module) -> Iterator[str]:
    """Find imports of a module that do not point down."""
    in_holdfast = within(module.name, "holdfast")
    own = part_of(module.name)
    if in_holdfast and own and own not in LAYERS:
        yield f"{module.name}: `{own}` has no layer; give it one here and in CONTRIBUTING.md"
        return
    own_layer = LAYERS.get(own, FACADE_LAYER)
    for found in imports_of(module):
        where = f"{module.name}:{found.line}"
        if in_holdfast and within(found.dotted, "stockroom"):
            yield f"{where}: holdfast knows nothing of stockroom"
        if not (in_holdfast and within(found.module, "holdfast")):
            continue
        # `from holdfast import core` imports the package `core`, not a name of the facade.
        target = part_of(found.dotted)
        if target not in LAYERS:
            if own:
                yield f"{where}: imports the facade `holdfast`; name the module itself"
        elif target == own:
            continue
        elif own == "schema" and target == "core":
            if not any(within(found.dotted, allowed) for allowed in SCHEMA_MAY_IMPORT):
                yield f"{where}: schema may not import {found.dotted}"
        elif module.name in SCHEMA_MAY_IMPORT and target == "schema":
            yield f"{where}: {module.name} is a leaf below schema and may not import it"
        elif LAYERS[target] >= own_layer:
            yield f"{where}: {own or 'the facade'} may not import {target}"


def rooms_of(part: str) -> dict[str, int]:
    """Map each package and top module of a part to its floor."""
    floors = FLOORS.get(part, ())
    return {room: floor for floor, rooms in enumerate(floors) for room in rooms}


def room_of(dotted: str, part: str) -> str:
    """Return the room of a part that a dotted name lies in: the longest one that is declared."""
    inner = dotted.split(".")[2:]
    rooms = rooms_of(part)
    while inner and ".".join(inner) not in rooms:
        inner = inner[:-1]
    return ".".join(inner)


def floor_problems(module: Module) -> Iterator[str]:
    """Find imports inside a part that do not go to a floor below."""
    part = part_of(module.name)
    rooms = rooms_of(part)
    if not within(module.name, "holdfast") or not rooms or module.name == f"holdfast.{part}":
        return
    own = room_of(module.name, part)
    if not own:
        yield f"{module.name}: stands on no floor; give it one here and in CONTRIBUTING.md"
        return
    for found in imports_of(module):
        if part_of(found.dotted) != part or not within(found.module, "holdfast"):
            continue
        target = room_of(found.dotted, part)
        if not target:
            yield f"{module.name}:{found.line}: imports the facade `holdfast.{part}`"
        elif target != own and rooms[target] >= rooms[own]:
            yield f"{module.name}:{found.line}: {part}/{own} may not import {part}/{target}"


def bound_names(module: Module) -> dict[str, str]:
    """Map each name that an import binds to what it stands for."""
    bound: dict[str, str] = {}
    for node in module.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                # `import a.b` binds `a`; `import a.b as c` binds `c` to `a.b`.
                top = alias.name.partition(".")[0]
                bound[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            bound |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return bound


def impure_uses(module: Module) -> Iterator[tuple[int, str]]:
    """Find where a module reaches for the world, and what it reaches for."""
    for found in imports_of(module):
        if found.module.partition(".")[0] in IMPURE_MODULES or found.dotted in IMPURE_NAMES:
            yield found.line, found.dotted
    bound = bound_names(module)
    for node in module.nodes:
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_BUILTINS:
                yield node.lineno, f"{name}()"
            case ast.Attribute():
                head, dot, rest = ast.unparse(node).partition(".")
                dotted = bound.get(head, head) + dot + rest
                if dotted in IMPURE_NAMES:
                    yield node.lineno, dotted
            case _:
                pass


def purity_problems(module: Module) -> Iterator[str]:
    """Find what a module of `core` takes from the world instead of being given it."""
    if within(module.name, "holdfast.core"):
        for line, what in impure_uses(module):
            yield f"{module.name}:{line}: core is pure; it may not use {what}"


def test_dependencies_point_one_way() -> None:
    modules = read_modules()
    assert modules, "no modules found: has the layout changed?"
    assert [problem for module in modules for problem in direction_problems(module)] == []


def test_rooms_of_a_part_point_down_its_floors() -> None:
    assert [problem for module in read_modules() for problem in floor_problems(module)] == []


def test_no_package_of_the_engine_has_more_than_a_dozen_modules() -> None:
    sizes = Counter(
        path.parent.relative_to(ROOT)
        for path in SOURCES[0].rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    )
    assert {str(p): n for p, n in sizes.items() if n > MODULES_PER_PACKAGE_MAX} == {}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("holdfast.server.push.decide", "from holdfast.server.exchange import commit"),
        ("holdfast.server.store.contract", "from holdfast.server.store.sqlite.store import Store"),
        ("holdfast.server.store.postgres.store", "import holdfast.server.store.sqlite.registry"),
        ("holdfast.server.feed.pull", "def f():\n  from holdfast.server.identity import principal"),
        ("holdfast.server.http.app", "from holdfast.server import open_server"),
        ("holdfast.server.utils", "import json"),
        ("holdfast.replica.storage.database", "from holdfast.replica.changes import seal"),
        ("holdfast.core.merging.merge", "from holdfast.core.session import step"),
    ],
)
def test_an_import_that_goes_up_a_floor_is_found(name: str, source: str) -> None:
    assert list(floor_problems(module(name, source)))


def test_loggers_have_the_names_that_operators_filter_by() -> None:
    """Such a name stays when its module moves; all others are those of their modules."""
    named = {
        node.args[0].value
        for module in read_modules()
        for node in module.nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger")
        if node.args and isinstance(node.args[0], ast.Constant)
        if module.name.startswith("holdfast.")
    }
    assert named == LOGGERS


def test_core_is_pure() -> None:
    assert [problem for module in read_modules() for problem in purity_problems(module)] == []


def module(name: str, source: str) -> Module:
    tree = ast.parse(source)
    return Module(name, tree, tuple(ast.walk(tree)))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("holdfast.core.merging.merge", "from holdfast.sql import compile"),
        ("holdfast.core.merging.merge", "from ...sql import compile"),
        ("holdfast.core.merging.merge", "from holdfast import sql"),
        ("holdfast.core.merging.merge", "import holdfast"),
        (
            "holdfast.core.merging.merge",
            "import importlib\nimportlib.import_module('holdfast.replica')",
        ),
        ("holdfast.core.values", "from holdfast.schema import Table"),
        ("holdfast.schema.model", "from holdfast.core import digest"),
        ("holdfast.schema.model", "from holdfast.core.clock import Clock"),
        ("holdfast.sql.compile", "import holdfast.protocol.messages"),
        (
            "holdfast.replica.inbox.inbox",
            "import typing\nif typing.TYPE_CHECKING:\n  import holdfast.server",
        ),
        ("holdfast.server.app", "def f():\n  from holdfast.replica import Replica"),
        ("holdfast.cli.main", "import stockroom.rules"),
        ("holdfast.sim.world", "import json"),
        ("holdfast", "from holdfast.cli import main"),
        ("holdfast.utils", "import json"),
    ],
)
def test_an_import_that_points_up_is_found(name: str, source: str) -> None:
    assert list(direction_problems(module(name, source)))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        (
            "holdfast.core.merging.merge",
            "from holdfast.schema.model import Table\nfrom . import clock",
        ),
        ("holdfast.schema.model", "from holdfast.core import errors, limits, values"),
        ("holdfast.schema.model", "from holdfast.core.errors import HoldfastError"),
        ("holdfast.server.app", "from holdfast.protocol import messages\nfrom holdfast import sql"),
        ("holdfast.cli.main", "import holdfast.replica, holdfast.server, random, time"),
        ("holdfast", "from holdfast.replica import Replica"),
        ("stockroom.cli", "import holdfast\nfrom holdfast.testing import fixtures"),
    ],
)
def test_an_import_that_points_down_is_fine(name: str, source: str) -> None:
    assert list(direction_problems(module(name, source))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "from random import Random",
        "import typing\nif typing.TYPE_CHECKING:\n  import sqlite3",
        "def f(p):\n  return open(p)",
        "import datetime\ndatetime.datetime.now(datetime.UTC)",
        "import datetime as dt\nstamp = dt.datetime.utcnow",
        "from datetime import datetime\ndatetime.now()",
        "from datetime import date as day\nday.today()",
        "import uuid\nuuid.uuid4()",
        "from uuid import uuid4",
    ],
)
def test_what_core_takes_from_the_world_is_found(source: str) -> None:
    assert list(purity_problems(module("holdfast.core.clock", source)))


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
        "import uuid\nuuid.UUID(int=1)",
        "import hashlib, re, json\ndef f(clock): return clock.now()",
    ],
)
def test_what_core_is_given_is_fine(source: str) -> None:
    assert list(purity_problems(module("holdfast.core.clock", source))) == []


def test_what_is_not_type_checked_only_hands_on_fixtures() -> None:
    """Nothing can be wrong in a module that has imports and their names, and no more."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (left_out,) = settings["tool"]["mypy"]["exclude"]
    found = [
        path
        for folder in ("engine", "stockroom", "browser/tests", "tools")
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts
        if re.search(left_out, path.relative_to(ROOT).as_posix())
    ]
    assert len(found) == 3
    for path in found:
        _docstring, *rest = tree_of(path).body
        *imports, names = (ast.unparse(node) for node in rest)
        assert all(line.startswith("from ") for line in imports), path
        assert names.startswith("__all__ = ["), path
