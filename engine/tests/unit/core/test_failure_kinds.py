"""What kind of failure an error is: first whose it is, then what it is called."""

from __future__ import annotations

import pytest

from holdfast.core.connection.connectivity import FailureKind
from holdfast.core.connection.failures import failure_kind
from holdfast.core.errors import (
    DatabaseFull,
    HoldfastError,
    Offline,
    ServerTrouble,
    SignInNeeded,
    SyncError,
)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ServerTrouble("", code="database_full", status=503), FailureKind.SERVER_ERROR),
        (ServerTrouble("", code="nonce_mismatch", status=500), FailureKind.SERVER_ERROR),
        (ServerTrouble("", status=502), FailureKind.SERVER_ERROR),
        (ServerTrouble("", code="busy", status=503), FailureKind.TOO_MANY_REQUESTS),
        (ServerTrouble("", code="too_many_streams", status=429), FailureKind.TOO_MANY_REQUESTS),
        (ServerTrouble("", code="too_many_tries", status=429), FailureKind.TOO_MANY_REQUESTS),
        (ServerTrouble("", status=429), FailureKind.TOO_MANY_REQUESTS),
        (DatabaseFull("no room"), FailureKind.LOCAL),
        (SyncError("no room", code="disk_full"), FailureKind.LOCAL),
        (SyncError("no place", code="file_not_kept"), FailureKind.LOCAL),
        (Offline("", code="not_our_server"), FailureKind.NOT_OUR_SERVER),
        (Offline(""), FailureKind.NETWORK),
        (SignInNeeded("", code="sign_in"), FailureKind.UNAUTHENTICATED),
        (HoldfastError("", code="other"), FailureKind.UNKNOWN),
    ],
)
def test_whose_failure_it_is_comes_first(error: HoldfastError, kind: FailureKind) -> None:
    assert failure_kind(error) is kind
