"""Probabilities of arms: of being the best one, of being among the best, and with a floor for exploration."""

from __future__ import annotations

import numpy as np
from scipy.special import betainc, betaln, log1p, ndtr, xlogy

from qts.errors import ConfigError
from qts.market.bar import Array

#: Nodes of the quadrature, and how many standard deviations of each arm it covers (the rest is 3e-7).
_NODES, _REACH = 32, 5.0
#: Rows that are worked on at once: their nodes fit into a core's cache.
_ROWS = 128


def probability_best(mean: Array, sd: Array) -> Array:
    """P(arm k has the largest value) for independent normal values, shape (N, K).

        P_k = integral of phi_k(t) * product over j != k of Phi_j(t) dt

    One midpoint rule serves all arms of a row. It starts at t = max_j(mean_j - 5 sd_j): below, some arm is surely
    larger. Every arm that can still win reaches across that point, so an arm that matters at a distance x from it has a
    standard deviation of at least x / 10, and nodes whose spacing grows like x + 3 * the smallest such deviation
    resolve narrow and wide arms alike. The integrand vanishes at both ends, where the midpoint rule converges
    exponentially: the error is below 1e-6 for deviations within a factor of 10, 1e-4 within 30, 1e-3 within 100.
    Rows are normalised to sum to 1.

    Source: the integral is the definition; the rule is that of Takahasi and Mori (1974) with an exponential grid.

    Args:
        mean: shape (N, K), finite.
        sd: shape (N, K), positive.
    """
    blocks = [slice(row, row + _ROWS) for row in range(0, len(mean), _ROWS)]
    return np.concatenate([_block(mean[block], sd[block]) for block in blocks]) if blocks else np.empty_like(mean)


def _block(mean: Array, sd: Array) -> Array:
    # From the largest mean, for means far from 0 would leave no digits for the deviations.
    mean = mean - mean.max(axis=1)[:, None]
    nodes, weight = _grid(mean, sd)
    score = np.empty((*mean.shape, _NODES))
    np.subtract(nodes[:, None, :], mean[:, :, None], out=score)
    score /= sd[:, :, None]
    # At every node an arm that can win lies above its own -5 sd, and the others only lie higher: never 0.
    below = ndtr(score)
    for arm in range(mean.shape[1]):
        weight *= below[:, arm]
    np.multiply(score, score, out=score)
    score *= -0.5
    np.exp(score, out=score)
    score /= below
    score *= weight[:, None, :]
    best = score.sum(axis=2) / sd
    normalised: Array = best / best.sum(axis=1)[:, None]
    return normalised


def _grid(mean: Array, sd: Array) -> tuple[Array, Array]:
    """Nodes and weights of the rule, each of shape (N, nodes); see `probability_best`."""
    low, high = (mean - _REACH * sd).max(axis=1), (mean + _REACH * sd).max(axis=1)
    relevant = mean + _REACH * sd > low[:, None]
    offset = 3.0 * np.where(relevant, sd, np.inf).min(axis=1)
    spacing = log1p((high - low) / offset) / _NODES
    growth = offset[:, None] * np.exp(spacing[:, None] * (np.arange(_NODES) + 0.5))
    return growth + (low - offset)[:, None], growth * spacing[:, None]


def probability_best_beta(wins: Array, losses: Array) -> Array:
    """P(arm k has the largest value) for independent Beta values, shape (N, K).

    The rule of `probability_best` on the angle arcsin(sqrt(value)), whose deviation 1 / (2 sqrt(wins + losses)) hardly
    depends on the value; distributions are summed up from densities. The error is about .001.

    Args:
        wins: first parameter, at least .5, shape (N, K).
        losses: second parameter, at least .5, shape (N, K).
    """
    blocks = [slice(row, row + _ROWS) for row in range(0, len(wins), _ROWS)]
    parts = [_beta_block(wins[block], losses[block]) for block in blocks]
    return np.concatenate(parts) if parts else np.empty_like(wins)


def _beta_block(wins: Array, losses: Array) -> Array:
    total = wins + losses
    nodes, weight = _grid(np.arctan2(np.sqrt(wins), np.sqrt(losses)), 0.5 / np.sqrt(total))
    inside = (nodes > 0) & (nodes < np.pi / 2)
    angle = np.where(inside, nodes, np.pi / 4)
    # ln sin^2 and ln cos^2 by SciPy's scalar logarithm, for the same bits in any cut of the rows.
    log_value, log_rest = xlogy(1.0, np.sin(angle) ** 2), xlogy(1.0, np.cos(angle) ** 2)
    density = (wins - 0.5)[:, :, None] * log_value[:, None, :] + (losses - 0.5)[:, :, None] * log_rest[:, None, :]
    density -= betaln(wins, losses)[:, :, None] - np.log(2.0)
    np.exp(density, out=density)
    mass = density * np.where(inside, weight, 0.0)[:, None, :]
    edge = nodes[:, 0] - weight[:, 0] / 2.0
    start = betainc(wins, losses, np.sin(np.clip(edge, 0.0, np.pi / 2))[:, None] ** 2)
    below = np.clip(start[:, :, None] + np.cumsum(mass, axis=2) - mass / 2.0, 1e-12, 1.0)
    product = np.ones((len(wins), nodes.shape[1]))
    for arm in range(wins.shape[1]):
        product *= below[:, arm]
    best = (mass / below * product[:, None, :]).sum(axis=2)
    normalised: Array = best / best.sum(axis=1)[:, None]
    return normalised


def greedy(score: Array) -> Array:
    """Probability 1 for the arm of the highest score, split evenly where several tie, shape (N, K)."""
    best = np.where(score == score.max(axis=1)[:, None], 1.0, 0.0)
    shared: Array = best / best.sum(axis=1)[:, None]
    return shared


def with_floor(probabilities: Array, floor: float) -> Array:
    """The mixture that gives every arm at least `floor`: with probability K * floor an arm is drawn evenly.

    Args:
        probabilities: shape (N, K), rows sum to 1.
        floor: least probability of an arm.

    Raises:
        ConfigError: the floors of all arms add up to more than 1.
    """
    arms = probabilities.shape[1]
    check_floor(floor, arms)
    mixture: Array = floor + max(1.0 - arms * floor, 0.0) * probabilities
    return mixture


def check_floor(floor: float, arms: int) -> None:
    """Refuses a floor that is too high for the number of arms.

    Raises:
        ConfigError: the floors of all arms add up to more than 1.
    """
    if arms * floor > 1.0 + 1e-9:
        raise ConfigError(
            f"A floor of {floor:g} for each of {arms} arms adds up to {arms * floor:g}, expected at most 1; "
            f"take a floor of at most {1 / arms:g}."
        )
