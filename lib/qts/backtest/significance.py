"""Is a mean return, a Sharpe ratio, or the difference of two, more than luck?

Sharpe ratios here are per bar, not per year. Returns of shape (T,).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from qts.errors import DataError
from qts.market.bar import Array

_EULER = 0.5772156649015329
#: Entries of the resamples that are worked on at once.
_ENTRIES = 500_000


@dataclass(frozen=True)
class Test:
    """A statistic, its standard error, and the probability of one as large if there were nothing.

    Attributes:
        value: what is estimated.
        error: its standard error.
        t: value / error; NaN where nothing varies.
        p: one-sided against "not above 0" for `mean_test`, two-sided for differences of Sharpe ratios.
    """

    value: float
    error: float
    t: float
    p: float


def long_run_covariance(values: Array, lags: int | None = None) -> Array:
    """Covariance of sqrt(T) * mean, robust to heteroskedasticity and autocorrelation (HAC), shape (K, K).

    Source: Newey and West (Econometrica, 1987), Bartlett weights; lags floor(4 * (T / 100)^(2/9)) unless given.

    Args:
        values: shape (T, K).
    """
    count = len(values)
    lags = math.floor(4 * (count / 100) ** (2 / 9)) if lags is None else lags
    centred = values - values.mean(axis=0)
    total: Array = centred.T @ centred / count
    for lag in range(1, min(lags, count - 1) + 1):
        cross = centred[lag:].T @ centred[:-lag] / count
        total = total + (1 - lag / (lags + 1)) * (cross + cross.T)
    return total


def mean_test(returns: Array) -> Test:
    """t-test of the mean, HAC; p is one-sided: how likely is a mean as high if the true one is not above 0."""
    if len(returns) < 3 or float(np.ptp(returns)) == 0.0:
        return Test(float(returns.mean()) if len(returns) else math.nan, math.nan, math.nan, math.nan)
    mean = float(returns.mean())
    count = len(returns)
    # T / (T - 1): the sample's own mean is what deviations are taken from.
    error = math.sqrt(float(long_run_covariance(returns[:, None])[0, 0]) / (count - 1))
    return Test(mean, error, mean / error, float(ndtr(-mean / error)))


def sharpe(returns: Array) -> float:
    """Mean over standard deviation, per bar; NaN where nothing varies."""
    sd = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return float(returns.mean()) / sd if sd > 1e-15 else math.nan


def sharpe_error(returns: Array) -> float:
    """Standard error of the Sharpe ratio of independent, normal returns: sqrt((1 + SR^2 / 2) / T).

    Source: Lo, The statistics of Sharpe ratios (Financial Analysts Journal, 2002), equation 9.
    """
    ratio = sharpe(returns)
    return math.sqrt((1 + ratio**2 / 2) / len(returns)) if len(returns) else math.nan


def sharpe_error_hac(returns: Array) -> float:
    """The same for returns of any shape that may depend on one another: delta method on both moments.

    Source: Lo (2002), equation A.5.
    """
    mean, variance = float(returns.mean()), float(returns.var())
    moments = np.column_stack([returns, (returns - mean) ** 2])
    slope = np.array([variance**-0.5, -mean / (2 * variance**1.5)]) if variance > 0 else np.full(2, math.nan)
    return math.sqrt(max(float(slope @ long_run_covariance(moments) @ slope), 0.0) / len(returns))


def jobson_korkie(first: Array, second: Array) -> Test:
    """Difference of two Sharpe ratios, for independent draws of two normal, correlated returns.

        variance = (2 - 2 rho + (SR1^2 + SR2^2 - 2 SR1 SR2 rho^2) / 2) / T

    Source: Jobson and Korkie (Journal of Finance, 1981) as corrected by Memmel (Finance Letters, 2003).
    """
    one, two = sharpe(first), sharpe(second)
    rho = float(np.corrcoef(first, second)[0, 1]) if math.isfinite(one - two) else math.nan
    variance = (2 - 2 * rho + (one**2 + two**2 - 2 * one * two * rho**2) / 2) / len(first)
    return _two_sided(one - two, variance)


def ledoit_wolf(first: Array, second: Array) -> Test:
    """Difference of two Sharpe ratios, for returns with fat tails and dependence in time.

    Source: Ledoit and Wolf, Robust performance hypothesis testing with the Sharpe ratio (Journal of Empirical Finance,
    2008), section 3.1: delta method on means and uncentred second moments with a HAC covariance.
    """
    moments = _moments(first, second)
    value, slope = _sharpe_difference(moments.mean(axis=0))
    if math.isnan(value):
        return Test(math.nan, math.nan, math.nan, math.nan)
    variance = float(slope @ long_run_covariance(moments) @ slope) / (len(first) - 4)
    return _two_sided(float(value), variance)


def ledoit_wolf_bootstrap(
    first: Array, second: Array, block: int | None = None, resamples: int = 1999, seed: int = 0
) -> Test:
    """The same by the studentised circular block bootstrap, which is what the paper recommends.

        p = (1 + number of |D* - D| / s(D*) that are at least |D| / s(D)) / (1 + resamples)

    s(D) is the HAC error of `ledoit_wolf`; s(D*) that of independent blocks (Goetze and Kuensch, 1996), so a resample
    has as many observations as whole blocks fit into history.

    Source: Ledoit and Wolf (2008), section 3.2.2 and remark 3.2. The block length, which they calibrate by simulation,
    is here that of Politis and White (2004, corrected by Patton, Politis and White, 2009) for the statistic's
    influence, by arch, unless given.

    Args:
        first, second: shape (T,) each.
        block: bars in a block.
        resamples: how many; p is no finer than 1 / (resamples + 1).
        seed: of the resamples.

    Raises:
        DataError: a block that does not fit into history at least four times.
    """
    plain, count = ledoit_wolf(first, second), len(first)
    if not math.isfinite(plain.t):
        return plain
    moments = _moments(first, second)
    if block is None:
        mean = moments.mean(axis=0)
        block = _block_length((moments - mean) @ _sharpe_difference(mean)[1])
    if not 1 <= block <= count // 4:
        raise DataError(f"A block of {block} bars does not fit 4 times into {count} bars; give 1 to {count // 4}.")
    # Sums of every block of the circle; a resample is some of these rows.
    around = np.concatenate([np.zeros((1, 4)), np.cumsum(np.concatenate([moments, moments[: block - 1]]), axis=0)])
    sums = around[block:] - around[:-block]
    blocks, rng, larger = count // block, np.random.default_rng(seed), 0
    bars = blocks * block
    step = max(1, _ENTRIES // blocks)
    for start in range(0, resamples, step):
        drawn = sums[rng.integers(0, count, (min(step, resamples - start), blocks))]
        mean = drawn.sum(axis=1) / bars
        value, slope = _sharpe_difference(mean)
        influence = np.einsum("rbk,rk->rb", drawn - block * mean[:, None], slope)
        error = np.sqrt((influence**2).sum(axis=1)) / bars
        # A resample that does not vary tells nothing against chance.
        larger += int((~(np.abs(value - plain.value) < abs(plain.t) * error)).sum())
    return Test(plain.value, plain.error, plain.t, (larger + 1) / (resamples + 1))


def _moments(first: Array, second: Array) -> Array:
    """Both returns and their squares, shape (T, 4)."""
    return np.column_stack([first, second, first**2, second**2])


def _sharpe_difference(mean: Array) -> tuple[Array, Array]:
    """Difference of the Sharpe ratios and its slope in the means of `_moments`, shapes (...) and (..., 4).

    NaN where one of the two does not vary.
    """
    mu1, mu2, square1, square2 = np.moveaxis(mean, -1, 0)
    var1, var2 = square1 - mu1**2, square2 - mu2**2
    moves = np.minimum(var1, var2) > 1e-30
    var1, var2 = np.where(moves, var1, np.nan), np.where(moves, var2, np.nan)
    slope = [square1 / var1**1.5, -square2 / var2**1.5, -mu1 / (2 * var1**1.5), mu2 / (2 * var2**1.5)]
    return mu1 / var1**0.5 - mu2 / var2**0.5, np.stack(slope, axis=-1)


def _block_length(influence: Array) -> int:
    """Bars in a block of the circular bootstrap of a mean, from 1 to a quarter of history."""
    from arch.bootstrap import optimal_block_length

    chosen = float(optimal_block_length(influence)["circular"].iloc[0])
    return min(max(1, round(chosen)), len(influence) // 4)


def _two_sided(value: float, variance: float) -> Test:
    if not variance > 1e-30:
        return Test(value, math.nan, math.nan, math.nan)
    error = math.sqrt(variance)
    return Test(value, error, value / error, float(2 * ndtr(-abs(value / error))))


def probabilistic_sharpe(returns: Array, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio is above a benchmark, given skew and kurtosis.

        PSR = Phi((SR - benchmark) * sqrt(T - 1) / sqrt(1 - skew * SR + (kurtosis - 1) / 4 * SR^2))

    Source: Bailey and Lopez de Prado, The Sharpe ratio efficient frontier (Journal of Risk, 2012).
    """
    ratio = sharpe(returns)
    if not math.isfinite(ratio):
        return math.nan
    score = (returns - returns.mean()) / returns.std()
    skew, kurtosis = float(np.mean(score**3)), float(np.mean(score**4))
    spread = 1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2
    return float(ndtr((ratio - benchmark) * math.sqrt(len(returns) - 1) / math.sqrt(max(spread, 1e-12))))


def expected_best_sharpe(trials: int, variance: float) -> float:
    """The Sharpe ratio that the best of so many trials without skill can be expected to show.

        sqrt(V) * ((1 - g) * Phi^-1(1 - 1/N) + g * Phi^-1(1 - 1/(N e))),  g Euler's constant

    Source: Bailey and Lopez de Prado, The deflated Sharpe ratio (Journal of Portfolio Management, 2014).

    Args:
        trials: N, how many were tried.
        variance: of their Sharpe ratios, per bar.
    """
    if trials < 2 or not variance > 0:
        return 0.0
    high = (1 - _EULER) * ndtri(1 - 1 / trials) + _EULER * ndtri(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * float(high)


def deflated_sharpe(returns: Array, trials: int, variance: float) -> float:
    """Probability that the true Sharpe ratio is above what luck alone shows after so many trials."""
    return probabilistic_sharpe(returns, expected_best_sharpe(trials, variance))


def overfitting_probability(returns: Array, blocks: int = 16) -> float:
    """Probability that the variant that is best in one half of history is below the median in the other half (PBO).

    History is cut into `blocks` stretches; each choice of half of them is a training set, the rest its test.

    Source: Bailey, Borwein, Lopez de Prado and Zhu, The probability of backtest overfitting (Journal of Computational
    Finance, 2017): combinatorially symmetric cross-validation, by Sharpe ratio.

    Args:
        returns: shape (T, N), N variants.
        blocks: an even number.

    Raises:
        DataError: fewer than two variants, an odd number of blocks, or fewer than two bars a block.
    """
    count, variants = returns.shape
    if variants < 2 or blocks % 2 or count < 2 * blocks:
        raise DataError(
            f"PBO needs 2 variants, an even number of blocks and 2 bars a block; got {variants} variants, "
            f"{blocks} blocks and {count} bars."
        )
    edges = np.linspace(0, count, blocks + 1).astype(int)
    pieces = [returns[a:b] for a, b in itertools.pairwise(edges)]
    lengths = np.array([len(piece) for piece in pieces], dtype=float)
    sums, squares = (np.array([(piece**power).sum(axis=0) for piece in pieces]) for power in (1, 2))
    chosen = np.zeros((math.comb(blocks, blocks // 2), blocks))
    for row, combination in enumerate(itertools.combinations(range(blocks), blocks // 2)):
        chosen[row, combination] = 1.0

    def ratios(used: Array) -> Array:
        rows = (used @ lengths)[:, None]
        mean = used @ sums / rows
        variance = np.maximum(used @ squares / rows - mean**2, 0.0)
        return np.asarray(np.where(variance > 1e-30, mean / np.sqrt(np.maximum(variance, 1e-30)), 0.0))

    inside, outside = ratios(chosen), ratios(1.0 - chosen)
    best = np.take_along_axis(outside, inside.argmax(axis=1)[:, None], axis=1)
    # Ties count half, so that variants that are all the same give one half.
    rank = ((outside < best).sum(axis=1) + 0.5 * ((outside == best).sum(axis=1) - 1) + 1) / (variants + 1)
    return float(np.mean((rank < 0.5) + 0.5 * (rank == 0.5)))


def variance_of_sharpes(ratios: Sequence[float]) -> float:
    """Variance over trials of their Sharpe ratios, per bar; 0 for fewer than two."""
    known = np.array([ratio for ratio in ratios if math.isfinite(ratio)])
    return float(known.var(ddof=1)) if len(known) > 1 else 0.0
