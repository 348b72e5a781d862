"""Exponentially weighted moving average of variance, the RiskMetrics model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from qts.forecast.base import CannotFit, Params
from qts.forecast.history import History
from qts.forecast.memory import START, Memory
from qts.forecast.naive import Naive
from qts.forecast.scale import ScaleForecaster
from qts.market.bar import Array

_DECAY = 0.94


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
        if history.length[0] < START + self.fewest:
            raise CannotFit(f"{history.length[0]} bars, {START + self.fewest} needed")
        return {"decay": _DECAY}

    def scales(self, params: Sequence[Params], history: History, memory: Memory) -> tuple[Array, Array]:
        """The average after each bar, of the variance proxy and of squared returns."""
        decay = np.array([p["decay"] for p in params], np.float64)
        squared = memory.exponential("squared", history.returns**2, decay)
        return memory.exponential("variance", history.variance, decay), np.maximum(squared, history.floor)
