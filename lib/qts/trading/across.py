"""What a strategy may know of other instruments, computed over all of them before they are cut into buckets.

A strategy runs in a bucket and sees its own instruments only. What it needs of the others comes as extras of the bar,
which are the same whatever the buckets are:

- `market.return`, for strategies whose `reads` name it: at an instrument's bar, the sum of the market's returns since
  that instrument's own bar before. The market's return at a bar time is the even mean of the log returns of all
  instruments with a bar then. It is known by the bar's end: a bar time is decided once all its bars are there.
- whatever a strategy's `across(instruments, close)` makes of the closes of each bar time, row by row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from qts.market.bar import Array, BarPanel, State
from qts.market.returns import log_return
from qts.strategy.base import Strategy, carry

MARKET = "market.return"


@runtime_checkable
class Across(Protocol):
    """A strategy that reads other instruments' closes."""

    def across(self, instruments: Sequence[str], close: Array) -> Mapping[str, Array]:
        """Extras by name, shape (T, N), from closes of shape (T, N), NaN where there is none.

        A row may depend on that row only, and not on which other instruments there are, or bits would depend on where
        batches and universes begin. A name has to tell strategies with other parameters apart.
        """
        ...


def start(instruments: int) -> State:
    """The state before the first bar: the market's return that each instrument has not been told of yet, shape (N,)."""
    return {"market_since": np.zeros(instruments)}


def with_others(
    strategies: Iterable[Strategy], panel: BarPanel, last: Array | None = None, owed: Array | None = None
) -> tuple[BarPanel, Array]:
    """The panel with what the strategies read of other instruments.

    Args:
        strategies: those that will step on it.
        panel: bars over all instruments.
        last: closes before the panel, NaN where there was none, shape (N,); by default none at all.
        owed: the market's return since each instrument's last bar, shape (N,); by default none.

    Returns:
        The panel with more extras, and what is owed after it.
    """
    strategies = list(strategies)
    count = len(panel.instruments)
    owed = np.zeros(count) if owed is None else owed
    readers = [strategy for strategy in strategies if isinstance(strategy, Across)]
    wants_market = any(MARKET in getattr(strategy, "reads", ()) for strategy in strategies)
    if not readers and not wants_market:
        return panel, owed
    raw = panel.values["close"]
    close = np.where(np.isfinite(raw) & (raw > 0), raw, np.nan)
    extra = dict(panel.extra)
    for strategy in readers:
        extra.update(strategy.across(panel.instruments, close))
    if wants_market:
        extra[MARKET], owed = _market(close, np.full(count, np.nan) if last is None else last, owed)
    return replace(panel, extra=extra), owed


def _market(close: Array, last: Array, owed: Array) -> tuple[Array, Array]:
    told = np.full(close.shape, np.nan)
    for row, now in enumerate(close):
        change = log_return(last, now)
        known = change[~np.isnan(change)]
        # fsum is exact, so neither the order of the instruments nor those without a bar change a bit of the mean.
        owed = owed + (math.fsum(known) / len(known) if len(known) else 0.0)
        here = ~np.isnan(now)
        told[row] = np.where(here, owed, np.nan)
        owed = np.where(here, 0.0, owed)
        last = carry(last, now)
    return told, owed
