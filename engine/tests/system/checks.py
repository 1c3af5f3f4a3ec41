"""What must hold: after every step, and when everything has come to rest.

Knows: the files, by plain SQL, and the ledger. Must not know: how the engine gets there.
Each assertion names its invariant (design, section 14).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from baskets import nothing_is_lost_from_a_basket, refilled
from bazaar import TABLES, TOKEN, Dump, Row, scopes, tokens
from device import Device, cells_of, default_of, wire_default
from growth import (
    EVERY,
    GENERATIONS,
    STOCK_LEAST,
    kept_digests,
    scopes_in,
    what_is_new_is_right,
    whole,
)
from offers import no_mixed_pair_on_the_server, wire_of
from readers import read
from waits import a_refusal_keeps_no_stranger, each_wait_has_its_reason, freed_in_time, place_of
from world import World
from world import server_outcomes as remembered

from holdfast.core.keys import row_key
from holdfast.schema.model import Column, Table

_LOOSENED = ("CHECK constraint failed in item",)
UNSETTLED = ("pending", "sent")


def after_step(world: World) -> None:
    """The cheap ones."""
    applied = server_outcomes(world)
    for device in world.devices:
        conservation(world, device, applied)
        read(world, device, applied, partial(truth_of, world, device))
        if not device.is_comparing():
            holds_a_checkpoint(world, device)
    server_is_sound(world)
    no_mixed_pair_on_the_server(world)
    open_conflicts_are_right(world)


def at_rest(world: World) -> None:
    """When the network has healed and everybody has synced until it was quiet."""
    world.latest = world.dump_server()
    after_step(world)
    applied = server_outcomes(world)
    for device in world.devices:
        everything_is_decided(world, device)
        same_rows(world, device)
        nothing_foreign_in_the_file(world, device)
        differed = device.replica.status.mismatches
        assert world.options.damaged or differed == 0, "I36: a mismatch that nobody caused"
    counters_add_up(world, applied)
    what_is_new_is_right(world, applied)
    nothing_is_lost_from_a_basket(world)
    losers_are_on_record(world, applied)
    no_default_beats_a_choice(world, applied)
    only_dependants_wait(world, applied)
    each_wait_has_its_reason(world)
    freed_in_time(world)
    a_refusal_keeps_no_stranger(world)
    server_digests(world)
    assert not world.server_rows(world.database.NOTED), "a direct write is not taken in"
    assert world.service.deep_check() == 0, "the server's own deep check found a difference"


def server_outcomes(world: World) -> dict[tuple[str, int], tuple[str, str, int]]:
    """Device and number to id, outcome and whether it was settled by another."""
    return {**world.ledger.forgotten, **remembered(world.server_rows)}


def conservation(
    world: World, device: Device, applied: dict[tuple[str, int], tuple[str, str, int]]
) -> None:
    """I4, I6, I9, I28."""
    world.note_freed(device)
    ledger = world.ledger
    held, aside = device.transactions(), device.set_aside()
    for number, (id_, state, held_by, replaces) in held.items():
        place = device.name, number
        if state != "pending":  # what was never sent may move up, behind the parts of another
            assert ledger.ids.setdefault(place, id_) == id_, f"I8: {place} changed its id"
        known = applied.get(place)
        assert state in ("pending", "sent", "refused", "held"), f"{place} is {state} at rest"
        if number in aside:
            assert state in ("pending", "sent"), f"{place} is decided, and set aside"
        if state in ("refused", "held"):
            assert known is not None and known[:2] == (id_, state), f"I6: {place} {state} {known}"
        else:
            assert known is None or known[0] == id_, f"I4: {place} {known}"
        assert replaces == 0 or replaces < number
        assert (held_by > 0) == (state == "held") or number in aside
    ((open_tx, applying),) = device.rows("SELECT open_tx, applying FROM holdfast_state")
    assert applying == 0
    for number in range(1, open_tx):
        place = device.name, number
        if number in held or place in ledger.dropped:
            continue
        assert place in ledger.ids, f"I4: {place} was never seen"
        known = applied.get(place)
        assert known is not None, f"I4: {place} is nowhere"
        assert known[:2] == (ledger.ids[place], "applied"), f"I4: {place} left as {known}"
    for name in TABLES:
        lost = device.rows(
            f"SELECT tx, key FROM holdfast_change_{name} "
            "WHERE tx NOT IN (SELECT number FROM holdfast_tx)"
        )
        assert not lost, f"I4: {device.name} {name}: changes of no transaction: {lost}"
    decided = [number for name, number in applied if name == device.name]
    assert sorted(decided) == list(range(1, len(decided) + 1)), "I9: gaps"


def truth_of(world: World, device: Device) -> dict[tuple[str, str], Row]:
    """The rows of the checkpoint that the device says it has applied, from the ledger."""
    found: dict[tuple[str, str], Row] = {}
    for scope, version in device.rows("SELECT scope, version FROM holdfast_scope"):
        history = world.ledger.history.get((str(scope), int(version)))
        assert version == 0 or history is not None, f"{scope} never had version {version}"
        for table, rows in (history or {}).items():
            for key, row in rows.items():
                assert found.setdefault((table, key), row) == row, "I16: scopes do not agree"
    return found


def holds_a_checkpoint(world: World, device: Device) -> None:
    """I10, I14, I15, I16, I25, I32: truth is a checkpoint; seen are truth and pending work."""
    truth = truth_of(world, device)
    seen = device.dump()
    for name, table in TABLES.items():
        notes = unsettled(device, table)
        held: dict[str, Row | None] = {**seen[name], **before_the_log(device, table)}
        listed = {
            key for (key,) in device.rows("SELECT key FROM holdfast_member WHERE tbl = ?", name)
        }
        expected = {key for (other, key) in truth if other == name}
        assert listed == expected, f"I10: {device.name} {name} lists {listed ^ expected}"
        revs = {key for (key,) in device.rows("SELECT key FROM holdfast_row WHERE tbl = ?", name)}
        assert revs == expected, f"I10: {device.name} {name} has revisions {revs ^ expected}"
        for key in expected | held.keys() | notes.keys():
            row = truth.get((name, key))
            mine = notes.get(key, [])
            for note in mine:
                if not note["aside"]:
                    row = replayed(table, row, note, mine[0])
            assert same(held.get(key), row), (
                f"I14/I15: {device.name} {name} {key}: {held.get(key)}, not {row}; {mine}"
            )


def before_the_log(device: Device, table: Table) -> dict[str, Row | None]:
    """Rows with work that is not sealed yet, as they were before it."""
    whole_table = GENERATIONS[device.generation].by_name.get(table.name, table)
    names = [*whole_table.key, *(column.name for column in whole_table.data_columns)]
    places = ", ".join(f"c{number}" for number in range(len(names)))
    found: dict[str, Row | None] = {}
    for was, *values in device.rows(
        f"SELECT was, {places} FROM holdfast_log WHERE tbl = ? ORDER BY seq", table.name
    ):
        by_name = dict(zip(names, values, strict=True))
        row = tuple(by_name[column.name] for column in table.columns)
        found.setdefault(row_key(table, row), row if was else None)
    return found


def unsettled(device: Device, table: Table) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    data = [column.name for column in table.data_columns]
    fields = ", ".join(f'c."o_{n}", c."n_{n}"' for n in data)
    for key, was, now, aside, *values in device.rows(
        f"SELECT c.key, c.was, c.now, x.aside{',' if data else ''} {fields} "
        f"FROM holdfast_change_{table.name} AS c JOIN holdfast_tx AS x ON x.number = c.tx "
        "WHERE x.state IN ('pending', 'sent') ORDER BY c.tx"
    ):
        old, new = (
            dict(zip(data, values[::2], strict=True)),
            dict(zip(data, values[1::2], strict=True)),
        )
        found[key].append({"was": was, "now": now, "aside": aside, "old": old, "new": new})
    return found


def replayed(
    table: Table, row: Row | None, note: dict[str, Any], first: dict[str, Any]
) -> Row | None:
    """``first``: the first unsettled change of the row; if the row is gone, one that changes it
    brings it back as it was before."""
    if not note["now"]:
        return None
    if row is None and note["was"]:
        row = tuple(first["old"].get(column.name, ...) for column in table.columns)
    if row is None:
        row = (None,) * len(table.columns)
        keys = None
    else:
        keys = row
    kept = {column.name for column in table.data_columns if _is_kept(table, column, note)}
    result = []
    for column, value in zip(table.columns, row, strict=True):
        if column.name in table.key:
            result.append(value if keys else ...)
            continue
        old, new = note["old"][column.name], note["new"][column.name]
        if keys is None:
            result.append(new)
        elif column.merge == "counter":
            result.append(value + new - (old if note["was"] else 0))
        elif column.merge == "set":
            result.append(refilled(value, old if note["was"] else "[]", new))
        elif column.name in kept:
            result.append(value)
        else:
            result.append(new)
    return tuple(result)


def _is_kept(table: Table, column: Column, note: dict[str, Any]) -> bool:
    """Whether a change leaves a column, and all that are one decision with it, as they stand."""
    return all(
        same((note["old"][name],), (note["new"][name],))
        if note["was"]
        else note["new"][name] == table.by_name[name].default_value()
        for name in table.group_of.get(column.name, (column.name,))
    )


def same(one: Row | None, other: Row | None) -> bool:
    """Cell by cell, types and all; an ellipsis stands for anything."""
    if one is None or other is None:
        return one is other
    return all(b is ... or (type(a) is type(b) and a == b) for a, b in zip(one, other, strict=True))


def server_is_sound(world: World) -> None:
    """I22."""
    assert not world.database.orphans(), "I22: foreign keys"
    for name, table in TABLES.items():
        rows = list(world.latest[name].values())
        for unique in (table.key, *table.unique):
            held = [tuple(row[table.positions[n]] for n in unique) for row in rows]
            held = [values for values in held if None not in values]
            assert len(held) == len(set(held)), f"I22: {name} {unique}"
    for row in world.latest["item"].values():
        least = STOCK_LEAST[world.generation]
        assert 0 <= row[9] <= 1000 and len(row[4]) <= 40 and row[8] >= least, "I22: checks"


def row_hash(key: bytes, table: str, text: str, row: Row) -> int:
    """Section 1 of the protocol's page, written once more."""
    body = b""
    for value in (table, text, *row):
        if value is None:
            body += b"\x00"
        elif isinstance(value, int):
            body += b"\x01" + struct.pack(">q", value)
        elif isinstance(value, float):
            body += b"\x02" + struct.pack(">d", value + 0.0)
        else:
            raw = value.encode() if isinstance(value, str) else value
            body += (
                (b"\x03" if isinstance(value, str) else b"\x04") + struct.pack(">I", len(raw)) + raw
            )
    return int.from_bytes(hashlib.blake2s(body, digest_size=16, key=key).digest(), "big")


def digests_of(rows: Dump, scope: str, key: bytes, generation: int) -> tuple[int, str]:
    """``rows``: all that there are, as a generation sees them."""
    hashes = [
        row_hash(key, table, text, row)
        for table, rows_ in rows.items()
        for text, row in rows_.items()
        if scope in scopes_in(generation, table, row)
    ]
    return len(hashes), f"{sum(hashes) % 2**128:032x}"


def server_digests(world: World) -> None:
    """I12: what the server says of its scopes is what its tables hold."""
    stands = world.generation
    seen = {n: whole(world.server_rows, n, stands=stands) for n in range(1, stands + 1)}
    for scope, key in world.server_rows("SELECT scope, key FROM holdfast_scope"):
        for number, kept in kept_digests(world, str(scope)).items():
            found = digests_of(seen[number], str(scope), bytes(key), number)
            assert found == kept, f"I12: {scope} in generation {number}"


def everything_is_decided(world: World, device: Device) -> None:
    """I29: nothing waits, and the status says so."""
    status = device.replica.status
    assert (status.pending, status.sent) == (0, 0), f"I29: {status}"
    waiting = {state for _, state, _, _ in device.transactions().values()}
    assert waiting <= {"refused", "held"}


def same_rows(world: World, device: Device) -> None:
    """I12, I24: a replica at rest holds what its device may read, cell by cell, nothing else."""
    generation = device.generation
    rows = whole(world.server_rows, generation, stands=world.generation)
    expected = {
        (table, key): row
        for table, known in rows.items()
        for key, row in known.items()
        if any(device.principal.may_read(s) for s in scopes_in(generation, table, row))
    }
    seen = {
        (table, key): row
        for table, known in whole(device.rows, generation).items()
        for key, row in known.items()
    }
    for place in expected.keys() | seen.keys():
        assert same(seen.get(place), expected.get(place)), (
            f"I12: {device.name} {place}: {seen.get(place)}, the server has {expected.get(place)}"
        )
    for scope, count, digest, key, version in device.rows(
        "SELECT scope, count, digest, hash_key, version FROM holdfast_scope"
    ):
        assert device.principal.may_read(str(scope)), "I24"
        found = digests_of(rows, str(scope), bytes(key), generation)
        assert found == (count, digest), f"I12: {scope}"
        ((head,),) = world.server_rows("SELECT head FROM holdfast_scope WHERE scope = ?", scope)
        assert version == head
    known = {
        (t, k): rev for t, k, rev in world.server_rows("SELECT tbl, key, rev FROM holdfast_row")
    }
    restored = world.count["server put back"]
    for table, key, rev in device.rows("SELECT tbl, key, rev FROM holdfast_row"):
        # Of a history that is beside this one, rows that are alike keep their revisions.
        assert rev == known[table, key] or restored > 1, (
            f"I36: {device.name} {table} {key} has revision {rev:#x}, not {known[table, key]:#x}"
        )
    for name in rows:
        assert not device.rows(f"SELECT 1 FROM holdfast_shadow_{name}"), "a shadow is left over"
    # What the server says is shown, also where checks are stricter here.
    strict = device.generation < world.generation
    broken = set(device.rows("PRAGMA integrity_check")) - {("ok",)}
    assert broken <= ({_LOOSENED} if strict else set()), broken


def _pages(path: Path) -> bytes:
    """The pages in a database file or its log, without the salts and checksums between those of a
    log (https://sqlite.org/fileformat2.html#walformat): they differ from run to run, and a short
    token may happen to stand in them."""
    content = path.read_bytes()
    if not path.name.endswith("-wal"):
        return content
    size = int.from_bytes(content[8:12], "big")
    frames = range(32, len(content), 24 + size)
    return b"\n".join(content[at + 24 : at + 24 + size] for at in frames)


def nothing_foreign_in_the_file(world: World, device: Device) -> None:
    """I23: not one byte of a row that the device could never read."""
    own = {t for (name, _), tx in world.ledger.sent.items() if name == device.name
           for t in tokens([[c.key, c.new, c.old] for c in tx.changes])}  # fmt: skip
    allowed = own | device.readable_tokens
    others = world.server_tokens  # what was only ever tried on this device never got there
    for suffix in ("", "-wal"):
        path = device.path.with_name(device.path.name + suffix)
        if path.exists():
            found = set(TOKEN.findall(_pages(path).decode("latin-1")))
            leaked = (found - allowed) & others
            assert not leaked, f"I23: {device.name} has {leaked} in its file"


def counters_add_up(world: World, applied: dict[tuple[str, int], tuple[str, str, int]]) -> None:
    """I21: rows that are never deleted, from the transactions that were taken and direct writes."""
    expected: dict[int, int] = defaultdict(int, world.ledger.direct)
    for place, (_, outcome, _) in applied.items():
        if outcome == "applied":
            for change in world.ledger.sent[place].changes:
                if change.table == "tally":
                    expected[int(change.key[0])] += int(change.new.get("n", "0"))
    found = {row[0]: row[2] for row in world.latest["tally"].values()}
    for key, total in found.items():
        assert total == expected[key], f"I21: tally {key} is {total}, not {expected[key]}"


def losers_are_on_record(
    world: World, applied: dict[tuple[str, int], tuple[str, str, int]]
) -> None:
    """I18: whatever was taken is there, was replaced by somebody who saw it, or is on record."""
    written: dict[str, tuple[str, int]] = {}
    seen: set[str] = set(world.ledger.overwritten)
    under: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for place, (_, outcome, _) in sorted(applied.items()):
        for change in world.ledger.sent[place].changes:
            row = place[0], change.table, str(change.key)
            if outcome != "applied":  # who deletes the row then has seen what this one saw
                under[row] |= tokens(change.old)
                continue
            if change.table != "holdfast_conflict":
                written.update(dict.fromkeys(tokens(change.new), place))
            seen |= tokens(change.old)
            if change.op == "delete":
                seen |= under[row]
    record = tokens(
        {name: rows for name, rows in world.latest.items() if name != "holdfast_conflict"}
    )
    for conflict in world.latest["holdfast_conflict"].values():
        # Who settles one has seen it, or what they have not seen is open still, or journalled.
        if conflict[15] == "open":
            record |= tokens(conflict)
    for (entry,) in world.server_rows("SELECT entry FROM holdfast_journal"):
        record |= tokens(entry)
    for (image,) in world.server_rows("SELECT image FROM holdfast_row WHERE image IS NOT NULL"):
        record |= tokens(image)
    lost = {token: place for token, place in written.items() if token not in seen | record}
    assert not lost, f"I18: {lost}"


def no_default_beats_a_choice(
    world: World, applied: dict[tuple[str, int], tuple[str, str, int]]
) -> None:
    """I18: what somebody wrote was dropped for a default only where somebody had written that."""
    cleared = set(world.ledger.cleared)
    for place, (_, outcome, _) in applied.items():
        for change in world.ledger.sent[place].changes:
            if outcome == "applied" and change.op == "update":
                table = EVERY[change.table]
                names = {n for n, v in change.new.items() if v == wire_default(table.by_name[n])}
                cleared |= {(*place_of(change), cell) for cell in cells_of(table, names)}
    for name, key, column, kind, entry in world.server_rows(
        "SELECT tbl, key, col, kind, entry FROM holdfast_journal"
    ):
        if column and kind not in ("edit", "settlement"):
            kept = json.loads(entry)["kept"]
            won = kept == default_of(EVERY[name], column)
            assert not won or (name, key, column) in cleared, f"I18: {name} {key} {entry}"


def open_conflicts_are_right(world: World) -> None:
    """An open conflict is where its row is, and shows what stands, once that is taken in."""
    noted = set(world.server_rows(world.database.NOTED))
    for conflict in world.latest["holdfast_conflict"].values():
        row = world.latest[conflict[2]].get(conflict[3])
        if conflict[15] != "open" or (conflict[2], conflict[3]) in noted:
            continue
        asks_for_it = not conflict[4] and conflict[7] is not None
        assert row is not None or asks_for_it, f"I18: {conflict} is open on nothing"
        if row is None:
            continue
        assert scopes("holdfast_conflict", conflict) == scopes(conflict[2], row), f"I23: {conflict}"
        if conflict[4]:
            value = wire_of(conflict[2], conflict[4], row)
            assert json.loads(conflict[8]) == value, (
                f"I18: {conflict} shows another value than {value}"
            )


def only_dependants_wait(
    world: World, applied: dict[tuple[str, int], tuple[str, str, int]]
) -> None:
    """I27: held is only what builds on something that was refused or held."""
    for (name, number), (_, outcome, _) in applied.items():
        if outcome == "held":
            after = world.ledger.sent[name, number].after
            stopped = [n for n in after if applied[name, n][1] != "applied"]
            assert stopped, f"I27: {name} {number} is held for nothing ({after})"
        if outcome == "applied":
            sent = world.ledger.sent[name, number]
            stopped = [n for n in sent.after if applied[name, n][1:] == ("refused", 0)]
            assert set(stopped) <= {sent.replaces}, f"I27: {name} {number} went in before {stopped}"
    for device in world.devices:
        for number, (_, state, held_by, _) in device.transactions().items():
            if state == "held":
                assert applied[device.name, held_by][1] in ("refused", "held"), f"I27: {number}"
                assert held_by in world.ledger.sent[device.name, number].after
