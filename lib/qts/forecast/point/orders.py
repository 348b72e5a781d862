"""The order of an ARIMA: differences by a test, candidates by Hannan and Rissanen, the choice by AICc.

Every candidate is estimated by conditional sum of squares: its residuals are a linear filter of the data, and so are
their derivatives, so Gauss-Newton steps cost a handful of filters in C. That is why this is many times faster than a
search that maximises an exact likelihood at each step, and it chooses among more candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.linalg import lstsq
from scipy.signal import lfilter

from qts.forecast.base import CannotFit
from qts.market.bar import Array

MAX_ORDER = 5  # of each part
MAX_DIFFERENCES = 2
_MAX_SUM = 5  # p + q
_REFINED = 8  # candidates that are estimated in full
_UNIT = 0.99  # inverse roots beyond it count as unit roots
_KPSS_5PERCENT = 0.463  # Kwiatkowski and others (1992), table 1, level stationarity
_ADF_5PERCENT = -2.86  # Fuller (1976), table 8.5.2, with a constant
_SHORT = 20  # values below which no test of a unit root says anything
_STEPS = 30  # Gauss-Newton
_RANKED = 50_000  # latest values by which candidates are ranked: more tell no more and take gigabytes


@dataclass(frozen=True)
class Arma:
    """An ARMA of the differenced series about its mean: w(t) - mean = sum phi_i .. + sum theta_j e(t-j) + e(t)."""

    phi: Array
    theta: Array
    mean: float
    differences: int
    aicc: float

    @property
    def order(self) -> tuple[int, int, int]:
        """(p, d, q)."""
        return len(self.phi), self.differences, len(self.theta)


def choose(values: Array) -> Arma:
    """The ARIMA of least AICc.

    Sources: E. Hannan and J. Rissanen, "Recursive estimation of mixed autoregressive-moving average order", Biometrika
    69 (1982), for the ranking; R. Hyndman and Y. Khandakar, "Automatic time series forecasting", Journal of
    Statistical Software 27 (2008), for the use of KPSS, AICc and the refusal of roots near the unit circle; C. Hurvich
    and C. Tsai, Biometrika 76 (1989), for the AICc.

    Args:
        values: one series without gaps, shape (T,).

    Raises:
        CannotFit: the series is too short or never moves.
    """
    scale = float(np.abs(values - values[0]).max())
    if not 0 < scale < np.inf:
        raise CannotFit("the series never moves" if scale == 0 else "its figures are too large")
    d = differences(values)
    w = np.diff(values / scale, n=d)
    if np.ptp(w) <= 1e-10:
        return Arma(np.empty(0), np.empty(0), float(w.mean()) * scale, d, -np.inf)  # a line, or a parabola
    found = [model for model in _refined(w, d) if model is not None]
    best = min(found, key=lambda model: (model.aicc, model.order))
    return Arma(best.phi, best.theta, best.mean * scale, d, best.aicc)


def differences(values: Array) -> int:
    """How often to difference, at most twice.

    Once, unless KPSS does not reject level stationarity at 5% and the augmented Dickey-Fuller test rejects a unit root
    at 5%: where the two leave it open, differencing forecasts better (F. Diebold and L. Kilian, "Unit-root tests are
    useful for selecting forecasting models", Journal of Business & Economic Statistics 18, 2000). Twice, where KPSS
    rejects for the differences too and differencing again makes their variance smaller: for a random walk it
    doubles.
    """
    if len(values) < _SHORT:
        return 1
    if np.ptp(values) > 0 and kpss(values) < _KPSS_5PERCENT and dickey_fuller(values) < _ADF_5PERCENT:
        return 0
    change = np.diff(values)
    if np.ptp(change) == 0 or kpss(change) < _KPSS_5PERCENT:
        return 1
    return MAX_DIFFERENCES if np.diff(change).var() < change.var() else 1


def dickey_fuller(values: Array) -> float:
    """The t statistic of the augmented Dickey-Fuller regression with a constant and trunc((n - 1)^(1/3)) lags.

    Source: S. Said and D. Dickey, "Testing for unit roots in autoregressive-moving average models of unknown order",
    Biometrika 71 (1984).
    """
    change = np.diff(values)
    lags = min(int(np.cbrt(len(change))), len(change) // 4)
    x = np.column_stack([values[lags:-1], np.ones(len(change) - lags), _lags(change, lags)])
    y = change[lags:]
    q, r = np.linalg.qr(x)
    if np.abs(np.diag(r)).min() <= 1e-12 * np.abs(np.diag(r)).max():
        return -np.inf  # the changes are collinear: no unit root can be seen
    beta = np.linalg.solve(r, q.T @ y)
    error = y - x @ beta
    variance = float(error @ error) / max(len(y) - x.shape[1], 1)
    inverse = np.linalg.solve(r, np.eye(len(r)))
    return float(beta[0] / np.sqrt(max(variance * float(inverse[0] @ inverse[0]), 1e-300)))


def kpss(values: Array) -> float:
    """The statistic of Kwiatkowski, Phillips, Schmidt and Shin for level stationarity.

    Source: Journal of Econometrics 54 (1992), equation 13, Bartlett weights over the trunc(3 sqrt(n) / 13) lags of
    Hyndman and Khandakar.
    """
    n = len(values)
    e = values - values.mean()
    lags = int(3 * np.sqrt(n) / 13)
    variance = float(e @ e)
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(e[lag:] @ e[:-lag])
    if variance <= 0:
        return 0.0
    return float(np.square(np.cumsum(e)).sum() / (n * variance))


def _refined(w: Array, d: int) -> Iterator[Arma | None]:
    limit = min(MAX_ORDER, max((len(w) - 4) // 5, 0))
    total = min(_MAX_SUM, limit)
    orders = [(p, q) for p, q in product(range(limit + 1), repeat=2) if p + q <= total]
    for mean in (0.0, float(w.mean())) if d < MAX_DIFFERENCES else (0.0,):
        if d == 0 and mean == 0.0:
            continue  # a level of its own is always estimated
        centred = w - mean
        ranked = _ranked(centred[-_RANKED:], orders)
        for p, q, phi, theta in ranked[:_REFINED]:
            yield _estimate(centred, p, q, phi, theta, limit, mean, d)


def _ranked(w: Array, orders: list[tuple[int, int]]) -> list[tuple[int, int, Array, Array]]:
    """Orders by the BIC of their Hannan-Rissanen regressions, with those estimates; (0, 0) always among the first."""
    n = len(w)
    longest = max(max(p, q) for p, q in orders)
    depth = min(int(np.log(max(n, 3)) ** 2 / 2) + longest, n // 3)
    innovations = np.zeros(n)
    if depth:
        lagged = _lags(w, depth)
        innovations[depth:] = w[depth:] - lagged @ lstsq(lagged, w[depth:], check_finite=False)[0]
    begin = depth + longest
    if n - begin < 2 * longest + 4:
        begin = longest
    own, shocks = _lags(w, longest)[begin - longest :], _lags(innovations, longest)[begin - longest :]
    y, rows = w[begin:], n - begin
    found: list[tuple[float, int, int, Array, Array]] = []
    for p, q in orders:
        if p + q == 0:
            found.append((-np.inf, 0, 0, np.empty(0), np.empty(0)))
            continue
        x = np.column_stack([own[:, :p], shocks[:, :q]])
        b = lstsq(x, y, check_finite=False)[0]
        error = y - x @ b
        criterion = rows * np.log(float(error @ error) / rows + 1e-300) + (p + q) * np.log(rows)
        found.append((criterion, p, q, b[:p], b[p:]))
    found.sort(key=lambda one: one[:3])
    return [one[1:] for one in found]


def _lags(values: Array, count: int) -> Array:
    """Column i holds the value i + 1 rows before, for the rows from `count` on; shape (T - count, count)."""
    return (
        np.column_stack([values[count - i : len(values) - i] for i in range(1, count + 1)])
        if count
        else np.empty((len(values), 0))
    )


def _estimate(w: Array, p: int, q: int, phi: Array, theta: Array, begin: int, mean: float, d: int) -> Arma | None:
    """Conditional least squares by Gauss-Newton from given estimates; None where it ends near a unit root."""
    phi, theta = _inside(phi), -_inside(-theta)
    error = _residuals(w, phi, theta)
    sse = float(error[begin:] @ error[begin:])
    for _ in range(_STEPS if p + q else 0):
        step = lstsq(_jacobian(w, error, theta, p, q)[begin:], -error[begin:], check_finite=False)[0]
        for shorter in (1.0, 0.5, 0.25, 0.06, 0.015):
            new_phi, new_theta = phi + shorter * step[:p], theta + shorter * step[p:]
            if not (_stable(new_phi, 1.0) and _stable(-new_theta, 1.0)):
                continue
            trial = _residuals(w, new_phi, new_theta)
            new_sse = float(trial[begin:] @ trial[begin:])
            if new_sse < sse:
                break
        else:
            break
        gained = sse - new_sse
        phi, theta, error, sse = new_phi, new_theta, trial, new_sse
        if gained < 1e-7 * sse:
            break
    if not (_stable(phi, _UNIT) and _stable(-theta, _UNIT)):
        return None if p + q else Arma(phi, theta, mean, d, np.inf)
    n, k = len(w) - begin, p + q + 1 + (mean != 0.0)
    if n - k - 1 <= 0:
        return None if p + q else Arma(phi, theta, mean, d, np.inf)
    aicc = n * np.log(max(sse / n, 1e-300)) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
    return Arma(phi, theta, mean, d, float(aicc))


def _residuals(w: Array, phi: Array, theta: Array) -> Array:
    return np.asarray(lfilter(np.concatenate([[1.0], -phi]), np.concatenate([[1.0], theta]), w))


def _jacobian(w: Array, error: Array, theta: Array, p: int, q: int) -> Array:
    """Derivatives of the residuals: -w(t-i) / theta(B) and -e(t-j) / theta(B)."""
    found = np.zeros((len(w), p + q))
    denominator = np.concatenate([[1.0], theta])
    for count, offset, source in ((p, 0, w), (q, p, error)):
        if count:
            filtered = lfilter([1.0], denominator, source)
            for i in range(1, count + 1):
                found[i:, offset + i - 1] = -filtered[:-i]
    return found


def _inside(coefficients: Array) -> Array:
    """Coefficients of an autoregression, made smaller until it is stationary."""
    shrunk = coefficients
    for _ in range(60):
        if _stable(shrunk, 0.97):
            return shrunk
        shrunk = shrunk * 0.9 ** np.arange(1, len(shrunk) + 1)  # draws all inverse roots in by a tenth
    return np.zeros(len(coefficients))


def _stable(coefficients: Array, radius: float) -> bool:
    """Whether all inverse roots of 1 - sum a_i B^i lie within the radius: the Levinson recursion run backwards."""
    a = [value / radius ** (i + 1) for i, value in enumerate(coefficients.tolist())]
    while a:
        last = a.pop()
        if not last * last < 1:
            return False
        rest = 1 - last * last
        a = [(value + last * other) / rest for value, other in zip(a, reversed(a), strict=True)]
    return True
