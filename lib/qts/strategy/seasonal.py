"""Seasonality: the calendar as a signal. All dates are UTC, and a week has the five days from Monday to Friday.

A decision at a bar's end is held over the next bar, so what counts is the day (hour, month) in which that one begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from qts.market.bar import BarPanel, IntArray
from qts.strategy.base import Array, Bar, State, bounded, carry, good_close, log_return, read, require
from qts.strategy.forecast import latest
from qts.strategy.sweep import Swept, before

_HOUR = 3_600_000_000_000
_SLOTS = {"weekday": 5, "month": 12, "hour": 24}

Days = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class TurnOfMonth(Swept):
    """Long over the last weekday of a month and the first ones of the next, else flat.

    Source: Ariel, A monthly effect in stock returns (Journal of Financial Economics, 1987); the days -1 to +3 are those
    of Lakonishok and Smidt, Are seasonal anomalies real? (Review of Financial Studies, 1988).

    Attributes:
        last: weekdays at the end of the month.
        first: weekdays at the start of the next.
    """

    last: int = 1
    first: int = 3

    def __post_init__(self) -> None:
        require(0 <= self.last <= 10 and 0 <= self.first <= 10, self, "0 to 10 days on either side")

    def start(self, instruments: int) -> State:
        return {"signal": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        return latest(state, bar, np.repeat(self._signal(np.array([bar.time])), len(bar.close)))

    def along(self, bars: BarPanel) -> Array:
        return np.repeat(self._signal(bars.times)[:, None], len(bars.instruments), axis=1)

    def _signal(self, times: IntArray) -> Array:
        day = _next_weekday(times)
        month = day.astype("datetime64[M]")
        gone = np.busday_count(month.astype("datetime64[D]"), day)
        left = np.busday_count(day, (month + 1).astype("datetime64[D]"))
        return np.where((gone < self.first) | (left <= self.last), 1.0, 0.0)


@dataclass(frozen=True)
class Seasonality(Swept):
    """Follows what the same weekday, month or hour has brought so far, beyond the mean of all: its t-value, clipped.

        signal = clip((mean of the slot - mean of all) / (sd of all / sqrt(bars of the slot)) / certain, -1, 1)

    Source: French, Stock returns and the weekend effect (Journal of Financial Economics, 1980) for weekdays; Heston and
    Sadka, Seasonality in the cross-section of stock returns (2008) for months; Heston, Korajczyk and Sadka, Intraday
    patterns in the cross-section of stock returns (Journal of Finance, 2010) for hours.

    Attributes:
        cycle: `weekday`, `month` or `hour`; weekdays and months suit bars of up to a day, hours up to an hour.
        certain: t-value at which the position is full.
        minimum: bars of a slot before it has a signal.
    """

    cycle: Literal["weekday", "month", "hour"] = "weekday"
    certain: float = 2.0
    minimum: int = 50

    def __post_init__(self) -> None:
        require(self.cycle in _SLOTS, self, f"a cycle out of {', '.join(_SLOTS)}")
        require(self.certain > 0 and self.minimum >= 2, self, "certain > 0 and minimum >= 2")

    def start(self, instruments: int) -> State:
        slots = _SLOTS[self.cycle]
        zero = np.zeros((instruments, slots))
        return {
            "close": np.full(instruments, np.nan),
            "slot": np.zeros(instruments, dtype=np.int64),
            "count": zero,
            "sum": zero.copy(),
            "square": np.zeros(instruments),
            "signal": np.zeros(instruments),
        }

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        change = log_return(read(state, "close"), close)
        seen = ~np.isnan(change)
        # The slot that this return belongs to is the one in which its bar began.
        hit = (np.arange(_SLOTS[self.cycle]) == state["slot"][:, None]) & seen[:, None]
        counts = read(state, "count") + hit
        sums = read(state, "sum") + np.where(hit, change[:, None], 0.0)
        square = read(state, "square") + np.where(seen, np.square(change), 0.0)
        now = int(self._slots(np.array([bar.time]))[0])
        score = self._score(counts[:, now], sums[:, now], counts.sum(axis=1), sums.sum(axis=1), square)
        here = ~np.isnan(close)
        signal = np.where(here, score, read(state, "signal"))
        after: State = {
            "close": carry(read(state, "close"), close),
            "slot": np.where(here, now, state["slot"]),
            "count": counts,
            "sum": sums,
            "square": square,
            "signal": signal,
        }
        return after, signal.copy()

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        change = log_return(before(close), close)
        seen, change = ~np.isnan(change), np.nan_to_num(change)
        slot = self._slots(bars.times)
        began = np.concatenate([[0], slot[:-1]])[: len(slot)]
        numbers = np.arange(_SLOTS[self.cycle])
        hit = ((began[:, None] == numbers)[:, None, :] & seen[:, :, None]).astype(np.float64)
        counts, sums = hit.cumsum(axis=0), (hit * change[:, :, None]).cumsum(axis=0)
        place = np.broadcast_to(slot[:, None, None], (*close.shape, 1))
        return self._score(
            np.take_along_axis(counts, place, axis=2)[:, :, 0],
            np.take_along_axis(sums, place, axis=2)[:, :, 0],
            counts.sum(axis=2),
            sums.sum(axis=2),
            np.square(change).cumsum(axis=0),
        )

    def _slots(self, times: IntArray) -> IntArray:
        """The slot of the bar that begins at each time."""
        if self.cycle == "hour":
            return times // _HOUR % 24
        day = _next_weekday(times)
        if self.cycle == "month":
            return day.astype("datetime64[M]").astype(np.int64) % 12
        return (day.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday

    def _score(self, count: Array, total: Array, all_count: Array, all_total: Array, square: Array) -> Array:
        several = np.where(count >= self.minimum, count, np.nan)
        middle = all_total / np.maximum(all_count, 1.0)
        variance = square / np.maximum(all_count, 1.0) - np.square(middle)
        spread = np.where(variance > 1e-18, variance, np.nan)
        return bounded((total / several - middle) / np.sqrt(spread / several) / self.certain)


def _next_weekday(times: IntArray) -> Days:
    """The day of each time, the Monday after it where that is a weekend."""
    days: Days = times.astype("datetime64[ns]").astype("datetime64[D]")
    return np.busday_offset(days, 0, roll="forward")
