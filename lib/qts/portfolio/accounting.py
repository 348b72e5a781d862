"""One account's book: cash, positions at average cost, open orders; in double entry, so that nothing gets lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qts.errors import DataError
from qts.execution.broker import Fills, OpenOrders
from qts.market.bar import Array, IntArray, State
from qts.risk.breakers import no_trips
from qts.trading.universe import Universe

#: The accounts of an entry, in the order in which their amounts are added up; cash comes last and balances it.
ACCOUNTS = ("inventory", "fees", "realised", "cash")

_ARRAYS = ("quantity", "cost", "price", "price_time", "realised", "fees", "variance", "barred")
_OPEN = ("quantity", "limit", "decided", "age")
_AMOUNTS = ("cash", "capital", "equity", "peak_equity", "day_start_equity")
_COUNTS = ("time", "day", "orders")


@dataclass(frozen=True)
class Book:
    """The account after a bar time, over the `N` instruments of a universe.

    Attributes:
        quantity: position in units, signed, shape (N,).
        cost: what the position was acquired for, by average cost, in the unit of `Universe.worth`; signed, exactly 0
            for a flat position, shape (N,).
        price, price_time: last good close and its bar time (ns UTC; 0 before the first), shape (N,).
        realised: realised profit and loss before fees, account currency, shape (N,).
        fees: fees paid, account currency, shape (N,).
        variance: exponentially weighted variance of a bar's log return, NaN before the second bar, shape (N,).
        barred: whose order the trading state last stopped, a code of its strategy's name; 0 where it stops nothing,
            shape (N,).
        open_orders: at most one an instrument.
        cash: account currency. Shorts of linear instruments have added their proceeds.
        capital: cash at the start.
        equity: at the last bar time, account currency.
        peak_equity, day_start_equity: what drawdown and the day's loss are measured from.
        trips: circuit breakers that have tripped, see `breakers.no_trips`, shape (3, 2).
        time: last settled bar time, ns UTC; 0 before the first.
        day: UTC day number that the last bar belongs to (a bar that ends at midnight belongs to the day before).
        orders: orders sent so far.
    """

    quantity: Array
    cost: Array
    price: Array
    price_time: IntArray
    realised: Array
    fees: Array
    variance: Array
    barred: IntArray
    open_orders: OpenOrders
    cash: float
    capital: float
    equity: float
    peak_equity: float
    day_start_equity: float
    trips: IntArray
    time: int = 0
    day: int = -1
    orders: int = 0

    @classmethod
    def for_universe(cls, universe: Universe, cash: float) -> Book:
        """An account with cash and nothing else."""
        count = len(universe)
        nothing, unknown = np.zeros(count), np.full(count, np.nan)
        return cls(
            quantity=nothing,
            cost=nothing,
            price=unknown,
            price_time=np.zeros(count, dtype=np.int64),
            realised=nothing,
            fees=nothing,
            variance=unknown,
            barred=np.zeros(count, dtype=np.int64),
            open_orders=OpenOrders.none(count),
            cash=float(cash),
            capital=float(cash),
            equity=float(cash),
            peak_equity=float(cash),
            day_start_equity=float(cash),
            trips=no_trips(),
        )

    def to_state(self) -> State:
        """As arrays for `np.savez`: (N,) by instrument, `open.*` for open orders; `trips`, `amounts`, `counts`."""
        state: State = {name: getattr(self, name) for name in _ARRAYS}
        state |= {f"open.{name}": getattr(self.open_orders, name) for name in _OPEN}
        state["trips"] = self.trips
        state["amounts"] = np.array([getattr(self, name) for name in _AMOUNTS], dtype=np.float64)
        state["counts"] = np.array([getattr(self, name) for name in _COUNTS], dtype=np.int64)
        return state

    @classmethod
    def from_state(cls, state: State) -> Book:
        """The book that `to_state` wrote down, bit for bit.

        Raises:
            DataError: an array is missing.
        """
        wanted = (*_ARRAYS, *(f"open.{name}" for name in _OPEN), "trips", "amounts", "counts")
        missing = [name for name in wanted if name not in state]
        if missing:
            raise DataError(
                f"A saved book lacks {missing}; it has {sorted(state)}. It is not one, or of another version."
            )
        values: dict[str, Any] = {name: state[name] for name in (*_ARRAYS, "trips")}
        values |= dict(zip(_AMOUNTS, state["amounts"].tolist(), strict=True))
        values |= dict(zip(_COUNTS, state["counts"].tolist(), strict=True))
        opened: dict[str, Any] = {name: state[f"open.{name}"] for name in _OPEN}
        return cls(**values, open_orders=OpenOrders(**opened))

    def align(self, names: Sequence[str], universe: Universe) -> Book:
        """The same account over a universe that has grown (or lost instruments that it has nothing in).

        Args:
            names: the instruments of this book, in array order.

        Raises:
            DataError: the new universe lacks an instrument with a position, an open order or booked amounts.
        """
        if tuple(names) == universe.names:
            return self
        known = set(universe.names)
        for index in (i for i, name in enumerate(names) if name not in known):
            if self.quantity[index] or self.open_orders.quantity[index] or self.realised[index] or self.fees[index]:
                raise DataError(
                    f"The account has business in {names[index]!r}, which is no longer among the {len(universe)} "
                    "instruments. Keep it in the instruments table (tradable: false stops new orders)."
                )
        source = {name: index for index, name in enumerate(names)}
        pairs = [(new, source[name]) for new, name in enumerate(universe.names) if name in source]
        to = np.array([new for new, _ in pairs], dtype=np.intp)
        of = np.array([old for _, old in pairs], dtype=np.intp)
        fresh = Book.for_universe(universe, self.capital)

        def move(new: npt.NDArray[Any], old: npt.NDArray[Any]) -> npt.NDArray[Any]:
            moved = new.copy()
            moved[to] = old[of]
            return moved

        arrays: dict[str, Any] = {name: move(getattr(fresh, name), getattr(self, name)) for name in _ARRAYS}
        opened: dict[str, Any] = {
            name: move(getattr(fresh.open_orders, name), getattr(self.open_orders, name)) for name in _OPEN
        }
        return replace(self, **arrays, open_orders=OpenOrders(**opened))


@dataclass(frozen=True)
class Marks:
    """The book at its last prices; `cash + value.sum() == equity`.

    Attributes:
        value: of each position: quantity times price, or, for margined contracts, unrealised profit; shape (N,).
        cost: of the positions in the inventory account; 0 for margined contracts, shape (N,).
        unrealised: `value - cost`, shape (N,).
        exposure: signed exposure, shape (N,).
        equity, gross, net: of the account.
    """

    value: Array
    cost: Array
    unrealised: Array
    exposure: Array
    equity: float
    gross: float
    net: float


def mark(book: Book, universe: Universe) -> Marks:
    """Values all positions at their last good prices; flat ones need none. Account currency."""
    held = book.quantity != 0
    price = np.where(held, book.price, 1.0)
    worth = book.quantity * universe.worth(price)
    cost = np.where(universe.inverse, 0.0, book.cost)
    value = np.where(universe.inverse, worth - book.cost, worth)
    exposure = book.quantity * universe.exposure(price)
    # fsum: exact, so that the sums do not depend on the order of the instruments.
    return Marks(
        value,
        cost,
        value - cost,
        exposure,
        equity=math.fsum([book.cash, *value.tolist()]),
        gross=math.fsum(np.abs(exposure).tolist()),
        net=math.fsum(exposure.tolist()),
    )


@dataclass(frozen=True)
class Entries:
    """One journal entry a fill: what each of `ACCOUNTS` receives, in account currency, shape (M, 4).

    Assets and expenses grow by positive amounts, income by negative ones. Every row, added up from left to right, is
    exactly zero. Half-spread and slippage are within the price, so they end up in the inventory's cost.
    """

    amount: Array


def post(book: Book, fills: Fills, universe: Universe) -> tuple[Book, Entries]:
    """Books fills at average cost.

    A fill first closes what it can of an opposite position, releasing that share of its cost and realising the
    difference, and opens a position with the rest. Linear instruments are paid for in full. Margined (inverse)
    contracts move no cash but realised profit or loss and fees; their cost is kept aside and is in no account.

    Raises:
        DataError: two fills of one instrument in one call.
    """
    rows = fills.instrument
    if np.any(np.diff(rows) <= 0):
        raise DataError("Fills are posted at most one an instrument at a time, in instrument order.")
    held, cost, lot = book.quantity[rows], book.cost[rows], universe.lot_size[rows]
    multiplier, inverse = universe.multiplier[rows], universe.inverse[rows]
    worth = np.where(inverse, -multiplier / fills.price, multiplier * fills.price)

    closes = np.where(held * fills.quantity < 0, np.minimum(np.abs(held), np.abs(fills.quantity)), 0.0)
    opens = np.sign(fills.quantity) * (np.abs(fills.quantity) - closes)
    after = _snap(held + fills.quantity, lot)
    flat = (after == 0) | (np.sign(after) == -np.sign(held))  # gone through zero: all of the old cost is released
    share = np.where(flat, 1.0, closes / np.where(held == 0, 1.0, np.abs(held)))
    released = np.where(held == 0, 0.0, cost * share)
    added = np.where(after == 0, 0.0, opens * worth)
    change = added - released

    inventory = np.where(inverse, 0.0, change)
    realised = np.where(closes > 0, np.sign(held) * closes * worth - released, 0.0)
    amount = np.column_stack([inventory, fills.fee, -realised, np.zeros(len(fills))])
    amount[:, 3] = -((amount[:, 0] + amount[:, 1]) + amount[:, 2])

    def added_to(total: Array, part: Array) -> Array:
        result = total.copy()
        result[rows] += part
        return result

    quantity = book.quantity.copy()
    quantity[rows] = after
    return replace(
        book,
        quantity=quantity,
        cost=added_to(book.cost, change),
        realised=added_to(book.realised, realised),
        fees=added_to(book.fees, fills.fee),
        cash=math.fsum([book.cash, *amount[:, 3].tolist()]),
    ), Entries(amount)


def _snap(quantity: Array, lot: Array) -> Array:
    """Whole lots where a sum of lots has missed them by rounding: a position sold in parts ends at exactly 0."""
    whole = np.rint(quantity / lot) * lot
    return np.where(np.abs(quantity - whole) < 1e-6 * lot, whole, quantity)
