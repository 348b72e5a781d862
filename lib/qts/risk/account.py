"""Limits of the account as a whole, which the orders of one time take up one after another."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from qts.market.bar import Array
from qts.risk.limits import Limits, of_equity
from qts.risk.orders import BookView, BoolArray, Case, Ruling
from qts.risk.rules import ROUNDING
from qts.trading.controls import ACTIVE

CODES = ("max_gross_exposure", "max_net_exposure", "cash")


def cash_per_unit(case: Case) -> Array:
    """Cash that a unit of each order takes; 0 for sales and for margined contracts, shape (M,)."""
    return np.where(case.buy & ~case.book.inverse[case.rows], case.unit_value, 0.0)


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


def _with_fractions(limits: Limits, equity: float) -> Limits:
    """The same with amounts that fractions of this equity allow, too."""
    if not limits.relative:
        return limits
    fractions = np.array([limits.max_gross_exposure_fraction, limits.max_net_exposure_fraction])
    gross, net = of_equity(fractions, equity).tolist()
    return replace(
        limits,
        max_gross_exposure=min(limits.max_gross_exposure, gross),
        max_net_exposure=min(limits.max_net_exposure, net),
    )


def share(case: Case, size: Array) -> tuple[Array, dict[str, Ruling], dict[str, BoolArray]]:
    """Grants orders what the account has left, in their order.

    Args:
        case: the orders; cuts are whole lots of theirs.
        size: units that the rules before have left of each order, shape (M,).

    Returns:
        Units granted, shape (M,), and per code the ruling and whether the order broke it.
    """
    limits, count = _with_fractions(case.limits, case.book.equity), len(case)
    start, need = _account(limits, case.book), _Need.of(case)
    granted = size
    breach = {code: np.zeros(count, dtype=bool) for code in CODES}
    if not _all_fit(start, need, size, limits):
        granted = _one_by_one(start, need, size, case.lot, limits, breach)
    signed = np.where(need.buy, need.unit, -need.unit)
    taken = signed * granted
    before_high = start.net_high + _before(np.where(need.buy, taken, 0.0))
    before_low = start.net_low + _before(np.where(need.buy, 0.0, taken))
    net = np.where(need.buy, before_high, before_low) + signed * size
    figures = (
        (start.gross + _before(need.gross(granted)) + need.gross(size), np.full(count, limits.max_gross_exposure)),
        (np.abs(net), np.full(count, limits.max_net_exposure)),
        (need.cash * size, start.cash - _before(need.cash * granted)),
    )
    return granted, {code: Ruling(granted, *pair) for code, pair in zip(CODES, figures, strict=True)}, breach


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
    def of(cls, case: Case) -> _Need:
        return cls(
            case.buy,
            case.book.exposure[case.rows],
            cash_per_unit(case) * (1 + case.limits.cash_buffer),
            case.worst - case.towards,
            case.closing,
            np.where(case.state != ACTIVE, np.inf, 0.0),
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
    before = np.zeros(len(amounts))
    amounts[:-1].cumsum(out=before[1:])
    return before
