"""A writer of the PostgreSQL store on a snapshot, of which nothing but reads is used.

Knows: which reads of a writer lock. Must not know: what is rehearsed.

Upholds I31: nobody waits for a rehearsal.
"""

from __future__ import annotations

from holdfast.server.store.postgres.reads import PostgresConnection, PostgresReads
from holdfast.server.store.postgres.registry import PostgresRegistry
from holdfast.server.store.postgres.writer import PostgresWriter
from holdfast.sql.postgres.statements import PostgresProgram


class RehearsingWriter(PostgresWriter):
    """One whose reads are those of a snapshot: what a writer would lock is only looked at."""

    replica = PostgresReads.replica
    sent_by = PostgresReads.sent_by
    last_place = PostgresReads.last_place
    scopes = PostgresReads.scopes

    def __init__(
        self, connection: PostgresConnection, program: PostgresProgram, counts_from: int
    ) -> None:
        super().__init__(
            connection, program, began="", notes=False, wanted=frozenset(), careful=False,
            counts_from=counts_from,
        )  # fmt: skip

    @property
    def registry(self) -> PostgresRegistry:
        return PostgresRegistry(self._run)
