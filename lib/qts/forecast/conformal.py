"""Adaptive conformal inference: intervals that keep their coverage while the market changes under the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qts.errors import ConfigError
from qts.market.bar import Array, State


@dataclass(frozen=True)
class AdaptiveConformal:
    """Central intervals of a score from its recent quantiles, at a level that learns from every miss.

    A score s is a forecast's error in units that the model thinks constant: (y - mean) / sd, or log(v / forecast) of a
    variance. The interval of the next score runs from the a/2 to the 1 - a/2 quantile of the last `window` scores, and
    for each coverage 1 - alpha

        a(t+1) = a(t) + gamma (alpha - miss(t)),    miss(t) = 1 if s(t) lay outside, else 0.

    Summed over time this holds the coverage to 1 - alpha within (max(a) - min(a)) / (gamma T), whatever the scores do.
    At a >= 1 the interval is empty and every score a miss, also one that equals the median: else the level of a series
    that stands still would rise for as long as it does, and no interval would open for as long again when it moves.
    Where a falls to 0 the authors' interval is the whole line; here the window's extremes are pushed away from its
    median by the factor 1 - a / alpha, which is finite and grows until it covers.

    Source: I. Gibbs and E. Candes, "Adaptive conformal inference under distribution shift", NeurIPS 2021, equation 2,
    with the quantiles of a sliding window, of signed scores.

    The state of N series holds arrays whose first axis is the series: `scores` (N, window), `at` (N,) the place of the
    next one, `level` (N, coverages) the a of above. A NaN score leaves a series as it was.

    >>> conformal = AdaptiveConformal(coverages=(0.8,), fewest=3)
    >>> state = conformal.start(1)
    >>> for score in (-1.0, 0.0, 1.0):
    ...     state = conformal.update(state, np.array([score]))
    >>> low, high = conformal.interval(state)
    >>> float(low[0, 0]), float(high[0, 0])
    (-1.0, 1.0)
    """

    coverages: tuple[float, ...] = (0.8, 0.95)  # of the intervals, ascending
    gamma: float = 0.02  # step of the level after each score
    window: int = 250  # scores whose quantiles are taken
    fewest: int = 20  # scores before the first interval

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in zip(self.coverages, self.coverages[1:], strict=False))
        if not (self.coverages and ascending and self.coverages[0] > 0 and self.coverages[-1] < 1):
            raise ConfigError(f"Coverages are {self.coverages}; expected ascending numbers between 0 and 1.")
        if not (self.gamma >= 0 and 2 <= self.fewest <= self.window):
            raise ConfigError(f"{self!r} makes no sense: expected gamma >= 0 and 2 <= fewest <= window.")

    def start(self, series: int) -> State:
        """The state of `series` series that have no scores yet."""
        return {
            "scores": np.full((series, self.window), np.nan),
            "at": np.zeros(series, np.int64),
            "level": np.tile(1 - np.array(self.coverages), (series, 1)),
        }

    def primed(self, past: Array) -> State:
        """The state of series whose newest scores are known but were not forecast, such as those of a training window.

        Args:
            past: scores, oldest first, shape (P, N); NaN where a series has none.
        """
        state = self.start(past.shape[1])
        for n, column in enumerate(past.T):
            newest = column[np.isfinite(column)][-self.window :]
            state["scores"][n, : len(newest)] = newest
            state["at"][n] = len(newest) % self.window
        return state

    def interval(self, state: State) -> tuple[Array, Array]:
        """Bounds of the next score, shape (N, coverages) each.

        A wider coverage's interval holds a narrower one's. NaN for a series with fewer than `fewest` scores.
        """
        return self._bounds(np.sort(state["scores"], axis=1), state["level"])

    def update(self, state: State, score: Array, issued: tuple[Array, Array] | None = None) -> State:
        """The state after one more score of each series, shape (N,).

        Args:
            issued: the bounds that this score was given when it was forecast, shape (N, coverages) each; NaN where it
                was given none, then it is no miss and no hit. By default those of now, as for one step ahead. Further
                ahead other scores arrived in between, and a miss is one of what was said at the time.
        """
        low, high = self.interval(state) if issued is None else issued
        return self._learn({**state, "scores": state["scores"].copy()}, score, low, high)

    def run(self, scores: Array, state: State | None = None) -> tuple[Array, Array, State]:
        """Intervals of many scores, each from the rows before it alone.

        Args:
            scores: shape (T, N), NaN where a series has none.
            state: where to go on from; by default the start.

        Returns:
            Lower and upper bounds, shape (T + 1, N, coverages): row t is of score t, the last row of the score to
            come; and the state at the end. One run over all rows and two runs over its halves give the same bits.
        """
        steps, series = scores.shape
        state = self.start(series) if state is None else {**state, "scores": state["scores"].copy()}
        low, high = (np.empty((steps + 1, series, len(self.coverages))) for _ in range(2))
        for t, score in enumerate(scores):
            low[t], high[t] = self.interval(state)
            state = self._learn(state, score, low[t], high[t])
        low[steps], high[steps] = self.interval(state)
        return low, high, state

    def _bounds(self, ordered: Array, level: Array) -> tuple[Array, Array]:
        count = np.isfinite(ordered).sum(axis=1)
        tail = np.minimum(np.maximum(level, 0), 1) / 2
        beyond = 1 + np.maximum(-level, 0) / (1 - np.array(self.coverages))
        wanted = np.concatenate([np.full((len(level), 1), 0.5), tail, 1 - tail], axis=1)
        middle, low, high = np.split(_order_statistic(ordered, count, wanted), (1, 1 + level.shape[1]), axis=1)
        unknown = count < self.fewest
        low, high = middle + beyond * (low - middle), middle + beyond * (high - middle)
        low[unknown] = high[unknown] = np.nan
        return np.minimum.accumulate(low, axis=1), np.maximum.accumulate(high, axis=1)

    def _learn(self, state: State, score: Array, low: Array, high: Array) -> State:
        """The state after a score; the array `scores` is changed in place."""
        known = np.isfinite(score)
        judged = known[:, None] & np.isfinite(low)
        missed = (score[:, None] < low) | (score[:, None] > high) | (state["level"] >= 1)
        step = self.gamma * (1 - np.array(self.coverages) - missed)
        who = np.flatnonzero(known)
        state["scores"][who, state["at"][who]] = score[who]
        return {
            "scores": state["scores"],
            "at": np.where(known, (state["at"] + 1) % self.window, state["at"]),
            "level": np.where(judged, state["level"] + step, state["level"]),
        }


def _order_statistic(ordered: Array, count: npt.NDArray[np.integer[Any]], probability: Array) -> Array:
    """Quantiles of the first `count` of each ascending row at the places p (n + 1), clipped to the sample.

    These places (Hyndman and Fan's sixth rule) are those of conformal prediction: under exchangeability the next
    score lies below the quantile with probability p.
    """
    count = np.maximum(count, 1)[:, None]
    place = np.minimum(np.maximum(probability * (count + 1) - 1, 0), count - 1)
    below = place.astype(np.int64)
    row = np.arange(len(ordered))[:, None]
    left, right = ordered[row, below], ordered[row, np.minimum(below + 1, count - 1)]
    return np.asarray(left + (place - below) * (right - left))
