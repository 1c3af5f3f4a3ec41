"""A device's local database that syncs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.replica.identity.enrolment import Enrolment as Enrolment
    from holdfast.replica.identity.enrolment import enrol as enrol

_FROM_ENROLMENT = ("Enrolment", "enrol")


def __getattr__(name: str) -> Any:
    """Enrolling brings the HTTP client; it loads on first use."""
    if name in _FROM_ENROLMENT:
        from holdfast.replica.identity import enrolment

        return getattr(enrolment, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
