"""Clock offsets and stamps; back-off, retry budget and Retry-After."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from golden import Case, Family
from holdfast.core import clock
from holdfast.core.backoff import Backoff, RetryBudget, parse_retry_after

NOW = 1_795_000_000_000_000
SECOND = 1_000_000


def _samples(rng: random.Random) -> list[list[int]]:
    offset, at, samples = rng.randint(-(10**10), 10**10), NOW - rng.randint(0, 5 * 10**9), []
    for _ in range(rng.randint(0, 8)):
        if rng.random() < 0.15:
            offset += rng.randint(-(10**9), 10**9)  # the clock is set
        trip = rng.choice([800, 20_000, 3 * SECOND, rng.randint(0, 10**7)])
        server = at + rng.randint(0, trip) + offset
        samples.append([at, at + (trip if rng.random() < 0.95 else -trip), server])
        at += rng.randint(0, 10**9)
    return samples


def _clock_inputs() -> Iterator[Case]:
    for number, (last, now) in enumerate(((0, 5), (5, 5), (9, 5), (NOW, NOW - SECOND))):
        yield f"stamp {number}", {"stamp": [last, now]}
    rng = random.Random(3)
    for number in range(80):
        yield f"best {number}", {"best": _samples(rng), "now": NOW + rng.randint(0, 10**9)}


def _clock_answer(given: dict[str, Any]) -> Any:
    if "stamp" in given:
        return clock.next_stamp(*given["stamp"])
    samples = [
        clock.OffsetSample(sent_us=sent, received_us=received, server_us=server)
        for sent, received, server in given["best"]
    ]
    best = clock.best_offset(samples, now_us=given["now"])
    return None if best is None else [best.offset_us, best.error_us]


CLOCK = Family(
    name="clock",
    about="Stamps that never go back; the best offset of samples [sent, received, server]. "
    "Microseconds.",
    inputs=_clock_inputs,
    answer=_clock_answer,
)

# --- back-off -----------------------------------------------------------------------------------

CONFIGS: tuple[dict[str, Any], ...] = (
    {},
    {"base_ms": 50, "cap_ms": 2000, "spread_ms": 0},
    {"base_ms": 7, "cap_ms": 3, "spread_ms": 11, "retry_after_ms_max": 86_400_000},
)
DATE_MS = 784_111_777_000  # RFC 9110: Sun, 06 Nov 1994 08:49:37 GMT
RETRY_AFTERS = ("0", "120", " 7 ", "999999999999999999", "", "-1", "1.5", "soon", "\u0661",
                "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 2094 08:49:37 GMT",
                "Sun, 99 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 -0000",
                "Sun, 06 Nov 1994 08:49:37", "06 Nov 1994 03:49:37 -0500",
                "Sun, 06 Nov 1994 08:49:60 GMT", "Sun, 06 Nov 1994 08:49:37 EST",
                "Sun, 31 Nov 1994 08:49:37 GMT", "Mon, 29 Feb 2100 00:00:00 GMT",
                "Sunday, 06-Nov-44 08:49:37 GMT", "Sunday, 06-Nov-45 08:49:37 GMT",
                "1994-11-06T08:49:37Z", "November 6, 1994 08:49:37", "6/11/1994",
                "Nov 6")  # fmt: skip


def _backoff_inputs() -> Iterator[Case]:
    rng = random.Random(4)
    for at, config in enumerate(CONFIGS):
        for attempt in (1, 2, 3, 9, 10, 41, 42, 10_000):
            draws = [0.0, rng.random(), 1 - 2**-53]
            for asked in (None, 0, 500, 10**12):
                yield f"delay {at} {attempt} {asked}", {
                    "config": config, "attempt": attempt, "draws": draws, "retry_after_ms": asked,
                }  # fmt: skip
        yield f"slow {at}", {"config": config, "draws": [0.0, rng.random(), 1 - 2**-53]}
    takes = [rng.randint(0, 400) for _ in range(60)]
    yield "budget", {"budget": {"capacity": 3, "refill_ms": 100}, "after_ms": takes}
    for number, header in enumerate(RETRY_AFTERS):
        yield f"retry-after {number}", {"retry_after": header, "now_ms": DATE_MS - 30_000}


def _backoff_answer(given: dict[str, Any]) -> Any:
    if "retry_after" in given:
        return parse_retry_after(given["retry_after"], now_ms=given["now_ms"])
    if "budget" in given:
        budget, now_ms, out = RetryBudget(**given["budget"]), 0, []
        for wait_ms in given["after_ms"]:
            now_ms += wait_ms
            taken = budget.take(now_ms)
            out.append([taken is not None, budget.ready_at_ms(now_ms)])
            budget = taken or budget
        return out
    backoff = Backoff(**given["config"])
    if "attempt" in given:
        asked = given["retry_after_ms"]
        return [
            backoff.delay_ms(given["attempt"], draw, retry_after_ms=asked)
            for draw in given["draws"]
        ]
    return [[backoff.slow_delay_ms(draw), backoff.spread_delay_ms(draw)] for draw in given["draws"]]


BACKOFF = Family(
    name="backoff",
    about="Waits for given draws of [0, 1), milliseconds; a retry budget; Retry-After headers (the "
    "date is the example of RFC 9110).",
    inputs=_backoff_inputs,
    answer=_backoff_answer,
)
