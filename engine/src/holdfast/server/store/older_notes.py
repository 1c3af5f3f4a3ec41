"""Packed forms of what is kept for older generations, the same in both databases.

Knows: hashes and digests by generation. Must not know: SQL, or what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from holdfast.core.digest import Digest
from holdfast.server.store.contract import NO_DIGESTS, NO_OLDER

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(dict[int, bytes]).decode
_text = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(dict[int, tuple[int, str]]).decode

NONE = "{}"


def pack_hashes(hashes: Mapping[int, bytes]) -> bytes | None:
    """Hashes of a row by generation; None when there are none."""
    return _pack(hashes) if hashes else None


def read_hashes(packed: object) -> Mapping[int, bytes]:
    return _unpack(packed) if isinstance(packed, bytes) else NO_OLDER


def without(packed: object, generation: int) -> Mapping[int, bytes] | None:
    """The same without a generation; None where nothing is noted for it."""
    hashes = read_hashes(packed)
    if generation not in hashes:
        return None
    return {number: one for number, one in hashes.items() if number != generation}


def digests_text(digests: Mapping[int, Digest]) -> str:
    """Digests of a scope by generation."""
    if not digests:
        return NONE
    return _text({number: (one.count, one.hex) for number, one in digests.items()}).decode()


def read_digests(text: object) -> Mapping[int, Digest]:
    if text == NONE:
        return NO_DIGESTS
    return {number: Digest.of(*one) for number, one in _read(str(text)).items()}
