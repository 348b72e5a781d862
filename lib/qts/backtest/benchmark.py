"""What every result stands beside: the same instruments, bought once in equal parts and held."""

from __future__ import annotations

import numpy as np

from qts.execution.costs import Execution
from qts.market.bar import Array, BarPanel


def buy_and_hold(panel: BarPanel, first: int, stop: int, execution: Execution) -> Array:
    """Returns of buying all instruments in equal parts and holding them, shape (stop - first,).

    Decided at bar `first` and filled at the next price, as any order is, with fee, half-spread and slippage. The part
    of an instrument that begins later is cash until then; one that ends stays at its last price.

    Args:
        first, stop: bar times that are measured, as indices.
    """
    close, opened = panel.values["close"][first:stop], panel.values["open"][first:stop]
    price = np.where(np.isfinite(opened), opened, close)
    here = np.isfinite(close)
    count = len(close)
    cost = 1e-4 * (execution.fee_bps + execution.half_spread_bps + execution.slippage_bps)
    worth = np.ones((count, close.shape[1]))
    for column in range(close.shape[1]):
        bars = np.flatnonzero(here[:, column])
        if len(bars) < 2:
            continue
        entry = bars[1]
        last = np.maximum.accumulate(np.where(here[:, column], np.arange(count), 0))
        path = close[last, column] / price[entry, column] * (1 - cost)
        worth[entry:, column] = path[entry:]
    equity = worth.mean(axis=1)
    returns: Array = np.diff(equity, prepend=1.0) / np.concatenate([[1.0], equity[:-1]])
    return returns
