"""The registry in the embedded SQLite store.

Knows: the tables of people in SQLite. Must not know: how tokens are made, rights, or messages.
One writer at a time: what it reads stays so until its commit without any lock of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from holdfast.server.store.registry import Code, DeviceReport, Registration, TokenRecord, User
from holdfast.server.store.registry_rows import (
    BEARER,
    DEVICES,
    REPLICAS,
    USER_COLUMNS,
    bearer_of,
    names_text,
    reports_of,
    user_of,
)
from holdfast.sqlite.driver import Connection

_encode = msgspec.json.Encoder().encode


class SqliteRegistry:
    """``registry.RegistryWrites``; on a connection that only reads, ``registry.RegistryReads``."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    def generation(self) -> int:
        ((generation,),) = self._db.execute("SELECT generation FROM holdfast_rights")
        return cast("int", generation)

    def move_generation(self) -> int:
        self._db.execute("UPDATE holdfast_rights SET generation = generation + 1")
        return self.generation()

    # Users

    def user(self, name: str) -> User | None:
        rows = self._db.execute(
            f"SELECT {USER_COLUMNS} FROM holdfast_user AS u WHERE name = ?", (name,)
        )
        return user_of(rows[0]) if rows else None

    def users(self, *, after: str, limit: int) -> list[User]:
        rows = self._db.execute(
            f"SELECT {USER_COLUMNS} FROM holdfast_user AS u WHERE name > ? ORDER BY name LIMIT ?",
            (after, limit),
        )
        return [user_of(row) for row in rows]

    def put_user(self, user: User) -> None:
        self._db.execute(
            "INSERT INTO holdfast_user (name, read, write, roles, password, disabled, created) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET read = excluded.read, "
            "write = excluded.write, roles = excluded.roles, password = excluded.password, "
            "disabled = excluded.disabled",
            (user.name, *(names_text(n) for n in (user.read, user.write, user.roles)),
             user.password, int(user.disabled), user.created),
        )  # fmt: skip

    # Devices

    def registration(self, device: str) -> Registration | None:
        rows = self._db.execute(
            "SELECT device, user, name, created, revoked FROM holdfast_registration "
            "WHERE device = ?",
            (device,),
        )
        return Registration(*cast("tuple[str, str, str, int, int]", rows[0])) if rows else None

    def put_registration(self, registration: Registration) -> None:
        r = registration
        self._db.execute(
            "INSERT INTO holdfast_registration (device, user, name, created, revoked) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (device) DO UPDATE SET user = excluded.user, "
            "name = excluded.name, revoked = excluded.revoked",
            (r.device, r.user, r.name, r.created, r.revoked),
        )

    def standing(self, devices: Sequence[str]) -> dict[str, User]:
        rows = self._db.execute(
            f"SELECT r.device, {USER_COLUMNS} FROM json_each(?) AS j "
            "CROSS JOIN holdfast_registration AS r ON r.device = j.value "
            "JOIN holdfast_user AS u ON u.name = r.user WHERE r.revoked = 0 AND u.disabled = 0",
            (_encode(list(devices)).decode(),),
        )
        return {str(device): user_of(user) for device, *user in rows}

    def devices(self, *, user: str, after: str, limit: int) -> list[DeviceReport]:
        found = self._db.execute(
            DEVICES.format(after="?1", user="?2", limit="?3"), (after, user, limit)
        )
        replicas = self._db.execute(
            REPLICAS.format(among="IN (SELECT value FROM json_each(?))"),
            (_encode([device for device, *_ in found]).decode(),),
        )
        return reports_of(found, replicas)

    # Tokens

    def token(self, digest: bytes) -> TokenRecord | None:
        return self._token("hash = ?", digest)

    def bearer(self, digest: bytes) -> tuple[TokenRecord, User] | None:
        rows = self._db.execute(BEARER.format(digest="?", stands="= 0"), (digest,))
        return bearer_of(rows[0]) if rows else None

    def tokens(self, digests: Sequence[bytes]) -> set[bytes]:
        sql = "SELECT 1 FROM holdfast_token WHERE hash = ?"
        return {digest for digest in digests if self._db.execute(sql, (digest,))}

    def newest_token(self, device: str) -> TokenRecord | None:
        return self._token("device = ? ORDER BY generation DESC LIMIT 1", device)

    def _token(self, where: str, value: str | bytes) -> TokenRecord | None:
        rows = self._db.execute(
            f"SELECT hash, device, generation, ends, used FROM holdfast_token WHERE {where}",
            (value,),
        )
        if not rows:
            return None
        digest, device, generation, ends, used = cast("tuple[bytes, str, int, int, int]", rows[0])
        return TokenRecord(digest, device, generation, ends, bool(used))

    def put_token(self, token: TokenRecord) -> None:
        self._db.execute(
            "INSERT INTO holdfast_token (hash, device, generation, ends, used) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE SET ends = excluded.ends, "
            "used = excluded.used",
            (token.hash, token.device, token.generation, token.ends, int(token.used)),
        )

    def drop_tokens(self, device: str, *, below: int | None = None) -> None:
        self._db.execute(
            "DELETE FROM holdfast_token WHERE device = ?1 AND (?2 IS NULL OR generation < ?2)",
            (device, below),
        )

    def drop_token(self, digest: bytes) -> None:
        self._db.execute("DELETE FROM holdfast_token WHERE hash = ?", (digest,))

    # Codes

    def code(self, digest: bytes) -> Code | None:
        rows = self._db.execute(
            "SELECT hash, user, expires, device, attempt FROM holdfast_enrolment WHERE hash = ?",
            (digest,),
        )
        return Code(*cast("tuple[bytes, str, int, str, bytes]", rows[0])) if rows else None

    def put_code(self, code: Code) -> None:
        self._db.execute(
            "INSERT INTO holdfast_enrolment (hash, user, expires, device, attempt) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE SET device = excluded.device, "
            "attempt = excluded.attempt",
            (code.hash, code.user, code.expires, code.device, code.attempt),
        )

    def drop_codes(self, *, expired: int) -> None:
        self._db.execute("DELETE FROM holdfast_enrolment WHERE expires < ?", (expired,))

    def drop_codes_for(self, device: str) -> None:
        self._db.execute(
            "DELETE FROM holdfast_enrolment WHERE device = ? AND attempt = x''", (device,)
        )

    def count_codes(self, user: str) -> int:
        ((count,),) = self._db.execute(
            "SELECT count(*) FROM holdfast_enrolment WHERE user = ? AND attempt = x''", (user,)
        )
        return cast("int", count)

    def count_devices(self, user: str) -> int:
        ((count,),) = self._db.execute(
            "SELECT count(*) FROM holdfast_registration WHERE user = ? AND revoked = 0", (user,)
        )
        return cast("int", count)
