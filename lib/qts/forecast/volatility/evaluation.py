"""Volatility models against each other on days that they have not seen: losses, tests, intervals of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qts.errors import DataError
from qts.forecast.comparison import bootstrap_intervals, diebold_mariano, rmse_cut, winkler
from qts.forecast.conformal import AdaptiveConformal
from qts.forecast.scores import qlike
from qts.forecast.volatility.garch import Garch
from qts.forecast.volatility.measures import Measures
from qts.forecast.volatility.models import BENCHMARKS, COMBINATION, VolatilityModel, combine, forecasts
from qts.market.bar import Array, IntArray

#: Days before the first test day: up to 42 for the longest lag, 60 to fit to, 20 to level by, and some to choose by.
LEAST_TRAIN = 150
_LEAST_TEST = 20
_WORST = 250  # days of the stretch with the fewest outcomes inside their intervals
_BLOCK = 22  # days, mean length of the bootstrap's blocks
#: A long window gives quiet quantiles, the level reacts: a window of 250 days had the larger interval score.
_CONFORMAL = AdaptiveConformal(coverages=(0.9,), gamma=0.01, window=1000, fewest=10)
_REFIT = 22  # days between fits that need a search (GARCH), or a half per cent of a past beyond 4,400 days


@dataclass(frozen=True)
class Evaluation:
    """Forecasts for the days after the training window, each made the day before, and how good they were.

    Attributes:
        train: days before the first test day.
        chosen: the model with the least QLIKE in the second half of the training window, random walk and EWMA aside.
        variance: what came true, shape (n_test,).
        forecast: by model, shape (n_test,).
        lower, upper: 90% intervals by model, shape (n_test,).
        figures: by model, see `evaluate`.
        notes: models that were left out.
    """

    train: int
    chosen: str
    variance: Array
    forecast: Mapping[str, Array]
    lower: Mapping[str, Array]
    upper: Mapping[str, Array]
    figures: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]


def evaluate(
    measures: Measures,
    models: tuple[VolatilityModel, ...],
    train: int,
    *,
    combined: bool = True,
    conformal: AdaptiveConformal = _CONFORMAL,
) -> Evaluation:
    """Forecasts every day from the days before it and judges those after the first `train`.

    Least squares are refitted daily, GARCH models every 22 days (or half per cent of the past), on all days so far.
    Intervals come from adaptive conformal inference on log(variance / forecast).

    Figures of each model: rmse; qlike; qlike_train (that of the choice); rmse_cut_vs_{benchmark}, a fraction, with
    the 95% interval rmse_cut_vs_{benchmark}_interval; dm_qlike_t_vs_{benchmark} and dm_se_t_vs_{benchmark},
    Diebold-Mariano on QLIKE and on squared errors, negative where the model is better; coverage90,
    coverage90_worst250; winkler, the mean interval score of log variance, and winkler_static, that of fixed quantiles
    of the training window; widest_interval, of log variance. Benchmarks are random_walk, ewma and har.

    Args:
        measures: of one instrument, shape (T, 1).
        models: with the benchmarks among them.
        train: days before the first test day.
        combined: whether their combination is judged too.
        conformal: makes one interval, of 90%.

    Raises:
        DataError: too few days, or a variance that never moves.
    """
    _check(measures.variance, train)
    # Any unit will do: in powers of four of the usual variance nothing overflows, and no digit of a root is lost.
    unit = float(4.0 ** np.round(np.log2(np.median(measures.variance[:train])) / 2))
    found, notes = _forecasts(measures.per(unit), models, train, combined)
    variance = measures.variance[1:, 0] / unit
    made = {name: forecast[:-1, 0] for name, forecast in found.items()}
    scores = np.column_stack([np.log(variance / forecast) for forecast in made.values()])
    low, high, _ = conformal.run(scores)
    test, choice = slice(train - 1, None), slice(train // 2 - 1, train - 1)
    outcome = variance[test]
    ready = np.isfinite(np.column_stack(list(made.values()))[choice]).all(axis=1)
    chosen_by = {name: _mean_qlike(variance[choice][ready], values[choice][ready]) for name, values in made.items()}
    figures: dict[str, dict[str, Any]] = {}
    lower, upper = {}, {}
    cuts = _cut_intervals(outcome, {name: values[test] for name, values in made.items()})
    for k, (name, forecast) in enumerate(made.items()):
        bounds = low[:-1, k, 0][test], high[:-1, k, 0][test]
        lower[name], upper[name] = (forecast[test] * np.exp(bound) * unit for bound in bounds)
        losses = _losses(outcome, forecast[test], {b: made[b][test] for b in BENCHMARKS})
        figures[name] = {
            **losses,
            "rmse": losses["rmse"] * unit,
            **cuts[name],
            "qlike_train": chosen_by[name],
            **_intervals(scores[:, k], bounds, train - 1),
        }
    candidates = [name for name in made if name not in ("random_walk", "ewma")]
    chosen = min(candidates, key=lambda name: chosen_by[name])
    tested = {name: values[test] * unit for name, values in made.items()}
    return Evaluation(train, chosen, outcome * unit, tested, lower, upper, figures, tuple(notes))


def default_train(days: int) -> int:
    """Two fifths of the days, at least 150."""
    return max(LEAST_TRAIN, 2 * days // 5)


def _check(variance: Array, train: int) -> None:
    days = len(variance)
    if days < LEAST_TRAIN + _LEAST_TEST:
        raise DataError(
            f"There are {days} usable days; expected at least {LEAST_TRAIN + _LEAST_TEST}, {LEAST_TRAIN} to train and "
            f"{_LEAST_TEST} to test on."
        )
    if not LEAST_TRAIN <= train <= days - _LEAST_TEST:
        raise DataError(
            f"--train is {train}; expected {LEAST_TRAIN} to {days - _LEAST_TEST}, for there are {days} usable days and "
            f"{_LEAST_TEST} must remain to test on."
        )
    for part, name in ((variance[:train], "training"), (variance[train:], "test")):
        if np.ptp(part) == 0:
            raise DataError(f"The variance is constant over the {len(part)} {name} days; there is nothing to forecast.")


def _forecasts(
    measures: Measures, models: tuple[VolatilityModel, ...], train: int, combined: bool
) -> tuple[dict[str, Array], list[str]]:
    days = len(measures.variance)
    daily, monthly = np.arange(days), search_rows(days)
    searched = tuple(model for model in models if isinstance(model, Garch))
    others = tuple(model for model in models if model not in searched)
    found = {**forecasts(others, measures, daily), **forecasts(searched, measures, monthly)}
    notes = []
    for name in list(found):
        made = found[name][train - 1 : -1]
        if not (np.isfinite(made).all() and (made > 0).all()):
            notes.append(f"{name} is left out: it has no positive forecast on some days.")
            del found[name]
    if combined:
        found[COMBINATION] = combine(found)
    return found, notes


def search_rows(days: int) -> IntArray:
    """Rows at which models are fitted that need a search; their number grows with the logarithm of the days."""
    rows = [0]
    while rows[-1] + max(_REFIT, rows[-1] // 200) < days:
        rows.append(rows[-1] + max(_REFIT, rows[-1] // 200))
    return np.array(rows, np.int64)


def _losses(outcome: Array, forecast: Array, benchmarks: Mapping[str, Array]) -> dict[str, Any]:
    squared, loss = (outcome - forecast) ** 2, qlike(outcome, forecast)
    figures: dict[str, Any] = {"rmse": float(np.sqrt(squared.mean())), "qlike": float(loss.mean())}
    for name, other in benchmarks.items():
        theirs = (outcome - other) ** 2
        figures[f"rmse_cut_vs_{name}"] = rmse_cut(squared, theirs)
        figures[f"dm_qlike_t_vs_{name}"] = diebold_mariano(loss, qlike(outcome, other)).t
        figures[f"dm_se_t_vs_{name}"] = diebold_mariano(squared, theirs).t
    return figures


def _cut_intervals(outcome: Array, made: Mapping[str, Array]) -> dict[str, dict[str, list[float]]]:
    """95% intervals of every model's cut against every benchmark, from the same draws of days."""
    squared = np.column_stack([(outcome - forecast) ** 2 for forecast in made.values()])
    theirs = [list(made).index(benchmark) for benchmark in BENCHMARKS]

    def cuts(drawn: Array) -> Array:
        rmse = np.sqrt(drawn.mean(axis=0))
        return np.asarray(1 - rmse / rmse[theirs][:, None]).ravel()

    low, high = (bound.reshape(len(BENCHMARKS), -1) for bound in bootstrap_intervals(cuts, squared, block=_BLOCK))
    return {
        name: {
            f"rmse_cut_vs_{benchmark}_interval": [float(low[b, k]), float(high[b, k])]
            for b, benchmark in enumerate(BENCHMARKS)
        }
        for k, name in enumerate(made)
    }


def _intervals(scores: Array, bounds: tuple[Array, Array], begin: int) -> dict[str, float]:
    low, high = bounds
    test = scores[begin:]
    inside = (low <= test) & (test <= high)
    stretch = min(_WORST, len(inside))
    runs = np.concatenate([[0], np.cumsum(inside)])
    before = scores[:begin][np.isfinite(scores[:begin])]
    fixed_low, fixed_high = (np.full(len(test), q) for q in np.quantile(before, [0.05, 0.95]))
    return {
        "coverage90": float(inside.mean()),
        "coverage90_worst250": float((runs[stretch:] - runs[:-stretch]).min() / stretch),
        "winkler": float(winkler(test, low, high, 0.9).mean()),
        "winkler_static": float(winkler(test, fixed_low, fixed_high, 0.9).mean()),
        "widest_interval": float((high - low).max()),
    }


def _mean_qlike(variance: Array, forecast: Array) -> float:
    return float(qlike(variance, forecast).mean()) if len(variance) else np.inf
