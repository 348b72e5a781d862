"""Several models as one, weighted by how well each did of late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qts.errors import ConfigError
from qts.forecast.point.base import Fit, Panel, PointModel, Predictive
from qts.market.bar import Array, IntArray, State

_DISCOUNT = 0.95  # of a squared error, per period
_REPLAYED = 30  # training rows on which the first weights are earned


class Ensemble:
    """The linear pool of its members with weights inverse to their discounted squared one-step errors.

    w_k is in proportion to 1 / sum_t delta^(T - t) e_k(t)^2, series by series. Mean and variance are those of the
    mixture, so members that disagree make it less sure. Sources: J. Bates and C. Granger, "The combination of
    forecasts", Operational Research Quarterly 20 (1969); J. Stock and M. Watson, "Combination forecasts of output
    growth in a seven-country data set", Journal of Forecasting 23 (2004), equation 4.

    Args:
        members: at least one model.
    """

    name = "ensemble"

    def __init__(self, members: Sequence[PointModel]) -> None:
        if not members:
            raise ConfigError("An ensemble has no members; expected at least one model.")
        self.members = tuple(members)

    def fit(self, panel: Panel, horizon: int) -> Fit:
        """Members are fitted to all rows but the last ones, whose errors earn the first weights; then to all rows."""
        rows = max(len(panel.values) - _REPLAYED, 0)
        before = replace(panel, values=panel.values[:rows], times=panel.times[:rows])
        losses = np.zeros((len(panel.names), len(self.members)))
        for k, member in enumerate(self.members):
            state = member.fit(before, 1).state
            for row, at in zip(panel.values[rows:], panel.times[rows:], strict=True):
                losses[:, k] = _discounted(losses[:, k], row - member.forecast(state, 1).mean[:, 0])
                state = member.update(state, row, at)
        fits = [member.fit(panel, horizon) for member in self.members]
        joined: State = {"loss": losses}
        for member, fit in zip(self.members, fits, strict=True):
            joined |= {_key(member, key): value for key, value in fit.state.items()}
        # A member that fell back is a random walk among the others; only when all have is the ensemble none.
        each = zip(*(fit.fallback for fit in fits), strict=True)
        return Fit(joined, tuple("; ".join(reasons) if all(reasons) else "" for reasons in each))

    def update(self, state: State, values: Array, times: IntArray) -> State:
        """See `PointModel.update`."""
        losses, after = state["loss"].copy(), dict(state)
        for k, member in enumerate(self.members):
            own = _own(member, state)
            losses[:, k] = _discounted(losses[:, k], values - member.forecast(own, 1).mean[:, 0])
            after |= {_key(member, key): value for key, value in member.update(own, values, times).items()}
        return {**after, "loss": losses}

    def forecast(self, state: State, horizon: int) -> Predictive:
        """See `PointModel.forecast`."""
        parts = [member.forecast(_own(member, state), horizon) for member in self.members]
        each = self.weights(state)[:, :, None]
        means = np.stack([part.mean for part in parts], axis=1)
        variances = np.stack([np.square(part.sd) for part in parts], axis=1)
        mean = (each * means).sum(axis=1)
        variance = (each * (variances + np.square(means - mean[:, None]))).sum(axis=1)
        heaviest = np.min([part.df for part in parts], axis=0)
        return Predictive(mean, np.sqrt(variance), heaviest)

    def weights(self, state: State) -> Array:
        """The members' weights, shape (N, members), each row adding up to 1."""
        losses = state["loss"]
        least = losses.min(axis=1, keepdims=True)
        inverse = np.where(losses > 0, np.maximum(least, np.finfo(float).tiny) / np.maximum(losses, 1e-300), 1.0)
        return np.asarray(inverse / inverse.sum(axis=1, keepdims=True))


def _discounted(loss: Array, error: Array) -> Array:
    return np.where(np.isfinite(error), _DISCOUNT * loss + np.square(np.where(np.isfinite(error), error, 0.0)), loss)


def _key(member: PointModel, key: str) -> str:
    """Names of a member's arrays; what is shared stays recognisable."""
    return f"shared.{member.name}.{key}" if key.startswith("shared.") else f"{member.name}.{key}"


def _own(member: PointModel, state: State) -> State:
    shared, own = f"shared.{member.name}.", f"{member.name}."
    found = {key.removeprefix(shared): value for key, value in state.items() if key.startswith(shared)}
    return found | {key.removeprefix(own): value for key, value in state.items() if key.startswith(own)}
