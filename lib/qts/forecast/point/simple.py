"""The benchmarks, and exponential smoothing."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter

from qts.forecast.base import CannotFit
from qts.forecast.point.linear import RANDOM_WALK, Coefficients, LinearModel
from qts.market.bar import Array


class Naive(LinearModel):
    """No change: every step ahead is the last value. For prices the benchmark that is hardest to beat."""

    name: ClassVar[str] = "naive"

    def coefficients(self, values: Array) -> Coefficients:  # there is nothing to learn
        return RANDOM_WALK


class Drift(LinearModel):
    """A random walk with the mean change of the training window at every step.

    Source: R. Hyndman and G. Athanasopoulos, Forecasting: principles and practice, 3rd edition (2021), section 5.2.
    """

    name: ClassVar[str] = "drift"

    def coefficients(self, values: Array) -> Coefficients:
        changes = len(values) - 1
        return Coefficients(np.ones(1), np.empty(0), float((values[-1] - values[0]) / changes), changes)


class Ewma(LinearModel):
    """Simple exponential smoothing: level(t) = level(t-1) + a e(t), and every step ahead is the level.

    The weight a minimises the squared one-step errors. It is ARIMA(0,1,1) with theta = a - 1, which gives the spread.
    Source: J. Muth, "Optimal properties of exponentially weighted forecasts", JASA 55 (1960).
    """

    name: ClassVar[str] = "ewma"
    fewest: ClassVar[int] = 8

    def coefficients(self, values: Array) -> Coefficients:
        change = np.diff(values)
        if not change.any():
            raise CannotFit("the series never moves")
        return Coefficients(np.ones(1), np.array([smoothing_weight(change) - 1]))


def smoothing_weight(change: Array) -> float:
    """The weight of simple exponential smoothing with the least squared one-step errors.

    Args:
        change: of the series from row to row, shape (T,).
    """
    size = float(np.abs(change).max())
    if not size > 0:
        return 1.0
    scaled = change / size

    def loss(weight: float) -> float:
        return float(np.square(lfilter([1.0], [1.0, weight - 1], scaled)).sum())

    return float(minimize_scalar(loss, bounds=(0.01, 1.0), method="bounded", options={"xatol": 1e-4}).x)
