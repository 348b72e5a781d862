"""What a policy is: it gives every arm a probability, a uniform number picks one, and rewards come when they come.

A policy states the whole distribution that its choice is drawn from, so a propensity is the true probability of the
choice, which off-policy evaluation rests on. Arrays have one row per instrument and operations work row by row: the
bits of a choice do not depend on which other instruments are present.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from qts.market.bar import Array, IntArray, State
from qts.market.state import read
from qts.plugins import require

__all__ = [
    "Array",
    "Choice",
    "Drawn",
    "IntArray",
    "Policy",
    "Pooled",
    "State",
    "draw",
    "read",
    "require",
    "rows_to_learn",
    "unit",
    "usable",
]


@dataclass(frozen=True)
class Choice:
    """The arms chosen for N instruments.

    Attributes:
        arm: index of the arm, shape (N,).
        propensity: probability with which this arm was chosen, given state and context, shape (N,).
    """

    arm: IntArray
    propensity: Array


@runtime_checkable
class Policy(Protocol):
    """Chooses one of K arms for each of N instruments, and learns from rewards that come later."""

    def draws(self, arms: int) -> int:
        """How many uniform numbers a choice takes per instrument."""
        ...

    def start(self, instruments: int, arms: int, features: int) -> State:
        """The state before anything is known; the leading axis of every array is the instruments'."""
        ...

    def probabilities(self, state: State, context: Array) -> Array:
        """The distribution over the arms that `choose` draws from.

        Args:
            state: see `start`.
            context: features known at the time of choice, shape (N, d); missing ones (NaN) count as 0.

        Returns:
            Shape (N, K); every row sums to 1.
        """
        ...

    def choose(self, state: State, context: Array, uniforms: Array) -> Choice:
        """One arm per instrument.

        Args:
            state: see `start`.
            context: shape (N, d).
            uniforms: independent numbers in (0, 1), shape (N, draws(K)); see `qts.bandit.draws.uniforms`.
        """
        ...

    def learn(
        self,
        state: State,
        context: Array,
        arm: IntArray,
        reward: Array,
        propensity: Array | None = None,
        paper: Array | None = None,
    ) -> State:
        """The state after one matured reward per instrument, in any order and after any delay.

        Args:
            state: the state now; it is not changed.
            context: the context at the time of choice, shape (N, d).
            arm: the arm that was chosen then, shape (N,); negative where there is nothing to learn.
            reward: what it brought, shape (N,); NaN where that is not known (yet).
            propensity: the probability with which it was chosen then, shape (N,).
            paper: what every arm would have brought, shape (N, K), where that is known: a strategy that was not chosen
                has a paper profit. NaN where it is not.
        """
        ...


@runtime_checkable
class Pooled(Protocol):
    """A policy that learns something from all instruments together, every `pool` bar times; never where that is 0."""

    @property
    def pool(self) -> int: ...

    def pooled(self, state: State) -> State:
        """The state of all instruments after it; bits may depend on neither their order nor their number."""
        ...


class Drawn:
    """A policy whose choice is one draw from its probabilities."""

    def draws(self, arms: int) -> int:
        return 1

    def probabilities(self, state: State, context: Array) -> Array:
        """See `Policy`."""
        raise NotImplementedError

    def choose(self, state: State, context: Array, uniforms: Array) -> Choice:
        return draw(self.probabilities(state, context), uniforms)


def draw(probabilities: Array, uniforms: Array) -> Choice:
    """Draws one arm per row by inverting the cumulative distribution.

    Args:
        probabilities: shape (N, K).
        uniforms: shape (N, 1), in (0, 1).
    """
    cumulative = np.cumsum(probabilities, axis=1)
    threshold = uniforms[:, :1] * cumulative[:, -1:]
    # Rounding may lift the threshold onto the total: that is the last arm that can be chosen at all.
    last = probabilities.shape[1] - 1 - (probabilities[:, ::-1] > 0).argmax(axis=1)
    arm = np.minimum((threshold >= cumulative).sum(axis=1), last)
    return Choice(arm.astype(np.int64), np.take_along_axis(probabilities, arm[:, None], axis=1)[:, 0])


def usable(context: Array) -> Array:
    """The context with 0 for features that are missing or infinite."""
    return np.nan_to_num(context, nan=0.0, posinf=0.0, neginf=0.0)


def rows_to_learn(arm: IntArray, reward: Array) -> IntArray:
    """Indices of the rows whose reward is known and whose arm is one."""
    return np.flatnonzero((arm >= 0) & np.isfinite(reward)).astype(np.int64)


def unit(reward: Array, low: float, high: float) -> Array:
    """Rewards between `low` and `high` as numbers from 0 to 1; those outside count as the nearer end."""
    return np.clip((reward - low) / (high - low), 0.0, 1.0)
