"""The statements of a replica are written once, by name, for both languages.

The replica program holds them. Here each is prepared on a real file by both drivers, each is used,
and none stands a second time, word for word, in a host; nor is one of them edited as text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from parsed import nodes_of, tree_of

from holdfast.schema.model import Column, ForeignKey, Schema, Table
from holdfast.sql.bookkeeping.statements import STATEMENTS
from holdfast.sql.load import LOADING, OWN, LoadProgram, loading_view
from holdfast.sql.names import names, quote
from holdfast.sql.replica import ReplicaProgram, TableProgram, compile_replica
from holdfast.sqlite import OpenOptions, driver

ROOT = Path(__file__).resolve().parents[3]
PYTHON = sorted((ROOT / "engine/src/holdfast/replica").rglob("*.py"))
TYPESCRIPT = sorted((ROOT / "browser/src/replica").rglob("*.ts"))
APP = [
    path
    for ending in ("*.ts", "*.svelte")
    for path in sorted((ROOT / "stockroom/web/src").rglob(ending))
]
GROUPS = STATEMENTS.__struct_fields__

BUILT = {
    "SELECT {} FROM holdfast_state": "columns of the state row, by the names a caller gives",
    "UPDATE holdfast_state SET {}": "the same, written",
    "INSERT INTO {} ({}) VALUES ({})": "a salvaged row, with the columns that could be read",
    "UPDATE {} SET {} WHERE {}": "columns of an app's table, those that a person has decided",
}
"""What each language puts together itself."""

SCHEMA = Schema(
    name="statements",
    tables=(
        Table(
            name="shelf",
            key=("id",),
            columns=(Column("id"), Column("code", nullable=True)),
            scopes=("shop",),
            unique=(("code",),),
        ),
        Table(
            name="thing",
            key=("id",),
            columns=(Column("id"), Column("shelf"), Column("qty", "integer", merge="counter")),
            scopes=("shop",),
            foreign_keys=(ForeignKey(("shelf",), "shelf"),),
        ),
        Table(
            name="pair",
            key=("left", "right"),
            columns=(Column("left"), Column("right", "integer")),
            scopes=("shop",),
        ),
    ),
)


def bookkeeping() -> dict[str, str]:
    """Return the named statements on the engine's own tables."""
    return {
        f"{group}.{field}": getattr(getattr(STATEMENTS, group), field)
        for group in GROUPS
        for field in getattr(STATEMENTS, group).__struct_fields__
    }


def texts(part: object) -> Iterator[str]:
    """Yield every statement of a part of a program."""
    if isinstance(part, str) and re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", part):
        yield part
    elif isinstance(part, list | tuple):
        for item in part:
            yield from texts(item)
    elif isinstance(part, dict):
        for item in part.values():
            yield from texts(item)


def nothing(sql: str) -> tuple[None, ...]:
    """Return as many NULLs as a statement has parameters."""
    bare = re.sub(r"'(?:[^']|'')*'", "''", sql)
    numbered = [int(number) for number in re.findall(r"\?(\d+)", bare)]
    return (None,) * (max(numbered) if numbered else bare.count("?"))


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_every_statement_is_prepared_on_a_real_file(library: Any, tmp_path: Path) -> None:
    program = compile_replica(SCHEMA)
    replica = driver(library).connect(str(tmp_path / "replica.db"), OpenOptions())
    file = driver(library).connect(str(tmp_path / "file.db"), OpenOptions())
    try:
        for sql in (*program.create, *program.triggers.values(), *program.views.values()):
            replica.execute(sql)
        for table in SCHEMA.all_tables:
            columns = names((*OWN, *table.column_names))
            file.execute(f"CREATE TABLE {quote(table.name)} ({columns})")
        replica.execute("ATTACH ? AS a_file", (str(tmp_path / "file.db"),))
        for sql in program.load_begin:
            replica.execute(sql)
        prepared = set()
        for table in SCHEMA.all_tables:
            load = program.tables[table.name].load
            replica.execute(loading_view("a_file", table))
            for sql in texts(msgspec.to_builtins(load)):
                where = file if sql in (load.look, load.hashed) else replica
                plan = where.execute(f"EXPLAIN QUERY PLAN {sql}", nothing(sql))
                assert "MATERIALIZE holdfast_loading" not in str(plan), "the view costs a copy"
                prepared.add(sql)
            replica.execute(f"DROP VIEW {LOADING}")
        found = set(texts(msgspec.to_builtins(program))) - prepared - {program.load_about}
        assert len(found) >= 150
        assert set(bookkeeping().values()) <= found
        for sql in found:
            replica.execute(f"EXPLAIN {sql}", nothing(sql))
    finally:
        replica.close()
        file.close()


def test_a_program_holds_the_statements_that_python_runs() -> None:
    """A host in another language runs the same ones."""
    assert compile_replica(SCHEMA).bookkeeping == STATEMENTS


def test_every_statement_is_used_by_its_name_in_both_languages() -> None:
    python = "\n".join(path.read_text() for path in PYTHON)
    typescript = "\n".join(path.read_text() for path in TYPESCRIPT)
    for name in bookkeeping():
        group, field = name.split(".")
        assert re.search(rf"\b{group.upper()}\.{field}\b", python), f"Python does not use {name}"
        assert re.search(rf"\b{group}\s*\.{field}\b", typescript), f"TypeScript does not use {name}"


@pytest.mark.parametrize("struct", [ReplicaProgram, TableProgram, LoadProgram])
def test_no_part_of_a_program_is_there_for_nobody(struct: Any) -> None:
    sources = "\n".join(path.read_text() for path in (*PYTHON, *TYPESCRIPT))
    for field in struct.__struct_fields__:
        assert re.search(rf"\.{field}\b|\b{field}[,: ].*\}} = ", sources), field


def test_every_statement_says_what_it_is_for() -> None:
    described = (ROOT / "browser/src/protocol/program.generated.ts").read_text()
    for name in bookkeeping():
        field = name.split(".")[1]
        assert re.search(rf"/\*\* .+ \*/\n  readonly {field}: string;", described), name


def spaced(text: str) -> str:
    """Return a text with one space wherever there is any."""
    return " ".join(text.split())


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each string of a module with its line; what is put in stands as ``{}``."""
    tree = tree_of(path)
    inside = {
        id(part)
        for whole in ast.walk(tree)
        if isinstance(whole, ast.JoinedStr)
        for part in ast.walk(whole)
        if part is not whole
    }
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
            yield node.lineno, spaced("".join(str(part) for part in parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, spaced(node.value)


def plain_typescript(path: Path) -> str:
    """Return a module's text with its strings joined; what is put in stands as ``{}``."""
    joined = re.sub(r"[\"`]\s*\+\s*[\"`]", "", path.read_text())
    return spaced(re.sub(r"\$\{[^}]*\}", "{}", joined))


STATEMENT = re.compile(r"(SELECT|INSERT|UPDATE|DELETE)\b.*\bholdfast_")


def test_no_statement_on_the_engines_tables_stands_in_both_languages() -> None:
    typescript = {path: plain_typescript(path) for path in TYPESCRIPT}
    for path in PYTHON:
        for line, text in literals(path):
            if STATEMENT.match(text) and text not in BUILT:
                for twin, source in typescript.items():
                    assert text not in source, f"{path.name}:{line} and {twin.name}: {text}"


BUILT_ON_TABLES = re.compile(
    r"(SELECT|INSERT|UPDATE|DELETE)\b.*?\b(FROM|INTO|JOIN|UPDATE) \{|UPDATE \{"
)


def test_no_statement_on_an_apps_tables_is_put_together_in_both_languages() -> None:
    """Those depend on the schema alone: the program has them, for each table."""
    typescript = {path: plain_typescript(path).replace('"{}"', "{}") for path in TYPESCRIPT}
    built = set()
    for path in PYTHON:
        for line, text in literals(path):
            if not BUILT_ON_TABLES.match(text):
                continue
            twins = [twin.name for twin, source in typescript.items() if f"`{text}`" in source]
            built |= {text} if twins else set()
            assert not twins or text in BUILT, f"{path.name}:{line} and {twins}: {text}"
    assert built == {"UPDATE {} SET {} WHERE {}", "INSERT INTO {} ({}) VALUES ({})"}


def test_what_the_program_holds_is_written_nowhere_else() -> None:
    held = {spaced(sql) for sql in texts(msgspec.to_builtins(compile_replica(SCHEMA)))}
    for path in PYTHON:
        for line, text in literals(path):
            assert text not in held, f"{path.name}:{line}: {text}"
    for path in TYPESCRIPT:
        source = plain_typescript(path)
        for sql in held:
            assert f'"{sql}"' not in source and f"`{sql}`" not in source, f"{path.name}: {sql}"


def test_no_statement_is_edited_as_text() -> None:
    """In the replica nothing is replaced in a text, but in what is no statement of ours."""
    for path in PYTHON:
        for node in nodes_of(path):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                two = len(node.args) > 1 or any(isinstance(a, ast.Starred) for a in node.args)
                edits = node.func.attr in ("replace", "format") and two
                structs = ast.unparse(node.func).startswith("msgspec.structs")
                assert structs or not edits, f"{path.name}:{node.lineno}"
    edit = re.compile(r"(\w*sql\w*|statements?|program)[\w.()]*\.replace(All)?\(", re.IGNORECASE)
    for path in (*TYPESCRIPT, *APP):
        for found in edit.finditer(path.read_text()):
            assert found[0] + "COMMENTS" in path.read_text(), f"{path.name}: {found[0]}"


WRITING = {
    "begin", "catch_up", "commit", "executemany", "mark", "remember", "script", "seal", "tidy",
    "transaction", "write_state", "_create", "_grow", "_migrate", "_prepare", "_renew",
}  # fmt: skip
"""What writes to a database, by its name."""


def done_at_once(function: ast.FunctionDef) -> Iterator[ast.Call]:
    """Yield the calls of a function, but not those that are only prepared for later."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call):
            yield node
        if not isinstance(node, ast.Lambda | ast.FunctionDef):
            waiting += ast.iter_child_nodes(node)


def reads(argument: ast.expr) -> bool:
    """Return whether a statement that is given to ``execute`` is known, and reads."""
    named = ast.unparse(argument)
    group, _, field = named.partition(".")
    text = bookkeeping().get(f"{group.lower()}.{field}", named.strip("\"'"))
    return text.lstrip("f\"'").startswith(("SELECT", "PRAGMA"))


def test_no_constructor_writes_to_a_database() -> None:
    """What writes is a method with a name, or ``open``."""
    found = 0
    for part in ("replica", "server"):
        for path in sorted((ROOT / "engine/src/holdfast" / part).rglob("*.py")):
            for node in nodes_of(path):
                if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                    found += 1
                    for call in done_at_once(node):
                        name = ast.unparse(call.func).rpartition(".")[2]
                        writes = name in WRITING or (name == "execute" and not reads(call.args[0]))
                        assert not writes, f"{path.name}:{call.lineno}"
    assert found > 100
    writing = re.compile(
        r"\b(transaction|script|writeState|remember|seal|mark|#create|#renew|#stored)\("
        r"|\.execute\(\s*[\"`](?!SELECT|PRAGMA)"
        r"|bookkeeping\.\w+\.(add|set|put|remove|make|grant|finish|settle)\w*\b"
    )
    constructor = re.compile(r"\n  (?:private )?constructor\(.*?\n  \}\n", re.DOTALL)
    for path in TYPESCRIPT:
        for made in constructor.finditer(path.read_text()):
            for line in re.sub(r"=>\s+", "=> ", made[0]).splitlines():
                later = "=>" in line
                assert later or not writing.search(line), f"{path.name}: {line}"
