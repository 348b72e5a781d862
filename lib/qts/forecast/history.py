"""The past of many instruments, each on its own bars: what forecasters fit and forecast from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qts.market.bar import Array, IntArray, State

#: Measures of a history that only some models use.
FURTHER = ("semivariance_minus", "semivariance_plus", "quarticity")

_DAY = 86_400_000_000_000  # nanoseconds


def variance_floor(interval: int) -> float:
    """The least variance of a bar: that of a series with a volatility of one basis point a day.

    A price that did not move has a squared return of zero, whose logarithm no model can use. The floor is a constant
    of the interval, so it needs no data and cannot look ahead; a quiet stock (1% a day) lies 10,000 times above it.

    Args:
        interval: length of a bar, nanoseconds.

    >>> variance_floor(86_400_000_000_000)
    1e-08
    """
    return 1e-8 * interval / _DAY


@dataclass(frozen=True)
class History:
    """Bars of `N` instruments, every column packed from row 0: row t is the instrument's own t-th bar.

    Instruments trade at different times, and lags count an instrument's own bars, so rows of two columns need not be
    of the same time. An instrument's first bar is spent on the first return.

    Attributes:
        instruments: names, in the order of the second axis.
        times: bar ends, nanoseconds since 1970-01-01 UTC, shape (T, N); 0 below a column's end.
        returns: log returns from the close before, shape (T, N); NaN below a column's end.
        variance: variance proxy of each bar, at least `floor`, shape (T, N); NaN below a column's end.
        length: bars of each instrument, shape (N,).
        floor: see `variance_floor`.
        semivariance_minus, semivariance_plus, quarticity: further realised measures, NaN where a bar has none, shape
            (T, N); None where nobody has asked for them.
    """

    instruments: tuple[str, ...]
    times: IntArray
    returns: Array
    variance: Array
    length: IntArray
    floor: float
    semivariance_minus: Array | None = None
    semivariance_plus: Array | None = None
    quarticity: Array | None = None

    @classmethod
    def pack(
        cls,
        instruments: Sequence[str],
        code: npt.NDArray[np.integer[Any]],
        times: IntArray,
        close: Array,
        realised_variance: Array,
        interval: int,
        **further: Array,
    ) -> History:
        """A history from rows in any order.

        The variance proxy is the realised variance where that is finite and positive. Where a bar has none (one print
        a bar), it is the squared close-to-close log return: unbiased for the variance but very noisy. Rows without a
        finite, positive close are missing bars and left out. Of rows of one instrument and time the one with the lowest
        close counts.

        Args:
            instruments: names; `code` counts them from 0.
            code: instrument of each row, shape (R,).
            times: bar end of each row, nanoseconds since 1970-01-01 UTC, shape (R,).
            close, realised_variance: shape (R,), NaN where unknown.
            interval: length of a bar, nanoseconds.
            further: any of the further measures, shape (R,).

        Returns:
            Instruments sorted by name, those without rows included.
        """
        good = np.isfinite(close) & (close > 0)
        rank = np.empty(len(instruments), np.int64)
        rank[sorted(range(len(instruments)), key=lambda n: instruments[n])] = np.arange(len(instruments))
        column, at, log_close, rv = rank[code[good]], times[good], np.log(close[good]), realised_variance[good]
        order = np.lexsort((log_close, at, column))
        repeated = np.zeros(len(order), np.bool_)
        repeated[1:] = (column[order][1:] == column[order][:-1]) & (at[order][1:] == at[order][:-1])
        order = order[~repeated]
        column, at, log_close, rv = column[order], at[order], log_close[order], rv[order]
        count = np.bincount(column, minlength=len(instruments)).astype(np.int64)
        row = np.arange(len(column)) - np.repeat(np.cumsum(count) - count, count) - 1
        floor = variance_floor(interval)
        change = np.diff(log_close, prepend=0.0)
        proxy = np.where(np.isfinite(rv) & (rv > 0), rv, change**2)
        keep = row >= 0  # the first bar of an instrument has no return
        length = np.maximum(count - 1, 0)
        shape = (int(length.max(initial=0)), len(instruments))
        place = (row[keep], column[keep])
        packed_times, returns, variance = np.zeros(shape, np.int64), np.full(shape, np.nan), np.full(shape, np.nan)
        packed_times[place], returns[place] = at[keep], change[keep]
        variance[place] = np.maximum(proxy[keep], floor)
        found = cls(tuple(sorted(instruments)), packed_times, returns, variance, length, floor)
        measures: dict[str, Any] = {name: np.full(shape, np.nan) for name in further}
        for name, values in further.items():
            measures[name][place] = values[good][order][keep]
        return replace(found, **measures)

    def columns(self, index: Sequence[int]) -> History:
        """Some instruments only, with as many rows as the longest of them has."""
        picked = np.asarray(index, np.int64)
        rows = int(self.length[picked].max(initial=0))
        return History(
            tuple(self.instruments[n] for n in index),
            np.take(self.times[:rows], picked, axis=1),
            np.take(self.returns[:rows], picked, axis=1),
            np.take(self.variance[:rows], picked, axis=1),
            self.length[picked],
            self.floor,
            **self._further(lambda values: np.take(values[:rows], picked, axis=1)),
        )

    def first(self, bars: IntArray) -> History:
        """The first `bars` bars of each instrument, shape (N,)."""
        length = np.minimum(self.length, bars)
        rows = int(length.max(initial=0))
        beyond = np.arange(rows)[:, None] >= length
        return History(
            self.instruments,
            np.where(beyond, 0, self.times[:rows]),
            np.where(beyond, np.nan, self.returns[:rows]),
            np.where(beyond, np.nan, self.variance[:rows]),
            length,
            self.floor,
            **self._further(lambda values: np.where(beyond, np.nan, values[:rows])),
        )

    def tail(self, rows: int) -> State:
        """The last rows of each column by name, shape (N, rows); NaN before a column's first row."""
        place = self.length[:, None] + np.arange(-rows, 0)
        every = np.arange(len(self.length))[:, None]

        def last(values: Array) -> Array:
            if not len(values):
                return np.full(place.shape, np.nan)
            return np.where(place >= 0, values[np.maximum(place, 0), every], np.nan)

        return {"returns": last(self.returns), "variance": last(self.variance), **self._further(last)}

    def behind(self, tail: State) -> History:
        """These bars behind those of a `tail`, whose times are not known."""
        rows = tail["returns"].shape[1]

        def joined(name: str) -> Array:
            return np.concatenate([tail[name].T, getattr(self, name)])

        measures: dict[str, Any] = {name: joined(name) for name in FURTHER if getattr(self, name) is not None}
        return replace(
            self,
            times=np.concatenate([np.zeros((rows, len(self.length)), np.int64), self.times]),
            returns=joined("returns"),
            variance=joined("variance"),
            length=self.length + rows,
            **measures,
        )

    def _further(self, part: Callable[[Array], Array]) -> dict[str, Any]:
        measures = {name: getattr(self, name) for name in FURTHER}
        return {name: part(values) for name, values in measures.items() if values is not None}

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Where a column has a bar, shape (T, N)."""
        return np.asarray(np.arange(len(self.times))[:, None] < self.length)

    def outcome(self, target: str) -> Array:
        """What a forecast of `return` or `variance` is compared with, at the bar it was made, shape (T, N)."""
        return self.next_bar(self.variance if target == "variance" else self.returns)

    def next_bar(self, values: Array) -> Array:
        """`values` of the following bar of the same instrument, shape (T, N); NaN where there is none yet."""
        return np.concatenate([values[1:], np.full((min(1, len(values)), values.shape[1]), np.nan)])
