"""Article numbers on the server: one number has one form, so that it names one product.

Knows: that a code has one form. Must not know: how it was scanned or typed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stockroom.codes import canonical

if TYPE_CHECKING:
    from holdfast.server.push.rules import RuleContext


def codes_have_one_form(context: RuleContext) -> None:
    """Refuse a new barcode in another form than its one: as UPC-A, say, what EAN-13 names too."""
    for change in context.changes:
        if change.table != "barcode" or change.op != "insert" or change.new is None:
            continue
        code = str(change.new["code"])
        if canonical(code) != code:
            context.refuse(
                "bad_code",
                f"{code} is kept as {canonical(code)}: one article number has one form.",
                field="code",
                row=change.key,
            )
