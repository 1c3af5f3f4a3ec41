"""`stockroom device switch|lock`: who is at work at a till, by PIN, with or without a connection.

Knows: options, and where a PIN is read from. Must not know: how it is kept.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from holdfast.core.errors import UsageError
from stockroom.cli import output
from stockroom.cli.session import opened
from stockroom.cli.shop import password_from
from stockroom.tills import leave, switch_to

PinFile = Annotated[
    Path | None,
    typer.Option("--pin-file", help="Holds the PIN in its first line; - is stdin."),
]


def pin_from(file: Path | None, *, twice: bool = False) -> str:
    """A PIN from a file, or asked for. Raises `UsageError` (`no_pin`)."""
    if file is None:
        return str(typer.prompt("PIN", hide_input=True, confirmation_prompt=twice, err=True))
    try:
        return password_from(file) or ""
    except UsageError as error:
        raise UsageError(error.message.replace("password", "PIN"), code="no_pin") from None


def switch(
    context: typer.Context,
    person: Annotated[str, typer.Argument(help="Who goes to work.", show_default=False)],
    *,
    pin_file: PinFile = None,
) -> None:
    """At a till: work in another person's name, who enters their PIN."""
    with opened(context.obj) as device:
        now_s = int(time.time())
        found = switch_to(device.replica, device.store_id, person, pin_from(pin_file), now_s=now_s)
        data = {"person": found.login, "name": found.name}
        device.answer(data, lambda: output.say(f"{found.name} is at work here."))


def lock(context: typer.Context) -> None:
    """At a till: nobody is at work any more, until somebody enters a PIN."""
    with opened(context.obj) as device:
        leave(device.replica)
        device.answer({"person": ""}, lambda: output.say("Nobody is at work here."))
