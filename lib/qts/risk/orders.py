"""What the rules look at: the orders of one time, the account they meet, and the verdicts on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qts.market.bar import Array, IntArray
from qts.risk.limits import Limits
from qts.trading.controls import REDUCING

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Orders:
    """`M` orders of one time, in the order in which they take up what the account has left.

    Attributes:
        instrument: index into the account's instruments, -1 for an unknown one, shape (M,).
        quantity: units, signed: above 0 buys, shape (M,).
        price: what the order is valued at: its limit price, or the last good price for market orders, shape (M,).
        limit: whether it is a limit order, shape (M,).
    """

    instrument: IntArray
    quantity: Array
    price: Array
    limit: BoolArray

    def __len__(self) -> int:
        return len(self.instrument)

    def rows(self, rows: npt.NDArray[np.intp]) -> Orders:
        """Some of the orders."""
        return Orders(self.instrument[rows], self.quantity[rows], self.price[rows], self.limit[rows])


@dataclass(frozen=True)
class BookView:
    """The account as the rules see it, over its `N` instruments.

    Attributes:
        quantity: position in units, shape (N,).
        buys, sells: units of open orders and of earlier orders of the batch, >= 0, shape (N,). They count as filled
            where that makes an order riskier and as unfilled where it would make it safer.
        price: last good price, NaN where there is none, shape (N,).
        price_age: seconds since then, shape (N,).
        exposure: account currency at risk per unit at `price`, shape (N,).
        inverse: margined contracts, which need no cash, shape (N,).
        multiplier: see `Universe`, shape (N,).
        lot_size: NaN where it is not known, shape (N,).
        tick_size: NaN or 0 where any price goes, shape (N,).
        tradable: whether orders may be sent, shape (N,).
        state: trading state by instrument, codes of `controls.STATES`, shape (N,).
        cash: account currency.
        equity: cash and the value of all positions; NaN where a position has no price.
        spent: cash that open orders and earlier orders of the batch will take.
    """

    quantity: Array
    buys: Array
    sells: Array
    price: Array
    price_age: Array
    exposure: Array
    inverse: BoolArray
    multiplier: Array
    lot_size: Array
    tick_size: Array
    tradable: BoolArray
    state: npt.NDArray[np.int8]
    cash: float
    equity: float
    spent: float = 0.0


@dataclass(frozen=True)
class Case:
    """What a rule looks at: `M` orders, no two for one instrument, with limits and account, and what most rules need.

    Attributes:
        orders, limits, book: limits and account are over the `N` instruments.
        rows: the instrument of each order, shape (M,).
        price: of each order, shape (M,).
        size: units asked for, > 0, shape (M,).
        buy: whether it buys, shape (M,).
        state: trading state of its instrument, the stricter of account's and limits', shape (M,). Without equity to
            measure by, limits that are fractions of it let only reducing orders pass.
        base: the position that it adds to: a buy to one with all open buys filled, a sale likewise, shape (M,).
        towards: the same, positive where the order makes it larger, shape (M,).
        worst: the instrument's largest position while any of its open orders may be filled, units >= 0, shape (M,).
        closing: units that do nothing but bring the position nearer to zero, shape (M,).
        lot: of its instrument; where none is known, 1 for an order in whole units (it is cut to such), else NaN.
        unit_value: account currency per unit at the order's price, shape (M,).
    """

    orders: Orders
    limits: Limits
    book: BookView
    rows: IntArray
    price: Array
    size: Array
    buy: BoolArray
    state: npt.NDArray[np.int8]
    base: Array
    towards: Array
    worst: Array
    closing: Array
    lot: Array
    unit_value: Array

    @classmethod
    def of(cls, orders: Orders, limits: Limits, book: BookView) -> Case:
        """Orders of known instruments with finite quantities."""
        rows, quantity, price = orders.instrument, orders.quantity, orders.price
        size, buy = np.abs(quantity), quantity > 0
        held = book.quantity[rows]
        high, low = held + book.buys[rows], held - book.sells[rows]
        base = np.where(buy, high, low)
        towards = np.where(buy, base, -base)
        lot, multiplier = book.lot_size[rows], book.multiplier[rows]
        account = (
            max(limits.trading_state, REDUCING) if limits.relative and not book.equity > 0 else limits.trading_state
        )
        return cls(
            orders,
            limits,
            book,
            rows,
            price,
            size,
            buy,
            np.maximum(book.state[rows], np.int8(account)),
            base,
            towards,
            np.maximum(np.abs(high), np.abs(low)),
            np.maximum(-towards, 0.0),
            np.where(np.isnan(lot) & (size == np.rint(size)), 1.0, lot),
            np.where(book.inverse[rows], multiplier / price, multiplier * price),
        )

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Ruling:
    """What one rule says about `M` orders.

    Attributes:
        allowed: units that it allows of each order, inf where it does not bind; NaN, for the unknown, allows none.
        figure, limit: what was compared, shape (M,).
    """

    allowed: Array
    figure: Array
    limit: Array


@dataclass(frozen=True)
class Verdicts:
    """What became of `M` orders.

    Attributes:
        verdict: `accept`, `cut` or `deny`, shape (M,).
        quantity: units that may be sent, >= 0, never more than was asked for, shape (M,).
        codes: the rules that each order broke.
        figures: by rule, the figure and the limit of every order, shape (M,) each.
    """

    verdict: npt.NDArray[np.str_]
    quantity: Array
    codes: list[list[str]]
    figures: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
