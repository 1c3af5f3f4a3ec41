"""``holdfast enrol``: let a device in, for the first time or again."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from holdfast.cli.output import document, moment, out, reported
from holdfast.cli.replica_commands import Authority, File, Json
from holdfast.cli.server.people_commands import PasswordStdin, read_password
from holdfast.core.errors import UsageError
from holdfast.schema.load import load_schema


def password(file: File, *, as_json: Json = False) -> None:
    """Change your own password: the one until now and the new one are asked for, or are the first
    two lines of stdin. Your other devices are signed out."""
    from holdfast.replica.identity.enrolment import change_password

    with reported(as_json=as_json):
        if sys.stdin.isatty():
            old = str(typer.prompt("Password until now", hide_input=True, err=True))
            new = str(
                typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
            )
        else:
            old, new = (sys.stdin.readline().rstrip("\r\n") for _ in range(2))
        if not old or not new:
            raise UsageError(
                "give the current password and the new one, as two lines of stdin",
                code="no_password",
            )
        change_password(file, password=old, new=new)
    if as_json:
        document({"ok": True})
    else:
        out.print("your password is changed; your other devices are signed out", highlight=False)


def enrol(
    file: File,
    *,
    server: Annotated[
        str | None, typer.Option(help="The server's address; a replica that knows one needs none.")
    ] = None,
    code: Annotated[str, typer.Option(help="A one-time enrolment code.")] = "",
    user: Annotated[str, typer.Option(help="A user's name; the password is asked for.")] = "",
    password_stdin: PasswordStdin = False,
    name: Annotated[str, typer.Option(help="A name for this device.")] = "",
    schema: Annotated[
        str | None, typer.Option(help="For a new replica; by default the server's.")
    ] = None,
    ca: Authority = None,
    as_json: Json = False,
) -> None:
    """Let a device in. What waits on it stays, and goes on when it is in again.

    A password is asked for, or read from stdin or HOLDFAST_PASSWORD. The credentials are kept
    beside the replica, readable by you only.
    """
    from holdfast.replica.identity.authority import trust
    from holdfast.replica.identity.enrolment import enrol as let_in

    with reported(as_json=as_json):
        if bool(code) == bool(user):
            raise UsageError("say either --code or --user", code="bad_choice")
        password = read_password(password_stdin) if user else ""
        made = None if schema is None else load_schema(schema)
        if ca is not None:
            trust(file, ca)
        done = let_in(
            file, schema=made, server=server, code=code, user=user, password=password, name=name
        )
    if as_json:
        document({"device": done.device, "user": done.user, "expires_at": done.expires_at})
    else:
        out.print(
            f"{file} is the device {done.device} of {done.user}; "
            f"to be renewed before {moment(done.expires_at)}, which it does by itself",
            highlight=False,
        )
