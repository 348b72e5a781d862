"""Scenarios, and what results stand beside: buy-and-hold, round trips, comparisons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from backtest_help import closes, long_bars, market, one
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.backtest import scenario
from qts.backtest.benchmark import buy_and_hold
from qts.backtest.compare import compare
from qts.backtest.experiment import Outcome, Terms, run
from qts.backtest.market import market_of
from qts.backtest.study import study
from qts.backtest.trades import round_trips
from qts.errors import ConfigError, DataError
from qts.execution.costs import Execution
from qts.risk.limits import RiskLimits
from qts.strategy.base import Array
from qts.strategy.controls import Flat


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
