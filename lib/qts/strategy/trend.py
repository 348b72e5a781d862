"""Trend following: what has risen goes on rising."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.strategy.base import (
    Array,
    Bar,
    State,
    bounded,
    count,
    divide,
    ewma,
    good_close,
    log_return,
    push,
    read,
    require,
    window,
)


@dataclass(frozen=True)
class EwmaCross:
    """Long while the fast mean of closes is above the slow one, short while below.

    Source: Gerald Appel's MACD (1979) without its signal line.

    Attributes:
        fast: span of the fast mean, bars.
        slow: span of the slow mean, bars; no signal before as many bars.
    """

    fast: int = 12
    slow: int = 26

    def __post_init__(self) -> None:
        require(1 <= self.fast < self.slow, self, "1 <= fast < slow")

    def start(self, instruments: int) -> State:
        nothing = np.full(instruments, np.nan)
        return {"fast": nothing, "slow": nothing.copy(), "bars": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        fast = ewma(read(state, "fast"), close, self.fast)
        slow = ewma(read(state, "slow"), close, self.slow)
        bars = count(read(state, "bars"), close)
        signal = np.where(bars >= self.slow, np.sign(fast - slow), 0.0)
        return {"fast": fast, "slow": slow, "bars": bars}, bounded(signal)


@dataclass(frozen=True)
class TimeSeriesMomentum:
    """The past return in units of its own standard deviation, clipped: long what rose, short what fell.

        signal = clip(ln(close / close `lookback` bars ago) / (sd * sqrt(lookback)), -1, 1)

    Dividing by the volatility makes the signal the same for calm and for wild instruments and for any bar length.

    Source: Moskowitz, Ooi and Pedersen, Time series momentum (Journal of Financial Economics, 2012): sign of the past
    12-month return over the exponentially weighted volatility with a centre of mass of 60 days; the return itself in
    place of its sign as in Baz et al., Dissecting investment strategies in the cross section and time series (2015).

    Attributes:
        lookback: bars over which the return is taken; no signal before `lookback + 1` bars.
        span: of the mean of squared returns, bars; 121 is a centre of mass of 60.
    """

    lookback: int = 252
    span: int = 121

    def __post_init__(self) -> None:
        require(self.lookback >= 2 and self.span >= 1, self, "lookback >= 2 and span >= 1")

    def start(self, instruments: int) -> State:
        return {"closes": window(instruments, self.lookback + 1), "variance": np.full(instruments, np.nan)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        before = read(state, "closes")
        variance = ewma(read(state, "variance"), np.square(log_return(before[:, -1], close)), self.span)
        closes = push(before, close)
        past = log_return(closes[:, 0], closes[:, -1])
        signal = divide(past, np.sqrt(variance * self.lookback))
        return {"closes": closes, "variance": variance}, bounded(signal)
