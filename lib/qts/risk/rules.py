"""Rules that judge each order by itself, one small function each.

A rule says how many units of an order it allows: inf where it does not bind, 0 to deny, NaN where its figure is
unknown, which denies as well. To add one, write it here and name it in `RULES`; its key is its reason code.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from qts.market.bar import Array
from qts.risk.limits import Limits
from qts.risk.orders import BookView, BoolArray, Orders, Ruling
from qts.trading.controls import HALTED, REDUCING

Rule = Callable[[Orders, Limits, BookView], Ruling]

#: Limits hold up to this relative rounding error.
ROUNDING = 1e-12


def whole_lots(quantity: Array, lot: Array) -> Array:
    """Quantities >= 0 rounded down to whole lots; as they are where the lot is NaN. inf and NaN stay."""
    return np.where(
        np.isnan(lot) | ~np.isfinite(quantity), quantity, np.floor(quantity / lot * (1 + ROUNDING) + 1e-9) * lot
    )


def trading_state(orders: Orders, limits: Limits, book: BookView) -> Ruling:
    """Halted: no orders. Reducing: only orders that bring a position nearer to zero, and not past it."""
    state = np.maximum(book.state[orders.instrument], limits.trading_state)
    allowed = np.where(state == HALTED, 0.0, np.where(state == REDUCING, closing(orders, book), np.inf))
    return Ruling(allowed, state.astype(np.float64), np.zeros(len(orders)))


def restricted(orders: Orders, limits: Limits, book: BookView) -> Ruling:
    """Instruments on the restricted list."""
    return _gate(~limits.restricted[orders.instrument])


def not_tradable(orders: Orders, limits: Limits, book: BookView) -> Ruling:
    """Instruments that no orders can be sent for, such as an index."""
    return _gate(book.tradable[orders.instrument])


def stale_price(orders: Orders, limits: Limits, book: BookView) -> Ruling:
    """A last good price that is too old, in seconds."""
    age, limit = book.price_age[orders.instrument], limits.max_price_age[orders.instrument]
    return _compare(age, limit)


def price_collar(orders: Orders, limits: Limits, book: BookView) -> Ruling:
    """An order price too far from the last good price, as a share of it (RTS 6, Article 15(1)(a))."""
    last = book.price[orders.instrument]
    return _compare(np.abs(orders.price - last) / last, limits.price_collar[orders.instrument])


def tick_size(orders: Orders, limits: Limits, book: BookView) -> Ruling:
    """A limit price that is no multiple of the tick; the figure is the distance to one, in ticks."""
    tick = book.tick_size[orders.instrument]
    ticks = orders.price / np.where(tick > 0, tick, np.inf)
    off = np.where(orders.limit & (tick > 0), np.abs(ticks - np.rint(ticks)), 0.0)
    return _compare(off, np.full(len(orders), 1e-6))


def lot_size(orders: Orders, limits: Limits, book: BookView) -> Ruling:
    """Whole lots only."""
    size, lot = np.abs(orders.quantity), lots(orders, book)
    return Ruling(whole_lots(size, lot), size, lot)


def max_order_size(orders: Orders, limits: Limits, book: BookView) -> Ruling:
    """Orders of more units than the instrument allows (RTS 6, Article 15(1)(c))."""
    limit = limits.max_order_size[orders.instrument]
    return Ruling(limit, np.abs(orders.quantity), limit)


def max_order_notional(orders: Orders, limits: Limits, book: BookView) -> Ruling:
    """Orders worth more than the instrument allows, in account currency (RTS 6, Article 15(1)(b))."""
    unit, limit = unit_value(orders, book), limits.max_order_notional[orders.instrument]
    return Ruling(_unless_unlimited(limit / unit, limit), np.abs(orders.quantity) * unit, limit)


def max_position(orders: Orders, limits: Limits, book: BookView) -> Ruling:
    """Positions of more units than the instrument allows, were all open orders of that side filled."""
    limit = limits.max_position[orders.instrument]
    towards = np.sign(orders.quantity) * base(orders, book)
    return Ruling(_room(limit - towards), np.abs(towards + np.abs(orders.quantity)), limit)


def max_position_notional(orders: Orders, limits: Limits, book: BookView) -> Ruling:
    """Positions worth more than the instrument allows, in account currency at the last good price."""
    limit, unit = limits.max_position_notional[orders.instrument], book.exposure[orders.instrument]
    towards = np.sign(orders.quantity) * base(orders, book)
    allowed = _unless_unlimited(_room(limit / unit - towards), limit)
    return Ruling(allowed, np.abs(towards + np.abs(orders.quantity)) * unit, limit)


def allow_short(orders: Orders, limits: Limits, book: BookView) -> Ruling:
    """Sales of more than is held, where the instrument may not be sold short; the figure is the position after it."""
    covered = (orders.quantity > 0) | limits.allow_short[orders.instrument]
    held = base(orders, book)
    return Ruling(np.where(covered, np.inf, _room(held)), held + orders.quantity, np.where(covered, -np.inf, 0.0))


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


def base(orders: Orders, book: BookView) -> Array:
    """The position that an order adds to: a buy to one with all open buys filled, a sale likewise; shape (M,)."""
    high, low = book.quantity + book.buys, book.quantity - book.sells
    return np.where(orders.quantity > 0, high[orders.instrument], low[orders.instrument])


def closing(orders: Orders, book: BookView) -> Array:
    """Units of each order that do nothing but bring its position nearer to zero, shape (M,)."""
    return _room(-np.sign(orders.quantity) * base(orders, book))


def lots(orders: Orders, book: BookView) -> Array:
    """The lot of each order; where none is known, 1 for an order in whole units (it is cut to such), else NaN."""
    lot, size = book.lot_size[orders.instrument], np.abs(orders.quantity)
    return np.where(np.isnan(lot) & (size == np.rint(size)), 1.0, lot)


def unit_value(orders: Orders, book: BookView) -> Array:
    """Account currency per unit at the order's price, shape (M,)."""
    multiplier = book.multiplier[orders.instrument]
    return np.where(book.inverse[orders.instrument], multiplier / orders.price, multiplier * orders.price)


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
