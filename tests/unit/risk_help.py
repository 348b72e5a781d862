"""A small account, and orders on it, for the tests of risk rules."""

from dataclasses import replace

import numpy as np

from qts.risk.check import check
from qts.risk.limits import RiskLimits
from qts.risk.orders import BookView, Orders, Verdicts

NAMES = ("AAA", "BBB", "CCC")


def view(**changes: object) -> BookView:
    """Three linear instruments at 100, 10 and 1, no positions, a million in cash."""
    price = np.array([100.0, 10.0, 1.0])
    plain = BookView(
        quantity=np.zeros(3),
        buys=np.zeros(3),
        sells=np.zeros(3),
        price=price,
        price_age=np.zeros(3),
        exposure=price,
        inverse=np.zeros(3, dtype=bool),
        multiplier=np.ones(3),
        lot_size=np.ones(3),
        tick_size=np.full(3, 0.01),
        tradable=np.ones(3, dtype=bool),
        state=np.zeros(3, dtype=np.int8),
        cash=1e6,
        equity=1e6,
    )
    return replace(plain, **changes)


def market(*orders: tuple[int, float], at: BookView | None = None) -> Orders:
    rows = np.array([row for row, _ in orders], dtype=np.int64)
    price = np.append((at or view()).price, np.nan)[rows]
    return Orders(rows, np.array([q for _, q in orders], dtype=float), price, np.zeros(len(rows), dtype=bool))


def limit_order(row: int, quantity: float, price: float) -> Orders:
    return Orders(np.array([row]), np.array([quantity]), np.array([price]), np.array([True]))


def judge(orders: Orders, book: BookView | None = None, **limits: object) -> Verdicts:
    return check(orders, RiskLimits.parse(limits).arrays(NAMES), book or view())


def outcome(verdicts: Verdicts) -> tuple[str, float, list[str]]:
    return str(verdicts.verdict[0]), float(verdicts.quantity[0]), verdicts.codes[0]
