"""``holdfast init|status|sync|verify|conflicts|refused|resolve|retry|discard|run``.

Each is a thin layer over ``Replica``, which is loaded where it is used: with it comes the HTTP
client, and a third of the time that a server would take to start.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.ending import quiet_streams, told_to_end
from holdfast.cli.output import (
    document,
    fail,
    moment,
    out,
    progress_bar,
    reported,
    warn_of_readers,
)
from holdfast.cli.watch import Watch
from holdfast.core.backoff import Backoff
from holdfast.core.errors import (
    HoldfastError,
    Offline,
    ServerTrouble,
    SyncError,
    UpgradeNeeded,
    UsageError,
)
from holdfast.core.limits import (
    COMMAND_WAIT_S_MAX,
    ENROL_TIMEOUT_S,
    PROCESS_PATIENCE_S,
)
from holdfast.core.session import SessionConfig
from holdfast.schema.load import load_schema

if TYPE_CHECKING:
    from holdfast.replica.exchange.verify import Progress
    from holdfast.replica.inbox.inbox import Conflict
    from holdfast.replica.replica import Replica
    from holdfast.replica.storage.status import Status

File = Annotated[Path, typer.Argument(help="The replica's file.", show_default=False)]
Authority = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        metavar="CERTIFICATE",
        help="Of the server's own authority; trusted by this replica from now on.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document as the last line.")]
Item = Annotated[str, typer.Argument(metavar="ID", show_default=False)]


class SideOption(StrEnum):
    """A side of a conflict, by its own name or as seen from this device."""

    DEVICE = "device"
    SERVER = "server"
    YOURS = "yours"
    OTHER = "other"
    MINE = "mine"
    THEIRS = "theirs"


def open_existing(path: Path, *, authority: Path | None = None) -> Replica:
    """Open a replica that must be there already; ``authority``: it is trusted from now on."""
    from holdfast.replica.identity.authority import trust
    from holdfast.replica.replica import Replica

    if not path.is_file():
        raise UsageError(
            f"there is no replica at {path}; make one with: holdfast init", code="no_replica"
        )
    if authority is not None:
        trust(path, authority)
    return Replica.open(path)


def init(
    file: File,
    schema: Annotated[str, typer.Option(help="A JSON file, or module:attribute.")],
    server: Annotated[str, typer.Option(help="The server's address, http(s)://host:port.")],
    token_file: Annotated[
        Path, typer.Option(help="A file with the device's token; it stays there.")
    ],
    as_json: Json = False,
) -> None:
    """Make a replica. Works offline; the server is contacted at the first sync."""
    from holdfast.replica.http.transport import checked_url
    from holdfast.replica.identity.connect import read_token
    from holdfast.replica.replica import Replica
    from holdfast.replica.storage.making import is_free, make_whole

    with reported(as_json=as_json):
        if not is_free(file):
            raise UsageError(f"{file} exists already", code="exists")
        # All of it is looked at before the file is made: a wrong call leaves nothing behind.
        checked_url(server)
        if not token_file.is_file():
            raise UsageError(f"there is no token file at {token_file}", code="no_token")
        read_token(str(token_file))
        warn_of_readers(token_file)
        made = load_schema(schema)
        make_whole(
            file,
            lambda draft: Replica.open(draft, made, server=server, token_file=token_file).close(),
        )
        with Replica.open(file) as replica:
            result: dict[str, Any] = {
                "file": str(file), "schema": made.fingerprint, "server": server, "device": None,
                "contact": "not yet",
            }  # fmt: skip
            try:
                replica.sync()
                result |= {"device": replica.status.device, "contact": "ok"}
            except (Offline, ServerTrouble) as error:
                result["contact"] = error.code
            except UpgradeNeeded as error:
                if error.code not in ("server_older", "upgrade_needed"):
                    raise
                result["contact"] = error.code  # one of both is updated in time
        if as_json:
            document(result)
        else:
            known = f" as {result['device']}" if result["device"] else ""
            out.print(f"made {file}{known}; server: {result['contact']}", highlight=False)


def migrate(
    file: File,
    schema: Annotated[str, typer.Option(help="A JSON file, or module:attribute.")],
    as_json: Json = False,
) -> None:
    """Make a replica's file one of a newer generation of its schema, with all its work."""
    from holdfast.replica.replica import Replica

    with reported(as_json=as_json), progress_bar(as_json=as_json) as progress:
        wanted = load_schema(schema)
        with open_existing(file) as replica:
            before = replica.schema
        with Replica.open(
            file, wanted, on_migrate=lambda done, total: progress("migrating", done, total)
        ) as replica:
            now = replica.status
        told = {
            "ok": True, "file": str(file), "migrated": before.fingerprint != wanted.fingerprint,
            "from": before.generation, "to": wanted.generation, "pending": now.pending,
        }  # fmt: skip
    if as_json:
        document(told)
    elif told["migrated"]:
        out.print(
            f"{file} has generation {wanted.generation} now, it had {before.generation}; "
            f"pending {now.pending}",
            markup=False, highlight=False,
        )  # fmt: skip
    else:
        out.print(f"{file} has this schema already: nothing to do", highlight=False)


def status(
    file: File,
    as_json: Json = False,
    probe: Annotated[bool, typer.Option(help="Send a health check to the server.")] = True,
) -> None:
    """Show what is pending, what needs a person, and the state of the connection."""
    with reported(as_json=as_json), open_existing(file) as replica:
        now = replica.status
        if not replica.syncs_elsewhere():
            now = _looked(replica, now) if probe else _unlooked(now)
        if as_json:
            document(now.to_dict() | {"syncing_elsewhere": replica.syncs_elsewhere()})
            return
        out.print(
            f"[bold]{now.state}[/]  device {now.device or '(not registered yet)'} at {now.server}"
        )
        if now.error_kind is not None:
            out.print(
                f"last failure: {now.error_kind} ({now.error_code}): {now.error_message}",
                markup=False, highlight=False,
            )  # fmt: skip
            out.print(now.way_out or "", markup=False, highlight=False)
            out.print(f"as of {moment(now.as_of)}", highlight=False)
        out.print(
            f"pending {now.pending} ({now.pending_changes} rows)  sent {now.sent}  "
            f"held {now.held}  refused {now.refused}  conflicts {now.conflicts}"
        )
        if now.waiting_for is not None:
            out.print(f"waiting for {now.waiting_for}, which syncs this replica")
        out.print(f"verified with the server: {moment(now.verified_at)}")
        if now.kept_lost:
            out.print(
                "in no backup of the server that is known here, and kept here no longer: "
                f"{now.kept_lost} acknowledged transactions. Back up the server: holdfast server "
                "backup, on its machine"
            )
        if now.retry_at is not None:
            out.print(f"next attempt: {moment(now.retry_at)}")
        if now.clock_offset_ms is not None and abs(now.clock_offset_ms) > 60_000:
            out.print(f"this device's clock is off by {-now.clock_offset_ms / 1000:.0f} s")


def _looked(replica: Replica, known: Status) -> Status:
    """Return whether the server is there now, when no process keeps that up to date. It does not
    say that the device may sync: a failure that was not the network's stays until a sync
    succeeds."""
    from holdfast.replica.storage import connection_record

    now_us = time.time_ns() // 1000
    if replica.transport is None:
        return dataclasses.replace(known, state="offline", as_of=now_us)
    kept = {"error_kind": known.error_kind}
    if known.error_kind is not None and not connection_record.is_answered(kept):
        if connection_record.is_parked(kept):
            return known
        state = known.state
    else:
        state = "online"
    try:
        replica.transport.health("probe")
    except SyncError as error:
        found = connection_record.failed(error, now_us)
        return dataclasses.replace(
            known, state=found["state"], as_of=now_us, error_kind=found["error_kind"],
            error_code=error.code, error_message=error.message, way_out=found["way_out"],
        )  # fmt: skip
    if state != "online":
        return known
    return dataclasses.replace(
        known, state=state, as_of=now_us, error_kind=None, error_code=None, error_message=None,
        way_out=None,
    )  # fmt: skip


def _unlooked(known: Status) -> Status:
    """Without a look at the server: what the last one left, or nothing."""
    return known if known.error_code is not None else dataclasses.replace(known, state="unknown")


def sync(file: File, *, ca: Authority = None, as_json: Json = False) -> None:
    """Send what is pending, fetch the news, compare both sides. One attempt."""
    with reported(as_json=as_json), open_existing(file, authority=ca) as replica:
        with progress_bar(as_json=as_json) as progress:
            report = _sync_here_or_there(replica, progress)
        if replica.salvaged is not None:
            report["salvaged"] = replica.salvaged.to_dict()
        now = replica.status
        report = {"ok": True, **report, "pending": now.pending, "conflicts": now.conflicts,
                  "refused_total": now.refused, "held_total": now.held}  # fmt: skip
        if as_json:
            document(report)
        else:
            out.print(", ".join(f"{name} {value}" for name, value in report.items()))
        if report.get("verified") is False:
            raise typer.Exit(1)


def _sync_here_or_there(replica: Replica, progress: Progress) -> dict[str, Any]:
    """Sync, or have it done by the process that does so; that may end at any moment."""
    done: Callable[[], bool] | None = None
    asked_at = 0.0
    deadline = time.monotonic() + ENROL_TIMEOUT_S
    while time.monotonic() < deadline:
        if not replica.syncs_elsewhere():
            try:
                return dataclasses.asdict(replica.sync(progress=progress))
            except SyncError as error:
                if error.code != "sync_elsewhere":
                    raise
        if done is None:
            done, asked_at = replica.ask_sync(), time.monotonic()
        if done():
            return {"by": "the process that runs in the background"}
        now = replica.status
        stands = now.error_code is not None and now.state not in ("starting", "syncing")
        if stands and time.monotonic() > asked_at + PROCESS_PATIENCE_S:
            raise Offline(
                f"the background process cannot sync now: {now.error_message}", code=now.error_code
            )
        time.sleep(0.05)
    raise Offline("the background process has not managed to sync", code="timeout")


def verify(file: File, as_json: Json = False) -> None:
    """Check the stored rows, compare with the server, and repair what differs."""
    with (
        reported(as_json=as_json),
        open_existing(file) as replica,
        progress_bar(as_json=as_json) as progress,
    ):
        report = replica.verify(progress=progress)
        shown = {
            "ok": report.ok,
            "scopes": {
                scope.scope: {
                    "count": scope.count, "digest": scope.digest, "equal": scope.equal,
                    "server_count": scope.server_count, "server_digest": scope.server_digest,
                }
                for scope in report.scopes
            },
            "rows_checked": report.rows_checked,
            "damaged": [list(row) for row in report.damaged],
            "mismatched": list(report.mismatched),
            "repaired": report.repaired,
            "rounds": report.rounds,
        }  # fmt: skip
    if as_json:
        document(shown)
    else:
        for scope in report.scopes:
            word = "equal" if scope.equal else "[red]DIFFERENT[/]"
            out.print(f"{scope.scope}: {scope.count} rows, {scope.digest} {word}", highlight=False)
        out.print(f"{report.rows_checked} rows checked, {report.repaired} repaired")
    if not report.ok:
        raise typer.Exit(1)


def conflicts(file: File, as_json: Json = False) -> None:
    """Open conflicts: what both sides say, whose they are and when; yours is marked."""
    with reported(as_json=as_json), open_existing(file) as replica:
        found = replica.conflicts()
        if as_json:
            document({"conflicts": [item.to_dict() for item in found]})
            return
        for item in found:
            _tell_conflict(item)
        out.print(f"{len(found)} open" if found else "no conflicts")


def _tell_conflict(item: Conflict) -> None:
    """One conflict, with whose value is whose; "yours" is said of the side that is."""
    device, server = item.parties
    out.print(f"[bold]{item.id}[/]", end="")
    out.print(
        f"  {item.table} {item.key} {item.column}: was {item.base!r}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    for side, value, whose, at in (
        ("device", item.device_value, device, item.at),
        ("server", item.server_value, server, item.their_at),
    ):
        own = "yours: " if item.yours == side else ""
        out.print(
            f"    {side}  {own}{value!r}  {whose}, {'at some time' if at is None else moment(at)}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip


def refused(file: File, as_json: Json = False) -> None:
    """Refused changes and what is held with them, each with its reason."""
    with reported(as_json=as_json), open_existing(file) as replica:
        found = replica.refused()
        if as_json:
            document({"refused": [dataclasses.asdict(item) for item in found]})
            return
        for item in found:
            reason = item.message or (f"waits for {item.held_by}" if item.held_by else "")
            state = "set aside" if item.set_aside else item.state
            out.print(f"[bold]{item.id}[/]  {state} {item.code}: {reason}")
            for change in item.changes:
                out.print(
                    f"    {change['op']} {change['table']} {change['key']}: {change.get('new')}"
                )
        out.print(f"{len(found)} waiting" if found else "nothing refused")


def resolve(
    file: File,
    item: Item,
    keep: Annotated[
        SideOption | None,
        typer.Option(
            metavar="device|server|yours|other",
            help="Which side stays: device or server as listed, or as seen from this device. "
            "(mine and theirs are older names of device and server.)",
        ),
    ] = None,
    value: Annotated[
        str | None, typer.Option("--set", help="Another value; of a group, a JSON object.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Settle a conflict: keep a side, or set another value. Works offline."""
    with reported(as_json=as_json), open_existing(file) as replica:
        if (keep is None) == (value is None):
            raise UsageError(
                "say either --keep device|server|yours|other or --set VALUE", code="bad_choice"
            )
        if keep is None:
            replica.resolve(item, value=value)
        else:
            replica.resolve(item, keep=keep.value)
        _settled(replica, item, "settled", as_json=as_json)


def retry(file: File, item: Item, as_json: Json = False) -> None:
    """Retry a refused change, and what was held with it, as new transactions."""
    with reported(as_json=as_json), open_existing(file) as replica:
        numbers = replica.retry(item)
        _settled(replica, item, "retried", as_json=as_json, numbers=numbers)


def discard(
    file: File,
    item: Item,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only show what would be released, and what would stay."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Discard a refused or held change; what was held because of it is released if possible."""
    with reported(as_json=as_json), open_existing(file) as replica:
        freed = replica.if_discarded(item) if dry_run else replica.discard(item)
        what = "would discard" if dry_run else "discarded"
        _settled(replica, item, what, as_json=as_json, goes_on=list(freed.numbers),
                 kept=[dataclasses.asdict(one) for one in freed.kept])  # fmt: skip
        if not as_json:
            for number in freed.numbers:
                out.print(f"    {number} goes on")
            for one in freed.kept:
                out.print(f"    {one.number} stays: {one.message}")


def _settled(replica: Replica, item: str, what: str, *, as_json: bool, **more: Any) -> None:
    if as_json:
        document({"ok": True, "id": item, "done": what, "pending": replica.status.pending, **more})
    else:
        out.print(f"{what} {item}")


def run(
    file: File,
    backoff_max: Annotated[
        float, typer.Option(help="Longest back-off between attempts, seconds.")
    ] = 300,
    poll: Annotated[float, typer.Option(help="Seconds between polls without live events.")] = 15,
    as_json: Json = False,
) -> None:
    """Sync in the background until SIGTERM or SIGINT; each new status is a line on stderr. While
    another process syncs the replica, it waits its turn."""
    from holdfast.replica.runner import RunnerOptions

    with reported(as_json=as_json), open_existing(file) as replica:
        if not all(0.1 <= seconds <= COMMAND_WAIT_S_MAX for seconds in (backoff_max, poll)):
            raise UsageError(
                f"--backoff-max and --poll take 0.1 to {COMMAND_WAIT_S_MAX} seconds",
                code="bad_choice",
            )
        cap_ms = int(backoff_max * 1000)
        config = SessionConfig(
            backoff=Backoff(base_ms=min(1000, cap_ms), cap_ms=cap_ms), poll_ms=int(poll * 1000)
        )
        with told_to_end() as ending, Watch(as_json=as_json) as watch:
            options = RunnerOptions(session=config, on_status=watch.show)
            replica.start(options)
            ending.wait()
            replica.stop()
            if as_json:
                document({"ok": True, **replica.status.to_dict()})
            replica.close()
            quiet_streams()


def program(
    schema: Annotated[str, typer.Argument(help="A JSON file, or module:attribute.")],
) -> None:
    """The replica program of a schema: all the SQL of a replica, as JSON."""
    import msgspec

    from holdfast.sql.replica import compile_replica

    try:
        document(msgspec.to_builtins(compile_replica(load_schema(schema))))
    except HoldfastError as error:
        fail(error, as_json=False)
