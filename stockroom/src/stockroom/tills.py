"""A till: a device that several people share, each by their PIN, with or without a connection.

Knows: which rows tell who may work here and who does; how wrong PINs are counted. Must not know:
screens, or how PINs come here. The count is a row of the device's own file: no restart forgets it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.core.errors import UsageError
from stockroom.pins import KeptPin, fits, wait_s

if TYPE_CHECKING:
    from holdfast import Replica

_WRONG: Final = "pin_wrong"
_WRONG_AT: Final = "pin_wrong_at"
_SET: Final = (
    "INSERT INTO device_setting (name, value) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_PEOPLE: Final = (
    "SELECT p.login, p.name, n.salt, n.hash, n.rounds FROM pin AS n "
    "JOIN person AS p ON p.login = n.login AND p.role <> '' WHERE n.store_id = ? "
    "ORDER BY p.name, p.login"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Somebody:
    """A person who may work at a till."""

    login: str
    name: str
    pin: KeptPin


def at_work(replica: Replica) -> str:
    """Login of the person at work at a till; "" for nobody, or where it is no till."""
    rows = replica.query("SELECT at_work FROM device WHERE id = ?", (replica.status.device,))
    return str(rows[0][0]) if rows else ""


def people_at(replica: Replica, store: str) -> list[Somebody]:
    """Those who may work at the tills of a store; nobody where this device is no till."""
    return [
        Somebody(
            login=str(login),
            name=str(name),
            pin=KeptPin(salt=str(salt), hash=str(digest), rounds=int(str(rounds))),
        )
        for login, name, salt, digest, rounds in replica.query(_PEOPLE, (store,))
    ]


def switch_to(replica: Replica, store: str, wanted: str, pin: str, *, now_s: int) -> Somebody:
    """Let somebody work here from now on, and return who it is. `now_s`: seconds since 1970.

    Raises `UsageError`: `no_pin_here`, `wrong_pin`, `wait`.
    """
    people = people_at(replica, store)
    found = [one for one in people if wanted in (one.login, one.name)]
    if len(found) != 1:
        known = ", ".join(one.name for one in people) or "nobody yet"
        raise UsageError(
            f"{wanted!r} has no PIN here; who has one: {known}. A shared device signs in as a till "
            "(`stockroom user add NAME --role till`), people get theirs with `stockroom user pin`",
            code="no_pin_here",
        )
    left = seconds_left(replica, now_s)
    if left:
        raise UsageError(f"too many wrong PINs: try again in {left} seconds", code="wait")
    # Counted before it is looked at: whoever ends the program meanwhile has used a try, too.
    wrong = int(_setting(replica, _WRONG) or 0) + 1
    _remember(replica, wrong, now_s)
    if not fits(pin, found[0].pin):
        wait = wait_s(wrong)
        more = f"; the next try is in {wait} seconds" if wait else ""
        raise UsageError(f"this is not {found[0].name}'s PIN{more}", code="wrong_pin")
    _remember(replica, 0, now_s)
    _say(replica, found[0].login)
    return found[0]


def leave(replica: Replica) -> None:
    """Let nobody be at work here."""
    _say(replica, "")


def seconds_left(replica: Replica, now_s: int) -> int:
    """Seconds until a PIN is looked at again. A clock that was set back waits anew."""
    wait = wait_s(int(_setting(replica, _WRONG) or 0))
    passed = now_s - int(_setting(replica, _WRONG_AT) or 0)
    return min(wait, wait - passed) if 0 <= passed < wait else wait if passed < 0 else 0


def _say(replica: Replica, login: str) -> None:
    with replica.transaction() as db:
        db.execute("UPDATE device SET at_work = ? WHERE id = ?", (login, replica.status.device))


def _remember(replica: Replica, wrong: int, now_s: int) -> None:
    with replica.transaction() as db:
        db.execute(_SET, (_WRONG, str(wrong)))
        db.execute(_SET, (_WRONG_AT, str(now_s)))


def _setting(replica: Replica, name: str) -> str | None:
    rows = replica.query("SELECT value FROM device_setting WHERE name = ?", (name,))
    return str(rows[0][0]) if rows else None
