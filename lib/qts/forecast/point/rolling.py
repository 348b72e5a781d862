"""Forecasts from a rolling origin: fit on the past, step through the rest row by row as the live system would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qts.forecast.point.base import Panel, PointModel, Predictive, put_rows
from qts.forecast.point.series import Series
from qts.market.bar import Array, IntArray, State

#: Told how far the work has come: model, origins done, origins in all.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Rolled:
    """Forecasts of one model, shape (K, N, H): of K origins, N series, H steps.

    Attributes:
        forecast: NaN for origins at or after a series' end.
        fallback: by series, why it got a simpler model at some fit.
    """

    forecast: Predictive
    fallback: dict[str, str]


def roll(
    model: PointModel,
    series: Sequence[Series],
    first: IntArray,
    origins: int,
    horizon: int,
    refit_every: int,
    progress: Progress | None = None,
) -> Rolled:
    """Forecasts at the origins first, first + 1, ...: origin o knows the rows before o and forecasts rows o, o + 1, ...

    Args:
        first: row of each series' first origin, shape (N,).
        origins: K.
        refit_every: origins between two fits.
    """
    made: list[Predictive] = []
    fallback: dict[str, str] = {}
    state: State = {}
    for k in range(origins):
        going = [n for n, one in enumerate(series) if first[n] + k < len(one.values)]
        if k % refit_every == 0 and going:
            fit = model.fit(_panel(series, first + k, going), horizon)
            state = put_rows(state, going, fit.state) if state and len(going) < len(series) else fit.state
            fallback |= {series[n].name: why for n, why in zip(going, fit.fallback, strict=True) if why}
        elif k:
            state = model.update(state, *_row(series, first + k - 1))
        made.append(model.forecast(state, horizon))
        if progress is not None and (k % 50 == 49 or k + 1 == origins):
            progress(model.name, k + 1, origins)
    forecast = Predictive.stack(made)
    over = np.arange(origins)[:, None] + first >= [len(one.values) for one in series]
    for values in (forecast.mean, forecast.sd):
        values[over] = np.nan
    return Rolled(forecast, fallback)


def outcomes(series: Sequence[Series], first: IntArray, origins: int, horizon: int) -> tuple[Array, IntArray]:
    """What came true and when, shape (K, N, H) each; NaN and the latest of times where a series has no such row."""
    actual = np.full((origins, len(series), horizon), np.nan)
    at = np.full(actual.shape, np.iinfo(np.int64).max)
    for n, one in enumerate(series):
        target = first[n] + np.arange(origins)[:, None] + np.arange(horizon)
        inside = (target >= 0) & (target < len(one.values))
        actual[:, n][inside], at[:, n][inside] = one.values[target[inside]], one.times[target[inside]]
    return actual, at


def _panel(series: Sequence[Series], rows: IntArray, chosen: Sequence[int]) -> Panel:
    some = [(series[n], int(rows[n])) for n in chosen]
    return Panel.of(
        [one.name for one, _ in some],
        [one.values[:end] for one, end in some],
        [one.times[:end] for one, end in some],
        [one.season for one, _ in some],
        all(one.calendar for one, _ in some),
    )


def _row(series: Sequence[Series], row: IntArray) -> tuple[Array, IntArray]:
    inside = [(one, int(t)) if t < len(one.values) else None for one, t in zip(series, row, strict=True)]
    values = np.array([found[0].values[found[1]] if found else np.nan for found in inside])
    return values, np.array([found[0].times[found[1]] if found else 0 for found in inside], np.int64)
