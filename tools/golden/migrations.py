"""Declared migrations: the way between two generations, and replicas that take it with all work.

Knows: a schema of three generations with every kind of declared step, and work of two devices. Must
not know: how a step is recorded.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from golden import Case, Family
from golden.replicas import Stage, Step, answer_steps
from holdfast.protocol.first_sent import first_hash
from holdfast.protocol.messages import Transaction
from holdfast.schema import Check, Column, ForeignKey, Schema, Table
from holdfast.schema.lineage import lineage
from holdfast.schema.migrations import Migration, MigrationStep

_ITEM = Table(
    name="item",
    key=("id",),
    columns=(
        Column("id"),
        Column("name", default=""),
        Column("sku", nullable=True),
        Column("price", "integer", merge="manual", default="1"),
        Column("unit", merge="manual", default="kg"),
        Column("stock", "integer", merge="counter"),
        Column("colour", default="none"),
        Column("ratio", "real", nullable=True),
    ),
    scopes=("catalog",),
    unique=(("sku",),),
    existence_public=True,
    groups=(("price", "unit"),),
)
_PART = Table(
    name="part",
    key=("item", "n"),
    columns=(
        Column("item"),
        Column("n", "integer"),
        Column("note", nullable=True),
        Column("cost", "integer", merge="manual", default="0"),
        Column("sold", "integer", merge="counter"),
    ),
    scopes=("catalog",),
    foreign_keys=(ForeignKey(("item",), "item"),),
)
_LABEL = Table(
    name="label", key=("id",), columns=(Column("id"), Column("text", default="")),
    scopes=("store/1",),
)  # fmt: skip
_TASK = Table(
    name="task",
    key=("id",),
    columns=(
        Column("id"),
        Column("title", default=""),
        Column("left", default=""),
        Column("right", default=""),
        Column("tags", "json", merge="set"),
    ),
    scopes=("tasks",),
)
FIRST = Schema(name="steps", tables=(_ITEM, _PART, _LABEL, _TASK))

_SECOND_STEPS = (
    MigrationStep("rename_table", "item", to="article"),
    MigrationStep("rename_column", "article", "name", to="title"),
    MigrationStep("rename_column", "article", "unit", to="measure"),
    MigrationStep("drop_column", "article", "colour"),
    MigrationStep("add_check", "article", "title"),
    MigrationStep("change_type", "part", "cost", convert="printf('%d.00', cost)"),
    MigrationStep("change_nullable", "part", "note", convert="coalesce(note, 'none')"),
    MigrationStep("change_default", "part", "note"),
    MigrationStep("drop_table", "label"),
    MigrationStep("change_policy", "task", "title"),
    MigrationStep("change_delete_policy", "task"),
)
_ARTICLE = msgspec.structs.replace(
    _ITEM,
    name="article",
    columns=(
        Column("vat", "integer", default="20", fill="price * 2"),
        *(
            msgspec.structs.replace(
                one, name={"name": "title", "unit": "measure"}.get(one.name, one.name)
            )
            for one in _ITEM.columns
            if one.name != "colour"
        ),
    ),
    checks=(Check("title", "length", max=8),),
    groups=(("price", "measure"),),
)
_PRICED = msgspec.structs.replace(
    _PART,
    columns=(
        *_PART.columns[:2],
        Column("note", default="none"),
        Column("cost", "decimal", scale=2, merge="manual", default="0.00"),
        _PART.columns[4],
    ),
    foreign_keys=(ForeignKey(("item",), "article"),),
)
_KEPT_TASK = msgspec.structs.replace(
    _TASK,
    on_delete="manual",
    columns=(
        _TASK.columns[0], msgspec.structs.replace(_TASK.columns[1], merge="manual"),
        *_TASK.columns[2:],
    ),
)  # fmt: skip
SECOND = Schema(
    name="steps", generation=2, tables=(_ARTICLE, _PRICED, _KEPT_TASK),
    migrations=(Migration(2, _SECOND_STEPS),),
)  # fmt: skip
_THIRD_STEPS = (
    MigrationStep("rename_table", "article", to="item"),
    MigrationStep("drop_unique", "item", "sku"),
    MigrationStep("drop_group", "item", "price,measure"),
    MigrationStep("add_unique", "part", "note,n,item"),
    MigrationStep("drop_foreign_key", "part", "item"),
    MigrationStep("rename_column", "task", "left", to="between"),
    MigrationStep("rename_column", "task", "right", to="left"),
    MigrationStep("rename_column", "task", "between", to="right"),
    MigrationStep("change_column_order", "task"),
)
THIRD = Schema(
    name="steps",
    generation=3,
    tables=(
        msgspec.structs.replace(_ARTICLE, name="item", unique=(), groups=(), existence_public=True),
        msgspec.structs.replace(_PRICED, foreign_keys=(), unique=(("note", "n", "item"),)),
        _KEPT_TASK,
        msgspec.structs.replace(_LABEL, columns=(Column("id"), Column("words", default=""))),
    ),
    migrations=(Migration(2, _SECOND_STEPS), Migration(3, _THIRD_STEPS)),
)
_LATER = {"2": SECOND, "3": THIRD}


LONG = "\u00e9\u4e2d " * 4
"""What a check of the second generation is against."""


def _work(dice: random.Random, schema: Schema) -> list[list[Any]]:
    """One to three statements of somebody, in the words of a generation."""
    generation = schema.generation
    item = {1: "item", 2: "article", 3: "item"}[generation]
    name = "name" if generation == 1 else "title"
    unit = "unit" if generation == 1 else "measure"
    cost = "{n}" if generation == 1 else "'{n}.50'"
    known, fresh, n = f"i{dice.randint(1, 4)}", f"i{dice.randint(1, 9)}", dice.randint(1, 99)
    options = [
        f"INSERT OR IGNORE INTO {item} (id, {name}, price) VALUES ('{fresh}', 'n{n}', {n})",
        f"UPDATE {item} SET {name} = 'name {n}' WHERE id = '{known}'",
        f"UPDATE {item} SET price = {n} WHERE id = '{known}'",
        f"UPDATE {item} SET {unit} = 'u{n % 3}', ratio = {n}.25 WHERE id = '{known}'",
        f"UPDATE {item} SET stock = stock + {n}, sku = 's{n % 4}' WHERE id = '{known}'",
        f"UPDATE OR IGNORE part SET cost = {cost.format(n=n)}, sold = sold + 1",
        f"INSERT OR IGNORE INTO part (item, n, cost) VALUES ('{known}', {n}, {cost.format(n=n)})",
        f"UPDATE OR IGNORE part SET note = 'p{n}' WHERE n % 3 = {n % 3}",
        f"DELETE FROM part WHERE n % 5 = {n % 5}",
        f"UPDATE task SET title = 't{n}', left = 'l{n}'",
        f"UPDATE task SET right = 'r{n}', tags = '[\"a{n % 3}\"]' WHERE id = 't{n % 2}'",
        f"INSERT OR IGNORE INTO task (id, title) VALUES ('t{n % 3}', 'task {n}')",
        f"DELETE FROM task WHERE id = 't{n % 7}'",
    ]  # fmt: skip # noqa: RUF100, E501
    if generation > 1:
        options.append(f"UPDATE {item} SET title = '{LONG}' WHERE id = '{known}'")
    else:
        options += [
            f"UPDATE item SET colour = 'c{n}' WHERE id = '{known}'",
            f"INSERT OR REPLACE INTO label (id, text) VALUES ('l{n % 3}', 'label {n}')",
        ]
    return [[sql, []] for sql in dice.sample(options, dice.randint(1, 3))]


def _some_step(dice: random.Random, schema: Schema) -> Step:
    kind = dice.random()
    if kind < 0.3:
        return _EXCHANGE | ({"lost": True} if dice.random() < 0.3 else {})
    if kind < 0.36:
        return {"do": dice.choice(("resolve", "retry", "discard")), "keep": "device"}
    return {"do": "write", "statements": _work(dice, schema)}


def _told(seed: int, ways: Sequence[str]) -> dict[str, Any]:
    """Record random work of two devices that take these steps, one after the other."""
    dice = random.Random(seed)
    now = [FIRST, FIRST]
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(folder, FIRST, (), dice.randbytes)

        def take(number: int, step: Step) -> None:
            stage.now += dice.randint(1_000, 5_000_000)
            stage.take(number, step | {"now": stage.device_now()})

        take(1, {"do": "write", "statements": [[sql, []] for sql in _BEGINNING]})
        take(1, _EXCHANGE)
        take(0, _EXCHANGE)
        for way in (*ways, ""):
            for _ in range(14):
                number = int(dice.random() < 0.35)
                take(number, _some_step(dice, now[number]))
            if way:
                statements = _work(dice, now[0])
                if now[0] is FIRST:
                    statements.append([f"UPDATE item SET name = '{LONG}' WHERE id = 'i2'", []])
                take(0, {"do": "write", "statements": statements})
                stage.grow(_LATER[way])
                for number in (0, 1):
                    take(number, {"do": "migrate", "to": way})
                    now[number] = _LATER[way]
        for _ in range(2):
            for number in (1, 0):
                take(number, _EXCHANGE)
        stage.close()
    return {
        "schema": json.loads(FIRST.to_json()),
        "later": {name: json.loads(schema.to_json()) for name, schema in _LATER.items()},
        "steps": stage.taken,
    }


_BEGINNING = (
    "INSERT INTO item (id, name, price) VALUES ('i1', 'one', 5), ('i2', 'two', 6), ('i3', 'c', 7)",
    "INSERT INTO part (item, n, note, cost) VALUES ('i1', 1, 'p', 3), ('i2', 2, NULL, 4)",
    "INSERT INTO label VALUES ('l1', 'old')",
    "INSERT INTO task (id, title) VALUES ('t0', 'zero'), ('t1', 'one')",
)
_EXCHANGE: Step = {"do": "exchange"}


def _ways() -> Iterator[tuple[str, Schema, Schema]]:
    """Generations that cannot follow each other, with the words for it."""
    bare = msgspec.structs.replace(SECOND, migrations=())
    yield "nothing is declared", FIRST, bare
    yield "all is declared", FIRST, SECOND
    yield "two generations", FIRST, THIRD
    yield "one generation", SECOND, THIRD
    item = msgspec.structs.replace(
        _ITEM,
        columns=(
            _ITEM.columns[0],
            Column("name", "bytes", nullable=True),
            Column("price", "integer", merge="latest", default="2"),
            Column("must"),
            Column("small", default="x"),
            *_ITEM.columns[4:],
            Column("sku", nullable=True),
        ),
        scopes=("tasks",),
        on_delete="delete",
        existence_public=False,
        unique=(("name",),),
        checks=(
            Check("price", "range", min=0, max=9), Check("small", "length", min=2),
            Check("unit", "one_of", values=("kg", "it's")), Check("colour", "not_empty"),
        ),
        groups=(("price", "ratio"),),
    )  # fmt: skip
    other = Schema(name="other", generation=2, tables=(item, _LABEL, _PART))
    yield "everything is another", FIRST, other
    yield "and back", other, msgspec.structs.replace(FIRST, generation=3)


def _inputs() -> Iterator[Case]:
    for name, old, new in _ways():
        yield name, {"way": [json.loads(old.to_json()), json.loads(new.to_json())]}
    numbers = (1.5, -0.000012, 0.0000012, 1e-7, 123456789.25, 0, -3, 0.00001)
    insert: dict[str, Any] = {
        "table": "t", "key": ["\u00e9/\u2028", 3], "op": "insert", "base": 7,
        "bases": {"b": 2, "a:1": 3}, "new": {"z": 'x"\\\n\u0001\U0001f600', "a": None},
        "old": {"f": True},
    }  # fmt: skip
    bodies: list[dict[str, Any]] = [
        {"changes": []},
        {"changes": [], "void": "too_large", "after": [1, 2], "replaces": 4},
        {"changes": [insert]},
        {"changes": [{"table": "t", "key": [n], "op": "update", "new": {"r": n}} for n in numbers]},
    ]
    for number, body in enumerate(bodies, start=1):
        yield f"first sent {number}", {"first": {"number": number, "id": "0" * 32, "at": 5, **body}}
    for seed, ways in enumerate((("2",), ("3",), ("2", "3"), ("2",), ("3",), ("2", "3"))):
        yield f"work {seed}, to {' and '.join(ways)}", _told(seed, ways)


def _answer(given: dict[str, Any]) -> Any:
    if "first" in given:
        return first_hash(msgspec.convert(given["first"], Transaction)).hex()
    if "way" in given:
        old, new = (Schema.from_json(json.dumps(one)) for one in given["way"])
        way = lineage(old, new)
        return {
            "hindrances": [step.text for step in way.hindrances],
            "gone": [table.name for table in way.gone],
            "tables": {
                one.new.name: [one.old.name, one.reshaped, sorted(one.converted), dict(one.columns)]
                for one in way.tables.values()
                if one.new in new.tables
            },
        }
    return answer_steps(given, kept=True)


MIGRATIONS = Family(
    name="migrations",
    about="What leads from one generation of a schema to another, hashes of bodies as they were "
    "first sent, and steps of replicas as in `replica`, of which `migrate` opens the file with the "
    "schema of a later generation.",
    inputs=_inputs,
    answer=_answer,
    recorded=True,
)
