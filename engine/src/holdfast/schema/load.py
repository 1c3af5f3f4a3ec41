"""Finding a schema: a JSON file, or ``module:attribute``.

Knows: files and imports. Must not know: what a schema is for.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from holdfast.core.errors import SchemaError
from holdfast.schema.model import Schema


def load_schema(where: str) -> Schema:
    """The schema at ``where``. Raises ``SchemaError`` that says what was looked for."""
    module, colon, attribute = where.partition(":")
    path = Path(where)
    if path.is_file() or where.endswith(".json"):
        try:
            return Schema.from_json(path.read_bytes())
        except OSError as error:
            raise SchemaError(f"the schema file cannot be read: {error}") from None
    if not colon or not attribute:
        raise SchemaError(f"{where} is neither a schema file nor module:attribute")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SchemaError(f"no schema at {where}: {error}") from None
    if not isinstance(found, Schema):
        raise SchemaError(f"{where} is not a Schema")
    return found
