"""Thompson sampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.bandit.base import Array, Choice, IntArray, State, draw, read, require, rows_to_learn
from qts.bandit.propensity import check_floor, probability_best, with_floor


@dataclass(frozen=True)
class GaussianThompson:
    """Chooses an arm with the probability that it is the best, given normal rewards and a N(0, prior_var) prior.

        mean_k | data ~ N(sum_k / noise_var * v_k, v_k),   1 / v_k = 1 / prior_var + pulls_k / noise_var

    The probability is computed and then drawn from, which is the same as to draw every arm's mean and to take the
    largest, and makes the propensity exact. With forgetting < 1 old evidence fades at every matured reward of the
    instrument, so that the policy follows a market that drifts. Contexts are ignored.

    Source: Thompson (Biometrika, 1933); Raj and Kalyani, Taming non-stationary bandits (2017) for the forgetting.

    Attributes:
        prior_var: variance of the arms' means before anything is known.
        noise_var: variance of a reward around its arm's mean.
        forgetting: weight that evidence keeps at each matured reward.
        floor: least probability of an arm.

    >>> policy = GaussianThompson(floor=0.0)
    >>> state = policy.start(instruments=1, arms=2, features=0)
    >>> state = policy.learn(state, np.zeros((1, 0)), np.array([1]), np.array([2.0]))
    >>> policy.probabilities(state, np.zeros((1, 0))).round(3)  # P(N(0, 1) > N(1, 1/2)) = Phi(-1 / sqrt(1.5))
    array([[0.207, 0.793]])
    """

    prior_var: float = 1.0
    noise_var: float = 1.0
    forgetting: float = 1.0
    floor: float = 0.01

    def __post_init__(self) -> None:
        require(self.prior_var > 0 and self.noise_var > 0, self, "positive variances")
        require(0 < self.forgetting <= 1 and 0 <= self.floor < 1, self, "0 < forgetting <= 1 and 0 <= floor < 1")

    def draws(self, arms: int) -> int:
        return 1

    def start(self, instruments: int, arms: int, features: int) -> State:
        check_floor(self.floor, arms)
        return {"pulls": np.zeros((instruments, arms)), "sum": np.zeros((instruments, arms))}

    def probabilities(self, state: State, context: Array) -> Array:
        variance = 1.0 / (1.0 / self.prior_var + read(state, "pulls") / self.noise_var)
        mean = variance * read(state, "sum") / self.noise_var
        return with_floor(probability_best(mean, np.sqrt(variance)), self.floor)

    def choose(self, state: State, context: Array, uniforms: Array) -> Choice:
        return draw(self.probabilities(state, context), uniforms)

    def learn(self, state: State, context: Array, arm: IntArray, reward: Array) -> State:
        rows = rows_to_learn(arm, reward)
        pulls, total = read(state, "pulls").copy(), read(state, "sum").copy()
        pulls[rows] *= self.forgetting
        total[rows] *= self.forgetting
        pulls[rows, arm[rows]] += 1.0
        total[rows, arm[rows]] += reward[rows]
        return {"pulls": pulls, "sum": total}
