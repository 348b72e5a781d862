"""Fits regime models: several starts, spurious optima refused, the number of states by information criterion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from qts.errors import ConfigError, DataError
from qts.market.bar import Array
from qts.regime import hmm, switching
from qts.regime.forward import filter_series, log_likelihood
from qts.regime.model import Regimes

Kind = Literal["hmm", "markov_switching", "hamilton"]
KINDS: tuple[Kind, ...] = ("hmm", "markov_switching", "hamilton")

#: Observations a state that a series must have, and that a state must explain: fewer fit noise, or one outlier.
_A_STATE, EXPLAINED = 10, 3.0
#: The longest series that is tried with Hamilton's model unasked: a century of quarters.
_SHORT_SERIES = 400
#: Of the series' standard deviation: a model that leaves less is a point mass, its likelihood means nothing.
_NO_SPREAD = 1e-6
#: Optima closer than this are one.
_SAME = 0.01


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        kind: `hmm` (Gaussian hidden Markov model), `markov_switching` (the same with the chain's stationary
            distribution as its start), `hamilton` (autoregression around a switching mean, one variance).
        regimes: the parameters.
        log_likelihood: of the series given its first p values, by the filter that serves the model.
        observations: how many that counts.
        optima: log-likelihoods of the local optima that were found, best first; close ones say that it is stable.
    """

    kind: Kind
    regimes: Regimes
    log_likelihood: float
    observations: int
    optima: tuple[float, ...]

    @property
    def parameters(self) -> int:
        """Number of free parameters; the start is one of them where it is not the stationary distribution."""
        k, variances = self.regimes.states, self.regimes.states if self.regimes.switching_variance else 1
        return k * (k - 1) + k + variances + self.regimes.order + (k - 1) * (self.kind == "hmm")

    @property
    def aic(self) -> float:
        """Akaike's information criterion; lower is better."""
        return 2 * self.parameters - 2 * self.log_likelihood

    @property
    def bic(self) -> float:
        """Schwarz's information criterion; lower is better."""
        return float(np.log(self.observations)) * self.parameters - 2 * self.log_likelihood


def fit(
    values: Array, states: int, kind: Kind = "hmm", *, order: int | None = None, starts: int = 12, seed: int = 0
) -> Fit:
    """The best model of one kind that several starts find.

    Args:
        values: the series, shape (T,); values that are not finite are missing and left out.
        states: K; at least 2 for a model with lags.
        kind: see `Fit`.
        order: lags of the autoregression around the switching mean; by default 4 for `hamilton` and 0 for the others.
            A hidden Markov model has none.
        starts: random starts; the same seed gives the same fit.

    Raises:
        DataError: the series is too short for so many states, or does not move.
        ConfigError: an unknown kind, a number of states below 1, an order that the kind does not have.
    """
    lags = _order(kind, order)
    y = _usable(values, states, lags)
    # In units of its own spread: optimisers and priors then mean the same for returns and for growth in percent.
    middle, spread = float(y.mean()), float(y.std())
    if states == 1 and not lags:
        one = np.ones(1)
        model = Regimes(one * middle, one * spread, np.ones((1, 1)), one, np.zeros(0))
        found = log_likelihood(model, y)
        return Fit(kind, model, found, len(y), (found,))
    rng = np.random.default_rng(seed)
    optima = _search(kind, lags)((y - middle) / spread, states, starts, rng)
    scaled = [Regimes(middle + spread * m.mean, spread * m.sd, m.transition, m.start, m.ar) for m in optima]
    return _chosen(kind, scaled, y)


def choose_states(values: Array, most: int = 3, kind: Kind = "hmm", *, starts: int = 12, seed: int = 0) -> Fit:
    """The fit with the lowest BIC among 1 to `most` states, each of which explains some observations.

    The criterion is the usual guide though its theory does not hold here: with one state the transition probabilities
    are not identified. Source: J. Psaradakis and N. Spagnolo, "On the Determination of the Number of Regimes in
    Markov-Switching Autoregressive Models", Journal of Time Series Analysis 24 (2003).

    Raises:
        DataError: see `fit`; a number of states that the series is too short for is not tried.
        ConfigError: a model with lags, whose search over the histories of three states takes many minutes.
    """
    if _order(kind, None):
        raise ConfigError(
            f"The number of states is chosen among models without lags; say how many {kind} has: --states."
        )
    fits = []
    y = np.asarray(values, np.float64)
    for states in range(1, most + 1):
        try:
            found = fit(values, states, kind, starts=starts, seed=seed)
        except DataError:
            if states == 1:
                raise
            continue
        # A state for one outlier pays by BIC, and takes the name of a regime from one that there is.
        if states == 1 or explained(found.regimes, y[np.isfinite(y)]).min() >= EXPLAINED:
            fits.append(found)
    return min(fits, key=lambda f: f.bic)


def choose_kind(values: Array, states: int, *, starts: int = 12, seed: int = 0) -> list[Fit]:
    """A hidden Markov model and, for a short series, Hamilton's model, the one of lower AIC first.

    Serial correlation that is not the regimes' is what Hamilton's autoregression is for: growth of an economy has it,
    returns of a market hardly. Both are judged on the observations after Hamilton's first lags. Long series and more
    than two states are left to the hidden Markov model: there the search over histories takes minutes.

    Raises:
        DataError: see `fit`.
    """
    plain = fit(values, states, "hmm", starts=starts, seed=seed)
    y = np.asarray(values, np.float64)
    y = y[np.isfinite(y)]
    if states != 2 or not 60 <= len(y) <= _SHORT_SERIES:
        return [plain]
    try:
        other = fit(values, states, "hamilton", starts=starts, seed=seed)
    except DataError:  # such as a series of two values, that an autoregression explains without error
        return [plain]
    lags = other.regimes.order
    later = float(np.nansum(filter_series(plain.regimes, y).log_density[lags:]))
    return sorted([plain, other], key=lambda f: f.aic if f is other else 2 * (f.parameters - later))


def _order(kind: Kind, order: int | None) -> int:
    if kind not in KINDS:
        raise ConfigError(f"There is no regime model {kind!r}; there are {', '.join(KINDS)}.")
    if order is None:
        return 4 if kind == "hamilton" else 0
    # Beyond one lag statsmodels 0.15 lets the variance follow an older state than the current one.
    least, most = {"hmm": (0, 0), "markov_switching": (0, 1), "hamilton": (1, 8)}[kind]
    if not least <= order <= most:
        raise ConfigError(
            f"A model {kind} of order {order} is not to be had: hmm has order 0, markov_switching 0 or 1, "
            "hamilton 1 to 8. Take hamilton for more lags."
        )
    return order


def _usable(values: Array, states: int, order: int) -> Array:
    fewest = 2 if order else 1
    if not fewest <= states <= 8:
        with_lags = f" with {order} lags" if order else ""
        raise ConfigError(f"{states} states{with_lags} were asked for; expected {fewest} to 8.")
    if states ** (order + 1) > 2048:
        raise ConfigError(
            f"{states} states and {order} lags make {states ** (order + 1)} histories; at most 2048 are filtered. "
            "Take fewer of either."
        )
    y = np.asarray(values, np.float64)
    y = y[np.isfinite(y)]
    needed = max(_A_STATE * states, 10 * order) + order
    if len(y) < needed:
        raise DataError(f"The series has {len(y)} finite values; {states} states need {needed}. Take fewer states.")
    if not y.std() > 1e-12 * np.abs(y).max():
        raise DataError("The series does not move: there are no regimes to tell apart.")
    return y


def _search(kind: Kind, order: int) -> Callable[..., list[Regimes]]:
    if kind == "hmm":
        return hmm.candidates
    return partial(switching.candidates, order=order, switching_variance=kind == "markov_switching")


def explained(model: Regimes, y: Array) -> Array:
    """The number of observations that each state explains, in expectation, shape (K,)."""
    return np.asarray(filter_series(model, y).probability.sum(axis=0))


def _chosen(kind: Kind, found: list[Regimes], y: Array) -> Fit:
    """The optimum of highest likelihood among those whose every state explains some observations.

    A state that sits on one or two observations with next to no variance has a likelihood as high as one likes.
    """
    scored = [
        (float(np.nansum(filter_series(model, y).log_density)), float(explained(model, y).min()), model)
        for model in found
    ]
    least = _NO_SPREAD * float(y.std())
    scored = [entry for entry in scored if np.isfinite(entry[0]) and entry[2].sd.min() > least]
    scored.sort(key=lambda entry: -entry[0])
    if not scored:
        raise DataError(
            "No start of the fit led to a model. Take fewer states, or check the series for outliers and "
            "for values that repeat."
        )
    best, _, model = next((entry for entry in scored if entry[1] >= EXPLAINED), scored[0])
    optima: list[float] = []
    for value, _, _ in scored:
        if not optima or optima[-1] - value > _SAME:
            optima.append(value)
    return Fit(kind, model, best, len(y) - model.order, tuple(optima))
