"""Breakouts: a price outside its recent range starts a move."""

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
    ewma,
    good_close,
    push,
    read,
    require,
    running_mean,
    window,
)
from qts.strategy.sweep import Swept, before, counted, ewma_along, latch, rolled, running_mean_along


@dataclass(frozen=True)
class ChannelBreakout(Swept):
    """Long on a close above the highest high of the `entry` bars before, until one below the lowest low of `leave`.

    Shorts mirror this. Where a bar has no high or low, its close stands for it.

    Source: Richard Donchian's channel; with 20 and 10 days System 1 of the Turtles (Faith, Way of the Turtle, 2007),
    without its filter and pyramids.

    Attributes:
        entry: bars whose range must be broken to open a position; no signal before as many.
        leave: bars whose range must be broken to close it.
    """

    entry: int = 20
    leave: int = 10

    def __post_init__(self) -> None:
        require(1 <= self.leave <= self.entry, self, "1 <= leave <= entry")

    def start(self, instruments: int) -> State:
        return {
            "highs": window(instruments, self.entry),
            "lows": window(instruments, self.entry),
            "position": np.zeros(instruments),
        }

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        highs, lows, position = read(state, "highs"), read(state, "lows"), read(state, "position")
        # The channel is that of the bars before: today's high always contains today's close.
        above, below = close > highs.max(axis=1), close < lows.min(axis=1)
        fell = close < lows[:, -self.leave :].min(axis=1)
        rose = close > highs[:, -self.leave :].max(axis=1)
        stopped = ((position > 0) & fell) | ((position < 0) & rose)
        position = np.where(above, 1.0, np.where(below, -1.0, np.where(stopped, 0.0, position)))
        high, low = extremes(bar.high, bar.low, close)
        after: State = {"highs": push(highs, high), "lows": push(lows, low), "position": position}
        return after, bounded(position)

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        high, low = extremes(bars.values["high"], bars.values["low"], close)
        above = close > before(rolled(_highest, self.entry, high))
        below = close < before(rolled(_lowest, self.entry, low))
        fell = close < before(rolled(_lowest, self.leave, low))
        rose = close > before(rolled(_highest, self.leave, high))
        return latch(above, fell | below) - latch(below, rose | above)


@dataclass(frozen=True)
class KeltnerBreakout(Swept):
    """Long on a close above the upper band until one below the middle, short below the lower band until above it.

        middle = EWMA(close),   bands = middle +- width * average true range

    The average true range is Wilder's mean, smoothed with weight 1 / length.

    Source: Keltner, How To Make Money in Commodities (1960); the average true range in place of the mean range after
    Raschke and Connors, Street Smarts (1995).

    Attributes:
        length: span of the middle and length of the average true range, bars; no signal before as many.
        width: of the bands, average true ranges.
    """

    length: int = 20
    width: float = 2.0

    def __post_init__(self) -> None:
        require(self.length >= 1 and self.width > 0, self, "length >= 1 and width > 0")

    def start(self, instruments: int) -> State:
        return start_range(instruments) | {"middle": np.full(instruments, np.nan), "position": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        after = step_range(state, bar, close, self.length)
        middle = ewma(read(state, "middle"), close, self.length)
        known = read(after, "ranges") >= self.length
        reach = self.width * read(after, "range")
        position = read(state, "position")
        left = ((position > 0) & (close < middle)) | ((position < 0) & (close > middle))
        position = np.where(left, 0.0, position)
        position = np.where(known & (close > middle + reach), 1.0, position)
        position = np.where(known & (close < middle - reach), -1.0, position)
        return after | {"middle": middle, "position": position}, bounded(position)

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        ranges = true_range(bars.values["high"], bars.values["low"], close, before(close))
        known = counted(ranges) >= self.length
        middle, reach = ewma_along(close, self.length), self.width * running_mean_along(ranges, self.length)
        above, below = known & (close > middle + reach), known & (close < middle - reach)
        return latch(above, close < middle) - latch(below, close > middle)


@dataclass(frozen=True)
class VolatilityBreakout(Swept):
    """Goes with a bar that moved more than `width` average true ranges from the close before, for `hold` bars.

    Source: the volatility breakout of Williams, Long-Term Secrets to Short-Term Trading (1999), from close to close and
    measured by Wilder's average true range of the bars before, New Concepts in Technical Trading Systems (1978).

    Attributes:
        length: of the average true range, bars; no signal before as many.
        width: of an ordinary move, average true ranges.
        hold: bars that a position is kept after the last such move.
    """

    length: int = 14
    width: float = 1.5
    hold: int = 5

    def __post_init__(self) -> None:
        require(self.length >= 1 and self.width > 0 and self.hold >= 1, self, "length >= 1, width > 0 and hold >= 1")

    def start(self, instruments: int) -> State:
        return start_range(instruments) | {"side": np.zeros(instruments), "age": np.full(instruments, float(self.hold))}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        change = close - read(state, "close")
        ordinary = np.where(read(state, "ranges") >= self.length, self.width * read(state, "range"), np.nan)
        broke = np.abs(change) > ordinary
        side = np.where(broke, np.sign(change), read(state, "side"))
        age = np.where(broke, 0.0, read(state, "age") + ~np.isnan(close))
        after = step_range(state, bar, close, self.length) | {"side": side, "age": age}
        return after, np.where(age < self.hold, side, 0.0)

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        last = before(close)
        ranges = true_range(bars.values["high"], bars.values["low"], close, last)
        usual = np.where(counted(ranges) >= self.length, running_mean_along(ranges, self.length), np.nan)
        broke = np.abs(close - last) > self.width * before(usual)
        rows = np.arange(len(close))[:, None]
        newest = np.maximum.accumulate(np.where(broke, rows, -1), axis=0)
        side = np.take_along_axis(np.sign(close - last), np.maximum(newest, 0), axis=0)
        return np.where((newest >= 0) & (rows - newest < self.hold), side, 0.0)


def extremes(high: Array, low: Array, close: Array) -> tuple[Array, Array]:
    """Highs and lows that contain the close, NaN where there is no close.

    A high below the close, or a low above it, is a bad print or a missing one: the close was traded for sure.
    """
    unknown = np.isnan(close)
    top, bottom = np.fmax(_finite(high), close), np.fmin(_finite(low), close)
    return np.where(unknown, np.nan, top), np.where(unknown, np.nan, bottom)


def true_range(high: Array, low: Array, close: Array, last: Array) -> Array:
    """From the higher of high and last close to the lower of low and last close; NaN without a last close (Wilder)."""
    top, bottom = extremes(high, low, close)
    return np.maximum(top, last) - np.minimum(bottom, last)


def start_range(instruments: int) -> State:
    """State of an average true range: last close, Wilder's mean, number of true ranges."""
    zero = np.zeros(instruments)
    return {"close": np.full(instruments, np.nan), "range": zero, "ranges": zero.copy()}


def step_range(state: State, bar: Bar, close: Array, length: int) -> State:
    """That state after one more bar."""
    last = read(state, "close")
    ranges = true_range(bar.high, bar.low, close, last)
    seen = count(read(state, "ranges"), ranges)
    return {
        "close": carry(last, close),
        "range": running_mean(read(state, "range"), ranges, seen, length),
        "ranges": seen,
    }


def _highest(values: Array) -> Array:
    found: Array = values.max(axis=1)
    return found


def _lowest(values: Array) -> Array:
    found: Array = values.min(axis=1)
    return found


def _finite(price: Array) -> Array:
    return np.where(np.isfinite(price) & (price > 0), price, np.nan)
