"""Volatility timing: hold less when the market is wild."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.market.bar import BarPanel
from qts.strategy.base import (
    Array,
    Bar,
    State,
    bounded,
    carry,
    count,
    divide,
    ewma,
    good_close,
    log_return,
    read,
    require,
    running_mean,
)
from qts.strategy.sweep import Swept, before, counted, ewma_along, running_mean_along


@dataclass(frozen=True)
class VolatilityTarget(Swept):
    """Long, in inverse proportion to the volatility: signal = min(1, target / sd).

    The volatility is the root of the exponentially weighted mean of squared log returns from close to close.

    Source: RiskMetrics Technical Document (1996) for the variance; Harvey et al., The impact of volatility targeting
    (Journal of Portfolio Management, 2018) for the rule.

    Attributes:
        target: wanted standard deviation of one bar's log return; .01 a day is about 16% a year.
        span: of the mean of squared returns, bars; no signal before as many returns.
    """

    target: float = 0.01
    span: int = 20

    def __post_init__(self) -> None:
        require(self.target > 0 and self.span >= 1, self, "target > 0 and span >= 1")

    def start(self, instruments: int) -> State:
        return start_variance(instruments)

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        after = step_variance(state, good_close(bar), self.span)
        return after, exposure(self.target, warm_variance(after, self.span))

    def along(self, bars: BarPanel) -> Array:
        return exposure(self.target, variance_along(bars.values["close"], self.span, self.span))


@dataclass(frozen=True)
class VolatilityManaged(Swept):
    """Long, in inverse proportion to the variance relative to its own long-run mean.

        signal = min(1, average * long-run variance / variance)

    Unlike a fixed target it needs no idea of what volatility is normal, so it suits any instrument and bar length.

    Source: Moreira and Muir, Volatility-managed portfolios (Journal of Finance, 2017), with the weight capped at 1 and
    the long-run variance of the past only.

    Attributes:
        average: position held at normal variance.
        span: of the current variance, bars.
        minimum: squared returns in the long-run variance before there is a signal.
    """

    average: float = 0.5
    span: int = 20
    minimum: int = 60

    def __post_init__(self) -> None:
        require(
            0 < self.average <= 1 and 1 <= self.span <= self.minimum, self, "0 < average <= 1, 1 <= span <= minimum"
        )

    def start(self, instruments: int) -> State:
        return start_variance(instruments) | {"normal": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        squared = np.square(log_return(read(state, "close"), close))
        after = step_variance(state, close, self.span)
        normal = running_mean(read(state, "normal"), squared, read(after, "returns"))
        after["normal"] = normal
        return after, bounded(self.average * divide(normal, warm_variance(after, self.minimum)))

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        normal = running_mean_along(np.square(log_return(before(close), close)), len(close))
        return bounded(self.average * divide(normal, variance_along(close, self.span, self.minimum)))


def start_variance(instruments: int) -> State:
    """State of an exponentially weighted variance: last close, mean of squared returns, number of returns."""
    return {
        "close": np.full(instruments, np.nan),
        "variance": np.full(instruments, np.nan),
        "returns": np.zeros(instruments),
    }


def step_variance(state: State, close: Array, span: float) -> State:
    """That state after one more close."""
    squared = np.square(log_return(read(state, "close"), close))
    return {
        "close": carry(read(state, "close"), close),
        "variance": ewma(read(state, "variance"), squared, span),
        "returns": count(read(state, "returns"), squared),
    }


def warm_variance(state: State, minimum: float) -> Array:
    """The variance of one bar's log return, shape (N,); NaN before `minimum` returns."""
    return np.where(read(state, "returns") >= minimum, read(state, "variance"), np.nan)


def variance_along(close: Array, span: float, minimum: float) -> Array:
    """The variance of `warm_variance` at every bar of series without gaps, shape (T, N)."""
    squared = np.square(log_return(before(close), close))
    return np.where(counted(squared) >= minimum, ewma_along(squared, span), np.nan)


def exposure(target: float, variance: Array) -> Array:
    """min(1, target / sd), 0 where the variance is unknown or 0: no risk that can be measured, no position."""
    return bounded(divide(np.full(variance.shape, target), np.sqrt(variance)))
