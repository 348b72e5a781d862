"""Recursive least squares with forgetting: a HAR whose coefficients learn from every bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from qts.forecast.base import CannotFit, Params
from qts.forecast.har import LogHar, log_means
from qts.forecast.history import History
from qts.forecast.memory import KEPT, Memory
from qts.forecast.scale import ScaleForecaster
from qts.market.bar import Array

#: Weights of a bar against the one after it: the evidence of about 100, 200, 500 bars, or of all alike.
_FORGETTING = (0.99, 0.995, 0.998, 1.0)
_FEWEST = 60  # observations before the first forecast
_PRIOR = 1e-3  # observations that say "no effect" before the first; they are forgotten like all others
_RIDGE = 1e-12  # of each regressor's own weight: a variance that stood still for long leaves the equations solvable
_BEYOND = 10.0  # times the largest variance so far that a forecast may reach


class HarRls(ScaleForecaster):
    """HAR in logarithms by recursive least squares with forgetting.

    After each bar the coefficients minimise the sum of lambda^(t - i) (log v(i) - x(i-1)' b)^2 over all bars i up to
    it. Its normal equations are a recursion: G = lambda G + x x', g = lambda g + x y; solving them anew costs nothing
    beside four regressors and, unlike the update of the inverse, loses no precision where lambda < 1 and a regressor
    stands still. So no refit is needed between two trainings, which choose lambda alone. Where LogHar supposes that
    the world of the training window lasts, this one follows it.

    Sources: R. Plackett, "Some theorems in least squares", Biometrika 37 (1950); forgetting after L. Ljung and T.
    Soederstroem, Theory and Practice of Recursive Identification (1983), section 2.2; regressors of F. Corsi (2009).
    """

    name: ClassVar[str] = "har_rls"
    simpler: ClassVar[type[ScaleForecaster] | None] = LogHar
    rescaled: ClassVar[bool] = True

    def coefficients(self, history: History) -> dict[str, Any]:
        """`forgetting`, by the squared error of the logs in the later half, and `centre`, what logs count from."""
        needed = KEPT + 2 * _FEWEST
        if history.length[0] < needed:
            raise CannotFit(f"{history.length[0]} bars, {needed} needed")
        if np.ptp(history.variance[:, 0]) == 0:
            raise CannotFit("the variance is constant")
        logs = np.log(history.variance)
        centre = float(np.median(logs))
        later = len(logs) // 2
        losses = []
        for forgetting in _FORGETTING:
            fit = _fitted(np.array([forgetting]), np.array([centre]), history, Memory(history.length))
            losses.append(float(np.nanmean(np.square(logs[later + 1 :] - fit[later:-1]))))
        return {"forgetting": _FORGETTING[int(np.argmin(losses))], "centre": centre}

    def scales(self, params: Sequence[Params], history: History, memory: Memory) -> tuple[Array, Array]:
        """The exponential of the fit, for both targets; between the floor and ten times the largest variance so far."""
        forgetting = np.array([p["forgetting"] for p in params], np.float64)
        fit = _fitted(forgetting, np.array([p["centre"] for p in params], np.float64), history, memory)
        ceiling = _BEYOND * memory.highest("highest", history.variance)
        scale = np.exp(np.clip(fit, np.log(history.floor), np.log(ceiling)))
        return scale, scale


def _fitted(forgetting: Array, centre: Array, history: History, memory: Memory) -> Array:
    """The forecast of the next log variance after each row, shape (T, N); NaN in the warm-up."""
    logs = np.log(history.variance) - centre
    lags = [feature - centre for feature in log_means(history.variance)]
    regressors = np.stack([np.where(np.isnan(lags[-1]), np.nan, 1.0), *lags], axis=2)
    fit = np.full(logs.shape, np.nan)
    for row, held in enumerate(normal_equations(regressors, logs, forgetting, memory)):
        # What a window still lacks is NaN and stays NaN; solving asks for numbers.
        fit[row] = (regressors[row] * solved(held)).sum(axis=1)
        fit[row, held[:, 0, -1] < _FEWEST] = np.nan
    return fit + centre


def normal_equations(regressors: Array, target: Array, forgetting: Array, memory: Memory) -> Any:
    """The equations after each row: of the target on the regressors of the row before it.

    Args:
        regressors: shape (T, N, K); a row with a NaN teaches nothing.
        target: shape (T, N).
        forgetting: lambda of each column, shape (N,).

    Yields:
        G, g and, in the first row of the last column, how many observations there were, shape (N, K, K + 2).
    """
    rows, columns, size = regressors.shape
    start = np.zeros((columns, size, size + 2))
    start[:, np.arange(size), np.arange(size)] = _PRIOR
    weight = forgetting[:, None, None]

    def step(held: Array, row: int) -> Array:
        if row == 0:
            return held
        x, y = regressors[row - 1], target[row]
        known = np.isfinite(y) & np.isfinite(x).all(axis=1)
        x, y = np.where(known[:, None], x, 0.0), np.where(known, y, 0.0)
        after = np.empty_like(held)
        after[:, :, :size] = weight * held[:, :, :size] + x[:, :, None] * x[:, None, :]
        after[:, :, size] = weight[:, 0] * held[:, :, size] + x * y[:, None]
        after[:, :, size + 1] = held[:, :, size + 1] + known[:, None]
        return np.where(known[:, None, None], after, held)

    return memory.fold("equations", start, rows, step)


def solved(held: Array) -> Array:
    """The coefficients that `normal_equations` stand for, shape (N, K)."""
    size = held.shape[1]
    gram = held[:, :, :size]
    scale = np.sqrt(np.einsum("nkk->nk", gram))
    scale = np.where(scale > 0, scale, 1.0)
    unit = gram / (scale[:, :, None] * scale[:, None, :]) + _RIDGE * np.eye(size)
    return np.asarray(np.linalg.solve(unit, (held[:, :, size] / scale)[:, :, None])[:, :, 0] / scale)
