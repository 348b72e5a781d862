"""Backtests are the decision step: equal paths, no look-ahead, costs, strategies that are wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from backtest_help import closes, market, one
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.backtest.experiment import Experiment, Terms, part, run
from qts.backtest.market import market_of
from qts.backtest.runner import in_process, longest_first, processes
from qts.backtest.study import study, verdict
from qts.backtest.sweep import returns_of, sweep
from qts.bandit.linucb import LinUcb
from qts.errors import ConfigError
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


def test_what_takes_longest_begins_first() -> None:
    alone, many = one(Flat()), Experiment("many", {str(n): Flat() for n in range(24)})
    part_ = replace(many, stop=30)
    assert longest_first([alone, part_, many, alone], 100) == [2, 0, 3, 1]
    assert longest_first([], 100) == []


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
