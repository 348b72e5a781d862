"""Averages of the variance over a day, a week and a month: what heterogeneous autoregressions regress on."""

from __future__ import annotations

import numpy as np

from qts.forecast.memory import KEPT
from qts.market.bar import Array

#: Bars; a day, a week and a month of daily bars (F. Corsi, Journal of Financial Econometrics 7, 2009, equation 9).
WINDOWS = (1, 5, KEPT)


def log_means(variance: Array) -> list[Array]:
    """Logarithms of the means of the last 1, 5 and 22 variances, shape (T, N) each; NaN until there are as many."""
    return [np.log(rolling_mean(variance, window)) for window in WINDOWS]


def rolling_mean(values: Array, window: int) -> Array:
    """Mean of the last `window` rows, shape as given; NaN for the first window - 1 rows.

    Shifted sums in a fixed order: numpy's own reductions pick an order by the array's shape, which would let the bits
    of one instrument depend on how many there are.
    """
    found = np.full(values.shape, np.nan)
    if len(values) >= window:
        total = values[: len(values) - window + 1].copy()
        for lag in range(1, window):
            total += values[lag : len(values) - window + 1 + lag]
        found[window - 1 :] = total / window
    return found
