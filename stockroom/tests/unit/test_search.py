"""The local indexes of the catalogue follow whoever writes, and answer what the app asks them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import Replica
from holdfast.schema import Schema
from stockroom import catalogue, deliveries, stock, words
from stockroom.schema import schema

_WORDS_BEFORE = (
    "INSERT INTO product_words (product_id, words) VALUES (NEW.id, NEW.name || ' ' || NEW.sku) "
    "ON CONFLICT (product_id) DO UPDATE SET words = excluded.words;"
)
# The search of the release before: names and SKUs alone.
_LOCAL_BEFORE = (
    (
        "CREATE TABLE product_words (n INTEGER PRIMARY KEY, product_id TEXT NOT NULL UNIQUE, "
        "words TEXT NOT NULL) STRICT"
    ),
    (
        "CREATE VIRTUAL TABLE product_search USING fts5(words, content='product_words', "
        "content_rowid='n', tokenize='unicode61 remove_diacritics 2')"
    ),
    (
        "CREATE TRIGGER product_words_insert AFTER INSERT ON product_words BEGIN "
        "INSERT INTO product_search (rowid, words) VALUES (NEW.n, NEW.words); END"
    ),
    f"CREATE TRIGGER product_search_insert AFTER INSERT ON product BEGIN {_WORDS_BEFORE} END",
)

_SUPPLIER = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with Replica.open(tmp_path / "till.db", schema) as opened:
        yield opened


def found(replica: Replica, words: str) -> set[str]:
    rows = replica.query(
        "SELECT p.sku FROM product_search AS f JOIN product_words AS w ON w.n = f.rowid "
        "JOIN product AS p ON p.id = w.product_id WHERE f.words MATCH ?",
        (words,),
    )
    return {str(sku) for (sku,) in rows}


def learned(replica: Replica) -> set[str]:
    return {str(word) for (word,) in replica.query("SELECT word FROM search_word")}


def add(replica: Replica, sku: str, name: str) -> None:
    catalogue.add_product(replica, sku=sku, name=name)


def test_words_are_found_by_their_beginning_in_any_order_and_without_accents(
    replica: Replica,
) -> None:
    add(replica, "MUG-1", "Enamel mug, crème")
    add(replica, "JUG-1", "Enamel jug")
    assert found(replica, '"ena"*') == {"MUG-1", "JUG-1"}
    assert found(replica, '"creme"* "enam"*') == {"MUG-1"}
    assert found(replica, '"mug-1"*') == {"MUG-1"}
    assert found(replica, '"namel"*') == set()


def test_the_index_follows_edits_and_removals(replica: Replica) -> None:
    add(replica, "A", "Tea towel")
    catalogue.edit_product(replica, "A", {"name": "Dish cloth"})
    assert found(replica, '"tea"*') == set()
    assert found(replica, '"dish"*') == {"A"}
    catalogue.edit_product(replica, "A", {"sku": "B"})
    assert found(replica, '"b"') == {"B"}
    with replica.transaction() as db:
        db.execute("DELETE FROM product")
    assert found(replica, '"dish"*') == set()
    with replica.transaction() as db:
        db.execute("INSERT INTO product_search (product_search) VALUES ('integrity-check')")


def test_a_replaced_product_is_found_by_what_it_is_now(replica: Replica) -> None:
    add(replica, "A", "Tea towel")
    with replica.transaction() as db:
        (row,) = db.execute("SELECT id FROM product")
        db.execute("INSERT OR REPLACE INTO product (id, sku, name) VALUES (?, 'A', 'Apron')", row)
    assert found(replica, '"tea"*') == set()
    assert found(replica, '"apron"*') == {"A"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Enamel mug, cream", {"Enamel", "mug,", "cream"}),
        ('A "quoted" \\ back\\slash', {"A", '"quoted"', "\\", "back\\slash"}),
        ("two  spaces [1, 2]", {"two", "spaces", "[1,", "2]"}),
        ("tab\there", {"tab\there"}),
        ("\N{BULLET} ünï", {"\N{BULLET}", "ünï"}),
    ],
)
def test_every_word_of_a_name_is_learned_whatever_it_has_in_it(
    replica: Replica, name: str, words: set[str]
) -> None:
    add(replica, "A", name)
    assert learned(replica) == words
    add(replica, "B", name)
    assert learned(replica) == words


WORDS = json.loads((Path(__file__).parents[1] / "cases/words.json").read_text())


def test_words_are_understood_as_in_the_app() -> None:
    known = words.vocabulary(WORDS["names"])
    assert known == WORDS["vocabulary"]
    for case in WORDS["typed"]:
        typed = case["typed"]
        assert words.beginnings(typed) == case["beginnings"], typed
        assert words.meant(typed, known) == case["meant"], typed


def test_goods_are_found_by_their_shelf_their_supplier_and_their_note(replica: Replica) -> None:
    """Names come first; words of a name, a shelf and a supplier go together in any order."""
    for sku, name in (("MUG-1", "Enamel mug"), ("MUG-2", "Blue mug"), ("B4", "Kingfisher")):
        add(replica, sku, name)
    catalogue.edit_product(replica, "MUG-1", {"shelf": "B4-2 top"})
    product = catalogue.get_product(replica, "MUG-2").id
    # As the server's news may have it: goods before whoever sends them.
    with replica.transaction() as db:
        db.execute("UPDATE product SET supplier_id = ? WHERE id = ?", (_SUPPLIER, product))
        db.execute("INSERT INTO supplier (id, name) VALUES (?, 'Nørdlicht Émaille')", (_SUPPLIER,))

    def find(typed: str) -> list[str]:
        return [one.sku for one in catalogue.find_products(replica, typed)]

    assert find("b4") == ["B4", "MUG-1"]
    assert find("mug b4-2") == ["MUG-1"]
    assert find("emaille mug") == ["MUG-2"]
    assert find("emialle") == ["MUG-2"]
    with replica.transaction() as db:
        db.execute("UPDATE supplier SET name = 'Weaver & Daughters' WHERE id = ?", (_SUPPLIER,))
    assert find("weaver") == ["MUG-2"]
    assert find("emaille") == []
    catalogue.edit_product(replica, "MUG-1", {"shelf": ""})
    assert find("b4-2") == []

    place = stock.ensure_place(replica, "1")
    draft = deliveries.start(replica, place, document="LN-2041 / a")
    deliveries.count(replica, draft, product, deliveries.Counted(by=3))
    assert find("ln-20") == ["MUG-2"]
    deliveries.book(replica, place, draft)
    assert find("LN-2041 / A") == ["MUG-2"]
    assert find("ln") == []  # so little is no note
    with replica.transaction() as db:
        db.execute("INSERT INTO product_search (product_search) VALUES ('integrity-check')")


def test_a_device_of_the_release_before_finds_by_shelf_once_it_has_grown(tmp_path: Path) -> None:
    """Its index is made anew from what it has, and what waits on it goes on waiting."""
    before = Schema(name=schema.name, tables=schema.tables, generation=3, local=_LOCAL_BEFORE)
    file = tmp_path / "old.db"
    with Replica.open(file, before) as old, old.transaction() as db:
        db.execute("INSERT INTO supplier (id, name) VALUES (?, 'Weaver')", (_SUPPLIER,))
        db.execute(
            "INSERT INTO product (id, sku, name, shelf, supplier_id) "
            "VALUES (?, 'MUG-1', 'Enamel mug', 'B4', ?)",
            ("00000000-0000-4000-8000-000000000002", _SUPPLIER),
        )
    with Replica.open(file, schema) as grown:
        assert [one.sku for one in catalogue.find_products(grown, "weaver b4 mug")] == ["MUG-1"]
        assert grown.status.pending == 1


def test_what_the_app_finds_is_found(replica: Replica) -> None:
    for sku, name in (
        ("MUG-1", "Enamel mug, crème"), ("MUG-2", "Blue mug"), ("BIRD", "Kingfisher"),
        ("MU", "Lamp"), ("X-9", "Mug tree"),
    ):  # fmt: skip
        add(replica, sku, name)
    catalogue.edit_product(replica, "X-9", {}, barcodes=["2000000000015"])
    catalogue.edit_product(replica, "MUG-2", {"archived": 1})

    def find(typed: str) -> list[str]:
        return [product.sku for product in catalogue.find_products(replica, typed)]

    assert find("mu") == [
        "MU",
        "MUG-1",
        "X-9",
        "MUG-2",
    ]  # a whole code, beginnings, names, archived
    assert find("creme MUG") == ["MUG-1"]
    assert find("kingfihser") == ["BIRD"]
    assert find("ngfish") == ["BIRD"]
    assert find("2000000000015") == ["X-9"]
    assert find("00015") == ["X-9"]
    assert find("qqqqqq") == []
    assert find(" - ") == []
    assert catalogue.find_products(replica, "mug", limit=1) != []
