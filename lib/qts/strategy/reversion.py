"""Mean reversion: a price far from its normal level comes back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True)
class BollingerReversion:
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
        score = divide(closes[:, -1] - closes.mean(axis=1), closes.std(axis=1))
        position = revert(read(state, "position"), score, self.entry, self.leave)
        return {"closes": closes, "position": position}, bounded(position)


@dataclass(frozen=True)
class RsiReversion:
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

    def index(self, state: State) -> Array:
        """The relative strength index, shape (N,), from 0 to 100."""
        gain, loss = read(state, "gain"), read(state, "loss")
        return carry(np.full(len(gain), 50.0), 100.0 * divide(gain, gain + loss))
