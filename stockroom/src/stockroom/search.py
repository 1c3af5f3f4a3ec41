"""Search as one types: local indexes of the catalogue, kept by triggers.

Knows: which words find a product. Must not know: how a search is shown. Never synced; it follows
whoever writes: the app, news from the server, a repair. Accents and case do not count, words may
come in any order, and the beginning of a word finds it. What goods are called (`words`) is apart
from where they stand and who sends them (`place`): the former is what is meant first. Barcodes are
found by the index that their key has anyway: as words they would be most of a full-text index, and
each would be written twice; notes of deliveries by the movements and drafts that have them.
`search_word` has every word that a name ever had, of goods and of suppliers, so that a slip of the
finger can be compared with what there is; it never shrinks, which costs nothing but a suggestion
that leads nowhere.
"""

from __future__ import annotations

from typing import Final

# An upsert, not OR REPLACE: an outer OR clause would override the latter inside a trigger.
_INDEX: Final = (
    "INSERT INTO product_words (product_id, words, place) VALUES (NEW.id, "
    "NEW.name || ' ' || NEW.sku, NEW.shelf || ' ' || "
    "coalesce((SELECT s.name FROM supplier AS s WHERE s.id = NEW.supplier_id), '')) "
    "ON CONFLICT (product_id) DO UPDATE SET words = excluded.words, place = excluded.place;"
)
# A supplier that has come after its goods, or is called otherwise now.
_INDEX_SUPPLIED: Final = (
    "UPDATE product_words SET place = (SELECT p.shelf || ' ' || NEW.name FROM product AS p "
    "WHERE p.id = product_words.product_id) "
    "WHERE product_id IN (SELECT p.id FROM product AS p WHERE p.supplier_id = NEW.id);"
)
# A name split at its spaces, by way of a JSON array: triggers have no loops.
_LEARN: Final = (
    "INSERT INTO search_word (word) SELECT value "
    """FROM json_each('[' || replace(json_quote(NEW.name), ' ', '","') || ']') """
    "WHERE value <> '' ON CONFLICT (word) DO NOTHING;"
)


def _trigger(name: str, event: str, body: str) -> str:
    return f"CREATE TRIGGER {name} AFTER {event} BEGIN {body} END"


_TAKE_OUT: Final = (
    "INSERT INTO product_search (product_search, rowid, words, place) "
    "VALUES ('delete', OLD.n, OLD.words, OLD.place);"
)
_PUT_IN: Final = (
    "INSERT INTO product_search (rowid, words, place) VALUES (NEW.n, NEW.words, NEW.place);"
)

_TABLE: Final = (
    "CREATE TABLE product_words (n INTEGER PRIMARY KEY, product_id TEXT NOT NULL UNIQUE, "
    "words TEXT NOT NULL, place TEXT NOT NULL) STRICT"
)
_FULL_TEXT: Final = (
    "CREATE VIRTUAL TABLE product_search USING fts5(words, place, content='product_words', "
    "content_rowid='n', tokenize='unicode61 remove_diacritics 2')"
)

SEARCH_SQL: Final = (
    _TABLE,
    _FULL_TEXT,
    "CREATE TABLE search_word (word TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    _trigger("product_words_insert", "INSERT ON product_words", _PUT_IN),
    _trigger("product_words_delete", "DELETE ON product_words", _TAKE_OUT),
    _trigger("product_words_update", "UPDATE ON product_words", f"{_TAKE_OUT} {_PUT_IN}"),
    _trigger("product_search_insert", "INSERT ON product", f"{_INDEX} {_LEARN}"),
    _trigger(
        "product_search_update",
        "UPDATE OF name, sku, shelf, supplier_id ON product",
        f"{_INDEX} {_LEARN}",
    ),
    _trigger("supplier_search_insert", "INSERT ON supplier", f"{_INDEX_SUPPLIED} {_LEARN}"),
    _trigger("supplier_search_update", "UPDATE OF name ON supplier", f"{_INDEX_SUPPLIED} {_LEARN}"),
    _trigger(
        "product_search_delete",
        "DELETE ON product",
        "DELETE FROM product_words WHERE product_id = OLD.id;",
    ),
    # The list of products in its order, page by page, and the codes of one product.
    "CREATE INDEX product_in_order ON product (archived, name COLLATE NOCASE, id)",
    "CREATE INDEX product_in_category ON product (archived, category_id)",
    "CREATE INDEX product_supplied ON product (supplier_id) WHERE supplier_id IS NOT NULL",
    # Notes of drafts; those of what was booked are with its movements.
    "CREATE INDEX delivery_note ON delivery (document COLLATE NOCASE) WHERE document <> ''",
    "CREATE INDEX barcode_product ON barcode (product_id)",
    # The ledger of a product, and what happened at a store, the newest first.
    "CREATE INDEX movement_product ON movement (product_id, store_id, occurred_at)",
    "CREATE INDEX movement_history ON movement (store_id, occurred_at)",
    # Whether an entry was undone: few entries undo another.
    "CREATE INDEX movement_reverses ON movement (reverses) WHERE reverses IS NOT NULL",
)
"""Part of the schema's `local` SQL: one statement each, run once when a replica is made."""
