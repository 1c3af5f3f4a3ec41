"""JSON Schema of the messages, of a schema and of a replica program, from Python's types.

`make protocol` writes `protocol/schema/`; a test compares it with what this would write now.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from holdfast.protocol.enrolment import (
    Enrolled,
    EnrolRequest,
    InviteRequest,
    RefreshRequest,
    RevokeRequest,
    SignOutRequest,
)
from holdfast.protocol.messages import ErrorAnswer, ExchangeRequest, Line, VerifyRequest
from holdfast.protocol.version import PROTOCOL
from holdfast.sql.replica import PROGRAM_FORMAT, ReplicaProgram

FOLDER = Path(__file__).resolve().parents[1] / "protocol" / "schema"


def _document(title: str, version: int, types: dict[str, Any]) -> str:
    heads, components = msgspec.json.schema_components(
        list(types.values()), ref_template="#/$defs/{name}"
    )
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "version": version,
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in types],
        "$defs": dict(sorted((components | dict(zip(types, heads, strict=True))).items())),
    }
    for name, head in zip(types, heads, strict=True):
        if head == {"$ref": f"#/$defs/{name}"}:  # a struct is a component already
            document["$defs"][name] = components[name]
    return json.dumps(_plain(document), indent=2, ensure_ascii=False) + "\n"


def _plain(part: Any) -> Any:
    """Descriptions without the line breaks and marks of docstrings."""
    if isinstance(part, dict):
        return {
            key: " ".join(value.replace("``", "`").split())
            if key == "description" and isinstance(value, str)
            else _plain(value)
            for key, value in part.items()
        }
    return [_plain(item) for item in part] if isinstance(part, list) else part


def documents() -> dict[str, str]:
    """By file name, what `protocol/schema/` should hold."""
    return {
        "messages.json": _document(
            "Holdfast messages",
            PROTOCOL,
            {
                "ExchangeRequest": ExchangeRequest,
                "VerifyRequest": VerifyRequest,
                "Line": Line,
                "ErrorAnswer": ErrorAnswer,
                "EnrolRequest": EnrolRequest,
                "RefreshRequest": RefreshRequest,
                "Enrolled": Enrolled,
                "InviteRequest": InviteRequest,
                "RevokeRequest": RevokeRequest,
                "SignOutRequest": SignOutRequest,
            },
        ),
        "program.json": _document(
            "Holdfast replica program", PROGRAM_FORMAT, {"ReplicaProgram": ReplicaProgram}
        ),
    }


def main() -> int:
    """Write what has changed; with `--check` only say so."""
    check = "--check" in sys.argv
    stale = 0
    for name, text in documents().items():
        path = FOLDER / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if not check:
            path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(FOLDER.parents[1])}: {'stale' if check else 'written'}")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
