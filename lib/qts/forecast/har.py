"""Heterogeneous autoregression of realised variance, in logarithms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from qts.forecast.base import CannotFit, Params
from qts.forecast.ewma import Ewma
from qts.forecast.history import History
from qts.forecast.memory import KEPT, Memory
from qts.forecast.scale import ScaleForecaster
from qts.market.bar import Array

_WINDOWS = (1, 5, KEPT)  # bars; a day, a week and a month of daily bars
_FEWEST = 60  # observations for 4 coefficients
_CEILING = 10.0  # times the largest variance in training


class LogHar(ScaleForecaster):
    """log v(t+1) = b0 + b1 log v(t) + b2 log mean v(t-4..t) + b3 log mean v(t-21..t) + e, by least squares.

    The forecast of v itself is exp(fit) times the mean of exp(e) in training (Duan's smearing). The usual lognormal
    correction exp(var(e) / 2) supposes normal residuals: for bars of one print the proxy is a squared return, whose
    logarithm is far from normal, and the correction would be about 3.3 times too large.

    The target `return` has mean 0 and this variance, times the ratio of squared returns to it in training: realised
    variance leaves out the time when a market is closed.

    Sources: F. Corsi, "A simple approximate long-memory model of realized volatility", Journal of Financial
    Econometrics 7 (2009), equation 9; in logarithms Andersen, Bollerslev and Diebold (2007), Review of Economics and
    Statistics 89; N. Duan, "Smearing estimate", JASA 78 (1983).
    """

    name: ClassVar[str] = "log_har"
    simpler: ClassVar[type[ScaleForecaster] | None] = Ewma
    rescaled: ClassVar[bool] = True

    def coefficients(self, history: History) -> dict[str, Any]:
        """b0 to b3 as `beta`, and the `ceiling` of the forecasts."""
        if history.length[0] < max(_WINDOWS) + _FEWEST:
            raise CannotFit(f"{history.length[0]} bars, {max(_WINDOWS) + _FEWEST} needed")
        begin = max(_WINDOWS) - 1
        x = np.column_stack([np.ones(len(history.variance)), *(f[:, 0] for f in log_means(history.variance))])
        y = np.log(history.variance[:, 0])
        beta, _, rank, _ = np.linalg.lstsq(x[begin:-1], y[begin + 1 :], rcond=None)
        if rank < x.shape[1]:
            raise CannotFit("the variance is constant, or its lags are collinear")
        return {"beta": [float(b) for b in beta], "ceiling": float(_CEILING * history.variance.max())}

    def scales(self, params: Sequence[Params], history: History, memory: Memory) -> tuple[Array, Array]:
        """The exponential of the fit, for both targets; between the floor and the ceiling, for logs reach far."""
        beta = np.array([p["beta"] for p in params], np.float64)
        fit = beta[:, 0] + np.zeros(history.variance.shape)
        for i, feature in enumerate(log_means(history.variance), start=1):
            fit = fit + beta[:, i] * feature
        ceiling = np.array([p["ceiling"] for p in params], np.float64)
        scale = np.exp(np.clip(fit, np.log(history.floor), np.log(ceiling)))
        return scale, scale


def log_means(variance: Array) -> list[Array]:
    """Logarithms of the means of the last 1, 5 and 22 variances, shape (T, N) each; NaN until there are as many."""
    return [np.log(rolling_mean(variance, window)) for window in _WINDOWS]


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
