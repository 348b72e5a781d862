"""The probability of being the best arm, against closed forms, adaptive quadrature and simulation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import ndtr

from qts.bandit.propensity import greedy, probability_best, with_floor
from qts.errors import ConfigError

unhurried = settings(deadline=None)
ROOT = np.sqrt(2 * np.pi)
means = st.floats(-3, 3)


def by_adaptive_quadrature(mean: np.ndarray, sd: np.ndarray) -> list[float]:
    def density(value: float, arm: int) -> float:
        others = np.delete(ndtr((value - mean) / sd), arm)
        return float(np.exp(-0.5 * ((value - mean[arm]) / sd[arm]) ** 2) / sd[arm] / ROOT * others.prod())

    edges = np.unique([mean - 8 * sd, mean - sd, mean, mean + sd, mean + 8 * sd])
    pieces = list(pairwise(edges))
    return [sum(integrate.quad(density, *piece, args=(arm,))[0] for piece in pieces) for arm in range(len(mean))]


@unhurried
@given(mean=st.tuples(means, means), ratio=st.floats(1, 30))
def test_two_arms_have_a_closed_form(mean: tuple[float, float], ratio: float) -> None:
    sd = np.array([[1.0, 1.0 / ratio]])
    expected = ndtr((mean[0] - mean[1]) / np.hypot(*sd[0]))
    assert probability_best(np.array([mean]), sd)[0, 0] == pytest.approx(expected, abs=1e-6 if ratio < 10 else 1e-4)


@pytest.mark.parametrize(("ratio", "tolerance"), [(1, 1e-6), (10, 1e-6), (30, 1e-4), (100, 1e-3)])
def test_many_arms_agree_with_adaptive_quadrature(ratio: float, tolerance: float) -> None:
    rng = np.random.default_rng(int(ratio))
    sd = ratio ** -rng.uniform(0, 1, (6, 5))
    mean = sd * rng.normal(0, 1.5, sd.shape)
    got = probability_best(mean, sd)
    expected = np.array([by_adaptive_quadrature(*row) for row in zip(mean, sd, strict=True)])
    np.testing.assert_allclose(got, expected, atol=tolerance)


def test_many_arms_agree_with_simulation() -> None:
    rng = np.random.default_rng(0)
    mean, sd = np.array([0.3, 0.25, 0.0, -0.5]), np.array([0.05, 0.2, 0.5, 1.0])
    winners = (mean + sd * rng.standard_normal((400_000, 4))).argmax(axis=1)
    expected = probability_best(mean[None], sd[None])[0]
    assert stats.chisquare(np.bincount(winners, minlength=4), 400_000 * expected).pvalue > 1e-3


@unhurried
@given(
    arms=st.integers(1, 20),
    seed=st.integers(0, 2**32),
    ratio=st.floats(0, 4),
    spread=st.floats(0, 100),
    shift=st.sampled_from([0.0, 1e3, -1e12]),
)
def test_it_is_a_distribution(arms: int, seed: int, ratio: float, spread: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    sd = 10 ** -rng.uniform(0, ratio, (3, arms))
    best = probability_best(shift + spread * rng.normal(size=(3, arms)), sd)
    assert ((best >= 0) & (best <= 1)).all()
    np.testing.assert_allclose(best.sum(axis=1), 1.0, rtol=1e-12)


def test_equal_arms_share() -> None:
    np.testing.assert_allclose(probability_best(np.zeros((2, 8)), np.ones((2, 8))), 1 / 8, rtol=1e-12)


def test_no_instruments_no_probabilities() -> None:
    assert probability_best(np.empty((0, 3)), np.empty((0, 3))).shape == (0, 3)


def test_the_greedy_arms_share_evenly() -> None:
    score = np.array([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0], [3.0, 1.0, 2.0]])
    np.testing.assert_allclose(greedy(score), [[0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3], [1, 0, 0]])


@unhurried
@given(arms=st.integers(1, 100), share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_no_arm_falls_below_the_floor(arms: int, share: float, seed: int) -> None:
    floor = share / arms
    mixture = with_floor(np.random.default_rng(seed).dirichlet(np.full(arms, 0.1), 4), floor)
    assert (mixture >= floor).all()
    np.testing.assert_allclose(mixture.sum(axis=1), 1.0, rtol=1e-9)


def test_floors_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"adds up to 1\.2, expected at most 1; take a floor of at most 0\.25"):
        with_floor(np.full((1, 4), 0.25), 0.3)
