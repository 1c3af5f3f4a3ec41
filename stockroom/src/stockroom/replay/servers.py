"""The servers of a replay, each behind a faulty network: killed in turn, others taking over.

Knows: server processes, fault proxies, and who forwards to whom. Must not know: devices, or when
something is killed. There is one server over a SQLite file, or several over one PostgreSQL.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from holdfast.testing import FaultProxy, ServerProcess


class Servers:
    """Server processes over one database; each has a proxy of its own that devices talk to."""

    def __init__(
        self, database: str, *, count: int, folder: Path, tokens: Path, cut: float, seed: int
    ) -> None:
        """Prepare without starting. `cut` is the probability, 0..1, that a request suffers a
        fault; logs are written into `folder`."""
        self.kills = 0
        self._cut = cut
        self._seed = seed
        self._stack = ExitStack()
        self._servers = [
            ServerProcess(
                [
                    sys.executable, "-m", "holdfast.cli", "serve",
                    "--schema", "stockroom.schema:schema",
                    "--rules", "stockroom.rules:as_recorded",
                    "--database", database,
                    "--port", "{port}", "--tokens", str(tokens),
                ],
                log_path=folder / f"server-{number}.log",
            )
            for number in range(count)
        ]  # fmt: skip
        self._proxies: list[FaultProxy] = []

    def __enter__(self) -> Self:
        try:
            for number, server in enumerate(self._servers):
                self._stack.enter_context(server)
                proxy = FaultProxy(
                    upstream=_address(server),
                    probability=self._cut,
                    seed=self._seed + 1000 * number,
                )
                self._proxies.append(self._stack.enter_context(proxy))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def urls(self) -> list[str]:
        """Return where devices find a server."""
        return [proxy.url for proxy in self._proxies]

    @property
    def faults(self) -> dict[str, int]:
        """Return how often each kind of fault befell a request."""
        total: Counter[str] = Counter()
        for proxy in self._proxies:
            total.update(proxy.faults)
        return dict(total)

    def kill_next(self) -> None:
        """SIGKILL the next server in turn and start it again.

        Where there are others they take over its devices meanwhile, and afterwards every device
        finds another server than before.
        """
        count = len(self._servers)
        victim = self._servers[self.kills % count]
        if count == 1:
            victim.kill()
            # A request that no server could have answered is lost anyway, and counts as no fault.
            self._set_cut(0.0)
            victim.start()
            self._set_cut(self._cut)
        else:
            victim.kill()
            heir = self._servers[(self.kills + 1) % count]
            for proxy in self._proxies:
                proxy.set_upstream(*_address(heir))
            victim.start()
            for number, proxy in enumerate(self._proxies):
                proxy.set_upstream(*_address(self._servers[(number + self.kills + 1) % count]))
        self.kills += 1

    def heal(self) -> None:
        """No more faults."""
        self._set_cut(0.0)

    def said(self) -> str:
        """The last words of each server's log."""
        return "\n".join(server.stderr_tail() for server in self._servers)

    def _set_cut(self, probability: float) -> None:
        for proxy in self._proxies:
            proxy.set_probability(probability)


def _address(server: ServerProcess) -> tuple[str, int]:
    address = urlsplit(server.url)
    assert address.hostname is not None
    assert address.port is not None
    return address.hostname, address.port
