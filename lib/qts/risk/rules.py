"""Rules that judge each order by itself, one small function each.

A rule says how many units of an order it allows: inf where it does not bind, 0 to deny, NaN where its figure is
unknown, which denies as well. To add one, write it here and name it in `RULES`; its key is its reason code.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from qts.market.bar import Array
from qts.risk.limits import of_equity
from qts.risk.orders import BoolArray, Case, Ruling
from qts.trading.controls import HALTED, REDUCING

Rule = Callable[[Case], Ruling]

#: Limits hold up to this relative rounding error.
ROUNDING = 1e-12


def whole_lots(quantity: Array, lot: Array) -> Array:
    """Quantities >= 0 rounded down to whole lots; as they are where the lot is NaN. inf and NaN stay."""
    return np.where(
        np.isnan(lot) | ~np.isfinite(quantity), quantity, np.floor(quantity / lot * (1 + ROUNDING) + 1e-9) * lot
    )


def trading_state(case: Case) -> Ruling:
    """Halted: no orders. Reducing: only orders that bring a position nearer to zero, and not past it."""
    allowed = np.where(case.state == HALTED, 0.0, np.where(case.state == REDUCING, case.closing, np.inf))
    return Ruling(allowed, case.state.astype(np.float64), np.zeros(len(case)))


def restricted(case: Case) -> Ruling:
    """Instruments on the restricted list."""
    return _gate(~case.limits.restricted[case.rows])


def not_tradable(case: Case) -> Ruling:
    """Instruments that no orders can be sent for, such as an index."""
    return _gate(case.book.tradable[case.rows])


def stale_price(case: Case) -> Ruling:
    """A last good price that is too old, in seconds."""
    return _compare(case.book.price_age[case.rows], case.limits.max_price_age[case.rows])


def price_collar(case: Case) -> Ruling:
    """An order price too far from the last good price, as a share of it (RTS 6, Article 15(1)(a))."""
    last = case.book.price[case.rows]
    return _compare(np.abs(case.price - last) / last, case.limits.price_collar[case.rows])


def tick_size(case: Case) -> Ruling:
    """A limit price that is no multiple of the tick; the figure is the distance to one, in ticks."""
    tick = case.book.tick_size[case.rows]
    ticks = case.price / np.where(tick > 0, tick, np.inf)
    off = np.where(case.orders.limit & (tick > 0), np.abs(ticks - np.rint(ticks)), 0.0)
    return _compare(off, np.full(len(case), 1e-6))


def lot_size(case: Case) -> Ruling:
    """Whole lots only."""
    return Ruling(whole_lots(case.size, case.lot), case.size, case.lot)


def max_order_size(case: Case) -> Ruling:
    """Orders of more units than the instrument allows (RTS 6, Article 15(1)(c))."""
    limit = case.limits.max_order_size[case.rows]
    return Ruling(limit, case.size, limit)


def max_order_notional(case: Case) -> Ruling:
    """Orders worth more than the instrument allows, in account currency (RTS 6, Article 15(1)(b)).

    What only closes a position is never stopped by a fraction of equity: a loss would lock the account in.
    """
    amount = case.limits.max_order_notional[case.rows]
    share = of_equity(case.limits.max_order_notional_fraction[case.rows], case.book.equity)
    relative = np.maximum(_unless_unlimited(share / case.unit_value, share), case.closing)
    allowed = np.minimum(_unless_unlimited(amount / case.unit_value, amount), relative)
    return Ruling(allowed, case.size * case.unit_value, np.minimum(amount, share))


def max_position(case: Case) -> Ruling:
    """Positions of more units than the instrument allows, were all open orders of that side filled."""
    limit = case.limits.max_position[case.rows]
    return Ruling(_room(limit - case.towards), np.abs(case.towards + case.size), limit)


def max_position_notional(case: Case) -> Ruling:
    """Positions worth more than the instrument allows, in account currency at the last good price."""
    share = of_equity(case.limits.max_position_notional_fraction[case.rows], case.book.equity)
    limit, unit = np.minimum(case.limits.max_position_notional[case.rows], share), case.book.exposure[case.rows]
    allowed = _unless_unlimited(_room(limit / unit - case.towards), limit)
    return Ruling(allowed, np.abs(case.towards + case.size) * unit, limit)


def allow_short(case: Case) -> Ruling:
    """Sales of more than is held, where the instrument may not be sold short; the figure is the position after it."""
    covered = case.buy | case.limits.allow_short[case.rows]
    allowed = np.where(covered, np.inf, _room(case.base))
    return Ruling(allowed, case.base + case.orders.quantity, np.where(covered, -np.inf, 0.0))


RULES: dict[str, Rule] = {
    "trading_state": trading_state,
    "restricted": restricted,
    "not_tradable": not_tradable,
    "stale_price": stale_price,
    "price_collar": price_collar,
    "tick_size": tick_size,
    "lot_size": lot_size,
    "max_order_size": max_order_size,
    "max_order_notional": max_order_notional,
    "max_position": max_position,
    "max_position_notional": max_position_notional,
    "allow_short": allow_short,
}


def _room(units: Array) -> Array:
    """Units left, none below zero; NaN stays NaN."""
    return np.maximum(units, 0.0)


def _unless_unlimited(allowed: Array, limit: Array) -> Array:
    """Infinite where there is no limit, though the figure may be unknown."""
    return np.where(np.isposinf(limit), np.inf, allowed)


def _gate(open_: BoolArray) -> Ruling:
    return Ruling(np.where(open_, np.inf, 0.0), (~open_).astype(np.float64), np.zeros(len(open_)))


def _compare(figure: Array, limit: npt.NDArray[np.float64]) -> Ruling:
    """All or nothing: `figure <= limit`, where an unknown figure breaks any limit that binds."""
    good = (figure <= limit * (1 + ROUNDING)) | np.isposinf(limit)
    return Ruling(np.where(good, np.inf, 0.0), figure, limit)
