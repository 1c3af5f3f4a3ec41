"""The same history on SQLite and on PostgreSQL; everything stored and told is equal.

Checks I17.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from holdfast.core.keys import key_text
from holdfast.server.exchange.budgets import Budgets

IDS = ("a", "B", "a/%é", "日本")
STORES = ("1", "2")
SHELVES = (("1", b"\x00/\xff"), ("2", b"z"))
TEXTS = ("", "x", "quote\" \\ '", "{NULL}", "é\U0001f600", "%s $1 ?")
PRICES = ("0.00", "-1.50", "12345678901234567890.25")


def edit(table: str, keys: Any, **columns: Any) -> Any:
    """A row written (inserted where it is not known, else updated), or now and then deleted."""
    whole = st.fixed_dictionaries({k: st.sampled_from(v) for k, v in columns.items()})
    return st.tuples(
        st.sampled_from(["put"] * 6 + ["delete", "insert"]),
        st.just(table),
        st.sampled_from(keys),
        whole,
        st.sets(st.sampled_from(sorted(columns)), min_size=1),
    )


EDIT = st.one_of(
    edit(
        "product", IDS, sku=("s", "t", "u", "v", "w", "x", "y", ""), name=TEXTS, price=PRICES,
        on_hand=(1, -2, 2**62), rank=(0, 5, 7, 101), note=(None, *TEXTS),
    ),
    edit(
        "movement", (1, -5, 2**63 - 1), store_id=STORES, product_id=IDS, quantity=(1, -(2**63)),
        at=(0, 1_700_000_000_000_000),
    ),
    edit("shelf", SHELVES, label=TEXTS, full=(0, 1)),
    edit("task", IDS, store_id=STORES, text=TEXTS),
    edit(
        "parcel", ("a", "b"), weight=(None, 0.5, -1e300), unit=("kg", "g", "é,"), note=TEXTS,
        price=PRICES, currency=("EUR", "JPY"),
    ),
)  # fmt: skip
EDITS = st.lists(EDIT, min_size=1, max_size=3, unique_by=lambda item: item[1:3])
DIRECT = st.sampled_from(
    [
        "UPDATE product SET name = 'direct', on_hand = on_hand + 3",
        "UPDATE product SET price = '9.99', note = NULL WHERE id = 'a'",
        "UPDATE parcel SET unit = 'direct', price = '7.00'",
        "DELETE FROM movement WHERE store_id = '1'",
        "UPDATE shelf SET label = 'direct', \"full\" = 1",
        "DELETE FROM shelf WHERE store_id = '2'",
        "UPDATE task SET store_id = '2', text = 'direct' WHERE id IN ('a', 'B')",
        "DELETE FROM task",
        "INSERT INTO task (id, store_id) VALUES ('new', '1') ON CONFLICT DO NOTHING",
        "UPDATE holdfast_conflict SET state = 'settled' WHERE kind = 'delete'",
    ]
)
STEP = st.one_of(
    st.tuples(st.just("edits"), EDITS),
    st.tuples(st.just("edits"), EDITS),
    st.tuples(st.just("edits"), EDITS),
    st.tuples(st.just("sync"), st.none()),
    st.tuples(st.just("sync"), st.none()),
    st.tuples(st.just("direct"), DIRECT),
    st.tuples(st.just("settle"), st.sampled_from(TEXTS)),
)
BUDGETS = st.sampled_from(
    [Budgets(), Budgets(bite_changes=2), Budgets(bite_changes=1, push_changes_max=3)]
)
"""A push in one bite, in several, and more than one request may be."""
HISTORY = st.lists(st.tuples(st.integers(0, 2), STEP), min_size=5, max_size=50)


def change(peer: Any, item: Any) -> Any:
    op, table, key, new, some = item
    target = peer.server.schema.by_name[table]
    known = (table, key_text(target, key if isinstance(key, tuple) else (key,))) in peer.rows
    if op == "delete":
        return peer.change(op, table, key)
    if op == "insert" or not known:
        return peer.change("insert", table, key, new)
    wanted = {one for name in some for one in target.group_of.get(name, (name,))}
    return peer.change("update", table, key, {name: new[name] for name in sorted(wanted)})


START: list[tuple[str, Any, dict[str, Any]]] = [
    ("product", "a", {"sku": "s", "price": "1.00"}),
    ("product", "B", {"sku": "t", "on_hand": 4}),
    ("movement", 1, {"store_id": "1", "product_id": "a", "quantity": 2}),
    ("shelf", SHELVES[0], {"label": "top"}),
    ("task", "a", {"store_id": "1", "text": "first"}),
    ("parcel", "a", {"weight": 1.5}),
]


def settle(peer: Any, text: str) -> None:
    for conflict in peer.conflicts()[:1]:
        chosen: Any = "1.00" if conflict["column_name"] == "price" else text
        if "," in conflict["column_name"]:
            chosen = {"weight": 2.5, "unit": text}
        if conflict["kind"] == "delete":
            chosen = None
        changes = [peer.settling(conflict, chosen)]
        target = peer.server.schema.by_name[conflict["table_name"]]
        row = peer.rows.get((target.name, conflict["row_key"]))
        if row is not None and chosen is not None:
            keys = tuple(row[1][place] for place in target.key_positions)
            new = chosen if isinstance(chosen, dict) else {conflict["column_name"]: chosen}
            changes.append(peer.change("update", target.name, keys, new))
        peer.commit(*changes)


def play(server: Any, history: list[Any]) -> list[Any]:
    """Everything that the peers were told."""
    peers = [
        server.peer("d0"), server.peer("d1"),
        server.peer("d2", read=("catalog",), write=("store/1", "tasks")),
    ]  # fmt: skip
    told = []
    for place, (table, key, new) in enumerate(START):
        peers[0].insert(table, key, **new)
        if place == len(START) - 1:
            told += [peer.sync() for peer in peers]
    for which, (kind, what) in history:
        server.pass_time()
        peer = peers[which]
        if kind == "sync":
            told.append(peer.sync())
        elif kind == "edits":
            peer.commit(*(change(peer, item) for item in what))
        elif kind == "direct":
            server.sql(what)
        else:
            settle(peer, what)
    for peer in (*peers, *peers):
        told.append(peer.sync())
    return [
        [msgspec.to_builtins(outcomes) for outcomes in told],
        [sorted(peer.rows.items()) for peer in peers],
        [msgspec.to_builtins(peer.checkpoint) for peer in peers],
        [msgspec.to_builtins(peer.grants) for peer in peers],
        [msgspec.to_builtins(server.service.journal(peer.principal)) for peer in peers],
        server.moved,
    ]


TABLES = {
    "holdfast_row": "tbl, key, rev, stamps, image",
    "holdfast_feed": "scope, tbl, key, version, hash, removed",
    "holdfast_scope": "scope, head, count, digest, key",
    "holdfast_commit": "scope, version, count, digest",
    "holdfast_replica": 'replica, device, "user", nonce, high, confirmed, last_seen, offset_us, '
    "place, origin, origin_last, shared, forgotten, backed_up",
    "holdfast_applied": "replica, number, id, body, outcome, settled, answer",
    "holdfast_journal": "at, tbl, key, col, kind, entry",
}


def stored(server: Any) -> dict[str, list[Any]]:
    """Everything that is stored."""
    found = {name: server.query(f"SELECT {names} FROM {name}") for name, names in TABLES.items()}
    for table in server.schema.all_tables:
        names = ", ".join(f'"{name}"' for name in table.column_names)
        found[table.name] = server.query(f'SELECT {names} FROM "{table.name}"')
    return {name: sorted(rows, key=repr_of) for name, rows in found.items()}


def repr_of(row: tuple[Any, ...]) -> str:
    return repr([int(value) if isinstance(value, bool) else value for value in row])


@settings(max_examples=examples(20))
@given(history=HISTORY, budgets=BUDGETS)
def test_both_stores_decide_alike(
    pair_of_servers: Any, history: list[Any], budgets: Budgets
) -> None:
    with pair_of_servers(budgets=budgets, even=True) as (sqlite, postgres):
        told = play(sqlite, history), play(postgres, history)
        for one, other in zip(*told, strict=True):
            assert one == other
        kept = stored(sqlite), stored(postgres)
        for name in kept[0]:
            assert kept[0][name] == kept[1][name], name
        sqlite.check()
        postgres.check()
