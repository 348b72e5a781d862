"""Strategies that act on forecasts made before the bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.strategy.base import Array, Bar, State, carry, good_close, read, require
from qts.strategy.volatility import exposure, start_variance, step_variance, warm_variance


@dataclass(frozen=True)
class ForecastVolatility:
    """Long, in inverse proportion to the volatility that a model forecasts: signal = min(1, target / forecast sd).

    Reads `forecast.<model>.variance` of the bar: the variance of the next bar's log return, known by the bar's close.
    Where there is no forecast, the exponentially weighted variance of past returns stands in for it.

    Source: Fleming, Kirby and Ostdiek, The economic value of volatility timing using realized volatility (Journal of
    Financial Economics, 2003).

    Attributes:
        model: name of the forecaster.
        target: wanted standard deviation of one bar's log return.
        span: of the fallback, bars; it starts after as many returns.
    """

    model: str = "har"
    target: float = 0.01
    span: int = 20

    def __post_init__(self) -> None:
        require(bool(self.model) and self.target > 0 and self.span >= 1, self, "a model, target > 0 and span >= 1")

    def start(self, instruments: int) -> State:
        return start_variance(instruments) | {"signal": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        after = step_variance(state, close, self.span)
        forecast = bar.extra.get(f"forecast.{self.model}.variance", np.full(len(close), np.nan))
        usable = np.where(np.isfinite(forecast) & (forecast > 0), forecast, np.nan)
        fresh = exposure(self.target, carry(warm_variance(after, self.span), usable))
        signal = np.where(np.isnan(close), read(state, "signal"), fresh)
        after["signal"] = signal
        return after, signal.copy()
