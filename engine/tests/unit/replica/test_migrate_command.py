"""``holdfast migrate``: from a shell what opening with a newer schema does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from typer.testing import CliRunner

from holdfast import Column, Replica, Schema, Table
from holdfast.cli.app import app

COLUMNS = (Column("id"), Column("t", default=""))
NOTE = Table("note", ("id",), COLUMNS, ("main",))
OLD = Schema("notes", (NOTE,))
WIDER = msgspec.structs.replace(NOTE, columns=(*COLUMNS, Column("vat", "integer", default=20)))
NEW = Schema("notes", (WIDER,), generation=2)
STRICTER = Schema("notes", (msgspec.structs.replace(NOTE, scopes=("other",)),), generation=3)


def test_a_file_is_migrated_once_with_its_work(tmp_path: Path) -> None:
    file = tmp_path / "d.db"
    with Replica.open(file, OLD) as replica, replica.transaction() as tx:
        tx.execute("INSERT INTO note (id, t) VALUES ('a', 'kept')")

    def run(schema: Schema) -> tuple[int, Any]:
        where = tmp_path / "schema.json"
        where.write_bytes(schema.to_json())
        done = CliRunner().invoke(app, ["migrate", str(file), "--schema", str(where), "--json"])
        return done.exit_code, msgspec.json.decode(done.stdout.splitlines()[-1])

    code, told = run(OLD)
    assert (code, told["migrated"], told["pending"]) == (0, False, 1)
    code, told = run(STRICTER)
    assert (code, told["ok"]) == (2, False)
    code, told = run(NEW)
    assert (code, told["migrated"], told["from"], told["to"]) == (0, True, 1, 2)
    assert told["pending"] == 1
    code, told = run(NEW)
    assert (code, told["migrated"]) == (0, False)
    code, told = run(OLD)
    assert (code, told["error"]["code"]) == (2, "replica_newer")
    with Replica.open(file) as replica:
        assert replica.query("SELECT id, t, vat FROM note") == [("a", "kept", 20)]
