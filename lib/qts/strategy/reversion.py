"""Mean reversion: a price far from its normal level comes back."""

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
    good_close,
    push,
    read,
    require,
    revert,
    running_mean,
    window,
)
from qts.strategy.breakout import extremes
from qts.strategy.sweep import Swept, before, counted, revert_along, rolled, running_mean_along
from qts.strategy.trend import scaled_return_along, start_scaled_return, step_scaled_return


@dataclass(frozen=True)
class BollingerReversion(Swept):
    """Short above the upper band, long below the lower one, out when the close is back at the mean.

    The bands lie `entry` standard deviations (population, as Bollinger has it) around the mean of `length` closes.

    Source: Bollinger, Bollinger on Bollinger Bands (2001).

    Attributes:
        length: closes in the mean; no signal before as many.
        entry: width of the bands, standard deviations.
        leave: distance from the mean at which a position is closed, standard deviations.
    """

    length: int = 20
    entry: float = 2.0
    leave: float = 0.0

    def __post_init__(self) -> None:
        require(self.length >= 2 and -self.entry < self.leave < self.entry, self, "length >= 2 and |leave| < entry")

    def start(self, instruments: int) -> State:
        return {"closes": window(instruments, self.length), "position": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        closes = push(read(state, "closes"), good_close(bar))
        position = revert(read(state, "position"), z_score(closes), self.entry, self.leave)
        return {"closes": closes, "position": position}, bounded(position)

    def along(self, bars: BarPanel) -> Array:
        return revert_along(rolled(z_score, self.length, bars.values["close"]), self.entry, self.leave)


@dataclass(frozen=True)
class ZScoreReversion(Swept):
    """Holds against the distance from the mean, in proportion to it: signal = clip(-z / full, -1, 1).

        z = (close - mean of `length` closes) / their standard deviation

    Source: the linear mean-reverting strategy of Chan, Algorithmic Trading (2013), chapter 2.

    Attributes:
        length: closes in the mean; no signal before as many.
        full: distance at which the position is full, standard deviations.
    """

    length: int = 20
    full: float = 2.0

    def __post_init__(self) -> None:
        require(self.length >= 2 and self.full > 0, self, "length >= 2 and full > 0")

    def start(self, instruments: int) -> State:
        return {"closes": window(instruments, self.length)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        closes = push(read(state, "closes"), good_close(bar))
        return {"closes": closes}, bounded(-z_score(closes) / self.full)

    def along(self, bars: BarPanel) -> Array:
        return bounded(-rolled(z_score, self.length, bars.values["close"]) / self.full)


@dataclass(frozen=True)
class RsiReversion(Swept):
    """Long when the relative strength index is oversold, short when overbought, out when it is back in the middle.

        RSI = 100 * gain / (gain + loss)

    with Wilder's means of the rises and falls of the close: plain over the first `length` changes, then smoothed with
    weight 1 / length. A price that has not moved has an RSI of 50.

    Source: Wilder, New Concepts in Technical Trading Systems (1978).

    Attributes:
        length: changes in the first mean; no signal before as many.
        low: oversold below.
        high: overbought above; must lie as far above 50 as `low` lies below.
        leave: distance from 50 at which a position is closed, index points.
    """

    length: int = 14
    low: float = 30.0
    high: float = 70.0
    leave: float = 0.0

    def __post_init__(self) -> None:
        require(
            self.length >= 1 and 0 < self.low < 50 < self.high < 100, self, "length >= 1, 0 < low < 50 < high < 100"
        )
        require(self.low + self.high == 100, self, "low and high at equal distance from 50, such as 30 and 70")
        require(abs(self.leave) < self.high - 50, self, "|leave| < high - 50")

    def start(self, instruments: int) -> State:
        zero = np.zeros(instruments)
        return {
            "close": np.full(instruments, np.nan),
            "changes": zero,
            "gain": zero.copy(),
            "loss": zero.copy(),
            "position": zero.copy(),
        }

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        change = close - read(state, "close")
        changes = count(read(state, "changes"), change)
        after: State = {
            "close": carry(read(state, "close"), close),
            "changes": changes,
            "gain": running_mean(read(state, "gain"), np.maximum(change, 0.0), changes, self.length),
            "loss": running_mean(read(state, "loss"), np.maximum(-change, 0.0), changes, self.length),
        }
        score = np.where(changes >= self.length, self.index(after) - 50.0, np.nan)
        after["position"] = revert(read(state, "position"), score, self.high - 50.0, self.leave)
        return after, bounded(after["position"])

    def along(self, bars: BarPanel) -> Array:
        change = bars.values["close"] - before(bars.values["close"])
        gain = running_mean_along(np.maximum(change, 0.0), self.length)
        loss = running_mean_along(np.maximum(-change, 0.0), self.length)
        score = np.where(counted(change) >= self.length, _index(gain, loss) - 50.0, np.nan)
        return revert_along(score, self.high - 50.0, self.leave)

    def index(self, state: State) -> Array:
        """The relative strength index, shape (N,), from 0 to 100."""
        return _index(read(state, "gain"), read(state, "loss"))


@dataclass(frozen=True)
class StochasticReversion(Swept):
    """Short when the close is near the top of its recent range, long near the bottom, out in the middle.

        %K = 100 * (close - lowest low) / (highest high - lowest low)

    Source: George Lane's stochastic oscillator (Lane's Stochastics, Technical Analysis of Stocks & Commodities, 1984).

    Attributes:
        length: bars in the range; no signal before as many.
        edge: distance from 0 and from 100 within which a position is opened.
    """

    length: int = 14
    edge: float = 20.0

    def __post_init__(self) -> None:
        require(self.length >= 2 and 0 < self.edge < 50, self, "length >= 2 and 0 < edge < 50")

    def start(self, instruments: int) -> State:
        names = ("highs", "lows")
        return {name: window(instruments, self.length) for name in names} | {"position": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        high, low = extremes(bar.high, bar.low, close)
        highs, lows = push(read(state, "highs"), high), push(read(state, "lows"), low)
        position = revert(read(state, "position"), _percent_k(close, highs, lows) - 50.0, 50.0 - self.edge, 0.0)
        return {"highs": highs, "lows": lows, "position": position}, bounded(position)

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        highs, lows = extremes(bars.values["high"], bars.values["low"], close)
        last = np.ascontiguousarray(close)
        percent = rolled(lambda one, two, three: _percent_k(one[:, -1], two, three), self.length, last, highs, lows)
        return revert_along(percent - 50.0, 50.0 - self.edge, 0.0)


@dataclass(frozen=True)
class ShortTermReversal(Swept):
    """Against the return of the last few bars, in units of its standard deviation, clipped.

    Source: Jegadeesh, Evidence of predictable behavior of security returns (Journal of Finance, 1990); one week in
    Lehmann, Fads, martingales, and market efficiency (Quarterly Journal of Economics, 1990).

    Attributes:
        lookback: bars over which the return is taken; no signal before `lookback + 1` bars.
        span: of the mean of squared returns, bars.
    """

    lookback: int = 5
    span: int = 121

    def __post_init__(self) -> None:
        require(self.lookback >= 1 and self.span >= 1, self, "lookback >= 1 and span >= 1")

    def start(self, instruments: int) -> State:
        return start_scaled_return(instruments, self.lookback)

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        after, score = step_scaled_return(state, good_close(bar), self.span)
        return after, bounded(-score)

    def along(self, bars: BarPanel) -> Array:
        return bounded(-scaled_return_along(bars.values["close"], self.lookback, self.span))


@dataclass(frozen=True)
class InternalBarStrength(Swept):
    """Long after a close near the low of its bar, short after one near the high.

        signal = 1 - 2 * (close - low) / (high - low)

    Flat after a bar without a range.

    Source: Pagonidis, The IBS effect: mean reversion in equity ETFs (NAAIM, 2013).
    """

    def start(self, instruments: int) -> State:
        return {"signal": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        signal = np.where(np.isnan(close), read(state, "signal"), _strength(bar.high, bar.low, close))
        return {"signal": signal}, signal.copy()

    def along(self, bars: BarPanel) -> Array:
        return _strength(bars.values["high"], bars.values["low"], bars.values["close"])


def z_score(values: Array) -> Array:
    """Distance of the newest value of each window (M, L) from their mean, in population deviations, shape (M,)."""
    middle, sd = values.mean(axis=1), values.std(axis=1)
    # Equal values have a deviation of rounding, not of 0.
    return divide(values[:, -1] - middle, np.where(sd > 1e-12 * np.abs(middle), sd, np.nan))


def _index(gain: Array, loss: Array) -> Array:
    return carry(np.full(gain.shape, 50.0), 100.0 * divide(gain, gain + loss))


def _percent_k(close: Array, highs: Array, lows: Array) -> Array:
    low, high = lows.min(axis=1), highs.max(axis=1)
    return 100.0 * divide(close - low, high - low)


def _strength(high: Array, low: Array, close: Array) -> Array:
    top, bottom = extremes(high, low, close)
    return bounded(1.0 - 2.0 * divide(close - bottom, top - bottom))
