"""Markov switching regressions and autoregressions by statsmodels, from several starts."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from qts.market.bar import Array
from qts.regime.model import Regimes, stationary

#: EM steps of each start, and how many of the best go on to a quasi-Newton search.
_EM, _SEARCHED = 40, 4


def candidates(
    values: Array, states: int, starts: int, rng: np.random.Generator, *, order: int, switching_variance: bool
) -> list[Regimes]:
    """Local optima of the likelihood.

    Several starts matter: on Hamilton's GNP series a single one may end at -182.5, below the published -181.263.

    Args:
        values: finite, of mean 0 and variance 1, shape (T,).
        states: K, at least 2.
        starts: how many random starts.
        order: lags of the autoregression; 0 for none.
        switching_variance: whether every state has its own.
    """
    model = _model(values, states, order, switching_variance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a start that leads nowhere warns of its infinities and is dropped below
        reached = []
        for number in range(starts):
            start = _start(model.param_names, states, number, rng)
            try:
                params = model._fit_em(start, maxiter=_EM, tolerance=0, return_params=True)
                reached.append((float(model.loglike(params)), params))
            except (ValueError, np.linalg.LinAlgError, FloatingPointError):
                continue
        reached = sorted((pair for pair in reached if np.isfinite(pair[0])), key=lambda pair: -pair[0])
        found = []
        for _, params in reached[:_SEARCHED]:
            try:
                better = model.fit(start_params=params, em_iter=0, maxiter=500, return_params=True)
            except (ValueError, np.linalg.LinAlgError, FloatingPointError):
                better = params
            best = max((better, params), key=lambda p: np.nan_to_num(model.loglike(p), nan=-np.inf))
            found.append(_regimes(model.param_names, best, states, order, switching_variance))
    return found


def _model(values: Array, states: int, order: int, switching_variance: bool) -> Any:
    from statsmodels.tsa.regime_switching.markov_autoregression import MarkovAutoregression
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    if order:
        return MarkovAutoregression(
            values, states, order, switching_ar=False, switching_variance=switching_variance, trend="c"
        )
    return MarkovRegression(values, states, trend="c", switching_variance=switching_variance)


def _start(names: list[str], states: int, number: int, rng: np.random.Generator) -> Array:
    spread = np.linspace(-1, 1, states) * rng.uniform(0.3, 1.5)
    by_variance = number % 2 == 0
    stay = rng.uniform(0.7, 0.97, states)
    value = {f"const[{k}]": 0.05 * rng.normal() if by_variance else spread[k] for k in range(states)}
    value |= {f"sigma2[{k}]": np.exp(spread[k] if by_variance else rng.normal(-0.5, 0.3)) for k in range(states)}
    value["sigma2"] = rng.uniform(0.3, 1.0)
    for i in range(states):
        value |= {f"p[{i}->{j}]": stay[i] if i == j else (1 - stay[i]) / (states - 1) for j in range(states)}
    value |= {name: rng.uniform(-0.2, 0.2) for name in names if name.startswith("ar.")}
    return np.array([value[name] for name in names])


def _regimes(names: list[str], params: Array, states: int, order: int, switching_variance: bool) -> Regimes:
    value = dict(zip(names, params.tolist(), strict=True))
    transition = np.zeros((states, states))
    for i in range(states):
        for j in range(states - 1):
            transition[i, j] = value[f"p[{i}->{j}]"]
    transition = np.clip(transition, 0, 1)
    transition[:, -1] = np.clip(1 - transition.sum(axis=1), 0, 1)
    transition /= transition.sum(axis=1, keepdims=True)
    variances = [value[f"sigma2[{k}]" if switching_variance else "sigma2"] for k in range(states)]
    return Regimes.ordered(
        np.array([value[f"const[{k}]"] for k in range(states)]),
        np.sqrt(variances),
        transition,
        stationary(transition),
        np.array([value[f"ar.L{lag}"] for lag in range(1, order + 1)]),
    )
