"""Gaussian hidden Markov models by hmmlearn's EM algorithm, from several starts."""

from __future__ import annotations

import logging

import numpy as np

from qts.market.bar import Array
from qts.regime.model import Regimes

#: Of each start, and of the best ones afterwards.
_SHORT, _LONG = 40, 2000
#: An inverse gamma prior with a scale of a hundred-thousandth of the series' variance. It is too weak to move an
#: estimate, but the variance of a state with one observation cannot fall to zero, where the likelihood is infinite.
_PRIOR = 1e-5


def candidates(values: Array, states: int, starts: int, rng: np.random.Generator) -> list[Regimes]:
    """Local optima of the likelihood.

    Args:
        values: finite, of mean 0 and variance 1, shape (T,).
        states: K, at least 2.
        starts: how many random starts; the best quarter of them goes on to convergence.
    """
    logger = logging.getLogger("hmmlearn")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of every step that the prior above made smaller by a rounding error
    try:
        short = [_em(_start(states, n, rng), values, _SHORT, 1e-3) for n in range(starts)]
        best = sorted(short, key=lambda reached: -reached[0])[: max(starts // 4, 1)]
        return [_em(model, values, _LONG, 1e-5)[1] for _, model in best]
    finally:
        logger.setLevel(level)


def _start(states: int, number: int, rng: np.random.Generator) -> Regimes:
    """Where EM begins: even starts differ in variance, as markets' regimes do, odd ones in mean, as economies' do."""
    spread = np.linspace(-1, 1, states) * rng.uniform(0.3, 1.5)
    by_variance = number % 2 == 0
    mean = 0.05 * rng.normal(size=states) if by_variance else spread
    variance = np.exp(spread if by_variance else rng.normal(-0.5, 0.3, states))
    stay = rng.uniform(0.7, 0.99, states)
    transition = np.where(np.eye(states, dtype=bool), stay[:, None], (1 - stay[:, None]) / (states - 1))
    return Regimes(mean, np.sqrt(variance), transition, np.full(states, 1 / states), np.zeros(0))


def _em(start: Regimes, values: Array, iterations: int, tolerance: float) -> tuple[float, Regimes]:
    """The log-likelihood and the model that EM reaches."""
    try:
        return _run(start, values, iterations, tolerance, "scaling")
    except ValueError:  # an outlier so far out that densities underflow; logarithms take it, at half the speed
        return _run(start, values, iterations, tolerance, "log")


def _run(
    start: Regimes, values: Array, iterations: int, tolerance: float, implementation: str
) -> tuple[float, Regimes]:
    from hmmlearn.hmm import GaussianHMM

    model = GaussianHMM(
        start.states,
        covars_prior=_PRIOR,
        covars_weight=1,
        n_iter=iterations,
        tol=tolerance,
        init_params="",
        implementation=implementation,
    )
    model.n_features = 1
    model.startprob_, model.transmat_ = start.start, start.transition
    model.means_, model.covars_ = start.mean[:, None], start.sd[:, None] ** 2
    model.fit(values[:, None])
    sd = np.sqrt(model.covars_.reshape(-1))
    reached = Regimes.ordered(model.means_[:, 0], sd, model.transmat_, model.startprob_)
    return float(model.monitor_.history[-1]), reached
