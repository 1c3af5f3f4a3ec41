"""What each device may have seen, computed from the server's database alone: the oracle of I23.

After each step it looks at all rows, conflicts, decisions, digests and hashes. A value that could
be read at some moment may be found with the device ever after; everything else may not.
"""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from typing import Any

import msgspec
from stores import SCHEMA, Stores

from holdfast.core.keys import row_key, row_scopes
from holdfast.schema.model import CONFLICT_TABLE, Table

TOKEN = re.compile(r"cn[0-9a-f]{14}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NUMBER_MIN, NUMBER_MAX = 10**12, 2**47
"""Between them is no time stamp, and SQLite stores six bytes."""
EMPTY = "0" * 32


def needles(value: Any) -> set[bytes]:
    """How a value looks in JSON, in a file of SQLite and in an error."""
    found: set[bytes] = set()
    if isinstance(value, str):
        found |= {token.encode() for token in TOKEN.findall(value)}
    elif isinstance(value, int) and NUMBER_MIN < value < NUMBER_MAX:
        found |= {str(value).encode(), value.to_bytes(6, "big")}
    elif isinstance(value, bytes) and len(value) > 8:
        found |= {value, base64.b64encode(value), value.hex().encode()}
    return found


def digest_needles(text: str) -> set[bytes]:
    return set() if text == EMPTY else {text.encode(), bytes.fromhex(text)}


class Oracle:
    """``everything``: all canaries there ever were. ``allowed``: by device, those it may know."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self.everything: set[bytes] = set()
        self.allowed: dict[str, set[bytes]] = defaultdict(set)
        self._last: dict[tuple[str, str], tuple[str, ...]] = {}
        """The scopes each row is in, or was in when it was deleted."""

    def own(self, device: str, *values: Any) -> None:
        """What a device writes or asks for itself."""
        for value in values:
            self.allowed[device] |= needles(value)

    def look(self) -> None:
        """Take in the state of the server's database, and who may read what of it now."""
        self._stores.service.poll_foreign_writes()
        for scopes, found in self._facts():
            self.everything |= {word for word in found if len(word) >= 6}
            for device, principal in self._stores.rights.items():
                if any(principal.may_read(scope) for scope in scopes):
                    self.allowed[device] |= found
        for device, principal in self._stores.rights.items():
            for pattern in (*principal.read, *principal.write):
                self.allowed[device] |= needles(pattern)

    def _facts(self) -> list[tuple[tuple[str, ...], set[bytes]]]:
        facts: list[tuple[tuple[str, ...], set[bytes]]] = []
        ask = self._stores.server_rows
        now: dict[tuple[str, str], tuple[str, ...]] = {}
        for table in SCHEMA.tables:
            for row in self._rows(table):
                scopes = row_scopes(table, row)
                now[table.name, row_key(table, row)] = scopes
                facts.append((scopes, set().union(*map(needles, row))))
        for name, key, image in ask("SELECT tbl, key, image FROM holdfast_row WHERE rev > 0"):
            if image is not None and name != CONFLICT_TABLE.name:
                last = msgspec.msgpack.decode(bytes(image))
                table = SCHEMA.by_name[name]
                now[name, key] = row_scopes(table, [last[column] for column in table.column_names])
        self._last.update(now)
        for row in self._rows(CONFLICT_TABLE):
            conflict = dict(zip(CONFLICT_TABLE.column_names, row, strict=True))
            scopes = tuple(json.loads(conflict["scopes"]))
            if conflict["state"] == "open":  # it goes where its row goes, whatever it says itself
                scopes = self._last[conflict["table_name"], conflict["row_key"]]
            self._last[CONFLICT_TABLE.name, conflict["id"]] = scopes
            words = set().union(*map(needles, row)) | {conflict["id"].encode()}
            facts.append((scopes, words))
        for name, key, entry in ask("SELECT tbl, key, entry FROM holdfast_journal"):
            said = json.loads(bytes(entry))
            words = {str(said[side]).encode() for side in ("kept", "lost")}
            facts.append((self._last[name, key], words | needles(bytes(entry).decode())))
        for scope, digest, key in ask("SELECT scope, digest, key FROM holdfast_scope"):
            secret = bytes(key)
            words = digest_needles(digest) | needles(scope) | {secret, secret.hex().encode()}
            facts.append(((scope,), words))
        for scope, hashed in ask("SELECT scope, hash FROM holdfast_feed WHERE NOT removed"):
            facts.append(((scope,), {bytes(hashed), bytes(hashed).hex().encode()}))
        for name, key, rev in ask("SELECT tbl, key, rev FROM holdfast_row"):
            facts.append((self._last.get((name, key), ()), {str(rev).encode()}))
        return [(scopes, words) for scopes, words in facts if words]

    def _rows(self, table: Table) -> list[tuple[Any, ...]]:
        names = ", ".join(f'"{name}"' for name in table.column_names)
        rows = self._stores.server_rows(f'SELECT {names} FROM "{table.name}"')
        return [tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in rows]

    def leaks(self) -> list[str]:
        """Canaries found with devices that may not know them, and where."""
        found = []
        for device in self._stores.devices:
            forbidden = self.everything - self.allowed[device]
            for place, content in self._stores.bytes_of(device).items():
                found += [f"{device} {place}: {word!r}" for word in forbidden if word in content]
        return found
