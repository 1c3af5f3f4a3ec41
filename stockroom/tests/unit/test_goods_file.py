"""Goods from a file: read as it comes, a reason for each line that is not taken, twice the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import UsageError
from stockroom.cli import main
from stockroom.goods_file.amounts import decimal_mark, parse
from stockroom.goods_file.reading import read_sheet
from stockroom.shop.desk import open_desk
from stockroom.shop.opening import Opening, Shop, open_shop
from stockroom.shop.stores import add_store

TEXT = "SKU;Name;Preis;Menge;EAN\nM1;Becher;12,50;3;\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_encoding_and_delimiter_are_found(encoding: str, delimiter: str) -> None:
    rows = (
        ("Artikel-Nr.", "Bezeichnung", "VK", "Größe"),
        ("M1", "Müsli, fein; süß|Rahm", "1", "x"),
        ("M2", 'Zwei\n"Zeilen"', "2", "y"),
        ("M3", "z", "3", ""),
    )
    text = "".join(
        delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) + "\r\n" for row in rows
    )
    sheet = read_sheet(text.encode(encoding))
    assert sheet.delimiter == delimiter
    assert sheet.columns == {"sku": "Artikel-Nr.", "name": "Bezeichnung", "price": "VK"}
    assert sheet.ignored == ("Größe",)
    assert sheet.column("name") == [row[1] for row in rows[1:]]
    assert [line.number for line in sheet.lines] == [2, 3, 5]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "no_columns"),
        (b"1;2;3\n4;5;6\n", "no_columns"),
        (b"PK\x03\x04xxxx", "not_text"),
        (b"sku,name\nA,\x00\n", "not_text"),
        (b'sku,name\nA,"b' + b"x" * 200_000, "not_text"),
        (b"sku\n" + b"A\n" * 20_001, "too_many_lines"),
        (b"x" * (8 * 2**20 + 1), "too_large"),
    ],
)
def test_what_is_no_file_of_goods_says_so(data: bytes, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_sheet(data)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("cells", "places", "mark", "amounts"),
    [
        (["1.234,50", "3"], 2, ",", ["1234.50", "3"]),
        (["1,234.50", "12.5"], 2, ".", ["1234.50", "12.5"]),
        (["1.234", "12"], 2, ",", ["1234", "12"]),
        (["1.234"], 3, ".", ["1.234"]),
        (["0.068", "0.5"], 2, ".", ["0.068", "0.5"]),
        (["1'234.50", "€12.50", "12.50 EUR"], 2, ".", ["1234.50", "12.50", "12.50"]),
        (["1 234,50", "12,5"], 2, ",", ["1234.50", "12.5"]),
        (["١٢٫٥٠", "３"], 2, ".", ["12.50", "3"]),
        (["12.50", "1,2,3", "12..5", "x", "1.234,5"], 2, ".", ["12.50", None, None, None, None]),
        (["-3", ""], 2, ".", ["-3", None]),
    ],
)  # fmt: skip
def test_the_mark_before_cents_is_the_columns(
    cells: list[str], places: int, mark: str, amounts: list[str | None]
) -> None:
    found = decimal_mark(cells, places=places)
    assert found == mark
    read = [parse(cell, found) for cell in cells]
    assert [None if one is None else f"{one:f}".removesuffix(".0") for one in read] == amounts


@pytest.fixture
def shop(database: str) -> str:
    with open_desk(database, existing=False) as desk:
        words = Shop(name="Lantern", currency="EUR", language="en", time_zone="UTC")
        opening = Opening(shop=words, store="Harbour", owner="Ada", password="quay lantern 4711")
        open_shop(desk, opening)
    return database


def test_a_case_goes_in_and_out_with_its_pieces(
    shop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "goods.csv"

    def bring(barcodes: str) -> dict[str, Any]:
        file.write_text(f'SKU,Name,Barcode\nPEN-1,Pencil,"{barcodes}"\n')
        with pytest.raises(SystemExit):
            main(["import", str(file), "--database", shop, "--json"])
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    def codes() -> list[tuple[Any, ...]]:
        with open_desk(shop) as desk, desk.transaction() as tables:
            return sorted(map(tuple, tables.execute("SELECT code, pack FROM barcode")))

    assert bring("4006381333931, 14006381333938 x12")["counts"]["new"] == 1
    assert codes() == [("14006381333938", 12), ("4006381333931", 1)]
    assert bring("14006381333938")["counts"]["same"] == 1
    assert bring("14006381333938 x10")["counts"]["changed"] == 1
    assert codes() == [("14006381333938", 10), ("4006381333931", 1)]
    assert bring("14006381333938 x0")["lines"][0]["reasons"][0]["code"] == "bad_pack"
    written = tmp_path / "out.csv"
    with pytest.raises(SystemExit):
        main(["export", str(written), "--database", shop, "--json"])
    assert "14006381333938 x10, 4006381333931" in written.read_text("utf-8-sig")
    with open_desk(shop) as desk, desk.transaction() as tables:
        changed = tables.execute(
            "SELECT old_value, new_value FROM product_change WHERE field = 'barcode'"
        )
    assert [tuple(row) for row in changed] == [("14006381333938 x12", "14006381333938 x10")]


def test_good_lines_go_in_once_and_the_others_say_why(
    shop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "goods.csv"
    file.write_text(
        "SKU;Name;Price;Quantity;Barcode;Category\n"
        "M1;Mug;1.234,50;12;2000000000015;Kitchen\n"
        "M2;Jug;9,999;5;;kitchen\n"
        "M3;;3;1;;\n"
        "M4;Bowl;;0;;\n"
        "M1;Mug again;1;1;;\n"
        "m 1;Like the first;1;1;;\n"
        "M6;Half;1;2,5;;\n"
        "M7;Less;1;-2;;\n"
        "M8;Slip;1;2000000000015;;\n"
        "M9;Taken;1;1;2000000000015;\n"
        "M10;Wrong code;1;1;2000000000014;\n"
        "M11;Broken;1;1;4,00638E+12;\n"
        ";Without a number;5;4;;\n"
        "'=1+2;Formula;1;1;;;surplus\n"
        "'=1+2;Formula;1;1;;\n"
        "M12;Abroad;$5;1;;\n"
        "M13;Under;-5;1;;\n",
        encoding="cp1252",
    )

    def command(*arguments: str) -> dict[str, Any]:
        with pytest.raises(SystemExit):
            main([*arguments, "--database", shop, "--json"])
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    ahead = command("import", str(file), "--dry-run")
    assert ahead["written"] is False
    done = command("import", str(file))
    assert {**done, "written": False} == ahead
    assert done["decimal"] == ","
    why = {one["line"]: [r["code"] for r in one["reasons"]] for one in done["lines"]}
    assert {line: codes for line, codes in why.items() if codes} == {
        3: ["price_digits"], 4: ["no_name"], 6: ["sku_twice"], 7: ["sku_like"],
        8: ["bad_quantity"], 9: ["below_zero"], 10: ["likely_a_code"], 11: ["barcode_twice"],
        12: ["bad_check_digit"], 13: ["shortened"], 15: ["shifted"],
        17: ["other_currency"], 18: ["bad_price"],
    }  # fmt: skip
    assert done["counts"] == {"new": 4, "changed": 0, "same": 0, "wrong": 13}

    again = command("import", str(file))
    assert again["counts"] == {"new": 0, "changed": 0, "same": 4, "wrong": 13}
    written = tmp_path / "out.csv"
    assert command("export", str(written))["products"] == 4
    assert command("import", str(written))["counts"] == {
        "new": 0, "changed": 0, "same": 4, "wrong": 0,
    }  # fmt: skip
    changed = written.read_text("utf-8-sig").replace(",12\n", ",15\n").replace("Bowl", "Dish")
    written.write_text(changed)
    last = command("import", str(written))
    assert last["counts"]["changed"] == 1
    noted = [line["reasons"][0]["code"] for line in last["lines"] if line["reasons"]]
    assert noted == ["quantity_differs"]
    with open_desk(shop) as desk:
        with desk.transaction() as tables:
            rows = tables.execute("SELECT sku, name, price, unpriced FROM product ORDER BY sku")
            moved = tables.execute("SELECT sum(quantity), count(*) FROM movement")
        add_store(desk, "Pier")
    assert [tuple(row) for row in rows][:3] == [
        ("=1+2", "Formula", 100, 0), ("M1", "Mug", 123450, 0), ("M4", "Dish", 0, 1),
    ]  # fmt: skip
    assert tuple(map(int, moved[0])) == (17, 3)
    assert command("import", str(file))["error"]["code"] == "no_store"
    at_pier = command("import", str(written), "--store", "pier")
    assert at_pier["counts"] == {"new": 0, "changed": 3, "same": 1, "wrong": 0}
