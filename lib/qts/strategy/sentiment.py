"""Strategies on the tone of the news, as scored before the bar's end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.market.bar import BarPanel
from qts.strategy.base import Array, Bar, State, beside, bounded, count, divide, ewma, good_close, read, require
from qts.strategy.forecast import latest
from qts.strategy.sweep import Swept, before, counted, ewma_along


@dataclass(frozen=True)
class SentimentLevel(Swept):
    """With the news: signal = clip(score / full, -1, 1); flat where there is no news.

    Source: Tetlock, Saar-Tsechansky and Macskassy, More than words: quantifying language to measure firms'
    fundamentals (Journal of Finance, 2008): prices take a day to follow the words.

    Attributes:
        score: the extra that is read, in [-1, 1].
        full: score at which the position is full.
    """

    score: str = "sentiment.score"
    full: float = 0.5

    def __post_init__(self) -> None:
        require(bool(self.score) and 0 < self.full <= 1, self, "the name of a score and 0 < full <= 1")

    def start(self, instruments: int) -> State:
        return {"signal": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        return latest(state, bar, bounded(beside(bar, self.score) / self.full))

    def along(self, bars: BarPanel) -> Array:
        return bounded(beside(bars, self.score) / self.full)


@dataclass(frozen=True)
class SentimentSurprise(Swept):
    """With the news as far as they differ from the usual tone, in units of how much they usually differ, clipped.

        signal = clip((score - EWMA of the scores before) / root of EWMA of its square / full, -1, 1)

    Source: Tetlock, Giving content to investor sentiment (Journal of Finance, 2007): what matters is the tone against
    its own past, for some names are always spoken of well.

    Attributes:
        score: the extra that is read.
        span: of both means, bars with news; no signal before as many.
        full: surprise at which the position is full, standard deviations.
    """

    score: str = "sentiment.score"
    span: int = 20
    full: float = 2.0

    def __post_init__(self) -> None:
        require(
            bool(self.score) and self.span >= 1 and self.full > 0, self, "the name of a score, span >= 1 and full > 0"
        )

    def start(self, instruments: int) -> State:
        nothing = np.full(instruments, np.nan)
        zero = np.zeros(instruments)
        return {"usual": nothing, "power": nothing.copy(), "seen": zero, "signal": zero.copy()}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        close = good_close(bar)
        score = np.where(np.isnan(close), np.nan, beside(bar, self.score))
        surprise = score - read(state, "usual")
        power = ewma(read(state, "power"), np.square(surprise), self.span)
        seen = count(read(state, "seen"), surprise)
        signal = np.where(np.isnan(close), read(state, "signal"), self._signal(surprise, power, seen))
        usual = ewma(read(state, "usual"), score, self.span)
        return {"usual": usual, "power": power, "seen": seen, "signal": signal}, signal.copy()

    def along(self, bars: BarPanel) -> Array:
        score = beside(bars, self.score)
        surprise = score - before(ewma_along(score, self.span))
        return self._signal(surprise, ewma_along(np.square(surprise), self.span), counted(surprise))

    def _signal(self, surprise: Array, power: Array, seen: Array) -> Array:
        ready = (seen >= self.span) & (power > 1e-12)
        return bounded(np.where(ready, divide(surprise, np.sqrt(power)) / self.full, 0.0))
