"""The schema of the messages, and the types made from it, are those of the code."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from protocol_schema import FOLDER, documents
from protocol_types import TARGET, modules

from holdfast.protocol.version import PROTOCOL

DECIDED = {
    # Not released yet: what is added to version 1 until then changes this line, not the number.
    1: "19e366c105a0b473",
}
"""By number of the protocol: the hash of its messages. A change of their shape fails here and asks:
can every peer of this number still be understood? If not, `protocol/version.py` gets a new one."""


@pytest.mark.parametrize("name", sorted(documents()))
def test_schema_is_up_to_date(name: Any) -> None:
    stored = (FOLDER / name).read_text(encoding="utf-8")
    assert stored == documents()[name], f"protocol/schema/{name} is stale: run make protocol"


@pytest.mark.parametrize("name", sorted(modules()))
def test_typescript_is_up_to_date(name: Any) -> None:
    stored = (TARGET / name).read_text(encoding="utf-8")
    assert stored == modules()[name], f"browser/src/protocol/{name} is stale: run make protocol"


def test_a_change_of_the_messages_is_a_decision_about_the_version() -> None:
    shape = json.loads((FOLDER / "messages.json").read_text(encoding="utf-8"))
    assert shape["version"] == PROTOCOL
    text = json.dumps(_without_words(shape["$defs"]), sort_keys=True)
    assert DECIDED[PROTOCOL] == hashlib.sha256(text.encode()).hexdigest()[:16], (
        "the shape of the messages has changed; see DECIDED"
    )


def _without_words(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: {name: _without_words(inner) for name, inner in value.items()}
            if key == "properties"
            else _without_words(value)
            for key, value in part.items()
            if key not in ("description", "title")
        }
    return [_without_words(item) for item in part] if isinstance(part, list) else part
