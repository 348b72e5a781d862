"""What every forecaster of levels is: fit on a panel, update with new rows, forecast with quantiles, save, load."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.special import ndtri, stdtrit

from qts.errors import DataError
from qts.market.bar import Array, IntArray, State

#: Coverages of the intervals that every forecast carries.
COVERAGES = (0.8, 0.95)


@dataclass(frozen=True)
class Panel:
    """Past values of `N` series; all end in the last row, those that are shorter begin with NaN.

    A row is one period of a series' own calendar; rows of two series need not be of the same time.

    Attributes:
        names: of the series, in the order of the second axis.
        values: shape (T, N); NaN before a series begins and where a period's value is not known.
        times: nanoseconds since 1970-01-01 UTC, or whole numbers of the user's own; shape (T, N), 0 before a series
            begins.
        season: periods in a season, shape (N,); 1 where there is none, 0 where it is not known, -m where it may be m.
        calendar: whether times are nanoseconds.
    """

    names: tuple[str, ...]
    values: Array
    times: IntArray
    season: IntArray
    calendar: bool = False

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        values: Sequence[Array],
        times: Sequence[IntArray],
        season: Sequence[int],
        calendar: bool = False,
    ) -> Panel:
        """A panel of series of different lengths, shapes (T_n,) each."""
        rows = max((len(one) for one in values), default=0)
        packed, at = np.full((rows, len(names)), np.nan), np.zeros((rows, len(names)), np.int64)
        for n, (one, when) in enumerate(zip(values, times, strict=True)):
            packed[rows - len(one) :, n] = one
            at[rows - len(one) :, n] = when
        return cls(tuple(names), packed, at, np.array(season, np.int64), calendar)

    def column(self, n: int) -> Array:
        """One series from its first known value to the last row, `filled`."""
        return filled(self.values[:, n])

    def with_values(self, values: Array) -> Panel:
        """The same series with other values."""
        return replace(self, values=values)


def filled(values: Array) -> Array:
    """Values from the first known one on, with gaps filled by straight lines and an open end by the last value.

    Only for what is fitted to a training window: a line looks ahead, though not beyond the window.

    >>> filled(np.array([np.nan, 1.0, np.nan, 3.0, np.nan]))
    array([1., 2., 3., 3.])
    """
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.empty(0)
    rows = np.arange(known[0], len(values))
    return np.interp(rows, known, values[known])


@dataclass(frozen=True)
class Predictive:
    """Student t distributions of the next H values of each series, shape (N, H) each; NaN where there is none.

    Attributes:
        mean: in units of the series.
        sd: standard deviation.
        df: degrees of freedom, above 2; infinite for the normal.
    """

    mean: Array
    sd: Array
    df: Array

    @property
    def scale(self) -> Array:
        """The t distribution's scale: sd sqrt((df - 2) / df)."""
        heavy = np.where(np.isfinite(self.df), self.df, 3.0)
        return np.where(np.isfinite(self.df), self.sd * np.sqrt((heavy - 2) / heavy), self.sd)

    def quantile(self, probability: float) -> Array:
        """Quantiles, shape (N, H)."""
        heavy = np.where(np.isfinite(self.df), self.df, 3.0)
        z = np.where(np.isfinite(self.df), stdtrit(heavy, probability), ndtri(probability))
        return np.asarray(self.mean + self.scale * z)

    @classmethod
    def stack(cls, rows: Sequence[Predictive]) -> Predictive:
        """Forecasts made at several origins, shape (K, N, H)."""
        return cls(*(np.stack([getattr(row, name) for row in rows]) for name in ("mean", "sd", "df")))


@dataclass(frozen=True)
class Fit:
    """What a model learnt.

    Attributes:
        state: parameters and the state of the filter after the last row: arrays whose first axis is the series
            (those named `shared.*` belong to all).
        fallback: for each series why it got a simpler model than asked for; empty where it did not.
    """

    state: State
    fallback: tuple[str, ...]


class PointModel(Protocol):
    """One family of models for all series of a panel.

    A forecast depends on the rows before it alone, so appending rows never changes one that was made; and the bits of
    a series do not depend on the others, but for a model that is fitted to all of them at once (`lstm`).
    """

    @property
    def name(self) -> str:
        """Name in conf, in tables and on the command line."""
        ...

    def fit(self, panel: Panel, horizon: int) -> Fit:
        """Parameters and state after the last row. Never raises for a series: it falls back and says why.

        Args:
            horizon: steps ahead that will be forecast at most; a direct model learns each of them.
        """
        ...

    def update(self, state: State, values: Array, times: IntArray) -> State:
        """The state one period later, without refitting.

        Args:
            values: shape (N,). NaN is a period whose value is not known: the model's own forecast stands in for it.
            times: shape (N,).
        """
        ...

    def forecast(self, state: State, horizon: int) -> Predictive:
        """Distributions of the next `horizon` values, shape (N, horizon)."""
        ...


def rows_of(state: State, index: Sequence[int] | IntArray) -> State:
    """The state of some series only."""
    picked = np.asarray(index, np.int64)
    return {key: value if key.startswith("shared.") else value[picked] for key, value in state.items()}


def put_rows(state: State, index: Sequence[int] | IntArray, part: State) -> State:
    """The state with some series replaced; what is shared comes from `part`."""
    picked = np.asarray(index, np.int64)
    whole = dict(state)
    for key, value in part.items():
        if key.startswith("shared."):
            whole[key] = value
        else:
            # The longest season of a part may be shorter or longer than that of all series.
            wide = np.maximum(whole[key].shape[1:], value.shape[1:])
            whole[key] = _widened(whole[key], wide).copy()
            whole[key][picked] = _widened(value, wide)
    return whole


def _widened(values: Array, wide: IntArray) -> Array:
    """The same with zeros behind, up to the given lengths of all axes but the first."""
    more = wide - values.shape[1:]
    return np.pad(values, [(0, 0), *((0, int(count)) for count in more)]) if more.any() else values


def save(state: State) -> bytes:
    """A state as an npz file: plain arrays, no pickle; equal states give equal bytes."""
    sink = io.BytesIO()
    np.savez(sink, **{key: state[key] for key in sorted(state)})  # type: ignore[arg-type]
    return sink.getvalue()


def load(data: bytes) -> State:
    """What `save` wrote.

    Raises:
        DataError: the bytes are no npz of plain arrays.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # numpy raises many kinds for a broken file
        raise DataError(
            f"A model's state cannot be read: {error}. Expected an npz file of plain arrays, as `save` writes."
        ) from error
