"""Policies on counts: optimism, greed with exploration, and exploration first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import rel_entr, xlogy

from qts.bandit.base import Array, IntArray, State, read, require, unit
from qts.bandit.counted import Counted, mean_reward
from qts.bandit.propensity import greedy

#: Halvings of the interval in which a bound lies: enough for a double.
_HALVINGS = 50


@dataclass(frozen=True)
class Ucb(Counted):
    """Takes the arm whose mean reward could be the largest; one that was never tried comes first.

        score_k = mean_k + scale * sqrt(2 ln(pulls of all) / pulls_k)

    Arms of equal score share the choice evenly. With forgetting it is discounted UCB, with a window sliding-window UCB.

    Source: UCB1 of Auer, Cesa-Bianchi and Fischer, Finite-time analysis of the multiarmed bandit problem (Machine
    Learning, 2002); Garivier and Moulines (2011) for the forgetting.

    Attributes:
        scale: range of the rewards, or twice their standard deviation.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.scale > 0, self, "scale > 0")

    def preferences(self, state: State) -> Array:
        pulls = read(state, "pulls")
        bonus = np.sqrt(2.0 * _log_pulls(pulls) / np.where(pulls > 0, pulls, 1.0))
        return greedy(mean_reward(state, np.inf) + self.scale * bonus)


@dataclass(frozen=True)
class KlUcb(Counted):
    """Takes the arm whose mean reward could be the largest, by the tightest bound for rewards in a range.

        score_k = the largest q with pulls_k * KL(mean_k, q) <= ln(pulls of all)

    where KL is the Kullback-Leibler divergence of two Bernoulli distributions.

    Source: Garivier and Cappe, The KL-UCB algorithm for bounded stochastic bandits and beyond (COLT 2011), with c = 0
    as they recommend.

    Attributes:
        low: least reward.
        high: largest reward.
    """

    low: float = -3.0
    high: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.low < self.high, self, "low < high")

    def preferences(self, state: State) -> Array:
        pulls = read(state, "pulls")
        mean = unit(mean_reward(state, self.high), self.low, self.high)
        budget = _log_pulls(pulls) / np.where(pulls > 0, pulls, 1.0)
        below, above = mean, np.ones_like(mean)
        for _ in range(_HALVINGS):
            middle = (below + above) / 2.0
            inside = rel_entr(mean, middle) + rel_entr(1.0 - mean, 1.0 - middle) <= budget
            below, above = np.where(inside, middle, below), np.where(inside, above, middle)
        return greedy(np.where(pulls > 0, below, np.inf))


@dataclass(frozen=True)
class EpsilonGreedy(Counted):
    """Takes the arm of the best mean reward, and with probability epsilon any arm; untried ones come first.

    Source: Sutton and Barto, Reinforcement Learning (2018), section 2.4.

    Attributes:
        epsilon: probability of a choice among all arms.
    """

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.epsilon <= 1, self, "0 <= epsilon <= 1")

    def preferences(self, state: State) -> Array:
        best = greedy(mean_reward(state, np.inf))
        mixed: Array = self.epsilon / best.shape[1] + (1.0 - self.epsilon) * best
        return mixed


@dataclass(frozen=True)
class ExploreThenCommit(Counted):
    """Tries every arm `tries` times, then stays with the one that was best. A control: it never changes its mind.

    Source: Lattimore and Szepesvari, Bandit Algorithms (2020), chapter 6.

    Attributes:
        tries: matured rewards of every arm before the choice is made.
    """

    tries: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.tries >= 1 and self.window == 0 and self.forgetting == 1, self, "tries >= 1, and all evidence kept"
        )

    def preferences(self, state: State) -> Array:
        pulls = read(state, "pulls")
        committed = (pulls.min(axis=1) >= self.tries)[:, None]
        return np.where(committed, greedy(mean_reward(state, 0.0)), greedy(-pulls))

    def learn(
        self,
        state: State,
        context: Array,
        arm: IntArray,
        reward: Array,
        propensity: Array | None = None,
        paper: Array | None = None,
    ) -> State:
        committed = read(state, "pulls").min(axis=1) >= self.tries
        return super().learn(state, context, np.where(committed, -1, arm), reward)


def _log_pulls(pulls: Array) -> Array:
    """The logarithm of the pulls of all arms, at least 0, shape (N, 1)."""
    # SciPy's scalar logarithm: NumPy's vectorised one may round differently with another length of its input.
    logarithm: Array = xlogy(1.0, np.maximum(pulls.sum(axis=1), 1.0))[:, None]
    return logarithm
