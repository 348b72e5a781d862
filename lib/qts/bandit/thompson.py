"""Thompson sampling without context."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.bandit.base import Array, IntArray, State, read, require, unit
from qts.bandit.counted import Counted
from qts.bandit.pooling import common_prior
from qts.bandit.propensity import probability_best, probability_best_beta


@dataclass(frozen=True)
class GaussianThompson(Counted):
    """Chooses an arm with the probability that it is the best, given normal rewards and a N(0, prior_var) prior.

        mean_k | data ~ N(sum_k / noise_var * v_k, v_k),   1 / v_k = 1 / prior_var + pulls_k / noise_var

    The probability is computed and then drawn from, which is the same as to draw every arm's mean and to take the
    largest, and makes the propensity exact. Contexts are ignored.

    With `pool` the prior is learnt from all instruments, every so many bar times, so that a new one starts with what
    the arms have brought elsewhere (`qts.bandit.pooling`).

    Source: Thompson (Biometrika, 1933); Raj and Kalyani, Taming non-stationary bandits (2017) for the forgetting.

    Attributes:
        prior_var: variance of the arms' means before anything is known.
        noise_var: variance of a reward around its arm's mean.
        pool: bar times after which the prior is learnt anew from all instruments; 0 for never.

    >>> policy = GaussianThompson(floor=0.0)
    >>> state = policy.start(instruments=1, arms=2, features=0)
    >>> state = policy.learn(state, np.zeros((1, 0)), np.array([1]), np.array([2.0]))
    >>> policy.probabilities(state, np.zeros((1, 0))).round(3)  # P(N(0, 1) > N(1, 1/2)) = Phi(-1 / sqrt(1.5))
    array([[0.207, 0.793]])
    """

    prior_var: float = 1.0
    noise_var: float = 1.0
    pool: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.prior_var > 0 and self.noise_var > 0, self, "positive variances")
        require(self.pool >= 0, self, "pool >= 0")

    def start(self, instruments: int, arms: int, features: int) -> State:
        state = super().start(instruments, arms, features)
        if self.pool:
            state["prior_mean"] = np.zeros((instruments, arms))
            state["prior_var"] = np.full((instruments, arms), self.prior_var)
        return state

    def preferences(self, state: State) -> Array:
        prior = read(state, "prior_var") if self.pool else self.prior_var
        known = read(state, "sum") / self.noise_var
        if self.pool:
            known = known + read(state, "prior_mean") / prior
        variance = 1.0 / (1.0 / prior + read(state, "pulls") / self.noise_var)
        return probability_best(variance * known, np.sqrt(variance))

    def pooled(self, state: State) -> State:
        """The state of all instruments with their common prior learnt anew."""
        pulls, total = read(state, "pulls"), read(state, "sum")
        mean, variance = common_prior(pulls, total, self.noise_var, self.prior_var)
        shape = pulls.shape
        return state | {
            "prior_mean": np.broadcast_to(mean, shape).copy(),
            "prior_var": np.broadcast_to(variance, shape).copy(),
        }


@dataclass(frozen=True)
class BernoulliThompson(Counted):
    """Chooses an arm with the probability that it is the best, given Bernoulli rewards and a Beta prior.

        mean_k | data ~ Beta(successes + wins_k, failures + losses_k)

    Rewards between `low` and `high` count as parts of a win and a loss. As in `GaussianThompson` the probability is
    computed, here to about a thousandth, and then drawn from, so that the propensity is exact.

    Source: Thompson (Biometrika, 1933); Chapelle and Li, An empirical evaluation of Thompson sampling (NeurIPS 2011).

    Attributes:
        successes: of the prior, at least .5.
        failures: of the prior, at least .5.
        low: reward that is a loss.
        high: reward that is a win.
    """

    successes: float = 1.0
    failures: float = 1.0
    low: float = -3.0
    high: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.successes >= 0.5 and self.failures >= 0.5, self, "successes and failures of at least 0.5")
        require(self.low < self.high, self, "low < high")

    def preferences(self, state: State) -> Array:
        pulls, wins = read(state, "pulls"), read(state, "sum")
        return probability_best_beta(self.successes + wins, self.failures + np.maximum(pulls - wins, 0.0))

    def learn(
        self,
        state: State,
        context: Array,
        arm: IntArray,
        reward: Array,
        propensity: Array | None = None,
        paper: Array | None = None,
    ) -> State:
        known = np.where(np.isfinite(reward), unit(reward, self.low, self.high), np.nan)
        return super().learn(state, context, arm, known)
