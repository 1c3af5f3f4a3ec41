"""A schema with every policy and constraint, and random work on it.

Knows: how to write a row, in plain SQL. Must not know: the network, or what the engine makes of it.
Every text that is written holds a token of its own (``~1f~``), so that it can be found again: where
it should be, and where it must not be.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from holdfast.core.keys import row_key
from holdfast.schema.model import CONFLICT_TABLE, Check, Column, ForeignKey, Schema, Table
from holdfast.server.push.rules import RuleContext

Row = tuple[Any, ...]
Dump = dict[str, dict[str, Row]]
"""Table to key text to the whole row."""
Statement = tuple[str, tuple[Any, ...]]

TOKEN = re.compile(r"~[0-9a-f]+~")

SCHEMA = Schema(
    name="bazaar",
    tables=(
        Table(
            name="product",
            key=("id",),
            columns=(
                Column("id"),
                Column("sku"),
                Column("title", default=""),
                Column("price", "decimal", merge="manual", scale=2, default="0.00"),
                Column("level", "integer", merge="counter"),
            ),
            scopes=("catalog",),
            unique=(("sku",),),
            existence_public=True,
            on_delete="manual",
            checks=(Check("sku", "not_empty"),),
        ),
        Table(
            name="item",
            key=("id",),
            columns=(
                Column("id"),
                Column("store"),
                Column("product", nullable=True),
                Column("sku", nullable=True),
                Column("name", default=""),
                Column("label", merge="server", nullable=True),
                Column("tag", merge="client", nullable=True),
                Column("choice", merge="manual", nullable=True),
                Column("stock", "integer", merge="counter"),
                Column("rank", "integer", merge="largest", default="0"),
                Column("low", "decimal", merge="smallest", scale=2, nullable=True),
                Column("facts", "json", nullable=True),
                Column("raw", "bytes", nullable=True),
                Column("flag", "boolean", default=False),
                Column("born", "date", nullable=True),
                Column("seen", "timestamp", corrected=True, nullable=True),
                Column("ratio", "real", nullable=True),
            ),
            scopes=("store/{store}",),
            unique=(("store", "sku"),),
            foreign_keys=(ForeignKey(("product",), "product"),),
            checks=(
                Check("rank", "range", min=0, max=1000),
                Check("name", "length", max=40),
                Check("stock", "range", min=-15),
            ),
        ),
        Table(
            name="part",
            key=("store", "code", "n"),
            columns=(
                Column("store"),
                Column("code"),
                Column("n", "integer"),
                Column("item", nullable=True),
                Column("note", merge="manual", default=""),
                Column("qty", "integer", merge="counter"),
            ),
            scopes=("store/{store}",),
            on_delete="manual",
            foreign_keys=(ForeignKey(("item",), "item"),),
        ),
        Table(
            name="memo",
            key=("id",),
            columns=(
                Column("id", "uuid"),
                Column("store"),
                Column("item", nullable=True),
                Column("body", default=""),
            ),
            scopes=("store/{store}",),
            on_delete="delete",
            foreign_keys=(ForeignKey(("item",), "item"),),
        ),
        Table(  # never deleted, so that its counters can be summed by anybody
            name="tally",
            key=("id",),
            columns=(
                Column("id", "integer"),
                Column("store"),
                Column("n", "integer", merge="counter"),
                Column("best", "integer", merge="largest", default="0"),
            ),
            scopes=("store/{store}",),
        ),
        Table(
            name="task",
            key=("id",),
            columns=(
                Column("id", "bytes"),
                Column("store"),
                Column("text", merge="manual", default=""),
                Column("done", "boolean", default=False),
            ),
            scopes=("store/{store}", "tasks"),
        ),
        Table(
            name="link",
            key=("a", "b"),
            columns=(Column("a"), Column("b", "bytes")),
            scopes=("catalog",),
        ),
        Table(  # see `purses`
            name="purse",
            key=("id",),
            columns=(Column("id"), Column("n", "integer", merge="counter")),
            scopes=("catalog",),
            checks=(Check("n", "range", min=0),),
        ),
        Table(
            name="slip",
            key=("id",),
            columns=(
                Column("id"),
                Column("source"),
                Column("target"),
                Column("coins", "integer"),
                Column("serial", "integer"),
            ),
            scopes=("catalog",),
            unique=(("serial",),),
            existence_public=True,
        ),
        Table(  # see `offers`
            name="offer",
            key=("id",),
            columns=(
                Column("id"),
                Column("price", "decimal", merge="manual", scale=2, default="0.00"),
                Column("currency", merge="manual", default="EUR"),
                Column("qty", "integer", default="1"),
                Column("unit", default="each"),
            ),
            scopes=("catalog",),
            groups=(("price", "currency"), ("qty", "unit")),
        ),
        Table(  # see `baskets`
            name="basket",
            key=("id",),
            columns=(Column("id"), Column("goods", "json", merge="set", default=[])),
            scopes=("catalog",),
        ),
        Table(
            name="audit",
            key=("id",),
            columns=(Column("id"), Column("store"), Column("what", default="")),
            scopes=("store/{store}",),
        ),
    ),
)

TABLES = {table.name: table for table in (*SCHEMA.tables, CONFLICT_TABLE)}
STORES = ("1", "2", "3")
PURSES = ("copper", "silver", "gold")
FIRST_COINS = 6
_SKUS = ("a", "b", "c", "d")


def scopes(table: str, row: Sequence[Any], declared: Table | None = None) -> set[str]:
    """The scopes of a row, in words of our own. ``declared``: its table, where it is of a later
    generation."""
    value = dict(zip((declared or TABLES[table]).column_names, row, strict=True))
    if table == "holdfast_conflict":
        return set(json.loads(value["scopes"]))
    if table in ("product", "link", "purse", "slip", "offer", "basket", "sign"):
        return {"catalog"}
    own = {f"store/{value['store']}"}
    return own | {"tasks"} if table == "task" else own


def dump(query: Callable[[str], Sequence[Row]], tables: Mapping[str, Table] | None = None) -> Dump:
    """All synced rows, by plain SQL; all that the first generation knows, or as ``tables`` say."""
    found: Dump = {}
    for name, table in (tables or TABLES).items():
        columns = ", ".join(f'"{column}"' for column in table.column_names)
        rows = query(f"SELECT {columns} FROM {name}")
        found[name] = {row_key(table, row): tuple(row) for row in rows}
    return found


def first_rows(work: Work) -> list[Statement]:
    """What is there from the beginning, written by the back office."""
    rows = [
        *(("product (id, sku, title)", (f"p{n}", f"s{n}", work.token())) for n in (1, 2, 3)),
        *(
            (
                "item (id, store, product, sku, name)",
                (f"i{n + 1}", STORES[n % 3], "p1", "abcd"[n % 4], work.token()),
            )
            for n in range(6)
        ),
        *(
            ("part (store, code, n, item, note)", (store, "z", 0, None, work.token()))
            for store in STORES
        ),
        *(
            (
                "memo (id, store, body)",
                (f"00000000-0000-7000-8000-{n:012x}", STORES[n % 3], work.token()),
            )
            for n in range(6)
        ),
        *(("offer (id, price, currency)", (f"o{n}", f"{n}.00", work.token())) for n in (1, 2)),
        *(("purse (id, n)", (name, FIRST_COINS)) for name in PURSES),
        *(("tally (id, store)", (n - 2, STORES[n % 3])) for n in range(3)),
        *(
            ("task (id, store, text)", (bytes([0, n]), STORES[n % 3], work.token()))
            for n in range(3)
        ),
    ]
    return [
        (f"INSERT INTO {into} VALUES ({', '.join('?' * len(values))})", values)
        for into, values in rows
    ]


def tokens(value: object) -> set[str]:
    """All tokens in a value, or in what holds values."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        return set(TOKEN.findall(value))
    if isinstance(value, Mapping):
        return set().union(*map(tokens, value.values())) if value else set()
    if isinstance(value, (tuple, list)):
        return set().union(*map(tokens, value)) if value else set()
    return set()


def no_bad_words(transaction: RuleContext) -> None:
    """A rule that refuses some work."""
    for change in transaction.changes:
        if change.table in ("item", "product") and change.new is not None:
            text = str(change.new.get("name", "")) + str(change.new.get("title", ""))
            if "!" in text:
                transaction.refuse("bad_word", "Not such words.", field="name")


def audit_flags(transaction: RuleContext) -> None:
    """A rule that adds rows, and asks the database."""
    for change in transaction.changes:
        if change.table == "item" and change.new is not None and change.new["flag"]:
            ((count,),) = [
                tuple(row.values())
                for row in transaction.query("SELECT count(*) FROM item WHERE flag = 1")
            ]
            what = f"{min(int(str(count)), 3)}"
            audit = {"id": change.key, "store": change.new["store"], "what": what}
            transaction.add("audit", audit)


RULES = (no_bad_words, audit_flags)


def bulk(dice: random.Random, work: Work) -> Statement:
    """Many rows by one statement, whatever their scopes: written, moved, made or deleted."""
    store = dice.choice(STORES)
    # Each text has a token of its own here, too.
    first = work.tokens(40)
    moved = "SET store = CASE store WHEN '1' THEN '2' WHEN '2' THEN '3' ELSE '1' END"
    kind = dice.randrange(9)
    if kind < 2:
        name, column = dice.choice((("item", "name"), ("memo", "body"), ("task", "text")))
        token = f"printf('~%x~', ? + 2 * (SELECT count(*) FROM {name} AS o WHERE o.id < {name}.id))"
        return f"UPDATE {name} SET {column} = {token}", (first,)
    if kind == 2:
        return "UPDATE tally SET n = n + ?, best = best + 1", (dice.randrange(1, 5),)
    if kind == 3:
        return "UPDATE item SET stock = stock + ?, flag = 1 - flag", (dice.randrange(-2, 4),)
    if kind in (4, 5):
        return f"UPDATE {dice.choice(('memo', 'task', 'item'))} {moved}", ()
    if kind == 6:
        return "DELETE FROM memo WHERE store <> ?", (store,)
    if kind == 7:
        return "DELETE FROM task WHERE store = ?", (store,)
    made = (
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 5) "
        "INSERT INTO memo (id, store, body) SELECT printf('00000000-0000-7000-8000-%012x', i), "
        "1 + i % 3, printf('~%x~', ? + 2 * i) FROM n WHERE true ON CONFLICT (id) DO NOTHING"
    )
    return made, (first,)


class Work:
    """Random work of one device, or of the back office: SQL statements on rows as they are seen."""

    def __init__(self, dice: random.Random, numbers: itertools.count[int]) -> None:
        self.dice = dice
        self._numbers = numbers

    def token(self) -> str:
        return f"~{next(self._numbers):x}~"

    def tokens(self, count: int) -> int:
        """The number of the first of so many tokens; that of each next one is two more."""
        first, *_ = (next(self._numbers) for _ in range(count))
        return first

    def transaction(self, seen: Dump, stores: Sequence[str], now_us: int) -> list[Statement]:
        """One to four statements."""
        count = self.dice.choice((1, 1, 1, 2, 2, 3, 4))
        return [self.statement(seen, stores, now_us) for _ in range(count)]

    def statement(self, seen: Dump, stores: Sequence[str], now_us: int) -> Statement:
        names = (
            *("item",) * 5,
            *("part",) * 3,
            "product",
            "product",
            "memo",
            "tally",
            "task",
            "task",
            "link",
        )
        name = self.dice.choice(names)
        keys = sorted(seen[name])
        kind = self.dice.random()
        if not keys or kind < 0.2:
            return self._insert(name, seen, stores, now_us)
        if self.dice.random() < 0.6:  # where many hands meet
            keys = keys[:2]
        row = seen[name][self.dice.choice(keys)]
        if kind < 0.32 and name != "tally":
            return self._delete(name, row)
        if kind < 0.4 and name in ("item", "product"):
            verb = self.dice.choice(("INSERT OR REPLACE", "UPDATE OR REPLACE"))
            if verb == "UPDATE OR REPLACE":
                sku = self.dice.choice(_SKUS)
                return f"UPDATE OR REPLACE {name} SET sku = ? WHERE id = ?", (sku, row[0])
            return self._insert(name, seen, stores, now_us, verb=verb)
        return self._update(name, row, seen, stores, now_us)

    def value(  # noqa: C901, PLR0912 - a table of types
        self, table: str, column: Column, seen: Dump, stores: Sequence[str], now_us: int
    ) -> Any:
        dice = self.dice
        if column.nullable and dice.random() < 0.15:
            return None
        if column.name == "sku":
            return dice.choice(_SKUS)
        if column.name == "store":
            return dice.choice(stores)
        if column.name in ("item", "product"):
            known = sorted(seen[column.name])
            return (
                dice.choice(known) if known and dice.random() < 0.85 else dice.choice(("i9", "p9"))
            )
        match column.type:
            case "text":
                return self.token() + ("!" if dice.random() < 0.05 else "")
            case "integer":
                return dice.randrange(1001) if column.merge == "largest" else dice.randrange(-9, 10)
            case "decimal":
                return f"{dice.randrange(200)}.{dice.randrange(100):02d}"
            case "json":
                return json.dumps({"t": self.token(), "é": [1, None, 2.5]})
            case "bytes":
                return self.token().encode() + b"\x00\xff"
            case "boolean":
                return int(dice.random() < 0.5)
            case "date":
                return f"20{dice.randrange(10, 30)}-02-{dice.randrange(1, 29):02d}"
            case "timestamp":
                return now_us
            case "real":
                return dice.choice((0.0, -0.0, 0.1, 1e300, -2.5, 5e-324))
            case "uuid":
                raise AssertionError("ids are keys here, and made with them")

    def _key(self, table: str, store: str) -> Row:
        """A key out of a few, mostly of rows that belong to this store."""
        dice = self.dice
        number = dice.randrange(2) * 3 + (int(store) - 1 + (dice.random() < 0.1)) % 3
        match table:
            case "part":
                return store, dice.choice(("x/y", "50%", "z")), dice.randrange(-1, 3)
            case "memo":
                return (f"00000000-0000-7000-8000-{number:012x}",)
            case "tally":
                return (number - 2,)
            case "task":
                return (bytes([0, number]),)
            case "link":
                return dice.choice(("l", "l/m", "ü")), bytes([dice.randrange(4)])
            case _:
                return (f"{table[0]}{number + 1}",)

    def _insert(
        self, name: str, seen: Dump, stores: Sequence[str], now_us: int, verb: str = "INSERT"
    ) -> Statement:
        table = TABLES[name]
        store = self.dice.choice(stores)
        row = dict(zip(table.key, self._key(name, store), strict=True))
        for column in table.data_columns:
            if column.name == "store" and self.dice.random() < 0.9:
                row["store"] = store
                continue
            needed = column.name in ("store", "sku") and not column.nullable
            if needed or self.dice.random() < 0.6:
                row[column.name] = self.value(name, column, seen, stores, now_us)
        columns = ", ".join(row)
        marks = ", ".join("?" * len(row))
        tail = ""
        if verb == "INSERT" and len(row) > len(table.key) and self.dice.random() < 0.4:
            sets = ", ".join(f"{c} = excluded.{c}" for c in row if c not in table.key)
            tail = f" ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {sets}"
        return f"{verb} INTO {name} ({columns}) VALUES ({marks}){tail}", tuple(row.values())

    def _update(
        self, name: str, row: Row, seen: Dump, stores: Sequence[str], now_us: int
    ) -> Statement:
        table = TABLES[name]
        if not table.data_columns:
            return self._delete(name, row)
        count = min(len(table.data_columns), self.dice.choice((1, 1, 2, 3)))
        picked = self.dice.sample(table.data_columns, count)
        manual = [column for column in table.data_columns if column.merge == "manual"]
        if manual and self.dice.random() < 0.3:
            picked = manual[:1]
        sets, values = [], []
        for wanted in picked:
            seldom = wanted.name == "store" and self.dice.random() < 0.5
            column = table.data_columns[-1] if seldom else wanted
            value = self.value(name, column, seen, stores, now_us)
            if column.merge == "counter" and self.dice.random() < 0.7:
                sets.append(f"{column.name} = {column.name} + ?")
            else:
                sets.append(f"{column.name} = ?")
            values.append(value)
        where, key = self.where(name, row)
        return f"UPDATE {name} SET {', '.join(sets)} WHERE {where}", (*values, *key)

    def _delete(self, name: str, row: Row) -> Statement:
        where, key = self.where(name, row)
        return f"DELETE FROM {name} WHERE {where}", key

    def where(self, name: str, row: Row) -> tuple[str, Row]:
        table = TABLES[name]
        where = " AND ".join(f"{column} = ?" for column in table.key)
        return where, tuple(row[position] for position in table.key_positions)
