"""Prices as people type them, in any of our languages: `1.234,50`, `1,234.50`, `€12.50`.

Knows: digits of every script, marks between groups and before fractions, signs of currencies. Must
not know: fields, files or the database. The twin of `web/src/data/prices.ts`; both are held to
`tests/cases/prices.json`. What can be read in two ways is not guessed: it is asked about.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal, cast, get_args

from holdfast.core.errors import UsageError
from stockroom.currencies import PRICE_MAX, digits
from stockroom.currency_signs import COMMA_LANGUAGES, CURRENCY_SIGNS, POINT_LANGUAGES

NotPrice = Literal["empty", "not", "negative", "digits", "huge", "unclear", "currency"]
"""Reason that what was typed is no price. `unclear`: it is one of two, a thousand times apart."""

_SURE: Final = "\u066b"
"""The mark before a fraction that is never one between groups."""
_AS: Final = str.maketrans({
    **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\u2014\u2015\ufe63\uff0d", "-"),
    **dict.fromkeys("\u2019\u2018\u02bc\u00b4\u0060\uff07\u066c\u02b9", "'"),
    **dict.fromkeys("\u00b7\u2e33", _SURE),
    "\uff0c": ",", "\u060c": ",", "\uff0e": ".", "\uff0b": "+",
})  # fmt: skip
_SIGNS: Final = sorted(CURRENCY_SIGNS, key=len, reverse=True)
_CODE: Final = re.compile(r"[a-z]{3}(?![a-z])")
_CODE_BEHIND: Final = re.compile(r"(?<![a-z])[a-z]{3}\Z")
_BODY: Final = re.compile(r"[0-9.,'\u066b ]*[0-9][0-9.,'\u066b ]*\Z")
_ROUND: Final = re.compile(r"[.,] ?-+\Z")
"""As in `12,-`: nothing behind the point."""
_GROUPS: Final = re.compile(r"[0-9]{1,3}(?:( |'|,|\.)[0-9]{2,3}(?:\1[0-9]{2,3})*)?\Z")


def read_price(
    text: str, *, currency: str, language: str = "en", mark: str | None = None
) -> int | NotPrice:
    """Minor units, or why it is no price. `language`: whose marks count where one mark may be two
    things; "" for not known. `mark`: the one before the fraction is known, as of a column."""
    body = amount_in(text, currency=currency)
    if body in get_args(NotPrice):
        return cast("NotPrice", body)
    places = digits(currency)
    mark = _mark(body, places, language) if mark is None else _known(body, mark)
    if mark is None:
        return "unclear"
    whole, fraction = body.rsplit(mark, 1) if mark else (body, "")
    whole = whole or "0"
    if not _is_grouped(whole) or not re.fullmatch("[0-9]*", fraction):
        return "not"
    behind = fraction.rstrip("0")
    if len(behind) > places:
        return "digits"
    plain = re.sub("[^0-9]", "", whole).lstrip("0") + behind.ljust(places, "0")
    return "huge" if len(plain) > 15 or int(plain or 0) > PRICE_MAX else int(plain or 0)


def parse_price(text: str, *, currency: str, language: str = "en") -> int:
    """Minor units of a price as it is typed; raises `UsageError` with the code `bad_price`."""
    found = read_price(text, currency=currency, language=language)
    if isinstance(found, int):
        return found
    raise UsageError(said(found, text, currency), code="bad_price")


def parse_or_none(text: str, *, currency: str, language: str = "en") -> int | None:
    """Return the same, or None for nothing typed: there is no price yet."""
    if not text.strip():
        return None
    return parse_price(text, currency=currency, language=language)


def said(why: NotPrice, text: str, currency: str) -> str:
    """The reason in words."""
    places = digits(currency)
    such = f"{1234:.{places}f}"
    return {
        "empty": "there is no price in it",
        "not": f"{text!r} is not a price, such as {such}",
        "negative": f"{text!r} is below zero: a price is not",
        "digits": f"{text!r} has more digits behind the point than {currency}, which has {places}",
        "huge": f"{text!r} is no price a product can have",
        "unclear": f"{text!r} can be read in two ways: type it with all its digits, as {such}",
        "currency": f"{text!r} is in another currency: this price is in {currency}",
    }[why]


def decimal_mark(language: str) -> str:
    """The mark before a fraction in a language; "" where it is not known."""
    tag = language.replace("_", "-").lower()
    parts = tag.split("-")
    short = f"{parts[0]}-{parts[-1]}"
    if not tag:
        return ""
    if short in COMMA_LANGUAGES:
        return ","
    return "." if parts[0] in POINT_LANGUAGES or short in POINT_LANGUAGES else ","


def amount_in(text: str, *, currency: str) -> str:
    """The amount in ASCII digits and its marks, without a currency beside it; or a `NotPrice`."""
    rest = plain(text).lower()
    if not rest:
        return "empty"
    rest, head = _without_sign(rest, currency)
    is_negative = "-" in head or rest.startswith("(")
    rest = _ROUND.sub("", rest.strip("()").strip())
    rest, tail = _without_sign_behind(rest, currency)
    is_negative = is_negative or "-" in tail
    rest = _ROUND.sub("", rest.strip())
    if "!" in head + tail:
        return "currency" if re.search("[0-9]", rest) else "not"
    rest = re.sub(r"(?<=[0-9])[.,]\Z", "", rest)
    if not _BODY.match(rest):
        return "not"
    return "negative" if is_negative else rest


def plain(text: str) -> str:
    """The text in ASCII digits, with one form of each mark and single blanks."""
    found = "".join(
        str(unicodedata.decimal(one)) if one.isdecimal() else one
        for one in text.translate(_AS)
        if unicodedata.category(one) != "Cf"
    )
    return " ".join(found.split())


def _without_sign(text: str, currency: str) -> tuple[str, str]:
    """The rest behind a sign in front, and what was there: `-` below zero, `!` not ours."""
    found = ""
    rest = text
    while rest:
        if rest[0] in "-+ ":
            found += rest[0].strip("+ ")
            rest = rest[1:]
            continue
        name = next((one for one in _SIGNS if rest.startswith(one) and _ends(rest, one)), None)
        code = _CODE.match(rest)
        if name is None and code is None:
            break
        name = name or (code.group() if code else "")
        found += "" if _is_ours(name, currency) else "!"
        rest = rest[len(name) :]
    return rest, found


def _without_sign_behind(text: str, currency: str) -> tuple[str, str]:
    found = ""
    rest = text
    while rest:
        if rest[-1] in "- ":
            found += rest[-1].strip()
            rest = rest[:-1]
            continue
        name = next((one for one in _SIGNS if rest.endswith(one) and _begins(rest, one)), None)
        code = _CODE_BEHIND.search(rest)
        if name is None and code is None:
            break
        name = name or (code.group() if code else "")
        found += "" if _is_ours(name, currency) else "!"
        rest = rest[: -len(name)]
    return rest, found


def _is_ours(name: str, currency: str) -> bool:
    return name.upper() == currency or currency in CURRENCY_SIGNS.get(name, "").split()


def _ends(text: str, name: str) -> bool:
    """Return whether a word in front is whole: no letter follows it."""
    return not (name[-1].isalpha() and text[len(name) : len(name) + 1].isalpha())


def _begins(text: str, name: str) -> bool:
    return not (name[0].isalpha() and text[: -len(name)][-1:].isalpha())


def _mark(body: str, places: int, language: str) -> str | None:
    """The mark before the fraction, "" for none, None where that is to be asked."""
    marks = [one for one in body if one in f".,{_SURE}"]
    kinds = set(marks)
    if not marks:
        return ""
    last = marks[-1]
    if " " in body or "'" in body or len(kinds) > 1 or last == _SURE:
        return last
    if len(marks) > 1:
        return ""
    before, _last, behind = body.partition(last)
    if len(behind) != 3 or not 1 <= len(before) <= 3 or before.startswith("0"):
        return last
    if places == 0:
        return ""
    fits = decimal_mark(language)
    if fits == last:
        return last if places >= 3 else None
    return "" if fits and places < 3 else None


def _known(body: str, mark: str) -> str:
    return mark if mark in body else _SURE if _SURE in body else ""


def _is_grouped(whole: str) -> bool:
    """Return whether its digits stand in groups: of three, or as in India of two before those."""
    if re.fullmatch("[0-9]+", whole):
        return True
    if not _GROUPS.match(whole):
        return False
    first, *others = re.split("[^0-9]", whole)
    lengths = {len(one) for one in others[:-1]}
    return len(others[-1]) == 3 and len(lengths) <= 1 and first != ""
