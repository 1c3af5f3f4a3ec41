"""Search as one types: a local full-text index of the catalogue, kept by triggers.

Knows: which words find a product. Must not know: how a search is shown. Never synced; it follows
whoever writes: the app, news from the server, a repair. Accents and case do not count, words may
come in any order, and the beginning of a word finds it.
"""

from __future__ import annotations

from typing import Final

_WORDS: Final = (
    "p.name || ' ' || p.sku || coalesce((SELECT ' ' || group_concat(code, ' ') FROM barcode "
    "WHERE product_id = p.id), '')"
)


def _index(product: str) -> str:
    # An upsert, not OR REPLACE: an outer OR clause would override the latter inside a trigger.
    return (
        f"INSERT INTO product_words (product_id, words) SELECT p.id, {_WORDS} FROM product AS p "
        f"WHERE p.id = {product} ON CONFLICT (product_id) DO UPDATE SET words = excluded.words;"
    )


def _trigger(name: str, event: str, body: str) -> str:
    return f"CREATE TRIGGER {name} AFTER {event} BEGIN {body} END"


_TAKE_OUT: Final = (
    "INSERT INTO product_search (product_search, rowid, words) VALUES ('delete', OLD.n, OLD.words);"
)
_PUT_IN: Final = "INSERT INTO product_search (rowid, words) VALUES (NEW.n, NEW.words);"

_TABLE: Final = (
    "CREATE TABLE product_words (n INTEGER PRIMARY KEY, product_id TEXT NOT NULL UNIQUE, "
    "words TEXT NOT NULL) STRICT"
)
_INDEX: Final = (
    "CREATE VIRTUAL TABLE product_search USING fts5(words, content='product_words', "
    "content_rowid='n', tokenize='unicode61 remove_diacritics 2')"
)

SEARCH_SQL: Final = (
    _TABLE,
    _INDEX,
    _trigger("product_words_insert", "INSERT ON product_words", _PUT_IN),
    _trigger("product_words_delete", "DELETE ON product_words", _TAKE_OUT),
    _trigger("product_words_update", "UPDATE ON product_words", f"{_TAKE_OUT} {_PUT_IN}"),
    _trigger("product_search_insert", "INSERT ON product", _index("NEW.id")),
    _trigger("product_search_update", "UPDATE OF name, sku ON product", _index("NEW.id")),
    _trigger(
        "product_search_delete",
        "DELETE ON product",
        "DELETE FROM product_words WHERE product_id = OLD.id;",
    ),
    _trigger("barcode_search_insert", "INSERT ON barcode", _index("NEW.product_id")),
    _trigger(
        "barcode_search_update",
        "UPDATE ON barcode",
        f"{_index('OLD.product_id')} {_index('NEW.product_id')}",
    ),
    _trigger("barcode_search_delete", "DELETE ON barcode", _index("OLD.product_id")),
    # The list of products in its order, page by page, and the codes of one product.
    "CREATE INDEX product_in_order ON product (archived, name COLLATE NOCASE, id)",
    "CREATE INDEX barcode_product ON barcode (product_id)",
    "CREATE INDEX movement_product ON movement (product_id, store_id, occurred_at)",
    "CREATE INDEX movement_history ON movement (store_id, occurred_at)",
)
"""Part of the schema's `local` SQL: one statement each, run once when a replica is made."""
