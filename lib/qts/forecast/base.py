"""What every forecaster is: fit on a history, forecast the bar after each bar, and say how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from qts.forecast.history import History
from qts.market.bar import Array, State

#: What a forecaster learnt about one instrument: a JSON object, so that a model version is readable text.
#: Every forecaster sets `method` (the model that was fitted in the end), `fallback` (why it is a simpler one than
#: asked for, else empty), `trained_until` (nanoseconds, the last bar it has seen) and `bars` (how many those were).
Params = dict[str, Any]

#: The quantiles of the intervals: lower and upper at 80%, lower and upper at 95%.
PROBABILITIES = (0.1, 0.9, 0.025, 0.975)

#: The method of an instrument that no model can be fitted to; it gets no forecasts.
UNFITTED = "none"


@dataclass(frozen=True)
class Forecast:
    """The predictive distribution of the next bar of each instrument, made at the end of each bar, shape (T, N).

    NaN where there is none: in the warm-up, below a column's end, for an instrument without parameters.
    """

    mean: Array
    sd: Array
    lower_80: Array
    upper_80: Array
    lower_95: Array
    upper_95: Array

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Forecast:
        """A forecast that says nothing."""
        return cls(*(np.full(shape, np.nan) for _ in fields(cls)))

    def column(self, n: int) -> Forecast:
        """One instrument's forecasts, shape (T,)."""
        return Forecast(*(getattr(self, field.name)[:, n] for field in fields(self)))

    def put(self, columns: Sequence[int], other: Forecast) -> None:
        """Fills in some columns from a forecast of those only, which may have fewer rows."""
        rows = len(other.mean)
        for field in fields(self):
            getattr(self, field.name)[:rows, list(columns)] = getattr(other, field.name)


class Forecaster(Protocol):
    """One family of models, for all instruments of a history at once.

    Both targets are of the next bar: `return`, its log return from close to close, and `variance`, its variance proxy
    (`History.pack`). A forecaster is causal: a forecast at row t uses rows up to t only, so that appending rows never
    changes a forecast that was made before them; and a column's bits do not depend on the other columns.
    """

    @property
    def name(self) -> str:
        """Name in conf and in the table `forecasts`."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """What it forecasts."""
        ...

    @property
    def joint(self) -> bool:
        """Whether its parameters are shared, so that all instruments have to be fitted in one place."""
        ...

    def fit(self, history: History) -> list[Params]:
        """Parameters of each instrument. Never raises for a series: one that cannot be fitted gets a simpler model."""
        ...

    def run(
        self, params: Sequence[Params], history: History, state: State | None = None
    ) -> tuple[dict[str, Forecast], State]:
        """Forecasts by target after every bar of a history, and the state after the last ones.

        With a state the history holds only what came since; whatever the cuts, the bits are the same.

        Args:
            params: one an instrument.
            state: what an earlier call returned for the same parameters.

        Returns:
            Forecasts, and arrays whose first axis is the instrument, but for `shared.*`. The array `ready` says which
            instruments can go on from here: too few bars cannot, and need their whole history again.
        """
        ...


class CannotFit(Exception):
    """One series does not carry this model; the reason is recorded beside the simpler model that takes over."""
