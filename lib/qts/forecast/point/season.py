"""Seasons: found in the training window, taken out before a model sees the series, put back into its forecasts."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import f as f_distribution

from qts.forecast.point.base import Fit, Panel, PointModel, Predictive
from qts.market.bar import Array, IntArray, State

_PERIODS = (4, 7, 12, 24)  # tried where nothing is known: quarters, weekdays, months, hours
_KNOWN, _GUESSED = 1.645, 3.0  # normal quantiles that the autocorrelation has to pass
_UNLIKELY = 0.01  # probability of the F test without a season
_FEWEST = 3  # seasons
_HOURS = 24  # periods from which a season is a day, and the week may be one, too
_WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5)  # of the latest season; 0 for the mean of all


class Seasonal:
    """Another model on the seasonally adjusted series: where that model is naive, nearly M4's Naive2.

    Indices are ratios to a centred moving average of one season (differences where a value is not positive), averaged
    by place in the season and normalised. The average is that of all seasons, as in classical decomposition, or one
    that follows the latest, for many seasons change over the years: whichever had the smaller errors a season ahead.
    Whether there is a season is tested as in M4, on the autocorrelations at all lags up to it, but on those of the
    changes: a trend makes those of the values large at every lag. Sources: S. Makridakis, E. Spiliotis, V.
    Assimakopoulos, "The M4 Competition", International Journal of Forecasting 36 (2020), appendix A; the choice of an
    average is that of X-11's moving seasonality ratio (J. Lothian, "The identification and treatment of moving
    seasonality in the X-11", Statistics Canada, 1984), by smoothing in place of moving averages.
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
        known: periods in a season; 1 for none, 0 to look for one of 4, 7, 12 or 24, -m where there may be one of m. A
            day of hours or shorter times becomes a week where weekdays differ.

    Returns:
        The indices, and whether they multiply (mean 1) or add (mean 0).
    """
    if known == 1:
        return np.ones(1), True
    period = abs(known) or max(_PERIODS, key=lambda m: _strength(values, m))
    seasonal = _strength(values, period) > (_KNOWN if known > 0 else _GUESSED) or (
        known > 0 and _stable(values, period)
    )
    if not seasonal:
        return np.ones(1), True
    multiplies = bool(values.min() > 0)
    index = _indices(values, period, multiplies)
    if known and period >= _HOURS and index is not None:
        place = index[np.arange(len(values)) % period]
        left = values / place if multiplies else values - place
        # Weekdays show in what repeats by the week once the shape of the day is out.
        if _strength(left, 7 * period) > _GUESSED:
            index = _indices(values, 7 * period, multiplies)
    return (np.ones(1), True) if index is None else (index, multiplies)


def _indices(values: Array, period: int, multiplies: bool) -> Array | None:
    """Normalised, by place in the season, beginning with that of the first value; None where there are none."""
    trend = _moving_average(values, period)
    deviation = values / trend if multiplies else values - trend
    index = _smoothed(deviation, period)
    index = index / index.mean() if multiplies else index - index.mean()
    if not np.isfinite(index).all() or (multiplies and index.min() <= 0.05):
        return None
    return np.asarray(index, np.float64)


def _smoothed(deviation: Array, period: int) -> Array:
    """The next season's deviations by place, beginning with the place of the first value, shape (period,).

    Args:
        deviation: NaN where the trend is not known, shape (T,).
    """
    seasons = np.full((-(-len(deviation) // period), period), np.nan)
    seasons.reshape(-1)[: len(deviation)] = deviation
    best, least = np.empty(period), np.inf
    for weight in _WEIGHTS:
        mean, seen, loss = np.zeros(period), np.zeros(period), 0.0
        for season in seasons:
            known = np.isfinite(season)
            error = np.where(known, season - mean, 0.0)
            loss += float(np.square(error[seen >= _FEWEST]).sum())
            seen = seen + known
            mean = mean + np.maximum(weight, 1 / np.maximum(seen, 1)) * error
        if loss < least:
            best, least = np.where(seen > 0, mean, np.nan), loss
    return best


def _strength(values: Array, period: int) -> float:
    """Autocorrelation of the changes at the seasonal lag in units of its standard error (Bartlett's formula)."""
    changes = np.diff(values)
    n = len(changes)
    if len(values) < _FEWEST * period or np.ptp(changes) == 0:
        return 0.0
    r = _autocorrelations(changes, period)
    return float(r[-1] / np.sqrt((1 + 2 * np.square(r[:-1]).sum()) / n))


def _stable(values: Array, period: int) -> bool:
    """Whether the mean changes by place in the season differ: the F test of stable seasonality of X-11, on changes.

    It sees a smooth season in few years, where the autocorrelations of all lags are large and so is the error of the
    last one. Source: J. Shiskin, A. Young, J. Musgrave, The X-11 variant of the Census Method II seasonal adjustment
    program, Bureau of the Census Technical Paper 15 (1967), there on deviations from the trend.
    """
    if len(values) < _FEWEST * period:
        return False
    changes = np.diff(values)
    size = np.ptp(changes)
    if size == 0:
        return False
    changes = changes / size
    place = np.arange(len(changes)) % period
    count = np.bincount(place, minlength=period)
    means = np.bincount(place, changes, minlength=period) / count
    inner, spare = float(np.square(changes - means[place]).sum()), len(changes) - period
    between = float((count * np.square(means - changes.mean())).sum()) / (period - 1)
    return between * spare > inner * float(f_distribution.isf(_UNLIKELY, period - 1, spare))


def _autocorrelations(values: Array, lags: int) -> Array:
    """At the lags 1, 2, ...; zero for values that never move."""
    if np.ptp(values) == 0:
        return np.zeros(lags)
    centred = (values - values.mean()) / np.ptp(values)  # the squares of tiny numbers would be zero
    own = float(centred @ centred)
    return np.array([float(centred[lag:] @ centred[:-lag]) / own for lag in range(1, lags + 1)])


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
