"""Limits of the account as a whole, which the orders of one time take up one after another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qts.market.bar import Array
from qts.risk.limits import Limits
from qts.risk.orders import BookView, BoolArray, Orders, Ruling
from qts.risk.rules import ROUNDING, base, closing, unit_value
from qts.trading.controls import ACTIVE

CODES = ("max_gross_exposure", "max_net_exposure", "cash")


def cash_per_unit(orders: Orders, book: BookView) -> Array:
    """Cash that a unit of each order takes; 0 for sales and for margined contracts, shape (M,)."""
    paid = (orders.quantity > 0) & ~book.inverse[orders.instrument]
    return np.where(paid, unit_value(orders, book), 0.0)


@dataclass(frozen=True)
class _Account:
    """What is taken up before the first order. Open orders count as filled where that is worse, else as unfilled."""

    gross: float
    net_high: float
    net_low: float
    cash: float


def _account(limits: Limits, book: BookView) -> _Account:
    high, low = book.quantity + book.buys, book.quantity - book.sells
    worst = np.maximum(np.abs(high), np.abs(low))
    held = worst != 0
    unit = np.where(held, book.exposure, 0.0)  # what is not held needs no price; what is held and has none makes NaN
    return _Account(
        math.fsum((worst * unit).tolist()),
        math.fsum((high * unit).tolist()),
        math.fsum((low * unit).tolist()),
        book.cash - book.spent - limits.min_cash,
    )


def share(
    orders: Orders, size: Array, lot: Array, limits: Limits, book: BookView
) -> tuple[Array, dict[str, tuple[Ruling, BoolArray]]]:
    """Grants orders what the account has left, in their order.

    Args:
        orders: no instrument twice, shape (M,).
        size: units that the rules before have left of each order, shape (M,).
        lot: cuts are whole lots of this; NaN for any quantity, shape (M,).

    Returns:
        Units granted, shape (M,), and per code the ruling and whether the order broke it.
    """
    start = _account(limits, book)
    need = _Need.of(orders, limits, book)
    granted = size
    breach = {code: np.zeros(len(orders), dtype=bool) for code in CODES}
    if not _all_fit(start, need, size, limits):
        granted = _one_by_one(start, need, size, lot, limits, breach)
    gross, cash = need.gross(granted), need.cash * granted
    signed = np.where(need.buy, 1.0, -1.0) * need.unit
    before_high = start.net_high + _before(np.where(need.buy, signed * granted, 0.0))
    before_low = start.net_low + _before(np.where(need.buy, 0.0, signed * granted))
    net = np.where(need.buy, before_high, before_low) + signed * size
    figures = (
        (start.gross + _before(gross) + need.gross(size), limits.max_gross_exposure),
        (np.abs(net), limits.max_net_exposure),
        (need.cash * size, start.cash - _before(cash)),
    )
    return granted, {
        code: (Ruling(granted, figure, np.broadcast_to(np.asarray(limit, dtype=np.float64), size.shape)), breach[code])
        for code, (figure, limit) in zip(CODES, figures, strict=True)
    }


@dataclass(frozen=True)
class _Need:
    """What each order takes up, by unit; arrays of shape (M,).

    Attributes:
        buy: whether it buys.
        unit: exposure of a unit.
        cash: cash that a unit takes.
        free_gross: units that do not raise the instrument's gross exposure.
        free_cash: units that only close a position.
        free_net: all units where only reducing orders pass, else none.
    """

    buy: BoolArray
    unit: Array
    cash: Array
    free_gross: Array
    free_cash: Array
    free_net: Array

    @classmethod
    def of(cls, orders: Orders, limits: Limits, book: BookView) -> _Need:
        rows = orders.instrument
        high, low = book.quantity + book.buys, book.quantity - book.sells
        worst = np.maximum(np.abs(high), np.abs(low))[rows]
        reducing = np.maximum(book.state[rows], limits.trading_state) != ACTIVE
        return cls(
            orders.quantity > 0,
            book.exposure[rows],
            cash_per_unit(orders, book) * (1 + limits.cash_buffer),
            worst - np.sign(orders.quantity) * base(orders, book),
            closing(orders, book),
            np.where(reducing, np.inf, 0.0),
        )

    def gross(self, size: Array) -> Array:
        """Gross exposure that so many units add, shape (M,)."""
        return np.maximum(size - self.free_gross, 0.0) * self.unit


def _all_fit(start: _Account, need: _Need, size: Array, limits: Limits) -> bool:
    """Whether all orders together stay within the limits, so that none has to be looked at by itself."""
    value = need.unit * size
    bought, sold = float(value[need.buy].sum()), float(value[~need.buy].sum())
    net = max(start.net_high + bought, sold - start.net_low)
    return bool(
        (math.isinf(limits.max_gross_exposure) or start.gross + need.gross(size).sum() <= limits.max_gross_exposure)
        and (math.isinf(limits.max_net_exposure) or net <= limits.max_net_exposure)
        and (math.isinf(limits.min_cash) or (need.cash * size).sum() <= start.cash)
    )


def _one_by_one(
    start: _Account, need: _Need, size: Array, lot: Array, limits: Limits, breach: dict[str, BoolArray]
) -> Array:
    """The same for orders that do not all fit: a plain loop, for what one order gets depends on all before it."""
    gross = limits.max_gross_exposure - start.gross if math.isfinite(limits.max_gross_exposure) else math.inf
    bounded = math.isfinite(limits.max_net_exposure)
    long = limits.max_net_exposure - start.net_high if bounded else math.inf
    short = limits.max_net_exposure + start.net_low if bounded else math.inf
    cash = start.cash
    granted = []
    columns = (size, lot, need.buy, need.unit, need.cash, need.free_gross, need.free_cash, need.free_net)
    for row, (wanted, one, buy, unit, cost, free_gross, free_cash, free_net) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        left = wanted
        for code, free, rest, price in (
            (CODES[0], free_gross, gross, unit),
            (CODES[1], free_net, long if buy else short, unit),
            (CODES[2], free_cash, cash, cost),
        ):
            if price == 0 or rest == math.inf:
                continue
            allowed = _whole(free + (rest / price if rest > 0 and price > 0 else 0.0), one)
            if not wanted <= allowed * (1 + ROUNDING):
                breach[code][row] = True
                left = min(left, allowed)
        granted.append(left)
        if left > 0:  # an order that gets nothing must not spoil the sums with what is not known of it
            gross -= max(left - free_gross, 0.0) * unit
            long, short = (long - left * unit, short) if buy else (long, short - left * unit)
            cash -= left * cost
    return np.array(granted)


def _whole(units: float, lot: float) -> float:
    """`rules.whole_lots` for one number; 0 for an unknown one."""
    if math.isnan(units):
        return 0.0
    if math.isnan(lot) or math.isinf(units):
        return units
    return math.floor(units / lot * (1 + ROUNDING) + 1e-9) * lot


def _before(amounts: Array) -> Array:
    """Sum of all amounts before each one, shape (M,)."""
    return np.concatenate(([0.0], np.cumsum(amounts)[:-1])) if len(amounts) else amounts
