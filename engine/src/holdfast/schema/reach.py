"""Reach: what a foreign key tells a device about rows it may not read, as far as a schema says.

Knows: scope templates and foreign keys. Must not know: principals, or rows.
A device that may write a row reads all of its scopes. When one of them is always a scope of the
parent too, whoever writes the reference can read what it refers to, and there is nothing to look
up; when the parent's existence is public, anybody may know. Where a schema alone does not decide
it, the server looks at the parent's row.

Upholds I23.
"""

from __future__ import annotations

from holdfast.schema.model import ForeignKey, Schema, Table, template_columns


def parent_is_seen(schema: Schema, table: Table, foreign: ForeignKey) -> bool:
    """Return whether whoever may write a row of ``table`` may know of the parent it refers to."""
    parent = schema.by_name[foreign.table]
    return parent.existence_public or any(
        _as_written_by_child(parent, foreign, template) in table.scopes
        for template in parent.scopes
    )


def _as_written_by_child(parent: Table, foreign: ForeignKey, template: str) -> str:
    """A scope template of the parent in the columns of the child; empty when these do not say."""
    child_columns = dict(zip(parent.key, foreign.columns, strict=True))
    for name in template_columns(template):
        if name not in child_columns:
            return ""
        template = template.replace(f"{{{name}}}", f"\0{child_columns[name]}\1")
    return template.replace("\0", "{").replace("\1", "}")
