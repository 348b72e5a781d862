"""Invariants of every policy."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qts.bandit.base import Choice, Policy
from qts.bandit.draws import uniforms
from qts.bandit.linucb import LinThompson, LinUcb, SquareCb
from qts.bandit.thompson import BernoulliThompson, GaussianThompson
from qts.bandit.ucb import EpsilonGreedy, ExploreThenCommit, KlUcb, Ucb
from qts.bandit.weights import Exp3, Hedge
from qts.market.bar import Array, State

ARMS, FEATURES = 5, 4
EVERY: list[Policy] = [
    GaussianThompson(),
    GaussianThompson(forgetting=0.9, floor=0.05),
    GaussianThompson(window=5),
    BernoulliThompson(),
    BernoulliThompson(forgetting=0.9),
    LinUcb(),
    LinUcb(forgetting=0.9, alpha=0.3),
    LinThompson(forgetting=0.95),
    SquareCb(),
    EpsilonGreedy(),
    Ucb(),
    Ucb(forgetting=0.9),
    Ucb(window=4),
    KlUcb(),
    ExploreThenCommit(tries=2),
    Exp3(),
    Hedge(),
]
every_policy = pytest.mark.parametrize("policy", EVERY, ids=str)
some = settings(max_examples=20, deadline=None)


def play(
    policy: Policy, rows: Array, steps: int, seed: int = 0, until: State | None = None
) -> tuple[State, list[Choice]]:
    """Some instruments out of 64: rewards come two steps late, and a third of them never."""
    names = [f"i{row}" for row in rows]
    state = policy.start(len(rows), ARMS, FEATURES) if until is None else until
    waiting: list[tuple[Array, Choice, Array]] = []
    choices = []
    for step in range(steps):
        rng = np.random.default_rng((seed, step))
        context, noise = rng.normal(size=(64, FEATURES))[rows], rng.normal(size=(64, ARMS))[rows]
        noise[rng.random((64, ARMS))[rows] < 0.3] = np.nan
        choices.append(policy.choose(state, context, uniforms(seed, step, names, "test", policy.draws(ARMS))))
        waiting.append((context, choices[-1], noise))
        if step >= 2:
            earlier, chosen, paper = waiting.pop(0)
            earned = paper[np.arange(len(rows)), chosen.arm]
            state = policy.learn(state, earlier, chosen.arm, earned, chosen.propensity, paper)
    return state, choices


def assert_same(one: State, two: State) -> None:
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


@every_policy
@pytest.mark.parametrize("buckets", [7, 64])
def test_the_bits_do_not_depend_on_the_buckets(policy: Policy, buckets: int) -> None:
    state, whole = play(policy, np.arange(64), 40)
    for bucket in range(buckets):
        rows = np.arange(bucket, 64, buckets)
        part_state, part = play(policy, rows, 40)
        assert_same({name: values[rows] for name, values in state.items()}, part_state)
        for one, two in zip(whole, part, strict=True):
            np.testing.assert_array_equal(one.arm[rows], two.arm)
            np.testing.assert_array_equal(one.propensity[rows], two.propensity)


@every_policy
@some
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 25))
def test_a_propensity_is_the_probability_of_the_choice(policy: Policy, seed: int, steps: int) -> None:
    state, _ = play(policy, np.arange(6), steps, seed)
    context = np.random.default_rng(seed).normal(size=(6, FEATURES))
    probabilities = policy.probabilities(state, context)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-9)
    choice = policy.choose(state, context, uniforms(seed, 0, "abcdef", "x", policy.draws(ARMS)))
    assert choice.arm.dtype == np.int64
    np.testing.assert_array_equal(choice.propensity, probabilities[np.arange(6), choice.arm])
    assert (choice.propensity >= policy.floor).all()  # type: ignore[attr-defined]


@every_policy
def test_choices_are_as_frequent_as_their_propensities(policy: Policy) -> None:
    state, _ = play(policy, np.arange(1), 12)
    rounds = 20_000
    many = {name: np.repeat(values, rounds, axis=0) for name, values in state.items()}
    context = np.tile([[0.5, -1.0, 0.2, 1.0]], (rounds, 1))
    choice = policy.choose(many, context, uniforms(1, 2, [str(i) for i in range(rounds)], "x", policy.draws(ARMS)))
    expected = policy.probabilities(state, context[:1])[0]
    assert stats.chisquare(np.bincount(choice.arm, minlength=ARMS), rounds * expected).pvalue > 1e-3


@every_policy
def test_a_saved_state_goes_on_as_if_nothing_had_happened(policy: Policy) -> None:
    state, _ = play(policy, np.arange(3), 20)
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file) as arrays:
        loaded = dict(arrays)
    one, two = (play(policy, np.arange(3), 20, seed=1, until=before) for before in (state, loaded))
    assert_same(one[0], two[0])


@every_policy
@some
@given(seed=st.integers(0, 2**32), unknown=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_nothing_is_learned_from_nothing(policy: Policy, seed: int, unknown: float) -> None:
    rng = np.random.default_rng(seed)
    state, _ = play(policy, np.arange(4), 12, seed)
    kept = {name: values.copy() for name, values in state.items()}
    context = rng.normal(size=(4, FEATURES))
    arm, paid, paper = np.array([0, -1, 2, 3]), np.array([unknown, 1.0, unknown, 0.5]), rng.normal(size=(4, ARMS))
    after = policy.learn(state, context, arm, paid, np.full(4, 0.2), paper)
    assert_same({name: values[:3] for name, values in state.items()}, {name: v[:3] for name, v in after.items()})
    commits = isinstance(policy, ExploreThenCommit) and (state["pulls"][3] >= policy.tries).all()
    assert commits or any((after[name][3] != state[name][3]).any() for name in state)
    assert_same(kept, state)


@every_policy
@pytest.mark.parametrize("features", [0, 1, FEATURES])
@pytest.mark.parametrize("arms", [1, 2, ARMS])
def test_any_number_of_arms_and_features(policy: Policy, arms: int, features: int) -> None:
    state = policy.start(3, arms, features)
    assert all(len(values) == 3 for values in state.values())
    for step in range(5):
        context = np.ones((3, features))
        choice = policy.choose(state, context, uniforms(0, step, "abc", "x", policy.draws(arms)))
        state = policy.learn(state, context, choice.arm, np.ones(3), choice.propensity, np.ones((3, arms)))
    assert (choice.arm < arms).all()


@every_policy
def test_a_missing_feature_counts_as_zero(policy: Policy) -> None:
    state, _ = play(policy, np.arange(2), 12)
    gaps, zeros = np.array([[np.nan, 1.0, np.inf, 2.0]] * 2), np.array([[0.0, 1.0, 0.0, 2.0]] * 2)
    np.testing.assert_array_equal(policy.probabilities(state, gaps), policy.probabilities(state, zeros))
    arm, paid = np.array([1, 2]), np.ones(2)
    more = np.full(2, 0.2), np.ones((2, ARMS))
    assert_same(policy.learn(state, gaps, arm, paid, *more), policy.learn(state, zeros, arm, paid, *more))


ORDERLESS = [GaussianThompson(), BernoulliThompson(), LinUcb(), Ucb(), EpsilonGreedy(), Exp3(), Hedge()]


@pytest.mark.parametrize("policy", ORDERLESS, ids=str)
@some
@given(seed=st.integers(0, 2**32))
def test_rewards_may_come_in_any_order(policy: Policy, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rounds = [
        (
            rng.normal(size=(2, FEATURES)),
            rng.integers(0, ARMS, 2),
            rng.normal(size=2),
            np.full(2, 0.2),
            rng.normal(size=(2, ARMS)),
        )
        for _ in range(15)
    ]
    states = []
    for order in (range(15), rng.permutation(15)):
        state = policy.start(2, ARMS, FEATURES)
        for number in order:
            state = policy.learn(state, *rounds[number])
        states.append(state)
    for name in states[0]:
        np.testing.assert_allclose(states[0][name], states[1][name], atol=1e-10)
