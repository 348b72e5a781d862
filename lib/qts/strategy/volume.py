"""Volume and order flow: what the trades inside a bar say beyond its close.

Bars carry the volume, its mean price and the semivariances of the prints inside; where a source has none of them, these
strategies stay flat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

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
    push,
    read,
    require,
    window,
)
from qts.strategy.sweep import Swept, before, counted, ewma_along, rolled


@dataclass(frozen=True)
class VwapReversion(Swept):
    """Against the distance of the close from the volume-weighted mean price of the last bars, clipped.

        signal = clip(-deviation / root of EWMA(deviation^2) / full, -1, 1),   deviation = ln(close / VWAP)

    Source: Berkowitz, Logue and Noser, The total cost of transactions on the NYSE (Journal of Finance, 1988) for VWAP
    as the fair price of a period; as an anchor of reversion it is floor traders' practice.

    Attributes:
        length: bars with volume in the VWAP.
        span: of the mean of squared deviations, bars; no signal before as many.
        full: deviation at which the position is full, standard deviations.
    """

    length: int = 20
    span: int = 60
    full: float = 2.0

    def __post_init__(self) -> None:
        require(self.length >= 1 and self.span >= 1 and self.full > 0, self, "length >= 1, span >= 1 and full > 0")

    def start(self, instruments: int) -> State:
        return {
            "values": window(instruments, self.length),
            "volumes": window(instruments, self.length),
            "power": np.full(instruments, np.nan),
            "seen": np.zeros(instruments),
            "signal": np.zeros(instruments),
        }

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        value, volume = _traded(bar.vwap, bar.volume, close)
        values, volumes = push(read(state, "values"), value), push(read(state, "volumes"), volume)
        deviation = log_return(_mean_price(values, volumes), close)
        power = ewma(read(state, "power"), np.square(deviation), self.span)
        seen = count(read(state, "seen"), deviation)
        fresh = self._signal(deviation, power, seen)
        signal = np.where(np.isnan(close), read(state, "signal"), fresh)
        return {"values": values, "volumes": volumes, "power": power, "seen": seen, "signal": signal}, signal.copy()

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        value, volume = _traded(bars.values["vwap"], bars.values["volume"], close)
        deviation = log_return(rolled(_mean_price, self.length, value, volume), close)
        return self._signal(deviation, ewma_along(np.square(deviation), self.span), counted(deviation))

    def _signal(self, deviation: Array, power: Array, seen: Array) -> Array:
        # A deviation of nothing but rounding, over the root of its own square, would be a full position.
        ready = (seen >= self.span) & (power > 1e-24)
        return bounded(np.where(ready, -divide(deviation, np.sqrt(power)) / self.full, 0.0))


@dataclass(frozen=True)
class OrderFlowImbalance(Swept):
    """With the side that has been trading the more volume: (bought - sold) / volume, exponentially weighted.

        bought - sold = volume * (2 Phi(return / sd) - 1)

    The split of a bar's volume is that of bulk volume classification, which was made for bars and needs no sign of the
    single trades.

    Source: Easley, Lopez de Prado and O'Hara, Flow toxicity and liquidity in a high-frequency world (Review of
    Financial Studies, 2012) for the split; Chordia and Subrahmanyam, Order imbalance and individual stock returns
    (Journal of Financial Economics, 2004): imbalances persist and move prices the same way.

    Attributes:
        span: of the volumes, bars with volume; no signal before as many.
        scale: span of the mean of squared returns, bars.
        full: imbalance at which the position is full.
    """

    span: int = 20
    scale: int = 60
    full: float = 0.5

    def __post_init__(self) -> None:
        require(self.span >= 1 and self.scale >= 1 and 0 < self.full <= 1, self, "spans >= 1 and 0 < full <= 1")

    def start(self, instruments: int) -> State:
        nothing = np.full(instruments, np.nan)
        return {
            "close": nothing,
            "variance": nothing.copy(),
            "flow": nothing.copy(),
            "volume": nothing.copy(),
            "seen": np.zeros(instruments),
        }

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        change = log_return(read(state, "close"), close)
        variance = ewma(read(state, "variance"), np.square(change), self.scale)
        flow, volume = _flow(change, variance, bar.volume)
        after: State = {
            "close": carry(read(state, "close"), close),
            "variance": variance,
            "flow": ewma(read(state, "flow"), flow, self.span),
            "volume": ewma(read(state, "volume"), volume, self.span),
            "seen": count(read(state, "seen"), flow),
        }
        return after, self._signal(read(after, "flow"), read(after, "volume"), read(after, "seen"))

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        change = log_return(before(close), close)
        flow, volume = _flow(change, ewma_along(np.square(change), self.scale), bars.values["volume"])
        return self._signal(ewma_along(flow, self.span), ewma_along(volume, self.span), counted(flow))

    def _signal(self, flow: Array, volume: Array, seen: Array) -> Array:
        return bounded(np.where(seen >= self.span, divide(flow, volume) / self.full, 0.0))


@dataclass(frozen=True)
class SignedJump(Swept):
    """Against lopsided variation inside the bars: -(RS+ - RS-) / RV, exponentially weighted, over its normal size.

    Rises that come in jumps are paid for too dearly, and are followed by lower returns.

    Source: Bollerslev, Li and Zhao, Good volatility, bad volatility, and the cross section of stock returns (Journal of
    Financial and Quantitative Analysis, 2020); the signed jump is that of Patton and Sheppard, Good volatility, bad
    volatility: signed jumps and the persistence of volatility (Review of Economics and Statistics, 2015).

    Attributes:
        span: of the mean, bars with prints inside; no signal before as many.
        full: mean at which the position is full.
    """

    span: int = 10
    full: float = 0.5

    def __post_init__(self) -> None:
        require(self.span >= 1 and 0 < self.full <= 1, self, "span >= 1 and 0 < full <= 1")

    def start(self, instruments: int) -> State:
        return {"mean": np.full(instruments, np.nan), "seen": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        jump = _signed_jump(bar.semivariance_plus, bar.semivariance_minus, good_close(bar))
        mean, seen = ewma(read(state, "mean"), jump, self.span), count(read(state, "seen"), jump)
        return {"mean": mean, "seen": seen}, self._signal(mean, seen)

    def along(self, bars: BarPanel) -> Array:
        values = bars.values
        jump = _signed_jump(values["semivariance_plus"], values["semivariance_minus"], values["close"])
        return self._signal(ewma_along(jump, self.span), counted(jump))

    def _signal(self, mean: Array, seen: Array) -> Array:
        return bounded(np.where(seen >= self.span, -mean / self.full, 0.0))


def _traded(vwap: Array, volume: Array, close: Array) -> tuple[Array, Array]:
    """Value and volume of bars with a positive volume and mean price, NaN else."""
    known = np.isfinite(vwap) & (vwap > 0) & np.isfinite(volume) & (volume > 0) & ~np.isnan(close)
    units = np.where(known, volume, np.nan)
    return units * vwap, units


def _mean_price(values: Array, volumes: Array) -> Array:
    price: Array = values.sum(axis=1) / volumes.sum(axis=1)
    return price


def _flow(change: Array, variance: Array, volume: Array) -> tuple[Array, Array]:
    """Bought less sold volume, and both together, NaN where return or volume are unknown."""
    side = 2.0 * ndtr(divide(change, np.sqrt(variance))) - 1.0
    known = np.isfinite(volume) & (volume >= 0) & ~np.isnan(side)
    units = np.where(known, volume, np.nan)
    return side * units, units


def _signed_jump(plus: Array, minus: Array, close: Array) -> Array:
    known = np.isfinite(plus) & np.isfinite(minus) & (plus >= 0) & (minus >= 0) & ~np.isnan(close)
    rises, falls = np.where(known, plus, np.nan), np.where(known, minus, np.nan)
    return divide(rises - falls, rises + falls)
