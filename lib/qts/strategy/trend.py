"""Trend following: what has risen goes on rising."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expm1

from qts.market.bar import BarPanel
from qts.strategy.base import (
    Array,
    Bar,
    State,
    bounded,
    carry,
    count,
    direction,
    divide,
    ewma,
    good_close,
    log_return,
    push,
    read,
    require,
    window,
)
from qts.strategy.sweep import Swept, before, counted, ewma_along, rolled


@dataclass(frozen=True)
class EwmaCross(Swept):
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
        return {"fast": fast, "slow": slow, "bars": bars}, self._signal(fast, slow, bars)

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        return self._signal(ewma_along(close, self.fast), ewma_along(close, self.slow), counted(close))

    def _signal(self, fast: Array, slow: Array, bars: Array) -> Array:
        return np.where(bars >= self.slow, direction(fast - slow, slow), 0.0)


@dataclass(frozen=True)
class SmaCross(Swept):
    """Long while the mean of the last `fast` closes is above that of the last `slow` ones, short while below.

    Within the band around the slow mean there is no position: it keeps small wiggles from being traded.

    Source: Brock, Lakonishok and LeBaron, Simple technical trading rules and the stochastic properties of stock returns
    (Journal of Finance, 1992), variable-length rules (1, 50) to (2, 200), without a band or with one of 1%.

    Attributes:
        fast: closes in the fast mean.
        slow: closes in the slow mean; no signal before as many.
        band: half its width, a share of the slow mean.
    """

    fast: int = 1
    slow: int = 50
    band: float = 0.0

    def __post_init__(self) -> None:
        require(1 <= self.fast < self.slow and 0 <= self.band < 1, self, "1 <= fast < slow and 0 <= band < 1")

    def start(self, instruments: int) -> State:
        return {"closes": window(instruments, self.slow)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        closes = push(read(state, "closes"), good_close(bar))
        return {"closes": closes}, self._signal(closes)

    def along(self, bars: BarPanel) -> Array:
        return rolled(self._signal, self.slow, bars.values["close"])

    def _signal(self, closes: Array) -> Array:
        slow = closes.mean(axis=1)
        above = closes[:, -self.fast :].mean(axis=1) - slow
        return np.where(np.abs(above) > self.band * slow, direction(above, slow), 0.0)


@dataclass(frozen=True)
class Macd(Swept):
    """Long while the MACD is above its signal line, short while below.

        MACD = EWMA_fast(close) - EWMA_slow(close),   signal line = EWMA_smooth(MACD)

    Source: Appel, The Moving Average Convergence-Divergence Trading Method (1979; the signal line, 1980s).

    Attributes:
        fast: span of the fast mean, bars.
        slow: span of the slow mean, bars.
        smooth: span of the signal line, bars; no position before slow + smooth bars.
    """

    fast: int = 12
    slow: int = 26
    smooth: int = 9

    def __post_init__(self) -> None:
        require(1 <= self.fast < self.slow and self.smooth >= 1, self, "1 <= fast < slow and smooth >= 1")

    def start(self, instruments: int) -> State:
        nothing = np.full(instruments, np.nan)
        return {"fast": nothing, "slow": nothing.copy(), "line": nothing.copy(), "bars": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        fast = ewma(read(state, "fast"), close, self.fast)
        slow = ewma(read(state, "slow"), close, self.slow)
        # Only a bar moves the line; without one the means, and so their difference, are those of the bar before.
        line = ewma(read(state, "line"), np.where(np.isnan(close), np.nan, fast - slow), self.smooth)
        bars = count(read(state, "bars"), close)
        return {"fast": fast, "slow": slow, "line": line, "bars": bars}, self._signal(fast, slow, line, bars)

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        fast, slow = ewma_along(close, self.fast), ewma_along(close, self.slow)
        return self._signal(fast, slow, ewma_along(fast - slow, self.smooth), counted(close))

    def _signal(self, fast: Array, slow: Array, line: Array, bars: Array) -> Array:
        return np.where(bars >= self.slow + self.smooth, direction(fast - slow - line, slow), 0.0)


@dataclass(frozen=True)
class TimeSeriesMomentum(Swept):
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
        return start_scaled_return(instruments, self.lookback)

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        after, score = step_scaled_return(state, good_close(bar), self.span)
        return after, bounded(score)

    def along(self, bars: BarPanel) -> Array:
        return bounded(scaled_return_along(bars.values["close"], self.lookback, self.span))


def start_scaled_return(instruments: int, lookback: int) -> State:
    """State of a return over `lookback` bars in units of its standard deviation."""
    return {"closes": window(instruments, lookback + 1), "variance": np.full(instruments, np.nan)}


def step_scaled_return(state: State, close: Array, span: float) -> tuple[State, Array]:
    """That state after one more close, and ln(close / close `lookback` bars ago) / (sd * sqrt(lookback))."""
    earlier = read(state, "closes")
    variance = ewma(read(state, "variance"), np.square(log_return(earlier[:, -1], close)), span)
    closes = push(earlier, close)
    score = divide(log_return(closes[:, 0], closes[:, -1]), np.sqrt(variance * (closes.shape[1] - 1)))
    return {"closes": closes, "variance": variance}, score


def scaled_return_along(close: Array, lookback: int, span: float) -> Array:
    """The score of `step_scaled_return` at every bar, shape (T, N)."""
    variance = ewma_along(np.square(log_return(before(close), close)), span)
    first = np.full(close.shape, np.nan)
    first[lookback:] = close[: max(len(close) - lookback, 0)]
    return divide(log_return(first, close), np.sqrt(variance * lookback))


@dataclass(frozen=True)
class CtaMomentum(Swept):
    """Three moving-average crossovers, each scaled twice and damped where it is extreme, on average.

        y_k = (EWMA_1/S_k(close) - EWMA_1/L_k(close)) / (close * sd of returns)
        z_k = y_k / root of EWMA(y_k^2)
        signal = mean over k of z_k exp(-z_k^2 / 4) / 0.89,   (S, L) = (8, 24), (16, 48), (32, 96)

    The response falls again beyond a score of sqrt 2: after a very long move a reversal is near.

    Source: Baz, Granger, Harvey, Le Roux and Rattray, Dissecting investment strategies in the cross section and time
    series (2015), section on CTA momentum; exponential in place of their rolling deviations (63 and 252 days), so that
    nothing has to be kept but a few means.

    Attributes:
        short: span of the mean of squared returns, bars.
        long: span of the mean of squared scores, bars; no signal before half as many.
        speed: factor on all S and L; 1 suits daily bars.
    """

    short: int = 63
    long: int = 252
    speed: float = 1.0

    def __post_init__(self) -> None:
        require(1 <= self.short <= self.long and self.speed > 0, self, "1 <= short <= long and speed > 0")

    def start(self, instruments: int) -> State:
        nothing = np.full((instruments, len(_CROSSOVERS)), np.nan)
        one = np.full(instruments, np.nan)
        return {
            "fast": nothing,
            "slow": nothing.copy(),
            "power": nothing.copy(),
            "close": one,
            "variance": one.copy(),
            "returns": np.zeros(instruments),
        }

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        change = log_return(read(state, "close"), close)
        variance = ewma(read(state, "variance"), np.square(change), self.short)
        returns = count(read(state, "returns"), change)
        after: State = {"close": carry(read(state, "close"), close), "variance": variance, "returns": returns}
        means: dict[str, list[Array]] = {"fast": [], "slow": [], "power": []}
        scores = []
        for k, (fast_span, slow_span) in enumerate(self._spans()):
            fast = ewma(read(state, "fast")[:, k], close, fast_span)
            slow = ewma(read(state, "slow")[:, k], close, slow_span)
            score = _crossover(fast, slow, close, variance)
            power = ewma(read(state, "power")[:, k], np.square(score), self.long)
            for name, mean in zip(means, (fast, slow, power), strict=True):
                means[name].append(mean)
            scores.append(divide(_crossover(fast, slow, after["close"], variance), np.sqrt(power)))
        after |= {name: np.stack(each, axis=1) for name, each in means.items()}
        return after, self._signal(scores, returns)

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        change = log_return(before(close), close)
        variance = ewma_along(np.square(change), self.short)
        scores = []
        for fast_span, slow_span in self._spans():
            score = _crossover(ewma_along(close, fast_span), ewma_along(close, slow_span), close, variance)
            scores.append(divide(score, np.sqrt(ewma_along(np.square(score), self.long))))
        return self._signal(scores, counted(change))

    def _spans(self) -> list[tuple[float, float]]:
        """A weight of 1 / n is a span of 2 n - 1."""
        return [(max(2 * s * self.speed - 1, 1.0), max(2 * n * self.speed - 1, 1.0)) for s, n in _CROSSOVERS]

    def _signal(self, scores: list[Array], returns: Array) -> Array:
        total = np.zeros(returns.shape)
        for score in scores:
            total = total + score * (1.0 + expm1(-np.square(score) / 4.0)) / 0.89
        return bounded(np.where(returns >= self.long / 2, total / len(scores), 0.0))


_CROSSOVERS = ((8, 24), (16, 48), (32, 96))


def _crossover(fast: Array, slow: Array, close: Array, variance: Array) -> Array:
    """The difference of two means of closes in units of the price's standard deviation over one bar."""
    gap = fast - slow
    # What a price that never moved leaves is rounding, and a ratio of roundings would be a signal.
    return divide(np.where(np.abs(gap) > 1e-12 * np.abs(slow), gap, 0.0 * gap), close * np.sqrt(variance))
