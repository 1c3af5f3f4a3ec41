"""The replica exists in two languages, and a module has the same place and name in both.

Who knows a module in one language finds its twin in the other by its path. The lists below are the
exceptions, each with its reason; a module that is neither a twin nor listed fails this test, and so
does a listed one that is gone.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / "engine/src/holdfast"
TYPESCRIPT = ROOT / "browser/src"
PARTS = ("core", "replica")

ONLY_PYTHON = {
    "core/enrolment_codes": "a browser signs in with a password",
    "core/merging/cells": "the server alone merges",
    "core/merging/choosing": "the server alone merges",
    "core/merging/groups": "a browser needs two lines of it: `core/schema.ts`",
    "core/merging/merge": "the server alone merges",
    "core/merging/rows": "the server alone merges",
    "replica/changes/parts": "no other program writes into a browser's file",
    "replica/events/callbacks": "a browser's page is called by its event loop",
    "replica/events/change": "a browser's live queries ask again: `replica/liveQueries.ts`",
    "replica/events/recording": "a browser's one connection has SQLite's update hook",
    "replica/events/subscriptions": "its iterators wait in threads; a browser is called back",
    "replica/guards": "an event loop has no threads that could die unseen",
    "replica/http/bodies": "`fetch` unpacks bodies",
    "replica/http/sockets": "`fetch` has the sockets",
    "replica/identity/authority": "a browser trusts what its system trusts",
    "replica/identity/connect": "a browser talks to the origin it came from",
    "replica/identity/credentials": "a cookie that no script can read holds them",
    "replica/identity/enrolment": "a browser signs in with a password",
    "replica/inbox/choices": "in TypeScript part of `inbox`",
    "replica/inbox/decisions": "its verbs are methods of `replica/inbox/inbox.ts`",
    "replica/memory": "browser tests talk to a real server",
    "replica/salvage/export": "in TypeScript part of `salvage`",
    "replica/salvage/keeping": "OPFS keeps the bytes: `sqlite/damaged.ts`",
    "replica/salvage/sound_file": "the leader salvages: `tabs/leader.ts`",
    "replica/storage/lock": "Web Locks: `tabs/leader.ts`",
    "replica/storage/making": "OPFS makes a file whole by its pool",
    "replica/storage/place": "a browser's file has no place, and no copy that could be put back",
    "replica/sync_control": "one worker has the file: `tabs/leader.ts`",
    "replica/turn": "leaders wait for a Web Lock: `tabs/leader.ts`",
}
ONLY_TYPESCRIPT = {
    "core/schema": "Python's schema is a part of its own",
    "replica/app_values": "Python takes its own types as they are",
    "replica/changes/utf8": "Python's texts are checked by its codec",
    "replica/exchange/checkpoint": "in Python part of `exchanger`",
    "replica/exchange/report_memory": "in Python part of `exchanger`",
    "replica/exchange/store_answer": "in Python part of `exchanger`",
    "replica/live_queries": "Python apps ask again by themselves",
    "replica/mutex": "one connection serves app and sync; Python has one each",
    "replica/notifier": "tabs are told; Python calls back",
    "replica/progress_signal": "a silent worker would be taken for a dead one",
    "replica/rebase/wire_rows": "in Python part of `storage/members`",
    "replica/storage/completed_requests": "tabs ask across a channel that may break",
    "replica/migration/conflicts": "in Python `sql/migration/conflicts`",
    "replica/migration/difference": "in Python `schema/difference`",
    "replica/migration/lineage": "in Python `schema/lineage`",
    "replica/migration/reshaped_sql": "in Python `sql/migration/reshape`",
    "replica/storage/program": "Python compiles it: `sql/replica`",
}


def modules(root: Path, suffix: str) -> set[str]:
    """Return the paths of all modules in the shared parts, in Python's spelling."""
    found = set()
    for part in PARTS:
        for path in (root / part).rglob(f"*{suffix}"):
            name = path.relative_to(root).as_posix().removesuffix(suffix)
            if path.name != "__init__.py":
                found.add(re.sub("[A-Z]", lambda big: f"_{big[0].lower()}", name))
    assert found, f"no modules under {root}: has the layout changed?"
    return found


def test_a_module_of_python_has_its_twin_in_typescript() -> None:
    assert modules(PYTHON, ".py") - modules(TYPESCRIPT, ".ts") == set(ONLY_PYTHON)


def test_a_module_of_typescript_has_its_twin_in_python() -> None:
    assert modules(TYPESCRIPT, ".ts") - modules(PYTHON, ".py") == set(ONLY_TYPESCRIPT)
