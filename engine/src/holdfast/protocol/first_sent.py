"""Identity of a transaction: number, id, and the hash of its body as it was first sent.

Knows: the message. Must not know: who sends or keeps it. A device that has migrated its file since
then sends it in other words, and names the hash of the first ones: whether they have arrived or
not, it counts once.

Upholds I8.
"""

from __future__ import annotations

import hashlib

import msgspec

from holdfast.protocol.messages import Transaction

_canonical = msgspec.json.Encoder(order="deterministic").encode


def body_hash(transaction: Transaction) -> bytes:
    """16 bytes over what a transaction says, without its device time and its encoding."""
    body = (
        transaction.number,
        transaction.id,
        transaction.changes,
        transaction.after,
        transaction.replaces,
        transaction.void,
    )
    return hashlib.blake2s(_canonical(body), digest_size=16).digest()


def first_hash(transaction: Transaction) -> bytes:
    """The hash of its body as it was first sent."""
    return bytes.fromhex(transaction.first) if transaction.first else body_hash(transaction)
