"""Schemas as data."""

from holdfast.schema.model import (
    CONFLICT_TABLE,
    Check,
    Column,
    ForeignKey,
    Schema,
    Table,
)

__all__ = ["CONFLICT_TABLE", "Check", "Column", "ForeignKey", "Schema", "Table"]
