"""GARCH and GJR by Gaussian quasi maximum likelihood, fast enough to refit a thousand series every month."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from qts.forecast.volatility.har import levelled
from qts.forecast.volatility.measures import Measures
from qts.market.bar import Array, IntArray

_FEWEST = 100  # returns
_MOST_PERSISTENT = 0.9999
_LEAST_OMEGA = 1e-6  # of the mean squared return
_REFIT_TOL = 1e-3  # of the log-likelihood: parameters within a twentieth of their standard errors
_STEPS = 100  # of the search for the maximum, at most


class GarchFit(NamedTuple):
    """h(t+1) = omega + alpha e(t)^2 + gamma e(t)^2 [e(t) < 0] + beta h(t), from h(0) with e^2 and h at the backcast.

    Attributes:
        omega: in units of squared returns.
        alpha, gamma, beta: gamma is 0 in a GARCH.
        log_likelihood: Gaussian, of all returns that were fitted to.
        backcast: what stands for squared return and variance before the first: the mean squared return.
    """

    omega: float
    alpha: float
    gamma: float
    beta: float
    log_likelihood: float
    backcast: float

    def variances(self, returns: Array) -> Array:
        """Conditional variances h(0) to h(T), the last one of the bar to come, shape (T + 1,)."""
        first = self.omega + self.alpha * self.backcast + self.gamma * self.backcast / 2 + self.beta * self.backcast
        return _lagged(self.following(returns, first), first)

    def following(self, returns: Array, variance: float) -> Array:
        """Conditional variances of the bars after each of these returns, shape (T,).

        Args:
            variance: of the first of these bars.
        """
        down = np.where(returns < 0, returns**2, 0.0)
        shocks = self.omega + self.alpha * returns**2 + self.gamma * down
        found, _ = lfilter([1.0], [1.0, -self.beta], shocks, zi=[self.beta * variance])
        return np.asarray(found)


def fit_garch(
    returns: Array, *, asymmetric: bool = False, start: GarchFit | None = None, tol: float = 1e-8
) -> GarchFit:
    """Fits GARCH(1,1) of T. Bollerslev (1986), or GJR(1,1) of Glosten, Jagannathan and Runkle (1993), with mean zero.

    Fisher's scoring with the expected information sum h^-2 dh dh' / 2 and analytic derivatives, damped after Levenberg
    and Marquardt where a step does not raise the likelihood. The parameters live in alpha for rises and falls apart,
    beta and omega, all kept non-negative, and a persistence below 1.

    Args:
        returns: residuals of the mean, shape (T,), not all zero.
        asymmetric: GJR in place of GARCH.
        start: a fit of nearly the same series to start from: a few steps do then.
        tol: gain of the log-likelihood that the next step must promise.
    """
    scale = float(np.mean(returns**2))
    squared = returns**2 / scale
    shocks = [squared]
    if asymmetric:
        down = returns < 0
        shocks = [np.where(down, 0.0, squared), np.where(down, squared, 0.0)]
    before = 1 / len(shocks)  # the backcast, half of it a rise and half a fall
    inputs = np.stack([np.ones(len(returns)), *(_lagged(x, before)[:-1] for x in shocks)])
    weights = np.array([0.0, *([before] * len(shocks)), 1.0])
    theta = _first_guess(asymmetric) if start is None else _theta_of(start, scale, asymmetric)
    likelihood, score, information = _likelihood(theta, squared, inputs)
    damping = 0.0
    for _ in range(_STEPS):
        free = (theta > _floor(theta)) | (score > 0)
        step = np.zeros(len(theta))
        core = information[np.ix_(free, free)]
        step[free] = np.linalg.solve(core + (damping + 1e-10) * np.diag(np.diag(core)), score[free])
        if score @ step / 2 < tol:
            break
        trial = _inside(theta + step, weights)
        found = _likelihood(trial, squared, inputs)
        if found[0] > likelihood:
            theta, (likelihood, score, information) = trial, found
            damping = damping / 10 if damping > 1e-3 else 0.0
        else:
            damping = max(10 * damping, 1e-2)
    omega, *alphas, beta = (float(number) for number in theta)
    alpha, gamma = (alphas[0], alphas[1] - alphas[0]) if asymmetric else (alphas[0], 0.0)
    constant = 0.5 * len(returns) * (np.log(2 * np.pi) + np.log(scale))
    return GarchFit(omega * scale, alpha, gamma, beta, float(likelihood - constant), scale)


def _likelihood(theta: Array, squared: Array, inputs: Array) -> tuple[float, Array, Array]:
    """Log-likelihood without its constant, its gradient, and the expected information.

    h is linear in all parameters but beta, so its derivatives by them, filtered from `inputs`, add up to it; what is
    left is the backcast of 1, which fades as beta^(t+1).
    """
    beta = theta[-1]
    recursion = ([1.0], [1.0, -beta])
    slopes = np.empty((len(theta), len(squared)))
    slopes[:-1] = lfilter(*recursion, inputs, axis=1)
    h = theta[:-1] @ slopes[:-1] + (1 - (1 - beta) * slopes[0])
    slopes[-1] = lfilter(*recursion, _lagged(h, 1.0)[:-1])
    slopes /= h
    ratio = squared / h
    return -0.5 * float((np.log(h) + ratio).sum()), 0.5 * slopes @ (ratio - 1), 0.5 * slopes @ slopes.T


def _lagged(values: Array, before: float) -> Array:
    return np.concatenate([[before], values])


def _first_guess(asymmetric: bool) -> Array:
    return np.array([0.05, 0.03, 0.09, 0.88]) if asymmetric else np.array([0.05, 0.06, 0.88])


def _theta_of(fit: GarchFit, scale: float, asymmetric: bool) -> Array:
    alphas = [fit.alpha, fit.alpha + fit.gamma] if asymmetric else [fit.alpha]
    return np.array([fit.omega / scale, *alphas, fit.beta])


def _floor(theta: Array) -> Array:
    floor = np.zeros(len(theta))
    floor[0] = _LEAST_OMEGA
    return floor


def _inside(theta: Array, weights: Array) -> Array:
    """The nearest parameters that are allowed: non-negative, then shrunk to a persistence below 1."""
    theta = np.maximum(theta, _floor(theta))
    persistence = float(weights @ theta)
    if persistence > _MOST_PERSISTENT:
        theta = np.where(weights > 0, theta * (_MOST_PERSISTENT / persistence), theta)
    return theta


@dataclass(frozen=True)
class Garch:
    """The conditional variance of returns, brought to the level of the realised variance.

    Realised variance leaves out the time when a market is closed, and its proxies have biases of their own, so the
    forecast is h times the mean of variance / h over the forecasts so far.
    """

    name: str
    asymmetric: bool = False
    needs: tuple[str, ...] = ("returns",)

    def forecast(self, measures: Measures, rows: IntArray) -> Array:
        """Forecasts of the next variance, shape (T, N), with parameters refitted at `rows`."""
        returns = measures.get("returns")
        found = np.full(returns.shape, np.nan)
        for n in range(returns.shape[1]):
            length = int(np.isfinite(returns[:, n]).sum())
            found[:length, n] = self._series(returns[:length, n], rows)
        return levelled(found, measures.variance)

    def _series(self, returns: Array, rows: IntArray) -> Array:
        found = np.full(len(returns), np.nan)
        refits = rows[(rows >= _FEWEST - 1) & (rows < len(returns))]
        fitted: GarchFit | None = None
        for row, end in zip(refits, [*refits[1:], len(returns)], strict=True):
            seen = returns[: row + 1]
            if not seen.any():
                continue  # the price has not moved yet
            fitted = fit_garch(seen, asymmetric=self.asymmetric, start=fitted, tol=_REFIT_TOL)
            found[row:end] = fitted.variances(returns[:end])[row + 1 : end + 1]
        return found


GARCH = Garch("garch")
GJR = Garch("gjr", asymmetric=True)
