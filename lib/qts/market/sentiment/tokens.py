"""Texts to tokens: words in lower case, punctuation, and amounts with their value and kind."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_UNITS = {
    "k": 1e3, "thousand": 1e3, "m": 1e6, "mn": 1e6, "mln": 1e6, "million": 1e6, "bn": 1e9, "billion": 1e9,
    "tn": 1e12, "trillion": 1e12, "lakh": 1e5, "cr": 1e7, "crore": 1e7, "crores": 1e7,
}  # fmt: skip
_CURRENCY = (
    r"(?:eur|euros?|usd|sek|nok|dkk|gbp|rub|jpy|cny|inr|lt|ltl|eek|lvl|chf|pln|czk|huf|cad|aud|nzd|sgd|hkd|krw|brl|"
    r"zar|crowns|rs\.?|us\$|c\$|a\$|\$|€|£|₹|¥)"
)
_NUMBER = r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_UNIT = (
    r"%|percentage points?|percent|per cent|pct|thousand|million|billion|trillion|crores?|lakh|mln|mn|bn|tn\b|cr\b|m\b|"
    r"k\b"
)
#: "5-7 %", and "20 % -40 %" as texts that were tokenised before have it.
_RANGE = rf"(?:\s?%?\s?-\s?(?P<to>{_NUMBER})(?=[\s-]?(?:{_UNIT})(?!\w)))?"
_TOKEN = re.compile(
    rf"(?P<currency>{_CURRENCY}\s?)?(?<![\w.])(?P<minus>-)?(?P<number>{_NUMBER}){_RANGE}"
    rf"(?:[\s-]?(?P<unit>{_UNIT}))?(?![\d])"
    r"|(?P<word>[^\W\d_]+(?:[-'][^\W\d_]+)*)|(?P<mark>[;:,.()])"
)
_CODES = {
    "€": "eur", "euro": "eur", "euros": "eur", "$": "usd", "us$": "usd", "c$": "cad", "a$": "aud", "£": "gbp",
    "₹": "inr", "rs": "inr", "rs.": "inr", "¥": "jpy",
}  # fmt: skip
#: Currencies as they are written behind an amount.
_SPELT = {
    "euro": "eur", "euros": "eur", "eur": "eur", "dollar": "usd", "dollars": "usd", "usd": "usd", "sek": "sek",
    "kronor": "sek", "nok": "nok", "dkk": "dkk", "gbp": "gbp", "pounds": "gbp", "crowns": "crowns", "kroons": "eek",
    "litas": "ltl", "lats": "lvl", "rupees": "inr", "roubles": "rub", "rubles": "rub", "yen": "jpy", "yuan": "cny",
    "zlotys": "pln",
}  # fmt: skip
#: "8.6 mln euro": the currency behind its amount, where no amount of its own follows it.
_BEHIND = re.compile(
    rf"(?<![\w.,])(?P<amount>{_NUMBER})\s?-?(?P<unit>thousand|million|billion|trillion|mln|mn|bn|m)?\s"
    rf"(?:us )?(?P<code>{'|'.join(_SPELT)})\b(?!\s?\d)"
)
#: "EUR74 .8 m" and "1 ,200": texts that were tokenised before put a blank into numbers.
_BROKEN = re.compile(r"(?<=\d) ([.,])(?=\d)")
#: The same amount once more in another currency: "EUR 5 mn ( USD 7 mn )".
_CONVERTED = re.compile(
    rf"\(\s*(?:about |approximately |approx\. |some )?{_CURRENCY}\s?[\d.,]+\s?(?:{_UNIT})?\s*"
    rf"(?:-\s?{_CURRENCY}\s?[\d.,]+\s?(?:{_UNIT})?\s*)?\)"
)
#: An amount and another one in brackets: converted, or that of the year before, as may be said: "( 2008 : EUR 4 mn )".
_PAIR = re.compile(
    rf"(?P<c1>{_CURRENCY})\s?(?P<m1>-)?(?P<n1>{_NUMBER})\s?(?P<u1>{_UNIT})?\s*"
    r"\(\s*(?P<said>[^():;]{0,40}:\s*)?(?P<sign>loss(?: of)?\s|-\s?)?"
    rf"(?P<c2>{_CURRENCY})?\s?(?P<n2>{_NUMBER})\s?(?P<u2>{_UNIT})?\s*\)"
)
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "`": "'", "\u2013": "-", "\u2014": "-", "\u2212": "-"})
_GLUED = re.compile(rf"\b({_CURRENCY})(?=\d)")

#: Characters of a text that are read; what a piece of news says it says early.
_READ = 20_000


@dataclass(frozen=True)
class Amount:
    """A number as it stands in a text.

    Attributes:
        value: in units, so that 1.5 million is 1500000.
        percent: whether it is a percentage.
        bare: whether it has neither currency nor unit, as years and counts.
        currency: as a code in lower case, empty where none stands beside it.
        unit: what the number as it is written was multiplied by: 1e6 for millions, 1 for a percentage.
    """

    value: float
    percent: bool
    bare: bool
    currency: str = ""
    unit: float = 1.0


@dataclass(frozen=True)
class Tokens:
    """A text in tokens; `amounts[i]` is there where token i is a number, and its word is `#`."""

    words: list[str]
    amounts: list[Amount | None]

    def __len__(self) -> int:
        return len(self.words)


def tokenise(text: str) -> Tokens:
    """The tokens of a text of any length and language; a sum that is converted stands once, as it is written first."""
    clean = unicodedata.normalize("NFKC", text[:_READ]).translate(_APOSTROPHES).lower()
    clean = _BROKEN.sub(r"\1", clean).replace("-than-", " than ")  # "better-than-expected"
    clean = _BEHIND.sub(_currency_first, clean)
    if "(" in clean:
        clean = _CONVERTED.sub(" ", _PAIR.sub(_unbracketed, clean))
    clean = _GLUED.sub(r"\1 ", clean)
    words: list[str] = []
    amounts: list[Amount | None] = []
    for match in _TOKEN.finditer(clean):
        amount = _amount(match) if match["number"] else None
        if amount and amounts and _converts(amounts[-1], amount):
            continue
        words.append("#" if amount else match["word"] or match["mark"])
        amounts.append(amount)
    return Tokens(words, amounts)


def _currency_first(found: re.Match[str]) -> str:
    return f"{_SPELT[found['code']]} {found['amount']} {found['unit'] or ''}"


def _converts(first: Amount | None, second: Amount) -> bool:
    """Whether the second of two neighbours is the first in another currency: "8.6 mln euro $ 11.4 mln"."""
    return first is not None and "" != first.currency != second.currency != ""


def _unbracketed(pair: re.Match[str]) -> str:
    """What brackets mean: EUR 5 mn ( EUR 4 mn ) compares with the year before, EUR 5 mn ( USD 7 mn ) converts."""
    first, second = (_CODES.get(code, code) for code in (pair["c1"], pair["c2"] or pair["c1"]))
    new = f"{pair['c1']} {pair['m1'] or ''}{pair['n1']}"
    if first != second:
        return f"{new} {pair['u1'] or ''} "
    year = not pair["c2"] and not pair["u2"] and 1900 <= float(pair["n2"].replace(",", "")) <= 2100
    if year or (pair["u2"] or "").startswith(("%", "p")):
        return pair[0]
    unit = pair["u1"] or ""
    sign = "negative " if pair["sign"] else ""
    return f"{new} {unit} compared to {sign}{pair['c1']} {pair['n2']} {pair['u2'] or unit} "


def _amount(match: re.Match[str]) -> Amount:
    """The amount of a number; of a range its middle."""
    written = match["unit"] or ""
    percent = written.startswith(("%", "p"))
    unit = 1.0 if percent else _UNITS.get(written, 1.0)
    value = float(match["number"].replace(",", ""))
    if match["to"]:
        value = (value + float(match["to"].replace(",", ""))) / 2
    if match["minus"]:
        value = -value
    currency = (match["currency"] or "").strip()
    return Amount(value * unit, percent, not written and not currency, _CODES.get(currency, currency), unit)
