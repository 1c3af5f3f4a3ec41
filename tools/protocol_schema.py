"""JSON Schema of the messages, of a schema and of a replica program, from Python's types.

`make protocol` writes `protocol/schema/`; a test compares it with what this would write now.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from typing import Any

import made
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
from holdfast.sql.bookkeeping import gone, identity, statements, transactions, truth
from holdfast.sql.load import LoadProgram
from holdfast.sql.migration import program as migration
from holdfast.sql.replica import PROGRAM_FORMAT, Reference, ReplicaProgram, TableProgram

FOLDER = made.ROOT / "protocol" / "schema"


PROGRAM = (
    ReplicaProgram,
    TableProgram,
    LoadProgram,
    Reference,
    migration.MigrationProgram,
    migration.TableMigration,
    migration.ColumnReshaping,
    migration.ColumnMigration,
    migration.CheckPart,
    statements.Bookkeeping,
    transactions.TransactionStatements,
    statements.ConflictStatements,
    truth.RowStatements,
    truth.MemberStatements,
    truth.ScopeStatements,
    statements.StateStatements,
    identity.IdentityStatements,
    identity.KeptStatements,
    identity.EventStatements,
    gone.GoneStatements,
)
"""What a program is made of: always written whole, whatever has a default in Python."""


def _said(struct: type) -> dict[str, str]:
    """By field, the docstring below it."""
    (parsed,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    assert isinstance(parsed, ast.ClassDef)
    return {
        field.target.id: text.value.value
        for field, text in zip(parsed.body, parsed.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _document(
    title: str, version: int, types: dict[str, Any], *, whole: tuple[type, ...] = ()
) -> str:
    """``whole``: types whose fields are described, and all written."""
    heads, components = msgspec.json.schema_components(
        list(types.values()), ref_template="#/$defs/{name}"
    )
    document: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "version": version,
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in types],
        "$defs": dict(sorted((components | dict(zip(types, heads, strict=True))).items())),
    }
    for name, head in zip(types, heads, strict=True):
        if head == {"$ref": f"#/$defs/{name}"}:  # a struct is a component already
            document["$defs"][name] = components[name]
    for struct in whole:
        part = document["$defs"][struct.__name__]
        part["required"] = list(part["properties"])
        for field in part["properties"].values():
            field.pop("default", None)
        for name, text in _said(struct).items():
            part["properties"][name]["description"] = text
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
            "Holdfast replica program",
            PROGRAM_FORMAT,
            {"ReplicaProgram": ReplicaProgram},
            whole=PROGRAM,
        ),
    }


if __name__ == "__main__":
    sys.exit(made.main(FOLDER, documents()))
