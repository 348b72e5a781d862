"""Recursive least squares with forgetting: a HAR whose coefficients learn from every bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from qts.forecast.averages import log_means
from qts.forecast.base import CannotFit, Params
from qts.forecast.history import History
from qts.forecast.memory import KEPT, Memory
from qts.forecast.scale import ScaleForecaster
from qts.forecast.volatility.forecasters import LogHar
from qts.market.bar import Array

#: Weights of a bar against the one after it: the evidence of about 100, 200, 500 bars, or of all alike.
_FORGETTING = (0.99, 0.995, 0.998, 1.0)
_FEWEST = 60  # observations before the first forecast
_RIDGE = 1e-12  # of each regressor's own weight: a variance that stood still for long leaves the equations solvable
_BEYOND = 10.0  # times the largest variance so far that a forecast may reach
_CHUNK = 250_000  # rows times columns that are worked on together


class HarRls(ScaleForecaster):
    """HAR in logarithms by recursive least squares with forgetting.

    After each bar the coefficients minimise the sum of lambda^(t - i) (log v(i) - x(i-1)' b)^2 over all bars i up to
    it. Its normal equations are a recursion: G = lambda G + x x', g = lambda g + x y. Four of them are solved anew in
    no time and, unlike the update of the inverse, lose no precision where lambda < 1 and a regressor stands still. So
    no refit is needed between two trainings, which choose lambda alone. Where LogHar supposes that the world of the
    training window lasts, this one follows it.

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
        centre, later = float(np.median(logs)), len(logs) // 2
        each = history.columns([0] * len(_FORGETTING))
        fit = _fitted(np.array(_FORGETTING), np.full(len(_FORGETTING), centre), each, Memory(each.length))
        losses = np.nanmean(np.square(logs[later + 1 :] - fit[later:-1]), axis=0)
        return {"forgetting": _FORGETTING[int(np.argmin(losses))], "centre": centre}

    def scales(self, params: Sequence[Params], history: History, memory: Memory) -> tuple[Array, Array]:
        """The exponential of the fit, for both targets; between the floor and ten times the largest variance so far."""
        forgetting = np.array([p["forgetting"] for p in params], np.float64)
        fit = _fitted(forgetting, np.array([p["centre"] for p in params], np.float64), history, memory)
        ceiling = _BEYOND * memory.highest("highest", history.variance)
        scale = np.exp(np.clip(fit, np.log(history.floor), np.log(ceiling)))
        return scale, scale


def _fitted(forgetting: Array, centre: Array, history: History, memory: Memory) -> Array:
    """The forecast of the next log variance after each row, shape (T, N); NaN until there are 60 observations."""
    logs = np.log(history.variance) - centre
    lags = [feature - centre for feature in log_means(history.variance)]
    regressors = np.stack([np.where(np.isnan(lags[-1]), np.nan, 1.0), *lags], axis=2)
    fit = np.full(logs.shape, np.nan)
    width, kept = max(1, _CHUNK // max(len(logs), 1)), []
    for begin in range(0, len(forgetting), width):
        part = slice(begin, begin + width)
        before = memory.before("equations")
        own = Memory(memory.length[part], None if before is None else {"equations": before[part]})
        x = regressors[:, part]
        # What a window still lacks is NaN and stays NaN.
        fit[:, part] = (x * solved(normal_equations(x, logs[:, part], forgetting[part], own))).sum(axis=2)
        kept.append(own.after["equations"])
    memory.after["equations"] = np.concatenate(kept)
    return np.where(memory.count(len(logs)) >= KEPT + _FEWEST, fit, np.nan) + centre


def normal_equations(regressors: Array, target: Array, forgetting: Array, memory: Memory) -> Array:
    """The equations after each row: of the target on the regressors of the row before it.

    Args:
        regressors: shape (T, N, K); a row with a NaN teaches nothing, though time passes.
        target: shape (T, N).
        forgetting: lambda of each column, shape (N,).

    Returns:
        G and, in the last column, g, shape (T, N, K, K + 1).
    """
    rows, columns, size = regressors.shape
    both = np.zeros((rows, columns, size, size + 1))
    x, y = regressors[:-1], target[1:]
    known = np.isfinite(y) & np.isfinite(x).all(axis=2)
    x, y = np.where(known[..., None], x, 0.0), np.where(known, y, 0.0)
    both[1:, :, :, :size] = x[..., :, None] * x[..., None, :]
    both[1:, :, :, size] = x * y[..., None]
    return memory.decayed("equations", both.reshape(rows, columns, -1), forgetting).reshape(both.shape)


def solved(equations: Array) -> Array:
    """The coefficients that `normal_equations` stand for, shape (..., K)."""
    size = equations.shape[-2]
    gram = equations[..., :size]
    scale = np.sqrt(np.einsum("...kk->...k", gram))
    scale = np.where(scale > 0, scale, 1.0)
    unit = gram / (scale[..., :, None] * scale[..., None, :]) + _RIDGE * np.eye(size)
    return np.asarray(np.linalg.solve(unit, (equations[..., size] / scale)[..., None])[..., 0] / scale)
