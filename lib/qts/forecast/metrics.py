"""Errors of point forecasts and scores of predictive distributions, as the M competitions define them.

Arrays may have any shape; a cell that is NaN in any argument is left out of the mean. Means over no cell are NaN.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import beta
from scipy.stats import norm
from scipy.stats import t as student

from qts.market.bar import Array


def mae(actual: Array, forecast: Array) -> float:
    """Mean absolute error, in units of the series."""
    return _mean(np.abs(actual - forecast))


def rmse(actual: Array, forecast: Array) -> float:
    """Root mean squared error, in units of the series."""
    return float(np.sqrt(_mean(np.square(actual - forecast))))


def smape(actual: Array, forecast: Array) -> float:
    """Symmetric mean absolute percentage error, 0 to 200: mean of 200 |y - f| / (|y| + |f|); 0 where both are 0.

    Source: S. Makridakis, E. Spiliotis, V. Assimakopoulos, "The M4 Competition", International Journal of Forecasting
    36 (2020), section 2.

    >>> smape(np.array([100.0, 0.0]), np.array([300.0, 0.0]))
    50.0
    """
    size = np.abs(actual) + np.abs(forecast)
    return _mean(200 * np.abs(actual - forecast) / np.where(size == 0, 1, size))


def naive_scale(history: Array, season: int = 1) -> float:
    """Mean absolute error of the (seasonal) naive forecast over a training window, the unit of MASE.

    Source: R. Hyndman and A. Koehler, "Another look at measures of forecast accuracy", International Journal of
    Forecasting 22 (2006), equation 4; with `season` > 1 as in the M4 competition.

    Args:
        history: training values of one series in the order of time, shape (T,).

    Returns:
        NaN for a window that never moves or holds no pair of values `season` rows apart.
    """
    return _scale(np.abs(history[season:] - history[:-season]))


def naive_square(history: Array, season: int = 1) -> float:
    """Mean squared error of the (seasonal) naive forecast over a training window, the unit of RMSSE's square."""
    return _scale(np.square(history[season:] - history[:-season]))


def mase(actual: Array, forecast: Array, history: Array, season: int = 1) -> float:
    """Mean absolute scaled error: MAE over `naive_scale` of the training window; below 1 beats naive in training."""
    return mae(actual, forecast) / naive_scale(history, season)


def rmsse(actual: Array, forecast: Array, history: Array, season: int = 1) -> float:
    """Root mean squared scaled error: RMSE over the root of `naive_square` (Hyndman and Koehler 2006; M5)."""
    return float(rmse(actual, forecast) / np.sqrt(naive_square(history, season)))


def theil_u(actual: Array, forecast: Array, naive: Array) -> float:
    """Theil's U2: RMSE over that of the naive forecast of the same outcomes. 1 is as good as "no change".

    Source: H. Theil, Applied Economic Forecasting (1966), chapter 2; the form without division by levels.
    """
    return rmse(actual, forecast) / rmse(actual, naive)


def coverage(actual: Array, lower: Array, upper: Array) -> float:
    """Share of outcomes inside the closed interval; an interval that is NaN is left out."""
    inside = (lower <= actual) & (actual <= upper)
    known = np.isfinite(actual) & ~np.isnan(lower) & ~np.isnan(upper)
    return _mean(np.where(known, inside, np.nan))


def crps_normal(actual: Array, mean: Array, sd: Array) -> Array:
    """Continuous ranked probability score of a normal forecast, in units of the series; lower is better.

    Source: T. Gneiting and A. Raftery, "Strictly proper scoring rules, prediction, and estimation", JASA 102 (2007),
    equation 21 (with the sign turned).

    >>> round(float(crps_normal(np.array(0.0), np.array(0.0), np.array(1.0))), 4)
    0.2337
    """
    z = (actual - mean) / sd
    return np.asarray(sd * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi)))


def weighted_interval_score(
    actual: Array, middle: Array, lower: Mapping[float, Array], upper: Mapping[float, Array]
) -> Array:
    """Weighted interval score of a middle and central intervals, in units of the series; lower is better.

    An approximation of the continuous ranked probability score from a few quantiles, and proper as it is: with K
    intervals of coverage 1 - a, (|y - m| / 2 + sum a / 2 (u - l + 2 / a (l - y)+ + 2 / a (y - u)+)) / (K + 1/2).
    Source: J. Bracher, E. Ray, T. Gneiting, N. Reich, "Evaluating epidemic forecasts in an interval format", PLoS
    Computational Biology 17 (2021), equations 1 and 2.

    Args:
        lower, upper: bounds by coverage.

    >>> lower, upper = {0.8: np.array(-2.0)}, {0.8: np.array(2.0)}
    >>> round(float(weighted_interval_score(np.array(3.0), np.array(0.0), lower, upper)), 6)
    1.933333
    """
    total = np.abs(actual - middle) / 2
    for level, low in lower.items():
        high, outside = upper[level], 1 - level
        beyond = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
        total = total + outside / 2 * (high - low) + beyond
    return np.asarray(total / (len(lower) + 0.5))


def crps_student(actual: Array, location: Array, scale: Array, df: Array) -> Array:
    """Continuous ranked probability score of a Student t forecast with `df` > 1 degrees of freedom (inf: the normal).

    Source: A. Jordan, F. Krueger, S. Lerch, "Evaluating probabilistic forecasts with scoringRules", Journal of
    Statistical Software 90 (2019), appendix A.2.
    """
    finite = np.isfinite(df)
    nu = np.where(finite, df, 5.0)
    z = (actual - location) / scale
    ratio = 2 * np.sqrt(nu) / (nu - 1) * beta(0.5, nu - 0.5) / np.square(beta(0.5, nu / 2))
    heavy = z * (2 * student.cdf(z, nu) - 1) + 2 * student.pdf(z, nu) * (nu + z * z) / (nu - 1) - ratio
    return np.where(finite, scale * heavy, crps_normal(actual, location, scale))


def _scale(errors: Array) -> float:
    found = _mean(errors)
    return found if found > 0 else np.nan


def _mean(values: Array) -> float:
    known = np.asarray(values)[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
