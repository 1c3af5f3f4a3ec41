"""`stockroom import` and `stockroom export`: the shop's goods from a CSV file, and into one.

Knows: the commands' options and words. Must not know: how a file is read or what is written.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.core.errors import UsageError
from stockroom.cli import output
from stockroom.cli.shop import DATABASE, Database, Json, reported

if TYPE_CHECKING:
    from stockroom.goods_file.bringing import Brought
    from stockroom.goods_file.reading import Sheet

AtStore = Annotated[str | None, typer.Option("--store", help="Its name; the only one without it.")]
_SHOWN_MAX = 50


def import_command(
    file: Annotated[Path, typer.Argument(help="A CSV file; - is stdin.", show_default=False)],
    *,
    database: Database = DATABASE,
    store: AtStore = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would come of each line; write nothing.")
    ] = False,
    delimiter: Annotated[
        str | None, typer.Option(help="Between cells, such as ';'; else found out.")
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(help="The mark before cents, . or ,; else found out.")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Such as cp1252; else found out.")] = None,
    as_json: Json = False,
) -> None:
    """Bring goods in: SKU, name, price, quantity, barcode, and more, by the heads of the columns.

    Good lines go in, for each other one it says why not. The quantity is what was there in the
    beginning. The same file again changes nothing. Ends with 1 when no line was good.
    """
    with reported(as_json=as_json):
        from stockroom.goods_file.bringing import bring, told
        from stockroom.goods_file.reading import read_sheet
        from stockroom.shop.desk import open_desk

        if decimal not in (None, ".", ","):
            raise UsageError("the mark before cents is . or ,", code="bad_option")
        sheet = read_sheet(_bytes(file), delimiter=delimiter, encoding=encoding)
        with open_desk(database) as desk:
            brought = bring(
                desk, sheet, store=store, dry_run=dry_run, decimal=decimal,
                document="" if str(file) == "-" else file.name[:200],
            )  # fmt: skip
    wrong = brought.count("wrong")
    if as_json:
        read = {
            "encoding": sheet.encoding, "delimiter": sheet.delimiter, "columns": sheet.columns,
            "ignored": sheet.ignored,
        }  # fmt: skip
        output.document({"ok": wrong < len(brought.lines) or not wrong, **read, **told(brought)})
    else:
        _tell(brought, sheet)
    if wrong and wrong == len(brought.lines):
        raise typer.Exit(output.EXIT_FAILED)


def export_command(
    file: Annotated[Path, typer.Argument(help="The CSV file; - is stdout.")] = Path("-"),
    *,
    database: Database = DATABASE,
    store: AtStore = None,
    as_json: Json = False,
) -> None:
    """Write products and what is on hand into a CSV file, which `stockroom import` reads."""
    with reported(as_json=as_json):
        from stockroom.goods_file.export import BOM, export
        from stockroom.shop.desk import open_desk

        to_stdout = str(file) == "-"
        if to_stdout and as_json:
            raise UsageError("name a file: with --json, stdout is for the document", code="no_file")
        with open_desk(database) as desk:
            text, count = export(desk, store=store)
        if to_stdout:
            sys.stdout.write(text)
            return
        try:
            file.write_text(BOM + text, encoding="utf-8", newline="")
        except OSError as error:
            raise UsageError(f"{file} cannot be written: {error}", code="bad_file") from None
    if as_json:
        output.document({"ok": True, "file": str(file), "products": count})
    else:
        output.say(f"{count} products are in {file}.")


def _bytes(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", code="no_file") from None


def _tell(brought: Brought, sheet: Sheet) -> None:
    noted = [line for line in brought.lines if line.reasons]
    rows = [
        (
            str(one.line), one.sku, one.name, "not taken" if one.came == "wrong" else one.came,
            "; ".join(why.text for why in one.reasons),
        )
        for one in noted[:_SHOWN_MAX]
    ]  # fmt: skip
    if rows:
        output.show_table("To look at", ("line#", "SKU", "name", "", "why"), rows)
        if len(noted) > _SHOWN_MAX:
            output.say(f"and {len(noted) - _SHOWN_MAX} more lines (--json has all).")
    if sheet.ignored:
        output.say(f"Not read: {', '.join(sheet.ignored)}.")
    count = brought.count
    would = "" if brought.written else " Nothing is written yet."
    output.say(
        f"{brought.store}: {count('new')} new, {count('changed')} changed, {count('same')} as they "
        f"were, {count('wrong')} not taken.{would}"
    )
