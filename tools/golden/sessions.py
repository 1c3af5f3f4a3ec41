"""Connectivity and the session: the whole table, and traces of events with their effects."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Iterator
from typing import Any

from golden import Case, Family
from holdfast.core import session as core
from holdfast.core.backoff import Backoff
from holdfast.core.connection.connectivity import (
    FailureKind,
    Signal,
    State,
    classify,
    signal_of,
    transition,
)
from holdfast.core.connection.ways_out import way_out

EVENTS: dict[str, type[Any]] = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower(): kind
    for kind in (
        core.Started, core.LocalWrite, core.ServerMoved, core.StreamUp, core.StreamDown,
        core.Heartbeat, core.ProbeOk, core.ProbeFailed, core.ExchangeOk, core.ExchangeFailed,
        core.Synced, core.PlatformHint, core.Tick, core.Pause, core.Resume, core.SignedIn,
        core.Stop, core.Advanced,
    )
}  # fmt: skip
KINDS = (*(kind.value for kind in FailureKind), "of the future")

# --- connectivity -------------------------------------------------------------------------------


def _connectivity_inputs() -> Iterator[Case]:
    for state in State:
        for signal in Signal:
            yield f"{state} {signal}", {"state": state.value, "signal": signal.value}
    for kind in KINDS:
        yield f"failure {kind}", {"failure": kind}
        for code in ("", "wrong_device", "database_full", "disk_full", "sync_silent"):
            yield f"way out {kind} {code}".strip(), {"way_out": kind, "code": code}


def _connectivity_answer(given: dict[str, Any]) -> Any:
    if "way_out" in given:
        return way_out(given["way_out"], given["code"])
    if "failure" in given:
        return [classify(given["failure"]).value, signal_of(given["failure"]).value]
    return transition(State(given["state"]), Signal(given["signal"])).value


CONNECTIVITY = Family(
    name="connectivity",
    about="The next state for every state and signal; verdict and signal of every kind of failure, "
    "and the way out of it.",
    inputs=_connectivity_inputs,
    answer=_connectivity_answer,
)

# --- session ------------------------------------------------------------------------------------


def _event(rng: random.Random, name: str) -> dict[str, Any]:
    event: dict[str, Any] = {"type": name}
    if name.endswith("_failed"):
        event["kind"] = rng.choice(KINDS)
        if rng.random() < 0.4:
            event["retry_after_ms"] = rng.choice([0, 700, 60_000, 10**9])
        if rng.random() < 0.5:
            event |= {"code": "some_code", "message": "in words"}
    elif name == "exchange_ok":
        event |= {"more": rng.random() < 0.2, "pending": rng.choice([0, 0, 0, 1, 3]),
                  "progressed": rng.random() < 0.8}  # fmt: skip
    elif name == "synced":
        event["pending"] = rng.choice([0, 0, 1])
    elif name == "started":
        event["pending"] = rng.choice([0, 2])
    elif name == "advanced":
        event |= {"stage": "downloading", "done": 1000, "total": 9000}
    return event


def _trace(rng: random.Random, config: dict[str, Any], length: int) -> list[list[Any]]:
    """What a driver and the world could say, most of it in answer to what the session asked."""
    state = core.new_session(_config(config))
    now_ms, owed = rng.randint(0, 10**6), ["started"]
    events: list[list[Any]] = []
    wake_ms: int | None = None
    others = [name for name in EVENTS if name not in ("started", "stop", "advanced")]
    while len(events) < length:
        if owed and rng.random() < 0.7:
            name = owed.pop(rng.randrange(len(owed)))
            now_ms += rng.choice([0, 3, 40, 900])
        elif wake_ms is not None and rng.random() < 0.6:
            now_ms, name = max(now_ms, wake_ms), "tick"
        else:
            now_ms += rng.choice([0, 1, 500, 20_000, 400_000])
            name = rng.choice(others)
        if len(events) == length - 2 and rng.random() < 0.5:
            name = "stop"
        event, draw = _event(rng, name), rng.random()
        events.append([now_ms, draw, event])
        state, effects = core.step(state, _decode(event), now_ms, draw)
        wake_ms = None
        for effect in effects:
            match effect:
                case core.StartExchange():
                    owed.append(rng.choice(["exchange_ok", "exchange_ok", "exchange_failed"]))
                case core.StartProbe():
                    owed.append(rng.choice(["probe_ok", "probe_failed"]))
                case core.OpenStream():
                    owed.append(rng.choice(["stream_up", "stream_up", "stream_down"]))
                case core.WakeAt(at_ms=at_ms):
                    wake_ms = at_ms
                case core.CloseStream() | core.StatusChanged():
                    pass  # nothing comes of it
    return events


SMALL = {
    "backoff": {"base_ms": 100, "cap_ms": 3000, "spread_ms": 50}, "poll_ms": 1000,
    "poll_with_stream_ms": 9000, "heartbeat_ms": 300, "watchdog_ms": 5000, "hint_ms": 10,
    "budget_capacity": 3, "budget_refill_ms": 400,
}  # fmt: skip


def _session_inputs() -> Iterator[Case]:
    rng = random.Random(5)
    for number in range(36):
        config: dict[str, Any] = SMALL if number % 3 else {}
        yield f"trace {number}", {"config": config, "events": _trace(rng, config, 48)}
    # Every event in every state, and what an exchange says afterwards.
    ways: dict[str, list[dict[str, Any]]] = {
        "starting": [],
        "syncing": [{"type": "started", "pending": 1}],
        "online": [{"type": "started"}, {"type": "exchange_ok"}],
        "offline": [{"type": "started"}, {"type": "exchange_failed", "kind": "network"}],
        "waiting": [{"type": "started"}, {"type": "exchange_failed", "kind": "server_error"}],
        "needs_sign_in": [
            {"type": "started"},
            {"type": "exchange_failed", "kind": "unauthenticated"},
        ],
        "needs_upgrade": [
            {"type": "started"},
            {"type": "exchange_failed", "kind": "protocol_upgrade"},
        ],
        "needs_attention": [
            {"type": "started"},
            {"type": "exchange_failed", "kind": "another_server"},
        ],
        "paused": [{"type": "pause"}],
        "stopped": [{"type": "stop"}],
    }
    for state, way in ways.items():
        for name in EVENTS:
            events = [*way, _event(rng, name), {"type": "tick"}]
            timed = [[1000 * at, 0.25, event] for at, event in enumerate(events)]
            yield f"{state}: {name}", {"config": {}, "events": timed}
    yield from _loads()


def _loads() -> Iterator[Case]:
    """Loads that take longer than the watchdog waits: some go forward, some do not."""

    def story(*events: tuple[int, dict[str, Any]]) -> dict[str, Any]:
        return {"config": SMALL, "events": [[at_ms, 0.5, event] for at_ms, event in events]}

    def told(stage: str, done: int, total: int) -> dict[str, Any]:
        return {"type": "advanced", "stage": stage, "done": done, "total": total}

    begun = (0, {"type": "started", "pending": 1})
    tick, failed = {"type": "tick"}, {"type": "exchange_failed", "kind": "network"}
    probed = {"type": "probe_ok"}
    yield "a load that goes forward is no stall", story(
        begun, (1, told("building", 0, 900)), *[
            (4000 * step, told(*place)) for step, place in enumerate([
                ("building", 500, 900), ("downloading", 10, 70), ("downloading", 70, 70),
                ("checking", 900, 900), ("importing", 400, 900), ("importing", 900, 900),
            ], start=1)
        ], (28_000, {"type": "exchange_ok", "pending": 0}), (34_000, tick),
    )  # fmt: skip
    yield "a load that stands still is one", story(
        begun, (1, told("downloading", 10, 70)), (3000, told("downloading", 10, 70)),
        (5001, tick), (5002, told("downloading", 11, 70)), (10_001, tick), (10_002, tick),
    )  # fmt: skip
    yield "a load that always breaks at one place is one", story(
        begun, (1, told("downloading", 10, 70)), (2, failed), (600, tick), (601, probed),
        (700, told("downloading", 10, 70)), (701, failed), (2500, tick), (2501, probed),
        (5002, told("downloading", 10, 70)), (5003, told("downloading", 20, 70)),
    )  # fmt: skip
    yield "of the next load all is new", story(
        begun, (1, told("downloading", 70, 70)), (2, {"type": "exchange_ok", "pending": 1}),
        (4000, tick), (4001, told("downloading", 5, 70)), (9000, tick), (9001, tick),
    )  # fmt: skip
    many = [(1000 + at, told("downloading", 5, 70 + at)) for at in range(12)]
    yield "only so many places are remembered", story(
        begun, *many, (4000, told("downloading", 5, 81)), (5999, told("downloading", 5, 70)),
        (6012, tick), (10_999, tick), (11_000, tick),
    )  # fmt: skip


def _config(given: dict[str, Any]) -> core.SessionConfig:
    rest = {name: value for name, value in given.items() if name != "backoff"}
    return core.SessionConfig(backoff=Backoff(**given.get("backoff", {})), **rest)


def _decode(event: dict[str, Any]) -> core.SessionEvent:
    fields = {name: value for name, value in event.items() if name != "type"}
    decoded: core.SessionEvent = EVENTS[event["type"]](**fields)
    return decoded


def _encode(effect: core.Effect) -> dict[str, Any]:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(effect).__name__).lower()
    return {"type": name, **dataclasses.asdict(effect)}


def _session_answer(given: dict[str, Any]) -> Any:
    state = core.new_session(_config(given["config"]))
    out = []
    for now_ms, draw, event in given["events"]:
        state, effects = core.step(state, _decode(event), now_ms, draw)
        out.append([_encode(effect) for effect in effects])
    return out


SESSION = Family(
    name="session",
    about="Traces of the session: events as [now_ms, random, event], and the effects of each.",
    inputs=_session_inputs,
    answer=_session_answer,
)
