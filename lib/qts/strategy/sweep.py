"""Signals over many bars at once, for parameter sweeps: the same numbers as step by step, without the steps.

`Swept.signal` cuts a panel into each instrument's own bars, those with a usable close, so that a strategy's `along`
sees series without gaps: that is what "a missing bar changes nothing" means. Windows are worked on as the very arrays
that a step works on, so they give the same bits; exponential means come from a linear filter and agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from qts.market.bar import Array, BarPanel
from qts.strategy.base import Strategy

Mask = npt.NDArray[np.bool_]

#: Values in the windows that are laid out at once: 16 MB.
_BLOCK = 2_000_000


class Swept:
    """A strategy that also gives its signals over a whole panel."""

    def signal(self, bars: BarPanel) -> Array:
        """The signals of all steps from the start, shape (T, N); equal to them within 1e-9."""
        close = bars.values["close"]
        good = np.isfinite(close) & (close > 0)
        out = np.zeros(close.shape)
        for rows, columns in _equal_gaps(good):
            out[np.ix_(rows, columns)] = self.along(_part(bars, rows, columns))
        return carried(out, good)

    def along(self, bars: BarPanel) -> Array:
        """The signals on bars whose closes are all finite and positive, shape (T, N)."""
        raise NotImplementedError


def signals(strategy: Strategy, bars: BarPanel) -> Array:
    """The signals of a strategy from its start over a panel, shape (T, N): by `signal` where it has one."""
    if isinstance(strategy, Swept):
        return strategy.signal(bars)
    state = strategy.start(len(bars.instruments))
    out = np.empty(bars.values["close"].shape)
    for row, bar in enumerate(bars):
        state, out[row] = strategy.step(state, bar)
    return out


def carried(values: Array, known: Mask, before: float = 0.0) -> Array:
    """Each column with its last known value where it is not known, `before` where none was, shape (T, N)."""
    last = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], -1), axis=0)
    return np.where(last < 0, before, np.take_along_axis(values, np.maximum(last, 0), axis=0))


def latch(on: Mask, off: Mask) -> Array:
    """1 from a row where `on` holds until one where `off` does and `on` does not, else 0, shape (T, N)."""
    return carried(on.astype(np.float64), on | off)


def revert_along(score: Array, entry: float, leave: float) -> Array:
    """`base.revert` of all rows, shape (T, N)."""
    # As -entry < -leave and leave < entry, an entry on one side is an exit on the other: two latches, never both on.
    return latch(score <= -entry, score >= -leave) - latch(score >= entry, score <= leave)


def before(values: Array) -> Array:
    """The row before, NaN in the first, shape (T, N)."""
    return np.concatenate([np.full((1, values.shape[1]), np.nan), values[:-1]])[: len(values)]


def ewma_along(values: Array, span: float) -> Array:
    """`base.ewma` of all rows, shape (T, N)."""
    return smoothed(values, 2.0 / (span + 1.0))


def smoothed(values: Array, weight: float) -> Array:
    """Exponential smoothing with a weight; missing values change nothing, the first one starts it, shape (T, N)."""
    known = ~np.isnan(values)
    out = np.full(values.shape, np.nan)
    for rows, columns in _equal_gaps(known):
        given = values[np.ix_(rows, columns)]
        out[np.ix_(rows, columns)] = _filtered(given, given[:1], weight)
    return carried(out, known, np.nan)


def running_mean_along(values: Array, limit: int) -> Array:
    """`base.running_mean` of all rows, shape (T, N); 0 before the first value."""
    known = ~np.isnan(values)
    out = np.zeros(values.shape)
    for rows, columns in _equal_gaps(known):
        given = values[np.ix_(rows, columns)]
        means = np.cumsum(given, axis=0) / np.arange(1, len(given) + 1)[:, None]
        if len(given) > limit:
            means[limit:] = _filtered(given[limit:], means[limit - 1 : limit], 1.0 / limit)
        out[np.ix_(rows, columns)] = means
    return carried(out, known)


def _filtered(values: Array, start: Array, weight: float) -> Array:
    """Smooths: mean <- weight * value + (1 - weight) * mean along the rows, from a mean of shape (1, N)."""
    means, _ = lfilter([weight], [1.0, weight - 1.0], values, axis=0, zi=(1.0 - weight) * start)
    filtered: Array = means
    return filtered


def counted(values: Array) -> Array:
    """`base.count` of all rows from 0, shape (T, N)."""
    return np.cumsum(~np.isnan(values), axis=0).astype(np.float64)


def rolled(rule: Callable[..., Array], length: int, *series: Array) -> Array:
    """A rule on the rolling windows of one or more series, shape (T, N).

    Args:
        rule: from one array of shape (M, length) a series, oldest first, as `base.push` keeps them, to shape (M,).
        length: of the windows, bars; they hold NaN until full.
        series: shape (T, N) each; rows where any of them is missing change nothing.
    """
    known = np.logical_and.reduce([~np.isnan(each) for each in series])
    out = np.full(known.shape, np.nan)
    for rows, columns in _equal_gaps(known):
        given = [_windows(each[np.ix_(rows, columns)], length) for each in series]
        result = np.empty((len(columns), len(rows)))
        step = max(1, _BLOCK // (length * len(columns)))
        for start in range(0, len(rows), step):
            block = [np.ascontiguousarray(each[:, start : start + step]) for each in given]
            values = rule(*(each.reshape(-1, length) for each in block))
            result[:, start : start + step] = values.reshape(len(columns), -1)
        out[np.ix_(rows, columns)] = result.T
    return carried(out, known, np.nan)


def _windows(values: Array, length: int) -> Array:
    """The windows that end at each row, shape (N, T, length); not a copy."""
    filled = np.concatenate([np.full((length - 1, values.shape[1]), np.nan), values]).T
    return np.lib.stride_tricks.sliding_window_view(np.ascontiguousarray(filled), length, axis=1)


def _equal_gaps(known: Mask) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Groups of columns that are known in the same rows, as (rows, columns); those never known are left out."""
    if known.all():
        patterns, group = known[:, :1], np.zeros(known.shape[1], dtype=np.intp)
    else:
        patterns, group = np.unique(known, axis=1, return_inverse=True)
        group = group.reshape(-1)
    for number in range(patterns.shape[1]):
        rows = np.flatnonzero(patterns[:, number])
        if rows.size:
            yield rows, np.flatnonzero(group == number)


def _part(bars: BarPanel, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> BarPanel:
    place = np.ix_(rows, columns)
    return BarPanel(
        tuple(bars.instruments[column] for column in columns),
        bars.times[rows],
        {name: values[place] for name, values in bars.values.items()},
        {name: values[place] for name, values in bars.extra.items()},
    )
