"""The counter example: plain `sqlite3` on two replicas, and the command as its contract has it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.testing import free_port, wait_until

pytestmark = pytest.mark.acceptance

STATUS_FIELDS = {
    "state", "pending", "sent", "held", "refused", "conflicts", "verified_at", "retry_at",
    "clock_offset_ms",
}  # fmt: skip
CONFLICT_FIELDS = {
    "id", "table", "key", "column", "base", "mine", "theirs", "user", "device", "at",
}  # fmt: skip
SCREW = "INSERT INTO stock (sku, name, price, on_hand) VALUES ('screw', 'Screw', 100, 10)"


def test_two_offline_decrements_of_ten_end_at_eight_everywhere(world) -> None:
    made = world.holdfast(
        "init", world.path / "a.db", "--schema", world.schema, "--server", world.url,
        "--token-file", _token(world, "token-a"), "--json",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert made.document["device"] == "device-a"
    a = world.device("a", "token-a")
    b = world.device("b", "token-b")
    a.shell(SCREW)
    assert a.cli("sync", "--json").document["ok"] is True
    b.sync()
    world.server.kill()

    for device in (a, b):
        device.shell("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'screw'")
    failed = a.cli("sync", "--json")
    assert failed.code == 1
    assert failed.document["error"]["code"]
    assert failed.err.strip()
    status = b.cli("status", "--json")
    assert status.code == 0
    assert status.document.keys() >= STATUS_FIELDS
    assert (status.document["pending"], status.document["state"]) == (1, "offline")

    world.serve()
    for device in (a, b, a):
        device.sync()
    assert a.cli("verify", "--json").document["ok"] is True
    assert [device.query("SELECT on_hand FROM stock") for device in (a, b)] == [[(8,)], [(8,)]]
    world.check_equal(a, b)


def test_a_price_conflict_is_settled_offline_on_the_other_device(world) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    a.shell(SCREW)
    a.sync()
    b.sync()
    a.shell("UPDATE stock SET price = 110, name = 'Screw M4'")
    b.shell("UPDATE stock SET price = 120, name = 'Screw M5'")
    for device in (a, b, a):
        device.sync()

    # Both edits stand where they can: the later name, the first price, and a question about it.
    told = a.cli("conflicts", "--json")
    assert told.code == 0
    assert told.document.keys() == {"conflicts"}
    (conflict,) = told.document["conflicts"]
    assert conflict.keys() >= CONFLICT_FIELDS
    assert conflict["table"], conflict["key"] == ("stock", "screw")
    assert (conflict["column"], conflict["base"]) == ("price", 100)
    assert (conflict["mine"], conflict["theirs"]) == (120, 110)
    assert (conflict["user"], conflict["device"]) == ("ben", "device-b")
    assert a.query("SELECT name, price FROM stock") == [("Screw M5", 110)]

    world.server.kill()
    wrong = a.cli("resolve", conflict["id"], "--set", "cheap", "--json")
    assert (wrong.code, wrong.document["error"]["code"]) == (2, "bad_value")
    settled = a.cli("resolve", conflict["id"], "--set", "115", "--json")
    assert (settled.code, settled.document["ok"]) == (0, True)
    assert a.query("SELECT price FROM stock") == [(115,)]
    assert a.cli("conflicts", "--json").document == {"conflicts": []}
    again = a.cli("resolve", conflict["id"], "--keep", "mine", "--json")
    assert (again.code, again.document["error"]["code"]) == (2, "no_conflict")

    world.serve()
    for device in (a, b):
        device.sync()
    assert b.query("SELECT price FROM stock") == [(115,)]
    assert b.status()["conflicts"] == 0
    world.check_equal(a, b)
    world.check_equal(a, b, table="holdfast_conflict")


def test_keep_takes_either_side(world) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    a.shell(SCREW + ", ('nut', 'Nut', 100, 10)")
    a.sync()
    b.sync()
    a.shell("UPDATE stock SET price = 110")
    b.shell("UPDATE stock SET price = 120")
    for device in (a, b):
        device.sync()
    found = {item.key: item.id for item in _conflicts(b)}
    with b.opened() as replica:
        replica.resolve(found["screw"], keep="mine")
    assert b.cli("resolve", found["nut"], "--keep", "theirs").code == 0
    for device in (b, a):
        device.sync()
    assert a.query("SELECT sku, price FROM stock ORDER BY 1") == [("nut", 110), ("screw", 120)]
    world.check_equal(a, b)


def _conflicts(device):
    with device.opened() as replica:
        return replica.conflicts()


def _token(world, token: str):
    path = world.path / "init.token"
    path.write_text(token)
    return path


WRONG_USES = (
    (),
    ("nonsense",),
    ("status",),
    ("status", "MISSING"),
    ("status", "REPLICA", "--nonsense"),
    ("status", "DIRECTORY"),
    ("sync", "MISSING"),
    ("resolve", "REPLICA"),
    ("resolve", "REPLICA", "no-such-id"),
    ("resolve", "REPLICA", "no-such-id", "--keep", "ours"),
    ("resolve", "REPLICA", "no-such-id", "--keep", "mine", "--set", "1"),
    ("resolve", "REPLICA", "no-such-id", "--keep", "mine"),
    ("retry", "REPLICA", "no-such-id"),
    ("retry", "REPLICA", "99999999999999999999999"),
    ("discard", "REPLICA", ""),
    ("run", "REPLICA", "--backoff-max", "0"),
    ("run", "REPLICA", "--backoff-max", "nan"),
    ("run", "REPLICA", "--poll", "inf"),
    ("run", "REPLICA", "--backoff-max", "soon"),
    ("init", "NEW", "--schema", "SCHEMA", "--server", "ftp://x", "--token-file", "TOKEN"),
    ("init", "NEW", "--schema", "SCHEMA", "--server", "http://", "--token-file", "TOKEN"),
    ("init", "NEW", "--schema", "SCHEMA", "--server", "URL", "--token-file", "MISSING"),
    ("init", "NEW", "--schema", "SCHEMA", "--server", "localhost:80", "--token-file", "TOKEN"),
    ("init", "NEW", "--schema", "SCHEMA", "--server", "URL", "--token-file", "EMPTY"),
    ("init", "NEW", "--schema", "MISSING", "--server", "URL", "--token-file", "TOKEN"),
    ("init", "NEW", "--schema", "no.such:thing", "--server", "URL", "--token-file", "TOKEN"),
    ("init", "NEW", "--schema", "TOKEN", "--server", "URL", "--token-file", "TOKEN"),
    ("init", "REPLICA", "--schema", "SCHEMA", "--server", "URL", "--token-file", "TOKEN"),
    ("init", "NEW", "--schema", "SCHEMA", "--server", "URL"),
    ("serve", "--schema", "SCHEMA", "--database", "NEW", "--tokens", "MISSING"),
    ("serve", "--schema", "SCHEMA", "--database", "NEW", "--tokens", "SCHEMA"),
    ("serve", "--schema", "MISSING", "--database", "NEW", "--tokens", "TOKENS"),
    ("serve", "--schema", "SCHEMA", "--database", "NEW", "--tokens", "TOKENS", "--port", "70000"),
    ("serve", "--port", "TAKEN", "--schema", "SCHEMA", "--database", "OTHER", "--tokens", "TOKENS"),
)


def test_wrong_use_is_told_with_exit_code_two(world) -> None:
    replica = world.device("a", "token-a", met=False)
    names = {
        "REPLICA": replica.file, "MISSING": world.path / "missing", "NEW": world.path / "new.db",
        "OTHER": world.path / "other.db", "DIRECTORY": world.path, "SCHEMA": world.schema,
        "TOKEN": replica.token_file, "TOKENS": world.tokens, "URL": world.url,
        "TAKEN": world.port, "EMPTY": world.path / "empty",
    }  # fmt: skip
    names["EMPTY"].touch()
    commands = [[str(names.get(word, word)) for word in words] for words in WRONG_USES]
    ran = _all(world, commands)
    codes = {" ".join(words): code for words, (code, _, _) in zip(WRONG_USES, ran, strict=True)}
    assert {text: code for text, code in codes.items() if code != 2} == {}
    for words, (_, out, err) in zip(WRONG_USES, ran, strict=True):
        assert (err or out).strip(), words
        assert "Traceback" not in err, (words, err)
    assert not (world.path / "new.db").exists()
    assert not (world.path / "missing").exists()


def test_a_file_that_is_no_database_is_left_as_it_is(world) -> None:
    junk = world.path / "junk.db"
    junk.write_bytes(b"this is no database, whatever its name says\n" * 100)
    before = junk.read_bytes()
    commands = [
        ["status", str(junk), "--json"],
        ["serve", "--schema", str(world.schema), "--database", str(junk),
         "--tokens", str(world.tokens)],
    ]  # fmt: skip
    for code, _, err in _all(world, commands):
        assert code == 1
        assert "database_corrupt" in err
        assert "Traceback" not in err
    assert junk.read_bytes() == before


def test_a_failed_command_with_json_still_ends_with_one_document(world) -> None:
    a = world.device("a", "token-a", url=f"http://127.0.0.1:{free_port()}", met=False)
    a.shell(SCREW)
    commands = [
        ["sync", str(a.file), "--json"],
        ["verify", str(a.file), "--json"],
        ["resolve", str(a.file), "x", "--keep", "mine", "--json"],
        ["sync", str(world.path / "missing"), "--json"],
    ]
    codes = []
    for code, out, err in _all(world, commands):
        codes.append(code)
        (line,) = out.splitlines()
        document = json.loads(line)
        assert document["ok"] is False
        assert document["error"].keys() == {"code", "message"}
        assert err.strip()
    assert codes == [1, 1, 2, 2]
    status = a.status()
    assert status["pending"] + status["sent"] == 1


def test_run_ends_with_exit_code_zero_and_one_document(world) -> None:
    a = world.device("a", "token-a")
    started = a.run("--json")
    wait_until(lambda: a.session().get("state") == "online", 10, "the background sync")
    assert started.terminate() == 0
    assert a.query("SELECT count(*) FROM stock") == [(0,)]


def _all(world, commands: list[list[str]]) -> list[tuple[int, str, str]]:
    """Run each command in a process of its own: exit code, stdout, stderr.

    The processes are forks of one that has imported the command already: starting takes longest.
    """
    fork = """
import json, os, sys
from holdfast.cli.app import main
base = sys.argv[1]
for number, words in enumerate(json.loads(sys.argv[2])):
    if (pid := os.fork()) == 0:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{base}.{number}.{name}", os.O_CREAT | os.O_WRONLY, 0o600), descriptor)
        sys.argv[1:] = words
        main()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
    base = world.path / "ran"
    done = subprocess.run(
        [sys.executable, "-c", fork, str(base), json.dumps(commands)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found = []
    for number, code in enumerate(done.stdout.split()):
        texts = [Path(f"{base}.{number}.{name}") for name in ("out", "err")]
        out, err = (path.read_text() for path in texts)
        for path in texts:
            path.unlink()
        found.append((int(code), out, err))
    assert len(found) == len(commands)
    return found
