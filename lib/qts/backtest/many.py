"""Tests of many strategies at once, which the best of them must pass, not only the one that was looked at.

arch has SPA and StepM, too, and the tests compare; here both share one set of resampled means, from one product of
matrices, which is several times as fast and so lets their size and power be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qts.market.bar import Array

#: Entries of the resamples that are worked on at once.
_BLOCK = 2_000_000


@dataclass(frozen=True)
class Contest:
    """What many strategies show against one benchmark.

    Attributes:
        spa_p: probability of a best strategy as good if none beats the benchmark (Hansen's consistent p); 1 where no
            strategy differs from it.
        better: strategies that beat it with all of them considered at `level` (StepM), by name.
        level: of StepM.
    """

    spa_p: float
    better: tuple[str, ...]
    level: float


def contest(
    returns: Mapping[str, Array], benchmark: Array, level: float = 0.05, resamples: int = 1000, seed: int = 0
) -> Contest:
    """Hansen's test for superior predictive ability and Romano and Wolf's stepwise test, on mean returns.

        t_k = sqrt(T) * mean(d_k) / omega_k,   d_k = return of k - benchmark,   SPA = max(0, max t_k)

    omega_k is the bootstrap's own standard deviation. For SPA strategies that are clearly worse than the benchmark are
    not recentred (t_k below -sqrt(2 ln ln T)), so that bad ones do not hide a good one.

    Source: Hansen, A test for superior predictive ability (Journal of Business and Economic Statistics, 2005); Romano
    and Wolf, Stepwise multiple testing as formalized data snooping (Econometrica, 2005), studentised.

    Args:
        returns: by name, shape (T,) each, T at least 3.
        benchmark: returns of what is to be beaten, shape (T,).
    """
    rivals = {name: each - benchmark for name, each in returns.items()}
    rivals = {name: each for name, each in rivals.items() if float(np.std(each)) > 1e-15}
    if not rivals:
        return Contest(1.0, (), level)
    difference = np.column_stack(list(rivals.values()))
    bars, mean = len(difference), difference.mean(axis=0)
    moved = (resampled_means(difference, resamples, seed) - mean) * bars**0.5
    scale = np.maximum(moved.std(axis=0), 1e-300)
    t, draws = bars**0.5 * mean / scale, moved / scale
    worse = t < -np.sqrt(2 * np.log(np.log(bars)))
    # What is not recentred keeps its bad mean: draws around t instead of around 0.
    best = np.maximum((draws + np.where(worse, t, 0.0)).max(axis=1), 0.0)
    spa_p = float((best >= max(0.0, float(t.max()))).mean())
    better = _stepwise(t, draws, level)
    return Contest(spa_p, tuple(name for name, found in zip(rivals, better, strict=True) if found), level)


def _stepwise(t: Array, draws: Array, level: float) -> list[bool]:
    """Which strategies are better: those above the critical value of the best, then of the best of the rest, ..."""
    found = np.zeros(len(t), dtype=bool)
    while not found.all():
        critical = np.quantile(draws[:, ~found].max(axis=1), 1 - level)
        new = (t > critical) & ~found
        if not new.any():
            break
        found |= new
    return [bool(each) for each in found]


def resampled_means(values: Array, resamples: int, seed: int) -> Array:
    """Means of the stationary bootstrap with blocks of T^(1/3) bars on average, shape (R, K).

    Source: Politis and Romano, The stationary bootstrap (Journal of the American Statistical Association, 1994).

    Args:
        values: shape (T, K).
    """
    bars = len(values)
    rng = np.random.default_rng(seed)
    out = np.empty((resamples, values.shape[1]))
    step = max(1, _BLOCK // bars)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        begins = rng.random((rows, bars)) < 1.0 / block_of(bars)
        begins[:, 0] = True
        since = np.maximum.accumulate(np.where(begins, np.arange(bars), 0), axis=1)
        drawn = np.take_along_axis(rng.integers(0, bars, (rows, bars)), since, axis=1)
        index = (drawn + np.arange(bars) - since) % bars
        index += np.arange(rows)[:, None] * bars
        counts = np.bincount(index.ravel(), minlength=rows * bars).reshape(rows, bars)
        out[start : start + rows] = counts @ values / bars
    return out


def confidence_set(
    returns: Mapping[str, Array], level: float = 0.1, resamples: int = 500, seed: int = 0
) -> tuple[str, ...]:
    """Names of the strategies among which the best is with probability 1 - level (model confidence set).

    Source: Hansen, Lunde and Nason (Econometrica, 2011), statistic T_max, by arch.
    """
    from arch.bootstrap import MCS

    twin: dict[str, str] = {}
    for name, each in returns.items():
        # Two of the same have a difference without variance: the first one stands for both.
        same = (first for first in twin.values() if float(np.std(each - returns[first])) <= 1e-15)
        twin[name] = next(same, name)
    names = list(dict.fromkeys(twin.values()))
    if len(names) < 2:
        return tuple(returns)
    losses = -np.column_stack([returns[name] for name in names])
    test = MCS(losses, size=level, reps=resamples, block_size=block_of(len(losses)), method="max", seed=seed)
    test.compute()
    included = {names[place] for place in _places(test.included)}
    return tuple(name for name in returns if twin[name] in included)


def _places(included: Iterable[Any]) -> list[int]:
    return [int(place) for place in included]


def block_of(bars: int) -> int:
    """Mean block length of the bootstrap: T^(1/3)."""
    return max(1, round(float(bars ** (1 / 3))))
