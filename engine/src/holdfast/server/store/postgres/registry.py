"""The registry in the PostgreSQL store.

Knows: the tables of people in PostgreSQL, and which rows a writer locks. Must not know: how tokens
are made, rights, or messages.
A push shares its device's and user's rows until its commit; whoever revokes or changes them waits
for it, and a push that comes later reads what was changed (READ COMMITTED reads a row again after
waiting for it). Locks are taken in the order code, user, device, token, generation.

Upholds I26.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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
from holdfast.sql.postgres.statements import bytes_array, text_array

RunStatement = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
"""Runs one statement and gives its rows."""


class PostgresRegistry:
    """``registry.RegistryWrites``; without ``locks``, ``registry.RegistryReads``."""

    def __init__(self, run: RunStatement, *, locks: bool = False) -> None:
        self._run = run
        self._share = " FOR SHARE OF u, r" if locks else ""
        self._keep = " FOR NO KEY UPDATE" if locks else ""

    def generation(self) -> int:
        return int(self._run("SELECT generation FROM holdfast_rights", ())[0][0])

    def move_generation(self) -> int:
        rows = self._run(
            "UPDATE holdfast_rights SET generation = generation + 1 RETURNING generation", ()
        )
        return int(rows[0][0])

    # Users

    def user(self, name: str) -> User | None:
        if "\0" in name:
            return None
        rows = self._run(
            f"SELECT {USER_COLUMNS} FROM holdfast_user AS u WHERE name = $1{self._keep}", (name,)
        )
        return user_of(rows[0]) if rows else None

    def users(self, *, after: str, limit: int) -> list[User]:
        rows = self._run(
            f"SELECT {USER_COLUMNS} FROM holdfast_user AS u WHERE name > $1 ORDER BY name LIMIT $2",
            (_before_nul(after), limit),
        )
        return [user_of(row) for row in rows]

    def put_user(self, user: User) -> None:
        self._run(
            "INSERT INTO holdfast_user (name, read, write, roles, password, disabled, created) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO UPDATE SET "
            "read = excluded.read, write = excluded.write, roles = excluded.roles, "
            "password = excluded.password, disabled = excluded.disabled",
            (user.name, *(names_text(n) for n in (user.read, user.write, user.roles)),
             user.password, user.disabled, user.created),
        )  # fmt: skip

    # Devices

    def registration(self, device: str) -> Registration | None:
        if "\0" in device:
            return None
        rows = self._run(
            'SELECT device, "user", name, created, revoked FROM holdfast_registration '
            f"WHERE device = $1{self._keep}",
            (device,),
        )
        return Registration(*rows[0]) if rows else None

    def put_registration(self, registration: Registration) -> None:
        r = registration
        self._run(
            'INSERT INTO holdfast_registration (device, "user", name, created, revoked) '
            "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (device) DO UPDATE SET "
            '"user" = excluded."user", name = excluded.name, revoked = excluded.revoked',
            (r.device, r.user, r.name, r.created, r.revoked),
        )

    def standing(self, devices: Sequence[str]) -> dict[str, User]:
        rows = self._run(
            f"SELECT r.device, {USER_COLUMNS} FROM holdfast_registration AS r "
            'JOIN holdfast_user AS u ON u.name = r."user" WHERE r.device = ANY ($1::text[]) '
            f"AND r.revoked = 0 AND NOT u.disabled{self._share}",
            (text_array(devices),),
        )
        return {device: user_of(user) for device, *user in rows}

    def devices(self, *, user: str, after: str, limit: int) -> list[DeviceReport]:
        if "\0" in user:
            return []
        found = self._run(
            DEVICES.format(after="$1", user="$2", limit="$3"), (_before_nul(after), user, limit)
        )
        devices = text_array([device for device, *_ in found])
        return reports_of(found, self._run(REPLICAS.format(among="= ANY ($1::text[])"), (devices,)))

    # Tokens

    def token(self, digest: bytes) -> TokenRecord | None:
        return self._token(f"hash = $1{self._keep}", digest)

    def bearer(self, digest: bytes) -> tuple[TokenRecord, User] | None:
        rows = self._run(BEARER.format(digest="$1", stands="= false"), (digest,))
        return bearer_of(rows[0]) if rows else None

    def tokens(self, digests: Sequence[bytes]) -> set[bytes]:
        rows = self._run(
            "SELECT hash FROM holdfast_token WHERE hash = ANY ($1::bytea[])",
            (bytes_array(digests),),
        )
        return {digest for (digest,) in rows}

    def newest_token(self, device: str) -> TokenRecord | None:
        return self._token("device = $1 ORDER BY generation DESC LIMIT 1", device)

    def _token(self, where: str, value: str | bytes) -> TokenRecord | None:
        rows = self._run(
            f"SELECT hash, device, generation, ends, used FROM holdfast_token WHERE {where}",
            (value,),
        )
        return TokenRecord(*rows[0]) if rows else None

    def put_token(self, token: TokenRecord) -> None:
        self._run(
            "INSERT INTO holdfast_token (hash, device, generation, ends, used) "
            "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (hash) DO UPDATE SET ends = excluded.ends, "
            "used = excluded.used",
            (token.hash, token.device, token.generation, token.ends, token.used),
        )

    def drop_tokens(self, device: str, *, below: int | None = None) -> None:
        self._run(
            "DELETE FROM holdfast_token WHERE device = $1 "
            "AND ($2::bigint IS NULL OR generation < $2)",
            (device, below),
        )

    def drop_token(self, digest: bytes) -> None:
        self._run("DELETE FROM holdfast_token WHERE hash = $1", (digest,))

    # Codes

    def code(self, digest: bytes) -> Code | None:
        rows = self._run(
            'SELECT hash, "user", expires, device, attempt FROM holdfast_enrolment '
            f"WHERE hash = $1{self._keep}",
            (digest,),
        )
        return Code(*rows[0]) if rows else None

    def put_code(self, code: Code) -> None:
        self._run(
            'INSERT INTO holdfast_enrolment (hash, "user", expires, device, attempt) '
            "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (hash) DO UPDATE SET "
            "device = excluded.device, attempt = excluded.attempt",
            (code.hash, code.user, code.expires, code.device, code.attempt),
        )

    def drop_codes(self, *, expired: int) -> None:
        self._run("DELETE FROM holdfast_enrolment WHERE expires < $1", (expired,))

    def drop_codes_for(self, device: str) -> None:
        if "\0" not in device:
            self._run(
                "DELETE FROM holdfast_enrolment WHERE device = $1 AND attempt = ''::bytea",
                (device,),
            )

    def count_codes(self, user: str) -> int:
        rows = self._run(
            "SELECT count(*) FROM holdfast_enrolment WHERE \"user\" = $1 AND attempt = ''::bytea",
            (user,),
        )
        return int(rows[0][0])

    def count_devices(self, user: str) -> int:
        rows = self._run(
            'SELECT count(*) FROM holdfast_registration WHERE "user" = $1 AND revoked = 0', (user,)
        )
        return int(rows[0][0])


def _before_nul(text: str) -> str:
    """A position in the order of names that PostgreSQL can hold."""
    return text.partition("\0")[0]
