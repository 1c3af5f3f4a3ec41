"""The table of states and signals is complete and means what it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.connection.connectivity import (
    TABLE,
    FailureKind,
    FailureVerdict,
    Signal,
    State,
    StateRow,
    TransitionTable,
    classify,
    signal_of,
    transition,
)

LIVE = {State.STARTING, State.ONLINE, State.SYNCING, State.OFFLINE, State.WAITING}


def test_the_table_has_a_row_per_state_and_a_cell_per_signal() -> None:
    assert list(TransitionTable._fields) == [state.value for state in State]
    assert list(StateRow._fields) == [signal.value for signal in Signal]
    assert len(TABLE) == len(State)
    for row in TABLE:
        assert len(row) == len(Signal)
        assert all(isinstance(cell, State) for cell in row)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("signal", Signal)
def test_a_transition_is_the_named_cell(state: State, signal: Signal) -> None:
    row = getattr(TABLE, state.value)
    assert transition(state, signal) is getattr(row, signal.value)


@pytest.mark.parametrize("state", State)
def test_a_person_can_always_pause_and_stop(state: State) -> None:
    stopped = state is State.STOPPED
    assert transition(state, Signal.PAUSED) is (State.STOPPED if stopped else State.PAUSED)
    assert transition(state, Signal.STOPPED) is State.STOPPED


def test_only_going_on_leaves_the_pause() -> None:
    leaving = {s for s in Signal if transition(State.PAUSED, s) is not State.PAUSED}
    assert leaving == {Signal.RESUMED, Signal.STOPPED}


def test_only_signing_in_leaves_needs_sign_in() -> None:
    leaving = {s for s in Signal if transition(State.NEEDS_SIGN_IN, s) is not State.NEEDS_SIGN_IN}
    assert leaving == {Signal.SIGNED_IN, Signal.PAUSED, Signal.STOPPED}


def test_only_a_person_leaves_needs_attention() -> None:
    leaving = {
        s for s in Signal if transition(State.NEEDS_ATTENTION, s) is not State.NEEDS_ATTENTION
    }
    assert leaving == {Signal.RESUMED, Signal.PAUSED, Signal.STOPPED}


@pytest.mark.parametrize("state", sorted(set(State) - {State.STOPPED}))
def test_every_state_leads_back_online(state: State) -> None:
    reached, edge = {state}, {state}
    while edge:
        edge = {transition(s, signal) for s in edge for signal in Signal} - reached
        reached |= edge
    assert State.ONLINE in reached


@pytest.mark.parametrize("state", sorted(LIVE))
def test_an_exchange_decides_for_every_live_state(state: State) -> None:
    assert transition(state, Signal.DONE) is State.ONLINE
    assert transition(state, Signal.BEGUN) is State.SYNCING
    assert transition(state, Signal.LOST) is State.OFFLINE


def test_online_comes_only_from_an_exchange() -> None:
    into = {
        signal
        for state in State
        for signal in Signal
        if state is not State.ONLINE and transition(state, signal) is State.ONLINE
    }
    assert into == {Signal.DONE}


@pytest.mark.parametrize("kind", FailureKind)
def test_every_failure_has_a_verdict_and_a_matching_signal(kind: FailureKind) -> None:
    landing = {
        FailureVerdict.RETRY: {State.OFFLINE, State.WAITING},
        FailureVerdict.RETRY_SLOWLY: {State.WAITING},
        FailureVerdict.SIGN_IN: {State.NEEDS_SIGN_IN},
        FailureVerdict.UPGRADE: {State.NEEDS_UPGRADE},
        FailureVerdict.ATTENTION: {State.NEEDS_ATTENTION},
    }
    for state in LIVE:
        assert transition(state, signal_of(kind)) in landing[classify(kind)]


@given(kind=st.text())
def test_a_failure_nobody_knows_is_retried_slowly(kind: str) -> None:
    if kind not in set(FailureKind):
        assert classify(kind) is FailureVerdict.RETRY_SLOWLY
        assert signal_of(kind) is Signal.DEFERRED
