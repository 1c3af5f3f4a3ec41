"""The session never sends twice at once, never gets stuck, keeps its budget and tells the truth.

The first half tells single stories; the second runs random ones against a small world of a server,
a network and a timer (`World`), in which requests take time and fail in every way.

Checks I29, I30, I37.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from holdfast.core.backoff import Backoff
from holdfast.core.connection.connectivity import FailureKind, State
from holdfast.core.session import (
    Advanced,
    CloseStream,
    Effect,
    ExchangeFailed,
    ExchangeOk,
    Heartbeat,
    LocalWrite,
    OpenStream,
    Pause,
    PlatformHint,
    ProbeFailed,
    ProbeOk,
    Resume,
    ServerMoved,
    SessionConfig,
    SessionEvent,
    SessionState,
    SessionStatus,
    SignedIn,
    Started,
    StartExchange,
    StartProbe,
    StatusChanged,
    Stop,
    Stream,
    StreamDown,
    StreamUp,
    Synced,
    Tick,
    WakeAt,
    new_session,
    status,
    step,
)

CAP_MS = 5_000
CONFIG = SessionConfig(backoff=Backoff(base_ms=500, cap_ms=CAP_MS), watchdog_ms=30_000)
NETWORK_EFFECTS = (StartExchange, StartProbe, OpenStream)
PARKED = {State.NEEDS_SIGN_IN, State.NEEDS_ATTENTION, State.PAUSED, State.STOPPED}


@dataclass
class Script:
    """A session fed by hand, and what its last step asked for."""

    state: SessionState = field(default_factory=lambda: new_session(CONFIG))
    now_ms: int = 1_000_000
    effects: tuple[Effect, ...] = ()

    def feed(self, *events: SessionEvent, after_ms: int = 0, random01: float = 0.5) -> Script:
        self.now_ms += after_ms
        for event in events:
            self.state, self.effects = step(self.state, event, self.now_ms, random01)
        return self

    def tick_when_due(self) -> Script:
        self.now_ms = max(self.now_ms, self.wake_at())
        return self.feed(Tick())

    def wake_at(self) -> int:
        (wake,) = [e for e in self.effects if isinstance(e, WakeAt)]
        return wake.at_ms

    def asked(self) -> list[type[Effect]]:
        return [type(e) for e in self.effects if not isinstance(e, StatusChanged | WakeAt)]

    @property
    def status(self) -> SessionStatus:
        return status(self.state)

    def is_in(self, expected: State) -> bool:
        return self.status.state is expected


def online(*, stream: bool = True) -> Script:
    script = Script().feed(Started(), ExchangeOk())
    if stream:
        script.feed(StreamUp(), ExchangeOk())
    assert script.is_in(State.ONLINE)
    return script


def offline() -> Script:
    script = Script().feed(Started(), ExchangeFailed(kind="network"))
    assert script.is_in(State.OFFLINE)
    return script


# --- single stories ----------------------------------------------------------------------------


def test_a_start_exchanges_then_opens_the_stream() -> None:
    script = Script().feed(Started())
    assert script.asked() == [StartExchange]
    assert script.is_in(State.SYNCING)
    script.feed(ExchangeOk())
    assert script.asked() == [OpenStream]
    assert script.feed(StreamUp()).asked() == [StartExchange]


def test_nothing_happens_before_the_start() -> None:
    script = Script()
    for event in (LocalWrite(), ServerMoved(), PlatformHint(), Tick(), SignedIn(), Heartbeat()):
        assert script.feed(event).asked() == []


def test_a_local_write_is_sent_at_once_and_one_while_syncing_right_after() -> None:
    script = online()
    assert script.feed(LocalWrite()).asked() == [StartExchange]
    assert script.feed(LocalWrite(), LocalWrite()).asked() == []
    assert script.feed(ExchangeOk()).asked() == [StartExchange]
    assert script.feed(ExchangeOk()).asked() == []
    assert script.is_in(State.ONLINE)


def test_a_live_event_leads_to_an_exchange() -> None:
    assert online().feed(ServerMoved()).asked() == [StartExchange]


def test_more_is_fetched_at_once_but_not_in_a_circle() -> None:
    script = online().feed(LocalWrite())
    assert script.feed(ExchangeOk(more=True, pending=3)).asked() == [StartExchange]
    script.feed(ExchangeOk(more=True, pending=3, progressed=False))
    assert script.asked() == []
    assert script.now_ms < script.wake_at() <= script.now_ms + CAP_MS
    assert script.tick_when_due().asked() == [StartExchange]


def test_an_idle_replica_polls_rarely_with_a_stream_and_often_without() -> None:
    with_stream, without = online(), online(stream=False)
    without.feed(StreamDown()).tick_when_due()
    for _ in range(20):
        if StartExchange in without.asked():
            break
        assert without.status.state is State.ONLINE
        if StartProbe in without.asked():
            without.feed(ProbeOk())
        elif OpenStream in without.asked():
            without.feed(StreamDown())
        else:
            without.tick_when_due()
    assert StartExchange in without.asked()
    assert without.now_ms - 1_000_000 < 2 * CONFIG.poll_ms
    assert with_stream.state.due_at_ms is not None
    assert with_stream.state.due_at_ms - with_stream.now_ms > 10 * CONFIG.poll_ms


def test_a_silent_stream_is_closed_and_the_server_looked_for() -> None:
    script = online()
    script.feed(Heartbeat(), after_ms=CONFIG.silence_ms - 1)
    assert CloseStream not in script.asked()
    script.feed(Tick(), after_ms=CONFIG.silence_ms)
    assert script.asked() == [CloseStream]
    assert script.is_in(State.ONLINE)
    while StartProbe not in script.asked():
        script.tick_when_due()
    script.feed(ProbeFailed(kind="timeout"))
    assert script.is_in(State.OFFLINE)
    assert script.status.retry_at_ms is not None


def test_offline_probes_and_exchanges_as_soon_as_the_server_answers() -> None:
    script = offline()
    assert script.tick_when_due().asked() == [StartProbe]
    script.feed(ProbeFailed(kind="not_our_server", message="a login page"))
    assert script.is_in(State.OFFLINE)
    assert script.status.attempt == 2
    script.tick_when_due()
    assert script.feed(ProbeOk()).asked() == [StartExchange]
    script.feed(ExchangeOk())
    assert script.status.attempt == 0
    assert script.status.last_error is None


def test_a_hint_probes_at_once_but_not_more_often_than_allowed() -> None:
    script = offline()
    assert script.feed(PlatformHint()).asked() == [StartProbe]
    script.feed(ProbeFailed(kind="network"), PlatformHint(), PlatformHint(), after_ms=10)
    assert script.asked() == []
    assert script.wake_at() <= script.now_ms + CONFIG.hint_ms
    assert online().feed(PlatformHint()).asked() == [StartProbe]


def test_retry_after_binds_writes_and_hints_too() -> None:
    script = online().feed(
        LocalWrite(), ExchangeFailed(kind="server_error", retry_after_ms=4_000), random01=0.0
    )
    assert script.is_in(State.WAITING)
    assert script.status.retry_at_ms == script.now_ms + 4_000
    for event in (LocalWrite(), PlatformHint(), ServerMoved(), SignedIn(), Tick()):
        assert script.feed(event, after_ms=500).asked() == []
    assert script.feed(Tick(), after_ms=1_500).asked()


@pytest.mark.parametrize("kind", ["server_error", "network", "unknown"])
def test_a_sync_that_a_person_asked_for_ends_the_waiting(kind: str) -> None:
    failed = ExchangeFailed(kind=kind, retry_after_ms=4_000)
    script = online().feed(LocalWrite(), failed, LocalWrite())
    script.feed(Synced(), after_ms=100)
    assert script.status.last_error is None
    # What was written meanwhile is not left to the next poll.
    assert StartExchange in script.asked()
    # One that is under way tells for itself; and whoever wants to stay offline stays so.
    assert script.feed(Synced()).asked() == []
    assert script.is_in(State.SYNCING)
    assert script.feed(ExchangeOk(), Pause(), Synced()).asked() == []
    assert script.is_in(State.PAUSED)


@pytest.mark.parametrize("kind", ["unauthenticated", "epoch_mismatch"])
def test_a_sync_that_succeeds_ends_what_the_session_was_stopped_for(kind: str) -> None:
    script = online().feed(LocalWrite(), ExchangeFailed(kind=kind))
    assert script.state.connection in PARKED
    script.feed(Synced(), after_ms=100)
    assert script.is_in(State.ONLINE)
    assert script.status.last_error is None
    assert script.feed(LocalWrite(), after_ms=100).asked() == [StartExchange]


def test_an_absurd_retry_after_is_capped() -> None:
    script = Script().feed(
        Started(), ExchangeFailed(kind="too_many_requests", retry_after_ms=10**9)
    )
    assert script.wake_at() <= script.now_ms + 2 * CAP_MS


def test_a_refused_token_waits_for_a_new_one() -> None:
    script = Script().feed(Started(), ExchangeFailed(kind="unauthenticated", code="token_expired"))
    assert script.is_in(State.NEEDS_SIGN_IN)
    assert script.status.last_error is not None
    assert script.status.last_error.code == "token_expired"
    for event in (LocalWrite(), PlatformHint(), Tick(), Resume()):
        assert script.feed(event, after_ms=60_000).asked() == []
    assert script.feed(SignedIn()).asked() == [StartExchange]


def test_a_token_that_came_during_the_exchange_is_tried() -> None:
    script = Script().feed(Started(), SignedIn(), ExchangeFailed(kind="unauthenticated"))
    assert script.asked() == [StartExchange]
    script.feed(ExchangeFailed(kind="unauthenticated"))
    assert script.is_in(State.NEEDS_SIGN_IN)


@pytest.mark.parametrize("kind", ["nonce_mismatch", "epoch_mismatch", "another_server"])
def test_a_broken_history_stops_with_its_code_until_a_person_says_go_on(kind: str) -> None:
    script = online().feed(LocalWrite(), ExchangeFailed(kind=kind))
    assert script.is_in(State.NEEDS_ATTENTION)
    assert script.status.last_error is not None
    assert script.status.last_error.code == kind
    for event in (LocalWrite(), PlatformHint(), SignedIn(), Tick()):
        assert script.feed(event, after_ms=60_000).asked() == []
    assert script.state.pending
    assert script.feed(Resume()).asked() == [StartExchange]


def test_an_upgrade_is_looked_for_slowly_under_one_name() -> None:
    script = online().feed(LocalWrite(), ExchangeFailed(kind="protocol_upgrade"))
    assert script.is_in(State.NEEDS_UPGRADE)
    assert script.wake_at() >= script.now_ms + CAP_MS // 2
    assert script.tick_when_due().asked() == [StartExchange]
    assert script.is_in(State.NEEDS_UPGRADE)
    script.feed(ExchangeOk())
    assert script.is_in(State.ONLINE)


def test_an_unknown_error_is_retried_slowly_and_shown() -> None:
    script = online().feed(LocalWrite(), ExchangeFailed(kind="green_smoke", message="what?"))
    assert script.is_in(State.WAITING)
    assert script.wake_at() >= script.now_ms + CAP_MS // 2
    assert script.status.last_error is not None
    assert script.status.last_error.message == "what?"
    assert script.tick_when_due().asked() == [StartExchange]


def test_a_pause_closes_the_stream_and_a_resume_syncs() -> None:
    script = online()
    assert script.feed(Pause()).asked() == [CloseStream]
    assert script.feed(LocalWrite(), PlatformHint(), Tick(), after_ms=10**7).asked() == []
    assert script.feed(Resume()).asked() == [StartExchange]


def test_a_pause_during_an_exchange_does_not_lead_to_two() -> None:
    script = online().feed(LocalWrite(), Pause(), Resume())
    assert script.asked() == []
    assert script.feed(ExchangeOk(pending=1)).asked() == [OpenStream, StartExchange]


def test_a_pause_before_the_start_holds() -> None:
    script = Script().feed(Pause(), Started(pending=1))
    assert script.asked() == []
    assert script.feed(Resume()).asked() == [StartExchange]


def test_after_the_stop_nothing_happens() -> None:
    script = online()
    assert script.feed(Stop()).asked() == [CloseStream]
    assert not [e for e in script.effects if isinstance(e, WakeAt)]
    script.feed(Started(), Resume(), LocalWrite(), SignedIn(), Tick())
    assert script.effects == ()


def test_pending_work_without_progress_is_never_silent() -> None:
    script = offline().feed(LocalWrite())
    since = script.now_ms
    while not script.status.stalled:
        script.tick_when_due()
        if StartProbe in script.asked():
            script.feed(ProbeFailed(kind="network", code="dns"))
        assert script.now_ms <= since + CONFIG.watchdog_ms
    assert script.now_ms == since + CONFIG.watchdog_ms
    assert script.status.stalled_reason == "dns"


def test_the_watchdog_names_a_hanging_exchange_and_a_pause() -> None:
    hanging = online().feed(LocalWrite()).feed(Heartbeat(), after_ms=CONFIG.watchdog_ms)
    assert hanging.status.stalled_reason == "exchange_hangs"
    assert not hanging.feed(ExchangeOk()).status.stalled
    paused = online().feed(Pause(), LocalWrite()).feed(Tick(), after_ms=CONFIG.watchdog_ms)
    assert paused.status.stalled_reason == "paused"


def test_a_load_that_goes_forward_is_not_stalled_however_long_it_takes() -> None:
    loading = online().feed(LocalWrite())
    for done in range(1, 21):
        part = CONFIG.watchdog_ms - 1
        loading.feed(Advanced(stage="downloading", done=done, total=20), after_ms=part)
        assert not loading.status.stalled
    loading.feed(Tick(), after_ms=CONFIG.watchdog_ms)
    assert loading.status.stalled
    assert not loading.feed(Advanced(stage="checking", done=1, total=5)).status.stalled


def test_a_load_that_always_breaks_at_one_place_is_stalled() -> None:
    script = online().feed(LocalWrite())
    since = script.now_ms
    while not script.status.stalled:
        if script.state.exchanging:
            script.feed(Advanced(stage="downloading", done=7, total=20))
            script.feed(ExchangeFailed(kind="server_error"))
        else:
            script.tick_when_due()
        assert script.now_ms <= since + CONFIG.watchdog_ms
    assert script.now_ms == since + CONFIG.watchdog_ms


def test_exchanges_that_bring_pending_work_no_further_are_reported() -> None:
    script = online().feed(LocalWrite())
    since = script.now_ms
    while not script.status.stalled:
        if script.state.exchanging:
            script.feed(ExchangeOk(pending=1, progressed=False))
        else:
            script.feed(Heartbeat()).tick_when_due()
        assert script.now_ms <= since + CONFIG.watchdog_ms
    assert script.status.last_error is None
    assert script.status.stalled_reason in {"no_progress", "exchange_hangs"}


def test_a_write_during_an_exchange_is_watched_even_if_the_exchange_did_not_count_it() -> None:
    script = online().feed(ServerMoved(), LocalWrite(), ExchangeOk(pending=0))
    script.feed(ExchangeFailed(kind="network"), Pause())
    assert script.feed(Tick(), after_ms=CONFIG.watchdog_ms).status.stalled


def test_the_budget_never_outwaits_the_back_off() -> None:
    config = SessionConfig(backoff=Backoff(cap_ms=CAP_MS), budget_refill_ms=10**9)
    assert new_session(config).budget.refill_ms == CAP_MS // 2


def test_a_proxy_that_cuts_streams_is_not_hammered() -> None:
    script, opened = online(stream=False), 0
    script.feed(StreamUp())
    until = script.now_ms + 60_000
    while script.now_ms < until:
        if script.state.stream is Stream.OPENING:
            opened += 1
            script.feed(StreamUp(), StreamDown())
        elif script.state.exchanging:
            script.feed(ExchangeOk())
        elif script.state.probing:
            script.feed(ProbeOk())
        else:
            script.tick_when_due()
    assert 5 < opened < 40
    assert script.status.state in {State.ONLINE, State.SYNCING}


def test_results_nobody_waits_for_are_ignored() -> None:
    script = online()
    before = script.state
    script.feed(ProbeOk(), ProbeFailed(kind="network"), ExchangeFailed(kind="network"))
    script.feed(ExchangeOk(more=True, pending=9), StreamUp())
    assert script.state == before


# --- random stories ----------------------------------------------------------------------------


@dataclass
class World:
    """A server that can be cut off, requests that take time, one timer; all from one seed."""

    seed: int
    config: SessionConfig = CONFIG
    now_ms: int = 0
    kinds: tuple[str, ...] = ()
    """How contacts may fail now; empty: the network is whole."""
    pending: int = 0
    sent: int = 0
    last: tuple[Effect, ...] = ()
    in_flight: int = 0
    wake_at_ms: int | None = None
    stream_open: bool = False
    retries: list[int] = field(default_factory=list)
    earned: bool = False
    contacts: list[int] = field(default_factory=list)
    statuses: list[SessionStatus] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.state = new_session(self.config)
        self.queue: list[tuple[int, int, SessionEvent]] = []
        self.order = 0

    def later(self, event: SessionEvent, delay_ms: int) -> None:
        self.order += 1
        heapq.heappush(self.queue, (self.now_ms + delay_ms, self.order, event))

    def feed(self, event: SessionEvent) -> None:
        if isinstance(event, LocalWrite):
            self.pending += 1
        if isinstance(event, ExchangeOk):
            self.pending -= self.sent
            event = ExchangeOk(
                more=self.random.random() < 0.1,
                pending=self.pending,
                progressed=self.sent > 0 or self.random.random() < 0.5,
            )
        if isinstance(event, ExchangeOk | ExchangeFailed | ProbeOk | ProbeFailed):
            self.in_flight -= 1
            self.earned = isinstance(event, ProbeOk)
        if isinstance(event, StreamDown):
            self.stream_open = False
        paused_before = self.state.connection in PARKED
        failing = self.state.attempt > 0
        self.state, self.last = step(self.state, event, self.now_ms, self.random.random())
        self.wake_at_ms = None
        failing = failing and not isinstance(event, ExchangeOk)
        failing = failing or isinstance(event, ExchangeFailed | ProbeFailed)
        for effect in self.last:
            self.carry_out(effect, failing=failing)
        self.check(paused_before=paused_before)

    def carry_out(self, effect: Effect, *, failing: bool) -> None:
        match effect:
            case StartExchange() | StartProbe():
                self.in_flight += 1
                self.contacts.append(self.now_ms)
                if failing and not (self.earned and isinstance(effect, StartExchange)):
                    self.retries.append(self.now_ms)
                self.answer(effect)
            case OpenStream():
                self.stream_open = not self.kinds
                self.later(StreamDown() if self.kinds else StreamUp(), 20)
            case CloseStream():
                self.stream_open = False
                # A closed stream falls silent: its events on the way are dropped.
                gone = (StreamUp, StreamDown, Heartbeat, ServerMoved)
                self.queue = [entry for entry in self.queue if not isinstance(entry[2], gone)]
                heapq.heapify(self.queue)
            case WakeAt(at_ms=at_ms):
                assert at_ms > self.now_ms
                self.wake_at_ms = at_ms
            case StatusChanged(status=reported):
                assert not self.statuses or self.statuses[-1] != reported
                self.statuses.append(reported)

    def answer(self, effect: StartExchange | StartProbe) -> None:
        delay_ms = self.random.randrange(1, 200)
        probe = isinstance(effect, StartProbe)
        if not self.kinds or self.random.random() < 0.1:
            self.sent = 0 if probe else self.random.randint(1, max(1, self.pending))
            self.sent = min(self.sent, self.pending)
            self.later(ProbeOk() if probe else ExchangeOk(), delay_ms)
            return
        kind = self.random.choice(self.kinds)
        asked = self.random.choice([None, None, 50, 3_000, 10**8])
        failure = ProbeFailed if probe else ExchangeFailed
        self.later(failure(kind=kind, retry_after_ms=asked), delay_ms)

    def check(self, *, paused_before: bool) -> None:
        assert 0 <= self.in_flight <= 1, "two contacts in flight"
        assert self.in_flight == self.state.exchanging + self.state.probing
        if self.state.connection is State.SYNCING:
            assert self.state.exchanging
        if self.state.connection in PARKED:
            assert not [e for e in self.last if isinstance(e, NETWORK_EFFECTS)]
            assert self.state.stream is Stream.DOWN
        elif paused_before or self.contacts:
            assert self.wake_at_ms is not None or self.in_flight, "stuck"
        if self.statuses:
            assert self.statuses[-1] == status(self.state), "a change was not reported"

    def run(self, until_ms: int) -> None:
        steps = 0
        while True:
            steps += 1
            assert steps < 20_000, "spins"
            due = [entry[0] for entry in self.queue[:1]]
            due += [] if self.wake_at_ms is None else [self.wake_at_ms]
            at_ms = min(due, default=until_ms + 1)
            if at_ms > until_ms:
                break
            self.now_ms = max(self.now_ms, at_ms)
            if self.queue and self.queue[0][0] <= self.now_ms:
                self.feed(heapq.heappop(self.queue)[2])
            else:
                self.feed(Tick())
        self.now_ms = until_ms


TRANSIENT = ("network", "timeout", "not_our_server", "server_error", "too_many_requests", "local")
ALL_KINDS = (*[kind.value for kind in FailureKind], "never_heard_of")

happenings = st.sampled_from(
    [
        LocalWrite(),
        LocalWrite(),
        ServerMoved(),
        PlatformHint(),
        PlatformHint(),
        StreamDown(),
        Heartbeat(),
        Tick(),
        Pause(),
        Resume(),
        Resume(),
        SignedIn(),
    ]
)
stories = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 50, 400, 3_000, 20_000, 60_000]),
        happenings,
        st.sampled_from([None, (), ("network",), TRANSIENT, ALL_KINDS]),
    ),
    max_size=40,
)
configs = st.builds(
    SessionConfig,
    backoff=st.builds(Backoff, base_ms=st.integers(1, 2_000), cap_ms=st.just(CAP_MS)),
    budget_capacity=st.sampled_from([1, 2, 20]),
    budget_refill_ms=st.sampled_from([100, 2_000, 60_000]),
    watchdog_ms=st.integers(1, 60_000),
    poll_ms=st.integers(100, 20_000),
)
seeds = st.integers(0, 2**32)


def tell(
    seed: int,
    config: SessionConfig,
    story: list[tuple[int, SessionEvent, tuple[str, ...] | None]],
) -> World:
    world = World(seed, config)
    world.feed(Started())
    for gap_ms, event, kinds in story:
        world.run(world.now_ms + gap_ms)
        if kinds is not None:
            world.kinds = kinds
        world.feed(event)
    return world


@settings(max_examples=examples(300))
@given(seed=seeds, config=configs, story=stories)
def test_once_the_network_heals_everything_is_sent_within_twice_the_maximum(
    seed: int, config: SessionConfig, story: list[tuple[int, SessionEvent, tuple[str, ...] | None]]
) -> None:
    world = tell(seed, config, story)
    world.kinds = ()
    world.run(world.now_ms + 200)  # what is under way still fails as it was going to
    for event in (SignedIn(), Pause(), Resume()):
        world.feed(event)  # a person does what the status asks for
    world.feed(LocalWrite())
    waited_from = world.now_ms
    while world.pending or world.state.connection is not State.ONLINE:
        assert world.now_ms < waited_from + 2 * CAP_MS, status(world.state)
        world.run(world.now_ms + 50)
    assert status(world.state).last_error is None


@settings(max_examples=examples(300))
@given(seed=seeds, config=configs, story=stories)
def test_a_heal_is_noticed_without_help_from_anyone(
    seed: int, config: SessionConfig, story: list[tuple[int, SessionEvent, tuple[str, ...] | None]]
) -> None:
    calm = [(gap, event, kinds) for gap, event, kinds in story if not isinstance(event, Pause)]
    world = tell(seed, config, [(gap, e, None if k == ALL_KINDS else k) for gap, e, k in calm])
    world.feed(LocalWrite())
    world.kinds = ()
    healed = world.now_ms
    while world.pending or world.state.connection is not State.ONLINE:
        assert world.now_ms < healed + 2 * CAP_MS + 1_000, status(world.state)
        world.run(world.now_ms + 50)


@settings(max_examples=examples(300))
@given(seed=seeds, config=configs, story=stories)
def test_retries_stay_within_the_budget_in_every_window(
    seed: int, config: SessionConfig, story: list[tuple[int, SessionEvent, tuple[str, ...] | None]]
) -> None:
    world = tell(seed, config, story)
    world.run(world.now_ms + 120_000)
    budget = world.state.budget
    for first, start in enumerate(world.retries):
        for last in range(first, len(world.retries)):
            window_ms = world.retries[last] - start
            assert last - first + 1 <= budget.capacity + window_ms // budget.refill_ms + 1


@settings(max_examples=examples(200))
@given(seed=seeds, config=configs, story=stories)
def test_pending_work_without_progress_is_reported_in_every_story(
    seed: int, config: SessionConfig, story: list[tuple[int, SessionEvent, tuple[str, ...] | None]]
) -> None:
    world = tell(seed, config, story)
    world.kinds = ("network",)
    world.feed(LocalWrite())
    world.run(world.now_ms + 200 + config.watchdog_ms)
    # A tenth of contacts get through even so; whoever still has work must say it is stuck or
    # have moved lately.
    moved_lately = world.now_ms - world.state.progress_at_ms < config.watchdog_ms
    assert not world.state.pending or world.statuses[-1].stalled or moved_lately


any_event = st.one_of(
    happenings,
    st.builds(Started, pending=st.integers(0, 3)),
    st.builds(ExchangeOk, more=st.booleans(), pending=st.integers(0, 3), progressed=st.booleans()),
    st.builds(
        ExchangeFailed,
        kind=st.sampled_from(ALL_KINDS),
        retry_after_ms=st.none() | st.integers(-1, 10**12),
    ),
    st.builds(ProbeFailed, kind=st.sampled_from(ALL_KINDS)),
    st.builds(Synced, pending=st.integers(0, 3)),
    st.builds(
        Advanced,
        stage=st.sampled_from(["building", "downloading"]),
        done=st.integers(0, 9),
        total=st.integers(0, 9),
    ),
    st.sampled_from([ProbeOk(), StreamUp(), StreamDown(), Stop()]),
)


@settings(max_examples=examples(500))
@given(
    events=st.lists(st.tuples(st.integers(0, 20_000), any_event, st.floats(0, 0.999)), max_size=80)
)
def test_events_in_any_order_never_lead_to_two_contacts_or_a_stuck_state(
    events: list[tuple[int, SessionEvent, float]],
) -> None:
    state, now_ms, exchanging, probing, started = new_session(CONFIG), 0, False, False, False
    for gap_ms, event, random01 in events:
        now_ms += gap_ms
        before = state
        state, effects = step(state, event, now_ms, random01)
        assert (state, effects) == step(before, event, now_ms, random01)
        if isinstance(event, ExchangeOk | ExchangeFailed):
            exchanging = False
        if isinstance(event, ProbeOk | ProbeFailed):
            probing = False
        for effect in effects:
            if isinstance(effect, StartExchange | StartProbe):
                assert not exchanging
                assert not probing
                exchanging |= isinstance(effect, StartExchange)
                probing |= isinstance(effect, StartProbe)
        started |= isinstance(event, Started | Resume)
        waking = any(isinstance(e, WakeAt) and e.at_ms > now_ms for e in effects)
        if state.connection in PARKED:
            assert not [e for e in effects if isinstance(e, NETWORK_EFFECTS)]
        elif before.due_at_ms is not None:
            assert waking or exchanging or probing
        if state.connection is State.STOPPED:
            assert not waking
