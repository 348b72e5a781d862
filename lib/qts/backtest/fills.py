"""Fills of a backtest: the next price that one could have had."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from qts.execution.broker import Fills, OpenOrders
from qts.execution.costs import Execution
from qts.execution.paper import PaperBroker
from qts.market.bar import Bar
from qts.trading.universe import Universe


@dataclass(frozen=True)
class NextPrice:
    """The paper broker at the next open, or at the next close where there is no open; never where nothing was traded.

    A bar whose volume is known to be 0 had no trade: its close is a copy, and nobody would have filled the order.
    """

    execution: Execution = field(default_factory=Execution)

    def fill(self, orders: OpenOrders, bar: Bar, universe: Universe) -> Fills:
        """See `Broker.fill`."""
        price = np.where(np.isfinite(bar.open) & (bar.open > 0), bar.open, bar.close)
        price = np.where(bar.volume == 0, np.nan, price)
        return PaperBroker(self.execution).fill(orders, replace(bar, open=price), universe)
