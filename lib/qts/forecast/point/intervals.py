"""Calibrated intervals for a panel: adaptive conformal inference, one lane a series and step ahead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.forecast.conformal import AdaptiveConformal
from qts.forecast.point.base import COVERAGES, Predictive
from qts.market.bar import Array, IntArray, State

_POOL = 60  # scores that a lane starts from; its own first, the rest from the whole panel
_GAMMA = 0.02  # Gibbs and Candes (2021) report .005 to .05 to do alike
_WINDOW = 250


@dataclass(frozen=True)
class Lanes:
    """Conformal intervals of N series and H steps ahead.

    A score is (y - mean) / sd. An h-step forecast's score is known h periods later and enters then; a lane with few
    scores of its own borrows from all series of the panel, at the same step ahead, those that were known by then.
    """

    series: int
    horizon: int

    @property
    def _conformal(self) -> AdaptiveConformal:
        return AdaptiveConformal(COVERAGES, _GAMMA, _WINDOW)

    def start(self, scores: Array, known_at: IntArray, now: IntArray) -> State:
        """The state at the first origin.

        Args:
            scores: of earlier origins, in the order of time, shape (K, N, H); NaN where there is none or not yet.
            known_at: when each was known, in the panel's time, shape (K, N, H).
            now: time of the first origin of each series, shape (N,).
        """
        state = self._conformal.start(self.series * self.horizon)
        window, at = state["scores"], state["at"]
        for h in range(self.horizon):
            own, when = scores[:, :, h], known_at[:, :, h]
            for moment in np.unique(now):
                there = np.isfinite(own) & (when <= moment)
                known = own[there]
                thinned: dict[int, Array] = {}
                for n in np.flatnonzero(now == moment):
                    mine = own[:, n][there[:, n]][-_WINDOW:]
                    lacking = max(_POOL - len(mine), 0)
                    if lacking not in thinned:
                        thinned[lacking] = _thinned(known, lacking)
                    lane, both = n * self.horizon + h, np.concatenate([thinned[lacking], mine])[-_WINDOW:]
                    window[lane, : len(both)] = both
                    at[lane] = len(both) % _WINDOW
        return state

    def interval(self, state: State) -> tuple[Array, Array]:
        """Bounds of the next scores, shape (N, H, coverages) each; NaN where there are too few scores."""
        low, high = self._conformal.interval(state)
        shape = (self.series, self.horizon, len(COVERAGES))
        return low.reshape(shape), high.reshape(shape)

    def update(self, state: State, scores: Array, low: Array, high: Array) -> State:
        """The state after the scores that have become known.

        Args:
            scores: shape (N, H); NaN where there is none.
            low, high: the bounds that each of them was given at its origin, shape (N, H, coverages).
        """
        issued = low.reshape(-1, len(COVERAGES)), high.reshape(-1, len(COVERAGES))
        return self._conformal.update(state, scores.reshape(-1), issued)


def _thinned(scores: Array, count: int) -> Array:
    """So many evenly spaced quantiles of a sample, shuffled in a fixed order; all of it where it is no larger."""
    if count <= 0 or len(scores) < 2:
        return np.empty(0)
    if len(scores) <= count:
        return scores
    # The window forgets in the order of arrival, so its parts must look alike.
    return np.quantile(scores, (np.random.default_rng(0).permutation(count) + 0.5) / count)


def calibrated(
    forecast: Predictive, scores: Array, known_at: IntArray, before: int, now: IntArray
) -> tuple[dict[float, Array], dict[float, Array]]:
    """Bounds of every forecast from the scores known at its origin, by coverage, shape (K, N, H) each.

    Where a lane has too few scores the bounds are the model's own quantiles.

    Args:
        forecast: of K origins.
        scores: of `before` earlier origins and those K, shape (before + K, N, H).
        known_at: time of each outcome, same shape.
        now: time of the last row that the first origin knows, shape (N,).
    """
    origins, series, horizon = forecast.mean.shape
    lanes = Lanes(series, horizon)
    state = lanes.start(scores[:before], known_at[:before], now)
    low, high = (np.empty((origins, series, horizon, len(COVERAGES))) for _ in range(2))
    for k in range(origins):
        if k:
            arrived = np.full((series, horizon), np.nan)
            issued = np.full((2, series, horizon, len(COVERAGES)), np.nan)
            for h in range(min(horizon, before + k)):
                arrived[:, h] = scores[before + k - 1 - h, :, h]
                if h < k:  # an earlier origin had no interval yet
                    issued[:, :, h] = low[k - 1 - h, :, h], high[k - 1 - h, :, h]
            state = lanes.update(state, arrived, *issued)
        low[k], high[k] = lanes.interval(state)
    lower: dict[float, Array] = {}
    upper: dict[float, Array] = {}
    for i, level in enumerate(COVERAGES):
        for bounds, at, probability in ((lower, low, (1 - level) / 2), (upper, high, (1 + level) / 2)):
            own = forecast.mean + forecast.sd * at[..., i]
            bounds[level] = np.where(np.isnan(own), forecast.quantile(probability), own)
    return lower, upper
