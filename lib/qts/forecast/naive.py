"""The benchmark to beat: tomorrow is like today."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from qts.forecast.base import Params
from qts.forecast.history import History
from qts.forecast.memory import Memory
from qts.forecast.scale import ScaleForecaster
from qts.market.bar import Array


class Naive(ScaleForecaster):
    """Random walk of prices and of variance: v(t+1) = v(t), and a return of mean 0 with the variance of all so far.

    A mean of zero is the last price as forecast of the next one; the standard deviation is the root of the expanding
    mean of squared returns.
    """

    name: ClassVar[str] = "naive"

    def scales(self, params: Sequence[Params], history: History, memory: Memory) -> tuple[Array, Array]:
        """The last variance, and the mean squared return so far."""
        squared = memory.total("squared", history.returns**2) / memory.count(len(history.returns))
        squared = np.where(np.isnan(history.returns), np.nan, squared)
        return history.variance, np.maximum(squared, history.floor)
