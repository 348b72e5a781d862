"""Off-policy evaluation: what a policy would have earned, from the log of another one.

Every estimate comes with a confidence interval from a bootstrap of whole stretches of time, for rewards that lie close
in time are not independent, and intervals that take them for it are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from qts.bandit.ope_model import credibility_means
from qts.errors import DataError
from qts.market.bar import Array, IntArray

#: Least probability with which the logging policy may have chosen an action that the evaluated one takes.
FLOOR = 0.01
ESTIMATORS = ("ips", "snips", "dm", "dr", "switch_dr")

#: Said of policies that carry a state from round to round, positions whose turnover costs above all.
NEEDS_REPLAY = (
    "A policy with state (positions that carry costs over, or learning as it goes) is evaluated by replay, not by IPS: "
    "its choice changes what the next choices are worth, which the weights of a log do not know. "
    "Run `qts backtest --policy NAME`"
)

_FOLDS = 5
_SWITCH_GRID = 20
_LEVEL = (0.025, 0.975)


@dataclass(frozen=True)
class Log:
    """Rounds that another policy has played, `n` rows in time order.

    Attributes:
        cell: which (action, position) pair was played, an index of the evaluated policy's table, shape (n,).
        stratum: which position the round belongs to, shape (n,); all 0 where there are none.
        reward: what it brought, shape (n,).
        propensity: probability with which the logging policy played it, shape (n,).
        block: stretch of time, 0, 1, ..., shape (n,); see `time_blocks`.
    """

    cell: IntArray
    stratum: IntArray
    reward: Array
    propensity: Array
    block: IntArray

    def __post_init__(self) -> None:
        if not len(self.reward):
            raise DataError("The log has no rows; expected one a round.")
        for name, good, expected in (
            ("reward", np.isfinite(self.reward), "finite numbers"),
            ("propensity", (self.propensity > 0) & (self.propensity <= 1), "probabilities above 0 and at most 1"),
        ):
            if not good.all():
                row = int(np.flatnonzero(~good)[0])
                raise DataError(
                    f"The log's {name} is {getattr(self, name)[row]} in row {row + 1} (of {int((~good).sum())} such); "
                    f"expected {expected}. Correct or remove these rows."
                )


@dataclass(frozen=True)
class Target:
    """The policy to evaluate: a fixed table of probabilities.

    Attributes:
        probability: of each cell, shape (C,).
        stratum: the position that each cell belongs to, shape (C,).
    """

    probability: Array
    stratum: IntArray


@dataclass(frozen=True)
class Estimate:
    """A mean reward per round with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """What the log says about the policy.

    Attributes:
        rows: rounds in the log.
        blocks: stretches of time that were resampled.
        effective_sample_size: Kish's (sum w)^2 / sum w^2: so many rounds of its own would tell as much.
        mean_weight: about 1 if the propensities are right and every action of the policy can be in the log.
        max_weight: the largest weight of one round.
        switch: the weight above which Switch-DR trusts its model.
        logged: mean reward of the logging policy.
        estimates: by the names of `ESTIMATORS`; None if not evaluable.
        reason: why not, else empty.
    """

    rows: int
    blocks: int
    effective_sample_size: float
    mean_weight: float
    max_weight: float
    switch: float
    logged: Estimate
    estimates: dict[str, Estimate] | None
    reason: str = ""


def time_blocks(time: IntArray | None, rows: int, blocks: int | None = None) -> IntArray:
    """Cuts rounds in time order into stretches of about equally many rows; equal times stay together, shape (n,).

    Args:
        time: non-decreasing, shape (n,); None where unknown, then rows are taken to be in order.
        rows: n.
        blocks: how many stretches; by default about n^0.4, so that both their number and, faster, their length grow.
    """
    wanted = min(rows, blocks or max(2, round(rows**0.4)))
    block = np.arange(rows, dtype=np.int64) * wanted // max(rows, 1)
    if time is None:
        return block
    first = np.searchsorted(time, time, side="left")
    return np.unique(block[first], return_inverse=True)[1].astype(np.int64)


def evaluate(log: Log, target: Target, floor: float = FLOOR, resamples: int = 2000, seed: int = 0) -> Evaluation:
    """All estimators at once.

        ips        mean of w * r,   w = target probability / propensity
        snips      sum of w * r / sum of w
        dm         mean over rounds of v,   v = sum over actions of target probability * q(action)
        dr         mean of v + w * (r - q)
        switch_dr  the same with w = 0 where w is above a threshold

    q is the credibility mean of rewards by cell; for DR it is fitted without the round's own fold of time. The
    threshold of Switch-DR is the one with the least estimated variance plus squared bound on the bias.

    Source: Horvitz and Thompson (1952); Swaminathan and Joachims (NeurIPS 2015) for SNIPS; Dudik, Langford and Li
    (ICML 2011) for DR; Wang, Agarwal and Dudik, Optimal and adaptive off-policy evaluation (ICML 2017) for Switch-DR
    and its threshold; Chernozhukov et al. (2018) for the folds.

    Args:
        floor: where the target policy would play a logged action whose propensity is below, the log cannot tell: the
            answer is "not evaluable" and no figure is given.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        DataError: the log has a single stretch of time, so no interval can be had.
    """
    blocks = int(log.block.max()) + 1
    if blocks < 2:
        raise DataError(
            "All rows of the log have one time; an interval needs at least two. Give another --time column."
        )
    weight = target.probability[log.cell] / log.propensity
    drawn = _resample(blocks, resamples, seed)
    by_block = _sums_by_block(log.block, blocks)
    counts = by_block(np.ones_like(weight))
    logged = _ratio(by_block(log.reward), counts, drawn)
    thin = (log.propensity < floor * (1 - 1e-9)) & (weight > 0)
    square = float((weight**2).sum())
    about = {
        "rows": len(weight),
        "blocks": blocks,
        "effective_sample_size": float(weight.sum() ** 2 / square) if square else 0.0,
        "mean_weight": float(weight.mean()),
        "max_weight": float(weight.max()),
        "logged": logged,
    }
    reason = _why_not(thin, log.propensity, weight, floor)
    if reason:
        return Evaluation(**about, switch=float("nan"), estimates=None, reason=reason)  # type: ignore[arg-type]

    value, predicted = _crossfit(log, target, blocks)
    residual = weight * (log.reward - predicted)
    switch = _threshold(weight, value, residual, float(np.abs(log.reward).max()))
    scores = {
        "ips": weight * log.reward,
        "dr": value + residual,
        "switch_dr": value + np.where(weight <= switch, residual, 0.0),
    }
    found = {name: _ratio(by_block(score), counts, drawn) for name, score in scores.items()}
    found["snips"] = _ratio(by_block(weight * log.reward), by_block(weight), drawn)
    found["dm"] = _direct(log, target, blocks, drawn)
    return Evaluation(**about, switch=switch, estimates={name: found[name] for name in ESTIMATORS})  # type: ignore[arg-type]


def _why_not(thin: np.ndarray, propensity: Array, weight: Array, floor: float) -> str:
    if not weight.any():
        return "not evaluable: the policy plays none of the logged actions, so the log says nothing about it."
    if not thin.any():
        return ""
    return (
        f"not evaluable: {int(thin.sum()):,} of {len(thin):,} rounds play an action of the policy with a propensity "
        f"below the floor of {floor:g} (the least is {propensity[thin].min():.3g}); their weights would decide the "
        "answer. Log with more exploration."
    )


def _resample(blocks: int, resamples: int, seed: int) -> Array:
    """How often each resample has drawn each block, shape (R, B)."""
    return np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples).astype(float)


def _sums_by_block(block: IntArray, blocks: int) -> Callable[[Array], Array]:
    return lambda values: np.bincount(block, weights=values, minlength=blocks).astype(np.float64)


def _ratio(numerator: Array, denominator: Array, drawn: Array) -> Estimate:
    """Sum over sum, with the interval of its resamples; both by block, shape (B,)."""
    below = drawn @ denominator
    samples = (drawn @ numerator)[below > 0] / below[below > 0]
    return _estimate(float(numerator.sum() / denominator.sum()), samples, len(numerator))


def _estimate(value: float, samples: Array, blocks: int) -> Estimate:
    """Percentiles, widened as Student's t and the lost degree of freedom ask for few blocks."""
    wider = stdtrit(blocks - 1, _LEVEL[1]) / ndtri(_LEVEL[1]) * np.sqrt(blocks / (blocks - 1))
    low, high = value + wider * (np.quantile(samples, _LEVEL) - value)
    return Estimate(value, float(low), float(high))


def _moments(log: Log, cells: int, group: IntArray, groups: int) -> tuple[Array, Array, Array]:
    """Sum, count and sum of squares of rewards by group of rows and cell, each of shape (groups, C)."""
    place = group * cells + log.cell
    size = groups * cells
    return tuple(  # type: ignore[return-value]
        np.bincount(place, weights=values, minlength=size).reshape(groups, cells)
        for values in (log.reward, np.ones_like(log.reward), log.reward**2)
    )


def _values(model: Array, target: Target, strata: int) -> Array:
    """Value of the target policy at each position under a model of shape (..., C): shape (..., strata)."""
    chosen = model * target.probability
    return np.stack([chosen[..., target.stratum == each].sum(axis=-1) for each in range(strata)], axis=-1)


def _crossfit(log: Log, target: Target, blocks: int) -> tuple[Array, Array]:
    """For each round the policy's value and the played action's reward, by a model that has not seen its fold."""
    folds = min(_FOLDS, blocks)
    fold = log.block * folds // blocks
    parts = _moments(log, len(target.probability), fold, folds)
    model = credibility_means(*(part.sum(axis=0) - part for part in parts))
    values = _values(model, target, int(target.stratum.max()) + 1)
    return values[fold, log.stratum], model[fold, log.cell]


def _direct(log: Log, target: Target, blocks: int, drawn: Array) -> Estimate:
    """The direct method, its model fitted anew in every resample, for that is where its error comes from."""
    cells, strata = len(target.probability), int(target.stratum.max()) + 1
    parts = _moments(log, cells, log.block, blocks)
    rounds = np.bincount(log.block * strata + log.stratum, minlength=blocks * strata).reshape(blocks, strata)

    def value(times: Array) -> Array:
        model = credibility_means(*(times @ part for part in parts))
        share = times @ rounds
        mean: Array = (_values(model, target, strata) * share).sum(axis=-1) / share.sum(axis=-1)
        return mean

    step = max(1, 4_000_000 // max(cells, 1))
    samples = np.concatenate([value(drawn[start : start + step]) for start in range(0, len(drawn), step)])
    return _estimate(float(value(np.ones((1, blocks)))[0]), samples, blocks)


def _threshold(weight: Array, value: Array, residual: Array, largest: float) -> float:
    """The weight above which the model is trusted: least variance plus squared bound on the bias (Wang et al.)."""
    candidates = np.unique(np.quantile(weight, np.linspace(0, 1, _SWITCH_GRID + 1)))

    def risk(threshold: float) -> float:
        kept = weight <= threshold
        bias = float(np.mean(np.where(kept, 0.0, weight) * largest))
        return float(np.var(value + np.where(kept, residual, 0.0)) / len(weight) + bias**2)

    return float(min(candidates, key=risk))
