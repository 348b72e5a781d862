"""ARIMA with its order chosen series by series."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from qts.forecast.point.linear import Coefficients, LinearModel
from qts.forecast.point.orders import Arma, choose
from qts.market.bar import Array


class Arima(LinearModel):
    """phi(B) (1 - B)^d y(t) = c + theta(B) e(t), p and q up to 5, d up to 2, with a mean or drift where AICc wants one.

    See `orders.choose` for how the order is found. Source: G. Box and G. Jenkins, Time Series Analysis: Forecasting
    and Control (1970), chapters 4 and 5.
    """

    name: ClassVar[str] = "arima"
    fewest: ClassVar[int] = 12

    def coefficients(self, values: Array) -> Coefficients:
        return expanded(choose(values))


def expanded(model: Arma) -> Coefficients:
    """The same process with its differences multiplied out."""
    polynomial = np.concatenate([[1.0], -model.phi])
    constant = model.mean * float(polynomial.sum())
    for _ in range(model.differences):
        polynomial = np.convolve(polynomial, [1.0, -1.0])
    return Coefficients(-polynomial[1:] if len(polynomial) > 1 else np.zeros(1), model.theta, constant)
