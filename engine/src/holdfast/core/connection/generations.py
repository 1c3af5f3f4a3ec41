"""The generations of a device's and a server's schema: who of the two has to be updated.

Knows: what a refusal says of the server's schema. Must not know: requests, or how it is shown.
A refusal names the server's schema. Which of both sides is older follows from its generation, and
with it whether time ends this (``server_older``), an update of this program (``upgrade_needed``),
or only a person who finds out what is wrong (``schema_mismatch``).
"""

from __future__ import annotations

from holdfast.core.errors import SyncError, UpgradeNeeded


def server_generation(error: SyncError) -> int | None:
    """The generation of the server's schema, where a refusal says it."""
    told = error.detail.get("server")
    found = told.get("generation") if isinstance(told, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def told_apart(error: SyncError, *, name: str, generation: int) -> SyncError:
    """The refusal of a schema as it concerns a device with this one; any other error as it is."""
    theirs = server_generation(error)
    if error.code != "schema_mismatch" or theirs is None or theirs == generation:
        return error
    if error.detail["server"].get("name", name) != name:
        return error
    if theirs < generation:
        return UpgradeNeeded(
            f"the server has generation {theirs} of the schema, this device {generation}: the "
            "server has to be updated first",
            code="server_older", **error.detail,
        )  # fmt: skip
    return UpgradeNeeded(
        f"the server has generation {theirs} of the schema, this device {generation}, which it "
        "does not serve",
        code="upgrade_needed", **error.detail,
    )  # fmt: skip
