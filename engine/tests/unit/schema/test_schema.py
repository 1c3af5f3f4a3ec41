"""A schema is data: it survives JSON, has a fingerprint, and says where a fault in it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from holdfast.core.errors import SchemaError
from holdfast.core.limits import COLUMNS_MAX, FILL_LENGTH_MAX, IDENTIFIER_LENGTH_MAX, TABLES_MAX
from holdfast.core.values import TYPES
from holdfast.schema import Check, Column, ForeignKey, Schema, Table
from holdfast.schema.load import load_schema
from holdfast.schema.model import template_columns
from holdfast.sql.load import ABOUT, LOADING, OWN, loading_view
from holdfast.sql.names import names as names_of
from holdfast.sql.replica import Reference, ReplicaProgram, compile_replica
from holdfast.sqlite import Connection, OpenOptions, driver

PARENT = Table("parent", ("id",), (Column("id", "uuid"), Column("name")), ("all",))

FULL = Schema(
    name="full",
    generation=3,
    local=("CREATE TABLE cache (a)",),
    tables=(
        PARENT,
        Table(
            name="child",
            key=("store_id", "n"),
            columns=(
                Column("store_id"),
                Column("n", "integer"),
                Column("parent_id", "uuid", nullable=True),
                Column("count", "integer", merge="counter"),
                Column("price", "decimal", scale=2, default="0.00"),
                Column("big", "integer", default=str(-(2**63))),
                Column("tiny", "real", default=5e-324),
                Column("huge", "real", default=1.7976931348623157e308),
                Column("raw", "bytes", default="AP8="),
                Column("seen", "timestamp", corrected=True, nullable=True),
                Column("tags", "json", default='["it\'s"]'),
                Column("on_day", "date", nullable=True),
                Column("done", "boolean", default=True),
                Column("sku", merge="manual", default="o'clock"),
            ),
            scopes=("store/{store_id}",),
            on_delete="manual",
            unique=(("store_id", "sku"),),
            foreign_keys=(ForeignKey(("parent_id",), "parent"),),
            checks=(
                Check("count", "range", min=-5, max=5),
                Check("sku", "length", max=40),
                Check("sku", "not_empty"),
                Check("sku", "one_of", values=("o'clock", "b")),
                Check("big", "one_of", values=(str(-(2**63)), "7")),
            ),
        ),
    ),
)


def table(**changes: Any) -> Table:
    """A good table, with something about it changed."""
    base = Table("t", ("id",), (Column("id"), Column("a")), ("all",))
    return msgspec.structs.replace(base, **changes)


def schema(*columns: Column, **changes: Any) -> Schema:
    if columns:
        changes["columns"] = (Column("id"), *columns)
    return Schema("s", (table(**changes),))


def grouped(*groups: tuple[str, ...]) -> Schema:
    return schema(
        Column("a"), Column("b"), Column("c"), Column("m", merge="manual"),
        Column("n", "integer", merge="counter"), Column("l", "integer", merge="largest"),
        Column("at", "timestamp", corrected=True), groups=groups,
    )  # fmt: skip


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "no tables": (lambda: Schema("s", ()), "needs 1 to"),
    "many tables": (lambda: Schema("s", (table(),) * (TABLES_MAX + 1)), "needs 1 to"),
    "generation 0": (lambda: Schema("s", (table(),), generation=0), "generation"),
    "schema name": (lambda: Schema("S", (table(),)), "not a name"),
    "empty name": (lambda: schema(name=""), "not a name"),
    "quoted name": (lambda: schema(name='a"b'), "not a name"),
    "newline": (lambda: schema(name="a\n"), "not a name"),
    "capital": (lambda: schema(name="Table"), "not a name"),
    "digit first": (lambda: schema(name="1t"), "not a name"),
    "umlaut": (lambda: schema(name="zähler"), "not a name"),
    "long name": (lambda: schema(name="a" * (IDENTIFIER_LENGTH_MAX + 1)), "not a name"),
    "reserved": (lambda: schema(name="holdfast_row"), "reserved"),
    "sqlite_": (lambda: schema(name="sqlite_master"), "reserved"),
    "twice": (lambda: Schema("s", (table(), table())), "declared twice"),
    "no columns": (lambda: schema(columns=()), "different columns"),
    "many columns": (
        lambda: schema(*(Column(f"c{n}") for n in range(COLUMNS_MAX))),
        "different columns",
    ),
    "column twice": (lambda: schema(Column("a"), Column("a")), "different columns"),
    "column name": (lambda: schema(Column("a b")), "not a name"),
    "column reserved": (lambda: schema(Column("holdfast_x")), "reserved"),
    "type": (lambda: schema(Column("a", "varchar")), "not a type"),  # type: ignore[arg-type]
    "merge": (lambda: schema(Column("a", merge="mine")), "merge policy"),  # type: ignore[arg-type]
    "delete policy": (lambda: schema(on_delete="cascade"), "delete policy"),
    "no key": (lambda: schema(key=()), "needs a key"),
    "key twice": (lambda: schema(key=("id", "id")), "needs a key"),
    "key unknown": (lambda: schema(key=("nope",)), "no column 'nope'"),
    "key nullable": (lambda: schema(columns=(Column("id", nullable=True),)), "never null"),
    "key real": (lambda: schema(columns=(Column("id", "real"),)), "a key is one of"),
    "key boolean": (lambda: schema(columns=(Column("id", "boolean"),)), "a key is one of"),
    "key decimal": (lambda: schema(columns=(Column("id", "decimal"),)), "a key is one of"),
    "key json": (lambda: schema(columns=(Column("id", "json"),)), "a key is one of"),
    "key merged": (lambda: schema(columns=(Column("id", merge="manual"),)), "merge policy"),
    "key corrected": (
        lambda: schema(columns=(Column("id", "timestamp", corrected=True),)),
        "never changes",
    ),
    "counter text": (lambda: schema(Column("a", merge="counter")), "counter"),
    "counter null": (
        lambda: schema(Column("a", "integer", merge="counter", nullable=True)),
        "counter",
    ),
    "corrected": (lambda: schema(Column("a", "integer", corrected=True)), "corrected"),
    "scale": (lambda: schema(Column("a", "integer", scale=2)), "scale"),
    "scale 13": (lambda: schema(Column("a", "decimal", scale=13)), "scale is 0 to 12"),
    "scale -1": (lambda: schema(Column("a", "decimal", scale=-1)), "scale is 0 to 12"),
    "default": (lambda: schema(Column("a", "integer", default=5.5)), "default: integer"),
    "default text": (lambda: schema(Column("a", default=5)), "default: text"),
    "default nul": (lambda: schema(Column("a", default="\0")), "default: text"),
    "default decimal": (
        lambda: schema(Column("a", "decimal", scale=2, default="1.5")),
        "not normalised",
    ),
    "unique unknown": (lambda: schema(unique=(("nope",),)), "no column 'nope'"),
    "unique empty": (lambda: schema(unique=((),)), "different columns"),
    "unique twice": (
        lambda: schema(unique=(("a", "a"),), existence_public=True),
        "different columns",
    ),
    "unique reaches": (
        lambda: schema(Column("s"), Column("u"), scopes=("s/{s}",), unique=(("u",),)),
        "beyond its scopes",
    ),
    "no scopes": (lambda: schema(scopes=()), "at least one scope"),
    "scope sign": (lambda: schema(scopes=("all stores",)), "other signs"),
    "scope brace": (lambda: schema(scopes=("store/{a",)), "other signs"),
    "scope column": (lambda: schema(scopes=("store/{nope}",)), "not a column"),
    "scope nullable": (lambda: schema(Column("a", nullable=True), scopes=("{a}",)), "not a column"),
    "scope type": (lambda: schema(Column("a", "real"), scopes=("{a}",)), "wrong type"),
    "scope array": (lambda: schema(Column("a", "json"), scopes=("*{a}/x",)), "not a template"),
    "scope array of two": (
        lambda: schema(Column("a", "json"), scopes=("*{a}{id}",)),
        "not a template",
    ),
    "scope array type": (lambda: schema(Column("a"), scopes=("*{a}",)), "wrong type"),
    "foreign table": (lambda: schema(foreign_keys=(ForeignKey(("a",), "nope"),)), "no such table"),
    "foreign column": (lambda: schema(foreign_keys=(ForeignKey(("x",), "t"),)), "no such table"),
    "foreign type": (
        lambda: schema(Column("a", "uuid"), foreign_keys=(ForeignKey(("a",), "t"),)),
        "does not fit",
    ),
    "foreign count": (lambda: schema(foreign_keys=(ForeignKey(("a", "id"), "t"),)), "does not fit"),
    "foreign empty": (lambda: schema(foreign_keys=(ForeignKey((), "t"),)), "does not fit"),
    "check column": (lambda: schema(checks=(Check("x", "not_empty"),)), "no such column"),
    "check kind": (lambda: schema(checks=(Check("a", "regex"),)), "does not fit"),  # type: ignore[arg-type]
    "check range text": (lambda: schema(checks=(Check("a", "range", min=1),)), "does not fit"),
    "check range decimal": (
        lambda: schema(Column("a", "decimal"), checks=(Check("a", "range", min=1),)),
        "does not fit",
    ),
    "check no bounds": (lambda: schema(checks=(Check("a", "length"),)), "needs a min"),
    "check turned": (lambda: schema(checks=(Check("a", "length", min=2, max=1),)), "needs a min"),
    "check beyond": (
        lambda: schema(Column("a", "integer"), checks=(Check("a", "range", max=2**63),)),
        "needs a min",
    ),
    "check one of": (
        lambda: schema(Column("a", "integer"), checks=(Check("a", "one_of", values=("x",)),)),
        "one of its values",
    ),
    "group of one": (lambda: grouped(("a",)), "group a: needs two or more"),
    "group twice": (lambda: grouped(("a", "a")), "group a, a: needs two or more"),
    "group unknown": (lambda: grouped(("a", "nope")), "no column 'nope'"),
    "group key": (lambda: grouped(("a", "id")), "'id' is part of the key"),
    "group shared": (lambda: grouped(("a", "b"), ("b", "c")), "group b, c: 'b' is in another"),
    "group counter": (lambda: grouped(("a", "n")), "'n' merges by 'counter'"),
    "group largest": (lambda: grouped(("a", "l")), "'l' merges by 'largest'"),
    "group corrected": (lambda: grouped(("a", "at")), "'at' is corrected"),
    "group policies": (lambda: grouped(("a", "m")), "the same merge policy"),
    "check one of none": (lambda: schema(checks=(Check("a", "one_of"),)), "needs values"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_makes_no_sense_is_refused_with_its_place(name: Any) -> None:
    make, words = BAD[name]
    with pytest.raises(SchemaError) as caught:
        make()
    assert caught.value.code == "schema_invalid"
    assert words in caught.value.message


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_what_is_accepted_compiles_and_its_defaults_are_exact(library: Any, tmp_path: Path) -> None:
    program = compile_replica(FULL)
    db = driver(library).connect(str(tmp_path / "t.db"), OpenOptions())
    try:
        for sql in (*program.create, *program.triggers.values(), *program.views.values()):
            db.execute(sql)
        db.execute("INSERT INTO child (store_id, n) VALUES ('s', 1)")
        (row,) = db.execute("SELECT * FROM child")
        child = FULL.by_name["child"]
        assert row[2:] == tuple(column.default_value() for column in child.columns[2:])
        assert {type(value) for value in row} == {str, int, float, bytes, type(None)}
    finally:
        db.close()


def test_json_round_trip() -> None:
    text = FULL.to_json()
    again = Schema.from_json(text)
    assert again == FULL
    assert again.fingerprint == FULL.fingerprint
    assert again.to_json() == text
    assert Schema.from_json(text.decode()) == FULL
    assert compile_replica(again) == compile_replica(FULL)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"null", b"[]", b"{", b'{"name": "s"}', b"\xff\xfe",
        b'{"name": "s", "tables": [], "extra": 1}',
        FULL.to_json().replace(b'"generation": 3', b'"generation": "3"'),
        FULL.to_json().replace(b'"generation": 3', b'"generation": 0'),
        FULL.to_json().replace(b'"uuid"', b'"guid"'),
        FULL.to_json().replace(b'"manual"', b'"ask"'),
        FULL.to_json().replace(b'"not_empty"', b'"regex"'),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_not_a_schema_is_refused(text: Any) -> None:
    with pytest.raises(SchemaError):
        Schema.from_json(text)


def test_the_fingerprint_is_stable() -> None:
    """A change of this value parts every replica from its server: a decision, not an accident."""
    assert Schema("s", (table(),)).fingerprint == "3d4a1946b80e300e37f308bce3538ff6"


def test_the_fingerprint_tells_every_difference_of_synced_tables() -> Any:
    child = FULL.by_name["child"]

    def with_child(**changes: Any) -> Schema:
        return Schema(FULL.name, (PARENT, msgspec.structs.replace(child, **changes)), 3)

    def with_column(position: int, **changes: Any) -> Schema:
        columns = list(child.columns)
        columns[position] = msgspec.structs.replace(columns[position], **changes)
        return with_child(columns=tuple(columns))

    variants = [
        FULL,
        msgspec.structs.replace(FULL, name="other"),
        msgspec.structs.replace(FULL, generation=4),
        msgspec.structs.replace(FULL, tables=(child, PARENT)),
        with_child(on_delete="keep"),
        with_child(unique=()),
        with_child(foreign_keys=()),
        with_child(checks=()),
        with_child(existence_public=True),
        with_child(scopes=("store/{store_id}", "all")),
        with_child(key=("n", "store_id")),
        with_child(columns=tuple(reversed(child.columns))),
        with_column(3, merge="largest"),
        with_column(4, scale=3, default="0.000"),
        with_column(5, default="1"),
        with_column(9, corrected=False),
        with_column(9, nullable=False),
        with_child(columns=(*child.columns, Column("added"))),
    ]
    prints = {variant.fingerprint for variant in variants}
    assert len(prints) == len(variants)
    assert msgspec.structs.replace(FULL, local=()).fingerprint == FULL.fingerprint


def test_engine_tables_come_with_every_schema() -> None:
    assert [t.name for t in FULL.all_tables] == ["parent", "child", "holdfast_conflict"]
    assert FULL.by_name["holdfast_conflict"].key == ("id",)


def test_template_columns() -> None:
    assert template_columns("catalog") == ()
    assert template_columns("a/{b}/{c_d}") == ("b", "c_d")


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_names_that_could_meet_do_not(library: Any, tmp_path: Path) -> None:
    """Tables called like SQL's words, like the engine's parts, or like one another's indexes."""
    names = (
        "order",
        "select",
        "on",
        "set",
        "x",
        "x_key",
        "x_tx",
        "x_0",
        "change",
        "row",
        "tx",
        "state",
        "conflict",
        "key",
        "rowid",
        "shadow_x",
        "before_insert_0",
        "a" * IDENTIFIER_LENGTH_MAX,
    )
    columns = (
        Column("id"), Column("key"), Column("tx"), Column("was"), Column("now"), Column("base"),
        Column("group"), Column("old"), Column("new"), Column("excluded"), Column("rowid"),
        Column("parent", nullable=True),
    )  # fmt: skip
    tables = tuple(
        Table(
            name, ("id",), columns, ("all",), unique=(("group", "key"),),
            foreign_keys=(ForeignKey(("parent",), "x"),),
        )
        for name in names
    )  # fmt: skip
    program = compile_replica(Schema("s", tables))
    db = driver(library).connect(str(tmp_path / "t.db"), OpenOptions(synchronous="OFF"))
    try:
        for sql in (*program.create, *program.triggers.values(), *program.views.values()):
            db.execute(sql)
        file_of_rows(db, program, str(tmp_path / "file.db"))
        for sql in program.load_begin:
            db.execute(sql)
        for name, statements in program.tables.items():
            for sql in statements_of(statements):
                explained(db, sql)
            db.execute(loading_view("a_file", program_table(program, name)))
            for sql in statements_of(statements.load, apart=("look", "hashed")):
                explained(db, sql)
            # Rows are counted by their place, whatever their columns are called.
            assert db.execute(statements.load.steps, (-(2**63),)) == [(1, 2, 2)], name
            db.execute(f"DROP VIEW {LOADING}")
        for sql in program.load_end:
            db.execute(sql)
    finally:
        db.close()
    file = driver(library).connect(str(tmp_path / "file.db"), OpenOptions())
    try:
        explained(file, program.load_about)
        for statements in program.tables.values():
            explained(file, statements.load.look)
            explained(file, statements.load.hashed)
    finally:
        file.close()


def file_of_rows(db: Connection, program: ReplicaProgram, path: str) -> None:
    """Attach a snapshot file with two rows in each table; all columns are texts."""
    db.execute("ATTACH ? AS a_file", (path,))
    db.execute(f"CREATE TABLE a_file.holdfast_snapshot ({', '.join(ABOUT)})")
    for table in (*program.schema.tables, *program.engine_tables):
        columns = (*OWN, *table.column_names)
        db.execute(f'CREATE TABLE a_file."{table.name}" ({names_of(columns)})')
        for _ in range(2):
            values = ", ".join("'x'" for _ in columns)
            db.execute(f'INSERT INTO a_file."{table.name}" VALUES ({values})')


def program_table(program: ReplicaProgram, name: str) -> Table:
    """Return one of the program's tables."""
    return program.schema.by_name[name]


def explained(db: Connection, sql: str) -> None:
    numbered = [int(number) for number in re.findall(r"\?(\d+)", sql)]
    count = max(numbered) if numbered else sql.count("?")
    db.execute(f"EXPLAIN {sql}", (None,) * count)


def statements_of(program: object, *, apart: tuple[str, ...] = ("name", "load")) -> list[str]:
    """All statements of a table's program."""
    values = msgspec.structs.asdict(program)  # type: ignore[arg-type]
    for name in apart:
        del values[name]
    found = [
        one
        for value in values.values()
        for one in (value if isinstance(value, tuple) else (value,))
    ]
    return [one.children if isinstance(one, Reference) else one for one in found]


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_the_largest_schema_compiles_to_what_sqlite_takes(library: Any, tmp_path: Path) -> None:
    types: tuple[Any, ...] = TYPES
    wide = tuple(
        Column(f"c{n}", types[n % len(types)], nullable=True) for n in range(COLUMNS_MAX - 1)
    )
    tables = [Table("wide", ("id",), (Column("id"), *wide), ("all",))]
    tables += [table(name=f"t{n}") for n in range(TABLES_MAX - 1)]
    program = compile_replica(Schema("s", tuple(tables)))
    db = driver(library).connect(str(tmp_path / "t.db"), OpenOptions(synchronous="OFF"))
    try:
        db.execute("BEGIN")
        for sql in (*program.create, *program.triggers.values(), *program.views.values()):
            db.execute(sql)
        db.execute(
            "INSERT INTO holdfast_state (id, format, fingerprint, schema) VALUES (1, 1, '', '')"
        )
        db.execute("INSERT INTO wide (id) VALUES ('a')")
        assert db.execute("SELECT count(*) FROM holdfast_pending") == [(1,)]
        assert db.execute("SELECT state FROM holdfast_row_status") == [("pending",)]
        assert db.execute("SELECT * FROM holdfast_inbox") == []
        db.execute("COMMIT")
    finally:
        db.close()


def test_load_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(FULL.to_json())
    assert load_schema(str(path)) == FULL
    (tmp_path / "loadable_schema.py").write_text("wrong = 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    for where in (
        str(tmp_path / "no.json"), "nothing", "loadable_schema:wrong", "loadable_schema:none",
        "no_such_module_at_all:x", ":", "a:",
    ):  # fmt: skip
        with pytest.raises(SchemaError):
            load_schema(where)


@pytest.mark.parametrize(
    ("kind", "default", "wire", "stored"),
    [
        ("integer", 0, "0", 0), ("integer", "7", "7", 7),
        ("integer", -(2**63), str(-(2**63)), -(2**63)),
        ("json", [], "[]", "[]"), ("json", {"a": [1, None]}, '{"a":[1,null]}', '{"a":[1,null]}'),
        ("json", "[]", "[]", "[]"), ("json", True, "true", "true"), ("json", 3, "3", "3"),
        ("decimal", Decimal("1.5"), "1.50", "1.50"), ("decimal", 2, "2.00", "2.00"),
        ("real", 1.5, 1.5, 1.5), ("real", 1, 1, 1.0), ("boolean", False, False, 0),
        ("bytes", b"\x00\xff", "AP8=", b"\x00\xff"),
        ("date", date(2026, 1, 2), "2026-01-02", "2026-01-02"),
        ("timestamp", 5, "5", 5),
        ("timestamp", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), "1000000", 1_000_000),
        ("uuid", UUID(int=1), str(UUID(int=1)), str(UUID(int=1))), ("text", "0", "0", "0"),
    ],
)  # fmt: skip
def test_a_default_may_be_written_as_python_has_it(
    kind: Any, default: object, wire: object, stored: object
) -> None:
    column = Column("c", kind, default=default, scale=2 if kind == "decimal" else 0)
    assert column.default == wire
    assert column.default_value() == stored
    schema = Schema(
        name="n",
        tables=(Table(name="t", key=("id",), columns=(Column("id"), column), scopes=("s",)),),
    )
    assert Schema.from_json(schema.to_json()) == schema


@pytest.mark.parametrize(
    ("kind", "default"),
    [
        ("integer", True), ("integer", 1.0), ("integer", 2**63), ("integer", "x"), ("text", 0),
        ("boolean", 0), ("decimal", Decimal("1.555")), ("decimal", Decimal("NaN")),
        ("decimal", 1.5),
        ("json", float("nan")), ("json", object()), ("timestamp", datetime(2026, 1, 1)),  # noqa: DTZ001
        ("date", datetime(2026, 1, 1, tzinfo=UTC)), ("bytes", "?"),
    ],
)  # fmt: skip
def test_a_default_that_does_not_fit_is_refused(kind: Any, default: object) -> None:
    column = Column("c", kind, default=default, scale=2 if kind == "decimal" else 0)
    with pytest.raises(SchemaError, match="column c: default"):
        Schema(
            name="n",
            tables=(Table(name="t", key=("id",), columns=(Column("id"), column), scopes=("s",)),),
        )


def test_a_schema_without_groups_has_the_fingerprint_that_it_had() -> None:
    plain = schema(Column("a"), Column("b"))
    with_group = schema(Column("a"), Column("b"), groups=(("a", "b"),))
    assert b"groups" not in plain.to_json()
    assert with_group.fingerprint != plain.fingerprint
    assert Schema.from_json(with_group.to_json()) == with_group


@pytest.mark.parametrize(
    "column",
    [
        Column("c", fill="upper(a)"),
        Column("c", "integer", merge="counter", fill="1"),
        Column("c", "json", merge="set", default=[], fill="'[]'"),
        Column("c", default="", fill="  "),
        Column("c", default="", fill="x" * (FILL_LENGTH_MAX + 1)),
    ],
)
def test_a_fill_belongs_to_a_column_that_can_be_without(column: Column) -> None:
    with pytest.raises(SchemaError, match="column c: a"):
        schema(Column("a"), column)


def test_a_key_has_no_fill() -> None:
    with pytest.raises(SchemaError, match="column id: a key"):
        Schema("n", (Table("t", ("id",), (Column("id", default="x", fill="1"),), ("s",)),))


def test_a_fill_is_part_of_a_schema_and_of_its_fingerprint() -> None:
    plain = schema(Column("a"), Column("c", default=""))
    filled = schema(Column("a"), Column("c", default="", fill="upper(a)"))
    assert b"fill" not in plain.to_json()
    assert filled.fingerprint != plain.fingerprint
    assert Schema.from_json(filled.to_json()) == filled
