"""Replicas of a device: set up anew, copied, restored from a backup.

Checks I7, I8, I9.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import DEVICE_REPLICAS_MAX, NUMBERS_RETENTION_DAYS, REPLICA_ORIGINS_MAX
from holdfast.protocol.messages import Change, Head, Origin, Outcome, Transaction
from holdfast.server.exchange import replicas
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.maintenance.retention import DAY_US, Retention, forget
from holdfast.server.store.epochs import Epochs
from holdfast.server.store.postgres import reads as postgres_reads
from holdfast.server.store.postgres import store as postgres_store
from holdfast.server.store.sqlite import store as sqlite_store

from .conftest import Peer, Server

PRODUCT = {"sku": "s", "name": "Cup", "price": "1.00", "on_hand": 5, "rank": 0, "note": None}


def file_of(peer: Peer, **others: Any) -> Peer:
    """A copy of the file of a device, as it is now."""
    return dataclasses.replace(
        peer, pending=list(peer.pending), rows=dict(peer.rows), heads=[],
        checkpoint=dict(peer.checkpoint), grants=dict(peer.grants), outcomes=dict(peer.outcomes),
        **others,
    )  # fmt: skip


def send(peer: Peer, **options: Any) -> list[Outcome]:
    """An exchange of which the answer is lost; what the server answered."""
    request = peer.request(**options)
    peer.proposed = request.nonce.to
    head, *_ = peer.server.service.exchange(peer.principal, request, echo="e")
    assert isinstance(head, Head)
    return head.outcomes


def fork(peer: Peer) -> None:
    """What a file does that has met another one under its name."""
    peer.origin = Origin(peer.replica or peer.principal.device, peer.number)
    peer.replica, peer.nonce, peer.proposed = peer.server.random(16).hex(), "", ""


def refused(peer: Peer, **options: Any) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        peer.sync(**options)
    return caught.value


def brought(outcomes: list[Outcome]) -> list[tuple[int, str, bool]]:
    return [(one.number, one.outcome, one.known) for one in outcomes]


@pytest.fixture
def till(server: Server) -> Peer:
    till = server.peer("till")
    till.insert("product", "p", **PRODUCT)
    till.sync()
    return till


def test_a_new_file_of_a_device_is_welcome(server: Server, till: Peer) -> None:
    assert not till.heads[-1].replaced
    fresh = server.peer("till", user=till.principal.user)
    fresh.replica = server.random(16).hex()
    send(fresh)
    fresh.sync()  # the first answer was lost
    assert fresh.row("product", "p") == till.row("product", "p")
    assert [head.replaced for head in fresh.heads] == [True]
    fresh.update("product", "p", name="Mug")
    assert brought(fresh.sync()) == [(1, "applied", False)]
    assert [head.replaced for head in fresh.heads] == [True, False]
    till.sync()  # the old file turns up again: both go on
    assert (till.row("product", "p") or {})["name"] == "Mug"


def test_a_copy_offers_again_and_nothing_is_done_twice(server: Server, till: Peer) -> None:
    for _ in range(2):
        till.commit(till.change("update", "product", "p", {"on_hand": -1}))
    copy = file_of(till)
    send(till)
    till.sync()
    copy.commit(copy.change("update", "product", "p", {"on_hand": 10}))
    till.commit(till.change("update", "product", "p", {"on_hand": 100}))
    till.sync()
    error = refused(copy)
    assert (error.code, error.status, error.detail["high"]) == ("nonce_mismatch", 409, 4)
    fork(copy)
    first = brought(send(copy))
    assert first == [(2, "applied", True), (3, "applied", True), (4, "applied", False)]
    assert brought(copy.sync()) == first  # as often as it is asked
    copy.origin = None
    copy.commit(copy.change("update", "product", "p", {"on_hand": 1000}))
    assert brought(copy.sync()) == [(5, "applied", False)]
    till.sync()
    for peer in (till, copy):
        assert (peer.row("product", "p") or {})["on_hand"] == 5 - 2 + 100 + 10 + 1000
    server.check()


def test_what_a_copy_wrote_before_the_parting_is_its_own(server: Server, till: Peer) -> None:
    """Two edits of one value: the first had arrived; the second rests on it, and is no conflict."""
    seen = till.rows["product", "p"][0]
    till.update("product", "p", price="2.00")
    copy = file_of(till)
    send(till)
    change = copy.change("update", "product", "p", {"price": "3.00"}, base=seen)
    copy.commit(with_new(change, old={"price": "2.00"}))
    till.sync()
    till.update("product", "p", note="on")
    till.sync()
    assert refused(copy).code == "nonce_mismatch"
    fork(copy)
    assert brought(copy.sync()) == [(2, "applied", True), (3, "applied", False)]
    assert copy.conflicts() == [] and (copy.row("product", "p") or {})["price"] == "3.00"


def with_new(change: Change, **new: Any) -> Change:
    return Change(**{name: getattr(change, name) for name in change.__struct_fields__} | new)


def test_what_the_other_wrote_after_the_parting_is_concurrent(server: Server, till: Peer) -> None:
    copy = file_of(till)
    seen = till.rows["product", "p"][0]
    till.update("product", "p", price="2.00")
    till.sync()
    copy.update("product", "p", price="3.00")
    fork(copy)
    assert brought(copy.sync()) == [(2, "applied", False)]  # the same number, another id
    (conflict,) = copy.conflicts()
    assert (conflict["device"], conflict["their_device"]) == ("till", "till")
    assert (conflict["mine"], conflict["theirs"]) == ('"3.00"', '"2.00"')
    copy.origin = None
    later = copy.change("update", "product", "p", {"price": "4.00"}, base=seen)
    copy.commit(with_new(later, old={"price": "3.00"}))  # it changes its own side
    copy.sync()
    (conflict,) = copy.conflicts()
    assert conflict["mine"] == '"4.00"'
    till.sync()
    assert (till.row("product", "p") or {})["price"] == "2.00"


def test_each_replica_of_a_device_has_a_side_of_its_own(server: Server, till: Peer) -> None:
    """Their name is one, and neither speaks for the other."""
    other = server.peer("other")
    other.sync()
    copy = file_of(till)
    fork(copy)
    copy.sync()
    copy.origin = None
    other.update("product", "p", price="9.00")
    other.sync()
    for peer, price in ((till, "2.00"), (copy, "3.00")):
        peer.update("product", "p", price=price)
        peer.sync()
    till.sync()
    assert sorted(one["mine"] for one in till.conflicts()) == ['"2.00"', '"3.00"']
    copy.commit(copy.settling(next(c for c in copy.conflicts() if c["mine"] == '"3.00"'), "9.00"))
    copy.sync()
    (left,) = copy.conflicts()
    assert left["mine"] == '"2.00"'


def test_what_rests_on_a_refused_one_of_the_origin_is_held(server: Server, till: Peer) -> None:
    refused_one = till.insert("product", "q", **{**PRODUCT, "sku": ""})
    assert brought(till.sync()) == [(refused_one, "refused", False)]
    copy = file_of(till)
    rests = copy.commit(copy.change("insert", "product", "r", {**PRODUCT, "sku": "r"}), after=[2])
    again = copy.commit(
        copy.change("insert", "product", "q", {**PRODUCT, "sku": "q"}), replaces=refused_one
    )
    later = copy.commit(copy.change("insert", "product", "t", {**PRODUCT, "sku": "t"}), after=[2])
    fork(copy)
    outcomes = copy.sync()
    assert brought(outcomes) == [
        (rests, "held", False), (again, "applied", False), (later, "applied", False),
    ]  # fmt: skip
    fork(copy)
    copy.commit(copy.change("insert", "product", "u", {**PRODUCT, "sku": "u"}), after=[2])
    assert [one.outcome for one in copy.sync()] == ["applied"]  # that one was settled


def numbered(one: Transaction, number: int, **others: Any) -> Transaction:
    """The same under another number, as when a group before it is taken apart."""
    return msgspec.structs.replace(one, number=number, **others)


def test_an_id_is_found_under_any_number(server: Server, till: Peer) -> None:
    """By the copy, and by the file that goes on under their common name: each has given the same
    work another number, and knows other work beside it."""
    for count in (1, 10, 100, 1000):
        till.commit(till.change("update", "product", "p", {"on_hand": count}))
    copy = file_of(till)
    first, second, third, last = till.pending
    till.pending, till.number = [first], 2
    till.commit(till.change("update", "product", "p", {"on_hand": 20_000}))
    till.pending += [numbered(second, 4, after=[3]), numbered(third, 5, replaces=3)]
    assert [one.outcome for one in till.sync()] == ["applied"] * 4
    fork(copy)
    copy.commit(copy.change("update", "product", "p", {"on_hand": 300_000}))
    offered = brought(send(copy))
    assert offered == [
        (2, "applied", True), (3, "applied", True), (4, "applied", True), (5, "applied", False),
        (6, "applied", False),
    ]  # fmt: skip
    assert brought(copy.sync()) == offered  # as often as it is asked
    till.pending, till.number = [numbered(last, 6)], 6
    assert brought(till.sync()) == [(6, "applied", True)]
    copy.origin = None
    copy.sync()
    for peer in (till, copy):
        assert (peer.row("product", "p") or {})["on_hand"] == 5 + 1111 + 20_000 + 300_000
    server.check()


def test_what_was_held_under_another_number_holds_what_rests_on_it(
    server: Server, till: Peer
) -> None:
    wrong = till.insert("product", "q", **{**PRODUCT, "sku": ""})
    rests = till.commit(till.change("insert", "product", "r", {**PRODUCT, "sku": "r"}), after=[2])
    copy = file_of(till)
    first, second = till.pending
    till.pending, till.number = [], 1
    till.update("product", "p", note="on")
    till.pending += [numbered(first, 3), numbered(second, 4, after=[3])]
    assert [one.outcome for one in till.sync()] == ["applied", "refused", "held"]
    later = copy.commit(
        copy.change("insert", "product", "s", {**PRODUCT, "sku": "s"}), after=[rests]
    )
    fork(copy)
    outcomes = copy.sync()
    assert brought(outcomes) == [
        (wrong, "refused", True), (rests, "held", True), (later, "held", False),
    ]  # fmt: skip
    assert [one.held_by for one in outcomes] == [0, wrong, rests]
    copy.origin = None
    again = copy.commit(
        copy.change("insert", "product", "s", {**PRODUCT, "sku": "s"}), after=[rests]
    )
    assert brought(copy.sync()) == [(again, "held", False)]


@pytest.mark.parametrize("theirs", [False, True])
def test_only_what_was_found_is_its_own(server: Server, till: Peer, theirs: bool) -> None:
    """Not what the other one did before it, under a number that is lower."""
    seen = till.rows["product", "p"][0]
    till.update("product", "p", **({"note": "on"} if theirs else {"price": "2.00"}))
    copy = file_of(till)
    (common,) = till.pending
    till.pending, till.number = [], 1
    till.update("product", "p", **({"price": "2.00"} if theirs else {"note": "on"}))
    till.pending.append(numbered(common, 3))
    till.sync()
    change = copy.change("update", "product", "p", {"price": "3.00"}, base=seen)
    copy.commit(with_new(change, old={"price": "1.00" if theirs else "2.00"}))
    fork(copy)
    assert brought(copy.sync()) == [(2, "applied", True), (3, "applied", False)]
    assert len(copy.conflicts()) == theirs


def test_what_is_too_old_to_know_is_refused(server: Server, till: Peer) -> None:
    till.update("product", "p", note="a")
    copy = file_of(till)
    till.sync()
    till.update("product", "p", note="b")
    till.sync()
    for days in (0, NUMBERS_RETENTION_DAYS + 1):
        forget(
            server.store, server.schema, now_us=server.now + days * DAY_US, retention=Retention(),
            proceed=lambda _: True,
        )  # fmt: skip
    assert server.query("SELECT forgotten FROM holdfast_replica") == [(2,)]
    copy.update("product", "p", note="c")
    fork(copy)
    outcomes = copy.sync()
    assert [(one.outcome, one.code) for one in outcomes] == [
        ("refused", "too_old_to_match"), ("applied", ""),
    ]  # fmt: skip


def test_it_offers_in_order_and_leaves_out_what_has_an_outcome(server: Server, till: Peer) -> None:
    for name in "abcd":
        till.update("product", "p", name=name)
    copy = file_of(till)
    send(till)
    two, three, four, five = copy.pending
    fork(copy)
    copy.pending = [three, two]
    error = refused(copy)
    assert (error.code, error.detail["high"]) == ("number_gap", 0)
    assert brought(send(copy, transactions=[two, four])) == [
        (2, "applied", True), (4, "applied", True),
    ]  # fmt: skip
    copy.nonce, copy.proposed = copy.proposed, ""
    copy.pending = [three]  # below what it has offered since
    error = refused(copy)
    assert (error.code, error.detail["high"]) == ("number_reused", 4)
    copy.pending = [five]
    assert brought(copy.sync()) == [(5, "applied", True)]
    copy.number = 6
    copy.update("product", "p", name="late")  # 7, where 6 is expected
    assert refused(copy).code == "number_gap"


def test_a_copy_of_a_copy_finds_what_the_first_one_sent(server: Server, till: Peer) -> None:
    till.commit(till.change("update", "product", "p", {"on_hand": 1}))
    copy = file_of(till)
    send(till)
    fork(copy)
    copy.commit(copy.change("update", "product", "p", {"on_hand": 10}))
    copy.origin = Origin("till", copy.number)
    second = file_of(copy)
    send(copy)
    fork(second)
    second.commit(second.change("update", "product", "p", {"on_hand": 100}))
    assert brought(second.sync()) == [
        (2, "applied", True), (3, "applied", True), (4, "applied", False),
    ]  # fmt: skip
    third = file_of(second)
    third.pending = []
    fork(third)
    third.update("product", "p", price="7.00")
    third.sync()
    assert third.conflicts() == [] and (third.row("product", "p") or {})["on_hand"] == 116
    server.check()


def test_copies_that_hold_the_same_unsent_work(server: Server, till: Peer) -> None:
    """The file that goes on under their common name does not have it; the first copy sends it."""
    older = file_of(till)
    till.commit(till.change("update", "product", "p", {"on_hand": 1}))
    seen = till.rows["product", "p"][0]
    till.update("product", "p", price="2.00")
    first, second = file_of(till), file_of(till)
    older.commit(older.change("update", "product", "p", {"on_hand": 10}))
    older.sync()
    fork(first)
    assert brought(first.sync()) == [(2, "applied", False), (3, "applied", False)]
    fork(second)
    change = second.change("update", "product", "p", {"price": "3.00"}, base=seen)
    second.commit(with_new(change, old={"price": "2.00"}))
    outcomes = brought(send(second))
    assert outcomes == [(2, "applied", True), (3, "applied", True), (4, "applied", False)]
    assert brought(second.sync()) == outcomes  # as often as it is asked
    assert second.conflicts() == [] and (second.row("product", "p") or {})["price"] == "3.00"
    fork(till)
    assert [one[2] for one in brought(till.sync())] == [True, True]
    assert (till.row("product", "p") or {})["on_hand"] == 5 + 1 + 10
    server.check()


def test_an_origin_that_a_restored_server_does_not_know(server: Server, till: Peer) -> None:
    """What came before it is found, for it is of the same device."""
    till.commit(till.change("update", "product", "p", {"on_hand": 1}))
    copy = file_of(till)
    send(till)
    copy.replica = server.random(16).hex()  # its record came after the backup
    fork(copy)
    copy.commit(copy.change("update", "product", "p", {"on_hand": 10}))
    assert brought(copy.sync()) == [(2, "applied", True), (3, "applied", False)]
    assert (copy.row("product", "p") or {})["on_hand"] == 5 + 11


def test_nobody_looks_further_than_so_many_copies(server: Server, till: Peer) -> None:
    """What another replica of the device has sent is found all the same."""
    till.update("product", "p", note="a")
    send(till)
    copy = file_of(till)
    copy.update("product", "p", note="b")
    for _ in range(REPLICA_ORIGINS_MAX + 1):
        fork(copy)
        send(copy, transactions=[])
    found, unknown = copy.sync()
    assert brought([found]) == [(2, "applied", True)]
    assert (unknown.outcome, unknown.code) == ("refused", "too_old_to_match")


def test_an_origin_of_somebody_else_is_none(server: Server, till: Peer) -> None:
    till.update("product", "p", note="a")
    send(till)
    thief = server.peer("thief")
    thief.sync()
    thief.pending, thief.number = list(till.pending), till.number
    thief.replica, thief.nonce = server.random(16).hex(), ""
    thief.origin = Origin("till", 2)
    (outcome,) = thief.sync()
    assert not outcome.known  # it is told nothing of the other one's, and its write is its own
    mine = server.peer("mine", user=till.principal.user)
    mine.sync()
    mine.pending, mine.number = list(till.pending), till.number
    mine.replica, mine.nonce = server.random(16).hex(), ""
    mine.origin = Origin("till", 2)
    assert brought(mine.sync()) == [(2, "applied", True)]  # the same person's, on another device


@pytest.mark.parametrize("name", ["other", "A" * 32, "0" * 31, "till\n", "é" * 32])
def test_a_replica_is_not_called_as_it_likes(server: Server, till: Peer, name: str) -> None:
    till.replica = name
    error = refused(till)
    assert (error.code, error.status) == ("bad_message", 400)


def test_who_was_forgotten_or_is_another_device_becomes_a_replica_of_its_own(
    server: Server, till: Peer
) -> None:
    ghost = file_of(till)
    ghost.replica = server.random(16).hex()  # it has had an answer, and nobody knows it
    ghost.update("product", "p", note="n")
    error = refused(ghost)
    assert (error.code, error.detail["high"]) == ("nonce_mismatch", 0)
    other = server.peer("other")
    other.replica = server.random(16).hex()
    other.sync()
    till.replica = other.replica
    error = refused(till)
    assert (error.code, error.detail["high"]) == ("nonce_mismatch", 0)
    fork(ghost)
    assert brought(ghost.sync()) == [(2, "applied", False)]


def test_a_large_transaction_is_found_like_any_other(make_server: Callable[..., Server]) -> None:
    server = make_server(budgets=Budgets(bite_changes=3))
    till = server.peer("till")
    till.sync()
    many = [till.change("insert", "parcel", f"{n}", {"note": "n"}) for n in range(8)]
    till.commit(*many)
    till.insert("parcel", "one", note="n")
    copy = file_of(till)
    copy.commit(*[copy.change("insert", "parcel", f"x{n}", {"note": "n"}) for n in range(8)])
    copy.insert("parcel", "two", note="n")
    send(till)
    fork(copy)
    assert [(one.number, one.known) for one in copy.sync()] == [
        (1, True), (2, True), (3, False), (4, False),
    ]  # fmt: skip
    assert server.query("SELECT count(*) FROM parcel") == [(18,)]
    server.check()


def test_a_device_has_so_many_replicas(
    server: Server, till: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert DEVICE_REPLICAS_MAX > 1000
    monkeypatch.setattr(replicas, "DEVICE_REPLICAS_MAX", 2)
    for code in ("", "too_many_replicas"):
        fresh = server.peer("till", user=till.principal.user)
        fresh.replica = server.random(16).hex()
        if code:
            assert refused(fresh).code == code
        else:
            fresh.sync()


def test_what_is_in_a_backup_is_told(server: Server, till: Peer) -> None:
    assert till.heads[-1].backed_up == 0
    server.store.transact(lambda writer: writer.set_backed_up({"till": 1}))
    till.sync()
    till.verify()
    assert [head.backed_up for head in till.heads[-2:]] == [1, 1]


def test_a_database_of_devices_becomes_one_of_replicas(
    make_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known of a device is known of its first replica, which goes on where it was."""
    with monkeypatch.context() as patch:
        for module in (sqlite_store, postgres_store):
            real = module.missing
            patch.setattr(
                module, "missing",
                lambda dialect, done, real=real: [s for s in real(dialect, done) if s.number < 3],
            )  # fmt: skip
        patch.setattr(sqlite_store, "_read_epochs", lambda _db: Epochs("e"))
        patch.setattr(postgres_reads, "read_epochs", lambda _db: Epochs("e"))
        server = make_server()
    server.sql(
        'INSERT INTO holdfast_device (device, "user", nonce, high, confirmed, last_seen, '
        "offset_us) VALUES ('till', 'user-till', 'old-nonce', 2, 1, 5, 7), "
        "('purged', 'u', 'n', 9, 9, 5, 7); "
        "INSERT INTO holdfast_applied (device, number, id, body, outcome, settled) "
        f"VALUES ('till', 1, {_blob(server)}, {_blob(server)}, 'applied', {_yes(server)}), "
        f"('till', 2, {_blob(server)}, {_blob(server)}, 'applied', {_yes(server)});"
    )
    server.reopen()
    assert server.query(
        'SELECT replica, device, "user", nonce, high, place, forgotten FROM holdfast_replica '
        "ORDER BY 1"
    ) == [
        ("purged", "purged", "u", "n", 9, 1, 9), ("till", "till", "user-till", "old-nonce", 2, 1, 0)
    ]  # fmt: skip
    till = server.peer("till")
    till.nonce, till.number = "old-nonce", 2
    till.insert("product", "p", **PRODUCT)
    assert brought(till.sync()) == [(3, "applied", False)]


def _blob(server: Server) -> str:
    return "'\\x00'" if server.postgres else "x'00'"


def _yes(server: Server) -> str:
    return "false" if server.postgres else "0"
