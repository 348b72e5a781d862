"""Policies on problems whose answer is known: published ones, theory's bounds, and a market that changes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.datasets import load_digits

from qts.bandit import simulate
from qts.bandit.base import Policy
from qts.bandit.draws import uniforms
from qts.bandit.registry import build_policy
from qts.bandit.thompson import BernoulliThompson, GaussianThompson
from qts.bandit.ucb import ExploreThenCommit
from qts.market.bar import Array


def regret(policy: Policy, means: Array, runs: int, seed: int, every: int = 1) -> Array:
    """Expected regret of each run, summed over the rounds, for Bernoulli rewards of `means`, shape (T, K).

    Args:
        every: rounds after which all rewards since the last time become known.
    """
    rng = np.random.default_rng(seed)
    names = [str(run) for run in range(runs)]
    nothing = np.zeros((runs, 0))
    state = policy.start(runs, means.shape[1], 0)
    total = np.zeros(runs)
    waiting = []
    for time, mean in enumerate(means):
        arm = policy.choose(state, nothing, uniforms(seed, time, names, "oracle", 1)).arm
        total += mean.max() - mean[arm]
        waiting.append((arm, (rng.random(runs) < mean[arm]).astype(float)))
        if len(waiting) == every:
            for earlier, paid in waiting:
                state = policy.learn(state, nothing, earlier, paid)
            waiting = []
    return total


@pytest.fixture(scope="module")
def digits() -> simulate.Table:
    pixels, labels = load_digits(return_X_y=True)
    return simulate.table(pd.DataFrame(pixels, columns=[f"x{k}" for k in range(64)]).assign(label=labels), "label")


def earned(name: str, digits: simulate.Table, seed: int, **changes: float) -> tuple[float, float]:
    policy = build_policy(name, {**simulate.LABELLED[name], **changes})
    reward = simulate.play(policy, digits, 10_000, seed).reward
    return reward.mean(), reward[-2000:].mean()


def test_linucb_learns_the_digits(digits: simulate.Table) -> None:
    """scikit-learn's digits as a 10-arm contextual bandit: reward 1 for the right digit, 10,000 rounds."""
    whole, last = earned("linucb", digits, seed=0, alpha=0.1)
    assert whole >= 0.95
    assert last >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_linucb_and_linear_thompson_learn_the_digits_with_any_seed(digits: simulate.Table, seed: int) -> None:
    for changes in ({"alpha": 0.1}, {}):
        whole, last = earned("linucb", digits, seed, **changes)
        assert whole >= 0.95
        assert last >= 0.98
    assert earned("lints", digits, seed)[0] >= 0.95


def test_explore_then_commit_has_the_regret_of_theory() -> None:
    """Bernoulli(.5, .4), 100 tries each, 10,000 rounds: 85.79, the chance of the worse arm summed up exactly."""
    tries, rounds, runs = 100, 10_000, 20_000
    wins = np.arange(tries + 1)
    joint = np.outer(stats.binom.pmf(wins, tries, 0.5), stats.binom.pmf(wins, tries, 0.4))
    wrong = np.triu(joint, 1).sum() + 0.5 * np.trace(joint)
    exact = 0.1 * (tries + (rounds - 2 * tries) * wrong)
    assert exact == pytest.approx(85.79, abs=0.005)

    policy = ExploreThenCommit(tries=tries, floor=0.0)
    rng = np.random.default_rng(0)
    nothing, names = np.zeros((runs, 0)), [str(run) for run in range(runs)]
    state = policy.start(runs, 2, 0)
    total = np.zeros(runs)
    for time in range(2 * tries):
        arm = policy.choose(state, nothing, uniforms(0, time, names, "oracle", 1)).arm
        total += 0.1 * arm
        state = policy.learn(state, nothing, arm, (rng.random(runs) < np.array([0.5, 0.4])[arm]).astype(float))
    # From here on nothing is learnt, so what is to come is the probability of the worse arm times what it costs.
    total += (rounds - 2 * tries) * 0.1 * policy.probabilities(state, nothing)[:, 1]
    low, high = stats.t.interval(0.999, runs - 1, loc=total.mean(), scale=stats.sem(total))
    assert low < exact < high
    assert high - low < 20


def delayed(runs: int, rounds: int) -> list[float]:
    means = np.tile([0.5] + 9 * [0.4], (rounds, 1))
    policy = BernoulliThompson(low=0.0, high=1.0, floor=0.0)
    return [float(regret(policy, means, runs, seed=1, every=every).mean()) for every in (1, 10, 100)]


def test_delay_costs_thompson_next_to_nothing() -> None:
    """A small one of the test below, where the regret of an even policy is 72."""
    found = delayed(runs=64, rounds=800)
    assert max(found) - min(found) < 8
    assert max(found) < 62


@pytest.mark.slow
def test_thompson_with_delays_has_the_regret_of_the_literature() -> None:
    """Ten arms, .5 against .4, 20,000 rounds, feedback every 1, 10 and 100: about 195, 188 and 194, within 12."""
    found = delayed(runs=400, rounds=20_000)
    np.testing.assert_allclose(found, [195, 188, 194], atol=12)


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


def test_a_sliding_window_follows_it_too() -> None:
    """The same market and margin."""
    best = np.repeat([0, 1, 2, 3, 1], 400)
    means = np.where(np.arange(4) == best[:, None], 0.7, 0.3)
    plain = regret(GaussianThompson(noise_var=0.25), means, runs=32, seed=2)
    window = regret(GaussianThompson(noise_var=0.25, window=100), means, runs=32, seed=2)
    saved = (plain - window) / plain.mean()
    low, _ = stats.t.interval(0.999, len(saved) - 1, loc=saved.mean(), scale=stats.sem(saved))
    assert low > 0.25
