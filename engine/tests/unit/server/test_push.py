"""Push: exactly once, in order, one bad transaction costs only itself.

Checks I7, I8, I9, I13, I16, I19, I22, I27, I28.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import SEEN_INTERVAL_MS
from holdfast.protocol.messages import Change, Transaction


def products(peer: Any, count: int, **columns: Any) -> None:
    for index in range(count):
        peer.insert("product", f"p{index}", sku=f"sku{index}", **columns)


def test_a_push_is_applied_and_comes_back(server: Any) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    one.insert("product", "p1", sku="85123A", price="2.50", on_hand=7)
    assert [o.outcome for o in one.sync()] == ["applied"]
    assert one.outcomes[1].versions == {"catalog": 1}
    two.sync()
    assert one.rows == two.rows
    assert two.row("product", "p1") == {
        "id": "p1", "sku": "85123A", "name": "", "price": "2.50", "on_hand": 7, "rank": 0,
        "note": None,
    }  # fmt: skip
    assert server.moved == [{"catalog": 1}]
    server.check()


def test_every_type_of_key_travels(server: Any) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    one.insert("product", "a/b%c", sku="x")
    one.insert("movement", -5, store_id="1", product_id="a/b%c", quantity=2**62)
    one.insert("shelf", ("s/1", b"\x00\xff/"), label="top", full=1)
    assert [o.outcome for o in one.sync()] == ["applied"] * 3
    one.update("shelf", ("s/1", b"\x00\xff/"), label="new")
    one.delete("movement", -5)
    assert [o.outcome for o in one.sync()] == ["applied"] * 2
    two.sync()
    assert one.rows == two.rows
    assert len(two.rows) == 2
    server.check()


def test_a_repeated_batch_gives_the_stored_outcomes(server: Any) -> None:
    one = server.peer()
    one.insert("product", "p1", sku="x", on_hand=1)
    one.commit(one.change("update", "product", "nope", {"name": "n"}))
    request = one.request()
    first = list(server.service.exchange(one.principal, request, echo="a"))
    again = list(server.service.exchange(one.principal, request, echo="b"))
    assert first[0].outcomes == again[0].outcomes
    assert [o.outcome for o in first[0].outcomes] == ["applied", "refused"]
    assert first[0].outcomes[1].code == "row_gone"
    assert server.query("SELECT on_hand FROM product") == [(1,)]
    assert server.query("SELECT head FROM holdfast_scope WHERE scope = 'catalog'") == [(1,)]


def test_a_confirmed_outcome_is_remembered_without_its_words(server: Any) -> None:
    one = server.peer()
    one.commit(one.change("update", "product", "nope", {"name": "n"}))
    sent = list(one.pending)
    one.sync()
    server.now += SEEN_INTERVAL_MS * 1000  # it is written with what must be written
    one.sync()
    assert server.query("SELECT count(*) FROM holdfast_applied WHERE answer IS NOT NULL") == [(0,)]
    (outcome,) = one.sync(transactions=sent)
    assert (outcome.number, outcome.outcome, outcome.message) == (1, "refused", "")


def test_another_body_under_a_known_number_is_refused_whole(server: Any) -> None:
    one = server.peer()
    one.insert("product", "p1", sku="x", on_hand=1)
    sent = list(one.pending)
    one.sync()
    forged = msgspec.structs.replace(sent[0], changes=[])
    fresh = Transaction(number=2, id="0" * 32, at=1, changes=[])
    for transactions in ([forged, fresh], [msgspec.structs.replace(sent[0], id="0" * 32)]):
        with pytest.raises(ProtocolError) as failure:
            one.sync(transactions=transactions)
        assert (failure.value.code, failure.value.status) == ("number_reused", 409)
    assert server.query("SELECT high FROM holdfast_replica") == [(1,)]
    same = msgspec.structs.replace(sent[0], at=5)
    assert [o.outcome for o in one.sync(transactions=[same])] == ["applied"]


def test_a_gap_is_refused_whole(server: Any) -> None:
    one = server.peer()
    one.insert("product", "p1", sku="x")
    one.insert("product", "p2", sku="y")
    for transactions in (one.pending[1:], [one.pending[0], one.pending[0]]):
        with pytest.raises(ProtocolError) as failure:
            one.sync(transactions=transactions)
        assert (failure.value.code, failure.value.status) == ("number_gap", 409)
    assert server.query("SELECT count(*) FROM product") == [(0,)]


def test_one_bad_among_500_costs_only_itself(server: Any) -> None:
    other = server.peer("d2")
    other.insert("product", "taken", sku="sku-taken")
    other.sync()
    one = server.peer("d1")
    for index in range(500):
        sku = "sku-taken" if index == 321 else f"sku{index}"
        one.insert("product", f"p{index}", sku=sku, on_hand=1)
    outcomes = one.sync()
    refused = [o for o in outcomes if o.outcome != "applied"]
    assert [(o.number, o.code) for o in refused] == [(322, "unique")]
    assert "product" in refused[0].message
    assert server.query("SELECT count(*) FROM product") == [(500,)]
    assert server.query("SELECT head FROM holdfast_scope WHERE scope = 'catalog'") == [(2,)]
    server.check()


def test_unique_values_can_be_swapped(server: Any) -> None:
    one = server.peer()
    products(one, 3)
    one.sync()
    one.commit(
        one.change("update", "product", "p0", {"sku": "sku1"}),
        one.change("update", "product", "p1", {"sku": "sku2"}),
        one.change("update", "product", "p2", {"sku": "sku0"}),
    )
    assert [o.outcome for o in one.sync()] == ["applied"]
    assert server.query("SELECT id, sku FROM product ORDER BY id") == [
        ("p0", "sku1"), ("p1", "sku2"), ("p2", "sku0"),
    ]  # fmt: skip
    server.check()


def test_a_swap_over_two_transactions_is_refused_however_it_is_sent(make_server: Any) -> None:
    results = []
    for together in (True, False):
        server = make_server()
        one = server.peer()
        products(one, 2)
        one.sync()
        one.update("product", "p0", sku="sku1")
        if not together:
            one.sync()
        one.update("product", "p1", sku="sku9")
        one.update("product", "p0", sku="sku1")
        one.sync()
        results.append([(o.number, o.outcome, o.code) for _, o in sorted(one.outcomes.items())])
        server.check()
    assert results[0] == results[1]
    assert [r[1] for r in results[0]] == ["applied", "applied", "refused", "applied", "applied"]


def test_a_value_taken_only_between_two_transactions_is_refused_however_it_is_sent(
    make_server: Any,
) -> None:
    """Found by the system tests: the row that has the value is not in the batch, and when the
    batch is written nobody else wants it any more."""
    results = []
    for together in (True, False):
        server = make_server()
        one = server.peer()
        products(one, 2)
        one.sync()
        one.update("product", "p0", sku="sku1")
        if not together:
            one.sync()
        one.update("product", "p0", sku="sku9")
        one.sync()
        results.append([(o.number, o.outcome, o.code) for _, o in sorted(one.outcomes.items())])
        server.check()
    assert results[0] == results[1]
    assert [r[1] for r in results[0]] == ["applied", "applied", "refused", "applied"]


def test_foreign_keys_hold(server: Any) -> None:
    one = server.peer()
    products(one, 2)
    one.insert("movement", 1, store_id="1", product_id="p0")
    one.insert("movement", 2, store_id="1", product_id="none")
    outcomes = one.sync()
    assert [o.outcome for o in outcomes] == ["applied"] * 3 + ["refused"]
    assert (outcomes[3].code, outcomes[3].field) == ("foreign_key", "product_id")
    assert "movement" in outcomes[3].message
    one.delete("product", "p0")  # still referred to, from outside the batch
    one.delete("product", "p1")
    assert [(o.outcome, o.code) for o in one.sync()] == [
        ("refused", "foreign_key"), ("applied", ""),
    ]  # fmt: skip
    one.commit(
        one.change("delete", "movement", 1),
        one.change("delete", "product", "p0"),
    )
    one.commit(  # the child before its parent, in one transaction
        one.change("insert", "movement", 3, {"store_id": "1", "product_id": "new"}),
        one.change("insert", "product", "new", {"sku": "n"}),
    )
    one.insert("movement", 4, store_id="1", product_id="later")
    one.insert("product", "later", sku="l")
    assert [(o.outcome, o.code) for o in one.sync()] == [
        ("applied", ""), ("applied", ""), ("refused", "foreign_key"), ("applied", ""),
    ]  # fmt: skip
    server.check()


def test_a_parent_deleted_in_the_batch_refuses_its_later_child(server: Any) -> None:
    one = server.peer()
    products(one, 1)
    one.sync()
    one.delete("product", "p0")
    one.insert("movement", 1, store_id="1", product_id="p0")
    assert [(o.outcome, o.code) for o in one.sync()] == [
        ("applied", ""), ("refused", "foreign_key"),
    ]  # fmt: skip
    server.check()


BAD = [
    ("unknown_table", Change("nothing", ["x"], "insert")),
    ("unknown_column", Change("product", ["x"], "insert", new={"sku": "s", "nope": 1})),
    ("unknown_column", Change("product", ["x"], "update", old={"nope": 1})),
    ("unknown_column", Change("product", ["x"], "update", bases={"nope": 1})),
    ("bad_key", Change("product", ["x", "y"], "insert", new={"sku": "s"})),
    ("bad_key", Change("product", [5], "insert", new={"sku": "s"})),
    ("bad_key", Change("product", [None], "insert", new={"sku": "s"})),
    ("bad_key", Change("product", [""], "insert", new={"sku": "s"})),
    ("bad_key", Change("product", ["x" * 1025], "insert", new={"sku": "s"})),
    ("bad_key", Change("product", ["x"], "insert", new={"sku": "s", "id": "y"})),
    ("bad_key", Change("movement", ["9223372036854775808"], "insert")),
    ("bad_value", Change("product", ["x"], "insert", new={"sku": 5})),
    ("bad_value", Change("product", ["x"], "insert", new={"sku": "a\x00b"})),
    ("bad_value", Change("product", ["x"], "insert", new={"sku": "s", "price": "1.234"})),
    ("bad_value", Change("product", ["x"], "insert", new={"sku": "s", "on_hand": 5})),
    ("bad_value", Change("product", ["x"], "insert", new={"sku": "s", "on_hand": "9" * 19})),
    ("not_null", Change("product", ["x"], "insert", new={"sku": None})),
    ("not_null", Change("product", ["x"], "insert", new={})),
    ("check", Change("product", ["x"], "insert", new={"sku": "s", "rank": "101"})),
    ("check", Change("product", ["x"], "insert", new={"sku": ""})),
    ("row_gone", Change("product", ["x"], "update", new={"name": "n"})),
    ("row_gone", Change("product", ["x"], "delete")),
    ("bad_value", Change("shelf", ["", "AA=="], "insert")),
    ("forbidden", Change("holdfast_conflict", ["0" * 8 + "-0000-7000-8000-" + "0" * 12], "delete")),
]


@pytest.mark.parametrize(("code", "change"), BAD, ids=lambda v: v if isinstance(v, str) else "")
def test_bad_input_costs_only_its_transaction(server: Any, code: str, change: Change) -> None:
    one = server.peer()
    one.insert("product", "before", sku="before")
    one.commit(change)
    one.insert("product", "after", sku="after")
    outcomes = one.sync()
    codes = [o.code for o in outcomes]
    if change.table == "shelf":
        assert codes[1] == "bad_key"
    else:
        assert codes == ["", code, ""]
    assert outcomes[1].message
    assert server.query("SELECT count(*) FROM product") == [(2,)]
    server.check()


def test_two_changes_of_one_row_are_refused(server: Any) -> None:
    one = server.peer()
    change = one.change("insert", "product", "x", {"sku": "s"})
    one.commit(change, change)
    assert [o.code for o in one.sync()] == ["duplicate_change"]


def test_a_void_transaction_is_recorded_as_refused(server: Any) -> None:
    one = server.peer()
    one.commit(void="bad_value")
    one.insert("product", "p", sku="s")
    assert [(o.outcome, o.code) for o in one.sync()] == [("refused", "bad_value"), ("applied", "")]


def test_what_builds_on_a_refused_transaction_is_held(server: Any) -> None:
    one = server.peer()
    bad = one.insert("product", "x", sku="")
    held = one.commit(one.change("update", "product", "x", {"name": "n"}), after=[bad])
    chain = one.commit(one.change("update", "product", "x", {"note": "n"}), after=[held])
    one.insert("product", "free", sku="free")
    outcomes = one.sync()
    assert [(o.outcome, o.held_by) for o in outcomes] == [
        ("refused", 0), ("held", bad), ("held", held), ("applied", 0),
    ]  # fmt: skip
    late = one.commit(one.change("update", "product", "x", {"rank": 1}), after=[chain])
    assert [o.held_by for o in one.sync()] == [chain]
    fixed = one.commit(one.change("insert", "product", "x", {"sku": "ok"}), replaces=bad)
    one.commit(
        one.change("update", "product", "x", {"name": "n"}, base=0), replaces=held, after=[fixed]
    )
    one.commit(one.change("update", "product", "x", {"rank": 1}, base=0), after=[bad, held])
    assert [o.outcome for o in one.sync()] == ["applied"] * 3
    assert one.row("product", "x")["name"] == "n"
    assert late


def test_counters_add_up_and_overflow_is_refused(server: Any) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    one.insert("product", "p", sku="s", on_hand=10)
    one.sync()
    two.sync()
    one.update("product", "p", on_hand=-1)
    two.update("product", "p", on_hand=-1)
    one.sync()
    two.sync()
    one.sync()
    assert one.row("product", "p")["on_hand"] == two.row("product", "p")["on_hand"] == 8
    one.update("product", "p", on_hand=2**63 - 1)
    assert [o.code for o in one.sync()] == ["overflow"]
    server.check()


def test_the_later_corrected_stamp_wins(server: Any) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    one.insert("product", "p", sku="s", name="first")
    one.sync()
    two.sync()
    hour = 3_600_000_000
    server.pass_time(60)
    two.now = server.now - hour  # an hour slow
    two.update("product", "p", name="earlier, but by a slow clock")
    server.pass_time(60)
    one.update("product", "p", name="later")
    one.sync()
    two.now = server.now - hour
    two.sync()
    one.sync()
    assert one.row("product", "p")["name"] == "later"
    assert two.row("product", "p")["name"] == "later"
    (entry,) = server.service.journal(one.principal)
    assert (entry.kind, entry.column, entry.entry["lost"]) == (
        "latest", "name", "earlier, but by a slow clock",
    )  # fmt: skip


def test_what_a_device_replaces_without_having_seen_it_is_on_record(server: Any) -> None:
    """Its first value was set aside on it when it wrote the second; nobody is asked, and the other
    values that it wrote one after the other are nobody's loss."""
    one = server.peer()
    one.insert("product", "p", sku="s", name="first", note="n1")
    one.sync()
    aside = one.change("update", "product", "p", {"name": "aside", "price": "1.00", "note": "n2"})
    seen = one.change("update", "product", "p", {"name": "second", "price": "2.00", "note": "n3"})
    seen.old["note"] = "n2"
    one.commit(aside)
    one.commit(seen)
    one.sync()
    assert one.row("product", "p")["name"] == "second"
    assert one.row("product", "p")["price"] == "2.00"
    assert one.conflicts() == []
    lost = {entry.column: entry.entry["lost"] for entry in server.service.journal(one.principal)}
    assert lost == {"name": "aside", "price": "1.00"}
    server.check()


def test_corrected_columns_are_shifted_and_never_later_than_arrival(server: Any) -> None:
    one = server.peer()
    one.insert("product", "p", sku="s")
    one.sync()
    one.now = server.now + 3_600_000_000  # an hour fast
    at = one.now
    one.insert("movement", 1, store_id="1", product_id="p", at=at)
    one.insert("movement", 2, store_id="1", product_id="p", at=at + 10**12)
    one.sync()
    assert abs(one.row("movement", 1)["at"] - server.now) < 100
    assert one.row("movement", 2)["at"] <= server.now


def test_nothing_is_left_of_a_refused_transaction(server: Any) -> None:
    one = server.peer()
    one.commit(
        one.change("insert", "product", "a", {"sku": "a"}),
        one.change("insert", "product", "b", {"sku": ""}),
    )
    one.sync()
    assert server.query("SELECT count(*) FROM product") == [(0,)]
    assert server.query("SELECT count(*) FROM holdfast_row") == [(0,)]
    assert server.query("SELECT count(*) FROM holdfast_feed") == [(0,)]
    assert server.query("SELECT count(*) FROM holdfast_commit WHERE version > 0") == [(0,)]


def test_a_row_that_was_deleted_and_made_again(server: Any) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    one.insert("product", "p", sku="s", name="old")
    one.sync()
    two.sync()
    first = one.rows["product", "p"][0]
    one.delete("product", "p")
    one.sync()
    two.sync()
    assert two.rows == {}
    one.insert("product", "p", sku="s2")
    one.sync()
    two.sync()
    assert two.row("product", "p")["name"] == ""
    assert one.rows["product", "p"][0] > first
    server.check()


IDS = ("a", "b", "c", "d")
EDIT: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(
        st.sampled_from(["insert", "update"]),
        st.just("product"),
        st.sampled_from(IDS),
        st.fixed_dictionaries({"sku": st.sampled_from(["s", "t", "u"])}),
    ),
    st.tuples(
        st.sampled_from(["insert", "update"]),
        st.just("movement"),
        st.integers(1, 3),
        st.fixed_dictionaries({"store_id": st.just("1"), "product_id": st.sampled_from(IDS)}),
    ),
    st.tuples(st.just("delete"), st.just("product"), st.sampled_from(IDS), st.just({})),
    st.tuples(st.just("delete"), st.just("movement"), st.integers(1, 3), st.just({})),
)
WORK = st.lists(
    st.lists(EDIT, min_size=1, max_size=3, unique_by=lambda edit: (edit[1], edit[2])), max_size=14
)


def outcome_of(server: Any, work: list[Any], before: list[Any], *, together: bool) -> Any:
    """Commit ``before`` as one device, then ``work`` as another, in one exchange or in many."""
    setter, peer = server.peer("d1"), server.peer("d2")
    for edits in before:
        setter.commit(*(setter.change(*edit, base=0) for edit in edits))
        setter.sync()
    for edits in work:
        peer.commit(*(peer.change(*edit, base=0) for edit in edits))
        if not together:
            peer.sync()
    peer.sync()
    server.check()
    tables = [
        server.query("SELECT id, sku FROM product ORDER BY id"),
        server.query("SELECT id, product_id FROM movement ORDER BY id"),
    ]
    return [(o.number, o.outcome, o.code) for _, o in sorted(peer.outcomes.items())], tables


@pytest.mark.slow
@pytest.mark.hypothesis
def test_no_decision_depends_on_batching(scratch_server: Any, usual: int) -> None:
    @settings(max_examples=examples(usual))
    @given(before=WORK, work=WORK)
    def run(before: list[Any], work: list[Any]) -> None:
        results = []
        for together in (True, False):
            with scratch_server() as server:
                results.append(outcome_of(server, work, before, together=together))
        assert results[0] == results[1]

    run()


KILLED = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("harness", sys.argv[1])
harness = importlib.util.module_from_spec(spec)
sys.modules["harness"] = harness
spec.loader.exec_module(harness)
server = harness.Server(sys.argv[2])
peer = server.peer()
for index in range(20):
    peer.insert("product", f"p{index}", sku=f"s{index}", on_hand=1)
peer.sync()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "applied"),
    [
        ("push.after_write", 0),
        ("push.before_commit", 0),
        ("store.before_commit", 0),
        ("store.after_commit", 20),
        ("push.after_commit", 20),
        ("pull.mid", 20),
    ],
)
def test_a_killed_server_did_all_or_nothing(
    make_server: Any, tmp_path: Path, point: str, applied: int
) -> None:
    server = make_server()
    server.service.close()
    harness = Path(__file__).with_name("conftest.py")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(harness), str(server.path)],
        env={**os.environ, "HOLDFAST_FAILPOINT": f"{point}:1"}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    server.open()
    assert server.query("SELECT count(*) FROM product") == [(applied,)]
    assert server.query("SELECT count(*) FROM holdfast_applied") == [(applied,)]
    if not server.postgres:
        assert server.query("SELECT applying FROM holdfast_state") == [(0,)]
    server.check()


def test_devices_may_push_at_the_same_time(server: Any) -> None:
    peers = [server.peer(f"d{n}") for n in range(4)]
    for peer in peers:
        for index in range(30):
            peer.insert("product", f"{peer.principal.device}-{index}", sku=f"{id(peer)}-{index}")
    requests = [(peer, peer.request()) for peer in peers]
    failures: list[BaseException] = []

    def run(peer: Any, request: Any) -> None:
        try:
            peer.apply(list(server.service.exchange(peer.principal, request, echo="e")))
        except BaseException as failure:
            failures.append(failure)
            raise

    threads = [threading.Thread(target=run, args=item) for item in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert server.query("SELECT count(*) FROM product") == [(120,)]
    assert server.query("SELECT head FROM holdfast_scope WHERE scope = 'catalog'") == [(4,)]
    server.check()
