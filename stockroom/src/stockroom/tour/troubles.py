"""The story of the tour: steps five to eight, where things go wrong and are put right.

Knows: what Ana and Ben do, and what must be true after it. Must not know: how it is shown.
"""

from __future__ import annotations

from typing import Final

from holdfast.testing import wait_until
from stockroom.catalogue import Field, add_product, edit_product, get_product
from stockroom.on_hand import check_stock
from stockroom.stock import adjust, on_hand, receive
from stockroom.tour.checks import PATIENCE_S, Checks
from stockroom.tour.stage import BACKGROUND, STORE, Stage, TourDevice
from stockroom.tour.steps import is_offline

_MUG: Final = "MUG-01"
_RUSH: Final = "DN-1008"
_RUSH_LINES: Final = 6


def _sell(device: TourDevice, sku: str, quantity: int) -> str:
    moved = adjust(
        device.replica, device.place, sku, by=-quantity, reason="sale", actor=device.actor
    )
    return moved.movement.id


def _edit(device: TourDevice, sku: str, /, **changes: Field) -> None:
    edit_product(device.replica, sku, changes)


def _let_clocks_differ(*devices: TourDevice) -> None:
    """Wait until a new edit is later than the last one by more than clocks are known to."""
    statuses = [device.replica.status for device in devices]
    error_ms = sum(2 * (status.clock_error_ms or 0) for status in statuses)
    later_us = devices[0].replica.now_us() + (error_ms + 10) * 1000
    wait_until(
        lambda: all(device.replica.now_us() > later_us for device in devices),
        PATIENCE_S,
        "the next moment",
    )


def conflict_resolution(stage: Stage, checks: Checks) -> None:
    """Both work on the same mug, both offline."""
    ana, ben = stage.ana, stage.ben
    mug = get_product(ana.replica, _MUG).id
    for device in (ana, ben):
        device.cable.cut()
        checks.that(is_offline(device), f"{device.actor.person} is offline")
    _sell(ana, _MUG, 3)
    _edit(ana, _MUG, name="Blue mug", price=900)
    _let_clocks_differ(ana, ben)
    _sell(ben, _MUG, 2)
    _edit(ben, _MUG, name="Mug, blue", price=950, shelf="B4")
    for device in (ana, ben):
        device.cable.heal()
    for device in (ana, ben, ana):
        device.replica.sync()
    both = (ana, ben)
    checks.equal(
        [on_hand(d.replica, mug, store_id=STORE) for d in both], [5, 5], "10 - 3 - 2 is 5 for both"
    )
    checks.equal(
        [get_product(d.replica, _MUG).name for d in both],
        ["Mug, blue"] * 2,
        "The name: the later edit wins",
    )
    checks.equal(
        [get_product(d.replica, _MUG).shelf for d in both],
        ["B4"] * 2,
        "The shelf, which only Ben changed, is kept beside Ana's edits",
    )
    checks.equal(
        [get_product(d.replica, _MUG).price for d in both],
        [900] * 2,
        "The price is not guessed: 9.00 stands, a conflict is open",
    )
    (conflict,) = ana.replica.conflicts()
    checks.equal(
        (
            conflict.column,
            *(
                (side["price"], side["currency"])
                for side in (conflict.base, conflict.device_value, conflict.server_value)
            ),
            conflict.device,
        ),
        ("price,cost,currency", (850, "EUR"), (950, "EUR"), (900, "EUR"), "phone"),
        "Ana's inbox shows it: was 8.50, Ben says 9.50, Ana said 9.00",
    )
    ana.cable.cut()
    checks.that(is_offline(ana), "Ana goes offline again")
    ana.replica.resolve(conflict.id, keep="device")
    checks.equal(
        (get_product(ana.replica, _MUG).price, ana.replica.status.conflicts),
        (950, 0),
        "She settles Ben's conflict, offline, on her device: 9.50",
    )
    ana.cable.heal()
    ana.replica.sync()
    ben.replica.sync()
    checks.equal(
        (get_product(ben.replica, _MUG).price, ben.replica.status.conflicts),
        (950, 0),
        "Ben's phone has her decision, and no open conflict",
    )
    checks.equal(
        stage.ask_server(
            "SELECT theirs ->> 'price', theirs ->> 'currency', settled_by "
            "FROM holdfast_conflict WHERE id = ?",
            [conflict.id],
        ),
        [("900", "EUR", "Ana")],
        "The losing value and who decided stay on record",
    )


def acknowledgement(stage: Stage, checks: Checks) -> None:
    """Synced is what the server confirmed; what it refuses is kept with a reason."""
    ana, ben = stage.ana, stage.ben
    _acknowledge(stage, checks)
    add_product(ben.replica, sku="TEA-50", name="Black tea", price=590)
    add_product(ben.replica, sku="MUG-02", name="Red mug", price=850)
    ben.replica.sync()
    tea_id, mug_id = (get_product(ana.replica, sku).id for sku in ("TEA-44", _MUG))
    _edit(ana, "TEA-44", sku="TEA-50")
    _edit(ana, _MUG, sku="MUG-02")
    good = receive(ana.replica, ana.place, "CANDLE-5", 6, actor=ana.actor).movement.id
    ana.replica.sync()
    refused = {item.key: item for item in ana.replica.refused()}
    tea, mug = refused.get(tea_id), refused.get(mug_id)
    assert tea is not None, f"the tea's change is not among the refused: {refused}"
    assert mug is not None, f"the mug's change is not among the refused: {refused}"
    checks.equal(
        (len(refused), tea.code, bool(tea.message)),
        (2, "unique", True),
        f"Two new SKUs of Ana's were taken by Ben: refused, with a reason ({tea.message})",
    )
    checks.equal(
        ana.replica.row_status("movement", good),
        "synced",
        "The six candles in the same sync went through",
    )
    checks.equal(
        get_product(ana.replica, "TEA-44").id,
        tea_id,
        "Her tea shows the server's truth again, and her change waits in the inbox",
    )
    _edit(ben, "TEA-50", sku="TEA-51")
    ben.replica.sync()
    ana.replica.sync()
    ana.replica.retry(tea.id)
    ana.replica.sync()
    ben.replica.sync()
    checks.equal(
        get_product(ben.replica, "TEA-50").id,
        tea_id,
        "Ben frees the number, Ana retries: applied",
    )
    ana.replica.discard(mug.id)
    checks.equal(
        (ana.replica.refused(), ana.replica.status.refused, get_product(ana.replica, _MUG).sku),
        ([], 0, _MUG),
        "The other one she discards: nothing is left over",
    )


def _acknowledge(stage: Stage, checks: Checks) -> None:
    """An answer that is lost acknowledges nothing, although the server has the change."""
    ana = stage.ana
    sale = _sell(ana, "CANDLE-5", 4)
    checks.equal(ana.replica.row_status("movement", sale), "pending", "Ana sells four candles")
    ana.cable.scripted(["drop_after"])
    checks.that(is_offline(ana), "The server's answer is lost on the way")
    checks.equal(
        stage.ask_server("SELECT count(*) FROM movement WHERE id = ?", [sale]),
        [(1,)],
        "The server has the sale",
    )
    checks.equal(
        ana.replica.row_status("movement", sale),
        "sent",
        "Her device does not claim it: it is 'sent'",
    )
    ana.replica.sync()
    checks.equal(
        ana.replica.row_status("movement", sale),
        "synced",
        "Asked again, the server confirms: synced",
    )


def consistency_check(stage: Stage, checks: Checks) -> None:
    """Both sides compare digests; a damaged cell is found and repaired, pending work stays."""
    ana = stage.ana
    report = ana.replica.verify()
    rows = sum(scope.count for scope in report.scopes)
    checks.that(
        report.ok and not report.damaged,
        f"Ana's device and the server hold the same {rows} rows in {len(report.scopes)} scopes",
    )
    sale = _sell(ana, "LAMP-07", 1)
    stage.corrupt(ana, "UPDATE product SET price = 1 WHERE sku = 'LAMP-07'")
    checks.equal(
        (get_product(ana.replica, "LAMP-07").price, ana.replica.status.pending),
        (1, 1),
        "A failing disk changes a price behind the engine's back; no change was tracked",
    )
    report = ana.replica.verify()
    checks.equal(
        (report.ok, report.damaged, report.repaired),
        (True, (("product", get_product(ana.replica, "LAMP-07").id),), 1),
        f"Verification finds that one row of {report.rows_checked} and fetches it again",
    )
    checks.equal(get_product(ana.replica, "LAMP-07").price, 2490, "The lamp costs 24.90 again")
    checks.equal(
        ana.replica.row_status("movement", sale), "pending", "The sale that was pending still is"
    )
    synced = ana.replica.sync()
    checks.that(synced.verified, "It is sent, and both sides compare equal after the sync")
    checks.equal(check_stock(ana.replica), [], "Stock on hand equals the ledger")


def errors_and_retry(stage: Stage, checks: Checks) -> None:
    """Lost answers, a portal, a killed server: retried with back-off, everything arrives once."""
    ana, ben = stage.ana, stage.ben
    rug = get_product(ana.replica, "RUG-02").id
    before = on_hand(ana.replica, rug, store_id=STORE)
    faults = sum(ana.cable.faults.values())
    ana.cable.scripted(["drop_before", "drop_after", "truncate", "reset"])
    ana.replica.start(BACKGROUND)
    _receive_rush(ana, 2)
    checks.until(
        lambda: sum(ana.cable.faults.values()) >= faults + 4,
        "Four requests in a row are dropped before, dropped after, cut short, reset",
    )
    checks.until(lambda: ana.settled, "The app retries by itself until the server confirms")
    stage.server.kill()
    _receive_rush(ana, 2)
    checks.until(
        lambda: ana.replica.status.state in ("offline", "waiting"),
        "The server is killed with SIGKILL; the app says so and goes on working",
    )
    status = ana.replica.status
    checks.that(
        status.pending + status.sent == 2 and bool(status.error_message),
        f"Status: {status.state}, 2 changes kept on this device ({status.error_message})",
    )
    ana.cable.captive_portal(True)
    _receive_rush(ana, 2)
    stage.server.start()
    asked = ana.cable.requests
    checks.until(
        lambda: ana.cable.requests > asked + 1, "It is back, but a captive portal is between"
    )
    checks.that(not ana.settled, "Nothing is taken as sent")
    ana.cable.captive_portal(False)
    checks.until(lambda: ana.settled, "The portal goes away: everything is sent by itself")
    ana.replica.stop()
    checks.equal(
        stage.ask_server(
            "SELECT count(*), count(DISTINCT id), sum(quantity) FROM movement WHERE document = ?",
            [_RUSH],
        ),
        [(_RUSH_LINES, _RUSH_LINES, _RUSH_LINES)],
        "The server has each of the six receipts exactly once",
    )
    ben.replica.sync()
    checks.equal(
        [on_hand(d.replica, rug, store_id=STORE) for d in (ana, ben)],
        [before + _RUSH_LINES] * 2,
        "Both devices count the same",
    )
    checks.that(
        all(device.replica.verify().ok for device in (ana, ben)),
        "Both are verified with the server",
    )


def _receive_rush(device: TourDevice, count: int) -> None:
    for _ in range(count):
        receive(device.replica, device.place, "RUG-02", 1, document=_RUSH, actor=device.actor)
