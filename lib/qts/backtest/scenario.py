"""Scenarios: stretches of history that everybody remembers, and shocks that history has spared us."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from qts.errors import ConfigError, DataError, did_you_mean
from qts.market.bar import Array, BarPanel, IntArray
from qts.risk.limits import RiskLimits


@dataclass(frozen=True)
class Window:
    """A named stretch of history.

    Attributes:
        start, end: first and last day, ISO dates.
        story: what happened.
    """

    start: str
    end: str
    story: str


WINDOWS = {
    "dot-com": Window("2000-03-10", "2002-10-09", "from the NASDAQ's high to the low of the S&P 500"),
    "2008": Window("2008-09-02", "2009-03-09", "Lehman Brothers to the low of the S&P 500"),
    "flash-crash-2010": Window("2010-04-26", "2010-07-02", "the flash crash of 6 May, and the weeks around it"),
    "august-2011": Window("2011-07-22", "2011-10-03", "the downgrade of the United States and the euro crisis"),
    "august-2015": Window("2015-08-10", "2015-09-29", "the devaluation of the yuan; 24 August"),
    "february-2018": Window("2018-01-26", "2018-04-02", "short volatility unwinds; 5 February"),
}


def rows_of(window: Window, times: IntArray) -> tuple[int, int]:
    """The bar times of a window, as indices first and stop; equal if history does not reach it."""
    day = 86_400_000_000_000
    start, end = (pd.Timestamp(text, tz="UTC").value for text in (window.start, window.end))
    # A daily bar ends at midnight and belongs to the day that it closes.
    first, stop = np.searchsorted(times, [start + 1, end + day + 1])
    return int(first), int(stop)


def apply(name: str, panel: BarPanel, risk: RiskLimits) -> tuple[BarPanel, RiskLimits]:
    """History as it was (`history`), or after a shock.

    Raises:
        ConfigError: there is no such shock.
    """
    if name == "history" or name in WINDOWS:
        return panel, risk
    try:
        shock = SHOCKS[name]
    except KeyError:
        raise ConfigError(
            f"There is no shock {name!r}; there are {', '.join(SHOCKS)}.{did_you_mean(name, SHOCKS)}"
        ) from None
    return shock(panel, risk)


def gap(panel: BarPanel, risk: RiskLimits, size: float = 0.1) -> tuple[BarPanel, RiskLimits]:
    """All prices fall by `size` at once in the middle of history, between a close and the next open."""
    factor = np.where(np.arange(len(panel)) >= len(panel) // 2, 1.0 - size, 1.0)[:, None]
    return _scaled(panel, np.broadcast_to(factor, panel.values["close"].shape)), risk


def volatility_doubling(panel: BarPanel, risk: RiskLimits) -> tuple[BarPanel, RiskLimits]:
    """Every log return counts double around its mean: the same story, twice as wild, at the same drift."""
    returns = log_returns(panel.values["close"])
    return _with_returns(panel, 2.0 * returns - np.nanmean(returns, axis=0), spread=2.0), risk


def spread_widening(panel: BarPanel, risk: RiskLimits, times: float = 10.0) -> tuple[BarPanel, RiskLimits]:
    """Half-spreads, quoted and assumed, are ten times as wide."""
    execution = replace(risk.execution, half_spread_bps=min(risk.execution.half_spread_bps * times, 999.0))
    values = {**panel.values, "spread": panel.values["spread"] * times}
    return replace(panel, values=values), risk.model_copy(update={"execution": execution})


def correlation_one(panel: BarPanel, risk: RiskLimits) -> tuple[BarPanel, RiskLimits]:
    """All instruments move with the market, each at its own mean and volatility: nothing diversifies.

    Raises:
        DataError: there is one instrument only.
    """
    returns = log_returns(panel.values["close"])
    if returns.shape[1] < 2:
        raise DataError("Correlation needs at least two instruments; the bars have one.")
    mean, sd = np.nanmean(returns, axis=0), np.nanstd(returns, axis=0)
    score = (returns - mean) / np.where(sd > 0, sd, 1.0)
    known = np.isfinite(score)
    market = np.where(known, score, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    market = (market - market.mean()) / (market.std() or 1.0)
    return _with_returns(panel, np.where(known, mean + sd * market[:, None], np.nan)), risk


Shock = Callable[[BarPanel, RiskLimits], tuple[BarPanel, RiskLimits]]
SHOCKS: dict[str, Shock] = {
    "gap": gap,
    "volatility-doubling": volatility_doubling,
    "spread-widening": spread_widening,
    "correlation-one": correlation_one,
}


def log_returns(close: Array) -> Array:
    """Log return of each bar from the instrument's bar before; NaN where there is none, shape (T, N)."""
    out = np.full(close.shape, np.nan)
    for column in range(close.shape[1]):
        rows = np.flatnonzero(np.isfinite(close[:, column]))
        out[rows[1:], column] = np.diff(np.log(close[rows, column]))
    return out


def _with_returns(panel: BarPanel, returns: Array, spread: float = 1.0) -> BarPanel:
    """The panel with closes of these log returns; within a bar prices keep their distance in logs, times `spread`."""
    close = panel.values["close"]
    here = np.isfinite(close)
    path = np.nancumsum(returns, axis=0)
    start = close[here.argmax(axis=0), np.arange(close.shape[1])]
    new = np.where(here, start * np.exp(path), np.nan)
    values = dict(panel.values)
    for name in ("open", "high", "low", "vwap"):
        values[name] = new * np.exp(spread * np.log(panel.values[name] / close))
    return replace(panel, values=values | {"close": new, "spread": panel.values["spread"] * new / close})


def _scaled(panel: BarPanel, factor: Array) -> BarPanel:
    values = dict(panel.values)
    for name in ("open", "high", "low", "close", "vwap", "spread"):
        values[name] = values[name] * factor
    return replace(panel, values=values)
