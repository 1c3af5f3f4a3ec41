from __future__ import annotations

import app_schema

from holdfast.schema import Schema
from stockroom.schema import KINDS, schema

MANUAL_PRODUCT_COLUMNS = {"sku", "price", "cost", "currency", "unit", "archived"}


def test_the_json_form_is_the_same_schema() -> None:
    again = Schema.from_json(schema.to_json())
    assert again == schema
    assert again.fingerprint == schema.fingerprint


def test_the_web_app_has_the_same_schema_and_digits() -> None:
    for name, text in app_schema.modules().items():
        assert (app_schema.TARGET / name).read_text() == text, f"{name} is stale: run make protocol"


def test_who_shares_what() -> None:
    scopes = {table.name: table.scopes for table in schema.tables}
    for name in ("store", "location", "product", "barcode", "supplier", "category"):
        assert scopes[name] == ("catalog",)
    for name in ("movement", "question", "reorder_rule"):
        assert scopes[name] == ("store/{store_id}",)
    assert scopes["employee"] == ("staff",)


def test_a_person_decides_about_money_and_identity_of_a_product() -> None:
    manual = {c.name for c in schema.by_name["product"].columns if c.merge == "manual"}
    assert manual == MANUAL_PRODUCT_COLUMNS


def test_movements_know_where_and_when() -> None:
    movement = schema.by_name["movement"]
    assert movement.column_names[:2] == ("id", "product_id")
    assert movement.by_name["occurred_at"].corrected
    assert {key.table for key in movement.foreign_keys} == {"product", "location"}
    assert {"sale", "customer_return", "opening", "reversal"} <= set(KINDS)
