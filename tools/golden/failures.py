"""Kinds of failure: every error that a replica may meet, under every code that tells anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from golden import Case, Family
from holdfast.core import errors
from holdfast.core.connection.failures import failure_kind, state_after
from holdfast.core.connection.generations import told_apart

CODES = (
    *("unreachable", "broken_answer", "timeout", "not_our_server", "interrupted"),
    *("protocol_version", "schema_mismatch", "nonce_mismatch", "epoch_mismatch", "wrong_device"),
    *("number_reused", "number_gap", "identity_unsettled", "seal_invalid", "sync_elsewhere"),
    *("sign_in", "busy", "too_many_streams", "too_many_tries", "no_progress"),
    *("server_older", "upgrade_needed"),
    *("disk_full", "file_not_kept", "database_full", "database_busy", "of the future"),
)
OPEN = ("HoldfastError", "SyncError", "Offline", "ServerTrouble", "SignInNeeded", "UpgradeNeeded",
        "AttentionNeeded", "DatabaseError", "ReplicaError", "UsageError", "BadValue")  # fmt: skip
"""Errors that come under many codes."""
SERVERS: tuple[dict[str, Any], ...] = (
    {"generation": 2}, {"generation": 2, "name": "shop"}, {"generation": 2, "name": "other"},
    {"name": "shop"}, {"generation": "2"}, {},
)  # fmt: skip
"""What a refusal says of the server's schema; the device's is named ``shop``."""
FIXED = ("DatabaseFull", "DatabaseCorrupt", "FileGone", "FileRefused")


def _inputs() -> Iterator[Case]:
    for name in OPEN:
        for code in ("", *CODES):
            yield f"{name} {code}".strip(), {"error": name, "code": code}
    for name in FIXED:
        yield name, {"error": name, "code": ""}
    for status in (408, 429, 500, 502, 503, 507):
        for code in ("", "busy", "database_full", "nonce_mismatch", "too_many_tries"):
            yield (
                f"ServerTrouble {status} {code}".strip(),
                {"error": "ServerTrouble", "code": code, "status": status},
            )
    for past in (True, False, "yes"):
        yield (
            f"AttentionNeeded epoch_mismatch past {past}",
            {"error": "AttentionNeeded", "code": "epoch_mismatch", "server": {"past": past}},
        )
    yield "not ours", {"error": "Error", "code": ""}
    for code in ("schema_mismatch", "upgrade_needed", "epoch_mismatch"):
        for own in (1, 2, 3):
            for server in SERVERS:
                yield (
                    f"{code} of generation {own} at {sorted(server.items())}",
                    {"error": "UpgradeNeeded", "code": code, "own": own, "server": server},
                )


def _answer(given: dict[str, Any]) -> list[str]:
    if given["error"] == "Error":
        error: BaseException = RuntimeError("not ours")
    else:
        detail = {name: given[name] for name in ("status", "server") if name in given}
        error = getattr(errors, given["error"])("", code=given["code"] or None, **detail)
    if "own" in given:
        assert isinstance(error, errors.SyncError)
        error = told_apart(error, name="shop", generation=given["own"])
    return [failure_kind(error).value, state_after(error).value]


FAILURES = Family(
    name="failures",
    about="The kind of failure that an error is, and the state it leaves a replica in.",
    inputs=_inputs,
    answer=_answer,
)
