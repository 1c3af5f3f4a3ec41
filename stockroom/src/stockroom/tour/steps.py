"""The story of the tour: steps one to four, from the first local write to the server and back.

Knows: what Ana and Ben do, and what must be true after it. Must not know: how it is shown.
"""

from __future__ import annotations

from typing import Final

from holdfast.core.errors import Offline, UsageError
from stockroom.catalogue import add_product, get_product
from stockroom.stock import on_hand, opening, receive
from stockroom.tour.checks import Checks
from stockroom.tour.stage import BACKGROUND, STORE, Stage, TourDevice

SHIPMENT: Final = (
    ("LAMP-07", "Desk lamp", 2490, 12),
    ("RUG-02", "Wool rug", 8900, 4),
    ("TEA-44", "Green tea, 100 g", 650, 48),
)
"""SKU, name, price in cents, and how many came."""

DELIVERY: Final = "DN-1001"
_AWAY: Final = ("offline", "waiting")

_DIES_AFTER_SAVING: Final = """
import os, signal, sys
from holdfast import Replica
from stockroom.catalogue import add_product
replica = Replica.open(sys.argv[1])
add_product(replica, sku="KETTLE-3", name="Kettle", price=3990)
os.kill(os.getpid(), signal.SIGKILL)
"""


def seed(stage: Stage) -> None:
    """Write what was there before the story begins, on the server and on both devices."""
    ana = stage.ana
    for sku, name, price, quantity in (
        ("MUG-01", "Mug", 850, 10),
        ("CANDLE-5", "Candle", 390, 30),
    ):
        add_product(ana.replica, sku=sku, name=name, price=price)
        opening(ana.replica, ana.place, sku, quantity, actor=ana.actor)
    ana.replica.sync()
    stage.ben.replica.sync()


def is_offline(device: TourDevice) -> bool:
    """Return whether the server really cannot be reached from this device."""
    try:
        device.replica.sync()
    except Offline:
        return True
    return False


def local_storage(stage: Stage, checks: Checks) -> None:
    """A shipment arrives while the cable is out."""
    ana = stage.ana
    ana.cable.cut()
    checks.that(is_offline(ana), "Ana's cable is pulled: the server cannot be reached")
    for sku, name, price, quantity in SHIPMENT:
        add_product(ana.replica, sku=sku, name=name, price=price)
        receive(ana.replica, ana.place, sku, quantity, document=DELIVERY, actor=ana.actor)
    rows = stage.ask_file(
        ana,
        "SELECT p.sku, p.name, p.price, s.quantity FROM product AS p JOIN stock_on_hand AS s "
        "ON s.product_id = p.id WHERE p.sku IN (?, ?, ?) ORDER BY p.sku",
        [sku for sku, *_ in SHIPMENT],
    )
    checks.equal(
        rows, [*SHIPMENT], "Three new products with prices and quantities are in her SQLite file"
    )
    code = stage.run_script(_DIES_AFTER_SAVING, str(ana.path))
    checks.equal(code, -9, "A process on the same device adds a kettle and dies by SIGKILL")
    checks.equal(
        get_product(ana.replica, "KETTLE-3").price,
        3990,
        "The kettle is still there: saved is saved",
    )
    checks.equal(
        stage.ask_server("SELECT count(*) FROM product WHERE sku = 'KETTLE-3'"),
        [(0,)],
        "The server knows nothing of all this yet",
    )


def change_tracking(stage: Stage, checks: Checks) -> None:
    """Everything that was written is marked as not yet sent, in the transaction that wrote it."""
    ana = stage.ana
    checks.equal(
        ana.replica.status.pending, 7, "Seven transactions are pending: 4 products, 3 receipts"
    )
    for sku, *_ in SHIPMENT:
        checks.equal(
            ana.replica.row_status("product", get_product(ana.replica, sku).id),
            "pending",
            f"{sku} is pending",
        )
    checks.equal(
        ana.replica.row_status("product", get_product(ana.replica, "MUG-01").id),
        "synced",
        "The mug, which nobody touched, is synced",
    )
    states = stage.ask_file(
        ana,
        "SELECT tbl, state, count(*) FROM holdfast_row_status WHERE state = 'pending' "
        "GROUP BY tbl, state ORDER BY tbl",
    )
    checks.equal(
        states,
        [("movement", "pending", 3), ("product", "pending", 4)],
        "Any program can ask for the state of every row with SQL",
    )
    before = ana.replica.status.pending_changes
    try:
        with ana.replica.transaction() as db:
            db.execute("UPDATE product SET price = 1 WHERE sku = 'LAMP-07'")
            raise UsageError("she changes her mind", code="cancelled")  # noqa: TRY301
    except UsageError:
        pass
    checks.equal(
        (get_product(ana.replica, "LAMP-07").price, ana.replica.status.pending_changes),
        (2490, before),
        "A transaction that is undone leaves neither data nor a change to send",
    )


def connection_detection(stage: Stage, checks: Checks) -> None:
    """The app looks for the server by itself, and is not fooled by a portal that says 200."""
    ana = stage.ana
    ana.replica.start(BACKGROUND)
    checks.until(
        lambda: ana.replica.status.state in _AWAY,
        "Background sync notices that the connection is gone",
    )
    waiting = ana.replica.status.pending
    ana.cable.captive_portal(True)
    ana.cable.heal()
    asked = ana.cable.requests
    checks.until(
        lambda: ana.cable.requests >= asked + 3,
        "A captive portal answers three requests with 200 and a sign-in page",
    )
    checks.that(ana.replica.status.state in _AWAY, "The app is not fooled: still offline")
    checks.equal(ana.replica.status.pending, waiting, "Nothing was taken as sent")
    ana.cable.captive_portal(False)
    checks.until(
        lambda: ana.replica.status.state not in _AWAY,
        "The portal is gone: the app notices the server by itself",
    )


def synchronization(stage: Stage, checks: Checks) -> None:
    """Check that what was pending reaches the server, and from there Ben's phone."""
    ana, ben = stage.ana, stage.ben
    checks.until(lambda: ana.settled, "All seven transactions are sent, without a command")
    ana.replica.stop()
    received = stage.ask_server(
        "SELECT p.sku, p.name, p.price, sum(m.quantity) FROM product AS p "
        "JOIN movement AS m ON m.product_id = p.id WHERE m.document = ? GROUP BY p.id "
        "ORDER BY p.sku",
        [DELIVERY],
    )
    checks.equal(received, [*SHIPMENT], "The server's database has the shipment, each line once")
    report = ben.replica.sync()
    checks.that(report.received_rows >= 7, f"Ben's phone fetches {report.received_rows} rows")
    for sku, _, _, quantity in SHIPMENT:
        checks.equal(
            on_hand(ben.replica, get_product(ben.replica, sku).id, store_id=STORE),
            quantity,
            f"Ben sees {quantity} of {sku}",
        )
    checks.equal(
        ana.replica.row_status("product", get_product(ana.replica, "KETTLE-3").id),
        "synced",
        "Ana's rows are synced",
    )
