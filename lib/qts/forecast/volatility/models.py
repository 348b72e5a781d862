"""Every volatility model by its name, and their forecasts side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qts.errors import ConfigError, did_you_mean
from qts.forecast.memory import exponential_average
from qts.forecast.volatility.garch import GARCH, GJR
from qts.forecast.volatility.har import (
    HAR,
    HAR_LEVERAGE,
    HAR_RS,
    HARQ,
    HEXP_LEVERAGE,
    LOG_HAR,
    LOG_HAR_RS,
    LOG_HEXP,
)
from qts.forecast.volatility.measures import Measures
from qts.market.bar import Array, IntArray

#: The mean of all models but the random walk, in logarithms.
COMBINATION = "combination"
#: What every model is measured against.
BENCHMARKS = ("random_walk", "ewma", "har")


class VolatilityModel(Protocol):
    """A model of the next bar's variance. Causal: the forecast at a row uses rows up to it only."""

    @property
    def name(self) -> str:
        """As in results."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns of `Measures` beyond the variance."""
        ...

    def forecast(self, measures: Measures, rows: IntArray) -> Array:
        """Forecasts of the next row's variance, shape (T, N), parameters refitted at `rows`; NaN in the warm-up."""
        ...


@dataclass(frozen=True)
class RandomWalk:
    """Tomorrow is like today."""

    name: str = "random_walk"
    needs: tuple[str, ...] = ()

    def forecast(self, measures: Measures, rows: IntArray) -> Array:
        """The variance itself."""
        return measures.variance


@dataclass(frozen=True)
class Smoothing:
    """Exponential smoothing of realised variance, EWMA(.25): quick, for a realised variance says much about its day."""

    name: str = "ewma"
    weight: float = 0.25  # of the newest variance
    needs: tuple[str, ...] = ()

    def forecast(self, measures: Measures, rows: IntArray) -> Array:
        """The average; nothing is fitted."""
        return exponential_average(measures.variance, np.full(measures.variance.shape[1], 1 - self.weight))


_MODELS: tuple[VolatilityModel, ...] = (
    RandomWalk(),
    Smoothing(),
    HAR,
    LOG_HAR,
    HAR_RS,
    LOG_HAR_RS,
    HARQ,
    LOG_HEXP,
    HAR_LEVERAGE,
    HEXP_LEVERAGE,
    GARCH,
    GJR,
)


def names() -> tuple[str, ...]:
    """Every model's name, the combination last."""
    return (*(model.name for model in _MODELS), COMBINATION)


def build(wanted: Iterable[str] = ()) -> tuple[VolatilityModel, ...]:
    """The models of these names, by default all; the benchmarks are always among them.

    Raises:
        ConfigError: a name is unknown; the message names the nearest one.
    """
    chosen = set(wanted)
    for name in chosen:
        if name not in names():
            raise ConfigError(
                f"There is no volatility model {name!r}; known are {', '.join(names())}.{did_you_mean(name, names())}"
            )
    everything = not chosen or COMBINATION in chosen
    return tuple(model for model in _MODELS if everything or model.name in chosen or model.name in BENCHMARKS)


def forecasts(models: Iterable[VolatilityModel], measures: Measures, rows: IntArray) -> dict[str, Array]:
    """Forecasts of the next variance by model, shape (T, N) each, of the models whose columns are there."""
    return {model.name: model.forecast(measures, rows) for model in models if measures.has(model.needs)}


def combine(found: Mapping[str, Array]) -> Array:
    """Geometric mean of all forecasts but the random walk's, shape as theirs; NaN where one of them is.

    Equal weights, for estimated ones seldom beat them: A. Timmermann, "Forecast combinations", Handbook of Economic
    Forecasting 1 (2006).
    """
    logs = [np.log(forecast) for name, forecast in found.items() if name != "random_walk"]
    return np.asarray(np.exp(sum(logs) / len(logs)))
