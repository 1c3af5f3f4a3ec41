"""A new replica from what was found in a damaged one: its outbox, and nothing of the server's.

Knows: the tables of a new file, and what makes it whole. Must not know: how the finds came about.
The server's rows are loaded anew; until then, what is shown is what the outbox says of its rows.

- What is whole keeps its number, its id and its moment. It is offered again under the replica that
  the damaged file was, so that what had arrived is not applied twice (I8). When it cannot be read
  which one that was, it is offered as that of one that no server knows.
- What is not whole waits in the inbox (I4, I16), with what builds on it. So does what may have been
  sent, when it cannot be read any more which replica it was: nobody could match it.
- What was not sealed is sealed now, by the same steps as ever.

Upholds I32 and I34.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from holdfast.core.ids import transaction_id
from holdfast.core.values import Value
from holdfast.replica.changes.seal import seal
from holdfast.replica.host import Host
from holdfast.replica.rebase.overlay import Overlay
from holdfast.replica.rebase.replay import Replay
from holdfast.replica.salvage.finds import Finds
from holdfast.replica.salvage.tables import RowValues, insert_row
from holdfast.replica.storage.database import LocalDatabase, applying, transaction, write_state
from holdfast.sql.bookkeeping.statements import EVENTS, IDENTITY, ROWS, TRANSACTIONS
from holdfast.sql.bookkeeping.transactions import UNSETTLED
from holdfast.sqlite import Connection
from holdfast.sqlite.failpoints import failpoint

DAMAGED = "damaged"
"""The code of a transaction that could not be read whole."""
_UNSETTLED = ("pending", "sent")
_MAYBE_SENT = "nobody can tell any more whether it had reached the server before that"
_CARRIED_STATE = (
    "device", "user", "epoch", "confirmed", "offset_us", "offset_error_us", "server", "token_file",
    "server_generation", "kept_bytes", "kept_lost", "backed_up", "stamp_us", "open_tx",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SalvageResult:
    """Counts: transactions and changes that go on, transactions that wait in the inbox, and how
    many of them are there because of the damage."""

    transactions: int
    changes: int
    to_inbox: int
    stopped: int


def rebuild(
    database: LocalDatabase, finds: Finds, host: Host, *, event: Callable[[SalvageResult], str]
) -> SalvageResult:
    """Fill a new replica's file; all in one transaction. ``event``: a sentence for its history."""
    build = _Build(database, finds, host)
    with transaction(database.app):
        build.run()
        built = build.result()
        database.app.execute(EVENTS.add, (host.now_us(), "salvaged", None, event(built)))
        failpoint("salvage.rebuilt")
    return built


class _Build:
    def __init__(self, database: LocalDatabase, finds: Finds, host: Host) -> None:
        self._database = database
        self._db: Connection = database.app
        self._finds = finds
        self._host = host
        self._known = bool(finds.state.get("replica") or finds.state.get("device"))
        """Whether it can be said which replica it was."""
        self._heads: dict[int, RowValues] = {}
        self._stopped: dict[int, str] = {}

    def run(self) -> None:
        self._put_state()
        self._collect_heads()
        self._put_outbox()
        self._put_kept()
        with applying(self._db):
            self._put_rows_now()
        self._put_log()
        first = self._next()
        self._seal()  # while all of it still counts: what was written last builds on it
        self._stop(first)
        with applying(self._db):
            self._take_rows_away()
            self._show()
        self._db.execute(IDENTITY.fork, (self._host.random_bytes(16).hex(),))

    # --- what is there already ------------------------------------------------------------------

    def _put_state(self) -> None:
        columns = self._columns("holdfast_state")
        state = self._finds.state
        carried: dict[str, Value] = {
            name: state[name]
            for name in _CARRIED_STATE
            if name in columns and state.get(name) is not None
        }
        if self._known and "replica" in columns:
            carried["replica"] = state.get("replica") or ""
            for name in ("origin", "origin_last"):
                if state.get(name):
                    carried[name] = state[name]
        if carried:
            write_state(self._db, **carried)

    def _collect_heads(self) -> None:
        """The list of transactions, with those that are known by their changes alone; and why some
        of them have to wait."""
        finds = self._finds
        self._heads = {number: dict(row) for number, row in finds.transactions.items()}
        for number in finds.damaged:
            self._heads.setdefault(
                number,
                {
                    "number": number, "id": transaction_id(self._host.random_bytes),
                    "state": "pending", "at": self._host.now_us(), "after": "[]",
                    "generation": finds.schema.generation,
                },
            )  # fmt: skip
        unsettled = {n: head for n, head in self._heads.items() if head["state"] in _UNSETTLED}
        for head in unsettled.values():
            head["aside"] = 0
        self._stopped = {n: why for n, why in finds.damaged.items() if n in unsettled}
        if not self._known:
            for number, head in unsettled.items():
                if head["state"] == "sent":
                    self._stopped.setdefault(number, _MAYBE_SENT)

    def _put_outbox(self) -> None:
        self._put("holdfast_tx", (self._heads[number] for number in sorted(self._heads)))
        changed = []
        for table in self._database.schema.all_tables:
            rows = self._finds.changes.get(table.name, [])
            self._put(f"holdfast_change_{table.name}", rows)
            if rows:
                changed.append(table.name)
        for name in changed:
            self._db.execute(self._database.program.add_noted, (name,))
        write_state(self._db, open_tx=self._next())

    def _put_kept(self) -> None:
        for name, found in self._finds.kept.items():
            self._put(name, (row for _, row in sorted(found.rows.items())))

    # --- what is sealed now ---------------------------------------------------------------------

    def _put_rows_now(self) -> None:
        for name, rows in self._finds.rows.items():
            self._put(name, rows)
        for table, key, rev in self._finds.revisions:
            self._db.execute(ROWS.put, (table, key, rev))

    def _put_log(self) -> None:
        self._put("holdfast_log", self._finds.log)

    def _seal(self) -> None:
        seal(
            self._db, self._database.schema, self._database.program,
            now_us=self._host.now_us(), random_bytes=self._host.random_bytes,
        )  # fmt: skip

    def _stop(self, logged: int) -> None:
        """Put what is not whole into the inbox, with what builds on it; the rest is to be sent.
        ``logged``: the first number of what was sealed just now."""
        found = self._db.execute(
            f"SELECT number, after FROM holdfast_tx WHERE state IN {UNSETTLED} ORDER BY number"
        )
        now_us, stopped = self._host.now_us(), set(self._stopped)
        for number, after in ((int(str(n)), json.loads(str(a))) for n, a in found):
            why = self._stopped.get(number)
            if why is None and number >= logged and self._finds.log_damaged:
                why = "some of what was written last could not be read"
            if why is not None:
                message = (
                    f"the file was damaged: {why}. Compare it with the rows, then make it again or "
                    "discard it"
                )
                outcome: tuple[Value, ...] = ("refused", DAMAGED, message, "", 0, now_us, "refused")
            elif earlier := [one for one in after if one in stopped]:
                message = f"it depends on transaction {earlier[0]}, which could not be read whole"
                outcome = ("held", "held", message, "", earlier[0], now_us, "held")
            else:
                continue
            stopped.add(number)
            self._db.execute(TRANSACTIONS.decide, (*outcome, number))
        if stopped:  # what was never sent is counted by its numbers, which have no gaps then
            self._db.execute(TRANSACTIONS.set_sent, (self._next(),))

    def _take_rows_away(self) -> None:
        """The rows of the log's keys are the server's, which sends them anew."""
        for name in self._finds.rows:
            self._db.execute(f'DELETE FROM "{name}"')
        self._db.execute(ROWS.clear)

    def _show(self) -> None:
        """Show what the outbox says of its rows. Of the server's nothing is here yet."""
        overlays: dict[str, Overlay] = {}
        again: dict[str, set[str]] = {}
        for table in self._database.schema.all_tables:
            statements = self._database.program.tables[table.name]
            overlays[table.name] = overlay = Overlay(self._db, table, statements)
            keys = {str(key) for (key,) in self._db.execute(statements.unsettled_keys)}
            for key in sorted(keys):
                overlay.put_shadow(key, None)
            if keys:
                again[table.name] = keys
        Replay(self._db, overlays).run(again, {})

    # --- pieces ---------------------------------------------------------------------------------

    def _next(self) -> int:
        ((newest,),) = self._db.execute(TRANSACTIONS.newest)
        ((open_tx,),) = self._db.execute("SELECT open_tx FROM holdfast_state")
        return max(int(str(newest or 0)) + 1, int(str(open_tx)))

    def _columns(self, table: str) -> list[str]:
        found = self._db.execute("SELECT name FROM pragma_table_info(?)", (table,))
        return [str(name) for (name,) in found]

    def _put(self, name: str, rows: Iterable[RowValues]) -> None:
        columns = self._columns(name)
        for row in rows:
            given = [column for column in columns if row.get(column) is not None]
            self._db.execute(insert_row(name, given), tuple(row[column] for column in given))

    def result(self) -> SalvageResult:
        """Count what there is now."""
        db, program = self._db, self._database.program
        ((whole,),) = db.execute(
            "SELECT count(*) FROM holdfast_tx WHERE state IN ('pending', 'sent')"
        )
        ((waiting,),) = db.execute(
            "SELECT count(*) FROM holdfast_tx WHERE state IN ('refused', 'held')"
        )
        ((stopped,),) = db.execute("SELECT count(*) FROM holdfast_tx WHERE code = ?", (DAMAGED,))
        changes = 0
        for table in program.tables.values():
            ((found,),) = db.execute(table.count_changes, (0,))
            changes += int(str(found))
        return SalvageResult(int(str(whole)), changes, int(str(waiting)), int(str(stopped)))


def _after(head: RowValues) -> list[int]:
    return [int(number) for number in json.loads(str(head.get("after") or "[]"))]
