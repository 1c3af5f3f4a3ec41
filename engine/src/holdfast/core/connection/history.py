"""History of a replica, told in sentences that a person understands.

Knows: kinds of events and their counts. Must not know: files, or how an event came about.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class HistoryKind(StrEnum):
    """Kind of event in a replica's history."""

    COPIED = "copied"
    """The file was copied: another one goes on as who this one was."""
    RESTORED = "restored"
    """The file is an older state of itself."""
    REINITIALISED = "reinitialised"
    """The device has begun anew with this file."""
    SERVER_RESTORED = "server_restored"
    """The server has gone back to a backup, or its history has parted otherwise."""
    ACCEPTED_SERVER = "accepted_server"
    """A person has said that another server is the one from now on."""
    MIGRATED = "migrated"
    """A newer version of the app has taken the file over."""
    SALVAGED = "salvaged"


_MONTHS: Final = [
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
]
_DAY_US: Final = 86_400_000_000


def history_text(
    kind: str, since_us: int | None, resent: int, already_there: int, to_inbox: int
) -> str:
    """The sentences of an event. ``since_us``: the moment of the older state, µs since 1970;
    ``resent``: how many transactions were sent again, of which ``already_there`` had arrived before
    and ``to_inbox`` wait for a person. Empty for a kind that has no words of its own."""
    words = _what(kind, "" if since_us is None else _day(since_us))
    if not words or not resent:
        return words
    if already_there == resent:
        there = ", it had arrived" if resent == 1 else ", all of them had arrived"
    elif already_there:
        there = f", {already_there} of them had arrived"
    else:
        there = ""
    words += f" {_changes(resent)} sent again{there}{' already' if there else ''}."
    if to_inbox:
        words += f" {to_inbox} {'waits' if to_inbox == 1 else 'wait'} in the inbox."
    return words


def _what(kind: str, day: str) -> str:
    match kind:
        case HistoryKind.COPIED:
            return "This file was copied: from now on it is a replica of its own."
        case HistoryKind.RESTORED:
            older = f"a backup of {day}" if day else "an older state"
            return f"This device was restored from {older}."
        case HistoryKind.REINITIALISED:
            return "This device has begun anew with this file."
        case HistoryKind.SERVER_RESTORED:
            return "The server was restored from a backup."
        case HistoryKind.ACCEPTED_SERVER:
            return "Another server was accepted in place of the one before."
        case HistoryKind.MIGRATED:
            return "A new version of the app has taken over what is on this device."
        case _:
            return ""


def _changes(count: int) -> str:
    return "1 change was" if count == 1 else f"{count} changes were"


def _day(moment_us: int) -> str:
    """A moment's day (UTC): ``21 Nov 2026``."""
    # The proleptic Gregorian calendar, by days since 0000-03-01 (Howard Hinnant, days_from_civil).
    days = moment_us // _DAY_US + 719_468
    era, of_era = divmod(days, 146_097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (month <= 2)
    return f"{day} {_MONTHS[month - 1]} {year}"
