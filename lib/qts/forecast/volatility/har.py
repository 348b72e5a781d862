"""The heterogeneous autoregressions: the next variance from averages of past ones, by least squares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qts.forecast.volatility.measures import Measures, exponential_means, falls, means
from qts.forecast.volatility.regression import Coefficients, expanding_least_squares
from qts.market.bar import Array, IntArray

#: A realised semivariance is at least this share of the variance, so that it has a logarithm.
_LEAST_SHARE = 1e-3
#: Forecasts in logs stay below so many times the largest variance so far.
_CEILING = 10.0
#: Forecasts that have come true before the level of one in logs is trusted.
FEWEST_RATIOS = 20


@dataclass(frozen=True)
class Regression:
    """One model of the family: its regressors decide which.

    In levels the fitted value is the forecast, and the insanity filter of Bollerslev, Patton and Quaedvlieg
    ("Exploiting the errors", Journal of Econometrics 192, 2016, section 3.2) guards it: a forecast outside the range of
    the variances seen so far becomes their mean. In logarithms the forecast is exp(fit), times the mean of
    variance / exp(fit) over the real-time forecasts so far, which is Duan's smearing (1983) without hindsight and the
    factor that minimises QLIKE; in a crisis such a forecast may rightly pass all that was seen, up to a ceiling.

    Attributes:
        name: as in tables and results.
        regressors: features of the row, each of shape (T, N), NaN in its warm-up.
        needs: columns of `Measures` beyond the variance.
        logarithmic: whether the target is the logarithm of the variance.
    """

    name: str
    regressors: Callable[[Measures], list[Array]]
    needs: tuple[str, ...] = ()
    logarithmic: bool = False

    def forecast(self, measures: Measures, rows: IntArray) -> Array:
        """Forecasts of the next variance, shape (T, N), made at each row with coefficients refitted at `rows`."""
        guarded = self.guarded(self.fit(measures, rows), measures)
        return levelled(guarded, measures.variance) if self.logarithmic else guarded

    def fit(self, measures: Measures, rows: IntArray) -> Coefficients:
        """Coefficients from all rows up to each of `rows`."""
        variance = measures.variance
        target = np.log(variance) if self.logarithmic else variance
        return expanding_least_squares(self.regressors(measures), target, rows)

    def guarded(self, coefficients: Coefficients, measures: Measures) -> Array:
        """Fitted values as variances, shape (T, N): kept in bounds, but in logarithms not yet levelled."""
        fit = coefficients.forecast(self.regressors(measures))
        variance, memory = measures.variance, measures.memory
        low, high = memory.lowest("low", variance), memory.highest("high", variance)
        if self.logarithmic:
            return np.asarray(np.exp(np.clip(fit, np.log(low) - np.log(_CEILING), np.log(high) + np.log(_CEILING))))
        mean = memory.total("sum", variance) / memory.count(len(variance))
        return np.where(np.isnan(fit) | ((low <= fit) & (fit <= high)), fit, mean) + 0 * fit


def levelled(forecast: Array, variance: Array) -> Array:
    """Forecasts times the mean of variance / forecast over those that have come true, from row to row.

    Args:
        forecast: of the next row's variance, shape (T, N).
        variance: shape (T, N).

    Returns:
        Shape (T, N), NaN until 20 forecasts have come true.
    """
    ratio = np.concatenate([np.full((1, forecast.shape[1]), np.nan), variance[1:] / forecast[:-1]])[: len(forecast)]
    known = np.isfinite(ratio)
    count = np.cumsum(known, axis=0)
    total = np.cumsum(np.where(known, ratio, 0.0), axis=0)
    return np.where(count >= FEWEST_RATIOS, forecast * total / np.maximum(count, 1), np.nan)


def _logs(features: list[Array]) -> list[Array]:
    return [np.log(feature) for feature in features]


def _har(measures: Measures) -> list[Array]:
    return means(measures.variance)


def _halves(measures: Measures) -> list[Array]:
    least = _LEAST_SHARE * measures.variance
    return [np.maximum(measures.get("rs_minus"), least), np.maximum(measures.get("rs_plus"), least)]


def _har_rs(measures: Measures) -> list[Array]:
    return [*_halves(measures), *means(measures.variance)[1:]]


def _harq(measures: Measures) -> list[Array]:
    day, week, month = means(measures.variance)
    return [day, np.sqrt(measures.get("quarticity")) * day, week, month]


HAR = Regression("har", _har)
LOG_HAR = Regression("log_har", lambda m: _logs(_har(m)), logarithmic=True)
HAR_RS = Regression("har_rs", _har_rs, ("rs_minus", "rs_plus"))
LOG_HAR_RS = Regression("log_har_rs", lambda m: _logs(_har_rs(m)), ("rs_minus", "rs_plus"), logarithmic=True)
HARQ = Regression("harq", _harq, ("quarticity",))
LOG_HEXP = Regression("log_hexp", lambda m: _logs(exponential_means(m)), logarithmic=True)
HAR_LEVERAGE = Regression("har_leverage", lambda m: [*_logs(_har(m)), *falls(m)], ("returns",), logarithmic=True)
HEXP_LEVERAGE = Regression(
    "hexp_leverage", lambda m: [*_logs(exponential_means(m)), *falls(m)], ("returns",), logarithmic=True
)
