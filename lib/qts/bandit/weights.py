"""Exponential weights: policies that assume nothing of how rewards come about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expm1

from qts.bandit.base import Array, Drawn, IntArray, State, read, require, rows_to_learn, unit
from qts.bandit.propensity import check_floor, with_floor
from qts.errors import DataError


class _Weighted(Drawn):
    """Arms weighed by the exponential of their gains, p_k ~ exp(rate * G_k), and no less than the floor."""

    rate: float
    floor: float

    def start(self, instruments: int, arms: int, features: int) -> State:
        check_floor(self.floor, arms)
        return {"gain": np.zeros((instruments, arms))}

    def probabilities(self, state: State, context: Array) -> Array:
        return with_floor(_softmax(self.rate * read(state, "gain")), self.floor)


@dataclass(frozen=True)
class Exp3(_Weighted):
    """Weights every arm by the exponential of its estimated gain; an arm's reward counts by 1 / its propensity.

        p_k ~ exp(rate * G_k),   G_k += reward / propensity for the arm that was chosen

    The floor is the exploration that keeps the estimates finite.

    Source: Auer, Cesa-Bianchi, Freund and Schapire, The nonstochastic multiarmed bandit problem (SIAM Journal on
    Computing, 2002); the fading gains are those of discounted exponential weights.

    Attributes:
        rate: of learning, for rewards scaled to a range of 1.
        forgetting: weight that gains keep at each matured reward.
        low: least reward.
        high: largest reward.
        floor: least probability of an arm, above 0.
    """

    rate: float = 0.02
    forgetting: float = 1.0
    low: float = -3.0
    high: float = 3.0
    floor: float = 0.01

    def __post_init__(self) -> None:
        require(self.rate > 0 and 0 < self.forgetting <= 1, self, "rate > 0 and 0 < forgetting <= 1")
        require(self.low < self.high and 0 < self.floor < 1, self, "low < high and 0 < floor < 1")

    def learn(
        self,
        state: State,
        context: Array,
        arm: IntArray,
        reward: Array,
        propensity: Array | None = None,
        paper: Array | None = None,
    ) -> State:
        if propensity is None:
            raise DataError(f"{self!r} weighs rewards by the propensity of their choice, but was given none.")
        rows = rows_to_learn(arm, reward)
        gain = read(state, "gain").copy()
        gain[rows] *= self.forgetting
        gain[rows, arm[rows]] += unit(reward[rows], self.low, self.high) / propensity[rows]
        # Only differences count, and these stay small.
        gain[rows] -= gain[rows].max(axis=1)[:, None]
        return {"gain": gain}


@dataclass(frozen=True)
class Hedge(_Weighted):
    """Weights every arm by the exponential of what it would have earned, chosen or not.

        p_k ~ exp(rate * G_k),   G_k <- forgetting * G_k + paper reward_k

    A strategy that was not chosen has a known paper profit, so nothing has to be explored. An arm without one takes
    the mean of the others.

    Source: Freund and Schapire, A decision-theoretic generalization of on-line learning (Journal of Computer and System
    Sciences, 1997).

    Attributes:
        rate: of learning, per unit of reward.
        forgetting: weight that gains keep at each matured reward.
        floor: least probability of an arm.
    """

    rate: float = 0.1
    forgetting: float = 1.0
    floor: float = 0.01

    def __post_init__(self) -> None:
        require(self.rate > 0 and 0 < self.forgetting <= 1, self, "rate > 0 and 0 < forgetting <= 1")
        require(0 <= self.floor < 1, self, "0 <= floor < 1")

    def learn(
        self,
        state: State,
        context: Array,
        arm: IntArray,
        reward: Array,
        propensity: Array | None = None,
        paper: Array | None = None,
    ) -> State:
        if paper is None:
            raise DataError(f"{self!r} learns from the paper rewards of all arms, but was given none.")
        rows = rows_to_learn(arm, reward)
        gain, earned = read(state, "gain").copy(), paper[rows]
        known = np.isfinite(earned)
        usual = np.where(known, earned, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        gain[rows] = self.forgetting * gain[rows] + np.where(known, earned, usual[:, None])
        gain[rows] -= gain[rows].max(axis=1)[:, None]
        return {"gain": gain}


def _softmax(score: Array) -> Array:
    """exp(score) / sum of exp(score), shape (N, K)."""
    # SciPy's scalar expm1: NumPy's vectorised exp may round differently with another length of its input.
    weight = 1.0 + expm1(score - score.max(axis=1)[:, None])
    share: Array = weight / weight.sum(axis=1)[:, None]
    return share
