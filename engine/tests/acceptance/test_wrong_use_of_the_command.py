"""Wrong use of the command: exit code 2 (1 where work failed), a helpful message, nothing made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast.testing import free_port

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance

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


def test_wrong_use_is_told_with_exit_code_two(world: World) -> None:
    replica = world.device("a", "token-a", met=False)
    empty = world.path / "empty"
    empty.touch()
    names = {
        "REPLICA": replica.file, "MISSING": world.path / "missing", "NEW": world.path / "new.db",
        "OTHER": world.path / "other.db", "DIRECTORY": world.path, "SCHEMA": world.schema,
        "TOKEN": replica.token_file, "TOKENS": world.tokens, "URL": world.url,
        "TAKEN": world.port, "EMPTY": empty,
    }  # fmt: skip
    commands = [[str(names.get(word, word)) for word in words] for words in WRONG_USES]
    ran = _all(world, commands)
    codes = {" ".join(words): code for words, (code, _, _) in zip(WRONG_USES, ran, strict=True)}
    assert {text: code for text, code in codes.items() if code != 2} == {}
    for words, (_, out, err) in zip(WRONG_USES, ran, strict=True):
        assert (err or out).strip(), words
        assert "Traceback" not in err, (words, err)
    assert not (world.path / "new.db").exists()
    assert not (world.path / "missing").exists()


def test_a_file_that_is_no_database_is_left_as_it_is(world: World) -> None:
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


def test_a_failed_command_with_json_still_ends_with_one_document(world: World) -> None:
    a = world.device("a", "token-a", url=f"http://127.0.0.1:{free_port()}", met=False)
    a.shell("INSERT INTO stock (sku) VALUES ('screw')")
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
        assert document["error"].keys() - {"way_out"} == {"code", "message"}
        assert err.strip()
    assert codes == [1, 1, 2, 2]
    status = a.status()
    assert status["pending"] + status["sent"] == 1


def _all(world: World, commands: list[list[str]]) -> list[tuple[int, str, str]]:
    """Run each command in a process of its own: exit code, stdout, stderr.

    The processes are forks of one that has imported the command already, and has been used in a
    wrong way itself, for what is only imported then: starting takes longest.
    """
    fork = """
import contextlib, io, json, os, sys
import holdfast.cli.server.host, holdfast.replica.replica, holdfast.schema.load
import holdfast.server.assembly, holdfast.server.run
from holdfast.cli.app import main
base = sys.argv[1]
for words in (["nonsense"], ["status", "/no/such/file", "--json"]):
    told = io.StringIO()
    with (contextlib.redirect_stdout(told), contextlib.redirect_stderr(told),
          contextlib.suppress(SystemExit)):
        sys.argv[1:], given = words, sys.argv[1:]
        main()
    sys.argv[1:] = given
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
        capture_output=True, text=True, timeout=280, check=True,
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
