"""Strategies that change with the state of the market."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.market.bar import BarPanel
from qts.strategy.base import (
    Array,
    Bar,
    State,
    beside,
    bounded,
    carry,
    count,
    divide,
    ewma,
    good_close,
    log_return,
    read,
    require,
    revert,
)
from qts.strategy.forecast import latest
from qts.strategy.sweep import Swept, before, counted, ewma_along, revert_along
from qts.strategy.trend import scaled_return_along, start_scaled_return, step_scaled_return


@dataclass(frozen=True)
class RegimeExposure(Swept):
    """Long by the probability that the market is not stressed: signal = clip(1 - aversion * p, -1, 1).

    Flat where there is no regime yet.

    Source: Ang and Bekaert, How regimes affect asset allocation (Financial Analysts Journal, 2004).

    Attributes:
        stressed: the extra that is read, a filtered probability.
        aversion: 1 goes flat in a stressed market, 2 goes short.
    """

    stressed: str = "regime.stressed"
    aversion: float = 1.0

    def __post_init__(self) -> None:
        require(bool(self.stressed) and 0 < self.aversion <= 2, self, "the name of a probability and 0 < aversion <= 2")

    def start(self, instruments: int) -> State:
        return {"signal": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        return latest(state, bar, bounded(1.0 - self.aversion * beside(bar, self.stressed)))

    def along(self, bars: BarPanel) -> Array:
        return bounded(1.0 - self.aversion * beside(bars, self.stressed))


@dataclass(frozen=True)
class RegimeSwitch(Swept):
    """Follows the trend in a calm market, trades against the last moves in a stressed one.

        signal = (1 - p) * trend - p * move

    Trend and move are returns over `slow` and `fast` bars in units of their standard deviations, clipped; p is the
    filtered probability of stress. Flat where there is no regime yet.

    Source: Kritzman, Page and Turkington, Regime shifts: implications for dynamic strategies (Financial Analysts
    Journal, 2012); Nagel, Evaporating liquidity (Review of Financial Studies, 2012): reversals pay when markets are
    wild.

    Attributes:
        stressed: the extra that is read.
        fast: bars of the move.
        slow: bars of the trend; no signal before `slow + 1` bars.
        span: of the mean of squared returns, bars.
    """

    stressed: str = "regime.stressed"
    fast: int = 5
    slow: int = 63
    span: int = 121

    def __post_init__(self) -> None:
        require(bool(self.stressed), self, "the name of a probability")
        require(1 <= self.fast < self.slow and self.span >= 1, self, "1 <= fast < slow and span >= 1")

    def start(self, instruments: int) -> State:
        return start_scaled_return(instruments, self.slow) | {"signal": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        after, trend = step_scaled_return(state, close, self.span)
        closes, variance = read(after, "closes"), read(after, "variance")
        move = divide(log_return(closes[:, -1 - self.fast], close), np.sqrt(variance * self.fast))
        fresh = self._signal(beside(bar, self.stressed), trend, move)
        signal = np.where(np.isnan(close), read(state, "signal"), fresh)
        return after | {"signal": signal}, signal.copy()

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        trend = scaled_return_along(close, self.slow, self.span)
        move = scaled_return_along(close, self.fast, self.span)
        return self._signal(beside(bars, self.stressed), trend, move)

    def _signal(self, stress: Array, trend: Array, move: Array) -> Array:
        return bounded((1.0 - stress) * np.clip(trend, -1.0, 1.0) - stress * np.clip(move, -1.0, 1.0))


@dataclass(frozen=True)
class VolatilityRegime(Swept):
    """Follows the last move while volatility is low for this instrument, trades against it while it is high.

    Volatility is high while its fast mean square exceeds `ratio` times the slow one. Needs no fitted regimes.

    Source: as RegimeSwitch; the ratio of two exponentially weighted variances is the crudest filter there is.

    Attributes:
        fast: span of the current variance and of the mean return that is followed, bars.
        slow: span of the normal variance, bars; no signal before as many returns.
        ratio: of variances, above which the market counts as wild.
    """

    fast: int = 10
    slow: int = 120
    ratio: float = 1.5

    def __post_init__(self) -> None:
        require(1 <= self.fast < self.slow and self.ratio > 0, self, "1 <= fast < slow and ratio > 0")

    def start(self, instruments: int) -> State:
        state: State = {key: np.full(instruments, np.nan) for key in ("close", "mean", "variance", "normal")}
        return state | {"returns": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        change = log_return(read(state, "close"), close)
        after: State = {
            "close": carry(read(state, "close"), close),
            "mean": ewma(read(state, "mean"), change, self.fast),
            "variance": ewma(read(state, "variance"), np.square(change), self.fast),
            "normal": ewma(read(state, "normal"), np.square(change), self.slow),
            "returns": count(read(state, "returns"), change),
        }
        return after, self._signal(*(read(after, key) for key in ("mean", "variance", "normal", "returns")))

    def along(self, bars: BarPanel) -> Array:
        close = bars.values["close"]
        change = log_return(before(close), close)
        fast, slow = ewma_along(np.square(change), self.fast), ewma_along(np.square(change), self.slow)
        return self._signal(ewma_along(change, self.fast), fast, slow, counted(change))

    def _signal(self, mean: Array, variance: Array, normal: Array, returns: Array) -> Array:
        score = divide(mean, np.sqrt(variance / self.fast))
        side = np.where(variance > self.ratio * normal, -1.0, 1.0)
        return bounded(np.where(returns >= self.slow, side * score, 0.0))


@dataclass(frozen=True)
class FearGauge(Swept):
    """Long while a volatility index stands far above its mean, until it is back: fear is paid for. Else flat.

        z = ln(index / EWMA(index)) / root of EWMA of its square

    Source: Whaley, The investor fear gauge (Journal of Portfolio Management, 2000); Giot, Relationships between implied
    volatility indexes and stock index returns (Journal of Portfolio Management, 2005).

    Attributes:
        index: the extra that is read.
        span: of both means, values; no signal before as many.
        entry: distance at which a position is opened, standard deviations.
    """

    index: str = "index.VIX"
    span: int = 60
    entry: float = 2.0

    def __post_init__(self) -> None:
        require(bool(self.index) and self.span >= 1 and self.entry > 0, self, "an index, span >= 1 and entry > 0")

    def start(self, instruments: int) -> State:
        nothing = np.full(instruments, np.nan)
        return {"mean": nothing, "power": nothing.copy(), "seen": np.zeros(instruments), "side": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        level = np.where(np.isnan(good_close(bar)), np.nan, beside(bar, self.index))
        level = np.where(level > 0, level, np.nan)
        mean = ewma(read(state, "mean"), level, self.span)
        away = log_return(mean, level)
        power = ewma(read(state, "power"), np.square(away), self.span)
        seen = count(read(state, "seen"), away)
        side = revert(read(state, "side"), self._score(away, power, seen), self.entry, 0.0)
        return {"mean": mean, "power": power, "seen": seen, "side": side}, np.maximum(-side, 0.0)

    def along(self, bars: BarPanel) -> Array:
        level = beside(bars, self.index)
        level = np.where(level > 0, level, np.nan)
        away = log_return(ewma_along(level, self.span), level)
        score = self._score(away, ewma_along(np.square(away), self.span), counted(away))
        return np.maximum(-revert_along(score, self.entry, 0.0), 0.0)

    def _score(self, away: Array, power: Array, seen: Array) -> Array:
        ready = (seen >= self.span) & (power > 1e-24)
        return np.where(ready, divide(away, np.sqrt(power)), np.nan)
