"""What a strategy is, and the rolling primitives that strategies are written in.

Every array has one row per instrument, every operation works row by row and every reduction runs along a row, so a
signal has the same bits however the instruments are cut into buckets. A value that is missing (NaN) changes nothing.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from qts.market.bar import Array, Bar, BarPanel, State
from qts.market.returns import log_return
from qts.market.state import read
from qts.plugins import require

__all__ = [
    "Array",
    "Bar",
    "State",
    "Strategy",
    "beside",
    "bounded",
    "carry",
    "count",
    "direction",
    "divide",
    "ewma",
    "good_close",
    "log_return",
    "push",
    "read",
    "require",
    "revert",
    "running_mean",
    "window",
]


@runtime_checkable
class Strategy(Protocol):
    """A causal rule from bars to a position between -1 (short) and 1 (long), for many instruments at once.

    For parameter sweeps it may derive from `qts.strategy.sweep.Swept` and give `along`, its signals over series without
    gaps. What it needs of other instruments it asks for by `reads` or `across`, see `qts.trading.across`.
    """

    def start(self, instruments: int) -> State:
        """The state before the first bar; the leading axis of every array is the instruments'."""
        ...

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        """The state after `bar` and the signal at its close.

        Args:
            state: what `start` or the step before returned; it is not changed.
            bar: one bar time, arrays of shape (N,); NaN where an instrument has no bar.

        Returns:
            The new state, and the signal of shape (N,) in [-1, 1]: 0 while warming up, never NaN. An instrument without
            a bar keeps its state and its signal.
        """
        ...


def good_close(bar: Bar) -> Array:
    """The closes that can be used, shape (N,): finite and positive ones; NaN stands for all others."""
    return np.where(np.isfinite(bar.close) & (bar.close > 0), bar.close, np.nan)


def carry(last: Array, value: Array) -> Array:
    """`value`, or the `last` one where it is missing."""
    return np.where(np.isnan(value), last, value)


def count(seen: Array, value: Array) -> Array:
    """Counts the values that are not missing."""
    return seen + ~np.isnan(value)


def divide(numerator: Array, denominator: Array) -> Array:
    """The ratio, NaN where the denominator is 0 or either is missing."""
    return numerator / np.where(denominator == 0, np.nan, denominator)


def direction(difference: Array, scale: Array) -> Array:
    """1 or -1, the sign of a difference, or 0 where it is missing or within rounding of nothing, shape (N,).

    Args:
        difference: of two figures.
        scale: how large those are; less than a millionth of a millionth of it is rounding.
    """
    clear = np.abs(difference) > 1e-12 * np.abs(scale)
    return np.where(clear, np.sign(difference), 0.0)


def beside(bars: Bar | BarPanel, name: str) -> Array:
    """One of the extras of a bar (N,) or a panel (T, N): NaN where it is not finite; all NaN where there is none."""
    values = bars.extra.get(name)
    if values is None:
        return np.full((bars.close if isinstance(bars, Bar) else bars.values["close"]).shape, np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def ewma(mean: Array, value: Array, span: float) -> Array:
    """Exponentially weighted mean after one more value; the first value starts it.

    mean <- mean + 2 / (span + 1) * (value - mean), pandas' `ewm(span, adjust=False, ignore_na=True).mean()`.

    Args:
        mean: shape (N,), NaN before the first value.
        value: shape (N,), NaN where there is none.
        span: in bars.
    """
    fresh = np.where(np.isnan(mean), value, mean + 2.0 / (span + 1.0) * (value - mean))
    return carry(mean, fresh)


def running_mean(mean: Array, value: Array, seen: Array, limit: float = np.inf) -> Array:
    """Mean of the first `limit` values, then exponential smoothing with weight 1 / limit (Wilder, 1978).

    Args:
        mean: shape (N,), any finite number before the first value.
        value: shape (N,), NaN where there is none.
        seen: how many values there are including this one, shape (N,).
        limit: in bars; infinite for the plain mean of all values.
    """
    return carry(mean, mean + (value - mean) / np.clip(seen, 1.0, limit))


def window(instruments: int, length: int) -> Array:
    """An empty rolling window, shape (N, length): NaN, so that its mean, deviation and extremes are NaN until full."""
    return np.full((instruments, length), np.nan)


def push(values: Array, value: Array) -> Array:
    """The rolling window after one more value: oldest first, newest last; rows without a value stay.

    The window keeps its values in order of time, so a mean over it is exact at every step: a running sum would collect
    rounding errors for ever.

    Args:
        values: shape (N, length).
        value: shape (N,), NaN where there is none.
    """
    moved = np.empty_like(values, order="C")
    moved[:, :-1] = values[:, 1:]
    moved[:, -1] = value
    missing = np.isnan(value)
    if missing.any():
        moved[missing] = values[missing]
    return moved


def revert(position: Array, score: Array, entry: float, leave: float) -> Array:
    """Position of a reversion rule: short above `entry`, long below `-entry`, out once the score is back at `leave`.

    Args:
        position: -1, 0 or 1, shape (N,).
        score: how far the price is from its normal level, shape (N,); where NaN, the position stays.
        entry: where a position is opened.
        leave: where it is closed, less than `entry`; negative lets it run to the other side.
    """
    held = np.where((position > 0) & (score >= -leave), 0.0, position)
    held = np.where((position < 0) & (score <= leave), 0.0, held)
    return np.where(score <= -entry, 1.0, np.where(score >= entry, -1.0, held))


def bounded(signal: npt.NDArray[Any]) -> Array:
    """The signal within [-1, 1], 0 where it is not known yet."""
    return np.where(np.isnan(signal), 0.0, np.minimum(np.maximum(signal, -1.0), 1.0))
