"""Row hashes and scope digests: how two sides prove that they hold the same rows.

Knows: hashing. Must not know: where rows are stored.
A row's hash is keyed BLAKE2s (RFC 7693), 128 bits, over table, key and values; a scope's digest is
the sum of its rows' hashes modulo 2^128 with their count, so it can be kept in O(changes).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from holdfast.core.values import Value, encode

_MODULUS = 1 << 128
HASH_BYTES = 16


def row_hash(scope_key: bytes, table: str, key: str, row: Sequence[Value]) -> bytes:
    """16 bytes over a row; ``row`` has all columns in declared order, storage values."""
    body = encode((table, key, *row))
    return hashlib.blake2s(body, digest_size=HASH_BYTES, key=scope_key).digest()


class RowHasher:
    """``row_hash`` of many rows of one table."""

    def __init__(self, scope_key: bytes, table: str) -> None:
        begun = hashlib.blake2s(encode((table,)), digest_size=HASH_BYTES, key=scope_key)
        self._copy = begun.copy

    def hash(self, row: Iterable[Value]) -> bytes:
        """``row``: its key text, and all columns in declared order."""
        made = self._copy()
        made.update(encode(row))
        return made.digest()


def revisions_hex(rows: Iterable[tuple[bytes, int]]) -> str:
    """The digest of revisions, from (hash, revision) of rows: the sum of their products modulo
    2^128, 32 hex digits. Where the hashes agree, it tells whether the revisions do."""
    total = sum(int.from_bytes(hashed, "big") * rev for hashed, rev in rows)
    return f"{total % _MODULUS:032x}"


@dataclass(frozen=True, slots=True)
class Digest:
    """An order-free digest: how many rows, and the sum of their hashes modulo 2^128."""

    count: int = 0
    total: int = 0

    def add(self, row: bytes) -> Digest:
        return Digest(self.count + 1, (self.total + int.from_bytes(row, "big")) % _MODULUS)

    def remove(self, row: bytes) -> Digest:
        return Digest(self.count - 1, (self.total - int.from_bytes(row, "big")) % _MODULUS)

    def replace(self, *, removed: Collection[bytes], added: Collection[bytes]) -> Digest:
        """Many rows at once: ``removed`` are not counted any more, ``added`` are."""
        total = self.total
        for row in added:
            total += int.from_bytes(row, "big")
        for row in removed:
            total -= int.from_bytes(row, "big")
        return Digest(self.count + len(added) - len(removed), total % _MODULUS)

    def with_sum(self, count: int, total: int) -> Digest:
        """Rows whose hashes are summed up already."""
        return Digest(self.count + count, (self.total + total) % _MODULUS)

    @property
    def hex(self) -> str:
        """The sum as 32 hex digits."""
        return f"{self.total:032x}"

    @classmethod
    def of(cls, count: int, text: str) -> Digest:
        return cls(count, int(text, 16))


def seal(secret: bytes, *, epoch: str, scope: str, version: int, digest: Digest) -> str:
    """The server's seal on a checkpoint: an HMAC that only the server can make, 32 hex digits."""
    body = encode((epoch, scope, version, digest.count, digest.hex))
    return hmac.new(secret, body, "blake2s").hexdigest()[:32]


def seal_is_valid(
    secret: bytes, text: str, *, epoch: str, scope: str, version: int, digest: Digest
) -> bool:
    expected = seal(secret, epoch=epoch, scope=scope, version=version, digest=digest)
    return hmac.compare_digest(expected.encode(), text.encode("utf-8", "surrogatepass"))
