"""Stock on hand: a local table that triggers derive from the ledger of movements.

Knows: how a movement changes what is on hand. Must not know: who writes movements, or why.

What is moved of goods that were made one with others counts as theirs (`same_goods`). The cache is
never synced and never written by the app. It is right whoever writes: the app, news
from the server, a repair, a foreign shell; `check_stock` proves it against the ledger, and
`rebuild_stock` makes it anew. The same triggers keep the promise that a movement is never changed
or removed on a device; news from the server may do both (a refused movement goes away again).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stockroom.same_goods import FOLLOW_SQL, followed, leading

if TYPE_CHECKING:  # the server reads the schema, and needs no replica for it
    from holdfast import Replica

_LOCAL_WRITE: Final = "(SELECT applying FROM holdfast_state) = 0"
"""True while a person or an app writes, false while the engine applies the server's news."""

_PLACE: Final = "product_id, location_id, store_id"


def _add(row: str) -> str:
    # An upsert, not OR REPLACE: an outer OR clause would override the latter inside a trigger.
    product = leading(f"{row}.product_id")
    return (
        f"INSERT INTO stock_on_hand ({_PLACE}, quantity, movements) "
        f"VALUES ({product}, {row}.location_id, {row}.store_id, {row}.quantity, 1) "
        f"ON CONFLICT ({_PLACE}) DO UPDATE SET quantity = quantity + excluded.quantity, "
        "movements = movements + 1;"
    )


def _remove(row: str) -> str:
    where = (
        f"WHERE product_id = {leading(f'{row}.product_id')} AND location_id = {row}.location_id "
        f"AND store_id = {row}.store_id"
    )
    return (
        f"UPDATE stock_on_hand SET quantity = quantity - {row}.quantity, "
        f"movements = movements - 1 {where}; "
        f"DELETE FROM stock_on_hand {where} AND movements = 0;"
    )


_MOVED: Final = " OR ".join(
    f"OLD.{column} IS NOT NEW.{column}"
    for column in ("product_id", "location_id", "store_id", "quantity")
)


def _guard(name: str, event: str, condition: str) -> str:
    return (
        f"CREATE TRIGGER {name} BEFORE {event} ON movement WHEN {_LOCAL_WRITE}{condition} BEGIN "
        "SELECT RAISE(ABORT, 'a movement is never changed: undo it with a reversal'); END"
    )


_TABLE: Final = (
    "CREATE TABLE stock_on_hand (product_id TEXT NOT NULL, location_id TEXT NOT NULL, "
    "store_id TEXT NOT NULL, quantity INTEGER NOT NULL, movements INTEGER NOT NULL, "
    f"PRIMARY KEY ({_PLACE})) STRICT, WITHOUT ROWID"
)

FROM_LEDGER_SQL: Final = (
    f"SELECT {followed('m.product_id')} AS product_id, m.location_id, m.store_id, "
    "sum(m.quantity) AS quantity, count(*) AS movements FROM movement AS m GROUP BY 1, 2, 3"
)

_LED_ANEW: Final = (
    f"{FOLLOW_SQL} "
    "DELETE FROM stock_on_hand WHERE product_id IN (SELECT product_id FROM same_goods); "
    f"INSERT INTO stock_on_hand ({_PLACE}, quantity, movements) "
    "SELECT g.leads, m.location_id, m.store_id, sum(m.quantity), count(*) "
    "FROM same_goods AS g JOIN movement AS m ON m.product_id = g.product_id GROUP BY 1, 2, 3;"
)
"""On hand of all goods that are, or were, one with others: few, and seldom changed."""


def _led(event: str, when: str) -> str:
    name = event.split(maxsplit=1)[0].lower()
    return (
        f"CREATE TRIGGER stock_product_{name} AFTER {event} ON product WHEN {when} "
        f"BEGIN {_LED_ANEW} END"
    )


_UPDATED: Final = (
    f"CREATE TRIGGER stock_movement_update AFTER UPDATE ON movement WHEN {_MOVED} "
    f"BEGIN {_remove('OLD')} {_add('NEW')} END"
)

ON_HAND_SQL: Final = (
    _TABLE,
    "CREATE INDEX stock_on_hand_store ON stock_on_hand (store_id, product_id)",
    "CREATE INDEX stock_below_zero ON stock_on_hand (store_id, product_id) WHERE quantity < 0",
    f"CREATE TRIGGER stock_movement_insert AFTER INSERT ON movement BEGIN {_add('NEW')} END",
    f"CREATE TRIGGER stock_movement_delete AFTER DELETE ON movement BEGIN {_remove('OLD')} END",
    _UPDATED,
    _led("INSERT", "NEW.merged_into IS NOT NULL"),
    _led("UPDATE OF merged_into", "OLD.merged_into IS NOT NEW.merged_into"),
    _led("DELETE", "OLD.merged_into IS NOT NULL"),
    _guard("movement_never_updated", "UPDATE", ""),
    _guard("movement_never_deleted", "DELETE", ""),
    # OR REPLACE would remove the old row without telling any trigger.
    _guard(
        "movement_never_replaced",
        "INSERT",
        " AND EXISTS (SELECT 1 FROM movement WHERE id = NEW.id)",
    ),
)
"""The schema's `local` SQL: one statement each, run once when a replica is made."""

DIFFERENCE_SQL: Final = (
    f"SELECT {_PLACE}, sum(cached), sum(counted) FROM ("
    f"SELECT {_PLACE}, quantity AS cached, 0 AS counted, movements AS n FROM stock_on_hand "
    f"UNION ALL SELECT {_PLACE}, 0, quantity, -movements FROM ({FROM_LEDGER_SQL})) "
    f"GROUP BY {_PLACE} HAVING sum(cached) <> sum(counted) OR sum(n) <> 0"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StockDifference:
    """Difference between the cache and the ledger, both in base units."""

    product_id: str
    location_id: str
    store_id: str
    cached: int
    ledger: int


def check_stock(replica: Replica) -> list[StockDifference]:
    """Compare the cache with the ledger; an empty list means that they agree."""
    return [
        StockDifference(
            product_id=str(product),
            location_id=str(location),
            store_id=str(store),
            cached=int(str(cached)),
            ledger=int(str(ledger)),
        )
        for product, location, store, cached, ledger in replica.query(DIFFERENCE_SQL)
    ]


def rebuild_stock(replica: Replica) -> int:
    """Make the cache anew from the ledger; how many entries were wrong before."""
    with replica.transaction() as db:
        wrong = len(db.execute(DIFFERENCE_SQL))
        db.execute("DELETE FROM stock_on_hand")
        db.execute(f"INSERT INTO stock_on_hand ({_PLACE}, quantity, movements) {FROM_LEDGER_SQL}")
    return wrong
