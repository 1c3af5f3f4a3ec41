"""Currencies as people write them, and which languages put a point before a fraction.

Knows: signs, short words and languages, as data; the web app's tables are made from these by
`tools/app_schema.py`. Must not know: how an amount is read.
"""

from __future__ import annotations

from typing import Final

_DOLLARS: Final = (
    "USD AUD CAD NZD HKD SGD TWD BRL MXN ARS CLP COP UYU DOP CUP NIO BSD BBD BZD BMD KYD FJD GYD "
    "JMD LRD NAD SBD SRD TTD XCD BND ZWL SVC PAB BOB CVE MOP TOP WST"
)
_POUNDS: Final = "GBP GIP FKP SHP EGP LBP SYP SSP SDG"
_RUPEES: Final = "INR PKR LKR NPR MUR SCR"
_FRANCS: Final = "CHF XAF XOF XPF RWF GNF KMF DJF BIF CDF"
_CROWNS: Final = "SEK NOK DKK ISK EEK"

CURRENCY_SIGNS: Final[dict[str, str]] = {
    "€": "EUR", "euro": "EUR", "euros": "EUR", "£": _POUNDS, "$": _DOLLARS, "us$": "USD",
    "a$": "AUD", "au$": "AUD", "c$": "CAD NIO", "ca$": "CAD", "nz$": "NZD", "hk$": "HKD",
    "s$": "SGD", "nt$": "TWD", "r$": "BRL", "mx$": "MXN", "¥": "JPY CNY", "￥": "JPY CNY",
    "円": "JPY", "元": "CNY", "₹": "INR", "₨": _RUPEES, "rs": _RUPEES,
    "rs.": _RUPEES, "₩": "KRW KPW", "₪": "ILS", "₺": "TRY", "₽": "RUB",
    "руб": "RUB BYN", "руб.": "RUB BYN", "₴": "UAH", "грн": "UAH", "грн.": "UAH", "₫": "VND",
    "฿": "THB", "₱": "PHP", "₦": "NGN", "₡": "CRC", "₲": "PYG", "₵": "GHS", "₸": "KZT",
    "₾": "GEL", "₼": "AZN", "kr": _CROWNS, "kr.": _CROWNS, "zł": "PLN", "kč": "CZK", "ft": "HUF",
    "fr": _FRANCS,
    "fr.": _FRANCS, "sfr": "CHF", "sfr.": "CHF",
    "lei": "RON MDL", "лв": "BGN", "лв.": "BGN", "rp": "IDR", "rm": "MYR", "r": "ZAR",
    "din": "RSD", "din.": "RSD", "км": "BAM", "km": "BAM", "د.إ": "AED", "ر.س": "SAR",
    "د.ك": "KWD", "د.ب": "BHD", "ر.ع": "OMR", "ر.ق": "QAR", "د.أ": "JOD", "ج.م": "EGP",
    "د.ت": "TND", "د.ج": "DZD", "د.م": "MAD", "د.ع": "IQD", "ل.ل": "LBP",
}  # fmt: skip
"""By sign or short word, in lower case: the currencies that it may stand for."""

POINT_LANGUAGES: Final = (
    "am", "ar", "as", "bn", "bo", "cy", "en", "fa", "fil", "ga", "gu", "ha", "he", "hi", "ig", "ja",
    "km", "kn", "ko", "lg", "mg", "mi", "ml", "mn", "mr", "ms", "mt", "my", "ne", "or", "pa", "si",
    "so", "sw", "ta", "te", "th", "ti", "ug", "ur", "yo", "zh", "zu",
    "de-ch", "de-li", "it-ch", "es-mx", "es-us", "es-gt", "es-hn", "es-ni", "es-pa", "es-pe",
    "es-pr", "es-sv", "es-do", "es-cu",
)  # fmt: skip
"""Languages, some of them in one country only, that write a fraction behind a point: 12.50."""
COMMA_LANGUAGES: Final = ("en-za", "en-at", "en-be", "en-de", "en-nl", "en-fi", "en-se", "en-dk",
                          "en-si", "ms-bn")  # fmt: skip
"""Countries that differ from their language: 12,50."""
