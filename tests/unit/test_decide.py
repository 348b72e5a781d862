"""decide(): one decision path, whose bits depend neither on buckets nor on batches; and accounts that change."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.bandit.registry import build_policy
from qts.errors import DataError
from qts.market.bar import BarPanel
from qts.store.columns import to_arrow
from qts.strategy import registry
from qts.trading import controls
from qts.trading.decide import Account, act_between_bars, align, decide, open_account
from qts.trading.propose import Desk
from qts.trading.record import Recorder

from .desk_help import (
    MINUTE,
    NAMES,
    STRATEGIES,
    as_text,
    assert_states_equal,
    desk_of,
    panel_of,
    part_of,
    rows_of,
    rules_of,
)

DESK, RULES = desk_of(), rules_of(NAMES)
FEW = settings(max_examples=6)
SEEDS = st.integers(0, 10_000)
TIME = pa.timestamp("us", tz="UTC")
SOME = {name: STRATEGIES[name] for name in ("flat", "hold", "cross")}


def fresh(desk: Desk = DESK, names: tuple[str, ...] = NAMES) -> Account:
    return open_account(desk, rules_of(names).universe, 100_000.0)


def frame(record: Recorder, name: str) -> pd.DataFrame:
    return to_arrow(name, record.columns(name)).to_pandas()


def assert_same(left: Account, right: Account) -> None:
    assert (left.names, left.arms, left.policies) == (right.names, right.arms, right.policies)
    assert_states_equal(left.desk, right.desk)
    assert_states_equal(left.book.to_state(), right.book.to_state())


@FEW
@given(seed=SEEDS)
def test_bits_do_not_depend_on_the_number_of_buckets(seed):
    panel = panel_of(seed, 25)
    account, record = decide(DESK, fresh(), panel, RULES, buckets=1)
    rows = rows_of([record])
    assert rows["orders"]
    for buckets in (7, 64):
        other, again = decide(DESK, fresh(), panel, RULES, buckets=buckets)
        assert_same(other, account)
        assert rows_of([again]) == rows


def test_neither_do_they_with_more_instruments_than_a_vector_register_holds():
    names = tuple(f"N{number:03}" for number in range(150))
    panel, rules = panel_of(1, 12, names), rules_of(names)
    account, record = decide(DESK, fresh(names=names), panel, rules)
    for buckets in (7, 64):
        other, again = decide(DESK, fresh(names=names), panel, rules, buckets=buckets)
        assert_same(other, account)
        assert rows_of([again]) == rows_of([record])


@FEW
@given(seed=SEEDS, cuts=st.lists(st.integers(1, 24), max_size=4), buckets=st.sampled_from([1, 3]))
def test_bits_do_not_depend_on_how_bars_are_cut_into_batches(seed, cuts, buckets):
    panel = panel_of(seed, 25)
    whole, record = decide(DESK, fresh(), panel, RULES)
    account, records = fresh(), []
    for a, b in pairwise([0, *sorted(set(cuts)), 25]):
        account, part = decide(DESK, account, part_of(panel, slice(a, b)), RULES, buckets)
        records.append(part)
    assert_same(account, whole)
    assert rows_of(records) == rows_of([record])


@FEW
@given(seed=SEEDS, cut=st.integers(1, 24))
def test_later_bars_never_change_what_was_decided_before(seed, cut):
    panel = panel_of(seed, 25)
    past = rows_of([decide(DESK, fresh(), part_of(panel, slice(0, cut)), RULES)[1]])
    whole = decide(DESK, fresh(), panel, RULES)[1]
    times = {"fills": "fill_time", "journal": "time", "rewards": "matured_at"}
    for name in whole.tables():
        until = np.datetime64(int(panel.times[cut - 1]), "ns")
        rows = to_arrow(name, whole.columns(name))
        kept = rows.filter(pc.less_equal(rows[times.get(name, "bar_time")], pa.scalar(until).cast(TIME)))
        assert as_text(kept) == past.get(name, [])


def test_the_account_that_is_handed_in_is_not_changed():
    account = decide(DESK, fresh(), panel_of(1, 15), RULES)[0]
    desk = {key: values.copy() for key, values in account.desk.items()}
    book = {key: values.copy() for key, values in account.book.to_state().items()}
    decide(DESK, account, part_of(panel_of(1, 25), slice(15, 25)), RULES, buckets=3)
    assert_states_equal(account.desk, desk)
    assert_states_equal(account.book.to_state(), book)


@FEW
@given(seed=SEEDS)
def test_no_order_is_filled_at_the_bar_that_it_was_decided_on_nor_at_its_price(seed):
    panel = panel_of(seed, 25)
    record = decide(DESK, fresh(), panel, RULES)[1]
    orders, fills = frame(record, "orders"), frame(record, "fills")
    both = fills.merge(orders, on="order_id", suffixes=("", "_order"))
    assert len(both) == len(fills) > 0
    assert (both["fill_time"] > both["bar_time"]).all()
    where = {name: column for column, name in enumerate(panel.instruments)}
    for row in both.itertuples():
        bar = int(np.searchsorted(panel.times, row.fill_time.value))
        assert row.reference_price == panel.values["open"][bar, where[row.instrument]]


@FEW
@given(seed=SEEDS)
def test_a_decision_has_one_row_a_policy_and_one_of_them_acts(seed):
    panel = panel_of(seed, 20)
    record = decide(DESK, fresh(), panel, RULES)[1]
    decisions, signals = frame(record, "decisions"), frame(record, "signals")
    bars = int(np.isfinite(panel.values["close"]).sum())
    assert len(decisions) == 2 * bars
    assert len(signals) == len(STRATEGIES) * bars
    assert decisions["propensity"].between(0, 1, inclusive="right").all()
    assert (decisions.groupby(["bar_time", "instrument"])["acting"].sum() == 1).all()
    assert set(decisions.loc[decisions["acting"], "policy"]) == {"thompson"}
    chosen = decisions.merge(
        signals, left_on=["bar_time", "instrument", "arm"], right_on=["bar_time", "instrument", "strategy"]
    )
    assert (chosen["target"] == chosen["signal"]).all()
    assert len(chosen) == len(decisions)


@FEW
@given(seed=SEEDS)
def test_every_reward_has_its_decision(seed):
    record = decide(DESK, fresh(), panel_of(seed, 25), RULES)[1]
    decisions, rewards = frame(record, "decisions"), frame(record, "rewards")
    key = ["bar_time", "instrument", "policy", "arm"]
    assert len(rewards.merge(decisions, on=key)) == len(rewards) > 0
    assert not rewards.duplicated(key[:3]).any()
    assert (rewards["matured_at"] > rewards["bar_time"]).all()


def test_orders_come_from_the_acting_policy_alone():
    panel = panel_of(2, 25)
    orders = {}
    for acting in ("thompson", "linucb"):
        record = decide(replace(DESK, acting=acting), fresh(), panel, RULES)[1]
        orders[acting] = frame(record, "orders")
        wanted = frame(record, "decisions").query("acting")[["bar_time", "instrument", "arm"]]
        both = orders[acting].merge(wanted, on=["bar_time", "instrument"])
        assert (both["strategy"] == both["arm"]).all()
        assert len(both) == len(orders[acting])
    assert not orders["thompson"].equals(orders["linucb"])


def learnt(account: Account, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    rows = [account.names.index(name) for name in names]
    return {key: values[rows] for key, values in account.desk.items()}


def test_a_new_instrument_starts_afresh_and_the_others_go_on():
    few, panel = ("AA", "CC"), panel_of(3, 30)
    old = decide(DESK, fresh(names=few), panel_of(3, 20, few), rules_of(few))[0]
    account = align(old, DESK, RULES.universe)
    assert account.names == NAMES
    assert_states_equal(learnt(account, few), old.desk)
    assert_states_equal(learnt(account, ("BB", "DD", "EE")), learnt(fresh(), ("BB", "DD", "EE")))
    assert account.book.quantity[[0, 2]].tolist() == old.book.quantity.tolist()
    assert account.book.cash == old.book.cash
    decided = frame(decide(DESK, old, part_of(panel, slice(20, 30)), RULES)[1], "decisions")
    assert set(decided["instrument"]) == set(NAMES)
    alone = frame(decide(DESK, old, part_of(panel_of(3, 30, few), slice(20, 30)), rules_of(few))[1], "decisions")
    kept = decided[decided["instrument"].isin(few)].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, alone, check_exact=True)


def test_an_instrument_with_a_position_cannot_disappear():
    account = decide(DESK, fresh(), panel_of(4, 25), RULES)[0]
    held = [name for name, quantity in zip(NAMES, account.book.quantity, strict=True) if quantity]
    with pytest.raises(DataError, match="has business in"):
        align(account, DESK, rules_of([name for name in NAMES if name != held[0]]).universe)


@pytest.mark.parametrize("spec", [SOME, dict(reversed(STRATEGIES.items()))], ids=["fewer", "another order"])
def test_other_strategies_restart_the_policies_and_leave_the_rest(spec):
    old = decide(DESK, fresh(), panel_of(5, 20), RULES)[0]
    desk = desk_of(spec)
    account, new = align(old, desk, RULES.universe), fresh(desk)
    for key in new.desk:
        kept = not key.startswith("policy/") and key not in {"arm", "signals"}
        np.testing.assert_array_equal(account.desk[key], (old if kept else new).desk[key], err_msg=key)
    assert account.arms == tuple(spec)
    after, record = decide(desk, old, part_of(panel_of(5, 30), slice(20, 30)), RULES)
    assert set(frame(record, "decisions")["arm"]) <= set(spec)
    rewards = frame(record, "rewards")
    assert (rewards["bar_time"] > pd.Timestamp(panel_of(5, 20).times[-1], unit="ns", tz="UTC")).all()
    assert after.arms == tuple(spec)


def test_policies_may_change_places_come_and_go():
    old = decide(DESK, fresh(), panel_of(6, 20), RULES)[0]
    swapped = align(old, desk_of(policies=("linucb", "thompson")), RULES.universe)
    np.testing.assert_array_equal(swapped.desk["arm"], old.desk["arm"][:, ::-1])
    np.testing.assert_array_equal(swapped.desk["context"], old.desk["context"][:, ::-1])
    np.testing.assert_array_equal(swapped.desk["policy/linucb/theta"], old.desk["policy/linucb/theta"])
    assert_same(align(swapped, DESK, RULES.universe), old)

    one = align(old, desk_of(policies=("linucb",)), RULES.universe)
    np.testing.assert_array_equal(one.desk["position"], old.desk["position"][:, 1:])
    assert not [key for key in one.desk if key.startswith("policy/thompson")]
    two = align(one, DESK, RULES.universe)
    np.testing.assert_array_equal(two.desk["arm"][:, 0], np.full(5, -1))
    np.testing.assert_array_equal(two.desk["arm"][:, 1], old.desk["arm"][:, 1])
    np.testing.assert_array_equal(two.desk["policy/thompson/pulls"], fresh().desk["policy/thompson/pulls"])
    assert len(frame(decide(DESK, one, part_of(panel_of(6, 22), slice(20, 22)), RULES)[1], "decisions"))


def test_a_strategy_or_policy_that_no_longer_fits_restarts_as_a_whole():
    old = decide(DESK, fresh(), panel_of(7, 20), RULES)[0]
    desk = desk_of(STRATEGIES | {"bands": {"class": "BollingerReversion", "length": 6, "entry": 0.5}})
    desk = replace(desk, policies={**DESK.policies, "thompson": build_policy("thompson", {"class": "linucb"})})
    account, new = align(old, desk, RULES.universe), fresh(desk)
    assert account.desk.keys() == new.desk.keys()
    for key in new.desk:
        restarted = key.startswith(("strategy/bands/", "policy/thompson/"))
        np.testing.assert_array_equal(account.desk[key], (new if restarted else old).desk[key], err_msg=key)


def test_an_account_that_fits_is_taken_as_it_is():
    account = decide(DESK, fresh(), panel_of(8, 5), RULES)[0]
    assert align(account, desk_of(), rules_of(NAMES).universe) is account
    same = registry.build(STRATEGIES | {"cross": {"class": "EwmaCross", "fast": 2, "slow": 5}})
    assert align(account, replace(DESK, strategies=same), RULES.universe) is account


def flatten(names: tuple[str, ...] = NAMES) -> controls.Controls:
    return controls.fold([{"action": "flatten", "scope": "*", "at": 1, "control_id": "a"}], names)


def test_controls_act_between_bars():
    panel = panel_of(9, 30, missing=0.0, volume=100_000)
    before = decide(DESK, fresh(), part_of(panel, slice(0, 25)), RULES)[0]
    held = before.book.quantity != 0
    held &= before.book.open_orders.quantity != -before.book.quantity  # those need no other order
    assert held.any()
    rules = rules_of(NAMES, flatten())
    account, record = act_between_bars(DESK, before, rules)
    orders = frame(record, "orders")
    assert set(orders["strategy"]) == {"flatten"}
    assert sorted(orders["instrument"]) == [name for name, has in zip(NAMES, held, strict=True) if has]
    assert account.book.time == before.book.time + 1000
    assert_states_equal(account.desk, before.desk)
    after, record = decide(DESK, account, part_of(panel, slice(25, 30)), rules)
    assert (after.book.quantity == 0).all()
    fills = frame(record, "fills")
    assert (fills["fill_time"] >= pd.Timestamp(panel.times[25], unit="ns", tz="UTC")).all()


def test_controls_act_although_an_instrument_has_just_been_added():
    few = ("AA", "CC")
    before = decide(DESK, fresh(names=few), panel_of(10, 25, few, missing=0.0), rules_of(few))[0]
    assert (before.book.quantity != 0).any()
    account, record = act_between_bars(DESK, before, rules_of(NAMES, flatten()))
    assert account.names == NAMES
    assert len(frame(record, "orders")) == (before.book.quantity != 0).sum()


def test_before_the_first_bar_there_is_nothing_to_act_on():
    account, record = act_between_bars(DESK, fresh(), rules_of(NAMES, flatten()))
    assert account.book.time == 0
    assert record.tables() == []


def test_a_bar_cannot_be_decided_twice():
    panel = panel_of(11, 5)
    account = decide(DESK, fresh(), panel, RULES)[0]
    with pytest.raises(DataError, match="Bar times have to grow"):
        decide(DESK, account, part_of(panel, slice(4, 5)), RULES)


def test_a_panel_over_other_instruments_is_refused():
    panel = panel_of(12, 3, ("AA", "BB"))
    with pytest.raises(DataError, match=r"2 instruments .* where the universe has 5"):
        decide(DESK, fresh(), BarPanel(panel.instruments, panel.times + MINUTE, panel.values), RULES)


def test_recorded_numbers_may_be_numpys():
    record = Recorder()
    record.add("signals", 2, bar_time=np.int64(7_000), instrument="A", strategy="s", signal=np.float64(0.5))
    rows = to_arrow("signals", record.columns("signals")).to_pylist()
    assert [row["bar_time"].microsecond for row in rows] == [7, 7]
    assert [row["signal"] for row in rows] == [0.5, 0.5]
