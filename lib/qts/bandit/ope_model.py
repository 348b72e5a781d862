"""Models that off-policy evaluation needs: of rewards, and of the policies whose probabilities are known by formula."""

from __future__ import annotations

import numpy as np

from qts.errors import DataError
from qts.market.bar import Array, IntArray


def credibility_means(total: Array, count: Array, square: Array) -> Array:
    """Means of groups, each drawn towards the mean of all as far as its own rows are few.

        q_g = z_g * mean_g + (1 - z_g) * mean,   z_g = n_g / (n_g + within variance / between variance)

    A group without rows gets the mean of all. Variances are estimated by moments; where groups differ no more than
    chance explains, all get the same mean.

    Source: Buehlmann and Straub, Glaubwuerdigkeit fuer Schadensaetze (1970); formulas as in Klugman, Panjer and
    Willmot, Loss Models, nonparametric estimation of the credibility factor.

    Args:
        total: sum of rewards by group, shape (..., G); leading axes are separate problems.
        count: rows by group, same shape.
        square: sum of squared rewards by group, same shape.
    """
    rows = count.sum(axis=-1, keepdims=True)
    mean = total.sum(axis=-1, keepdims=True) / np.maximum(rows, 1.0)
    seen = np.maximum(count, 1.0)
    own = np.where(count > 0, total / seen, mean)
    groups = (count > 0).sum(axis=-1, keepdims=True)
    spare = np.maximum(rows - groups, 1.0)
    within = np.maximum((square - total**2 / seen).sum(axis=-1, keepdims=True), 0.0) / spare
    effective = rows - (count**2).sum(axis=-1, keepdims=True) / np.maximum(rows, 1.0)
    between = (count * (own - mean) ** 2).sum(axis=-1, keepdims=True) - (groups - 1) * within
    between = np.maximum(between, 0.0) / np.maximum(effective, 1.0)
    weight = between * count / np.where(between * count + within > 0, between * count + within, 1.0)
    shrunk: Array = mean + weight * (own - mean)
    return shrunk


def thompson_ranking(alpha: Array, beta: Array, positions: int, simulations: int, seed: int) -> Array:
    """P(action, position) of Bernoulli Thompson sampling that shows the actions with the largest draws, best first.

    Estimated from simulated draws of every action's Beta(alpha, beta) success rate.

    Source: Saito et al., Open Bandit Dataset and Pipeline (NeurIPS 2021), the policy of their second log.

    Args:
        alpha, beta: shape (A,), positive.
        positions: how many actions are shown at a time.
        simulations: draws; the error of a probability p is sqrt(p * (1 - p) / simulations).
        seed: of the draws.

    Returns:
        Shape (A, positions); every column sums to 1.

    Raises:
        DataError: shapes differ, a parameter is not positive, or there are fewer actions than positions.
    """
    if alpha.shape != beta.shape or alpha.ndim != 1 or not (np.all(alpha > 0) and np.all(beta > 0)):
        raise DataError(f"Beta parameters have shapes {alpha.shape} and {beta.shape}; expected two of (A,), positive.")
    actions = len(alpha)
    if not 1 <= positions <= actions:
        raise DataError(f"{positions} positions cannot be filled with {actions} actions; expected 1 to {actions}.")
    rng = np.random.default_rng(seed)
    shown: IntArray = np.zeros((actions, positions), dtype=np.int64)
    block = max(1, 2_000_000 // actions)
    for start in range(0, simulations, block):
        draws = rng.beta(alpha, beta, size=(min(block, simulations - start), actions))
        best = np.argpartition(-draws, positions - 1, axis=1)[:, :positions]
        order = np.take_along_axis(-draws, best, axis=1).argsort(axis=1)
        ranked = np.take_along_axis(best, order, axis=1)
        for position in range(positions):
            shown[:, position] += np.bincount(ranked[:, position], minlength=actions)
    return shown / simulations
