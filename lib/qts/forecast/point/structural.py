"""Structural time series by the Kalman filter: a level, with or without a slope, seen through noise."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from qts.forecast.point.base import Fit, Panel, Predictive
from qts.forecast.point.spread import Spread, next_errors, size_of, start_spread, step_spread
from qts.market.bar import Array, IntArray, State

_DIFFUSE = 1e6  # variance of an unknown level or slope, in units of the sum of the other variances
_FARTHEST = 6.0  # a ratio of variances of 10^6 or 10^-6 is as good as infinite or zero
_FIRST_STEP, _LAST_STEP = 1.5, 0.01  # of the search, in powers of ten
_GAIN = 1e-6  # of the loss; less is no step: a likelihood may be flat out to the edge
_ONLY_LEVEL, _WITH_SLOPE = (-2.0, 0.0, 2.0), (-4.0, -2.0, 0.0)  # where it starts


class LocalLevel:
    """y(t) = level(t) + e(t), level(t+1) = level(t) + u(t): a random walk seen through noise.

    The Kalman filter carries the level, and the variance of what is known of it, from bar to bar: in a long series it
    settles to exponential smoothing; after a gap the interval is wide and the next value counts for more. The ratio of
    the two variances is the most likely one given the training window, their scale concentrated out, with a diffuse
    start.

    Source: J. Durbin and S. J. Koopman, Time Series Analysis by State Space Methods, 2nd edition (2012), sections 2.2
    to 2.10.
    """

    name: ClassVar[str] = "local_level"
    slopes: ClassVar[bool] = False
    #: Values that the ratio needs.
    fewest: ClassVar[int] = 8

    def fit(self, panel: Panel, horizon: int) -> Fit:  # one process serves every horizon
        """See `PointModel.fit`; what cannot be fitted is a random walk."""
        reasons = tuple(self._reason(panel.values[:, n]) for n in range(len(panel.names)))
        fitted = np.array([not reason for reason in reasons], np.bool_)
        size = size_of(panel.values)
        shares = np.zeros((len(reasons), 3))
        shares[:, 1] = 1.0
        if fitted.any():
            shares[fitted] = _most_likely(_scaled(panel.values[:, fitted]), self.slopes)
        errors, state = _filtered(panel.values, shares, fitted & self.slopes)
        return Fit({**state, **start_spread(Spread.choose(errors, size))}, reasons)

    def update(self, state: State, values: Array, times: IntArray) -> State:  # knows no calendar
        """See `PointModel.update`."""
        error, variance, after = _step(state, values)
        return step_spread(after, error / np.sqrt(variance))

    def forecast(self, state: State, horizon: int) -> Predictive:
        """See `PointModel.forecast`."""
        held, shape = state, (len(state["level"]), horizon)
        mean, variance = np.empty(shape), np.empty(shape)
        for h in range(horizon):
            held = _predicted(held)
            mean[:, h] = np.where(held["known"], held["level"], np.nan)
            variance[:, h] = held["p_level"] + held["share_noise"]
        sd, df = next_errors(state, horizon)
        return Predictive(mean, sd * np.sqrt(variance), df)

    def _reason(self, values: Array) -> str:
        """Why a series cannot carry this model, empty where it can."""
        known = values[np.isfinite(values)]
        if len(known) < self.fewest:
            return f"{self.name}: {len(known)} values, {self.fewest} needed"
        return f"{self.name}: the series never moves" if known.min() == known.max() else ""


class LocalTrend(LocalLevel):
    """A local level that also moves by a slope, itself a random walk: slope(t+1) = slope(t) + w(t).

    Source: J. Durbin and S. J. Koopman (2012), section 3.2.1.
    """

    name: ClassVar[str] = "local_trend"
    slopes: ClassVar[bool] = True
    fewest: ClassVar[int] = 12


def _start(shares: Array, slopes: npt.NDArray[np.bool_]) -> State:
    """States before the first value.

    Args:
        shares: variances of noise, level and slope as parts of their sum, shape (N, 3).
        slopes: whether a series has a slope, shape (N,).
    """
    nothing = np.zeros(len(shares))
    return {
        "share_noise": shares[:, 0].copy(),
        "share_level": shares[:, 1].copy(),
        "share_slope": shares[:, 2].copy(),
        "level": nothing,
        "slope": nothing,
        "p_level": np.full(len(shares), _DIFFUSE),
        "p_cross": nothing,
        "p_slope": np.where(slopes, _DIFFUSE, 0.0),
        "known": np.zeros(len(shares), np.bool_),  # whether a first value has come
    }


def _predicted(state: State) -> State:
    """What is known one period later, before that period's value: T P T' + Q; nothing moves before the first value."""
    known, p_slope = state["known"], state["p_slope"]
    p_cross = state["p_cross"] + known * p_slope
    return {
        **state,
        "level": state["level"] + state["slope"],
        "p_level": state["p_level"] + known * (state["p_cross"] + state["share_level"]) + p_cross,
        "p_cross": p_cross,
        "p_slope": p_slope + known * state["share_slope"],
    }


def _step(state: State, values: Array) -> tuple[Array, Array, State]:
    """One period: the prediction error (NaN without one), its variance in units of the scale, and the state after."""
    before, seen, known = _predicted(state), np.isfinite(values), state["known"]
    p_level, p_cross = before["p_level"], before["p_cross"]
    variance = p_level + before["share_noise"]
    # The first value is its own prediction: a level that is not known takes it whole.
    error = values - np.where(known, before["level"], values)
    gain, missed = seen / variance, np.where(seen, error, 0.0)
    # P - P Z' Z P / F, with the level's row written as P h / F: no difference of like numbers, so never negative.
    kept = np.where(seen, before["share_noise"] / variance, 1.0)
    after: State = {
        **before,
        "level": np.where(known | ~seen, before["level"] + p_level * gain * missed, values),
        "slope": before["slope"] + p_cross * gain * missed,
        "p_level": p_level * kept,
        "p_cross": p_cross * kept,
        "p_slope": np.maximum(before["p_slope"] - np.square(p_cross) * gain, 0.0),
        "known": known | seen,
    }
    return np.where(known, error, np.nan), variance, after


def _scaled(values: Array) -> Array:
    """From the first known value, in units of the range: squares of tiny or huge numbers would be 0 or infinite."""
    first = values[np.argmax(np.isfinite(values), axis=0), np.arange(values.shape[1])]
    return np.asarray((values - first) / (np.nanmax(values, axis=0) - np.nanmin(values, axis=0)))


def _filtered(values: Array, shares: Array, slopes: npt.NDArray[np.bool_]) -> tuple[Array, State]:
    """Prediction errors, standardised but for their common scale, shape (T, N), and the state after the last row.

    The error that a diffuse slope takes says nothing of the scale, and is NaN.
    """
    state, errors = _start(shares, slopes), np.full(values.shape, np.nan)
    for t, row in enumerate(values):
        error, variance, state = _step(state, row)
        errors[t] = error / np.sqrt(variance)
    second = np.cumsum(np.isfinite(values), axis=0) == 2
    return np.where(second & slopes, np.nan, errors), state


def _loss(values: Array, shares: Array, slope: bool) -> Array:
    """-2 / n times the log-likelihood, the scale concentrated out, shape (N,).

    The values that a diffuse start takes (one, with a slope two) are not counted (Durbin and Koopman, section 2.10.2).
    """
    burnt = 2 if slope else 1
    state = _start(shares, np.full(len(shares), slope))
    count, squares, logs = (np.zeros(len(shares)) for _ in range(3))
    for row in values:
        error, variance, state = _step(state, row)
        seen = np.isfinite(row)
        count = count + seen
        counts = seen & (count > burnt)
        squares = squares + np.where(counts, np.square(error) / variance, 0.0)
        logs = logs + np.where(counts, np.log(variance), 0.0)
    used = count - burnt
    return np.asarray(np.log(np.maximum(squares / used, np.finfo(np.float64).tiny)) + logs / used)


def _most_likely(values: Array, slope: bool) -> Array:
    """Shares of the variances by compass search over the logs of their ratios to the noise, all series at once.

    The likelihood may have several hills, so it starts at each point of a coarse grid. Steps that do not help are
    halved; a series' path depends on its own likelihood alone.

    Args:
        values: shape (T, N), NaN where there is none.

    Returns:
        Shape (N, 3).
    """
    series = values.shape[1]
    grid = [[level, bend] for level in _ONLY_LEVEL for bend in _WITH_SLOPE] if slope else [[x] for x in _ONLY_LEVEL]
    starts = np.array(grid)
    losses = _losses(values, np.broadcast_to(starts, (series, *starts.shape)), slope)
    at, best = starts[np.argmin(losses, axis=1)], losses.min(axis=1)
    step = np.full(series, _FIRST_STEP)
    compass = np.concatenate([np.eye(starts.shape[1]), -np.eye(starts.shape[1])])
    while (step > _LAST_STEP).any():
        around = np.clip(at[:, None] + step[:, None, None] * compass, -_FARTHEST, _FARTHEST)
        losses = _losses(values, around, slope)
        choice = np.argmin(losses, axis=1)
        found = losses[np.arange(series), choice]
        better = (found < best - _GAIN) & (step > _LAST_STEP)
        at = np.where(better[:, None], around[np.arange(series), choice], at)
        best = np.where(better, found, best)
        step = np.where(better, step, step / 2)
    return _shares(at)


def _losses(values: Array, points: Array, slope: bool) -> Array:
    """Of several points of each series, shape (N, K, D), the losses, shape (N, K)."""
    series, count, _ = points.shape
    shares = _shares(points.reshape(series * count, -1))
    return _loss(np.repeat(values, count, axis=1), shares, slope).reshape(series, count)


def _shares(ratios: Array) -> Array:
    """Parts of the sum of variances, shape (N, 3), from log10 of the level's and the slope's to the noise's."""
    parts = np.zeros((len(ratios), 3))
    parts[:, 0] = 1.0
    parts[:, 1 : 1 + ratios.shape[1]] = 10.0**ratios
    return np.asarray(parts / parts.sum(axis=1, keepdims=True))
