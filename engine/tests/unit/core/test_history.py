"""What has happened to a replica is told in sentences."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.connection.history import HistoryKind, history_text

DAY = int(datetime(2026, 11, 21, 23, 59, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((0, 0, 0), ""),
        ((12, 9, 0), " 12 changes were sent again, 9 of them had arrived already."),
        ((1, 1, 0), " 1 change was sent again, it had arrived already."),
        ((2, 2, 0), " 2 changes were sent again, all of them had arrived already."),
        ((3, 0, 1), " 3 changes were sent again. 1 waits in the inbox."),
        (
            (9, 1, 2),
            " 9 changes were sent again, 1 of them had arrived already. 2 wait in the inbox.",
        ),
    ],
)
def test_it_says_what_was_sent_again(counts: tuple[int, int, int], text: str) -> None:
    first = "This device was restored from a backup of 21 Nov 2026."
    assert history_text("restored", DAY, *counts) == first + text


@given(st.dates(min_value=date(1900, 1, 1), max_value=date(2400, 1, 1)))
def test_days_are_those_of_the_calendar(day: date) -> None:
    text = history_text("restored", (day - date(1970, 1, 1)).days * 86_400_000_000 + 5, 0, 0, 0)
    assert f" {day.day} {day:%b} {day.year}." in text


def test_every_kind_of_ours_has_words() -> None:
    for kind in set(HistoryKind) - {HistoryKind.MIGRATED, HistoryKind.SALVAGED}:
        assert history_text(kind, None, 0, 0, 0)
    assert history_text("unheard of", None, 1, 0, 0) == ""
