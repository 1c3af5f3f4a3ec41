"""A look at a live database before its schema changes, on both stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from holdfast.cli.app import app
from holdfast.core.errors import SchemaError
from holdfast.schema import Check, Column, ForeignKey, Schema, Table
from holdfast.schema.migrations import Migration, MigrationStep
from holdfast.server.maintenance.schema_check import check_schema

COLUMNS = (
    Column("id"), Column("store_id"), Column("of", nullable=True), Column("size", "integer"),
    Column("note", nullable=True), Column("raw", "bytes", nullable=True),
)  # fmt: skip
THING = Table("thing", ("store_id", "id"), COLUMNS, ("all",), existence_public=True)
PARENT = Table("parent", ("id",), (Column("id"),), ("all",))
OLD = Schema("checked", (PARENT, THING))
ROWS = (
    "INSERT INTO parent VALUES ('p'); INSERT INTO thing (id, store_id, size, note, of) VALUES "
    + ", ".join(f"('r{n}', 's/1', {n}, 'n', 'gone')" for n in range(7))
    + "; INSERT INTO thing (id, store_id, size, of) VALUES ('fits', 's', 100, 'p')"
)


def changed(**parts: Any) -> Schema:
    table = msgspec.structs.replace(THING, **parts)
    return msgspec.structs.replace(OLD, tables=(PARENT, table), generation=2)


def with_column(name: str, /, **parts: Any) -> Schema:
    columns = (
        msgspec.structs.replace(column, **parts) if column.name == name else column
        for column in COLUMNS
    )
    return changed(columns=tuple(columns))


FIRST = tuple(f"s%2F1/r{n}" for n in range(5))
CASES = {
    "check": (changed(checks=(Check("size", "range", min=5),)), 5, FIRST),
    "one of": (changed(checks=(Check("size", "one_of", values=("100", "6")),)), 6, FIRST),
    "not null": (with_column("note", nullable=False, default="x"), 1, ("s/fits",)),
    "unique": (changed(unique=(("store_id", "note"),)), 7, FIRST),
    "foreign key": (changed(foreign_keys=(ForeignKey(("of",), "parent"),)), 7, FIRST),
    "required": (changed(columns=(*COLUMNS, Column("c"))), 8, FIRST),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_in_the_way_are_counted_and_named(make_server: Any, case: str) -> None:
    new, count, keys = CASES[case]
    server = make_server(schema=OLD)
    server.sql(ROWS)
    found = check_schema(str(server.path), new)
    (broken,) = (rows for rows in found.broken if rows.step.kind != "change_default")
    assert (broken.count, broken.keys) == (count, keys)
    assert found.refusal is not None and found.refusal.code == "schema_mismatch"


def test_it_says_what_a_server_would_and_changes_nothing(make_server: Any) -> None:
    server = make_server(schema=OLD)
    server.peer("d1").sync()
    for schema, code in (
        (OLD, None),
        (changed(columns=(*COLUMNS, Column("c", default=""))), None),
        (msgspec.structs.replace(changed(unique=(("store_id", "of"),)), generation=1),
         "generation_reused"),
        (changed(unique=(("store_id", "of"),)), "schema_mismatch"),
    ):  # fmt: skip
        found = check_schema(str(server.path), schema)
        assert (found.refusal and found.refusal.code) == code
        assert found.old == OLD and found.broken == ()
        assert sum(seen.devices for seen in found.devices) == 1
    server.reopen()
    assert server.query("SELECT fingerprint FROM holdfast_state") == [(OLD.fingerprint,)]


def test_a_replica_is_no_server(tmp_path: Path) -> None:
    from holdfast import Replica

    Replica.open(tmp_path / "r.db", OLD).close()
    with pytest.raises(SchemaError) as caught:
        check_schema(str(tmp_path / "r.db"), OLD)
    assert caught.value.code == "not_a_server"


def test_the_commands_say_it_in_words_and_in_json(make_server: Any, tmp_path: Path) -> None:
    added = changed(columns=(*COLUMNS, Column("c", default="")))
    files = {}
    for name, schema in (
        ("old", OLD), ("added", added), ("unique", changed(unique=(("store_id", "note"),))),
        ("reused", msgspec.structs.replace(added, generation=1)),
        ("local", msgspec.structs.replace(OLD, local=("CREATE TABLE cart (id TEXT)",))),
    ):  # fmt: skip
        files[name] = str(tmp_path / f"{name}.json")
        Path(files[name]).write_bytes(schema.to_json())
    server = make_server(schema=OLD)
    server.sql(ROWS)

    def run(*args: str) -> tuple[int, Any]:
        done = CliRunner().invoke(app, ["schema", *args, "--json"])
        return done.exit_code, msgspec.json.decode(done.stdout.splitlines()[-1])

    code, told = run("diff", files["old"], files["old"])
    assert (code, told["equal"], told["steps"]) == (0, True, [])
    code, told = run("diff", files["old"], files["added"])
    assert (code, told["ok"], told["additive"]) == (0, True, True)
    assert [step["kind"] for step in told["steps"]] == ["add_column"]
    for name, kind in (
        ("unique", "add_unique"), ("reused", "add_column"), ("local", "change_local"),
    ):  # fmt: skip
        code, told = run("diff", files["old"], files[name])
        assert (code, told["ok"]) == (1, False) and told["hindrance"]
        assert [step["kind"] for step in told["steps"]] == [kind]
    code, told = run("diff", files["added"], files["old"])
    assert code == 1 and "older" in told["hindrance"]
    database = ("--database", str(server.path))
    assert run("check", files["added"], *database)[0] == 0
    assert run("check", files["local"], *database)[0] == 0, "a server has none of it"
    code, told = run("check", files["unique"], *database)
    assert (code, told["broken"][0]["count"], len(told["broken"][0]["keys"])) == (1, 7, 5)
    code, told = run("check", files["old"], "--database", str(tmp_path / "none.db"))
    assert (code, told["error"]["code"]) == (2, "no_database")


def test_the_commands_propose_what_to_declare_and_say_who_is_cut_off(
    make_server: Callable[..., Any], tmp_path: Path
) -> None:
    new = with_column("note", name="remark")
    new = msgspec.structs.replace(
        new, tables=(PARENT, msgspec.structs.replace(new.tables[1], unique=(("store_id", "id"),)))
    )
    server = make_server(schema=OLD)
    device = server.peer("till", write=("all",))
    device.speaks = OLD
    device.sync()

    def run(schema: Schema, *args: str) -> tuple[int, Any]:
        file, old = tmp_path / "new.json", tmp_path / "old.json"
        file.write_bytes(schema.to_json())
        old.write_bytes(OLD.to_json())
        places = (str(old), str(file)) if args[0] == "diff" else (str(file), *args[1:])
        done = CliRunner().invoke(app, ["schema", args[0], *places, "--json"])
        return done.exit_code, msgspec.json.decode(done.stdout.splitlines()[-1])

    code, told = run(new, "diff")
    assert code == 1
    assert {"kind": "drop_column", "table": "thing", "column": "note"} in told["proposed"]
    (choice,) = told["choices"]
    assert choice == {"kind": "rename_column", "table": "thing", "column": "note", "to": "remark"}
    steps = [choice, *(one for one in told["proposed"] if one["kind"] != "drop_column")]
    declared = msgspec.structs.replace(
        new, migrations=(msgspec.convert({"generation": 2, "steps": steps}, Migration),)
    )
    code, told = run(declared, "diff")
    assert (code, told["declared"], told["older_devices_go_on"]) == (0, True, True)
    assert (told["proposed"], told["choices"], told["raises_floor"]) == ([], [], [])
    code, told = run(declared, "check", "--database", str(server.path))
    assert (code, told["devices"][0]["served"]) == (0, True)
    dropped = msgspec.structs.replace(
        changed(columns=COLUMNS[:-1]),
        migrations=(Migration(2, (MigrationStep("drop_column", "thing", "raw"),)),),
    )
    code, told = run(dropped, "diff")
    assert (code, told["declared"], told["older_devices_go_on"]) == (0, True, False)
    assert told["raises_floor"] == ["thing: column raw is gone"]
    code, told = run(dropped, "check", "--database", str(server.path))
    assert code == 0
    (seen,) = told["devices"]
    assert (seen["generation"], seen["devices"], seen["served"]) == (1, 1, False)
    assert seen["last_seen_us"] > 0
