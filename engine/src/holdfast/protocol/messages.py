"""The messages of the protocol, as typed data.

Knows: field names, types and what may be left out. Must not know: HTTP, SQL, or what a message
does.
Values of columns are in their wire form (``core.values``); times are microseconds since 1970, UTC;
revisions, versions and times are integers below 2^53.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from holdfast.core.limits import (
    CLIENT_VERSION_LENGTH_MAX,
    DEVICE_NAME_LENGTH_MAX,
    PUSH_TRANSACTIONS_MAX,
    SCOPE_NAME_LENGTH_MAX,
    SCOPES_MAX,
    TRANSACTION_CHANGES_MAX,
    VERIFY_RANGES_MAX,
    VERIFY_ROWS_MAX,
    WIRE_INTEGER_MAX,
)

Count = Annotated[int, Meta(ge=0, le=WIRE_INTEGER_MAX)]
Micros = Annotated[int, Meta(ge=-WIRE_INTEGER_MAX, le=WIRE_INTEGER_MAX)]
_NO_NUL = r"^[^\x00]*$"
"""What is stored as text: PostgreSQL has no NUL in it."""
Name = Annotated[str, Meta(max_length=DEVICE_NAME_LENGTH_MAX, pattern=_NO_NUL)]
ScopeName = Annotated[str, Meta(min_length=1, max_length=SCOPE_NAME_LENGTH_MAX, pattern=_NO_NUL)]
StorableText = Annotated[str, Meta(pattern=_NO_NUL)]
Hex128 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
Token = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")]


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message: unknown fields are refused.

    ``gc=False`` on those that come by the thousand: JSON has no cycles, so the collector need not
    look at them.
    """


class Change(_Message, frozen=True, gc=False):
    """One change of one row. ``new`` has the touched columns; a counter has its difference.

    ``base`` is the row's revision the edit was made on (0: none); ``bases`` names columns that
    inherit an older base from an unsettled change. ``old`` has the old values (not of counters).
    An insert's ``new`` has all columns but the key.
    """

    table: str
    key: list[Any]
    op: Literal["insert", "update", "delete"]
    base: Count = 0
    bases: dict[str, Count] = {}
    new: dict[str, Any] = {}
    old: dict[str, Any] = {}


class Transaction(_Message, frozen=True, gc=False):
    """Changes that were committed together. ``at``: device time at sealing, microseconds.

    ``void`` (with no changes) says that the device could not encode it; the server records it as
    refused with this code, so that the numbers stay without gaps.
    """

    number: Annotated[int, Meta(ge=1, le=WIRE_INTEGER_MAX)]
    id: Hex128
    at: Micros
    changes: Annotated[list[Change], Meta(max_length=TRANSACTION_CHANGES_MAX)]
    after: list[Count] = []
    replaces: Count = 0
    void: StorableText = ""
    first: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?$")] = ""
    """The hash of its body as it was first sent, when the device has migrated since (I8)."""


class Nonces(_Message, frozen=True):
    """``since``: the nonce of the last answered exchange; ``to``: the proposed next one."""

    since: Token
    to: Annotated[str, Meta(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class Offset(_Message, frozen=True):
    """The device's measured clock offset (server minus device), and the bound of its error."""

    us: Micros
    error_us: Count


class Position(_Message, frozen=True):
    """A scope's version, its count of rows and digest, and the server's seal on them."""

    version: Count
    count: Count
    digest: Hex128
    seal: str


class Origin(_Message, frozen=True):
    """The replica that another one has come out of, by a copy or a restore: transactions up to
    number ``last`` may have been sent as its own before, and are offered again."""

    replica: Annotated[str, Meta(min_length=1, max_length=DEVICE_NAME_LENGTH_MAX, pattern=_NO_NUL)]
    last: Count


class _Request(_Message, frozen=True, kw_only=True):
    """``replica``: 32 hex digits, or the device's name (empty: likewise). ``origin`` is sent until
    all that is offered again has its outcome."""

    protocol: int
    schema: str
    device: Name = ""
    replica: Name = ""
    origin: Origin | None = None
    epoch: Token = ""
    now: Micros
    checkpoint: Annotated[dict[ScopeName, Position], Meta(max_length=SCOPES_MAX)] = {}


class Report(_Message, frozen=True):
    """Report of a device about itself: transactions that wait on it and are not in this request,
    when the oldest of them was made (device time), and its version."""

    waiting: Count = 0
    oldest: Micros | None = None
    client: Annotated[str, Meta(max_length=CLIENT_VERSION_LENGTH_MAX, pattern=_NO_NUL)] = ""


class ExchangeRequest(_Request, frozen=True, kw_only=True):
    """``POST /v1/exchange``. ``confirmed``: the outcomes up to this number are stored durably.

    ``files``: the encodings of files that the device can unpack (``gzip``, ``zstd``), best first;
    with none, the answer has all rows in it, however many they are. ``brief``: the answer may leave
    out what the device knows: rows that it has made itself (``own`` lines tell of them), keys of
    scopes that are in its checkpoint, the schema's fingerprint.
    """

    nonce: Nonces
    offset: Offset | None = None
    report: Report | None = None
    confirmed: Count = 0
    files: Annotated[list[Annotated[str, Meta(max_length=20)]], Meta(max_length=8)] = []
    brief: bool = False
    transactions: Annotated[list[Transaction], Meta(max_length=PUSH_TRANSACTIONS_MAX)] = []


class RangeQuery(_Message, frozen=True):
    """A range of a scope's rows: from ``start`` (inclusive) to ``end`` (exclusive),
    ``table/key``. ``revisions``: the answer tells their digest too."""

    scope: ScopeName
    start: StorableText = ""
    end: StorableText | None = None
    revisions: bool = False


class RowQuery(_Message, frozen=True):
    table: StorableText
    key: StorableText
    """The key's canonical text."""


class Numbers(_Message, frozen=True):
    """Numbers of transactions, both ends inclusive."""

    first: Count
    last: Count


class VerifyRequest(_Request, frozen=True, kw_only=True):
    """``POST /v1/verify``: digests of ranges, and the server's version of named rows.

    ``unanswered``: transactions of this device that were sent and have no outcome yet. What the
    server has decided of them is told in the head, for the rows have it in them.
    """

    unanswered: Numbers | None = None
    ranges: Annotated[list[RangeQuery], Meta(max_length=VERIFY_RANGES_MAX)] = []
    rows: Annotated[list[RowQuery], Meta(max_length=VERIFY_ROWS_MAX)] = []


class Outcome(_Message, frozen=True, gc=False):
    """Outcome of a transaction. ``held`` names the transaction it waits for in ``held_by``."""

    number: int
    id: str
    outcome: Literal["applied", "refused", "held"]
    code: str = ""
    message: str = ""
    field: str = ""
    held_by: int = 0
    versions: dict[str, int] = {}
    impossible: Count = 0
    """How many of its changes named a base above the row's own revision: the device's file is
    damaged. Its rows come anew with this answer."""
    known: bool = False
    """It was offered again and had arrived before: nothing was done now."""


class ScopeGrant(_Message, frozen=True):
    """A scope the device may read; ``key`` is the key of its row hashes, hex (empty: as before).

    ``reconcile``: the device was away for longer than removals are remembered. The news may lack
    some; digests tell which rows are gone.
    """

    key: str
    write: bool = False
    reconcile: bool = False


class Head(_Message, frozen=True, tag="head", tag_field="type"):
    """The first line of an answer. ``schema`` and ``generation`` are the server's own; a brief one
    leaves them out (empty, 0) when they are those of the request.

    ``backed_up``: transactions of this replica up to this number are in a backup of the server.
    ``replaced``: this is the first answer to a replica, and its device had another one before.
    """

    protocol: int
    epoch: str
    device: str
    user: str
    echo: str
    time: int
    schema: str
    scopes: dict[str, ScopeGrant]
    outcomes: list[Outcome] = []
    generation: Count = 0
    backed_up: Count = 0
    replaced: bool = False


class Rows(_Message, frozen=True, tag="rows", tag_field="type"):
    """Rows of one table: each is its revision, then its values in column order."""

    table: str
    rows: list[list[Any]]


class Own(_Message, frozen=True, tag="own", tag_field="type"):
    """Rows of one table that are what this device has made of them: its row as of its checkpoint,
    with its changes that this answer says were applied, and nobody else's. Their new revisions."""

    table: str
    keys: list[str]
    revs: list[Count]


class Gone(_Message, frozen=True, tag="gone", tag_field="type"):
    """Keys (canonical text) of rows that are in none of the device's scopes any more."""

    table: str
    keys: list[str]


class RangeDigest(_Message, frozen=True):
    """A part of a range: ``start`` to ``end``, its rows' count and digest, and that of their
    revisions where it was asked for."""

    start: str
    end: str | None
    count: int
    digest: str
    revisions: str = ""


class RangeAnswer(_Message, frozen=True, tag="range", tag_field="type"):
    """A queried range: either narrower parts, or (few rows) each row: table, key, rev, hash hex."""

    scope: str
    start: str
    end: str | None
    count: int
    digest: str
    parts: list[RangeDigest] = []
    leaf: list[tuple[str, str, int, str]] = []
    revisions: str = ""


class FileOffer(_Message, frozen=True):
    """A file to fetch before the same exchange is repeated.

    ``snapshot``: a SQLite file with all rows of one scope, the one in ``positions``. ``catchup``:
    lines of rows and removals, that take the device from its checkpoint to ``positions``, which has
    all of its scopes. ``path``: below the server's URL, signed and good until ``until``
    (microseconds). ``sha256`` and ``bytes`` are of what is sent; ``unpacked_bytes`` is its size
    without the encoding.
    """

    kind: Literal["snapshot", "catchup"]
    id: str
    path: str
    until: int
    encoding: Literal["gzip", "zstd"]
    bytes: int
    sha256: str
    unpacked_bytes: int
    rows: int
    positions: dict[str, Position]


class FileBuild(_Message, frozen=True):
    """A file that is being made: ``rows`` of ``total`` rows are in it. ``scopes``: of what."""

    kind: Literal["snapshot", "catchup"]
    scopes: list[str]
    rows: int
    total: int


class Files(_Message, frozen=True, tag="files", tag_field="type"):
    """In place of rows: files to fetch, and files to ask for again after ``retry_after_ms``.

    Stands alone between head and checkpoint, which then has no scopes. Such an answer settles
    nothing: the device repeats the exchange, with the positions that the files have brought.
    """

    offers: list[FileOffer]
    building: list[FileBuild] = []
    retry_after_ms: int = 0


class Checkpoint(_Message, frozen=True, tag="checkpoint", tag_field="type"):
    """The last line: without it nothing of the answer is believed. ``lines`` counts those
    before."""

    scopes: dict[str, Position]
    lines: int


Line = Head | Rows | Own | Gone | RangeAnswer | Files | Checkpoint


class ErrorBody(_Message, frozen=True):
    code: str
    message: str
    detail: dict[str, Any] = {}


class ErrorAnswer(_Message, frozen=True):
    """Any answer that is not 2xx: JSON with a stable code."""

    error: ErrorBody
    echo: str = ""
