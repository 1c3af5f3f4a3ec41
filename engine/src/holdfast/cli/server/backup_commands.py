"""``holdfast server backup`` and ``restore``: a copy of a server's database, and back to it.

Knows: options, and what is said. Must not know: how a copy is made. Neither asks for the schema: it
is in the database.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal

from holdfast.cli.ending import SIGNALS, interruptible
from holdfast.cli.output import CHECK_FAILED, document, err, moment, out, progress_bar, reported
from holdfast.core.errors import UsageError

if TYPE_CHECKING:
    from holdfast.server.backup.backup import Backup

Database = Annotated[
    str, typer.Option("--database", help="The SQLite file, or postgresql://user@host/name.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, last.")]
Programs = Annotated[
    Path | None,
    typer.Option("--pg-bin", help="The folder of PostgreSQL's programs; PATH without it."),
]


def backup(
    to: Annotated[
        Path,
        typer.Argument(
            help="A name that is free; or a folder, where each backup gets its own.",
            show_default=False,
        ),
    ],
    *,
    database: Database,
    keep: Annotated[
        int | None,
        typer.Option(help="In a folder: keep so many of this database, remove older ones.", min=1),
    ] = None,
    mark: Annotated[
        bool, typer.Option("--mark", help="TO is a copy that you have made, or a note.")
    ] = False,
    note: Annotated[
        bool,
        typer.Option("--note", help="Write a note to TO, to mark with after a base backup."),
    ] = False,
    programs: Programs = None,
    as_json: Json = False,
) -> None:
    """Copy a server's database while servers run, check the copy, and tell devices that they need
    not keep any more what is in it.

    With --mark nothing is copied: TO is a copy made by other means, which is read. A base backup or
    a volume's snapshot cannot be read: write a --note before it begins, and --mark with that after
    it has ended.
    """
    from holdfast.server.backup.backup import back_up, write_note
    from holdfast.server.backup.backup import mark as mark_copy

    with reported(as_json=as_json, at="server"), interruptible(SIGNALS):
        if mark and note:
            raise UsageError("say either --mark or --note", code="bad_choice")
        if keep is not None and (mark or note):
            raise UsageError("--keep is for backups that are made here", code="bad_choice")
        if note:
            highs = write_note(database, to)
            if as_json:
                document({"ok": True, "note": str(to), "replicas": len(highs)})
            else:
                out.print(f"noted what {len(highs)} replicas have sent: {to}", highlight=False)
            return
        with progress_bar(as_json=as_json) as progress:
            if mark:
                made = mark_copy(database, to, programs=programs, progress=progress)
            else:
                made = back_up(database, to, keep=keep, programs=programs, progress=progress)
    _tell(made, as_json=as_json)
    if made.marked is None:
        raise typer.Exit(CHECK_FAILED)


def _tell(made: Backup, *, as_json: bool) -> None:
    contents = made.contents
    if made.marked is None:
        err.print(
            f"{contents.differing} rows are not what their hashes say, so devices keep what they "
            "have sent. Run `holdfast check` on the database, then back it up again.",
            markup=False, highlight=False,
        )  # fmt: skip
    if as_json:
        told: dict[str, Any] = {
            "ok": made.marked is not None, "file": str(made.file), "bytes": made.size,
            "devices": contents.devices, "as_of": contents.as_of,
            "differing": contents.differing, "marked": made.marked,
            "removed": [str(path) for path in made.removed],
        }  # fmt: skip
        document(told)
        return
    heard = f", last heard {moment(contents.as_of)}" if contents.as_of else ""
    out.print(
        f"{made.file}: {decimal(made.size)}, {contents.devices} devices{heard}", highlight=False
    )
    for path in made.removed:
        out.print(f"removed {path}", highlight=False)


def restore(
    copy: Annotated[Path, typer.Argument(metavar="FROM", help="The backup.", show_default=False)],
    *,
    database: Database,
    privileges: Annotated[
        bool,
        typer.Option(help="PostgreSQL: grant what the backup says; its roles must be there."),
    ] = True,
    programs: Programs = None,
    as_json: Json = False,
) -> None:
    """Put a backup in the place of a database that nobody serves. What stands there is set
    aside."""
    from holdfast.server.backup.restore import restore as put_back

    with (
        reported(as_json=as_json, at="server"),
        interruptible(SIGNALS),
        progress_bar(as_json=as_json) as progress,
    ):
        done = put_back(database, copy, programs=programs, privileges=privileges, progress=progress)
    record = done.record
    since = f"; it was last heard {moment(record.as_of)}" if record.as_of else ""
    who = "1 device notices" if record.devices == 1 else f"{record.devices} devices notice"
    text = (
        f"When the server runs again, {who} that it was put back{since}. What was done after the "
        "backup is sent again, by itself and once."
    )
    if as_json:
        document({
            "ok": True, "database": database, "aside": done.aside, "devices": record.devices,
            "as_of": record.as_of, "differing": record.differing, "text": text,
        })  # fmt: skip
        return
    out.print(f"restored from {copy}", highlight=False)
    if done.aside is not None:
        out.print(f"what stood there is now {done.aside}", highlight=False)
    out.print(text, highlight=False)
