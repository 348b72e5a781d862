"""Relative value: an instrument against its partner, or against the mean of all.

What these strategies need of other instruments is computed over all of them before they are cut into buckets, see
`qts.trading.across`, and comes as an extra of the bar: `market.return`, the even mean of all log returns since the
instrument's own bar before, for those whose `reads` name it; and what a strategy's own `across` makes of all closes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from qts.market.bar import BarPanel
from qts.strategy.base import (
    Array,
    Bar,
    State,
    beside,
    bounded,
    carry,
    divide,
    ewma,
    good_close,
    log_return,
    push,
    read,
    require,
    revert,
    window,
)
from qts.strategy.reversion import z_score
from qts.strategy.sweep import Swept, before, ewma_along, revert_along, rolled


@dataclass(frozen=True)
class PairReversion(Swept):
    """Long the cheap one of a pair, short the dear one, out when their spread is back at its mean.

        spread = ln(close / partner's close),   z = (spread - mean of `length` spreads) / their standard deviation

    Both legs are traded when each is named as the other's partner. Instruments without a partner, and bars at which
    the partner has none, change nothing.

    Source: Gatev, Goetzmann and Rouwenhorst, Pairs trading: performance of a relative-value arbitrage rule (Review of
    Financial Studies, 2006): two deviations; a rolling window in place of their formation year.

    Attributes:
        partners: instrument to partner.
        length: spreads in the mean; no signal before as many.
        entry: distance at which a position is opened, standard deviations.
        leave: distance at which it is closed, standard deviations.
    """

    partners: dict[str, str] = field(default_factory=dict)
    length: int = 60
    entry: float = 2.0
    leave: float = 0.0

    def __post_init__(self) -> None:
        require(self.length >= 2 and -self.entry < self.leave < self.entry, self, "length >= 2 and |leave| < entry")
        alone = [name for name, partner in self.partners.items() if name == partner]
        require(not alone, self, "a partner other than the instrument itself")

    def across(self, instruments: Sequence[str], close: Array) -> dict[str, Array]:
        """The partner's close for each instrument at each bar time, NaN where there is none, shape (T, N)."""
        place = {name: column for column, name in enumerate(instruments)}
        columns = [place.get(self.partners.get(name, ""), -1) for name in instruments]
        none = np.full((len(close), 1), np.nan)
        return {self._name: np.concatenate([close, none], axis=1)[:, columns]}

    def start(self, instruments: int) -> State:
        return {"spreads": window(instruments, self.length), "position": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        spreads = push(read(state, "spreads"), log_return(_price(bar, self._name), good_close(bar)))
        position = revert(read(state, "position"), z_score(spreads), self.entry, self.leave)
        return {"spreads": spreads, "position": position}, bounded(position)

    def along(self, bars: BarPanel) -> Array:
        spread = log_return(_price(bars, self._name), bars.values["close"])
        return revert_along(rolled(z_score, self.length, spread), self.entry, self.leave)

    @property
    def _name(self) -> str:
        """Of the extra: two strategies with other partners must not read each other's."""
        pairs = json.dumps(sorted(self.partners.items()))
        return f"partner.{hashlib.blake2b(pairs.encode(), digest_size=8).hexdigest()}"


@dataclass(frozen=True)
class _BeyondMarket(Swept):
    """The return beyond the market's over `lookback` bars, in units of its sd: with it or against it."""

    lookback: int
    span: int = 121

    sign: ClassVar[float]

    def __post_init__(self) -> None:
        require(self.lookback >= 1 and self.span >= 1, self, "lookback >= 1 and span >= 1")

    @property
    def reads(self) -> tuple[str, ...]:
        return (_MARKET,)

    def start(self, instruments: int) -> State:
        nothing = np.full(instruments, np.nan)
        return {"close": nothing, "excess": window(instruments, self.lookback), "variance": nothing.copy()}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        excess = log_return(read(state, "close"), close) - beside(bar, _MARKET)
        recent = push(read(state, "excess"), excess)
        variance = ewma(read(state, "variance"), np.square(excess), self.span)
        after: State = {"close": carry(read(state, "close"), close), "excess": recent, "variance": variance}
        return after, self._signal(recent.sum(axis=1), variance)

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        excess = log_return(before(close), close) - beside(bars, _MARKET)
        total = rolled(lambda recent: recent.sum(axis=1), self.lookback, excess)
        return self._signal(total, ewma_along(np.square(excess), self.span))

    def _signal(self, total: Array, variance: Array) -> Array:
        # Where one instrument is the whole market its excess is rounding, or nothing.
        sd = np.sqrt(np.where(variance > 1e-24, variance, np.nan) * self.lookback)
        return bounded(self.sign * divide(total, sd))


@dataclass(frozen=True)
class RelativeMomentum(_BeyondMarket):
    """With the return beyond the market's over `lookback` bars, in units of its standard deviation, clipped.

    Source: Jegadeesh and Titman, Returns to buying winners and selling losers (Journal of Finance, 1993), and Blitz,
    Huij and Martens, Residual momentum (Journal of Empirical Finance, 2011) for the return beyond the market's over its
    own volatility; here with a beta of 1.

    Attributes:
        lookback: bars over which the return is taken; no signal before as many returns.
        span: of the mean of squared excess returns, bars.
    """

    lookback: int = 126

    sign: ClassVar[float] = 1.0


@dataclass(frozen=True)
class RelativeReversal(_BeyondMarket):
    """Against the return beyond the market's over the last few bars, in units of its standard deviation, clipped.

    Source: Lo and MacKinlay, When are contrarian profits due to stock market overreaction? (Review of Financial
    Studies, 1990): weights -(return - market's return) / N.

    Attributes:
        lookback: bars over which the return is taken; no signal before as many returns.
        span: of the mean of squared excess returns, bars.
    """

    lookback: int = 5

    sign: ClassVar[float] = -1.0


_MARKET = "market.return"


def _price(bars: Bar | BarPanel, name: str) -> Array:
    price = beside(bars, name)
    return np.where(price > 0, price, np.nan)
