"""Exponentially weighted moving average of variance, the RiskMetrics model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from scipy.signal import lfilter

from qts.forecast.base import CannotFit, Params
from qts.forecast.history import History
from qts.forecast.naive import Naive
from qts.forecast.scale import ScaleForecaster
from qts.market.bar import Array

_DECAY = 0.94
_START = 20  # bars


class Ewma(ScaleForecaster):
    """s(t+1) = .94 s(t) + .06 x(t), started from the mean of the first 20 bars.

    x is the variance proxy for the target `variance` and the squared return for the target `return`.
    Source: J.P. Morgan/Reuters, RiskMetrics technical document, 4th edition (1996), equation 5.3 and table 5.9
    (decay .94 for daily data).
    """

    name: ClassVar[str] = "ewma"
    simpler: ClassVar[type[ScaleForecaster] | None] = Naive

    def coefficients(self, history: History) -> dict[str, float]:
        """Nothing to learn but the decay, kept so that a version says what it used."""
        if history.length[0] < _START + self.fewest:
            raise CannotFit(f"{history.length[0]} bars, {_START + self.fewest} needed")
        return {"decay": _DECAY}

    def scales(self, params: Sequence[Params], history: History) -> tuple[Array, Array]:
        """The average after each bar, of the variance proxy and of squared returns."""
        decay = np.array([p["decay"] for p in params], np.float64)
        return exponential_average(history.variance, decay), np.maximum(
            exponential_average(history.returns**2, decay), history.floor
        )


def exponential_average(values: Array, decay: Array) -> Array:
    """s(t+1) = decay s(t) + (1 - decay) x(t+1) along axis 0, started from the mean of the first 20 rows.

    Args:
        values: x, shape (T, N).
        decay: of each column, shape (N,).

    Returns:
        Shape (T, N), NaN before row 19.

    Column by column: a decay may be an instrument's own, and the filter's bits then depend on that column alone.
    """
    found = np.full(values.shape, np.nan)
    for n, weight in enumerate(decay):
        column = np.ascontiguousarray(values[:, n])
        if len(column) >= _START:
            start = np.cumsum(column[:_START])[-1] / _START
            tail, _ = lfilter([1 - weight], [1, -weight], column[_START:], zi=[weight * start])
            found[_START - 1, n], found[_START:, n] = start, tail
    return found
