"""One ridge regression of the reward per arm and instrument, kept as inverse and coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.bandit.base import Array, Drawn, IntArray, State, read, require, rows_to_learn, usable
from qts.bandit.propensity import check_floor

#: Rows whose matrices are worked on at once: they fit into a core's cache.
_ROWS = 64


@dataclass(frozen=True)
class Ridge(Drawn):
    """What contextual policies share: the estimate and its uncertainty.

        A_k = ridge * I + sum of x x',   theta_k = inverse_k * sum of reward * x,   inverse_k = A_k^-1

    Kept are the inverse and theta, which a matured reward changes by one Sherman-Morrison step (recursive least
    squares).

    With forgetting < 1 all evidence of the instrument fades at each of its matured rewards. The ridge must not fade
    with it, or the inverse grows without bound in directions that contexts no longer visit. So each time one
    coordinate, in turn, gets back what it lost since its last turn: A += ridge * (1 - forgetting^d) * e e', again a
    Sherman-Morrison step. The inverse then never exceeds forgetting^-d / ridge, whatever the contexts.

    Source: Russac, Vernade and Cappe, Weighted linear bandits for non-stationary environments (NeurIPS 2019) for the
    forgetting that keeps the ridge.

    Attributes:
        ridge: penalty, in units of squared features.
        forgetting: weight that evidence keeps at each matured reward.
        floor: least probability of an arm.
    """

    ridge: float = 1.0
    forgetting: float = 1.0
    floor: float = 0.01

    def __post_init__(self) -> None:
        require(self.ridge > 0, self, "ridge > 0")
        require(0 < self.forgetting <= 1 and 0 <= self.floor < 1, self, "0 < forgetting <= 1 and 0 <= floor < 1")

    def start(self, instruments: int, arms: int, features: int) -> State:
        check_floor(self.floor, arms)
        inverse = np.broadcast_to(np.eye(features) / self.ridge, (instruments, arms, features, features))
        return {
            "inverse": inverse.copy(),
            "theta": np.zeros((instruments, arms, features)),
            "rewards": np.zeros(instruments, dtype=np.int64),
        }

    def estimates(self, state: State, context: Array) -> Array:
        """theta_k . x, shape (N, K)."""
        estimate: Array = np.einsum("nkd,nd->nk", read(state, "theta"), usable(context))
        return estimate

    def variances(self, state: State, context: Array) -> Array:
        """The estimates' variances for rewards of unit variance, x . inverse_k x, shape (N, K)."""
        x, inverse = usable(context), read(state, "inverse")
        # As one product of length d * d: far fewer inner loops than one product after the other.
        instruments, arms, features, _ = inverse.shape
        square = (x[:, :, None] * x[:, None, :]).reshape(instruments, features**2)
        flat = inverse.reshape(instruments, arms, features**2)
        variance: Array = np.maximum(np.einsum("nkm,nm->nk", flat, square), 0.0)
        return variance

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
        arms = arm[rows]
        inverse, theta = read(state, "inverse").copy(), read(state, "theta").copy()
        rewards = state["rewards"].astype(np.int64)
        if self.forgetting < 1 and context.shape[1]:
            for start in range(0, len(rows), _ROWS):
                block = rows[start : start + _ROWS]
                inverse[block], theta[block] = self._forget(inverse[block], theta[block], rewards[block])
        rewards[rows] += 1
        inverse[rows, arms], theta[rows, arms] = _observe(
            inverse[rows, arms], theta[rows, arms], usable(context)[rows], reward[rows]
        )
        return {"inverse": inverse, "theta": theta, "rewards": rewards}

    def _forget(self, inverse: Array, theta: Array, rewards: IntArray) -> tuple[Array, Array]:
        """All arms of some rows (M) after evidence and ridge have faded and one coordinate has its ridge back."""
        features = theta.shape[-1]
        turn = rewards % features
        inverse = inverse / self.forgetting
        weight = self.ridge * (1.0 - self.forgetting**features)
        column = inverse[np.arange(len(turn)), :, :, turn]
        scale = 1.0 / weight + np.take_along_axis(column, turn[:, None, None], axis=2)
        known = np.take_along_axis(theta, turn[:, None, None], axis=2)
        return _shrink(inverse, column, scale), theta - column * (known / scale)


def _observe(inverse: Array, theta: Array, x: Array, reward: Array) -> tuple[Array, Array]:
    """One arm per row after one reward: inverse (M, d, d), theta (M, d), x (M, d), reward (M,)."""
    column = np.einsum("mij,mj->mi", inverse, x)
    scale = 1.0 + np.einsum("mi,mi->m", column, x)
    error = (reward - np.einsum("mi,mi->m", theta, x)) / scale
    return _shrink(inverse, column, scale[:, None]), theta + column * error[:, None]


def _shrink(inverse: Array, column: Array, scale: Array) -> Array:
    """Inverse - column column' / scale: the Sherman-Morrison step."""
    # The product first, then the division: that way the inverse stays symmetric to the last bit.
    product = column[..., :, None] * column[..., None, :]
    product /= scale[..., None]
    return np.subtract(inverse, product, out=product)
