"""Conformance suite for SQLite drivers: run it against a ``Driver`` of your own.

Knows: the protocol of ``sqlite.driver``. Must not know: tables of the engine, or which library it
is.
Subclass it in a test module and say which driver::

    class TestMyDriver(DriverConformance):
        def make(self) -> Driver:
            return MyDriver()

        def other(self) -> Driver | None:
            return holdfast.sqlite.driver("stdlib")    # another SQLite library, None: there is none

Needs pytest. Upholds the ground that capture stands on: values are exact, errors have stable codes,
and an outer ``OR REPLACE`` does not override the upserts in a trigger.
"""

from __future__ import annotations

import math
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import (
    ConstraintFailed,
    DatabaseBusy,
    DatabaseCorrupt,
    DatabaseError,
    DatabaseFull,
    DatabaseReadOnly,
)
from holdfast.core.values import Value
from holdfast.sqlite import Connection, Driver, OpenOptions

WAL_SAFE_SINCE = (3, 51, 3)
"""Older libraries have the WAL-reset bug, so they use the rollback journal."""

EXACT: tuple[Value, ...] = (
    None,
    0,
    1,
    -1,
    2**53 - 1,
    2**53,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    0.0,
    -0.0,
    0.1,
    5e-324,
    1.7976931348623157e308,
    -1.7976931348623157e308,
    1e22,
    9007199254740993.0,
    "",
    "plain",
    'it\'s "quoted"; -- no comment',
    "grüße 日本語 \U0001f4e6 e\u0301 \u202e",
    "\ufeffbom",
    "\ufffd\uffff",
    "a\nb\tc\r",
    "%s ? :x $y",
    "x" * 100_000,
    b"",
    b"\x00\xff\x00",
    bytes(range(256)),
    b"y" * 100_000,
)

HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    db.execute(statement)
print("ready", flush=True)
sys.stdin.readline()
db.close()
"""


def same(left: Value, right: Value) -> bool:
    """Equal in type and to the last bit."""
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack(">d", left) == struct.pack(">d", right)
    return type(left) is type(right) and left == right


class DriverConformance:
    """The suite. ``make`` gives the driver under test."""

    def make(self) -> Driver:
        """The driver under test."""
        raise NotImplementedError

    def other(self) -> Driver | None:
        """A driver on another SQLite library, if there is one."""
        return None

    @contextmanager
    def opened(self, path: Path, **options: Any) -> Iterator[Connection]:
        """A connection to a file, closed at the end."""
        options.setdefault("busy_timeout_ms", 50)
        with closing(self.make().connect(str(path), OpenOptions(**options))) as connection:
            yield connection

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Return where a test's database is; its name has the signs that are special in a URI."""
        return tmp_path / "a b%20?c#d'é.db"

    @pytest.fixture
    def db(self, path: Path) -> Iterator[Connection]:
        """An open connection with the table ``t (id, a, b)``, ``a`` unique, ``b`` of any type."""
        with self.opened(path) as connection:
            connection.execute(
                "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b ANY) STRICT"
            )
            yield connection

    @contextmanager
    def held_by_process(self, path: Path, *statements: str) -> Iterator[None]:
        """Another process has run these statements on the file and keeps its connection."""
        command = [sys.executable, "-c", HOLDER, str(path), *statements]
        with subprocess.Popen(  # noqa: S603 - this interpreter, a fixed program
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            try:
                yield
            finally:
                process.stdin.close()
                process.wait()

    # --- values ---------------------------------------------------------------------------------

    @pytest.mark.parametrize("value", EXACT, ids=lambda value: repr(value)[:24])
    def test_values_round_trip_exactly(self, db: Connection, value: Value) -> None:
        ((bound,),) = db.execute("SELECT ?", (value,))
        assert same(bound, value)
        db.execute("INSERT INTO t (id, b) VALUES (1, ?)", (value,))
        ((stored,),) = db.execute("SELECT b FROM t")
        assert same(stored, value)
        ((kind,),) = db.execute("SELECT typeof(b) FROM t")
        kinds = {type(None): "null", int: "integer", float: "real", str: "text", bytes: "blob"}
        assert kind == kinds[type(value)]

    @pytest.mark.parametrize("value", [math.inf, -math.inf])
    def test_infinity_is_a_value_of_sqlite(self, db: Connection, value: float) -> None:
        assert db.execute("SELECT ?", (value,)) == [(value,)]

    def test_nan_is_null(self, db: Connection) -> None:
        assert db.execute("SELECT ?", (math.nan,)) == [(None,)]

    @pytest.mark.parametrize(
        "value",
        [
            2**63,
            -(2**63) - 1,
            10**40,
            "\ud800",
            "a\udfffb",
            [1],
            pytest.param(object(), id="object"),
        ],
        ids=repr,
    )
    def test_what_sqlite_cannot_hold_is_refused(self, db: Connection, value: Any) -> None:
        with pytest.raises(DatabaseError) as caught:
            db.execute("INSERT INTO t (id, b) VALUES (1, ?)", (value,))
        assert caught.value.code == "bad_value"
        with pytest.raises(DatabaseError) as caught:
            db.executemany("INSERT INTO t (id, b) VALUES (?, ?)", [(1, value)])
        assert caught.value.code == "bad_value"
        assert db.execute("SELECT * FROM t") == []

    @pytest.mark.parametrize("raw", ["ff", "c080", "eda080", "61c3", "f4908080"])
    def test_text_that_is_not_utf8_is_an_error_with_a_code(self, db: Connection, raw: str) -> None:
        db.execute(f"INSERT INTO t (id, b) VALUES (1, CAST(x'{raw}' AS TEXT))")
        for read in (
            lambda: db.execute("SELECT b FROM t"),
            lambda: list(db.iterate("SELECT b FROM t")),
            lambda: db.columns("SELECT b FROM t"),
        ):
            with pytest.raises(DatabaseError) as caught:
                read()
            assert caught.value.code == "bad_value"
        assert db.execute("SELECT CAST(b AS BLOB) FROM t") == [(bytes.fromhex(raw),)]

    # --- statements -----------------------------------------------------------------------------

    def test_each_statement_commits_on_its_own(self, db: Connection, path: Path) -> None:
        db.execute("INSERT INTO t (id) VALUES (1)")
        assert not db.in_transaction
        with self.opened(path) as second:
            assert second.execute("SELECT id FROM t") == [(1,)]

    def test_transactions_are_explicit(self, db: Connection, path: Path) -> None:
        with self.opened(path) as second:
            states = [db.in_transaction]
            for statement in ("BEGIN IMMEDIATE", "INSERT INTO t (id) VALUES (1)", "COMMIT"):
                db.execute(statement)
                states.append(db.in_transaction)
            assert states == [False, True, True, False]
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO t (id) VALUES (2)")
            db.execute("ROLLBACK")
            assert second.execute("SELECT id FROM t") == [(1,)]

    def test_a_failed_statement_leaves_the_transaction_open(self, db: Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t (id, a) VALUES (1, 'x')")
        with pytest.raises(ConstraintFailed):
            db.execute("INSERT INTO t (id, a) VALUES (2, 'y'), (3, 'x')")
        assert db.in_transaction
        db.execute("COMMIT")
        assert db.execute("SELECT id FROM t") == [(1,)]

    def test_savepoints(self, db: Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t (id) VALUES (1)")
        db.execute("SAVEPOINT s")
        db.execute("INSERT INTO t (id) VALUES (2)")
        db.execute("ROLLBACK TO s")
        db.execute("RELEASE s")
        assert db.in_transaction
        db.execute("COMMIT")
        assert db.execute("SELECT id FROM t") == [(1,)]

    def test_executemany(self, db: Connection) -> None:
        db.executemany("INSERT INTO t (id, b) VALUES (?, ?)", ((n, n * n) for n in range(5)))
        assert db.execute("SELECT b FROM t ORDER BY id") == [(n * n,) for n in range(5)]
        db.executemany("DELETE FROM t WHERE id = ?", [])
        assert db.execute("SELECT count(*) FROM t") == [(5,)]

    def test_iterate_reads_as_it_goes(self, db: Connection) -> None:
        rows = db.iterate(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
        )
        assert [next(rows) for _ in range(3)] == [(1,), (2,), (3,)]
        getattr(rows, "close")()  # noqa: B009 - an iterator that happens to be a generator
        assert list(db.iterate("SELECT ? UNION SELECT ?", (1, 2))) == [(1,), (2,)]

    def test_changes_counts_the_last_statement(self, db: Connection) -> None:
        db.execute("INSERT INTO t (id) VALUES (1), (2), (3)")
        assert db.changes() == 3
        db.execute("UPDATE t SET b = 1 WHERE id > 1")
        assert db.changes() == 2
        db.execute("UPDATE t SET b = 1 WHERE id > 9")
        assert db.changes() == 0
        db.execute("DELETE FROM t")
        assert db.changes() == 3

    def test_columns_names_them_even_without_rows(self, db: Connection) -> None:
        assert db.columns("SELECT id, b AS other FROM t") == (("id", "other"), [])
        db.execute("INSERT INTO t (id, b) VALUES (1, 'v')")
        assert db.columns("SELECT id, b AS other FROM t WHERE id = ?", (1,)) == (
            ("id", "other"),
            [(1, "v")],
        )
        assert db.columns("UPDATE t SET b = 'w'") == ((), [])
        names, rows = db.columns("INSERT INTO t (id) VALUES (7) RETURNING id")
        assert (names, rows) == (("id",), [(7,)])

    def test_script_runs_inside_the_open_transaction(self, db: Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.script(
            "INSERT INTO t (id, a) VALUES (1, 'semi; colon');\n"
            "CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET b = 1; UPDATE t SET b = 2; END;"
            "-- a comment; with a semicolon\n"
            "INSERT INTO t (id) VALUES (2)"
        )
        assert db.in_transaction
        assert db.execute("SELECT count(*) FROM t") == [(2,)]
        db.execute("ROLLBACK")
        assert db.execute("SELECT count(*) FROM t") == [(0,)]

    # --- errors ---------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("kind", "sql"),
        [
            ("unique", "INSERT INTO c (id, u) VALUES (2, 'x')"),
            ("unique", "INSERT INTO c (id, u) VALUES (1, 'y')"),
            ("unique", "INSERT INTO k (a, b) VALUES ('p', 'q')"),
            ("not_null", "INSERT INTO c (id, u) VALUES (2, NULL)"),
            ("check", "INSERT INTO c (id, u, n) VALUES (2, 'y', -1)"),
            ("check", "INSERT INTO c (id, u, n) VALUES (2, 'y', 'text')"),
            ("check", "INSERT INTO c (id, u) VALUES ('text', 'y')"),
            ("trigger", "INSERT INTO c (id, u, n) VALUES (2, 'y', 13)"),
        ],
    )
    def test_constraints_have_kinds(self, db: Connection, kind: str, sql: str) -> None:
        db.script(
            "CREATE TABLE c (id INTEGER PRIMARY KEY, u TEXT NOT NULL UNIQUE, "
            "n INTEGER CHECK (n >= 0)) STRICT;"
            "CREATE TABLE k (a TEXT, b TEXT, PRIMARY KEY (a, b)) STRICT, WITHOUT ROWID;"
            "CREATE TRIGGER tr BEFORE INSERT ON c WHEN NEW.n = 13 BEGIN "
            "SELECT RAISE(ABORT, 'UNIQUE and CHECK are words in a message'); END;"
            "INSERT INTO c (id, u) VALUES (1, 'x'); INSERT INTO k VALUES ('p', 'q')"
        )
        with pytest.raises(ConstraintFailed) as caught:
            db.execute(sql)
        assert (caught.value.kind, caught.value.code) == (kind, kind)
        with pytest.raises(ConstraintFailed):
            db.executemany(sql, [()])
        assert not db.in_transaction

    def test_deferred_foreign_keys_fail_at_commit(self, db: Connection) -> None:
        db.execute(
            "CREATE TABLE child (id INTEGER PRIMARY KEY, t INTEGER REFERENCES t (id) "
            "DEFERRABLE INITIALLY DEFERRED) STRICT"
        )
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO child VALUES (1, 9)")
        with pytest.raises(ConstraintFailed) as caught:
            db.execute("COMMIT")
        assert caught.value.kind == "foreign_key"
        assert db.in_transaction
        db.execute("INSERT INTO t (id) VALUES (9)")
        db.execute("COMMIT")
        assert db.execute("SELECT t FROM child") == [(9,)]

    def test_foreign_keys_can_be_off(self, db: Connection, path: Path) -> None:
        db.execute("CREATE TABLE child (t INTEGER REFERENCES t (id)) STRICT")
        with pytest.raises(ConstraintFailed):
            db.execute("INSERT INTO child VALUES (9)")
        with self.opened(path, foreign_keys=False) as second:
            second.execute("INSERT INTO child VALUES (9)")
        assert db.execute("SELECT t FROM child") == [(9,)]

    def test_a_syntax_error_or_wrong_count_is_a_database_error(self, db: Connection) -> None:
        for sql, params in (
            ("SELEC 1", ()),
            ("SELECT ?", ()),
            ("SELECT ?", (1, 2)),
            ("SELECT x", ()),
        ):
            with pytest.raises(DatabaseError) as caught:
                db.execute(sql, params)
            assert type(caught.value) is DatabaseError
            assert caught.value.code in ("database", "bad_value")

    def test_a_closed_connection_says_so(self, path: Path) -> None:
        with self.opened(path) as connection:
            connection.close()
            connection.close()
            with pytest.raises(DatabaseError):
                connection.execute("SELECT 1")

    def test_busy_when_another_connection_writes(self, db: Connection, path: Path) -> None:
        with self.opened(path) as second:
            db.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseBusy) as caught:
                second.execute("BEGIN IMMEDIATE")
            assert caught.value.code == "database_busy"
            assert not second.in_transaction
            db.execute("ROLLBACK")
            second.execute("BEGIN IMMEDIATE")
            second.execute("ROLLBACK")

    def test_busy_when_another_process_writes(self, db: Connection, path: Path) -> None:
        with self.held_by_process(path, "BEGIN IMMEDIATE"), pytest.raises(DatabaseBusy):
            db.execute("INSERT INTO t (id) VALUES (1)")
        db.execute("INSERT INTO t (id) VALUES (1)")

    def test_read_only(self, db: Connection, path: Path) -> None:
        db.execute("INSERT INTO t (id) VALUES (1)")
        with self.opened(path, read_only=True) as reader:
            assert reader.execute("SELECT id FROM t") == [(1,)]
            with pytest.raises(DatabaseReadOnly) as caught:
                reader.execute("DELETE FROM t")
            assert caught.value.code == "database_read_only"

    @pytest.mark.parametrize("options", [{"read_only": True}, {"create": False}])
    def test_a_missing_file_is_not_made_unless_asked(
        self, path: Path, options: dict[str, bool]
    ) -> None:
        with pytest.raises(DatabaseReadOnly), self.opened(path, **options):
            pass
        assert not path.exists()

    def test_a_missing_directory(self, path: Path) -> None:
        with pytest.raises(DatabaseReadOnly), self.opened(path / "no" / "such.db"):
            pass

    def test_not_a_database(self, path: Path) -> None:
        path.write_bytes(b"This is a letter, not a database. " * 100)
        with pytest.raises(DatabaseCorrupt) as caught, self.opened(path) as connection:
            connection.execute("SELECT * FROM sqlite_schema")
        assert caught.value.code == "database_corrupt"
        assert path.read_bytes().startswith(b"This is a letter")

    def test_a_damaged_page(self, path: Path) -> None:
        with self.opened(path) as connection:
            connection.execute("CREATE TABLE t (a TEXT) STRICT")
            connection.executemany("INSERT INTO t VALUES (?)", [("x" * 900,)] * 200)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            size = file.seek(0, 2)
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))
        with self.opened(path) as connection, pytest.raises(DatabaseCorrupt):
            connection.execute("SELECT count(a) FROM t")

    def test_disk_full_fails_whole(self, db: Connection) -> None:
        ((pages,),) = db.execute("PRAGMA page_count")
        assert isinstance(pages, int)
        db.execute(f"PRAGMA max_page_count = {pages + 4}")
        with pytest.raises(DatabaseFull) as caught:
            db.executemany("INSERT INTO t (b) VALUES (?)", [("z" * 50_000,)])
        assert caught.value.code == "database_full"
        if db.in_transaction:
            db.execute("ROLLBACK")
        assert db.execute("SELECT count(*) FROM t") == [(0,)]
        db.execute("PRAGMA max_page_count = 1000000")
        db.execute("INSERT INTO t (b) VALUES (?)", ("z" * 50_000,))

    # --- options --------------------------------------------------------------------------------

    @pytest.mark.parametrize(("name", "number"), [("FULL", 2), ("NORMAL", 1), ("OFF", 0)])
    def test_synchronous(self, path: Path, name: str, number: int) -> None:
        with self.opened(path, synchronous=name) as connection:
            assert connection.execute("PRAGMA synchronous") == [(number,)]

    def test_full_sync_and_foreign_keys_are_the_default(self, path: Path) -> None:
        with self.opened(path) as connection:
            assert connection.execute("PRAGMA synchronous") == [(2,)]
            assert connection.execute("PRAGMA foreign_keys") == [(1,)]

    def test_wal_only_where_it_is_safe(self, db: Connection) -> None:
        wal = self.make().sqlite_version >= WAL_SAFE_SINCE
        assert db.execute("PRAGMA journal_mode") == [("wal" if wal else "delete",)]

    def test_the_version_is_the_librarys(self, db: Connection) -> None:
        version = ".".join(str(part) for part in self.make().sqlite_version)
        assert db.execute("SELECT sqlite_version()") == [(version,)]

    def test_data_version_moves_with_the_writes_of_others_only(
        self, db: Connection, path: Path
    ) -> None:
        before = db.execute("PRAGMA data_version")
        db.execute("INSERT INTO t (id) VALUES (1)")
        assert db.execute("PRAGMA data_version") == before
        with self.held_by_process(path, "INSERT INTO t (id) VALUES (2)"):
            assert db.execute("PRAGMA data_version") != before

    # --- what capture relies on -----------------------------------------------------------------

    @pytest.mark.parametrize(
        "statement",
        ["INSERT OR REPLACE INTO t (id, a) VALUES (1, 'new')", "UPDATE OR REPLACE t SET a = 'new'"],
    )
    def test_an_outer_or_replace_leaves_upserts_in_triggers_alone(
        self, db: Connection, statement: str
    ) -> None:
        db.script(
            "CREATE TABLE note (id INTEGER PRIMARY KEY, first TEXT, last TEXT) STRICT;"
            "INSERT INTO t (id, a) VALUES (1, 'old');"
            "INSERT INTO note VALUES (1, 'kept', 'old');"
        )
        for event in ("BEFORE INSERT", "AFTER INSERT", "BEFORE UPDATE", "AFTER UPDATE"):
            db.execute(
                f'CREATE TRIGGER "{event}" {event} ON t BEGIN INSERT INTO note (id, first, last) '
                "VALUES (NEW.id, 'lost', NEW.a) ON CONFLICT (id) DO UPDATE SET last = NEW.a; END"
            )
        db.execute(statement)
        assert db.execute("SELECT * FROM note") == [(1, "kept", "new")]

    # --- two libraries --------------------------------------------------------------------------

    def _second_library(self) -> Driver:
        other = self.other()
        if other is None:
            pytest.skip("there is no second SQLite library to mix with")
        return other

    def test_another_library_on_an_open_file_is_refused(self, db: Connection, path: Path) -> None:
        other = self._second_library()
        alias = path.with_name("alias.db")
        alias.symlink_to(path)
        for name in (path, alias):
            with pytest.raises(DatabaseError) as caught:
                other.connect(str(name), OpenOptions())
            assert caught.value.code == "mixed_sqlite_libraries"
        db.execute("INSERT INTO t (id) VALUES (1)")

    def test_another_library_may_open_it_afterwards(self, path: Path) -> None:
        other = self._second_library()
        with ExitStack() as stack:
            stack.enter_context(self.opened(path)).execute("CREATE TABLE t (a) ")
            with self.opened(path), pytest.raises(DatabaseError):
                other.connect(str(path), OpenOptions())
            with pytest.raises(DatabaseError):
                other.connect(str(path), OpenOptions())
        with closing(other.connect(str(path), OpenOptions())) as second:
            assert second.execute("SELECT * FROM t") == []
            with pytest.raises(DatabaseError) as caught:
                self.make().connect(str(path), OpenOptions())
            assert caught.value.code == "mixed_sqlite_libraries"
        with self.opened(path) as again:
            again.execute("DROP TABLE t")

    def test_a_file_replaced_while_open_is_another_file(self, path: Path) -> None:
        other = self._second_library()
        with self.opened(path):
            path.rename(path.with_name("moved.db"))
            with closing(other.connect(str(path), OpenOptions())):
                with self.opened(path.with_name("moved.db")):
                    pass
                with pytest.raises(DatabaseError):
                    self.make().connect(str(path), OpenOptions())
            with pytest.raises(DatabaseError):
                other.connect(str(path.with_name("moved.db")), OpenOptions())

    def test_python_s_own_sqlite3_on_the_same_file(self, path: Path) -> None:
        """The library that is Python's own may share it; any other is refused."""
        own = self.make().sqlite_version == sqlite3.sqlite_version_info
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("CREATE TABLE t (a)")
            if own:
                with self.opened(path) as connection:
                    assert connection.execute("SELECT * FROM t") == []
                return
            with pytest.raises(DatabaseError) as caught:
                self.make().connect(str(path), OpenOptions())
            assert caught.value.code == "mixed_sqlite_libraries"
        with self.opened(path) as connection:
            assert connection.execute("SELECT * FROM t") == []
