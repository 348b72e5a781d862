"""Evidence without context: how often each arm was pulled and what it brought, all of it, faded, or of a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.bandit.base import Array, Drawn, IntArray, State, read, require, rows_to_learn
from qts.bandit.propensity import check_floor, with_floor


@dataclass(frozen=True)
class Counted(Drawn):
    """What policies without context share: pulls and sum of rewards of every arm.

    Markets drift, so old evidence can fade, at every matured reward of the instrument, or be dropped when it leaves a
    window of matured rewards.

    Source: Garivier and Moulines, On upper-confidence bound policies for switching bandit problems (ALT 2011); Raj and
    Kalyani, Taming non-stationary bandits (2017); Trovo et al., Sliding-window Thompson sampling for non-stationary
    settings (Journal of Artificial Intelligence Research, 2020).

    Attributes:
        forgetting: weight that evidence keeps at each matured reward.
        window: matured rewards of an instrument that count; 0 for all.
        floor: least probability of an arm.
    """

    forgetting: float = 1.0
    window: int = 0
    floor: float = 0.01

    def __post_init__(self) -> None:
        require(0 < self.forgetting <= 1 and 0 <= self.floor < 1, self, "0 < forgetting <= 1 and 0 <= floor < 1")
        require(self.window >= 0 and (self.window == 0 or self.forgetting == 1), self, "a window >= 0, or forgetting")

    def preferences(self, state: State) -> Array:
        """The distribution over the arms before the floor, shape (N, K)."""
        raise NotImplementedError

    def start(self, instruments: int, arms: int, features: int) -> State:
        check_floor(self.floor, arms)
        state: State = {"pulls": np.zeros((instruments, arms)), "sum": np.zeros((instruments, arms))}
        if self.window:
            state["arms"] = np.full((instruments, self.window), -1, dtype=np.int64)
            state["rewards"] = np.zeros((instruments, self.window))
            state["next"] = np.zeros(instruments, dtype=np.int64)
        return state

    def probabilities(self, state: State, context: Array) -> Array:
        return with_floor(self.preferences(state), self.floor)

    def learn(
        self,
        state: State,
        context: Array,
        arm: IntArray,
        reward: Array,
        propensity: Array | None = None,
        paper: Array | None = None,
    ) -> State:
        rows = rows_to_learn(arm, reward)
        if self.window:
            return self._slide(state, rows, arm[rows], reward[rows])
        pulls, total = read(state, "pulls").copy(), read(state, "sum").copy()
        pulls[rows] *= self.forgetting
        total[rows] *= self.forgetting
        pulls[rows, arm[rows]] += 1.0
        total[rows, arm[rows]] += reward[rows]
        return state | {"pulls": pulls, "sum": total}

    def _slide(self, state: State, rows: IntArray, arm: IntArray, reward: Array) -> State:
        arms, rewards, following = state["arms"].copy(), state["rewards"].copy(), state["next"].copy()
        arms[rows, following[rows]], rewards[rows, following[rows]] = arm, reward
        following[rows] = (following[rows] + 1) % self.window
        instruments, many = state["pulls"].shape
        # Counted anew from the window: sums that are only ever added to and taken from would drift.
        cell = np.where(arms >= 0, arms + many * np.arange(instruments)[:, None], instruments * many).ravel()
        pulls = np.bincount(cell, minlength=instruments * many + 1)[:-1].astype(np.float64)
        total = np.bincount(cell, rewards.ravel(), instruments * many + 1)[:-1].astype(np.float64)
        shape = (instruments, many)
        counted = {"pulls": pulls.reshape(shape), "sum": total.reshape(shape)}
        return counted | {"arms": arms, "rewards": rewards, "next": following}


def mean_reward(state: State, unknown: float) -> Array:
    """The mean reward of every arm, `unknown` where it was never pulled, shape (N, K)."""
    pulls, total = read(state, "pulls"), read(state, "sum")
    return np.where(pulls > 0, total / np.where(pulls > 0, pulls, 1.0), unknown)
