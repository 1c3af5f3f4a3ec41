"""A push in bites: decided in order, others in between, and never more work than it should be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.core.errors import DatabaseBusy
from holdfast.protocol.messages import Nonces, Own, Rows
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.exchange.commit import ExchangeCommit, PushTotals
from holdfast.server.push.push_decider import BatchSize

SMALL = Budgets(bite_changes=2)


def taken(server: Any, count: int) -> None:
    """Rows of another device, whose skus are taken."""
    other = server.peer("d9")
    for index in range(count):
        other.insert("product", f"first{index}", sku=f"taken{index}")
    other.sync()


def after_each_commit(server: Any, act: Any) -> None:
    """Do something between two bites; ``act`` gets how many commits there were."""
    transact, made = server.store.transact, 0

    def counted(work: Any, *, turn: str = "") -> Any:
        nonlocal made
        result = transact(work, turn=turn)
        made += 1
        act(made)
        return result

    server.store.transact = counted


@pytest.mark.parametrize("budgets", [None, SMALL, Budgets(bite_changes=1, push_changes_max=3)])
def test_a_batch_that_fails_in_many_places_is_decided_as_one_by_one(
    make_server: Any, budgets: Budgets | None
) -> None:
    server = make_server(budgets=budgets)
    taken(server, 40)
    one = server.peer()
    for index in range(40):
        sku = f"taken{index}" if index % 2 or 20 <= index < 30 else f"free{index}"
        one.insert("product", f"p{index}", sku=sku)
    outcomes = one.sync()
    assert [o.number for o in outcomes] == list(range(1, 41))
    refused = {o.number - 1 for o in outcomes if o.outcome == "refused"}
    assert refused == {n for n in range(40) if n % 2 or 20 <= n < 30}
    assert {o.code for o in outcomes} == {"", "unique"}
    assert len(one.rows) == 40 - len(refused) + 40
    server.check()


def work_of(server: Any, monkeypatch: pytest.MonkeyPatch, peer: Any) -> int:
    """The changes that the server decides for a peer's queue."""
    done = []
    make = ExchangeCommit.make

    def watched(*arguments: Any) -> Any:
        decisions = make(*arguments)
        done.append(decisions.work)
        return decisions

    monkeypatch.setattr(ExchangeCommit, "make", watched)
    peer.sync()
    return sum(done)


@pytest.mark.parametrize("bad", [(0,), (99,), range(0, 100, 2), range(0, 100, 5), range(100)])
def test_failures_cost_little_more_than_what_they_are(
    server: Any, monkeypatch: pytest.MonkeyPatch, bad: Any
) -> None:
    taken(server, 100)
    one = server.peer()
    for index in range(100):
        one.insert("product", f"p{index}", sku=f"{'taken' if index in bad else 'free'}{index}")
    assert work_of(server, monkeypatch, one) <= 260
    assert sum(o.outcome == "refused" for o in one.outcomes.values()) == len(bad)


def test_a_commit_is_no_more_work_than_a_bite_and_what_failed_first(
    make_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server(budgets=Budgets(bite_changes=10))
    taken(server, 60)
    one = server.peer()
    for index in range(60):
        one.insert("product", f"p{index}", sku=f"{'taken' if index % 2 else 'free'}{index}")
    works = []
    take = PushTotals.take

    def watched(decisions: PushTotals, pushed: Any) -> None:
        works.append(pushed.work)
        take(decisions, pushed)

    monkeypatch.setattr(PushTotals, "take", watched)
    one.sync()
    assert max(works) <= 40
    assert sum(works) <= 160
    assert sum(o.outcome == "refused" for o in one.outcomes.values()) == 30


def test_others_write_between_two_bites(make_server: Any) -> None:
    server = make_server(budgets=SMALL)
    one, two = server.peer("d1"), server.peer("d2")
    two.sync()
    for index in range(6):
        one.insert("product", f"p{index}", sku=f"s{index}")

    def act(commits: int) -> None:
        if commits == 1:  # takes what the fourth transaction wants
            two.insert("product", "between", sku="s3")
            two.sync()

    after_each_commit(server, act)
    outcomes = one.sync()
    assert [o.outcome for o in outcomes] == [
        "applied", "applied", "applied", "refused", "applied", "applied",
    ]  # fmt: skip
    assert [o.versions for o in outcomes if o.versions] == [
        {"catalog": 1}, {"catalog": 1}, {"catalog": 3}, {"catalog": 4}, {"catalog": 4},
    ]  # fmt: skip
    two.sync()
    assert one.rows == two.rows
    server.check()


def test_what_waits_for_a_refused_one_of_an_earlier_bite_is_held(make_server: Any) -> None:
    server = make_server(budgets=Budgets(bite_changes=1, push_changes_max=2))
    taken(server, 1)
    one = server.peer()
    one.insert("product", "p0", sku="taken0")
    one.insert("product", "p1", sku="free")
    one.commit(one.change("insert", "product", "p2", {"sku": "x"}), after=[1])
    one.commit(one.change("insert", "product", "p3", {"sku": "y"}), after=[2])
    assert [o.outcome for o in one.sync()] == ["refused", "applied", "held", "applied"]


def test_a_request_that_is_too_much_work_is_answered_with_the_outcomes_so_far(
    make_server: Any,
) -> None:
    server = make_server(budgets=Budgets(bite_changes=2, push_changes_max=4))
    one = server.peer()
    for index in range(7):
        one.insert("product", f"p{index}", sku=f"s{index}")
    lines = list(server.service.exchange(one.principal, request := one.request(), echo=""))
    outcomes = one.apply(lines)
    assert [o.number for o in outcomes] == [1, 2, 3, 4]
    assert len(one.rows) == 4  # and the checkpoint is of what was decided
    one.nonce, one.pending = request.nonce.to, one.pending[4:]
    assert [o.number for o in one.sync()] == [5, 6, 7]
    server.check()


def test_one_transaction_above_all_budgets_is_decided_whole(make_server: Any) -> None:
    server = make_server(budgets=Budgets(bite_changes=2, push_changes_max=3))
    one = server.peer()
    one.commit(*(one.change("insert", "product", f"p{n}", {"sku": f"s{n}"}) for n in range(9)))
    one.insert("product", "last", sku="last")
    assert [o.versions for o in one.sync()] == [{"catalog": 1}, {"catalog": 2}]
    server.check()


def test_a_push_that_broke_off_between_two_bites_goes_on(make_server: Any) -> None:
    server = make_server(budgets=SMALL)
    one = server.peer()
    for index in range(6):
        one.insert("product", f"p{index}", sku=f"s{index}", on_hand=1)

    def act(commits: int) -> None:
        if commits == 2:
            raise DatabaseBusy("the process has died")

    whole = server.store.transact
    after_each_commit(server, act)
    request = one.request()
    with pytest.raises(DatabaseBusy):
        server.service.exchange(one.principal, request, echo="")
    server.store.transact = whole
    assert server.query("SELECT high FROM holdfast_replica") == [(4,)]
    repeated = one.sync(nonce=request.nonce)
    assert [o.number for o in repeated] == [1, 2, 3, 4, 5, 6]
    assert {o.outcome for o in repeated} == {"applied"}
    assert {row["on_hand"] for n in range(6) if (row := one.row("product", f"p{n}"))} == {1}
    server.check()


def test_another_exchange_of_the_device_ends_a_push_between_two_bites(make_server: Any) -> None:
    server = make_server(budgets=SMALL)
    one = server.peer()
    for index in range(6):
        one.insert("product", f"p{index}", sku=f"s{index}")
    request = one.request()

    def act(commits: int) -> None:
        if commits == 1:  # the same device again, as after a lost answer, with less to send
            nonces = Nonces(request.nonce.to, "another-nonce")
            again = msgspec.structs.replace(
                request, nonce=nonces, transactions=request.transactions[2:3]
            )
            list(server.service.exchange(one.principal, again, echo=""))

    after_each_commit(server, act)
    (head, *_) = list(server.service.exchange(one.principal, request, echo=""))
    assert [o.number for o in head.outcomes] == [1, 2]
    assert server.query("SELECT high, nonce FROM holdfast_replica") == [(3, "another-nonce")]


def test_rows_of_several_bites_are_told_in_brief_only_where_that_is_true(
    make_server: Any,
) -> None:
    server = make_server(budgets=SMALL)
    one = server.peer()
    one.insert("product", "twice", sku="twice")
    for index in range(4):
        one.insert("product", f"p{index}", sku=f"s{index}")
    one.commit(one.change("update", "product", "twice", {"name": "again"}))
    lines = list(server.service.exchange(one.principal, one.request(brief=True), echo=""))
    own = {key for line in lines if isinstance(line, Own) for key in line.keys}
    whole = {row[1] for line in lines if isinstance(line, Rows) for row in line.rows}
    assert own == {"p0", "p1", "p2", "p3"}
    assert whole == {"twice"}


def test_the_pace_is_slow_after_a_failure_and_picks_up_again() -> None:
    pace = BatchSize().slower(1000)
    assert pace.size == 125
    for _ in range(3):
        pace = pace.faster()
    assert pace.size == 125
    assert pace.faster().size == 250
    assert BatchSize(1).slower(1).size == 1
