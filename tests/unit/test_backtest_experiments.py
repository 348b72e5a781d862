"""Backtests are the decision step: equal paths, no look-ahead, bad strategies, walk-forward, scenarios."""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from backtest_help import closes, long_bars, market
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.backtest import scenario
from qts.backtest.benchmark import buy_and_hold
from qts.backtest.compare import compare
from qts.backtest.experiment import Experiment, Outcome, Terms, part, run
from qts.backtest.market import market_of
from qts.backtest.runner import in_process, processes
from qts.backtest.study import study, verdict
from qts.backtest.sweep import returns_of, sweep
from qts.backtest.trades import round_trips
from qts.backtest.walkforward import Plan, Scheduled, candidates, default_plan, folds, walk_forward
from qts.bandit.linucb import LinUcb
from qts.errors import ConfigError, DataError
from qts.execution.costs import Execution
from qts.portfolio.sizing import Sizing
from qts.risk.limits import RiskLimits
from qts.strategy import registry
from qts.strategy.base import Array, Bar, State
from qts.strategy.controls import BuyAndHold, Flat, Random
from qts.strategy.reversion import ZScoreReversion
from qts.strategy.trend import EwmaCross, SmaCross

FREE = RiskLimits(min_cash=None, execution=Execution(fee_bps=0, half_spread_bps=0, slippage_bps=0, impact=0))
SOME = [EwmaCross(3, 8), ZScoreReversion(5), Random(hold=2), BuyAndHold()]


def one(strategy: object, **changes: object) -> Experiment:
    return replace(Experiment("one", {"one": strategy}), **changes)  # type: ignore[arg-type, dict-item]


# The decision step and the sweep


@pytest.mark.parametrize("weighting", ["equal", "inverse_volatility"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_sweep_is_the_decision_step(seed: int, weighting: str) -> None:
    """Volumes that cut fills, bars without trades, missing bars, whole lots, bands, borrowing: all the same."""
    seen = market(bars=160, seed=seed)
    sizing = Sizing(weighting=weighting, rebalance_band=0.05, volatility_span=20)  # type: ignore[arg-type]
    terms = Terms(risk=RiskLimits(min_cash=None, sizing=sizing), lot_size=1.0, borrow=0.03)
    swept = sweep(SOME, seen.panel, terms)
    for place, strategy in enumerate(SOME):
        outcome = run(one(strategy), seen, terms)
        assert outcome.error == ""
        np.testing.assert_allclose(swept[:, place], outcome.returns, rtol=0, atol=1e-9)
        assert np.ptp(outcome.returns) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", list(registry.BUILTIN))
def test_a_sweep_is_the_decision_step_for_every_strategy(name: str) -> None:
    seen, strategy = market(bars=500, seed=3), registry.all()[name]
    outcome = run(one(strategy), seen, Terms())
    np.testing.assert_allclose(sweep([strategy], seen.panel, Terms())[:, 0], outcome.returns, rtol=0, atol=1e-9)


def test_a_sweep_refuses_what_it_does_not_know() -> None:
    seen = market(bars=30)
    for risk in (RiskLimits(), RiskLimits(min_cash=None, execution=Execution(order_type="limit"))):
        with pytest.raises(ConfigError, match="no limits"):
            returns_of(np.zeros((30, 1, 4)), seen.panel, Terms(risk=risk))


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(20, 79), seed=st.integers(0, 50))
def test_later_bars_change_no_earlier_return(cut: int, seed: int) -> None:
    seen = market(bars=80, instruments=2, seed=seed)
    whole = run(one(EwmaCross(2, 5)), seen, Terms())
    past = run(one(EwmaCross(2, 5)), replace(seen, panel=part(seen.panel, 0, cut)), Terms())
    np.testing.assert_array_equal(whole.returns[:cut], past.returns)


def test_without_costs_a_held_position_earns_the_price_from_the_next_price_on() -> None:
    table = closes(60, 1, seed=4)
    outcome = run(one(BuyAndHold()), market_of(table, "x"), Terms(risk=replace_sizing(FREE, band=0.99)))
    price = table["I0"].to_numpy()
    # As many as the first close gives, filled at the second, in whole lots of 1e-4.
    assert outcome.returns[0] == outcome.returns[1] == 0
    assert outcome.equity[-1] == pytest.approx(1 + (price[-1] - price[1]) / price[0], rel=1e-7)
    assert len(outcome.trades) == 1
    assert outcome.trades.open.all()


def replace_sizing(risk: RiskLimits, band: float) -> RiskLimits:
    return risk.model_copy(update={"sizing": Sizing(rebalance_band=band)})


def test_costs_are_what_they_say() -> None:
    """One purchase of the whole equity: fee, half-spread and slippage once, in basis points."""
    seen = market_of(closes(20, 1, seed=1), "x")
    free = run(one(BuyAndHold()), seen, Terms(risk=replace_sizing(FREE, 0.99)))
    costs = Execution(fee_bps=20, half_spread_bps=30, slippage_bps=50)
    dear = run(
        one(BuyAndHold()),
        seen,
        Terms(risk=RiskLimits(min_cash=None, sizing=Sizing(rebalance_band=0.99), execution=costs)),
    )
    assert dear.equity[-1] / free.equity[-1] == pytest.approx(1 - 0.01, abs=1.5e-3)


@dataclass(frozen=True)
class Short:
    def start(self, instruments: int) -> State:
        return {}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        return state, -np.ones(len(bar.close))


def test_a_short_pays_for_borrowing() -> None:
    seen = market_of(closes(261, 1, seed=2), "x")
    risk = replace_sizing(FREE, 0.99)
    free, dear = (run(one(Short()), seen, Terms(risk=risk, borrow=rate)) for rate in (0.0, 0.1))
    assert free.net[-1] < 0
    held = np.concatenate([[0.0], -(free.net * free.equity)[:-1]])
    days = np.diff(seen.panel.times, prepend=seen.panel.times[0]) / 86_400e9
    paid = 0.1 * days / 365.25 * held / np.concatenate([[1.0], free.equity[:-1]])
    np.testing.assert_allclose(free.returns - dear.returns, paid, atol=1e-12)
    assert 0.05 < paid.sum() < 0.2


# Strategies that are wrong


@dataclass(frozen=True)
class Bad:
    how: str

    def start(self, instruments: int) -> State:
        return {}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        if self.how == "raises":
            raise ZeroDivisionError("ten bars in")
        wrong = {
            "nan": np.full(len(bar.close), np.nan),
            "long": np.zeros(len(bar.close) + 1),
            "big": 2.0 + 0 * bar.open,
        }
        return state, np.nan_to_num(wrong[self.how], nan=np.nan if self.how == "nan" else 2.0)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raises", "ZeroDivisionError: ten bars in"),
        ("nan", "is nan, expected numbers from -1 to 1"),
        ("long", "has shape (5,), expected (4,)"),
        ("big", "is 2.0, expected numbers from -1 to 1"),
    ],
)
def test_a_strategy_that_fails_says_why_and_the_others_finish(how: str, reason: str) -> None:
    seen = market(bars=40)
    mixed = [one(Bad(how), name="bad"), one(BuyAndHold(), name="good")]
    outcomes = in_process(mixed, seen, Terms())
    assert reason in outcomes[0].error
    assert outcomes[1].error == ""
    judged = study(outcomes, seen, Terms())
    assert judged.evidence[0] is None
    assert judged.evidence[1] is not None
    assert judged.trials == 2


def test_all_failed_is_told() -> None:
    seen = market(bars=40)
    assert verdict(study(in_process([one(Bad("raises"))], seen, Terms()), seen, Terms())).startswith("No experiment")


def test_a_window_shorter_than_the_warm_up_is_noted() -> None:
    seen = market_of(closes(30, 2, seed=0), "x")
    outcome = run(one(SmaCross(5, 50)), seen, Terms())
    assert outcome.error == ""
    assert "warm-up" in outcome.notes[0]
    assert (outcome.returns == 0).all()


@pytest.mark.slow
def test_processes_give_the_same_bits() -> None:
    seen = market_of(closes(7000, 1, seed=0), "x")
    chosen = [one(Flat(), name="a"), one(BuyAndHold(), name="b"), one(Flat(), instruments=("XX",), name="c")]
    here, there = (each(chosen, seen, Terms()) for each in (in_process, processes(2)))
    for left, right in zip(here, there, strict=True):
        assert left.error == right.error
        np.testing.assert_array_equal(left.returns, right.returns)


def test_before_its_window_an_account_is_warm_but_still() -> None:
    seen = market(bars=120)
    outcome = run(one(EwmaCross(3, 8), first=60, stop=100), seen, Terms())
    assert len(outcome.times) == 40
    assert outcome.returns[0] == 0
    assert outcome.gross[1] > 0
    policy = run(Experiment("p", {"a": Flat(), "b": BuyAndHold()}, LinUcb(), first=60), seen, Terms())
    assert policy.error == ""
    assert policy.kind == "policy"


def test_an_experiment_is_known_by_what_it_is() -> None:
    base = one(EwmaCross(3, 8))
    variants = [
        base,
        one(EwmaCross(3, 9)),
        replace(base, first=3),
        replace(base, instruments=("I0",)),
        replace(base, scenario="gap"),
    ]
    terms = Terms()
    ids = {each.identity(terms, "data") for each in variants} | {base.identity(replace(terms, cash=2.0), "data")}
    assert len(ids) == 6
    assert one(EwmaCross(3, 8)).identity(terms, "data") in ids


def test_only_some_instruments() -> None:
    seen = market(bars=60)
    outcome = run(one(BuyAndHold(), instruments=("I2",)), seen, Terms())
    assert len(outcome.trades) == 1
    assert "no bars of 'XX'" in run(one(BuyAndHold(), instruments=("XX",)), seen, Terms()).error


# Walk-forward


@settings(max_examples=60, deadline=None)
@given(
    bars=st.integers(40, 400),
    train=st.integers(5, 60),
    test=st.integers(1, 40),
    anchored=st.booleans(),
    purge=st.integers(1, 5),
    embargo=st.integers(0, 9),
)
def test_folds_never_let_the_test_into_training(
    bars: int, train: int, test: int, anchored: bool, purge: int, embargo: int
) -> None:
    plan = Plan(train, test, anchored, purge, embargo)
    if bars < train + purge + embargo + 3:
        with pytest.raises(DataError, match="too few"):
            folds(bars, plan)
        return
    cut = folds(bars, plan)
    assert cut[-1].test_stop == bars
    for fold, after in itertools.pairwise(cut):
        assert fold.test_stop == after.test_first
    for fold in cut:
        assert fold.train_stop + purge + embargo == fold.test_first
        assert fold.train_stop - fold.train_first >= train
        assert fold.train_first == 0 or not anchored
        assert 0 <= fold.train_first < fold.train_stop < fold.test_first < fold.test_stop


def test_a_search_sees_training_windows_only() -> None:
    """Prices after a test window has begun change nothing that was chosen for it."""
    table = closes(300, 2, seed=5)
    plan = default_plan(300, 261)
    seen = market_of(table, "x")
    found = walk_forward(one(SmaCross(2, 10)), seen, Terms(), plan)
    strategy = found.strategies["one"]
    assert isinstance(strategy, Scheduled)
    cut = folds(300, plan)
    later = table.copy()
    later.loc[cut[1].train_stop :, ["I0", "I1"]] = closes(300, 2, seed=6)[["I0", "I1"]]
    other = walk_forward(one(SmaCross(2, 10)), market_of(later, "x"), Terms(), plan).strategies["one"]
    assert isinstance(other, Scheduled)
    assert strategy.choices[:2] == other.choices[:2]
    assert len(set(strategy.choices)) > 1
    assert found.trials == len(strategy.variants) == 3
    assert found.first == cut[0].test_first


def test_candidates_are_halved_doubled_or_of_a_grid() -> None:
    assert candidates(SmaCross(4, 20)) == [SmaCross(4, 20), SmaCross(2, 10), SmaCross(8, 40)]
    assert candidates(Flat()) == [Flat()]
    grid = candidates(SmaCross(4, 20), {"fast": [5, 30], "slow": [10, 20]})
    assert grid == [SmaCross(4, 20), SmaCross(5, 10), SmaCross(5, 20)]
    with pytest.raises(ConfigError, match="no parameter 'fats'"):
        candidates(SmaCross(4, 20), {"fats": [5]})


def test_a_schedule_is_its_variants_in_turn() -> None:
    seen = market(bars=60)
    times = seen.panel.times
    both = (EwmaCross(2, 5), EwmaCross(5, 20))
    planned = Scheduled(both, (int(times[20]), int(times[40])), (1, 0))
    rows: dict[object, list[Array]] = {}
    for strategy in (planned, *both):
        state, rows[strategy] = strategy.start(4), []
        for bar in seen.panel:
            buffer = io.BytesIO()
            np.savez(buffer, **state)  # what a state is must survive its bytes
            state, signal = strategy.step(dict(np.load(io.BytesIO(buffer.getvalue()))), bar)
            rows[strategy].append(signal)
    found = np.array(rows[planned])
    assert (found[:20] == 0).all()
    np.testing.assert_array_equal(found[20:40], np.array(rows[both[1]])[20:40])
    np.testing.assert_array_equal(found[40:], np.array(rows[both[0]])[40:])


def test_plans_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="purge"):
        Plan(10, 10, purge=0)


# Scenarios


def test_named_windows_are_days_of_the_calendar() -> None:
    table = closes(5, 1, 0).assign(Date=["2010-04-23", "2010-04-26", "2010-05-06", "2010-07-02", "2010-07-06"])
    assert scenario.rows_of(scenario.WINDOWS["flash-crash-2010"], market_of(table, "x").panel.times) == (1, 4)


def test_shocks_do_what_they_say() -> None:
    seen, risk = market(bars=200).panel, RiskLimits()
    returns = scenario.log_returns(seen.values["close"])
    fallen = scenario.log_returns(scenario.gap(seen, risk)[0].values["close"])
    jumped = np.flatnonzero((np.abs(fallen - returns) > 1e-9).any(axis=1))
    assert 100 <= jumped[0] <= jumped[-1] <= 103  # at the middle bar, or an instrument's next one
    wild = scenario.log_returns(scenario.volatility_doubling(seen, risk)[0].values["close"])
    np.testing.assert_allclose(np.nanstd(wild, axis=0), 2 * np.nanstd(returns, axis=0), rtol=0.15)
    tied, _ = scenario.correlation_one(seen, risk)
    full = np.isfinite(returns).all(axis=1)
    tied_returns = scenario.log_returns(tied.values["close"])
    assert np.corrcoef(tied_returns[full & np.isfinite(tied_returns).all(axis=1)].T).min() > 0.97
    wider, dear = scenario.spread_widening(seen, risk)
    assert dear.execution.half_spread_bps == 10 * risk.execution.half_spread_bps
    np.testing.assert_array_equal(wider.values["close"], seen.values["close"])
    for shocked in (scenario.gap(seen, risk)[0], tied, scenario.volatility_doubling(seen, risk)[0]):
        good = np.isfinite(shocked.values["close"])
        np.testing.assert_array_equal(good, np.isfinite(seen.values["close"]))
        assert (shocked.values["high"][good] >= shocked.values["close"][good] * (1 - 1e-12)).all()
    with pytest.raises(DataError, match="at least two"):
        scenario.correlation_one(market(instruments=1).panel, risk)
    with pytest.raises(ConfigError, match="Did you mean 'gap'"):
        scenario.apply("gapp", seen, risk)


# Buy-and-hold, round trips, comparisons


def test_buy_and_hold_by_hand() -> None:
    """Two instruments, the second from the third bar on: half in each, the second's half waits in cash."""
    table = closes(6, 2, seed=1)
    table.loc[:1, "I1"] = np.nan
    panel = market_of(table, "x").panel
    free = Execution(fee_bps=0, half_spread_bps=0, slippage_bps=0)
    first, second = table["I0"].to_numpy(), table["I1"].to_numpy()
    wanted = 0.5 * first[-1] / first[1] + 0.5 * second[-1] / second[3]
    assert np.prod(1 + buy_and_hold(panel, 0, 6, free)) == pytest.approx(wanted)
    dear = Execution(fee_bps=10, half_spread_bps=20, slippage_bps=70)
    assert np.prod(1 + buy_and_hold(panel, 0, 6, dear)) == pytest.approx(0.99 * wanted)


def test_round_trips_by_hand() -> None:
    """Buy 10 at 100, sell 15 at 110 (10 close, 5 open short), buy 5 at 120, all with a fee of 3 a fill."""
    columns = (np.zeros(3, dtype=int), np.array([1, 3, 7]), np.array([10.0, -15, 5]), np.array([100.0, 110, 120]))
    found = round_trips(*columns, np.full(3, 3.0), np.array([130.0]), 9, np.full(10, 1000.0))
    np.testing.assert_allclose(found.profit, [(100 - 3 - 2) / 1000, (-50 - 1 - 3) / 1000])
    np.testing.assert_array_equal(found.bars, [2, 4])
    assert not found.open.any()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), fills=st.integers(1, 40))
def test_round_trips_add_up_to_the_profit_of_the_account(seed: int, fills: int) -> None:
    rng = np.random.default_rng(seed)
    who, bar = rng.integers(0, 3, fills), np.sort(rng.integers(0, 50, fills))
    quantity, price, fee = (
        rng.integers(1, 6, fills) * rng.choice([-1.0, 1.0], fills),
        rng.uniform(50, 150, fills),
        rng.random(fills),
    )
    last = rng.uniform(50, 150, 3)
    found = round_trips(who, bar, quantity, price, fee, last, 60, np.full(61, 1.0))
    total = -(quantity * price).sum() - fee.sum() + sum(quantity[who == name].sum() * last[name] for name in range(3))
    assert found.profit.sum() == pytest.approx(total, rel=1e-9, abs=1e-9)


def outcome_of(name: str, returns: Array) -> Outcome:
    seen = market_of(closes(len(returns), 1, 0), "x")
    blank = run(one(Flat(), name=name), seen, Terms())
    return replace(blank, returns=returns)


def test_comparisons_in_words() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, 1500)
    good, bad = outcome_of("good", noise + 0.001), outcome_of("bad", noise + rng.normal(-0.001, 0.004, 1500))
    found = compare(good, bad, 252)
    assert found.mean.p < 0.001
    assert found.low < found.mean.value < found.high
    assert found.verdict.startswith("good earned more than bad (p = 0.000)")
    assert "bad fell" in found.verdict
    back = compare(bad, good, 252)
    assert back.mean.value == pytest.approx(-found.mean.value)
    assert back.verdict.startswith("good earned more than bad")
    even = compare(outcome_of("a", noise), outcome_of("b", rng.normal(0, 0.01, 1500)), 252)
    assert "cannot be told apart" in even.verdict
    assert compare(good, good, 252).verdict == "good and good have the same returns."
    with pytest.raises(DataError, match="different bars"):
        compare(good, outcome_of("short", noise[:700]), 252)
    with pytest.raises(DataError, match="nothing to compare"):
        compare(good, replace(bad, error="it broke"), 252)


def test_studies_of_different_windows_are_refused() -> None:
    with pytest.raises(DataError, match="different bar times"):
        study([outcome_of("a", np.zeros(20)), outcome_of("b", np.zeros(30))], market(bars=60), Terms())


def test_long_files_need_no_order() -> None:
    table = long_bars(60, 3, seed=0)
    plain, mixed = (market_of(each, "x") for each in (table, table.sample(frac=1, random_state=0)))
    np.testing.assert_array_equal(plain.panel.values["close"], mixed.panel.values["close"])
    assert plain.fingerprint == mixed.fingerprint
