"""Linear processes: naive, drift, exponential smoothing and ARIMA are one recursion with different coefficients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.signal import lfilter

from qts.forecast.base import CannotFit
from qts.forecast.point.base import Fit, Panel, Predictive
from qts.forecast.point.spread import Spread, next_errors, size_of, start_spread, step_spread
from qts.market.bar import Array, IntArray, State

LAGS = 7  # of the series itself: five autoregressive and two differences
SHOCKS = 5
_LONGEST_GAP = 50  # periods in a row without a value; beyond it the spread grows no more


@dataclass(frozen=True)
class Coefficients:
    """y(t) = constant + sum ar_i y(t-i) + sum ma_j e(t-j) + e(t), differences multiplied out."""

    ar: Array  # shape (<= LAGS,)
    ma: Array  # shape (<= SHOCKS,)
    constant: float = 0.0
    changes: float = np.inf  # whose mean the constant is, and so not quite known; infinite where it is no such mean


RANDOM_WALK = Coefficients(np.ones(1), np.empty(0))


class LinearModel(ABC):
    """Base of the models that are linear processes of one series; all series step at once.

    The h-step variance is s2 (1 + psi_1^2 + ... + psi_(h-1)^2), with psi the process's moving-average weights (Box and
    Jenkins 1970, chapter 5) and s2 the variance of the one-step errors, which `Spread` follows; plus s2 h^2 / n for a
    drift that is the mean of n changes (Hyndman and Athanasopoulos 2021, table 5.2). A period without a
    value is stepped over with the process's own forecast, and the variance counts from the last value that is known.
    """

    name: ClassVar[str]
    #: Values that the coefficients need.
    fewest: ClassVar[int] = 2

    @abstractmethod
    def coefficients(self, values: Array) -> Coefficients:
        """The process of one series.

        Args:
            values: training values without gaps, shape (T,), T >= `fewest`.

        Raises:
            CannotFit: the series does not carry this model.
        """

    def fit(self, panel: Panel, horizon: int) -> Fit:  # one process serves every horizon
        """See `PointModel.fit`; what cannot be fitted is a random walk."""
        found = [self._or_random_walk(panel.column(n)) for n in range(len(panel.names))]
        errors, state = _filtered([process for process, _ in found], panel.values)
        spread = Spread.choose(errors, size_of(panel.values))
        return Fit({**state, **start_spread(spread)}, tuple(reason for _, reason in found))

    def update(self, state: State, values: Array, times: IntArray) -> State:  # knows no calendar
        """See `PointModel.update`."""
        gap = _cumulated(state, 1)[:, 0]
        error = np.where(state["known"], (values - _means(state, 1)[:, 0]) / np.sqrt(gap), np.nan)
        return step_spread(_step(state, values), error)

    def forecast(self, state: State, horizon: int) -> Predictive:
        """See `PointModel.forecast`."""
        mean = np.where(state["known"][:, None], _means(state, horizon), np.nan)
        sd, df = next_errors(state, horizon)
        return Predictive(mean, sd * np.sqrt(_cumulated(state, horizon)), df)

    def _or_random_walk(self, values: Array) -> tuple[Coefficients, str]:
        try:
            if len(values) < self.fewest:
                raise CannotFit(f"{len(values)} values, {self.fewest} needed")
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                found = self.coefficients(values)
            if not (np.isfinite(found.ar).all() and np.isfinite(found.ma).all() and np.isfinite(found.constant)):
                raise CannotFit("its coefficients are not finite")
        except CannotFit as reason:
            return RANDOM_WALK, f"{self.name}: {reason}"
        return found, ""


def _filtered(processes: list[Coefficients], values: Array) -> tuple[Array, State]:
    """One-step errors in units of one shock, shape (T, N), NaN where there are none; and the states at the end.

    A series without gaps is filtered as a whole, others row by row; each series alone decides which.
    """
    errors, state = np.full(values.shape, np.nan), _start(processes)
    gaps = []
    for n, process in enumerate(processes):
        known = np.isfinite(values[:, n])
        first = int(known.argmax()) if known.any() else len(known)
        if known[first:].all():
            _whole(process, values[first:, n], errors[first:, n], {key: held[n] for key, held in state.items()})
            state["known"][n] = first < len(known)
        else:
            gaps.append(n)
    if gaps:
        # The errors of the window that a drift was taken from are not larger for it.
        part = {key: held[gaps] for key, held in state.items()} | {"changes": np.full(len(gaps), np.inf)}
        for t, row in enumerate(values[:, gaps]):
            mean, variance = _means(part, 1)[:, 0], _cumulated(part, 1)[:, 0]
            errors[t, gaps] = np.where(part["known"], (row - mean) / np.sqrt(variance), np.nan)
            part = _step(part, row)
        for key in part.keys() - {"changes"}:
            state[key][gaps] = part[key]
    return errors, state


def _whole(process: Coefficients, values: Array, errors: Array, own: State) -> None:
    """Errors of one series without gaps, and its lags and shocks after the last value, all written in place.

    Before the first value the series is taken to have stood there, without shocks.
    """
    if not len(values):
        return
    before = np.concatenate([np.full(LAGS, values[0]), values])
    innovations = lfilter(np.concatenate([[1.0], -process.ar]), [1.0], before)[LAGS:] - process.constant
    innovations[0] = 0.0
    found = lfilter([1.0], np.concatenate([[1.0], process.ma]), innovations)
    errors[1:] = found[1:]
    own["lags"][:] = before[::-1][:LAGS]
    own["shocks"][:] = np.concatenate([np.zeros(SHOCKS), found])[::-1][:SHOCKS]


def _start(processes: list[Coefficients]) -> State:
    """States before the first value."""
    count = len(processes)
    ar, ma = np.zeros((count, LAGS)), np.zeros((count, SHOCKS))
    for n, process in enumerate(processes):
        ar[n, : len(process.ar)] = process.ar
        ma[n, : len(process.ma)] = process.ma
    return {
        "ar": ar,
        "ma": ma,
        "constant": np.array([process.constant for process in processes]),
        "changes": np.array([process.changes for process in processes]),
        "lags": np.zeros((count, LAGS)),
        "shocks": np.zeros((count, SHOCKS)),
        "known": np.zeros(count, np.bool_),  # whether a first value has come
        "gap": np.zeros(count, np.int64),  # periods since the last value
    }


def _step(state: State, values: Array) -> State:
    known, seen = state["known"], np.isfinite(values)
    mean = _means(state, 1)[:, 0]
    value = np.where(seen, values, mean)
    error = np.where(known & seen, value - mean, 0.0)
    first = ~known & seen
    lags = np.concatenate([value[:, None], state["lags"][:, :-1]], axis=1)
    lags = np.where(first[:, None], value[:, None], np.where(known[:, None], lags, 0.0))
    shocks = np.concatenate([error[:, None], state["shocks"][:, :-1]], axis=1)
    gap = np.where(seen | ~known, 0, np.minimum(state["gap"] + 1, _LONGEST_GAP))
    return {**state, "lags": lags, "shocks": shocks, "known": known | seen, "gap": gap}


def _means(state: State, horizon: int) -> Array:
    """Conditional means of the next values, shape (N, horizon)."""
    lags, shocks, found = state["lags"], state["shocks"], np.empty((len(state["lags"]), horizon))
    for h in range(horizon):
        # Sums over the last axis of these small arrays run row by row: a series' bits do not depend on the others.
        mean = state["constant"] + (state["ar"] * lags).sum(axis=1) + (state["ma"] * shocks).sum(axis=1)
        lags = np.concatenate([mean[:, None], lags[:, :-1]], axis=1)
        shocks = np.concatenate([np.zeros((len(shocks), 1)), shocks[:, :-1]], axis=1)
        found[:, h] = mean
    return found


def _cumulated(state: State, horizon: int) -> Array:
    """Variances in units of one shock's for each step ahead of the last value that is known, shape (N, horizon)."""
    furthest = int(state["gap"].max(initial=0)) + horizon
    total = np.cumsum(np.column_stack(list(_squared_weights(state, furthest))), axis=1)
    rows, before = np.arange(len(total))[:, None], state["gap"][:, None] + np.arange(horizon)
    return np.asarray(total[rows, before] + np.square(before + 1) / state["changes"][:, None])


def _squared_weights(state: State, count: int) -> Iterator[Array]:
    """Squares of the moving-average weights: psi_0 = 1, psi_j = ma_j + sum_i ar_i psi_(j-i)."""
    past = np.zeros((len(state["ar"]), LAGS))
    for j in range(count):
        psi = np.ones(len(past)) if j == 0 else (state["ar"] * past).sum(axis=1)
        if 0 < j <= SHOCKS:
            psi = psi + state["ma"][:, j - 1]
        past = np.concatenate([psi[:, None], past[:, :-1]], axis=1)
        yield np.square(psi)
