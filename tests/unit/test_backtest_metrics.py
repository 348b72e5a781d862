"""Figures against a second source: quantstats where it has them, formulas by hand where not."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.backtest import metrics
from qts.backtest.trades import Trades

RNG = np.random.default_rng(11)
RETURNS = RNG.standard_t(4, 700) * 0.01 + 0.0004
BENCHMARK = 0.6 * RETURNS + RNG.normal(0.0002, 0.006, 700)
DATES = pd.bdate_range("2015-01-01", periods=700)


@pytest.fixture(scope="module")
def quantstats() -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of pandas and seaborn
        import quantstats.stats as qs

        series, benchmark = pd.Series(RETURNS, DATES), pd.Series(BENCHMARK, DATES)
        greeks = qs.greeks(series, benchmark, periods=252)
        drawdowns = qs.drawdown_details(qs.to_drawdown_series(series))
        return {
            "total_return": qs.comp(series),
            "volatility": qs.volatility(series, periods=252),
            "sharpe": qs.sharpe(series, periods=252),
            "sortino": qs.sortino(series, periods=252),
            "omega": qs.omega(series, periods=252),
            "max_drawdown": qs.max_drawdown(series),
            "max_drawdown_days": drawdowns["days"].max(),
            "tail_ratio": qs.tail_ratio(series),
            "kelly": qs.kelly_criterion(series),
            "win_rate_bars": qs.win_rate(series),
            "beta": greeks["beta"],
            "alpha": greeks["alpha"],
            "information_ratio": qs.information_ratio(series, benchmark) * 252**0.5,
        }


@pytest.mark.parametrize(
    "name",
    [
        "total_return",
        "volatility",
        "sharpe",
        "sortino",
        "omega",
        "max_drawdown",
        "tail_ratio",
        "kelly",
        "win_rate_bars",
    ],
)
def test_figures_of_returns_are_those_of_quantstats(quantstats: dict[str, float], name: str) -> None:
    assert metrics.of_returns(RETURNS, 252)[name] == pytest.approx(quantstats[name], rel=1e-9)


@pytest.mark.parametrize("name", ["alpha", "beta", "information_ratio"])
def test_figures_against_a_benchmark_are_those_of_quantstats(quantstats: dict[str, float], name: str) -> None:
    assert metrics.against(RETURNS, BENCHMARK, 252)[name] == pytest.approx(quantstats[name], rel=1e-9)


def test_the_rest_by_hand() -> None:
    found = metrics.of_returns(RETURNS, 252)
    years = 700 / 252
    assert found["annual_return"] == pytest.approx(np.prod(1 + RETURNS) ** (1 / years) - 1)
    assert found["calmar"] == pytest.approx(found["annual_return"] / -found["max_drawdown"])
    fifth = np.quantile(RETURNS, 0.05)
    assert found["var_95"] == pytest.approx(fifth)
    assert found["cvar_95"] == pytest.approx(RETURNS[fifth >= RETURNS].mean())
    against = metrics.against(RETURNS, BENCHMARK, 252)
    slope, intercept = np.polyfit(BENCHMARK, RETURNS, 1)
    assert against["beta"] == pytest.approx(slope)
    assert against["alpha"] == pytest.approx(252 * intercept)
    assert against["treynor"] == pytest.approx(252 * RETURNS.mean() / slope)
    assert against["tracking_error"] == pytest.approx((RETURNS - BENCHMARK).std(ddof=1) * 252**0.5)
    assert against["correlation"] == pytest.approx(np.corrcoef(RETURNS, BENCHMARK)[0, 1])


def test_skew_and_kurtosis_are_those_of_scipy() -> None:
    from scipy.stats import kurtosis, skew

    found, count = metrics.of_returns(RETURNS, 252), len(RETURNS)
    shrink = ((count - 1) / count) ** 0.5  # scipy divides by T, the figures by the sd with T - 1
    assert found["skew"] == pytest.approx(skew(RETURNS) * shrink**3)
    assert found["kurtosis"] == pytest.approx(kurtosis(RETURNS, fisher=False) * shrink**4)


def test_drawdowns_by_hand() -> None:
    depth, longest = metrics.drawdowns(np.array([1.1, 0.88, 0.99, 1.2, 1.1, 1.15]))
    assert depth == pytest.approx(-0.2)
    assert longest == 2
    assert metrics.drawdowns(np.array([0.9, 0.95])) == (pytest.approx(-0.1), 2)  # the start counts as a high
    assert metrics.drawdowns(np.array([1.0, 1.1])) == (0.0, 0)
    assert metrics.drawdowns(np.empty(0)) == (0.0, 0)


def test_figures_of_trades_by_hand() -> None:
    trades = Trades(np.array([0.02, -0.01, 0.03, -0.02]), np.array([2, 4, 6, 8]), np.zeros(4, dtype=bool))
    found = metrics.of_trades(trades)
    assert found["trades"] == 4
    assert found["win_rate"] == 0.5
    assert found["profit_factor"] == pytest.approx(5 / 3)
    assert found["expectancy"] == pytest.approx(0.005)
    assert found["sqn"] == pytest.approx(2 * 0.005 / trades.profit.std(ddof=1))
    assert found["bars_held"] == 5
    none = metrics.of_trades(Trades.none())
    assert none["trades"] == 0
    assert math.isnan(none["win_rate"])


def test_capacity_turnover_and_exposure_by_hand() -> None:
    share = np.concatenate([np.full(95, 0.001), np.full(5, 0.05), [np.nan]])
    found = metrics.of_trading(np.array([0.0, 1.0, 0.5, 1.0]), np.array([0.0, 1.0, 0.5, 0.0]), share, 1e6, 0.1, 252)
    assert found["exposure"] == 0.625
    assert found["time_in_market"] == 0.75
    assert found["turnover"] == pytest.approx(0.375 * 252)
    assert found["capacity"] == pytest.approx(1e6 * 0.1 / np.quantile(share[:-1], 0.95))
    assert math.isnan(metrics.of_trading(np.ones(2), np.ones(2), np.array([np.nan]), 1e6, 0.1, 252)["capacity"])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    bars=st.integers(1, 60),
    scale=st.floats(1e-6, 0.2),
    periods=st.sampled_from([1, 252, 35000]),
)
def test_figures_keep_their_bounds(seed: int, bars: int, scale: float, periods: float) -> None:
    returns = np.clip(np.random.default_rng(seed).normal(0, scale, bars), -0.99, 5)
    found = metrics.of_returns(returns, periods)
    assert -1 <= found["max_drawdown"] <= 0
    assert 0 <= found["max_drawdown_bars"] <= bars
    assert found["cvar_95"] <= found["var_95"] + 1e-15
    assert math.isnan(found["win_rate_bars"]) or 0 <= found["win_rate_bars"] <= 1
    # Twice the returns: the same ratio, twice the volatility.
    double = metrics.of_returns(2 * returns, periods)
    if bars > 2:
        assert double["sharpe"] == pytest.approx(found["sharpe"], rel=1e-6)
        assert double["volatility"] == pytest.approx(2 * found["volatility"])


def test_the_same_path_in_bars_of_any_length_has_about_the_same_figures() -> None:
    """Known faults elsewhere: a Sharpe ratio 30 times too high on daily bars, and wrong on those of 15 minutes."""
    minutes = np.random.default_rng(3).normal(2e-6, 1e-3, 26 * 252 * 4)
    days = np.exp(np.log1p(minutes).reshape(-1, 26).sum(axis=1)) - 1
    fine, coarse = metrics.of_returns(minutes, 26 * 252), metrics.of_returns(days, 252)
    for name in ("annual_return", "volatility", "total_return"):
        assert fine[name] == pytest.approx(coarse[name], rel=0.05), name
    assert fine["sharpe"] == pytest.approx(coarse["sharpe"], abs=0.1)
