"""Breakouts: a price outside its recent range starts a move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.strategy.base import Array, Bar, State, bounded, good_close, push, read, require, window


@dataclass(frozen=True)
class ChannelBreakout:
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
        # A high below the close, or a low above it, is a bad print or a missing one: the close was traded for sure.
        high, low = np.fmax(_finite(bar.high), close), np.fmin(_finite(bar.low), close)
        unknown = np.isnan(close)
        after: State = {
            "highs": push(highs, np.where(unknown, np.nan, high)),
            "lows": push(lows, np.where(unknown, np.nan, low)),
            "position": position,
        }
        return after, bounded(position)


def _finite(price: Array) -> Array:
    return np.where(np.isfinite(price) & (price > 0), price, np.nan)
