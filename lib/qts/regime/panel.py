"""Regimes of many instruments: each fitted on its own returns, filtered together, gone on with bar by bar.

What is learnt and kept of an instrument is a JSON object, so that a model version and a state are readable text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qts.errors import DataError
from qts.market.bar import Array, State
from qts.regime.fit import choose_states, fit
from qts.regime.forward import Filtered, ForwardFilter, log_likelihood
from qts.regime.model import Regimes, state_names

Params = dict[str, Any]
#: What the states of one to three regimes are called; a model of two has no `normal`, one of one nothing else.
NAMES = ("calm", "normal", "stressed")
#: The method of an instrument that no model can be fitted to.
UNFITTED = "none"
_TENTHS = 10


def fit_returns(returns: Array, states: int | None, starts: int) -> Params:
    """A Gaussian hidden Markov model of one instrument's log returns.

    Args:
        returns: of the training window, shape (T,).
        states: 1 to 3; None: by BIC.
        starts: random starts of the search.

    Returns:
        The model's parameters with `method` (`hmm`, or `none` where the returns carry no model) and `fallback` (why it
        has fewer states than asked for, or none; else empty).
    """
    try:
        if states is None:
            return _params(choose_states(returns, len(NAMES), starts=starts).regimes, "")
        return _params(fit(returns, states, starts=starts).regimes, "")
    except DataError as error:
        reason = str(error)
    try:
        return _params(fit(returns, 1).regimes, reason)
    except DataError as error:
        return {"method": UNFITTED, "fallback": str(error)}


def _params(model: Regimes, fallback: str) -> Params:
    return {"method": "hmm", "fallback": fallback, **model.to_params()}


@dataclass(frozen=True)
class Panel:
    """The filter of several instruments, and where each stands.

    Attributes:
        models: one an instrument.
        filter: over all of them.
    """

    models: tuple[Regimes, ...]
    filter: ForwardFilter

    @classmethod
    def of(cls, params: Sequence[Mapping[str, Any]]) -> Panel:
        """From what `fit_returns` gave for each.

        Raises:
            DataError: parameters were tampered with.
        """
        models = tuple(Regimes.of_params(entry) for entry in params)
        return cls(models, ForwardFilter.of(models))

    def state(self, standing: Sequence[Mapping[str, Any] | None]) -> State:
        """The filter's state from where each instrument stands; None for one at its beginning."""
        state = self.filter.begin()
        for n, (model, kept) in enumerate(zip(self.models, standing, strict=True)):
            if kept is not None:
                state["log_predicted"][n, : model.states] = kept["log_predicted"]
                state["probability"][n, : model.states] = kept["probability"]
        return state

    def standing(self, state: State) -> list[Params]:
        """Where each instrument stands, for `state` to go on from to the last bit."""
        return [
            {name: state[name][n, : model.states].tolist() for name in ("log_predicted", "probability")}
            for n, model in enumerate(self.models)
        ]

    def named(self, found: Filtered) -> dict[str, Array]:
        """Probabilities by name of the state, each of shape (T, N); 0 for a state that a model lacks."""
        named = {name: np.zeros(found.probability.shape[:-1]) for name in NAMES}
        for n, model in enumerate(self.models):
            for k, name in enumerate(state_names(model.states)):
                named[name][:, n] = found.probability[:, n, k]
        return named


def scores(params: Sequence[Params], returns: Array, first: Sequence[int]) -> list[dict[str, Any]]:
    """How well models foretold returns that they were not fitted to: sums over the rows from one on.

    Args:
        params: one an instrument.
        returns: shape (T, N), NaN below a column's end.
        first: of each instrument the first row that counts.

    Returns:
        n, log_score (of the model), normal (of one normal distribution with the moments of the rows before), inside_80
        and inside_95 (bars inside the central intervals), pit (bars in each tenth of the distribution foretold).
    """
    nothing = {"n": 0, "log_score": 0.0, "normal": 0.0, "inside_80": 0, "inside_95": 0, "pit": [0] * _TENTHS}
    told: list[dict[str, Any]] = [dict(nothing) for _ in params]
    served = [n for n, entry in enumerate(params) if entry["method"] != UNFITTED]
    if served:
        model = Panel.of([params[n] for n in served]).filter
        _, found = model.run(returns[:, served])
        transform = model.next_probability(found.probability[:-1], returns[1:, served])  # of row 1 and on
        for place, n in enumerate(served):
            density = found.log_density[first[n] :, place]
            fell = transform[max(first[n] - 1, 0) :, place]
            fell = fell[np.isfinite(fell)]
            plain = _normal(returns[: first[n], n])
            told[n] = {
                "n": int(np.isfinite(density).sum()),
                "log_score": float(np.nansum(density)),
                "normal": log_likelihood(plain, returns[first[n] :, n]),
                "inside_80": int((np.abs(fell - 0.5) <= 0.4).sum()),
                "inside_95": int((np.abs(fell - 0.5) <= 0.475).sum()),
                "pit": np.histogram(fell, _TENTHS, (0.0, 1.0))[0].tolist(),
            }
    return told


def _normal(returns: Array) -> Regimes:
    one = np.ones(1)
    return Regimes(one * np.nanmean(returns), one * np.nanstd(returns), np.ones((1, 1)), one, np.zeros(0))
