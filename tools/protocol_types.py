"""TypeScript types, and the schema itself as a module, from the JSON Schema in `protocol/schema/`.

Small on purpose: the generators there are turn `maxItems` into tuples and open objects into `{}`,
and what msgspec writes is a small part of JSON Schema. What is not known here is an error.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import made

SCHEMAS = made.ROOT / "protocol" / "schema"
TARGET = made.ROOT / "browser" / "src" / "protocol"
_PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean"}
_IGNORED = {"title", "description", "default", "discriminator", "pattern"}
_BOUNDS = {
    "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties",
    "propertyNames",
}  # fmt: skip


def _type(part: dict[str, Any]) -> str:
    keys = part.keys() - _IGNORED - _BOUNDS
    if not keys:
        return "unknown"
    if keys == {"$ref"}:
        return str(part["$ref"]).removeprefix("#/$defs/")
    if keys == {"anyOf"}:
        return " | ".join(_type(option) for option in part["anyOf"])
    if keys in ({"enum"}, {"const"}):
        part = {"enum": [part["const"]]} if "const" in part else part
        return " | ".join(json.dumps(value) for value in part["enum"])
    kind = part.get("type")
    if keys == {"type"} and kind in _PLAIN:
        return _PLAIN[kind]
    if keys == {"type"} and kind == "null":
        return "null"
    if kind == "array" and keys <= {"type", "items", "prefixItems"}:
        if "prefixItems" in part:  # no more and no fewer
            return f"readonly [{', '.join(_type(item) for item in part['prefixItems'])}]"
        inner = _type(part["items"]) if "items" in part else "unknown"
        return f"readonly {inner}[]" if inner.isidentifier() else f"readonly ({inner})[]"
    if kind == "object" and keys <= {"type", "additionalProperties"}:
        inner = part.get("additionalProperties", {})
        return f"Readonly<Record<string, {_type(inner)}>>"
    raise ValueError(f"not known how to write {part}")


def _comment(text: str | None, indent: str = "") -> str:
    return f"{indent}/** {text} */\n" if text else ""


def _definition(name: str, part: dict[str, Any]) -> str:
    if part.get("type") != "object" or "properties" not in part:
        return f"export type {name} = {_type(part)};\n"
    required = set(part.get("required", ()))
    fields = "".join(
        _comment(value.get("description"), "  ")
        + f"  readonly {field}{'' if field in required else '?'}: {_type(value)};\n"
        for field, value in part["properties"].items()
    )
    return f"{_comment(part.get('description'))}export interface {name} {{\n{fields}}}\n"


def modules() -> dict[str, str]:
    """By file name, what `browser/src/protocol/` should hold."""
    made: dict[str, str] = {}
    for path in sorted(SCHEMAS.glob("*.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        parts = [_definition(name, part) for name, part in schema["$defs"].items()]
        head = f"// Made by `make protocol` from protocol/schema/{path.name}; do not edit.\n"
        constant = f"export const VERSION = {schema['version']};\n"
        made[f"{path.stem}.generated.ts"] = "\n".join([head, constant, *parts])
        if path.stem == "messages":
            # The validator reads it; descriptions would only make the package larger.
            body = json.dumps(_bare(schema["$defs"]), separators=(",", ":"))
            made["messages.schema.generated.ts"] = (
                f"{head}\nexport const DEFINITIONS: Readonly<Record<string, unknown>> = {body};\n"
            )
    return made


def _bare(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: {name: _bare(inner) for name, inner in value.items()}
            if key == "properties"
            else _bare(value)
            for key, value in part.items()
            if key == "properties" or key not in {"title", "description", "default"}
        }
    return [_bare(item) for item in part] if isinstance(part, list) else part


if __name__ == "__main__":
    sys.exit(made.main(TARGET, modules()))
