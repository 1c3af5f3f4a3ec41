"""The local indexes of the catalogue follow whoever writes, and answer what the app asks them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import Replica
from stockroom import catalogue, words
from stockroom.schema import schema


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
