"""A or B: two experiments over the same bars, paired bar by bar."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from qts.backtest.experiment import Outcome
from qts.backtest.many import resampled_means
from qts.backtest.metrics import drawdowns
from qts.backtest.significance import Test, jobson_korkie, ledoit_wolf, ledoit_wolf_bootstrap, mean_test
from qts.errors import DataError

_LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """What sets A apart from B.

    Attributes:
        first, second: names of A and B.
        mean: difference of mean returns a year, HAC, p two-sided.
        low, high: 95% interval of that difference (stationary bootstrap).
        sharpe: difference of Sharpe ratios a year, Ledoit and Wolf with a HAC error, p two-sided.
        sharpe_bootstrap_p: the same by their studentised circular block bootstrap, which the verdict goes by.
        sharpe_normal_p: the same by Jobson, Korkie and Memmel, for normal returns without memory.
        effect: mean difference in standard deviations of the differences, a year (Cohen's d of pairs, which is the
            information ratio of A over B).
        correlation: of the returns.
        total_returns, max_drawdowns: of A and of B.
        verdict: all of it in words.
    """

    first: str
    second: str
    mean: Test
    low: float
    high: float
    sharpe: Test
    sharpe_bootstrap_p: float
    sharpe_normal_p: float
    effect: float
    correlation: float
    total_returns: tuple[float, float]
    max_drawdowns: tuple[float, float]
    verdict: str


def compare(first: Outcome, second: Outcome, periods: float, resamples: int = 2000, seed: int = 0) -> Comparison:
    """Compares two outcomes.

    Args:
        periods: bars a year.
        resamples, seed: of the bootstrap.

    Raises:
        DataError: one of them failed, or they were measured over different bar times, or over fewer than 10.
    """
    for each in (first, second):
        if each.error:
            raise DataError(f"{each.name} failed ({each.error}), so there is nothing to compare.")
    if not np.array_equal(first.times, second.times):
        raise DataError(f"{first.name} and {second.name} were measured over different bars; compare within one window.")
    if len(first.times) < 10:
        raise DataError(f"{len(first.times)} bars are too few for a comparison; 10 are needed.")
    difference = first.returns - second.returns
    paired = mean_test(difference)
    two_sided = float(2 * ndtr(-abs(paired.t))) if math.isfinite(paired.t) else math.nan
    mean = Test(paired.value * periods, paired.error * periods, paired.t, two_sided)
    low, high = np.quantile(resampled_means(difference[:, None], resamples, seed)[:, 0], [0.025, 0.975]) * periods
    robust = ledoit_wolf(first.returns, second.returns)
    bootstrapped = ledoit_wolf_bootstrap(first.returns, second.returns, resamples=resamples - 1, seed=seed).p
    yearly = periods**0.5
    sharpe = Test(robust.value * yearly, robust.error * yearly, robust.t, robust.p)
    spread, moves = float(difference.std(ddof=1)), first.returns.std() * second.returns.std()
    falls = tuple(drawdowns(each.equity)[0] for each in (first, second))
    totals = tuple(float(each.equity[-1] - 1.0) for each in (first, second))
    return Comparison(
        first.name,
        second.name,
        mean,
        float(low),
        float(high),
        sharpe,
        bootstrapped,
        jobson_korkie(first.returns, second.returns).p,
        paired.value / spread * yearly if spread > 0 else 0.0,
        float(np.corrcoef(first.returns, second.returns)[0, 1]) if moves > 0 else math.nan,
        (totals[0], totals[1]),
        (falls[0], falls[1]),
        _verdict(
            first.name,
            second.name,
            mean,
            replace(sharpe, p=bootstrapped),
            (float(low), float(high)),
            falls[0] - falls[1],
        ),
    )


def _verdict(first: str, second: str, mean: Test, sharpe: Test, interval: tuple[float, float], fall: float) -> str:
    if math.isnan(mean.t):
        return f"{first} and {second} have the same returns."
    ahead, behind = (first, second) if mean.value > 0 else (second, first)
    span = f"{mean.value:+.1%} a year for {first} over {second}, 95% interval {interval[0]:+.1%} to {interval[1]:+.1%}"
    if mean.p < _LEVEL:
        said = f"{ahead} earned more than {behind} (p = {mean.p:.3f}): {span}."
    else:
        said = f"Returns of {first} and {second} cannot be told apart (p = {mean.p:.2f}): {span}."
    if math.isfinite(sharpe.p) and sharpe.p < _LEVEL:
        better = first if sharpe.value > 0 else second
        said += (
            f" Per unit of risk {better} did better (Sharpe difference {abs(sharpe.value):.2f}, p = {sharpe.p:.3f})."
        )
    else:
        said += " Nor do their Sharpe ratios differ beyond luck."
    if abs(fall) >= 0.01:
        said += f" {second if fall > 0 else first} fell {abs(fall):.1%} deeper."
    return said
