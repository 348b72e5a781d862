"""Each policy's statistics and choices against their definition; rewards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qts.bandit.base import Policy
from qts.bandit.linucb import LinThompson, LinUcb, SquareCb
from qts.bandit.registry import BUILTIN, build_policy
from qts.bandit.reward import reward
from qts.bandit.thompson import BernoulliThompson, GaussianThompson
from qts.bandit.ucb import EpsilonGreedy, ExploreThenCommit, KlUcb, Ucb
from qts.bandit.weights import Exp3, Hedge
from qts.errors import ConfigError, DataError
from qts.market.bar import Array, State

unhurried = settings(deadline=None)


def learnt(policy: Policy, rewards: list[tuple[int, float]], arms: int) -> State:
    """One instrument after some (arm, reward)."""
    state = policy.start(1, arms, 0)
    for arm, paid in rewards:
        state = policy.learn(state, np.zeros((1, 0)), np.array([arm]), np.array([paid]), np.array([1.0 / arms]))
    return state


def chances(policy: Policy, state: State) -> Array:
    return policy.probabilities(state, np.zeros((1, 0)))[0]


PAID = [(0, 1.0), (1, 0.0), (0, 0.0), (2, 1.0), (1, 1.0), (2, 0.0), (2, 1.0), (0, 1.0), (1, 1.0)]


def test_ucb_takes_the_highest_bound_and_what_was_never_tried_first() -> None:
    np.testing.assert_allclose(chances(Ucb(floor=0.0), learnt(Ucb(), PAID[:2], 4)), [0, 0, 0.5, 0.5])
    bounds = [
        np.mean([paid for k, paid in PAID if k == arm]) + np.sqrt(2 * np.log(9) / sum(k == arm for k, _ in PAID))
        for arm in range(3)
    ]
    np.testing.assert_allclose(bounds, bounds[0])  # three of three each: a tie, split evenly
    np.testing.assert_allclose(chances(Ucb(floor=0.0), learnt(Ucb(), PAID, 3)), np.ones(3) / 3)
    np.testing.assert_allclose(chances(Ucb(floor=0.0), learnt(Ucb(), [*PAID, (0, 0.0), (2, 0.0)], 3)), [0, 1, 0])


def test_a_window_drops_what_has_left_it() -> None:
    whole, window = learnt(Ucb(), PAID[-4:], 3), learnt(Ucb(window=4), PAID, 3)
    for name in ("pulls", "sum"):
        np.testing.assert_array_equal(whole[name], window[name])


def test_kl_ucb_solves_its_equation() -> None:
    policy = KlUcb(low=0.0, high=1.0, floor=0.0)
    rewards = [(0, paid) for paid in [1.0] * 30 + [0.0] * 20] + [(1, paid) for paid in [1.0] * 7 + [0.0] * 5]

    def bound(wins: int, pulls: int) -> float:
        mean = wins / pulls
        grid = np.linspace(mean, 1 - 1e-9, 200_001)
        divergence = mean * np.log(mean / grid) + (1 - mean) * np.log((1 - mean) / (1 - grid))
        return float(grid[pulls * divergence <= np.log(62)].max())

    assert bound(7, 12) > bound(30, 50)
    np.testing.assert_array_equal(chances(policy, learnt(policy, rewards, 2)), [0, 1])
    more = [*rewards, *[(1, 0.0)] * 4]
    assert bound(7, 16) < bound(30, 50)
    np.testing.assert_array_equal(chances(policy, learnt(policy, more, 2)), [1, 0])


@pytest.mark.parametrize("wins", [(1.0, 1.0, 1.0), (30.0, 20.0, 1.0), (4000.0, 3950.0, 2.0)])
def test_bernoulli_thompson_is_the_posterior(wins: tuple[float, ...]) -> None:
    policy = BernoulliThompson(low=0.0, high=1.0, floor=0.0)
    pulls = np.array([wins]) * 2
    state: State = {"pulls": pulls, "sum": np.array([wins])}
    drawn = np.random.default_rng(0).beta(1 + np.array(wins), 1 + np.array(wins), (400_000, 3))
    expected = np.bincount(drawn.argmax(axis=1), minlength=3) / 400_000
    np.testing.assert_allclose(chances(policy, state), expected, atol=0.004)


def test_epsilon_greedy_spreads_epsilon_over_all() -> None:
    policy = EpsilonGreedy(epsilon=0.3, floor=0.0)
    np.testing.assert_allclose(chances(policy, learnt(policy, PAID[:4], 3)), [0.1, 0.1, 0.8])


def test_explore_then_commit_never_changes_its_mind() -> None:
    policy = ExploreThenCommit(tries=2, floor=0.0)
    np.testing.assert_allclose(chances(policy, learnt(policy, [(0, 1.0)], 3)), [0, 0.5, 0.5])
    chosen = [(0, 1.0), (1, 0.0), (2, 0.0), (0, 1.0), (1, 0.0), (2, 1.0)]
    np.testing.assert_array_equal(chances(policy, learnt(policy, [*chosen, *[(0, -9.0)] * 20], 3)), [1, 0, 0])


def test_exp3_weighs_rewards_by_their_propensity() -> None:
    policy = Exp3(rate=0.5, low=0.0, high=1.0, floor=0.1)
    weight = np.exp(0.5 * np.array([2 / 0.25, 0, 1 / 0.25, 0]))
    state = learnt(policy, [(0, 1.0), (1, 0.0), (2, 1.0), (0, 1.0)], 4)
    np.testing.assert_allclose(chances(policy, state), 0.1 + 0.6 * weight / weight.sum())
    with pytest.raises(DataError, match="propensity of their choice"):
        policy.learn(state, np.zeros((1, 0)), np.array([0]), np.ones(1))


def test_hedge_learns_from_the_arms_that_were_not_chosen() -> None:
    policy = Hedge(rate=0.5, forgetting=0.8, floor=0.0)
    state = policy.start(1, 3, 0)
    for paper in ([1.0, 2.0, np.nan], [0.0, 1.0, -1.0]):
        state = policy.learn(state, np.zeros((1, 0)), np.array([0]), np.zeros(1), paper=np.array([paper]))
    weight = np.exp(0.5 * (0.8 * np.array([1.0, 2.0, 1.5]) + np.array([0.0, 1.0, -1.0])))
    np.testing.assert_allclose(chances(policy, state), weight / weight.sum())
    with pytest.raises(DataError, match="paper rewards"):
        policy.learn(state, np.zeros((1, 0)), np.array([0]), np.ones(1))


def linear(policy: Policy, seed: int) -> tuple[State, Array]:
    rng = np.random.default_rng(seed)
    state = policy.start(1, 3, 2)
    for _ in range(40):
        state = policy.learn(state, rng.normal(size=(1, 2)), rng.integers(0, 3, 1), rng.normal(size=1))
    return state, rng.normal(size=(1, 2))


def test_linear_thompson_is_the_posterior() -> None:
    policy = LinThompson(alpha=0.5, floor=0.0)
    state, x = linear(policy, seed=5)
    rng = np.random.default_rng(0)
    drawn = [
        rng.multivariate_normal(state["theta"][0, arm], 0.25 * state["inverse"][0, arm], 200_000) @ x[0]
        for arm in range(3)
    ]
    expected = np.bincount(np.argmax(drawn, axis=0), minlength=3) / 200_000
    np.testing.assert_allclose(policy.probabilities(state, x)[0], expected, atol=0.006)


def test_square_cb_weighs_by_the_inverse_of_the_gap() -> None:
    policy = SquareCb(scale=7.0, growth=0.5, floor=0.0)
    state, x = linear(policy, seed=6)
    estimate = state["theta"][0] @ x[0]
    expected = 1 / (3 + 7 * np.sqrt(41) * (estimate.max() - estimate))
    expected[estimate.argmax()] = 0
    expected[estimate.argmax()] = 1 - expected.sum()
    np.testing.assert_allclose(policy.probabilities(state, x)[0], expected)


@pytest.mark.parametrize("name", list(BUILTIN))
def test_names_of_policies(name: str) -> None:
    policy = build_policy(name, {})
    assert type(policy) is BUILTIN[name]
    drifts = name.startswith(("discounted", "sliding"))
    assert drifts == (getattr(policy, "forgetting", 1.0) < 1 or getattr(policy, "window", 0) > 0)


def test_a_policy_of_your_own_must_take_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_policies.py").write_text(
        "class Old:\n    draws = start = probabilities = choose = print\n"
        "    def learn(self, state, context, arm, reward):\n        return state\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="it also needs propensity and paper"):
        build_policy("mine", {"class": "own_policies:Old"})


def test_thompson_is_the_conjugate_posterior() -> None:
    policy = GaussianThompson(prior_var=2.0, noise_var=0.5, forgetting=0.9, floor=0.0)
    state = policy.start(1, 2, 0)
    rewards = [(0, 1.0), (1, -0.4), (0, 0.3), (1, 0.8), (1, 0.1)]
    for arm, paid in rewards:
        state = policy.learn(state, np.zeros((1, 0)), np.array([arm]), np.array([paid]))
    ages = 0.9 ** np.arange(len(rewards))[::-1]
    pulled = np.array([[arm == 0, arm == 1] for arm, _ in rewards])
    precision = 1 / 2.0 + (ages[:, None] * pulled).sum(axis=0) / 0.5
    mean = (ages[:, None] * pulled * np.array([[paid] for _, paid in rewards])).sum(axis=0) / 0.5 / precision
    expected = stats.norm.cdf((mean[0] - mean[1]) / np.sqrt((1 / precision).sum()))
    assert policy.probabilities(state, np.zeros((1, 0)))[0, 0] == pytest.approx(expected, abs=1e-6)


def test_linucb_is_ridge_regression_and_its_bound() -> None:
    rng = np.random.default_rng(0)
    policy = LinUcb(alpha=0.7, ridge=2.0)
    contexts, arms, rewards = rng.normal(size=(3000, 4)), rng.integers(0, 3, 3000), rng.normal(size=3000)
    state = policy.start(1, 3, 4)
    for context, arm, paid in zip(contexts, arms, rewards, strict=True):
        state = policy.learn(state, context[None], np.array([arm]), np.array([paid]))
    x = rng.normal(size=4)
    for arm in range(3):
        design, target = contexts[arms == arm], rewards[arms == arm]
        gram = design.T @ design + 2.0 * np.eye(4)
        theta = np.linalg.solve(gram, design.T @ target)
        np.testing.assert_allclose(state["inverse"][0, arm], np.linalg.inv(gram), rtol=1e-9, atol=1e-15)
        bound = theta @ x + 0.7 * np.sqrt(x @ np.linalg.solve(gram, x))
        assert policy.scores(state, x[None])[0, arm] == pytest.approx(bound, rel=1e-9)


def test_linucb_forgets_evidence_but_keeps_its_ridge() -> None:
    rng = np.random.default_rng(1)
    policy = LinUcb(ridge=0.5, forgetting=0.95)
    state = policy.start(1, 2, 3)
    gram, target = np.tile(0.5 * np.eye(3), (2, 1, 1)), np.zeros((2, 3))
    for number in range(500):
        x, arm, paid = rng.normal(size=3), rng.integers(0, 2), rng.normal()
        state = policy.learn(state, x[None], np.array([arm]), np.array([paid]))
        gram, target = 0.95 * gram, 0.95 * target
        gram[:, number % 3, number % 3] += 0.5 * (1 - 0.95**3)
        gram[arm] += np.outer(x, x)
        target[arm] += paid * x
        np.testing.assert_allclose(state["inverse"][0], np.linalg.inv(gram), rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(
            state["theta"][0], np.linalg.solve(gram, target[..., None])[..., 0], rtol=1e-8, atol=1e-10
        )


def test_linucb_stays_stable_where_contexts_never_change() -> None:
    """Without its ridge a forgetting inverse grows like forgetting^-t in directions that no context visits."""
    policy = LinUcb(forgetting=0.95)
    state = policy.start(2, 2, 6)
    context = np.tile([1.0, 0.0, 1e-3, 0.0, 30.0, 0.0], (2, 1))
    for number in range(10_000):
        state = policy.learn(state, context, np.array([0, number % 2]), np.full(2, 0.5))
    inverse = state["inverse"].astype(np.float64)
    np.testing.assert_array_equal(inverse, inverse.swapaxes(-1, -2))
    eigenvalues = np.linalg.eigvalsh(inverse)
    assert (eigenvalues > 0).all()
    assert (eigenvalues <= 0.95**-6 * (1 + 1e-9)).all()
    assert (np.abs(state["theta"].astype(np.float64)) < 1).all()


def test_linucb_explores_an_arm_again_when_its_evidence_has_faded() -> None:
    policy = LinUcb(forgetting=0.9, floor=0.0)
    state = policy.start(1, 2, 1)
    x = np.ones((1, 1))
    for _ in range(30):
        state = policy.learn(state, x, np.array([0]), np.array([0.6]))
        state = policy.learn(state, x, np.array([1]), np.array([0.3]))
    assert policy.probabilities(state, x)[0, 0] == 1
    for _ in range(60):
        state = policy.learn(state, x, np.array([0]), np.array([0.6]))
    assert policy.probabilities(state, x)[0, 1] == 1


finite = st.floats(-2, 2)


@unhurried
@given(position=finite, previous=finite, log_return=finite, cost=st.floats(0, 0.1), volatility=st.floats(1e-6, 1))
def test_a_reward_is_what_is_left_per_unit_of_risk(
    position: float, previous: float, log_return: float, cost: float, volatility: float
) -> None:
    given_ = [np.array([value]) for value in (position, previous, log_return, cost, volatility)]
    expected = (position * log_return - cost * abs(position - previous)) / volatility
    assert reward(*given_)[0] == pytest.approx(min(max(expected, -3), 3))
    for missing in range(5):
        with_gap = [np.array([np.nan]) if number == missing else value for number, value in enumerate(given_)]
        assert np.isnan(reward(*with_gap)[0])


@pytest.mark.parametrize("volatility", [0.0, -1.0])
def test_no_risk_no_reward(volatility: float) -> None:
    one = np.ones(1)
    assert np.isnan(reward(one, one, one, 0.001, np.array([volatility]))[0])
