"""check(): every rule on every order of one time, then what the account as a whole has left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qts.market.bar import Array
from qts.risk import account
from qts.risk.limits import Limits
from qts.risk.orders import BookView, BoolArray, Case, Orders, Ruling, Verdicts
from qts.risk.rules import ROUNDING, RULES, whole_lots

Rows = npt.NDArray[np.intp]


def check(orders: Orders, limits: Limits, book: BookView) -> Verdicts:
    """Accepts each order, cuts it to what all rules allow in whole lots, or denies it.

    An unknown (NaN) figure denies wherever a limit binds. Gross and net exposure and cash are shared: orders take them
    up in their given order, and what a reducing order frees counts only once it is filled. An order that only reduces
    its position is never stopped for gross exposure or cash, because it lowers the risk.

    An order that cannot be judged at all (`bad_quantity`, `unknown_instrument`, `no_price`, `bad_price`) is told only
    that.

    Args:
        orders: shape (M,); several may be for one instrument.
        limits, book: over the same `N` instruments.
    """
    size = np.abs(orders.quantity)
    broken = _unusable(orders, book)
    usable = ~np.any(list(broken.values()), axis=0)
    granted = np.zeros(len(orders))
    figures: dict[str, tuple[Array, Array]] = {}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for rows in _runs(orders, np.flatnonzero(usable)):
            whole = len(rows) == len(orders)
            case = Case.of(orders if whole else orders.rows(rows), limits, book)
            units, rulings, breaches = _judge(case)
            if whole:
                granted, broken = units, broken | breaches
                figures = {code: (ruling.figure, ruling.limit) for code, ruling in rulings.items()}
                break
            granted[rows] = units
            for code, ruling in rulings.items():
                _put(figures, code, ruling, rows, len(orders))
                broken.setdefault(code, np.zeros(len(orders), dtype=bool))[rows] = breaches[code]
            book = _committed(case, units, book)
    quantity = np.where(usable, np.minimum(granted, size), 0.0)
    by_code = np.array(list(broken.values()))
    verdict = np.where(~by_code.any(axis=0), "accept", np.where(quantity > 0, "cut", "deny"))
    return Verdicts(verdict, quantity, _codes(list(broken), by_code), figures)


def _unusable(orders: Orders, book: BookView) -> dict[str, BoolArray]:
    known = orders.instrument >= 0
    last = np.append(book.price, np.nan)[orders.instrument]
    return {
        "bad_quantity": ~(np.isfinite(orders.quantity) & (orders.quantity != 0)),
        "unknown_instrument": ~known,
        "no_price": known & ~(np.isfinite(last) & (last > 0)),
        "bad_price": orders.limit & ~(np.isfinite(orders.price) & (orders.price > 0)),
    }


def _runs(orders: Orders, rows: Rows) -> Iterator[Rows]:
    """The rows cut into stretches that hold no instrument twice, for rules see one order an instrument at a time."""
    instruments = orders.instrument[rows].tolist()
    if len(set(instruments)) == len(instruments):
        if instruments:
            yield rows
        return
    start, seen = 0, set[int]()
    for position, instrument in enumerate(instruments):
        if instrument in seen:
            yield rows[start:position]
            start, seen = position, set()
        seen.add(instrument)
    yield rows[start:]


def _judge(case: Case) -> tuple[Array, dict[str, Ruling], dict[str, BoolArray]]:
    """Units granted to each order, and per rule its ruling and whether the order broke it."""
    rulings = {code: rule(case) for code, rule in RULES.items()}
    allowed = np.array([ruling.allowed for ruling in rulings.values()])
    allowed = whole_lots(np.where(np.isnan(allowed), 0.0, allowed), case.lot)
    breaches = ~(case.size <= allowed * (1 + ROUNDING))
    left = np.minimum(case.size, allowed.min(axis=0))
    granted, shared, broken = account.share(case, left)
    return granted, rulings | shared, dict(zip(rulings, breaches, strict=True)) | broken


def _committed(case: Case, granted: Array, book: BookView) -> BookView:
    """The account with the granted orders open."""
    buys, sells = book.buys.copy(), book.sells.copy()
    buys[case.rows] += np.where(case.buy, granted, 0.0)
    sells[case.rows] += np.where(case.buy, 0.0, granted)
    spent = book.spent + float(np.sum(account.cash_per_unit(case) * granted))
    return replace(book, buys=buys, sells=sells, spent=spent)


def _put(figures: dict[str, tuple[Array, Array]], code: str, ruling: Ruling, rows: Rows, orders: int) -> None:
    if code not in figures:
        figures[code] = np.full(orders, np.nan), np.full(orders, np.nan)
    figures[code][0][rows], figures[code][1][rows] = ruling.figure, ruling.limit


def _codes(codes: Sequence[str], broken: BoolArray) -> list[list[str]]:
    """By order the codes of the rules that it broke, in the rules' order; `broken` is of shape (codes, M)."""
    found: list[list[str]] = [[] for _ in range(broken.shape[1])]
    for order, code in zip(*np.nonzero(broken.T), strict=True):
        found[order].append(codes[code])
    return found
