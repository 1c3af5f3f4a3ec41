"""A device opened for one command: its replica, its store, and where answers go.

Knows: the options that every device command shares. Must not know: what the command does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.cli.output import warn_of_readers
from holdfast.core.errors import HoldfastError
from stockroom.cli import output
from stockroom.schema import FIRST_CURRENCY, FIRST_LANGUAGE, schema
from stockroom.stock import Actor, Place, ensure_place
from stockroom.tills import at_work

if TYPE_CHECKING:
    from holdfast import Replica

_STORE_IF_UNKNOWN: Final = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """The options before the verb."""

    db: Path
    server: str | None
    token_file: Path | None
    authority: Path | None = None
    store: str | None
    person: str
    as_json: bool


@dataclass(frozen=True, slots=True)
class Device:
    """An open device."""

    options: DeviceOptions
    replica: Replica

    @property
    def actor(self) -> Actor:
        """Return who is at work; the device has a name once the server has told it."""
        device = self.replica.status.device
        return Actor(person=self.options.person or at_work(self.replica), device=device)

    @property
    def store_id(self) -> str:
        """The store asked for, or remembered, or the only one this device may see."""
        remembered = _setting(self.replica, "store")
        chosen = self.options.store or remembered or _only_store(self.replica)
        if chosen is None:
            chosen = _STORE_IF_UNKNOWN
            output.errors.print(f"No store named; taking store {chosen} (--store names another).")
        if chosen != remembered:
            with self.replica.transaction() as db:
                db.execute(
                    "INSERT INTO device_setting (name, value) VALUES ('store', ?) "
                    "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (chosen,),
                )
        return chosen

    @property
    def currency(self) -> str:
        """The shop's currency: what is typed without one is in this."""
        return self._of_the_shop("currency", FIRST_CURRENCY)

    @property
    def language(self) -> str:
        """The shop's language, whose marks count where an amount can be read in two ways."""
        return self._of_the_shop("language", FIRST_LANGUAGE)

    def _of_the_shop(self, column: str, default: str) -> str:
        rows = self.replica.query(f"SELECT {column} FROM shop")
        return str(rows[0][0]) if rows else default

    @property
    def place(self) -> Place:
        """The location where this device's stock lies; made when it is not there yet."""
        return ensure_place(self.replica, self.store_id)

    def answer(self, data: dict[str, Any], words: Callable[[], None]) -> None:
        """Tell the result: one JSON document, or words for people."""
        if self.options.as_json:
            output.document(data)
        else:
            words()


@contextmanager
def opened(options: DeviceOptions) -> Iterator[Device]:
    """Open the device, or make its database when the file is new; errors end the command."""
    from holdfast import Replica
    from holdfast.replica.identity.authority import trust

    if options.token_file is not None:
        warn_of_readers(options.token_file)
    try:
        if options.authority is not None:
            trust(options.db, options.authority)
        with Replica.open(
            options.db, schema, server=options.server, token_file=options.token_file
        ) as replica:
            yield Device(options, replica)
    except HoldfastError as error:
        output.fail(error, as_json=options.as_json)


def _setting(replica: Replica, name: str) -> str | None:
    rows = replica.query("SELECT value FROM device_setting WHERE name = ?", (name,))
    return str(rows[0][0]) if rows else None


def _only_store(replica: Replica) -> str | None:
    granted = replica.query(
        "SELECT substr(scope, 7) FROM holdfast_scope WHERE scope LIKE 'store/%'"
    )
    known = granted or replica.query("SELECT id FROM store")
    return str(known[0][0]) if len(known) == 1 else None
