"""Defaults as one writes them in Python: they become the wire form, which a schema's JSON has.

Knows: types and values. Must not know: tables. What is in the wire form already stays as it is;
what is neither is left for the check of the schema to refuse.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from holdfast.core import values

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def wire_default(type_name: str, default: Any, *, scale: int) -> Any:
    """The wire form of a default. Raises ``BadValue`` when it does not fit its type."""
    if default is None or isinstance(default, bool):
        return "true" if default and type_name == "json" else default
    match type_name:
        case "integer" if isinstance(default, int):
            return values.to_wire(type_name, values.check(type_name, default))
        case "timestamp" if isinstance(default, int):
            return values.to_wire(type_name, values.check(type_name, default))
        case "timestamp" if isinstance(default, datetime) and default.tzinfo is not None:
            return str((default - _EPOCH) // timedelta(microseconds=1))
        case "date" if isinstance(default, date) and not isinstance(default, datetime):
            return default.isoformat()
        case "decimal" if isinstance(default, (int, Decimal)):
            return values.check(type_name, format(Decimal(default), "f"), scale=scale)
        case "uuid" if isinstance(default, UUID):
            return str(default)
        case "bytes" if isinstance(default, (bytes, bytearray, memoryview)):
            return values.to_wire(type_name, bytes(default))
        case "json" if not isinstance(default, str):
            return _json(default)
    return default


def _json(default: Any) -> Any:
    try:
        return json.dumps(default, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):
        return default
