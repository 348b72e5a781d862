"""Exponential smoothing with a trend, as linear processes: the Theta method and the damped trend."""

from __future__ import annotations

from itertools import product
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.signal import lfilter

from qts.forecast.base import CannotFit
from qts.forecast.point.linear import Coefficients, LinearModel
from qts.forecast.point.simple import smoothing_weight
from qts.market.bar import Array

_STARTS = tuple(product((0.2, 0.5, 0.9), (0.05, 0.2, 0.6), (0.85, 0.95)))  # level, trend as a share of it, damping
_BOUNDS = ((0.01, 1.0), (0.0, 1.0), (0.8, 0.98))  # of the damping as Hyndman and Athanasopoulos have it, section 8.2
_BURNED = 12  # first errors that do not count, for the trend starts at none


class Theta(LinearModel):
    """Simple exponential smoothing plus half the slope of the straight line through the training window.

    Sources: V. Assimakopoulos and K. Nikolopoulos, "The theta model", International Journal of Forecasting 16 (2000);
    that this is smoothing with a drift: R. Hyndman and B. Billah, "Unmasking the Theta method", International Journal
    of Forecasting 19 (2003), section 2.
    """

    name: ClassVar[str] = "theta"
    fewest: ClassVar[int] = 8

    def coefficients(self, values: Array) -> Coefficients:
        rows = np.arange(len(values)) - (len(values) - 1) / 2
        drift = float(rows @ (values - values.mean()) / (rows @ rows)) / 2
        weight = smoothing_weight(np.diff(values) - drift)
        return Coefficients(np.ones(1), np.array([weight - 1]), drift)


class DampedTrend(LinearModel):
    """Holt's level and trend, the trend fading by a factor at every step ahead.

    l(t) = l(t-1) + f s(t-1) + a e(t) and s(t) = f s(t-1) + b e(t), which is ARIMA(1,1,2) with phi = f,
    theta_1 = a + f b - 1 - f and theta_2 = f (1 - a). The three minimise the squared one-step errors.

    Source: E. Gardner and E. McKenzie, "Forecasting trends in time series", Management Science 31 (1985).
    """

    name: ClassVar[str] = "damped"
    fewest: ClassVar[int] = 12

    def coefficients(self, values: Array) -> Coefficients:
        change = np.diff(values)
        size = float(np.abs(change).max())
        if not size > 0:
            raise CannotFit("the series never moves")
        change = change / size
        begin = min(_BURNED, len(change) // 4)

        def loss(x: Array) -> float:
            ar, ma = _process(*x)
            error = lfilter([1.0, -ar], np.concatenate([[1.0], ma]), change)[begin:]
            return float(error @ error)

        start = min(map(np.array, _STARTS), key=loss)
        ar, ma = _process(*minimize(loss, start, method="L-BFGS-B", bounds=_BOUNDS).x)
        return Coefficients(np.array([1 + ar, -ar]), ma)


def _process(level: float, share: float, damping: float) -> tuple[float, Array]:
    trend = share * level
    return damping, np.array([level + damping * trend - 1 - damping, damping * (1 - level)])
