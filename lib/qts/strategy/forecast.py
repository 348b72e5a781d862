"""Strategies that act on forecasts made before the bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.market.bar import BarPanel
from qts.strategy.base import Array, Bar, State, beside, bounded, carry, divide, good_close, read, require
from qts.strategy.sweep import Swept
from qts.strategy.volatility import exposure, start_variance, step_variance, variance_along, warm_variance


@dataclass(frozen=True)
class ForecastVolatility(Swept):
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

    model: str = "log_har"
    target: float = 0.01
    span: int = 20

    def __post_init__(self) -> None:
        require(bool(self.model) and self.target > 0 and self.span >= 1, self, "a model, target > 0 and span >= 1")

    def start(self, instruments: int) -> State:
        return start_variance(instruments) | {"signal": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        after = step_variance(state, close, self.span)
        fresh = self._signal(beside(bar, self._name), warm_variance(after, self.span))
        signal = np.where(np.isnan(close), read(state, "signal"), fresh)
        after["signal"] = signal
        return after, signal.copy()

    def along(self, bars: BarPanel) -> Array:
        return self._signal(beside(bars, self._name), variance_along(bars.values["close"], self.span, self.span))

    @property
    def _name(self) -> str:
        return f"forecast.{self.model}.variance"

    def _signal(self, forecast: Array, past: Array) -> Array:
        return exposure(self.target, carry(past, np.where(forecast > 0, forecast, np.nan)))


@dataclass(frozen=True)
class ForecastReturn(Swept):
    """Holds what a model expects of the next bar, in units of its own uncertainty: clip(mean / sd / edge, -1, 1).

    Reads `forecast.<model>.return` and `forecast.<model>.return.sd`. Flat where there is no forecast.

    Source: the position of a mean-variance investor is proportional to mean / variance (Merton, 1969), and the desk
    divides by the standard deviation once more when it sizes; Campbell and Thompson, Predicting excess stock returns
    out of sample (Review of Financial Studies, 2008) for forecasts that are weak and yet worth it.

    Attributes:
        model: name of the forecaster.
        edge: ratio of mean to standard deviation at which the position is full; .1 a day is a Sharpe ratio of 1.6.
    """

    model: str = "ewma"
    edge: float = 0.1

    def __post_init__(self) -> None:
        require(bool(self.model) and self.edge > 0, self, "a model and edge > 0")

    def start(self, instruments: int) -> State:
        return {"signal": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        return latest(state, bar, bounded(expected(bar, self.model) / self.edge))

    def along(self, bars: BarPanel) -> Array:
        return bounded(expected(bars, self.model) / self.edge)


@dataclass(frozen=True)
class ForecastConsensus(Swept):
    """The mean of what several models expect of the next bar, each in units of its own uncertainty, clipped.

    Models without a forecast are left out; flat where none has one.

    Source: Bates and Granger, The combination of forecasts (Operational Research Quarterly, 1969): an even mean is
    hard to beat.

    Attributes:
        models: names of the forecasters.
        edge: mean ratio at which the position is full.
    """

    models: tuple[str, ...] = ("ewma", "arima", "prophet", "lstm")
    edge: float = 0.1

    def __post_init__(self) -> None:
        require(len(self.models) > 0 and self.edge > 0, self, "at least one model and edge > 0")

    def start(self, instruments: int) -> State:
        return {"signal": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        return latest(state, bar, self._signal(bar))

    def along(self, bars: BarPanel) -> Array:
        return self._signal(bars)

    def _signal(self, bars: Bar | BarPanel) -> Array:
        total = known = np.zeros(())
        for model in self.models:
            ratio = expected(bars, model)
            total, known = total + np.nan_to_num(ratio), known + ~np.isnan(ratio)
        return bounded(divide(total, known) / self.edge)


def expected(bars: Bar | BarPanel, model: str) -> Array:
    """Mean over standard deviation of the next bar's log return as a model forecasts it; NaN where it does not."""
    sd = beside(bars, f"forecast.{model}.return.sd")
    return divide(beside(bars, f"forecast.{model}.return"), np.where(sd > 0, sd, np.nan))


def latest(state: State, bar: Bar, fresh: Array) -> tuple[State, Array]:
    """Keeps a signal for the bars without a close: state {"signal"} and signal."""
    signal = np.where(np.isnan(good_close(bar)), read(state, "signal"), fresh)
    return {"signal": signal}, signal.copy()
