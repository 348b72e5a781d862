"""Policies on problems whose answer is known: published ones, theory's bounds, and a market that changes."""

from __future__ import annotations

import numpy as np
from scipy import stats
from sklearn.datasets import load_digits

from qts.bandit.base import Policy
from qts.bandit.draws import uniforms
from qts.bandit.linucb import LinUcb
from qts.bandit.thompson import GaussianThompson
from qts.market.bar import Array


def regret(policy: Policy, means: Array, runs: int, seed: int) -> Array:
    """Expected regret of each run, summed over the rounds, for Bernoulli rewards of `means`, shape (T, K)."""
    rng = np.random.default_rng(seed)
    names = [str(run) for run in range(runs)]
    nothing = np.zeros((runs, 0))
    state = policy.start(runs, means.shape[1], 0)
    total = np.zeros(runs)
    for time, mean in enumerate(means):
        arm = policy.choose(state, nothing, uniforms(seed, time, names, "oracle", 1)).arm
        total += mean.max() - mean[arm]
        state = policy.learn(state, nothing, arm, (rng.random(runs) < mean[arm]).astype(float))
    return total


def test_linucb_learns_the_digits() -> None:
    """scikit-learn's digits as a 10-arm contextual bandit: reward 1 for the right digit, 10,000 rounds."""
    digits, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(10_000) % len(digits)
    contexts = np.hstack([digits / 16.0, np.ones((len(digits), 1))])
    policy = LinUcb(alpha=0.1, ridge=1.0, floor=0.0)
    state = policy.start(1, 10, contexts.shape[1])
    rewards = np.empty(10_000)
    for number, row in enumerate(order):
        context = contexts[row : row + 1]
        arm = policy.choose(state, context, uniforms(0, number, ("digits",), "linucb", 1)).arm
        rewards[number] = labels[row] == arm[0]
        state = policy.learn(state, context, arm, rewards[number : number + 1])
    assert rewards.mean() >= 0.95
    assert rewards[-2000:].mean() >= 0.98


def test_thompson_regret_lies_between_theory_and_chance() -> None:
    """Ten Bernoulli arms, one of .5 and nine of .4.

    Lai and Robbins' rate, the sum of gap / KL times ln T, is reached from below while T is small, so it bounds the
    regret from above here; a policy that knew the arms would have none and an even one T * .09.
    """
    rounds = 3000
    means = np.tile([0.5] + 9 * [0.4], (rounds, 1))
    kl = 0.4 * np.log(0.4 / 0.5) + 0.6 * np.log(0.6 / 0.5)
    found = regret(GaussianThompson(prior_var=0.25, noise_var=0.25, floor=0.0), means, runs=48, seed=1)
    assert 0.25 * rounds * 0.09 < found.mean() < 9 * 0.1 / kl * np.log(rounds)
    assert found.mean() < 0.6 * rounds * 0.09


def test_forgetting_follows_a_market_that_changes() -> None:
    """Every 400 rounds another of four arms is the best: forgetting saves at least a quarter of the regret.

    Paired over 48 runs; the margin holds for the whole 99.9% interval of the mean saving.
    """
    best = np.repeat([0, 1, 2, 3, 1], 400)
    means = np.where(np.arange(4) == best[:, None], 0.7, 0.3)
    plain = regret(GaussianThompson(noise_var=0.25), means, runs=48, seed=2)
    forgetting = regret(GaussianThompson(noise_var=0.25, forgetting=0.98), means, runs=48, seed=2)
    saved = (plain - forgetting) / plain.mean()
    low, _ = stats.t.interval(0.999, len(saved) - 1, loc=saved.mean(), scale=stats.sem(saved))
    assert low > 0.25
