"""What a broker is to the decision step: open orders and a bar in, fills out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qts.market.bar import Array, Bar, IntArray
from qts.trading.universe import Universe


@dataclass(frozen=True)
class OpenOrders:
    """The open order of each instrument; at most one.

    Attributes:
        quantity: units still to trade, signed, 0 where there is none, shape (N,).
        limit: limit price, NaN for market orders, shape (N,).
        decided: bar time of the decision, ns UTC, shape (N,).
        age: bars of the instrument that the order has seen, shape (N,).
    """

    quantity: Array
    limit: Array
    decided: IntArray
    age: IntArray

    @classmethod
    def none(cls, instruments: int) -> OpenOrders:
        """No open orders."""
        zeros = np.zeros(instruments, dtype=np.int64)
        return cls(np.zeros(instruments), np.full(instruments, np.nan), zeros, zeros)

    def without(self, rows: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> OpenOrders:
        """The same without the orders of some instruments, given as a mask, shape (N,)."""
        return OpenOrders(
            np.where(rows, 0.0, self.quantity),
            np.where(rows, np.nan, self.limit),
            np.where(rows, 0, self.decided),
            np.where(rows, 0, self.age),
        )


@dataclass(frozen=True)
class Fills:
    """Trades of one bar time, at most one an instrument, in instrument order.

    Attributes:
        instrument: index into the universe, strictly increasing, shape (M,).
        quantity: units, signed, shape (M,).
        price: what was paid or received per unit, half-spread and slippage within, shape (M,).
        reference: the price before costs, shape (M,).
        fee: account currency, shape (M,).
        half_spread, slippage: price units per unit traded, >= 0, shape (M,).
    """

    instrument: IntArray
    quantity: Array
    price: Array
    reference: Array
    fee: Array
    half_spread: Array
    slippage: Array

    def __len__(self) -> int:
        return len(self.instrument)


class Broker(Protocol):
    """Whoever turns open orders into fills."""

    def fill(self, orders: OpenOrders, bar: Bar, universe: Universe) -> Fills:
        """The fills of the open orders at a bar that is later than every decision among them."""
        ...
