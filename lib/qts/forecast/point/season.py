"""Seasons: found in the training window, taken out before a model sees the series, put back into its forecasts."""

from __future__ import annotations

from typing import Any

import numpy as np

from qts.forecast.point.base import Fit, Panel, PointModel, Predictive
from qts.market.bar import Array, IntArray, State

_PERIODS = (4, 7, 12, 24)  # tried where nothing is known: quarters, weekdays, months, hours
_KNOWN, _GUESSED = 1.645, 3.0  # normal quantiles that the autocorrelation has to pass
_FEWEST = 3  # seasons


class Seasonal:
    """Another model on the seasonally adjusted series: where that model is naive, M4's Naive2 but for the test.

    Indices are classical: ratios to a centred moving average of one season (differences where a value is not
    positive), averaged by place in the season and normalised. Whether there is a season is tested as in M4, on the
    autocorrelations at all lags up to it, but on those of the changes: a trend makes those of the values large at every
    lag. Sources: S. Makridakis, E. Spiliotis, V. Assimakopoulos,
    "The M4 Competition", International Journal of Forecasting 36 (2020), appendix A; V. Assimakopoulos and K.
    Nikolopoulos, "The theta model", International Journal of Forecasting 16 (2000).
    """

    def __init__(self, model: PointModel, name: str | None = None) -> None:
        self.model = model
        self._name = name or model.name

    @property
    def name(self) -> str:
        return self._name

    def fit(self, panel: Panel, horizon: int) -> Fit:
        """See `PointModel.fit`."""
        series = len(panel.names)
        found = [season_of(panel.column(n), int(panel.season[n])) for n in range(series)]
        longest = max((len(index) for index, _ in found), default=1)
        index, length = np.zeros((series, longest)), np.ones(series, np.int64)
        multiplies = np.array([ratio for _, ratio in found], np.bool_)
        for n, (one, _) in enumerate(found):
            length[n] = len(one)
            index[n] = np.resize(one, longest)
        # Phase 0 is the first value of the series; gaps count.
        known = np.isfinite(panel.values)
        lived = np.where(known.any(axis=0), len(known) - (np.cumsum(known, axis=0) == 0).sum(axis=0), 0)
        season: State = {
            "season.index": index,
            "season.length": length,
            "season.multiplies": multiplies,
            "season.phase": (lived % length).astype(np.int64),
        }
        rows = np.arange(-len(panel.values), 0)[:, None]
        factor = _at(season, rows)
        adjusted = np.where(multiplies, panel.values / factor, panel.values - factor)
        fit = self.model.fit(panel.with_values(adjusted), horizon)
        return Fit({**fit.state, **season}, fit.fallback)

    def update(self, state: State, values: Array, times: IntArray) -> State:
        """See `PointModel.update`."""
        factor = _at(state, np.zeros((1, 1), np.int64))[0]
        adjusted = np.where(state["season.multiplies"], values / factor, values - factor)
        after = self.model.update(state, adjusted, times)
        return {**after, "season.phase": (state["season.phase"] + 1) % state["season.length"]}

    def forecast(self, state: State, horizon: int) -> Predictive:
        """See `PointModel.forecast`."""
        inner = self.model.forecast(state, horizon)
        factor = _at(state, np.arange(horizon)[:, None]).T
        multiplies = state["season.multiplies"][:, None]
        return Predictive(
            np.where(multiplies, inner.mean * factor, inner.mean + factor),
            np.where(multiplies, inner.sd * factor, inner.sd),
            inner.df,
        )


def season_of(values: Array, known: int) -> tuple[Array, bool]:
    """Seasonal indices by place in the season, beginning with the first value; one index where there is no season.

    Args:
        values: without gaps, shape (T,).
        known: periods in a season; 1 for none, 0 to look for one of 4, 7, 12 or 24.

    Returns:
        The indices, and whether they multiply (mean 1) or add (mean 0).
    """
    if known == 0:
        period = max(_PERIODS, key=lambda m: _strength(values, m))
        seasonal = _strength(values, period) > _GUESSED
    else:
        period, seasonal = known, known > 1 and _strength(values, known) > _KNOWN
    if not seasonal:
        return np.ones(1), True
    multiplies = bool(values.min() > 0)
    trend = _moving_average(values, period)
    deviation = values / trend if multiplies else values - trend
    place = np.arange(len(values)) % period
    index = np.array([np.nanmean(deviation[place == k]) for k in range(period)])
    index = index / index.mean() if multiplies else index - index.mean()
    if not np.isfinite(index).all() or (multiplies and index.min() <= 0.05):
        return np.ones(1), True
    return index, multiplies


def _strength(values: Array, period: int) -> float:
    """Autocorrelation of the changes at the seasonal lag in units of its standard error (Bartlett's formula)."""
    changes = np.diff(values)
    n = len(changes)
    if n < _FEWEST * period or np.ptp(changes) == 0:
        return 0.0
    centred = (changes - changes.mean()) / np.ptp(changes)  # the squares of tiny numbers would be zero
    own = float(centred @ centred)
    r = np.array([float(centred[lag:] @ centred[:-lag]) / own for lag in range(1, period + 1)])
    return float(r[-1] / np.sqrt((1 + 2 * np.square(r[:-1]).sum()) / n))


def _moving_average(values: Array, period: int) -> Array:
    """Centred, over one season (2 x m for an even one); NaN at both ends."""
    weights = np.full(period, 1 / period)
    if period % 2 == 0:
        weights = np.concatenate([[0.5], np.ones(period - 1), [0.5]]) / period
    half = len(weights) // 2
    found = np.full(len(values), np.nan)
    found[half : len(values) - half] = np.convolve(values, weights, mode="valid")
    return found


def _at(state: State, ahead: np.ndarray[Any, np.dtype[np.int64]]) -> Array:
    """Each series' index so many periods from the next one, shape (rows, N)."""
    place = (state["season.phase"] + ahead) % state["season.length"]
    return np.asarray(state["season.index"][np.arange(len(state["season.length"])), place], np.float64)
