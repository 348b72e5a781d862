"""A common prior over instruments: its moments, and what it saves an instrument that is new."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from qts.bandit.draws import uniforms
from qts.bandit.pooling import common_prior
from qts.bandit.thompson import GaussianThompson
from qts.market.bar import Array

MEANS = np.array([0.3, 0.0, -0.2, 0.1])


def evidence(instruments: int, seed: int, between: float = 0.1) -> tuple[Array, Array, Array]:
    """Pulls and sums of instruments whose arms' means differ by `between`, and those means."""
    rng = np.random.default_rng(seed)
    own = MEANS + between * rng.normal(size=(instruments, len(MEANS)))
    pulls = rng.integers(1, 300, own.shape).astype(float)
    return pulls, pulls * own + np.sqrt(pulls) * rng.normal(size=own.shape), own


def test_the_moments_are_those_of_the_population() -> None:
    pulls, total, _ = evidence(4000, seed=0)
    mean, variance = common_prior(pulls, total, noise_var=1.0, prior_var=1.0)
    np.testing.assert_allclose(mean, MEANS, atol=0.01)
    np.testing.assert_allclose(np.sqrt(variance), 0.1, atol=0.01)


def test_they_are_as_published() -> None:
    """Borenstein et al., Introduction to Meta-Analysis (2009), chapter 14: six studies, tau^2 .0372, mean .3582."""
    effect = np.array([0.095, 0.277, 0.367, 0.664, 0.462, 0.185])
    weight = np.array([30.352, 32.568, 20.048, 95.111, 23.439, 42.698])
    mean, variance = common_prior(weight[:, None], (effect * weight)[:, None], noise_var=1.0, prior_var=40.0)
    assert mean[0] == pytest.approx(0.3582, abs=5e-4)
    assert variance[0] == pytest.approx(0.0372 + 0.0111, abs=5e-4)  # between the studies, and of the mean itself


@given(seed=st.integers(0, 2**32), empty=st.integers(0, 30))
def test_neither_order_nor_those_who_know_nothing_change_a_bit(seed: int, empty: int) -> None:
    pulls, total, _ = evidence(20, seed)
    order = np.random.default_rng(seed).permutation(20 + empty)
    more = [np.concatenate([each, np.zeros((empty, len(MEANS)))])[order] for each in (pulls, total)]
    for one, two in zip(common_prior(pulls, total, 1.0, 1.0), common_prior(*more, 1.0, 1.0), strict=True):
        np.testing.assert_array_equal(one, two)


def test_what_only_one_instrument_has_tried_stays_as_it_was() -> None:
    pulls, total = np.zeros((3, 2)), np.zeros((3, 2))
    pulls[0], total[0] = 50, 20
    pulls[1, 1], total[1, 1] = 50, 30
    mean, variance = common_prior(pulls, total, noise_var=1.0, prior_var=2.0)
    assert (mean[0], variance[0]) == (0.0, 2.0)
    assert mean[1] > 0.2
    assert variance[1] < 2.0


def test_a_new_instrument_starts_with_what_the_others_know() -> None:
    """Forty instruments with evidence, 300 new ones, sixty rounds: the regret falls by half at least."""
    pooled, alone = GaussianThompson(pool=1, floor=0.0), GaussianThompson(floor=0.0)
    new, known, rounds = 300, 40, 60
    pulls, total, _ = evidence(known, seed=1)
    _, _, own = evidence(new, seed=2)
    state = pooled.start(known + new, len(MEANS), 0)
    state["pulls"][:known], state["sum"][:known] = pulls, total
    states = {
        pooled: {key: value[known:] for key, value in pooled.pooled(state).items()},
        alone: alone.start(new, 4, 0),
    }
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(rounds, new))
    regret = {policy: np.zeros(new) for policy in states}
    nothing, names, rows = np.zeros((new, 0)), [str(row) for row in range(new)], np.arange(new)
    for time in range(rounds):
        for policy, state in states.items():
            arm = policy.choose(state, nothing, uniforms(5, time, names, "x", 1)).arm
            regret[policy] += own.max(axis=1) - own[rows, arm]
            states[policy] = policy.learn(state, nothing, arm, own[rows, arm] + noise[time])
    saved = (regret[alone] - regret[pooled]) / regret[alone].mean()
    low, _ = stats.t.interval(0.999, new - 1, loc=saved.mean(), scale=stats.sem(saved))
    assert low > 0.5
