"""A study: many experiments on one history, each with its figures and its chances of being luck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qts.backtest import metrics, significance
from qts.backtest.benchmark import buy_and_hold
from qts.backtest.experiment import Outcome, Terms
from qts.backtest.many import Contest, confidence_set, contest
from qts.backtest.market import Market
from qts.errors import DataError
from qts.market.bar import Array, IntArray

#: What the best of all is compared with.
BENCHMARKS = ("buy_and_hold", "flat")


@dataclass(frozen=True)
class Evidence:
    """What one experiment shows.

    Attributes:
        metrics: figures by name, see `qts.backtest.metrics`.
        t, p: of the mean return, HAC; p one-sided.
        sharpe_error: of the annual Sharpe ratio (Lo, HAC).
        psr: probability that the true Sharpe ratio is above 0.
        deflated_sharpe: probability that it is above what the best of all trials shows by luck.
        excess_t, excess_p: of the mean return over buy-and-hold, HAC, one-sided.
        sharpe_difference_p: two-sided p of the Sharpe ratio being that of buy-and-hold (Ledoit and Wolf).
    """

    metrics: metrics.Metrics
    t: float
    p: float
    sharpe_error: float
    psr: float
    deflated_sharpe: float
    excess_t: float
    excess_p: float
    sharpe_difference_p: float


@dataclass(frozen=True)
class Study:
    """All experiments of a study over the same bar times.

    Attributes:
        outcomes: in the order that they were asked for, failed ones too.
        evidence: one an outcome; None for a failed one.
        times: that were measured, shape (T,).
        benchmark: returns of buy-and-hold at equal weight, shape (T,).
        benchmark_metrics: its figures.
        trials: how many trials the deflated Sharpe ratios allow for.
        contests: by name of the benchmark.
        best_set: the model confidence set.
        pbo: probability of backtest overfitting; NaN for fewer than two strategies or too short a history.
        periods_per_year: bars a year.
        notes: what a reader has to know.
    """

    outcomes: tuple[Outcome, ...]
    evidence: tuple[Evidence | None, ...]
    times: IntArray
    benchmark: Array
    benchmark_metrics: metrics.Metrics
    trials: int
    contests: dict[str, Contest]
    best_set: tuple[str, ...]
    pbo: float
    periods_per_year: float
    notes: tuple[str, ...]


def study(
    outcomes: Sequence[Outcome],
    market: Market,
    terms: Terms,
    trials: int | None = None,
    sharpes: Sequence[float] = (),
    seed: int = 0,
) -> Study:
    """Judges outcomes that were measured over the same bar times.

    Args:
        trials: ever made on these instruments, these included; by default these.
        sharpes: Sharpe ratios per bar of the earlier ones, for the variance over trials.
        seed: of the bootstraps.

    Raises:
        DataError: the outcomes were measured over different bar times.
    """
    good = [outcome for outcome in outcomes if not outcome.error]
    times = good[0].times if good else np.empty(0, dtype=np.int64)
    if any(not np.array_equal(outcome.times, times) for outcome in good):
        raise DataError("The experiments were measured over different bar times; a study compares those of one window.")
    first = int(np.searchsorted(market.panel.times, times[0])) if good else 0
    benchmark = buy_and_hold(market.panel, first, first + len(times), terms.risk.execution)
    periods = market.periods_per_year
    returns = {outcome.identity: outcome.returns for outcome in good}
    made = max(trials or 0, sum(outcome.trials for outcome in outcomes))
    spread = significance.variance_of_sharpes([*(significance.sharpe(each) for each in returns.values()), *sharpes])
    evidence = tuple(
        None if outcome.error else _evidence(outcome, benchmark, periods, terms, made, spread) for outcome in outcomes
    )
    rivals = {"buy_and_hold": benchmark, "flat": np.zeros(len(times))}
    long_enough = len(times) > 10 and bool(good)
    contests = {
        name: contest(returns, rivals[name], seed=seed) if long_enough else Contest(math.nan, (), 0.05)
        for name in BENCHMARKS
    }
    moving = [each for each in returns.values() if np.ptp(each) > 0]
    pbo = math.nan
    if len(moving) > 1 and len(times) >= 64:
        pbo = significance.overfitting_probability(np.column_stack(moving))
    return Study(
        tuple(outcomes),
        evidence,
        times,
        benchmark,
        metrics.of_returns(benchmark, periods),
        made,
        contests,
        confidence_set(returns, seed=seed) if long_enough else (),
        pbo,
        periods,
        market.notes,
    )


def _evidence(outcome: Outcome, benchmark: Array, periods: float, terms: Terms, trials: int, spread: float) -> Evidence:
    returns = outcome.returns
    alone = significance.mean_test(returns)
    over = significance.mean_test(returns - benchmark)
    difference = significance.ledoit_wolf(returns, benchmark) if len(returns) > 8 else None
    figures = (
        metrics.of_returns(returns, periods)
        | metrics.of_trades(outcome.trades)
        | {"fills": float(outcome.fills), "orders": float(outcome.orders)}
        | metrics.of_trading(
            outcome.gross, outcome.turnover, outcome.fill_share, terms.cash, terms.risk.execution.participation, periods
        )
        | metrics.against(returns, benchmark, periods)
    )
    return Evidence(
        figures,
        alone.t,
        alone.p,
        significance.sharpe_error_hac(returns) * periods**0.5 if len(returns) > 2 else math.nan,
        significance.probabilistic_sharpe(returns),
        significance.deflated_sharpe(returns, trials, spread),
        over.t,
        over.p,
        difference.p if difference else math.nan,
    )


def verdict(study: Study) -> str:
    """What the study says, in a sentence or two that claim no more than was tested."""
    if not any(study.evidence):
        return "No experiment finished: see their errors."
    versus = study.contests["buy_and_hold"]
    names = {outcome.identity: outcome.name for outcome in study.outcomes}
    if math.isnan(versus.spa_p):
        return "History is too short for a test of many strategies."
    tested = f"(SPA p = {versus.spa_p:.3f}, {study.trials:,} trials)"
    if versus.better:
        shown = ", ".join(names[each] for each in versus.better[:5])
        return (
            f"With all {len(names)} considered, {shown} had a higher mean return than buy-and-hold of the same "
            f"instruments at the {versus.level:.0%} level {tested}. That is history, not a promise."
        )
    return (
        f"None of {len(names)} is better than buy-and-hold of the same instruments at the {versus.level:.0%} level "
        f"with all considered {tested}."
    )
