"""The night and the session: gaps at the open, and where a price makes its moves.

Some sources repeat the close of the bar before as the open, or know one price a bar only. Such an open tells nothing
of the night, so where more than a fifth of the opens so far are of that kind these strategies sit out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.market.bar import BarPanel
from qts.strategy.base import (
    Array,
    Bar,
    State,
    bounded,
    carry,
    count,
    divide,
    ewma,
    good_close,
    log_return,
    read,
    require,
)
from qts.strategy.sweep import Swept, before, counted, ewma_along

_STALE = 5  # one open in as many may tell nothing


@dataclass(frozen=True)
class GapReversal(Swept):
    """Against the gap at the open, in units of the gaps' standard deviation, clipped, until the next close.

    Source: Berkman, Koch, Tuttle and Zhang, Paying attention: overnight returns and the hidden cost of buying at the
    open (Journal of Financial and Quantitative Analysis, 2012): what rose overnight gives it back afterwards.

    Attributes:
        full: gap at which the position is full, standard deviations.
        span: of the mean of squared gaps, bars; no signal before as many.
    """

    full: float = 2.0
    span: int = 60

    def __post_init__(self) -> None:
        require(self.full > 0 and self.span >= 1, self, "full > 0 and span >= 1")

    def start(self, instruments: int) -> State:
        return _start_nights(instruments) | {"power": np.full(instruments, np.nan), "signal": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        gap, after = _step_nights(state, bar, close)
        power = ewma(read(state, "power"), np.square(gap), self.span)
        fresh = self._signal(gap, power, read(after, "nights"), read(after, "stale"))
        signal = np.where(np.isnan(close), read(state, "signal"), fresh)
        return after | {"power": power, "signal": signal}, signal.copy()

    def along(self, bars: BarPanel) -> Array:
        gap, stale = _nights(bars)
        power = ewma_along(np.square(gap), self.span)
        return self._signal(gap, power, counted(gap), np.nan_to_num(stale).cumsum(axis=0))

    def _signal(self, gap: Array, power: Array, nights: Array, stale: Array) -> Array:
        ready = (nights >= self.span) & (_STALE * stale <= nights)
        return bounded(np.where(ready, -divide(gap, np.sqrt(power)) / self.full, 0.0))


@dataclass(frozen=True)
class OvernightMomentum(Swept):
    """Long what has been earning overnight, short what has been losing: the mean over its standard error, clipped.

        signal = clip(mean / root of mean square * sqrt(span) / certain, -1, 1)

    Source: Lou, Polk and Skouras, A tug of war: overnight versus intraday expected returns (Journal of Financial
    Economics, 2019): overnight returns persist for years. A decision at the close holds the night and the session after
    it, so this is the part of their effect that a once-a-bar trader can have.

    Attributes:
        span: of both means, bars; no signal before as many.
        certain: standard errors at which the position is full.
    """

    span: int = 60
    certain: float = 2.0

    def __post_init__(self) -> None:
        require(self.span >= 2 and self.certain > 0, self, "span >= 2 and certain > 0")

    def start(self, instruments: int) -> State:
        nothing = np.full(instruments, np.nan)
        return _start_nights(instruments) | {"mean": nothing, "power": nothing.copy()}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        gap, after = _step_nights(state, bar, good_close(bar))
        mean, power = ewma(read(state, "mean"), gap, self.span), ewma(read(state, "power"), np.square(gap), self.span)
        return after | {"mean": mean, "power": power}, self._signal(
            mean, power, read(after, "nights"), read(after, "stale")
        )

    def along(self, bars: BarPanel) -> Array:
        gap, stale = _nights(bars)
        mean, power = ewma_along(gap, self.span), ewma_along(np.square(gap), self.span)
        return self._signal(mean, power, counted(gap), np.nan_to_num(stale).cumsum(axis=0))

    def _signal(self, mean: Array, power: Array, nights: Array, stale: Array) -> Array:
        ready = (nights >= self.span) & (_STALE * stale <= nights)
        score = divide(mean, np.sqrt(power)) * np.sqrt(self.span) / self.certain
        return bounded(np.where(ready, score, 0.0))


def _start_nights(instruments: int) -> State:
    """Last close, number of overnight returns, number of opens that tell nothing."""
    zero = np.zeros(instruments)
    return {"close": np.full(instruments, np.nan), "nights": zero, "stale": zero.copy()}


def _step_nights(state: State, bar: Bar, close: Array) -> tuple[Array, State]:
    """The overnight return, NaN where unknown, and the state after it."""
    last, nights = read(state, "close"), read(state, "nights")
    gap, stale = _night(bar.open, bar.high, bar.low, close, last)
    nights = count(nights, gap)
    return gap, {
        "close": carry(last, close),
        "nights": nights,
        "stale": read(state, "stale") + np.nan_to_num(stale),
    }


def _nights(bars: BarPanel) -> tuple[Array, Array]:
    values = bars.values
    return _night(values["open"], values["high"], values["low"], values["close"], before(values["close"]))


def _night(opened: Array, high: Array, low: Array, close: Array, last: Array) -> tuple[Array, Array]:
    """ln(open / last close), and 1 where the open tells nothing, else 0; both NaN where either price is missing."""
    known = np.where(np.isfinite(opened) & (opened > 0) & ~np.isnan(close), opened, np.nan)
    gap = log_return(last, known)
    one_price = (high == low) & (opened == close)
    return gap, np.where(np.isnan(gap), np.nan, ((gap == 0) | one_price).astype(np.float64))
