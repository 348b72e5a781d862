"""The forward filter: what is known of the hidden state after each bar, from that bar and those before it only.

A smoother (hmmlearn's `predict` and `predict_proba`, the EM algorithm's posteriors) uses the whole series, so its
regime of last March knows what April did. No decision may see one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import exp2, log1p, ndtr, xlogy

from qts.errors import DataError
from qts.market.bar import Array, State
from qts.regime.model import Regimes

_LOG2E = float(np.log2(np.e))
#: A bar further than this many standard deviations from all states tells no more than that; its square must be finite.
_FAR = 1e6


@dataclass(frozen=True)
class Filtered:
    """What a bar told, of `N` series (or of one series' `T` bars).

    Attributes:
        probability: of each state given all bars up to this one, shape (N, K); 0 for states that a series' model lacks.
        log_density: of the bar given those before it, shape (N,); NaN where it was missing or only filled the lags.
            Its sum is the log-likelihood.
    """

    probability: Array
    log_density: Array


@dataclass(frozen=True)
class ForwardFilter:
    """Hamilton's filter for `N` series with a model each, in logarithms, all series at once.

    An autoregression of order p makes the last p + 1 states matter, so the chain runs over S = K^(p+1) histories
    (s_t, s_{t-1}, ..., s_{t-p}). With p = 0 that is the forward algorithm of a hidden Markov model. No figure of a
    series depends on the other series, to the last bit.

    Source: Hamilton (1989), section 4; L. Rabiner, "A Tutorial on Hidden Markov Models", Proc. IEEE 77 (1989), III.A.

    Attributes:
        states, order: K and p, the same for all series; a model of fewer states leaves the others empty.
        level: mean of the series in each history but for its lagged values, shape (N, S).
        sd: shape (N, S).
        log_scale: log(sd sqrt(2 pi)), shape (N, S).
        log_transition: shape (N, K, K).
        log_start: of the first history, shape (N, S).
        start: distribution of the first state, shape (N, K).
        ar: shape (N, p).
    """

    states: int
    order: int
    level: Array
    sd: Array
    log_scale: Array
    log_transition: Array
    log_start: Array
    start: Array
    ar: Array

    @classmethod
    def of(cls, models: Sequence[Regimes]) -> ForwardFilter:
        """A filter over series in the order of their models.

        Raises:
            DataError: there is no model, or their orders differ.
        """
        if len({model.order for model in models}) != 1:
            raise DataError(
                f"A filter needs models of one order, got {sorted({model.order for model in models})}. "
                "Filter those of another order on their own."
            )
        states, order = max(model.states for model in models), models[0].order
        mean = np.stack([_padded(model.mean, states, 0.0) for model in models])
        sd = np.stack([_padded(model.sd, states, 1.0) for model in models])
        start = np.stack([_padded(model.start, states, 0.0) for model in models])
        transition = np.zeros((len(models), states, states))
        for n, model in enumerate(models):
            transition[n, : model.states, : model.states] = model.transition
        log_transition, log_start = log(transition), log(start)
        ar = np.stack([model.ar for model in models])
        # Column s of a digit is the state so many bars ago: history = s_t K^p + s_{t-1} K^(p-1) + ... + s_{t-p}.
        digit = np.stack(np.unravel_index(np.arange(states ** (order + 1)), (states,) * (order + 1)))
        level, history = mean[:, digit[0]].copy(), log_start[:, digit[order]].copy()
        for lag in range(1, order + 1):
            level -= ar[:, lag - 1, None] * mean[:, digit[lag]]
            history += log_transition[:, digit[lag], digit[lag - 1]]
        scale = sd[:, digit[0]]
        return cls(
            states, order, level, scale, log(scale) + 0.5 * np.log(2 * np.pi), log_transition, history, start, ar
        )

    def begin(self) -> State:
        """Before the first bar; the leading axis of every array is the series'."""
        return {
            "log_predicted": self.log_start.copy(),
            "probability": self.start.copy(),
            "lags": np.full((len(self.level), self.order), np.nan),
        }

    def step(self, state: State, value: Array) -> tuple[State, Filtered]:
        """Takes in one bar.

        Args:
            state: of `begin` or of the step before; it is not changed.
            value: one figure a series, shape (N,). Where it is not finite the bar is missing and nothing moves.
        """
        lags = state["lags"]
        here = np.isfinite(value)
        usable = here & np.isfinite(lags).all(axis=1)
        y = np.where(usable, value, 0.0)
        expected = self.level.copy()
        for lag in range(self.order):
            expected += (self.ar[:, lag] * np.where(usable, lags[:, lag], 0.0))[:, None]
        z = np.clip((y[:, None] - expected) / self.sd, -_FAR, _FAR)
        joint = state["log_predicted"] - 0.5 * z * z - self.log_scale
        top = joint.max(axis=1)
        joint = joint - top[:, None]  # first of all, or a bar that lies far out leaves no digits for the sum
        total = log_sum_exp(joint)
        joint, log_density = joint - total[:, None], top + total
        marginal = log_sum_exp(joint.reshape(len(y), self.states, -1))
        keep = usable[:, None]
        after: State = {
            "log_predicted": np.where(keep, self._ahead(joint), state["log_predicted"]),
            "probability": np.where(keep, exp(marginal), state["probability"]),
            "lags": np.where(here[:, None], np.column_stack([value, lags])[:, : self.order], lags),
        }
        return after, Filtered(after["probability"], np.where(usable, log_density, np.nan))

    def _ahead(self, joint: Array) -> Array:
        """Log probability of the next history, given that of this one, shape (N, S)."""
        series, histories = joint.shape
        now = np.arange(histories) // self.states**self.order
        paths = joint[:, None, :] + self.log_transition[:, now, :].transpose(0, 2, 1)
        return log_sum_exp(paths.reshape(series, histories, self.states))

    def run(self, values: Array, state: State | None = None) -> tuple[State, Filtered]:
        """Filters whole series.

        Args:
            values: shape (T, N), NaN where a bar is missing.
            state: to go on from; by default the one before the first bar.

        Returns:
            The state after the last bar; probability of shape (T, N, K) and log_density of shape (T, N).
        """
        state, found = self.begin() if state is None else state, []
        for row in values:
            state, filtered = self.step(state, row)
            found.append(filtered)
        return state, Filtered(
            np.array([f.probability for f in found]).reshape(len(values), len(self.level), self.states),
            np.array([f.log_density for f in found]).reshape(len(values), len(self.level)),
        )

    def next_sd(self, probability: Array) -> Array:
        """Standard deviation of each series' next bar, given its filtered probabilities; for models without lags.

        Args:
            probability: shape (..., N, K).

        Returns:
            Of the mixture of the states' normal distributions one bar ahead, shape (..., N).
        """
        mean, square = np.zeros(probability.shape[:-1]), np.zeros(probability.shape[:-1])
        for j, ahead in enumerate(self._next(probability)):
            mean = mean + ahead * self.level[:, j]
            square = square + ahead * (self.sd[:, j] ** 2 + self.level[:, j] ** 2)
        return np.asarray(np.sqrt(np.maximum(square - mean**2, 0)))

    def next_probability(self, probability: Array, value: Array) -> Array:
        """Probability that the next bar is no higher than a value: its probability integral transform, once it came.

        Args:
            probability: as of `next_sd`.
            value: of the next bar, shape (..., N).

        Returns:
            Shape (..., N), NaN where the value is.
        """
        below = np.zeros(probability.shape[:-1])
        for j, ahead in enumerate(self._next(probability)):
            below = below + ahead * ndtr((value - self.level[:, j]) / self.sd[:, j])
        return below

    def _next(self, probability: Array) -> list[Array]:
        """Probability of each state one bar ahead, shape (..., N) each; for models without lags."""
        transition, found = exp(self.log_transition), []
        for j in range(self.states):
            ahead = np.zeros(probability.shape[:-1])
            for i in range(self.states):
                ahead = ahead + probability[..., i] * transition[:, i, j]
            found.append(ahead)
        return found


def filter_series(model: Regimes, values: Array) -> Filtered:
    """Filters one series: `probability` of shape (T, K), `log_density` of shape (T,)."""
    _, found = ForwardFilter.of([model]).run(np.asarray(values, np.float64)[:, None])
    return Filtered(found.probability[:, 0], found.log_density[:, 0])


def log_likelihood(model: Regimes, values: Array) -> float:
    """Log density of a series, given its first p values."""
    if model.states == 1 and not model.order:  # nothing is hidden
        z = (np.asarray(values, np.float64) - model.mean) / model.sd
        return float(np.nansum(-0.5 * z * z - np.log(model.sd) - 0.5 * np.log(2 * np.pi)))
    return float(np.nansum(filter_series(model, values).log_density))


def exp(x: Array) -> Array:
    """e^x by SciPy's scalar exp2, whose bits do not depend on where in an array a value stands."""
    return np.asarray(exp2(_LOG2E * x))


def log(x: Array) -> Array:
    """Natural logarithm, -inf of 0, by SciPy's scalar one; see `exp`."""
    return np.asarray(xlogy(1.0, x))


def log_sum_exp(x: Array) -> Array:
    """Log of the sum of exponentials over the last axis; -inf where all are. The order of summation is fixed."""
    top = x.max(axis=-1)
    shift = np.where(np.isfinite(top), top, 0.0)
    total = np.zeros(x.shape[:-1])
    for n in range(x.shape[-1]):
        total = total + exp(x[..., n] - shift)
    return np.asarray(np.where(np.isfinite(top), shift + log1p(total - 1.0), top))


def _padded(values: Array, length: int, fill: float) -> Array:
    return np.concatenate([values, np.full(length - len(values), fill)])
