"""Policies on linear rewards: upper confidence bounds, Thompson sampling, inverse gap weighting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.bandit.base import Array, State, require
from qts.bandit.propensity import greedy, probability_best, with_floor
from qts.bandit.ridge import Ridge


@dataclass(frozen=True)
class LinUcb(Ridge):
    """Takes the arm whose reward could be the largest.

        score_k(x) = theta_k . x + alpha * sqrt(x . inverse_k x)

    with the ridge regressions of `Ridge`. Arms of equal score share the choice evenly.

    Source: Li et al., A contextual-bandit approach to personalized news article recommendation (WWW 2010), algorithm 1
    (ridge 1 there).

    Attributes:
        alpha: width of the confidence bound, standard deviations of the reward.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.alpha >= 0, self, "alpha >= 0")

    def scores(self, state: State, context: Array) -> Array:
        """The upper confidence bounds, shape (N, K)."""
        return self.estimates(state, context) + self.alpha * np.sqrt(self.variances(state, context))

    def probabilities(self, state: State, context: Array) -> Array:
        return with_floor(greedy(self.scores(state, context)), self.floor)


@dataclass(frozen=True)
class LinThompson(Ridge):
    """Takes an arm with the probability that its reward is the largest.

        theta_k . x | data ~ N(theta_k . x, alpha^2 x . inverse_k x), independent over arms

    As in `GaussianThompson` the probability is computed and then drawn from. Where a context is nothing, all arms are
    equal.

    Source: Agrawal and Goyal, Thompson sampling for contextual bandits with linear payoffs (ICML 2013).

    Attributes:
        alpha: standard deviation of a reward around its mean; less is less exploration.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.alpha > 0, self, "alpha > 0")

    def probabilities(self, state: State, context: Array) -> Array:
        mean = self.estimates(state, context)
        sd = self.alpha * np.sqrt(self.variances(state, context))
        # A direction that was never seen under no context at all has no spread: any small one makes its arms equal.
        return with_floor(probability_best(mean, np.maximum(sd, 1e-6)), self.floor)


@dataclass(frozen=True)
class SquareCb(Ridge):
    """Takes an arm the more rarely the further its estimate lies behind the best one (inverse gap weighting).

        p_k = 1 / (K + gamma * (max estimate - estimate_k)) but for the best arm, which has the rest
        gamma = scale * (matured rewards + 1)^growth

    Arms of equal best estimate share evenly.

    Source: Foster and Rakhlin, Beyond UCB: optimal and efficient contextual bandits with regression oracles (ICML
    2020), with ridge regression as the oracle.

    Attributes:
        scale: of gamma, for rewards of unit range.
        growth: power of the number of rewards; .5 is the theory's.
    """

    scale: float = 10.0
    growth: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.scale > 0 and 0 <= self.growth <= 1, self, "scale > 0 and 0 <= growth <= 1")

    def probabilities(self, state: State, context: Array) -> Array:
        estimate = self.estimates(state, context)
        arms = estimate.shape[1]
        gamma = self.scale * (state["rewards"].astype(np.float64) + 1.0) ** self.growth
        best = greedy(estimate)
        behind = 1.0 / (arms + gamma[:, None] * (estimate.max(axis=1)[:, None] - estimate))
        others = np.where(best > 0, 0.0, behind)
        return with_floor(others + best * (1.0 - others.sum(axis=1))[:, None], self.floor)
