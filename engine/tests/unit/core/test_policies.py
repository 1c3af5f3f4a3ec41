"""A merge policy is whole: every table, both databases, the vectors, the guide and the properties
know each one.

Checks I17, I18.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from holdfast.core.errors import SchemaError
from holdfast.core.merging.policies import POLICIES as DOES
from holdfast.schema.model import Column, Schema, Table
from holdfast.schema.policies import POLICIES, RULES, ByPolicy, MergePolicy
from holdfast.sql import policies as on_sqlite
from holdfast.sql import tables as sqlite_tables
from holdfast.sql.postgres import policies as on_postgres
from holdfast.sql.postgres import tables as postgres_tables
from holdfast.sqlite import OpenOptions, driver

ROOT = Path(__file__).resolve().parents[4]

VALUES: ByPolicy[tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "latest": (("a",), ()),
    "manual": (("a",), ()),
    "counter": ((0, -5), (None,)),
    "server": (("a",), ()),
    "client": (("a",), ()),
    "largest": ((1,), ()),
    "smallest": ((1,), ()),
    "set": (
        ("[]", ' ["a", 1, {"b":[]}] '),
        (None, "{}", '"a"', "null", "1", "no json", '["' + "x" * 2**20 + '"]'),
    ),
}
"""Of each policy: values that a database takes, and values that it does not."""


def table_of(policy: MergePolicy) -> Table:
    kind: Any = RULES[policy].types[0]
    column = Column("value", kind, merge=policy)
    return Table(name="item", key=("id",), columns=(Column("id"), column), scopes=("catalog",))


@pytest.mark.parametrize("policy", POLICIES)
def test_sqlite_holds_a_column_to_its_policy(policy: MergePolicy, tmp_path: Path) -> None:
    db = driver().connect(str(tmp_path / "t.db"), OpenOptions())
    db.execute(sqlite_tables.create_table(table_of(policy)))
    good, bad = VALUES[policy]
    for number, value in enumerate(good):
        db.execute("INSERT INTO item VALUES (?, ?)", (str(number), value))
    for value in bad:
        with pytest.raises(Exception, match=r"(?i)constraint"):
            db.execute("INSERT INTO item VALUES ('x', ?)", (value,))
    db.close()


def test_postgresql_holds_a_column_to_its_policy(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as db:
        for policy in POLICIES:
            db.execute(postgres_tables.create_table(table_of(policy)).encode())
            good, bad = VALUES[policy]
            for number, value in enumerate(good):
                db.execute("INSERT INTO item VALUES (%s, %s)", (str(number), value))
            for value in bad:
                with pytest.raises((psycopg.IntegrityError, psycopg.DataError)):
                    db.execute("INSERT INTO item VALUES ('x', %s)", (value,))
            db.execute("DROP TABLE item")


def test_what_a_policy_does_not_take_is_what_the_databases_are_told_to_stop() -> None:
    """A policy that says something else than its value wants a check on both, and is tried above
    with values that are wrong."""
    for policy in POLICIES:
        conditions = [on_sqlite.POLICIES[policy].check("v"), on_postgres.CHECKS[policy]("v")]
        assert len({bool(condition) for condition in conditions}) == 1, policy
        if not DOES[policy].replaces:
            assert any(conditions) or RULES[policy].types == ("integer",), policy
            assert VALUES[policy][1], f"{policy}: say values that are wrong"


def test_every_policy_is_in_every_table() -> None:
    named = {"rules": RULES, "what it does": DOES, "SQLite": on_sqlite.POLICIES,
             "PostgreSQL": on_postgres.CHECKS, "values": VALUES}  # fmt: skip
    for table, rows in named.items():
        assert set(rows) == set(POLICIES), table


def test_every_policy_has_its_vectors() -> None:
    """Both languages answer these, and each has a test that none is left out."""
    text = (ROOT / "protocol/vectors/policies.json").read_text(encoding="utf-8")
    told = {case["in"]["policy"] for case in json.loads(text)["cases"]}
    assert told == set(POLICIES)


def test_every_policy_is_in_a_recorded_story_of_a_replica() -> None:
    found = set()
    for name in ("replica", "groups", "sets"):
        text = (ROOT / f"protocol/vectors/{name}.json").read_text(encoding="utf-8")
        for case in json.loads(text)["cases"]:
            for table in case["in"]["schema"]["tables"]:
                found |= {column.get("merge", "latest") for column in table["columns"]}
    assert found >= {policy for policy in POLICIES if not DOES[policy].replaces}


def test_every_policy_has_a_row_in_the_guide() -> None:
    guide = (ROOT / "docs/guide.md").read_text(encoding="utf-8")
    table = guide.partition("| merge | what happens")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(POLICIES)


def test_every_policy_has_a_generator_in_the_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for name in ("test_merge_properties", "test_set_merge"):
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        found |= {column.merge for column in module.TABLE.data_columns}
    assert found == set(POLICIES)


@pytest.mark.parametrize(
    "column",
    [
        Column("c", merge="counter"),
        Column("c", "integer", merge="counter", nullable=True),
        Column("c", merge="set"),
        Column("c", "json", merge="set", nullable=True),
        Column("c", "json", merge="set", default={}),
        Column("c", "json", merge="set", default='"a"'),
    ],
    ids=repr,
)
def test_a_column_that_its_policy_does_not_take_is_refused(column: Column) -> None:
    table = Table(name="item", key=("id",), columns=(Column("id"), column), scopes=("catalog",))
    with pytest.raises(SchemaError) as caught:
        Schema(name="s", tables=(table,))
    assert RULES[column.merge].meant in caught.value.message


def test_a_set_is_in_no_group() -> None:
    columns = (Column("id"), Column("tags", "json", merge="set"), Column("name"))
    with pytest.raises(SchemaError, match="'tags' merges by 'set'; a group can be latest, manual"):
        Schema(name="s", tables=(Table(name="item", key=("id",), columns=columns,
               scopes=("catalog",), groups=(("tags", "name"),)),))  # fmt: skip
