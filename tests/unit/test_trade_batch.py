"""A trade batch is a function of its rows, the state before and its plan; how ticks are cut does not show."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.errors import StoreError
from qts.market import bars
from qts.pipeline.trade_batch import Outcome, TradeState
from qts.store.columns import to_arrow

from .desk_help import (
    MINUTE,
    NAMES,
    SECOND,
    START,
    Trading,
    assert_states_equal,
    control,
    declare,
    market,
    partials_of,
    rows_of,
    totals_of,
)

THREE = NAMES[:3]


def ledger_of(outcomes: list[Outcome]) -> dict[str, list[str]]:
    """Everything that batches gave, bars too, as text that tells every bit."""
    rows = rows_of([outcome.record for outcome in outcomes])
    return rows | {"bars": sorted(str(row) for outcome in outcomes for row in outcome.bars.to_dict("records"))}


def replayed(root, batches: list[pd.DataFrame], whole: pd.DataFrame, **options: int) -> tuple[Trading, list[Outcome]]:
    trading = Trading.at(root, **options)
    return trading, [trading.batch(batch, whole, now=START + n * SECOND) for n, batch in enumerate(batches)]


def assert_same_state(left: TradeState, right: TradeState) -> None:
    for name in ("partials", "open_bars"):
        pd.testing.assert_frame_equal(getattr(left, name), getattr(right, name), check_exact=True)
    rows = ["source", "instrument", "newest_ns"]
    pd.testing.assert_frame_equal(left.pairs[rows], right.pairs[rows])
    for name in ("reached", "closed_until", "simulated"):
        assert getattr(left, name) == getattr(right, name), name
    assert left.account is not None
    assert right.account is not None
    assert_states_equal(left.account.desk, right.account.desk)
    assert_states_equal(left.account.book.to_state(), right.account.book.to_state())


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Trading, dict[str, list[str]]]:
    ticks = market(1, 14)
    trading, outcomes = replayed(tmp_path_factory.mktemp("whole"), [ticks], ticks)
    return trading, ledger_of(outcomes)


def test_the_market_is_worth_comparing(whole):
    assert {"bars", "signals", "decisions", "rewards", "orders", "order_events", "fills", "positions"} <= set(whole[1])
    assert len(whole[1]["fills"]) > 5


@settings(max_examples=5)
@given(cuts=st.lists(st.integers(0, 126), max_size=6), buckets=st.sampled_from([1, 7, 64]))
def test_the_ledger_is_the_same_however_ticks_are_cut(cuts, buckets, whole, tmp_path_factory):
    ticks = market(1, 14)
    pieces = [ticks.iloc[a:b] for a, b in pairwise([0, *sorted(cuts), len(ticks)])]
    trading, outcomes = replayed(tmp_path_factory.mktemp("cut"), pieces, ticks, buckets=buckets)
    assert ledger_of(outcomes) == whole[1]
    assert_same_state(trading.state, whole[0].state)
    reached = [outcome.figures["reached"] for outcome in outcomes]
    assert reached == sorted(reached)
    assert sum(outcome.figures["late_for_bars"] for outcome in outcomes) == 0
    assert sum(outcome.figures["ticks"] for outcome in outcomes) == len(ticks)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_files_of_one_instrument_each_lose_nothing_and_decide_nothing_too_early(order, whole, tmp_path):
    ticks = market(1, 14)
    files = [ticks[ticks["instrument"] == THREE[number]] for number in order]
    _, outcomes = replayed(tmp_path, files, ticks)
    for number, outcome in enumerate(outcomes[:2], start=1):
        assert outcome.figures["reached"] <= pd.concat(files[number:])["ns"].min()
    assert ledger_of(outcomes) == whole[1]


@settings(max_examples=5)
@given(seed=st.integers(0, 1000), files=st.integers(2, 6), buckets=st.sampled_from([1, 7, 64]))
def test_rows_in_no_order_at_all_give_the_same_ledger(seed, files, buckets, whole, tmp_path_factory):
    """Files that overlap, one a batch, and every batch shuffled: nothing of a finite input is late."""
    ticks = market(1, 14)
    random = np.random.default_rng(seed)
    pieces = [
        piece.sample(frac=1, random_state=seed) for _, piece in ticks.groupby(random.integers(0, files, len(ticks)))
    ]
    trading, outcomes = replayed(tmp_path_factory.mktemp("pieces"), pieces, ticks, buckets=buckets)
    assert sum(outcome.figures["late_for_bars"] for outcome in outcomes) == 0
    assert ledger_of(outcomes) == whole[1]
    assert_same_state(trading.state, whole[0].state)


def test_files_of_one_instrument_in_reverse_order_give_the_same_ledger(whole, tmp_path):
    ticks = market(1, 14)
    third = [ticks[(ticks["ns"] - START) // (5 * MINUTE) == part] for part in (2, 1, 0)]
    files = [part[part["instrument"] == name] for name in THREE for part in third]
    _, outcomes = replayed(tmp_path, files, ticks)
    assert sum(outcome.figures["late_for_bars"] for outcome in outcomes) == 0
    assert ledger_of(outcomes) == whole[1]


def test_a_live_run_takes_the_backlog_that_it_begins_with_as_it_would_a_finite_input(whole, tmp_path):
    ticks = market(1, 14)
    cut = START + 10 * MINUTE
    old, new = ticks[ticks["ns"] < cut], ticks[ticks["ns"] >= cut]
    trading = Trading.at(tmp_path)
    now = START + 3600 * SECOND
    files = [old[old["instrument"] == name] for name in THREE]
    outcomes = [trading.batch(part, backlog=old, now=now + n) for n, part in enumerate(files)]
    assert [outcome.caught_up for outcome in outcomes] == [False, False, True]
    assert trading.state.reached <= cut  # what is live now is not at its end
    outcomes += live(trading, new, [cut + n * 37 * SECOND for n in range(1, 8)], lag=3600 * SECOND)
    assert sum(outcome.figures["late_for_bars"] for outcome in outcomes) == 0
    outcomes.append(trading.batch(ticks.iloc[:0], ticks))
    assert ledger_of(outcomes) == whole[1]


def test_what_comes_after_an_outage_is_not_late(whole, tmp_path):
    """All is silent for an hour: bars close by the clock, and the ticks of that hour still find theirs open."""
    ticks = market(1, 14)
    cut = START + 6 * MINUTE + 20 * SECOND
    first, second = ticks[ticks["ns"] < cut], ticks[ticks["ns"] >= cut + 40 * SECOND]
    trading = Trading.at(tmp_path)
    outcomes = live(trading, first, [cut])
    outcomes += [trading.batch(ticks.iloc[:0], now=cut + n * 10 * MINUTE) for n in range(1, 7)]
    assert len(trading.state.open_bars) == 0
    silence = ledger_of(outcomes)
    minutes = first.groupby(["instrument", first["ns"] // MINUTE]).ngroups
    assert sum("'1m'" in row for row in silence["bars"]) == minutes
    back = cut + 3600 * SECOND
    # Instrument by instrument, as ingest may land them.
    files = [second[second["instrument"] == name] for name in THREE]
    outcomes += [trading.batch(part, now=back + n * SECOND) for n, part in enumerate(files)]
    outcomes.append(trading.batch(ticks.iloc[:0], ticks))
    assert sum(outcome.figures["late_for_bars"] for outcome in outcomes) == 0
    plain = Trading.at(tmp_path / "plain")
    kept = pd.concat([first, second])
    assert ledger_of(outcomes) == ledger_of([plain.batch(kept, kept)])


def test_the_end_of_input_closes_everything(whole):
    state = whole[0].state
    assert len(state.partials) == len(state.open_bars) == 0
    ticks = market(1, 14)
    last = int(ticks["ns"].max())
    assert state.reached == (last // SECOND + 1) * SECOND  # not the end of time
    assert state.closed_until[MINUTE] == (last // MINUTE + 1) * MINUTE
    trades = sum(int(row.split("'trades': ")[1].split(",")[0]) for row in whole[1]["bars"] if "'1m'" in row)
    assert trades == len(ticks)


def test_an_end_without_rows_changes_nothing(whole, tmp_path):
    ticks = market(1, 14)
    trading, _ = replayed(tmp_path, [ticks], ticks)
    again = trading.batch(ticks.iloc[:0], ticks)
    assert (again.figures["bars"], again.figures["ticks"], again.record.tables()) == (0, 0, [])
    assert_same_state(trading.state, whole[0].state)


def test_later_input_goes_on_as_if_it_had_come_at_once(whole, tmp_path):
    ticks = market(1, 14)
    cut = START + 6 * MINUTE
    first, second = ticks[ticks["ns"] < cut], ticks[ticks["ns"] >= cut]
    trading = Trading.at(tmp_path)
    outcomes = [trading.batch(first, first), trading.batch(second, ticks)]
    assert ledger_of(outcomes) == whole[1]
    assert_same_state(trading.state, whole[0].state)


def test_a_closed_bar_is_never_opened_again(tmp_path):
    """The end of input closes the running minute early; what comes of it another day counts for seconds only."""
    ticks = market(2, 6)
    cut = START + 3 * MINUTE + 30 * SECOND
    first, second = ticks[ticks["ns"] < cut], ticks[ticks["ns"] >= cut]
    trading = Trading.at(tmp_path)
    outcomes = [trading.batch(first, first), trading.batch(second, ticks)]
    rows = pd.concat([outcome.bars for outcome in outcomes])
    assert not rows.duplicated(["instrument", "interval", "bar_time"]).any()
    minutes = rows[rows["interval"] == "1m"]
    lost = second[second["ns"] < START + 4 * MINUTE]
    assert len(lost) > 0
    assert minutes["trades"].sum() == len(ticks) - len(lost)
    assert rows.loc[rows["interval"] == "1s", "trades"].sum() == len(ticks)


@settings(max_examples=5)
@given(cut=st.integers(0, 60), seed=st.integers(0, 1000))
def test_a_state_comes_back_from_its_bytes_bit_for_bit(cut, seed, tmp_path_factory):
    ticks = market(seed, 6)
    trading = Trading.at(tmp_path_factory.mktemp("state"))
    state = trading.batch(ticks.iloc[:cut], ticks).state
    back = TradeState.of_parts(state.to_parts())
    assert back.to_parts() == state.to_parts()
    for name in ("partials", "open_bars", "pairs"):
        pd.testing.assert_frame_equal(getattr(back, name), getattr(state, name), check_exact=True)
    assert (back.reached, back.closed_until, back.controls_version) == (state.reached, state.closed_until, -1)
    assert (back.account is None) == (state.account is None)
    if state.account is not None and back.account is not None:
        assert list(back.account.desk) == list(state.account.desk)
        assert_states_equal(back.account.desk, state.account.desk)
        assert_states_equal(back.account.book.to_state(), state.account.book.to_state())
        assert back.account.policies == state.account.policies == ("thompson", "linucb")


def test_no_state_is_an_empty_one():
    assert TradeState.of_parts({}).account is None
    assert TradeState.of_parts(TradeState.empty().to_parts()).reached == 0


def live(trading: Trading, ticks: pd.DataFrame, edges: list[int], lag: int = SECOND) -> list[Outcome]:
    """Batches in real time: rows up to each edge, at a clock that is a little later."""
    parts = [ticks[(ticks["ns"] >= a) & (ticks["ns"] < b)] for a, b in pairwise([0, *edges])]
    return [trading.batch(part, now=edge + lag) for part, edge in zip(parts, edges, strict=True)]


def test_live_batches_give_the_ledger_of_the_replay(whole, tmp_path):
    ticks = market(1, 14)
    trading = Trading.at(tmp_path)
    outcomes = live(trading, ticks, [START + n * 37 * SECOND for n in range(1, 24)])
    assert trading.state.open_bars["interval_ns"].max() == MINUTE  # the last minute waits for whoever may still come
    outcomes.append(trading.batch(ticks.iloc[:0], ticks))
    assert ledger_of(outcomes) == whole[1]


def test_late_rows_are_counted_and_change_no_bar(tmp_path):
    ticks = market(3, 8)
    trading = Trading.at(tmp_path)
    live(trading, ticks, [START + 8 * MINUTE])
    reached, account = trading.state.reached, trading.state.account
    assert reached > START + 6 * MINUTE
    late = ticks[ticks["ns"] < START + 4 * MINUTE].assign(price=1.0)
    outcome = trading.batch(late, now=START + 8 * MINUTE + SECOND)
    assert outcome.figures["late_for_bars"] == outcome.figures["ticks"] == len(late)
    assert (outcome.figures["bars"], trading.state.reached) == (0, reached)
    assert account is not None
    assert trading.state.account is not None
    assert_states_equal(trading.state.account.book.to_state(), account.book.to_state())


def test_a_silent_instrument_holds_up_the_others_until_it_is_idle(tmp_path):
    ticks = market(4, 20)
    ticks = ticks[(ticks["instrument"] != "BB") | (ticks["ns"] < START + 3 * MINUTE)]
    trading = Trading.at(tmp_path, idle_timeout=5 * MINUTE)
    outcomes = live(trading, ticks, [START + n * MINUTE for n in range(1, 21)])
    reached = [outcome.figures["reached"] for outcome in outcomes]
    assert reached == sorted(reached)
    newest = ticks.loc[ticks["instrument"] == "BB", "ns"].max() // SECOND * SECOND
    assert reached[6] == newest
    assert reached[-1] > START + 13 * MINUTE
    assert trading.state.account is not None
    assert trading.state.account.book.time == reached[-1] // MINUTE * MINUTE


def test_a_control_acts_when_no_bar_closes(tmp_path):
    ticks = market(1, 14)
    trading = Trading.at(tmp_path)
    live(trading, ticks, [START + 13 * MINUTE])
    before = trading.state.account
    assert before is not None
    business = (before.book.quantity + before.book.open_orders.quantity) != 0
    assert business.any()
    now = START + 13 * MINUTE + 2 * SECOND
    assert trading.batch(ticks.iloc[:0], now=now).record.tables() == []
    control(trading.ledger, "flatten", 1)
    declare(trading.ledger, ["ZZ"])  # an instrument that has just been listed must not keep the control from acting
    outcome = trading.batch(ticks.iloc[:0], now=now)
    orders = to_arrow("orders", outcome.record.columns("orders")).to_pandas()
    assert set(orders["strategy"]) == {"flatten"}
    assert len(orders) == business.sum()
    assert outcome.figures["bar_times"] == 0
    assert trading.batch(ticks.iloc[:0], now=now).record.tables() == []  # once
    rest = ticks[ticks["ns"] >= START + 13 * MINUTE]
    last = trading.batch(rest, ticks)
    fills = to_arrow("fills", last.record.columns("fills")).to_pandas()
    assert set(fills["order_id"]) >= set(orders["order_id"])
    assert trading.state.account is not None
    after = trading.state.account.book.quantity
    assert after[3] == 0
    # Limits on an order's size hold for these orders too, so a large position takes more bars than are left.
    assert (np.abs(after[:3]) <= np.abs(before.book.quantity) / 2).all()
    assert (after[:3] * before.book.quantity >= 0).all()


def test_a_halt_stops_orders_and_a_replay_of_the_batch_does_not_see_a_later_one(tmp_path):
    ticks = market(1, 14)
    trading = Trading.at(tmp_path)
    plan, state = trading.plan(START, once=True), trading.state
    first = trading.batch(ticks, ticks)
    control(trading.ledger, "halt", 1)
    trading.state, trading.plan = state, lambda now, once: plan  # type: ignore[method-assign]
    assert ledger_of([trading.batch(ticks, ticks)]) == ledger_of([first])
    halted = Trading(trading.ledger, state)
    rows = halted.batch(ticks, ticks).record
    assert "fills" not in rows.tables()
    if "orders" in rows.tables():
        assert set(rows.columns("orders")["verdict"]) == {"deny"}


def test_simulated_prints_are_told_from_the_first_bar_on_that_has_any(tmp_path):
    ticks = market(1, 14)
    cut = START + 7 * MINUTE
    arrived = partials_of(ticks)
    arrived["simulated"] = arrived["slot"] >= cut // SECOND
    trading = Trading.at(tmp_path)
    from qts.pipeline.trade_batch import trade
    from qts.trading.decide import in_process

    outcome = trade(
        trading.ledger, trading.plan(START, once=True), trading.state, arrived, totals_of(ticks, 0), in_process
    )
    rows = to_arrow("portfolio", outcome.record.columns("portfolio")).to_pandas()
    simulated = rows["bar_time"] > pd.Timestamp(cut, unit="ns", tz="UTC")
    assert (rows["provenance"] == np.where(simulated, "simulated_path", "real")).all()
    assert outcome.state.simulated


def test_an_instrument_that_nobody_declared_stops_the_batch(tmp_path):
    ticks = market(1, 5, ("AA", "QQ"))
    with pytest.raises(StoreError, match="QQ"):
        Trading.at(tmp_path).batch(ticks, ticks)


def test_a_first_batch_without_rows_waits(tmp_path):
    trading = Trading.at(tmp_path)
    outcome = trading.batch(market(1, 1).iloc[:0])
    assert outcome.figures == {"ticks": 0, "late_for_bars": 0, "bars": 0, "bar_times": 0, "reached": 0}
    assert trading.state.partials.columns.tolist() == bars.PARTIAL_COLUMNS
