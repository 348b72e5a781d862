"""How good a forecast was, once the bar is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qts.forecast.base import Forecast
from qts.market.bar import Array


def qlike(actual: Array, mean: Array) -> Array:
    """QLIKE loss of a variance forecast: a / f - log(a / f) - 1; 0 for a perfect one.

    Its ranking of models is not upset by the noise of the variance proxy. Source: A. Patton, "Volatility forecast
    comparison using imperfect volatility proxies", Journal of Econometrics 160 (2011), proposition 4 with b = -2.

    >>> float(qlike(np.array(2e-4), np.array(2e-4)))
    0.0
    """
    ratio = actual / mean
    return np.asarray(ratio - np.log(ratio) - 1)


def log_score(actual: Array, mean: Array, sd: Array) -> Array:
    """Negative log density of a normal forecast, the loss of the target `return`; lower is better."""
    return np.asarray(0.5 * np.log(2 * np.pi * sd**2) + 0.5 * ((actual - mean) / sd) ** 2)


@dataclass(frozen=True)
class Score:
    """Sums over forecasts of one target, which add up over instruments.

    Attributes:
        n: number of forecasts.
        squared_error, loss: sums; the loss is QLIKE for `variance` and the log score for `return`.
        inside_80, inside_95: forecasts whose interval held the outcome.
    """

    n: int = 0
    squared_error: float = 0.0
    loss: float = 0.0
    inside_80: int = 0
    inside_95: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.n + other.n,
            self.squared_error + other.squared_error,
            self.loss + other.loss,
            self.inside_80 + other.inside_80,
            self.inside_95 + other.inside_95,
        )

    @classmethod
    def of(cls, target: str, forecast: Forecast, actual: Array, chosen: npt.NDArray[np.bool_]) -> Score:
        """Scores the forecasts made at the `chosen` bars, as far as they have come true (finite `actual`).

        All arrays are of one shape, of one instrument or of many.
        """
        rows = chosen & np.isfinite(actual) & np.isfinite(forecast.mean)
        y, mean, sd = actual[rows], forecast.mean[rows], forecast.sd[rows]
        loss = qlike(y, mean) if target == "variance" else log_score(y, mean, sd)
        return cls(
            int(rows.sum()),
            float(np.square(y - mean).sum()),
            float(loss.sum()),
            int(((forecast.lower_80[rows] <= y) & (y <= forecast.upper_80[rows])).sum()),
            int(((forecast.lower_95[rows] <= y) & (y <= forecast.upper_95[rows])).sum()),
        )

    def metrics(self, target: str) -> dict[str, float]:
        """Means by name (`variance.rmse`, `variance.qlike`, `return.log_score`, ...); none without forecasts."""
        if not self.n:
            return {}
        return {
            f"{target}.n": float(self.n),
            f"{target}.rmse": float(np.sqrt(self.squared_error / self.n)),
            f"{target}.{loss_name(target)}": self.loss / self.n,
            f"{target}.coverage_80": self.inside_80 / self.n,
            f"{target}.coverage_95": self.inside_95 / self.n,
        }


def loss_name(target: str) -> str:
    """The loss that a target is judged by."""
    return "qlike" if target == "variance" else "log_score"
