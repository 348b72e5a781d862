"""How large the next one-step error will be: a variance that follows recent errors, with tails like the past's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.special import gammaln

from qts.market.bar import Array, IntArray, State

_DECAYS = (1.0, 0.98, 0.94)  # 1: all errors count alike
_TAILS = (np.inf, 12.0, 7.0, 5.0)  # degrees of freedom, above 4 so that the kurtosis is finite
_FEWEST = 30  # errors to choose by; below, the scale that they tell is uncertain itself
_START = 10  # errors whose mean square the recursion starts from
_FLOOR = 1e-9  # of a series' magnitude: a constant series may still move


@dataclass(frozen=True)
class Spread:
    """The distribution of one-step errors of each series, shape (N,) each.

    Attributes:
        decay: s2(t+1) = decay s2(t) + (1 - decay) e(t)^2; with 1 the mean of all squares.
        df: degrees of freedom of Student's t; infinite for a series with too few errors to choose.
        sd: standard deviation after the last row.
        count: errors seen.
        floor: least standard deviation.
    """

    decay: Array
    df: Array
    sd: Array
    count: IntArray
    floor: Array

    @classmethod
    def choose(cls, errors: Array, size: Array) -> Spread:
        """The decay and tails under which the training errors were most likely, each judged before it came.

        Prices change their volatility and have heavy tails, sales figures mostly do not: each series chooses among 3
        decays (those of RiskMetrics 1996 and of GARCH fits lie between .94 and .98) and 4 tails by the log score.

        Args:
            errors: one-step errors, shape (T, N), NaN where there are none.
            size: magnitude of each series, shape (N,).
        """
        count = np.isfinite(errors).sum(axis=0)
        best = np.full(len(size), -np.inf)
        decay, df, sd = np.ones(len(size)), np.full(len(size), np.inf), np.zeros(len(size))
        floor = np.maximum(_FLOOR * size, np.finfo(np.float64).tiny ** 0.5)
        for weight in _DECAYS:
            before, after = _variances(errors, weight)
            if weight == 1.0:
                sd = np.sqrt(after)
            for tails in _TAILS:
                score = _log_score(errors, np.maximum(np.sqrt(before), floor), tails)
                better = (score > best) & (count >= _FEWEST)
                best = np.where(better, score, best)
                decay, df = np.where(better, weight, decay), np.where(better, tails, df)
                sd = np.where(better, np.sqrt(after), sd)
        return cls(decay, df, np.maximum(sd, floor), count, floor)


def size_of(values: Array) -> Array:
    """The order of magnitude of each series, shape (N,)."""
    return np.asarray(np.max(np.abs(values), axis=0, initial=0.0, where=np.isfinite(values)))


def start_spread(spread: Spread) -> State:
    """As part of a model's state."""
    return {f"spread.{name}": getattr(spread, name) for name in ("decay", "df", "sd", "count", "floor")}


def step_spread(state: State, error: Array) -> State:
    """The state after one more one-step error, shape (N,); NaN leaves a series as it was."""
    known = np.isfinite(error)
    count = state["spread.count"] + known
    weight = np.where(state["spread.decay"] == 1.0, 1 / np.maximum(count, 1), 1 - state["spread.decay"])
    squared = np.square(state["spread.sd"])
    after = squared + weight * (np.square(np.where(known, error, 0.0)) - squared)
    sd = np.where(known, np.maximum(np.sqrt(np.maximum(after, 0.0)), state["spread.floor"]), state["spread.sd"])
    return {**state, "spread.count": count, "spread.sd": sd}


def next_errors(state: State, horizon: int) -> tuple[Array, Array]:
    """The distribution of the sums of the next 1 to H one-step errors, as far as it is the same for all models.

    The excess kurtosis of a sum of h errors is 1/h of one's. While there are few errors, their unknown scale makes the
    tails: after n of them an error over their root mean square s is Student's t with n degrees of freedom, whose
    standard deviation is s sqrt(n / (n - 2)), and so is a sum of errors of that one scale.

    Returns:
        Standard deviation of one error, shape (N, 1), and degrees of freedom of the sums, above 2, shape (N, H).
    """
    count, df = state["spread.count"][:, None], state["spread.df"][:, None]
    few = count < _FEWEST
    freedom = np.maximum(count, 3.0)
    sd = state["spread.sd"][:, None] * np.where(few, np.sqrt(freedom / (freedom - 2)), 1.0)
    return sd, np.where(few, freedom, 4 + (df - 4) * np.arange(1, horizon + 1))


def _variances(errors: Array, decay: float) -> tuple[Array, Array]:
    """The variance before each error, shape (T, N), NaN for the first ones, and after the last, shape (N,)."""
    known = np.isfinite(errors)
    count = known.sum(axis=0)
    # Every series' errors without its gaps, so that a filter in C does all rows.
    packed = np.argsort(~known, axis=0, kind="stable")
    squares = np.square(np.where(known, errors, 0.0))
    squares = np.take_along_axis(squares, packed, axis=0)
    after = np.cumsum(squares, axis=0) / np.arange(1, len(squares) + 1)[:, None]
    if decay < 1.0 and len(squares) > _START:
        weights = ([1 - decay], [1, -decay])
        after[_START:], _ = lfilter(*weights, squares[_START:], axis=0, zi=decay * after[_START - 1 : _START])
    before = np.full(errors.shape, np.nan)
    np.put_along_axis(before, packed[_START:], after[_START - 1 : -1], axis=0)
    last = after[np.maximum(count - 1, 0), np.arange(len(count))] if len(after) else np.zeros(len(count))
    return before, np.where(count > 0, last, 0.0)


def _log_score(errors: Array, sd: Array, df: float) -> Array:
    """Sum of log densities of each series, shape (N,)."""
    if np.isinf(df):
        density = -0.5 * np.log(2 * np.pi) - np.log(sd) - 0.5 * np.square(errors / sd)
    else:
        scale = sd * np.sqrt((df - 2) / df)
        constant = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * np.log(np.pi * df)
        density = constant - np.log(scale) - (df + 1) / 2 * np.log1p(np.square(errors / scale) / df)
    return np.asarray(np.nansum(density, axis=0))
