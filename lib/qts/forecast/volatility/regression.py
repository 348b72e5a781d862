"""Least squares on an expanding window, refitted as often as every row, for all instruments at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qts.market.bar import Array, IntArray

#: Keeps features that are collinear (a constant series) solvable; far below what shows in a forecast.
_RIDGE = 1e-12
#: Observations that a fit needs.
FEWEST = 60
_CHUNK = 100_000  # fits that are solved together


@dataclass(frozen=True)
class Coefficients:
    """Least squares coefficients, fitted anew at some rows.

    Attributes:
        rows: ascending; the fit of row t has seen targets up to row t, shape (R,).
        beta: intercept first, then one a feature, shape (R, N, K + 1); NaN where there were too few observations.
    """

    rows: IntArray
    beta: Array

    def forecast(self, features: Sequence[Array]) -> Array:
        """The fitted value of the next row's target, made at each row with the newest coefficients, shape (T, N)."""
        steps = len(features[0])
        newest = np.searchsorted(self.rows, np.arange(steps), side="right") - 1
        beta = np.where((newest >= 0)[:, None], self.beta[newest, :, 0], np.nan)
        for k, feature in enumerate(features, start=1):
            beta = beta + self.beta[newest, :, k] * feature
        return beta


def expanding_least_squares(
    features: Sequence[Array], target: Array, rows: IntArray, *, fewest: int = FEWEST
) -> Coefficients:
    """Regresses the target on an intercept and on the features of the row before, on all rows up to each of `rows`.

    The normal equations are running sums, so a daily refit costs one small solve a day and no pass over the past. For
    precision features and target are taken relative to their first row, and the equations are scaled to a unit
    diagonal. A feature that never moves gets the coefficient 0.

    Args:
        features: K arrays of shape (T, N). A row with a NaN in any of them is left out.
        target: shape (T, N).
        rows: where to fit, ascending, shape (R,).
        fewest: observations that a fit needs.
    """
    instruments = target.shape[1]
    width = max(1, _CHUNK // max(len(rows), 1))
    beta = np.full((len(rows), instruments, len(features) + 1), np.nan)
    for begin in range(0, instruments if len(rows) else 0, width):
        part = slice(begin, begin + width)
        beta[:, part] = _fit([f[:, part] for f in features], target[:, part], rows, fewest)
    return Coefficients(rows, beta)


def _fit(features: list[Array], target: Array, rows: IntArray, fewest: int) -> Array:
    y = target[1:]
    valid = np.isfinite(y)
    for feature in features:
        valid = valid & np.isfinite(feature[:-1])
    x = [_from_first(feature[:-1], valid) for feature in features]
    y, origin_y = _from_first(y, valid)
    columns = [valid.astype(np.float64), *(values for values, _ in x)]

    def running(products: Array) -> Array:
        sums = np.concatenate([np.zeros((1, products.shape[1])), np.cumsum(products, axis=0)])
        return np.asarray(sums[np.minimum(rows, len(products))])

    size = len(columns)
    left, right = np.empty((*running(y).shape, size, size)), np.empty((*running(y).shape, size))
    for i in range(size):
        right[..., i] = running(columns[i] * y)
        for j in range(i, size):
            left[..., i, j] = left[..., j, i] = running(columns[i] * columns[j])
    count = left[..., 0, 0]
    diagonal = np.sqrt(np.einsum("...ii->...i", left))
    diagonal = np.where(diagonal > 0, diagonal, 1.0)
    scaled = left / (diagonal[..., :, None] * diagonal[..., None, :]) + _RIDGE * np.eye(size)
    beta = np.linalg.solve(scaled, (right / diagonal)[..., None])[..., 0] / diagonal
    beta[..., 0] += origin_y
    for k, (_, origin) in enumerate(x, start=1):
        beta[..., 0] -= beta[..., k] * origin
    beta[count < fewest] = np.nan
    return np.asarray(beta)


def _from_first(values: Array, valid: np.ndarray) -> tuple[Array, Array]:
    """Values less the first valid one of each column, 0 where not valid; and that first one, shape (N,)."""
    if not len(values):
        return values, np.zeros(values.shape[1])
    first = np.take_along_axis(values, valid.argmax(axis=0)[None], axis=0)[0]
    first = np.where(valid.any(axis=0), first, 0.0)
    return np.where(valid, values - first, 0.0), first
