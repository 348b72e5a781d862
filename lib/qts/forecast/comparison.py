"""Is one forecast better than another, or was it luck: tests of loss differences, and scores of intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from qts.errors import DataError
from qts.market.bar import Array


@dataclass(frozen=True)
class DieboldMariano:
    """The test that two forecasts lose the same on average.

    Attributes:
        difference: mean loss of the first minus the second; negative where the first is better.
        t: its t statistic.
        p: two-sided p value.
        n: pairs of losses.
        lags: autocovariances in the variance of the mean.
    """

    difference: float
    t: float
    p: float
    n: int
    lags: int


def diebold_mariano(loss: Array, other: Array, *, horizon: int = 1, lags: int | None = None) -> DieboldMariano:
    """Tests two series of losses of forecasts of the same outcomes, in the order of time.

    The variance of the mean difference is Newey and West's (1987), so losses may be autocorrelated, as those of
    volatility forecasts are. Sources: F. Diebold and R. Mariano, "Comparing predictive accuracy", Journal of Business
    & Economic Statistics 13 (1995); the factor for small samples and Student's t of D. Harvey, S. Leybourne and P.
    Newbold, International Journal of Forecasting 13 (1997), equation 9.

    Args:
        loss, other: losses, shape (T,); pairs with a NaN are left out.
        horizon: steps ahead of the forecasts.
        lags: by default the larger of horizon - 1 and 4 (n / 100)^(2/9), Newey and West's rule of 1994.

    Returns:
        t of 0 for losses that are equal throughout, NaN for fewer than three pairs.

    >>> better, worse = np.array([1.0, 2.0, 1.0, 2.0]), np.array([2.0, 4.0, 3.0, 3.0])
    >>> round(diebold_mariano(better, worse, lags=0).t, 2)
    -5.2
    """
    if loss.shape != other.shape or loss.ndim != 1:
        raise DataError(f"Losses have the shapes {loss.shape} and {other.shape}; expected two series of one length.")
    gap = loss - other
    gap = gap[~np.isnan(gap)]
    n = len(gap)
    if lags is None:
        lags = max(horizon - 1, int(4 * (n / 100) ** (2 / 9)))
    lags = max(0, min(lags, n - 1))
    if n < 3:
        return DieboldMariano(float(gap.mean()) if n else np.nan, np.nan, np.nan, n, lags)
    mean = float(gap.mean())
    variance = _newey_west(gap - mean, lags) / n
    small = max((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n, 0.0)
    if not variance > 0:  # equal up to a constant
        sure = 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
        return DieboldMariano(mean, sure, 1.0 if mean == 0 else 0.0, n, lags)
    t = mean / np.sqrt(variance) * np.sqrt(small)
    return DieboldMariano(mean, float(t), float(2 * student.sf(abs(t), n - 1)), n, lags)


def _newey_west(centred: Array, lags: int) -> float:
    """Long-run variance with Bartlett's weights."""
    n = len(centred)
    total = float(centred @ centred) / n
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag]) / n
    return total


def winkler(actual: Array, lower: Array, upper: Array, coverage: float) -> Array:
    """Interval (Winkler) score: the width, plus 2 / alpha times the distance by which the outcome lies outside.

    The mean is smallest for the interval between the true alpha/2 and 1 - alpha/2 quantiles. Sources: R. Winkler,
    JASA 67 (1972); T. Gneiting and A. Raftery, JASA 102 (2007), equation 43.

    >>> round(float(winkler(np.array(3.0), np.array(0.0), np.array(2.0), 0.9)), 9)
    22.0
    """
    alpha = 1 - coverage
    outside = np.maximum(lower - actual, 0) + np.maximum(actual - upper, 0)
    return np.asarray(upper - lower + 2 / alpha * outside)


def rmse_cut(squared_error: Array, benchmark: Array) -> float:
    """How far the root mean squared error lies below the benchmark's, as a fraction of it.

    Args:
        squared_error, benchmark: squared errors of both for the same outcomes, shape (T,).
    """
    theirs = float(np.mean(benchmark))
    return 1 - float(np.sqrt(np.mean(squared_error) / theirs)) if theirs > 0 else np.nan


def bootstrap_interval(
    statistic: Callable[..., float],
    *series: Array,
    block: int = 22,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of one statistic, low and high; see `bootstrap_intervals`."""

    def as_array(*drawn: Array) -> Array:
        return np.array([statistic(*drawn)])

    low, high = bootstrap_intervals(as_array, *series, block=block, level=level, draws=draws, seed=seed)
    return float(low[0]), float(high[0])


def bootstrap_intervals(
    statistics: Callable[..., Array],
    *series: Array,
    block: int = 22,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Intervals of statistics of series over the same times, by percentiles of the stationary bootstrap.

    Blocks of geometric length keep the dependence within about `block` rows, and across the series. Source: D.
    Politis and J. Romano, "The stationary bootstrap", JASA 89 (1994); drawn by the package arch.

    Args:
        statistics: a function of as many arrays as there are series, which gives an array of shape (K,).
        series: arrays with one row a time.
        block: mean length of a block, rows.
        level: coverage of the interval.
        draws: resamples.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        Low and high, shape (K,) each; NaN for fewer than two rows.
    """
    from arch.bootstrap import StationaryBootstrap

    if len(series[0]) < 2:
        nothing = np.full(len(statistics(*series)), np.nan)
        return nothing, nothing
    resampled = StationaryBootstrap(block, *series, seed=np.random.default_rng(seed))
    found = resampled.apply(statistics, draws)
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
