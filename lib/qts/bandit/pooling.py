"""What one instrument teaches about another: a common prior for the arms' means, estimated from all instruments.

An instrument that is new, or an arm that was rarely tried on it, starts from what the arm has brought elsewhere, and
moves away from it as evidence of its own comes in: a hierarchical model with an empirical prior.

Source: DerSimonian and Laird, Meta-analysis in clinical trials (Controlled Clinical Trials, 1986) for the moments;
Efron and Morris, Stein's estimation rule and its competitors (Journal of the American Statistical Association, 1973).
"""

from __future__ import annotations

import math

import numpy as np

from qts.bandit.base import Array

#: Least variance of the common prior as a share of the first one: instruments are never all the same.
_LEAST = 1e-3


def common_prior(pulls: Array, total: Array, noise_var: float, prior_var: float) -> tuple[Array, Array]:
    """Mean and variance of the arms' means over instruments, each of shape (K,).

    For each arm the instruments' means m_i ~ N(mu, between + noise_var / pulls_i). The variance between instruments is
    estimated from the moments, mu by weights 1 / (between + noise_var / pulls_i), and mu itself is shrunk towards 0 by
    the N(0, prior_var) that was believed first. Arms that fewer than two instruments have tried keep that one.

    Rewards of instruments in one market move together, so mu is less sure than this says.

    Args:
        pulls: (faded) number of rewards, shape (N, K).
        total: (faded) sum of rewards, shape (N, K).
        noise_var: variance of a reward around its arm's mean.
        prior_var: variance of an arm's mean before anything is known.
    """
    arms = pulls.shape[1]
    mean, variance = np.zeros(arms), np.full(arms, prior_var)
    for arm in range(arms):
        tried = pulls[:, arm] > 0
        if tried.sum() >= 2:
            weight = pulls[tried, arm] / noise_var
            means = total[tried, arm] / pulls[tried, arm]
            mean[arm], variance[arm] = _prior(weight, means, prior_var)
    return mean, variance


def _prior(weight: Array, means: Array, prior_var: float) -> tuple[float, float]:
    # Sums are exact (fsum), so neither the order of instruments nor new ones that know nothing change a bit of them.
    sum_weight = math.fsum(weight)
    middle = math.fsum(weight * means) / sum_weight
    excess = math.fsum(weight * (means - middle) ** 2) - (len(means) - 1)
    scale = sum_weight - math.fsum(weight**2) / sum_weight
    between = max(excess / scale, 0.0) if scale > 0 else 0.0
    total = 1.0 / (1.0 / weight + between)
    precision = math.fsum(total)
    shrunk = prior_var / (prior_var + 1.0 / precision)
    mean = shrunk * math.fsum(total * means) / precision
    return mean, min(max(between + shrunk / precision, _LEAST * prior_var), prior_var)
