"""A throw-away PostgreSQL: a cluster of its own in a temporary folder, for tests.

Knows: PostgreSQL's programs and where Debian keeps them. Must not know: what is stored.
PostgreSQL refuses to run as root; then it is run as the system's user ``postgres`` or ``nobody``.
Only the server that was started here is stopped, by its process id.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from holdfast.testing.processes import free_port

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 30.0
_USERS = ("postgres", "nobody")


class PostgresMissing(RuntimeError):
    """PostgreSQL's programs are not on this machine; the message says what was looked for."""


def find_programs() -> Path:
    """The folder with ``initdb`` and ``postgres``: on PATH, or the newest of Debian's.

    Raises ``PostgresMissing``.
    """
    for name in ("initdb", "postgres"):
        found = shutil.which(name)
        if found is not None and (Path(found).resolve().parent / "initdb").exists():
            return Path(found).resolve().parent
    homes = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    new_enough = [p for p in homes if p.parent.name.isdigit() and int(p.parent.name) >= 15]
    if not new_enough:
        raise PostgresMissing(
            "no initdb of PostgreSQL 15 or newer on PATH or in /usr/lib/postgresql"
        )
    return max(new_enough, key=lambda p: int(p.parent.name))


class PostgresCluster:
    """A PostgreSQL server of its own, on a free port of 127.0.0.1, without passwords.

    ``durable``: with fsync, for tests whose subject is what survives. ``settings`` are server
    settings such as ``{"max_connections": "20"}``. Raises ``PostgresMissing``.

        with PostgresCluster() as cluster:
            store = PostgresStore.open(cluster.url(), schema, random_bytes=secrets.token_bytes)
    """

    def __init__(self, *, durable: bool = False, settings: dict[str, str] | None = None) -> None:
        self._programs = find_programs()
        self._user = _unprivileged()
        self._folder = Path(tempfile.mkdtemp(prefix="holdfast-postgres-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        chosen = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": str(self._folder),
            "max_connections": "200", "timezone": "UTC", "lc_messages": "C",
            "shared_buffers": "128MB", "log_checkpoints": "off",
        }  # fmt: skip
        if not durable:
            chosen |= {"fsync": "off", "full_page_writes": "off"}
        self._settings = chosen | (settings or {})
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, database: str = "postgres", *, schema: str = "") -> str:
        """The address of a database; with ``schema``, of one schema in it."""
        path = f"?options={quote(f'-csearch_path={schema}')}" if schema else ""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}{path}"

    def make_database(self) -> str:
        """Make an empty database; its address."""
        self._databases += 1
        name = f"holdfast_{self._databases}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def sql(self, script: str, url: str = "") -> str:
        """Run SQL by psql, in a process of its own; what it prints.

        Raises ``CalledProcessError``.
        """
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
            [str(self._programs / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", url or self.url()],
            input=script.encode(),
            check=True,
            capture_output=True,
        )
        return done.stdout.decode()

    @property
    def log(self) -> str:
        """Return what the server has logged."""
        return (self._folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start the server, again after ``stop``, and wait until it answers."""
        options = [part for item in self._settings.items() for part in ("-c", "=".join(item))]
        with (self._folder / "log").open("ab") as log:
            self._process = self._spawn(
                ["postgres", "-D", str(self._folder / "data"), "-p", str(self.port), *options], log
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        where = ["-U", "postgres", "-h", "127.0.0.1", "-p", str(self.port)]
        ready = [str(self._programs / "pg_isready"), "-q", *where]
        while subprocess.run(ready, check=False).returncode:  # noqa: S603
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log[-4096:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT in order, SIGQUIT at once, as after a crash."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def close(self) -> None:
        """Stop the server and remove its folder; more than once is fine."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _initialise(self) -> None:
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        with (self._folder / "log").open("ab") as log:
            made = self._spawn(
                ["initdb", "-D", str(self._folder / "data"), "-U", "postgres", "-A", "trust",
                 "-E", "UTF8", "--locale=C", "--no-sync"],
                log,
            ).wait()  # fmt: skip
        if made:
            raise RuntimeError(f"initdb failed:\n{self.log[-4096:]}")

    def _spawn(self, command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        user = self._user
        return subprocess.Popen(  # noqa: S603 - PostgreSQL's own programs
            [str(self._programs / command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
            start_new_session=True,  # a Ctrl-C of the tests is not for it
        )


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom PostgreSQL may run as, when we are root."""
    if os.geteuid() != 0:
        return None
    for name in _USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresMissing(f"PostgreSQL does not run as root, and there is no user {_USERS[0]}")


@contextlib.contextmanager
def scratch_schema(cluster: PostgresCluster) -> Iterator[str]:
    """The address of an empty schema of a cluster, dropped afterwards: quicker than a database."""
    import psycopg

    name = f"s{os.urandom(6).hex()}"
    # Not by a process of psql: hundreds of tests have a schema each.
    with psycopg.connect(cluster.url(), autocommit=True) as db:
        db.execute(f"CREATE SCHEMA {name}")
    try:
        yield cluster.url(schema=name)
    finally:
        with psycopg.connect(cluster.url(), autocommit=True) as db:
            db.execute(f"DROP SCHEMA {name} CASCADE")
