from __future__ import annotations

from hashlib import blake2b

import app_schema

from holdfast.schema import Schema
from stockroom.schema import KINDS, schema

MANUAL_PRODUCT_COLUMNS = {"sku", "price", "cost", "currency", "unit", "archived"}

# A schema that has been on the main branch is that of somebody's shop: what is changed after it has
# the next generation, or no server and no device that exists can be opened any more.
GENERATION = 4
FINGERPRINT = "adc329ab99c9945e21d89923d0f232de"
LOCAL = "55e80d2ce5292ff2"


def test_a_schema_that_shops_have_is_not_changed_under_its_generation() -> None:
    local = blake2b("\0".join(schema.local).encode(), digest_size=8).hexdigest()
    found = (schema.generation, schema.fingerprint, local)
    assert found == (GENERATION, FINGERPRINT, LOCAL), (
        "raise the generation, then write it down here"
    )


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
