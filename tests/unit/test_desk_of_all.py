"""Every strategy and every policy on one desk: the same bits in any buckets and batches, and quick."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from qts.bandit.registry import BUILTIN, build_policy
from qts.strategy import registry
from qts.trading.decide import decide, open_account
from qts.trading.propose import CONTEXT, Desk, stretches

from .desk_help import NAMES, assert_states_equal, panel_of, part_of, rows_of, rules_of

PAIRS = {"class": "PairReversion", "partners": {"AA": "BB", "BB": "AA", "CC": "EE"}, "length": 4, "entry": 1.0}
SHORT = {
    "flat": {"class": "Flat"},
    "luck": {"class": "Random", "hold": 1},
    "pairs": PAIRS,
    "beyond": {"class": "RelativeReversal", "lookback": 2, "span": 3},
}
DESK = Desk(
    registry.build({name: {"class": name} for name in registry.all()} | SHORT),
    {name: build_policy(name, {}) for name in BUILTIN} | {"pooled": build_policy("thompson", {"pool": 7})},
    acting="pooled",
    seed=3,
    cost=0.0005,
)
RULES, BARS = rules_of(NAMES), 40


@pytest.fixture(scope="module")
def whole():
    panel = panel_of(4, BARS)
    account, record = decide(DESK, open_account(DESK, RULES.universe, 100_000.0), panel, RULES)
    return panel, account, rows_of([record])


def test_all_policies_learn_and_all_strategies_signal(whole) -> None:
    _, account, rows = whole
    for name in DESK.policies:
        start = DESK.policies[name].start(len(NAMES), len(DESK.strategies), len(CONTEXT))
        state = {key: account.desk[f"policy/{name}/{key}"] for key in start}
        assert any((state[key] != start[key]).any() for key in start), name
    assert {"orders", "fills", "rewards"} <= rows.keys()
    assert (account.desk["policy/pooled/prior_mean"] != 0).any()
    assert (account.desk["clock"] == BARS).all()


@pytest.mark.parametrize(
    ("cuts", "buckets"), [([], 7), ([], 64), ([1, 7, 8, 20], 1), ([14, 15], 3), (range(1, BARS), 1)]
)
def test_bits_depend_on_neither_buckets_nor_batches(whole, cuts, buckets) -> None:
    panel, expected, rows = whole
    account, records = open_account(DESK, RULES.universe, 100_000.0), []
    for start, stop in pairwise([0, *cuts, BARS]):
        account, record = decide(DESK, account, part_of(panel, slice(start, stop)), RULES, buckets)
        records.append(record)
    assert_states_equal(account.desk, expected.desk)
    assert rows_of(records) == rows


def test_paper_rewards_are_those_that_each_strategy_would_have_earned() -> None:
    """Hedge learns of all arms: after one reward its gains are those of the signals, less the best."""
    desk = Desk(
        registry.build(SHORT | {"hold": {"class": "BuyAndHold"}}), {"hedge": build_policy("hedge", {})}, "hedge", 3, 0.0
    )
    panel = panel_of(4, BARS)
    before, _ = decide(desk, open_account(desk, RULES.universe, 1e5), part_of(panel, slice(0, BARS - 1)), RULES)
    after, _ = decide(desk, before, part_of(panel, slice(BARS - 1, BARS)), RULES)
    close = panel.values["close"][-1]
    move = np.log(close / before.desk["close"])
    paper = before.desk["signals"] * (move / before.desk["decided_volatility"])[:, None]
    gain = before.desk["policy/hedge/gain"] + np.clip(paper, -3, 3)
    here = np.isfinite(close) & (before.desk["arm"][:, 0] >= 0)
    expected = (gain - gain.max(axis=1)[:, None])[here]
    np.testing.assert_allclose(after.desk["policy/hedge/gain"][here], expected, atol=1e-9)
    assert here.any()


def test_policies_pool_at_their_own_bar_times() -> None:
    assert stretches(DESK, 5, 12) == [slice(0, 2), slice(2, 9), slice(9, 12)]
    assert stretches(DESK, 7, 3) == [slice(0, 3)]
    few = Desk(DESK.strategies, {"plain": build_policy("thompson", {})}, "plain", 3, 0.0)
    assert stretches(few, 5, 12) == [slice(0, 12)]
