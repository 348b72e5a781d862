"""How good forecasters are on a table of series: rolling origin, calibrated intervals, tests against no change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qts.errors import ConfigError, DataError
from qts.forecast import metrics
from qts.forecast.comparison import diebold_mariano
from qts.forecast.point.base import COVERAGES, PointModel, Predictive
from qts.forecast.point.intervals import calibrated
from qts.forecast.point.rolling import Progress, outcomes, roll
from qts.forecast.point.series import Series, Table
from qts.forecast.point.simple import Naive
from qts.market.bar import Array, IntArray

FEWEST = 3  # values of a series that can be evaluated: two to forecast from, one to compare with
_LONG = 30  # origins from which Diebold-Mariano runs over time; below, over series
_FEW = 10  # series below which it runs over time in any case
_SOONEST, _LATEST = 12, 100  # origins between two fits
_PART = 100  # of a long series; what adds less than such a part to the past teaches nothing
_ROWS = 100_000  # that one model may be fitted to in all: 20 seconds of all quick models together
_SURE = 0.05  # p of a difference that is told as one, for the best of all models together
_ALIKE = 0.03  # of Theil's U from 1
BENCHMARK = "naive"


@dataclass(frozen=True)
class Design:
    """How an evaluation is laid out.

    Attributes:
        horizon: steps ahead.
        calibration: share of each series before the origins whose errors calibrate the first intervals.
        test: share of each series behind the first origin that counts; at least one whole horizon where there is room.
        refit_every: origins between two fits; in between models are updated row by row. By default 12 to 100, as few as
            make all fits take less than a minute, or a hundredth of the longest series: what adds less than that to the
            past teaches nothing, and a fit costs all of it.
    """

    horizon: int
    calibration: float = 0.5
    test: float = 0.3
    refit_every: int | None = None

    def __post_init__(self) -> None:
        if not (self.horizon >= 1 and (self.refit_every is None or self.refit_every >= 1)):
            raise ConfigError(f"Horizon {self.horizon}, refit every {self.refit_every}: expected whole numbers from 1.")
        if not (0 < self.test < 1 and 0 < self.calibration <= 1 - self.test):
            raise ConfigError(
                f"Shares are {self.calibration} before calibration and {self.test} for the test; expected numbers "
                "between 0 and 1 that add up to 1 at most."
            )

    def every(self, lengths: IntArray, origins: int) -> int:
        """Origins between two fits.

        Args:
            lengths: of all series, shape (N,).
            origins: from the first to the last.
        """
        if self.refit_every is not None:
            return self.refit_every
        affordable = -(-origins * int(lengths.sum()) // _ROWS)
        return max(min(max(affordable, _SOONEST), _LATEST), int(lengths.max()) // _PART)

    def starts(self, lengths: IntArray) -> tuple[IntArray, IntArray]:
        """Rows of the first origin and of the first that counts, shape (N,) each."""
        share = np.ceil((1 - self.test) * lengths)
        room = lengths - self.horizon
        count = np.maximum(np.where(room >= 2, np.minimum(room, share), share).astype(np.int64), 2)
        count = np.minimum(count, lengths - 1)
        return np.clip(np.ceil(self.calibration * lengths).astype(np.int64), 2, count), count


@dataclass(frozen=True)
class Judged:
    """One model's forecasts at the origins that count, shape (K, N, H) each, and what became of its fits."""

    forecast: Predictive
    lower: Mapping[float, Array]
    upper: Mapping[float, Array]
    fallback: Mapping[str, str]


@dataclass(frozen=True)
class Evaluation:
    """Forecasts of all models for the same outcomes.

    Attributes:
        series: those that could be evaluated.
        first: row of each series' first origin, shape (N,).
        actual: outcomes, shape (K, N, H).
        models: by name; the benchmark is always there.
        notes: what was mended or left out, by reason.
    """

    design: Design
    series: tuple[Series, ...]
    first: IntArray
    actual: Array
    models: Mapping[str, Judged]
    notes: Mapping[str, int]

    def summary(self) -> dict[str, Any]:
        """Figures by model: each is computed series by series, then averaged over series.

        `crps` is of the model's own distribution, before any calibration; `wis`, the weighted interval score, of the
        calibrated 80 and 95% intervals, which are what `coverage80` and `coverage95` count, too.

        `dm_t_vs_naive` is negative for a model that is better. It tests squared errors in units of each series' naive
        error in training: averaged over series at each origin and tested over time with HAC errors (which allows for
        series that move together), or, with fewer than 30 origins of 10 series or more, averaged over origins and
        tested over series, as if these were independent of each other.
        """
        found = {name: self._figures(judged) for name, judged in self.models.items()}
        lengths = np.array([len(one.values) for one in self.series])
        unscaled = [
            np.isnan(metrics.naive_scale(one.values[:first], one.scaled_by))
            for one, first in zip(self.series, self.first, strict=True)
        ]
        untold = {
            "series_shorter_than_the_horizon_and_two_values": int((lengths < self.design.horizon + 2).sum()),
            "series_without_a_scale_for_mase": int(sum(unscaled)),
            "series_that_diebold_mariano_cannot_judge": len(self.series)
            if any(figures["dm_t_vs_naive"] is None for figures in found.values())
            else 0,
        }
        return {
            "n_series": len(self.series),
            "horizon": self.design.horizon,
            "origins": len(self.actual),
            "forecasts": int(np.isfinite(self.actual).sum()),
            "models": found,
            "notes": {**self.notes, **{reason: count for reason, count in untold.items() if count}},
            "verdict": verdict(found, len(self.actual), len(self.series)),
        }

    def rows(self) -> pd.DataFrame:
        """Every forecast that came true: series, step, target_time, model, mean, sd, bounds, actual."""
        k, n, h = np.nonzero(np.isfinite(self.actual))
        target = self.first[n] + k + h
        times = np.array([self.series[i].times[t] for i, t in zip(n, target, strict=True)], np.int64)
        known = all(one.calendar for one in self.series)
        names = np.array([one.name for one in self.series], dtype=object)[n]
        parts = []
        for name, judged in self.models.items():
            bounds = {
                f"{side}_{100 * level:.0f}": values[level][k, n, h]
                for level in COVERAGES
                for side, values in (("lower", judged.lower), ("upper", judged.upper))
            }
            parts.append(
                pd.DataFrame(
                    {
                        "model": name,
                        "series": names,
                        "origin": self.first[n] + k,
                        "step": h + 1,
                        "target_time": pd.to_datetime(times) if known else times,
                        "mean": judged.forecast.mean[k, n, h],
                        "sd": judged.forecast.sd[k, n, h],
                        **bounds,
                        "actual": self.actual[k, n, h],
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)

    def _figures(self, judged: Judged) -> dict[str, Any]:
        benchmark = self.models[BENCHMARK].forecast.mean
        mean = judged.forecast.mean
        crps = metrics.crps_student(self.actual, mean, judged.forecast.scale, judged.forecast.df)
        wis = metrics.weighted_interval_score(self.actual, mean, judged.lower, judged.upper)
        each: dict[str, list[float]] = {}
        for n, one in enumerate(self.series):
            actual, own, history = self.actual[:, n], mean[:, n], one.values[: self.first[n]]
            figures = {
                "rmse": metrics.rmse(actual, own),
                "mae": metrics.mae(actual, own),
                "mase": metrics.mase(actual, own, history, one.scaled_by),
                "rmsse": metrics.rmsse(actual, own, history, one.scaled_by),
                "smape": metrics.smape(actual, own),
                "crps": float(np.nanmean(crps[:, n])),
                "wis": float(np.nanmean(wis[:, n])),
                **{
                    f"coverage{100 * level:.0f}": metrics.coverage(
                        actual, judged.lower[level][:, n], judged.upper[level][:, n]
                    )
                    for level in COVERAGES
                },
                "theil_u": _ratio(metrics.rmse(actual, own), metrics.rmse(actual, benchmark[:, n])),
            }
            for name, value in figures.items():
                each.setdefault(name, []).append(value)
        found = {name: _mean(values) for name, values in each.items()}
        test = self._against_benchmark(mean)
        tests = {"dm_t_vs_naive": test.t, "dm_p_vs_naive": test.p}
        return {**found, **{key: _mean([value]) for key, value in tests.items()}, "fallbacks": len(judged.fallback)}

    def _against_benchmark(self, mean: Array) -> Any:
        squares = np.array(
            [metrics.naive_square(one.values[:f]) for one, f in zip(self.series, self.first, strict=True)]
        )
        scaled = [
            np.square(self.actual - forecast) / squares[:, None]
            for forecast in (mean, self.models[BENCHMARK].forecast.mean)
        ]
        origins = len(self.actual)
        if origins >= _LONG or (len(self.series) < _FEW and origins > 2 * self.design.horizon):
            own, other = (_mean_over(loss, (1, 2)) for loss in scaled)
            return diebold_mariano(own, other, horizon=self.design.horizon)
        own, other = (_mean_over(loss, (0, 2)) for loss in scaled)
        return diebold_mariano(own, other, lags=0)


def evaluate(
    table: Table, models: Mapping[str, PointModel], design: Design, progress: Progress | None = None
) -> Evaluation:
    """Forecasts of every model from every origin, with intervals as they would have been known there.

    Args:
        models: by name; the benchmark is added where it is not among them.

    Raises:
        DataError: no series is long enough.
    """
    series = tuple(one for one in table.series if np.isfinite(one.values).sum() >= FEWEST)
    if not series:
        raise DataError(f"No series has {FEWEST} values; two are needed to forecast from and one to compare with.")
    notes = dict(table.notes)
    if left := len(table.series) - len(series):
        notes["series_too_short"] = left
    lengths = np.array([len(one.values) for one in series], np.int64)
    begin, first = design.starts(lengths)
    now = np.array([one.times[row - 1] for one, row in zip(series, first, strict=True)], np.int64)
    early, late = int((first - begin).max()), int((lengths - first).max())
    horizon, every = design.horizon, design.every(lengths, early + late)
    actual, at = outcomes(series, first - early, early + late, horizon)
    judged = {}
    for name, model in {BENCHMARK: Naive(), **models}.items():
        before = roll(model, series, begin, early, horizon, every) if early else None
        after = roll(model, series, first, late, horizon, every, progress)
        whole = _joined(before.forecast if before else None, after.forecast, early - (first - begin))
        scores = (actual - whole.mean) / whole.sd
        lower, upper = calibrated(after.forecast, scores, at, early, now)
        judged[name] = Judged(after.forecast, lower, upper, {**(before.fallback if before else {}), **after.fallback})
    ordered = {name: judged[name] for name in [BENCHMARK, *models]}
    return Evaluation(design, series, first, actual[early:], ordered, notes)


def _joined(before: Predictive | None, after: Predictive, shift: IntArray) -> Predictive:
    """Forecasts of both phases with the first origin that counts in one row for all series; NaN where there is none."""
    if before is None:
        return after
    early, series, _ = before.mean.shape
    parts = []
    for name in ("mean", "sd", "df"):
        own, late = getattr(before, name), getattr(after, name)
        moved = np.full(own.shape, np.nan)
        for n in range(series):
            moved[shift[n] :, n] = own[: early - shift[n], n]
        parts.append(np.concatenate([moved, late]))
    return Predictive(*parts)


def verdict(models: Mapping[str, Mapping[str, Any]], origins: int, series: int) -> str:
    """What the figures say, in words: whether any model beats "no change", by how much, and how sure that is.

    The best of K models is sure where K times its Diebold-Mariano p is at most .05 (Bonferroni): somebody is always
    the best. Fewer than 30 origins of fewer than 30 series decide nothing.
    """
    others = {name: found for name, found in models.items() if name != BENCHMARK and found["theil_u"] is not None}
    if not others:
        return "Nothing was compared with the naive forecast."
    best = min(others, key=lambda name: others[name]["theil_u"])
    u, t, p = (others[best][key] for key in ("theil_u", "dm_t_vs_naive", "dm_p_vs_naive"))
    test = "Diebold-Mariano t unknown" if t is None else f"Diebold-Mariano t {t:.1f}"
    if len(others) > 1 and p is not None:
        test += f", p {min(p * len(others), 1.0):.2g} as the best of {len(others)} models"
    if origins < _LONG:
        test += ", over series as if they were independent"
    if max(origins, series) < _LONG:
        return (
            f"{origins} origin{'s' * (origins > 1)} of {series} series are too few to say whether any model beats no "
            f"change ({_LONG} of either are needed); Theil's U of the best ({best}) is {u:.3f}."
        )
    if u < 1 and t is not None and t < 0 and p is not None and p * len(others) <= _SURE:
        return f"{best} beats no change: Theil's U {u:.3f}, {test}."
    if u < 1 - _ALIKE:
        return f"{best} has Theil's U {u:.3f}, but the difference may be luck: {test}."
    said = f"No model beats no change: Theil's U of the best ({best}) is {u:.3f}"
    if u > 1 + _ALIKE:
        return f"{said}, worse than no change."
    if origins < _LONG:
        return f"{said}, which is about 1."
    return (
        f"{said}, which is about 1. That is what prices in liquid markets look like: their levels are close to a "
        "random walk."
    )


def _ratio(value: float, benchmark: float) -> float:
    if benchmark > 0:
        return value / benchmark
    return 1.0 if value == 0 else np.nan


def _mean(values: Sequence[float]) -> float | None:
    """Over series where it is defined (the errors of a constant series have no scale); None where it is for none."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _mean_over(values: Array, axes: tuple[int, int]) -> Array:
    known = np.isfinite(values)
    count = known.sum(axis=axes)
    total = np.where(known, values, 0.0).sum(axis=axes)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
