"""A broker on paper: the next bar's open, a half-spread, slippage and a fee."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from qts.execution.broker import Fills, OpenOrders
from qts.execution.costs import Execution, half_spread, slippage
from qts.market.bar import Bar
from qts.trading.universe import Universe


@dataclass(frozen=True)
class PaperBroker:
    """Fills an order of bar T at the open of the instrument's next bar, never at a price of bar T.

    A market order pays the half-spread and slippage on top of the open. A limit order waits in the book instead: it
    fills at its limit when the bar trades through it (beyond, not only to it, for others were in the queue before), or
    at the open when that is better already, and pays neither. No more than a share of the bar's volume is filled;
    fill prices are averages over the bar's book and so not rounded to ticks.
    """

    execution: Execution = field(default_factory=Execution)

    def fill(self, orders: OpenOrders, bar: Bar, universe: Universe) -> Fills:
        """See `Broker.fill`. A bar without a finite, positive open fills nothing of that instrument."""
        limited = np.isfinite(orders.limit)
        side = np.sign(orders.quantity)
        with np.errstate(invalid="ignore"):
            ready = (side != 0) & (bar.open > 0) & np.isfinite(bar.open) & (orders.decided < bar.time)
            at_open = np.where(side > 0, bar.open < orders.limit, bar.open > orders.limit)
            through = np.where(side > 0, bar.low < orders.limit, bar.high > orders.limit)
            ready &= ~limited | at_open | through
        rows = np.flatnonzero(ready)
        side, limited, at_open = side[rows], limited[rows], at_open[rows]
        reference = np.where(limited & ~at_open, orders.limit[rows], bar.open[rows])
        size = self._size(np.abs(orders.quantity[rows]), bar.volume[rows], universe.lot_size[rows])
        spread = np.where(limited, 0.0, half_spread(reference, bar.spread[rows], self.execution))
        slip = np.where(limited, 0.0, slippage(size, reference, bar.volume[rows], self.execution))
        price = reference + side * (spread + slip)
        keep = (size > 0) & (price > 0)
        multiplier = universe.multiplier[rows]
        with np.errstate(divide="ignore"):
            unit = np.where(universe.inverse[rows], multiplier / price, multiplier * price)
        fee = size * unit * self.execution.fee_bps * 1e-4
        columns = (side * size, price, reference, fee, spread, slip)
        return Fills(rows[keep].astype(np.int64), *(column[keep] for column in columns))

    def _size(self, wanted: np.ndarray, volume: np.ndarray, lot: np.ndarray) -> np.ndarray:
        """Units that fill: all, or what participation in a known volume allows, in whole lots."""
        allowed = np.where(volume > 0, self.execution.participation * volume, np.inf)
        capped = np.floor(np.minimum(allowed, wanted) / lot + 1e-9) * lot
        return np.where(wanted <= allowed, wanted, capped)
