"""A server on one database, a bad network before it, and devices as processes that write.

Knows: how to start, kill, stop and heal each of them. Must not know: when, or what must hold.
All processes are children of this one and end with it, by their process ids.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import shop
from database import Database, SqliteFile

from holdfast.testing import FaultProxy, ServerProcess

HERE = Path(__file__).parent
FAULT_SHARE = 0.05
"""Of all requests, in quiet times too."""
END_S = 30


@dataclass
class Device:
    """A device over all of its lives."""

    name: str
    store: str
    command: list[str]
    file: SqliteFile
    ledger: Path
    log: Path
    words: queue.Queue[str] = field(default_factory=queue.Queue)
    """What it has answered."""
    met: bool = False
    """Whether it has had its first load."""
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def tell(self, word: str) -> None:
        assert self.process is not None and self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()

    def send(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def end(self, number: int = signal.SIGKILL) -> None:
        """Signal it, and wait for its end."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(END_S)
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError, ValueError):
                if pipe is not None:
                    pipe.close()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with contextlib.suppress(ValueError):  # closed at its end
            for line in process.stdout:
                self.met = True
                self.words.put(line.strip())


class Stand:
    """Everything that belongs to one database."""

    def __init__(
        self, folder: Path, database: Database, *, servers: int, devices: int, seed: str
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.database = database
        tokens = folder / "tokens.toml"
        self.servers = [self._server(tokens, number) for number in range(servers)]
        self._stack = contextlib.ExitStack()
        self._seed = seed
        self.proxies: list[FaultProxy] = []
        self._wanted = devices
        self.devices: list[Device] = []
        tokens.write_text("\n".join(self._token(number) for number in range(devices)))

    def start(self) -> None:
        """Servers, their opening rows, the network, the devices. Whatever happens: ``close``."""
        for number, server in enumerate(self.servers):
            self._stack.callback(server.close)
            server.start()
            if not number:
                self.database.write(shop.opening())
            proxy = FaultProxy(
                upstream=_address(server), probability=FAULT_SHARE, seed=hash_of(self._seed, number)
            )
            self.proxies.append(self._stack.enter_context(proxy))
        for number in range(self._wanted):
            device = self._device(number)
            self.devices.append(device)
            self._stack.callback(device.end)
            device.start()

    def close(self) -> None:
        self._stack.close()

    @property
    def name(self) -> str:
        return self.database.name

    @property
    def faults(self) -> int:
        return sum(sum(proxy.faults.values()) for proxy in self.proxies)

    def go_on(self, number: int) -> None:
        """A server that was stopped runs again."""
        self.servers[number].signal(signal.SIGCONT)

    def end_server(self, number: int, *, gently: bool) -> None:
        """End a server and start it again; where there is another, its devices go over to it."""
        server = self.servers[number]
        self.go_on(number)
        if len(self.servers) > 1:
            other = self.servers[(number + 1) % len(self.servers)]
            self.proxies[number].set_upstream(*_address(other))
        if gently:
            server.terminate()
        else:
            server.kill()
        server.start()
        if len(self.servers) > 1:
            self.proxies[number].set_upstream(*_address(server))

    def heal(self) -> None:
        """No more faults; nothing stands still."""
        for number, proxy in enumerate(self.proxies):
            proxy.heal()
            proxy.set_probability(0)
            self.go_on(number)
        for device in self.devices:
            device.send(signal.SIGCONT)

    def server_rss_kib(self) -> int:
        """What all server processes hold in memory now."""
        return sum(_rss_kib(server.pid) for server in self.servers if server.running)

    def _server(self, tokens: Path, number: int) -> ServerProcess:
        command = [
            sys.executable, "-m", "holdfast.cli", "serve", "--schema", str(shop.SCHEMA),
            "--rules", "shop:RULES", "--database", self.database.address,
            "--tokens", str(tokens), "--port", "{port}", "--log-level", "warning",
        ]  # fmt: skip
        return ServerProcess(
            command, log_path=self.folder / f"server-{number}.log", env={"PYTHONPATH": str(HERE)}
        )

    def _device(self, number: int) -> Device:
        name = f"device{number}"
        store = shop.STORES[number % len(shop.STORES)]
        path = self.folder / f"{name}.db"
        command = [
            sys.executable, str(HERE / "device.py"), str(path),
            self.proxies[number % len(self.proxies)].url, f"token-{name}",
            str(self.folder / f"{name}.ledger"), name, store, self._seed,
            "background" if number % 2 == 0 else "now-and-then",
        ]  # fmt: skip
        return Device(
            name=name, store=store, command=command, file=SqliteFile(path),
            ledger=self.folder / f"{name}.ledger", log=self.folder / f"{name}.log",
        )  # fmt: skip

    def _token(self, number: int) -> str:
        """The last device sees every store, the others their own."""
        store = shop.STORES[number % len(shop.STORES)]
        seen = shop.STORES if number == self._wanted - 1 else (store,)
        scopes = ", ".join(f'"{scope}"' for scope in ("cards", *(f"store/{s}" for s in seen)))
        return (
            f'[token-device{number}]\nuser = "person{number}"\ndevice = "device{number}"\n'
            f"read = [{scopes}]\nwrite = [{scopes}]\n"
        )

    def sees(self, device: Device) -> tuple[str, ...]:
        """The stores whose rows a device may read."""
        return shop.STORES if device is self.devices[-1] else (device.store,)


def hash_of(seed: str, number: int) -> int:
    """A number for a generator, from a seed that is a text."""
    return int.from_bytes(f"{seed}/{number}".encode(), "big") % 2**31


def _address(server: ServerProcess) -> tuple[str, int]:
    address = urlsplit(server.url)
    assert address.hostname is not None and address.port is not None
    return address.hostname, address.port


def _rss_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next(
        (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0
    )
