"""A regime model's parameters: a Markov chain over K states, and what each state does to a series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from qts.errors import DataError
from qts.market.bar import Array

#: How far a row of probabilities may be from summing to 1: parameters are read back from text.
_SUM = 1e-6


@dataclass(frozen=True)
class Regimes:
    """A Gaussian series whose mean and standard deviation follow a hidden Markov chain.

        y_t = mean[s_t] + sum_i ar[i] (y_{t-i} - mean[s_{t-i}]) + sd[s_t] e_t,    e_t ~ N(0, 1)

    Without `ar` this is a Gaussian hidden Markov model; with it, Hamilton's autoregression around a switching mean.
    States are in the order of their standard deviations, or of their means where all share one standard deviation.

    Source: J. Hamilton, "A New Approach to the Economic Analysis of Nonstationary Time Series and the Business Cycle",
    Econometrica 57 (1989), equations 2.1 and 4.3.

    Attributes:
        mean, sd: of each state, in the units of the series, shape (K,).
        transition: probability of going from the row's state to the column's, shape (K, K).
        start: distribution of the first state, shape (K,).
        ar: coefficients of lags 1 to p, shape (p,).
    """

    mean: Array
    sd: Array
    transition: Array
    start: Array
    ar: Array

    @classmethod
    def ordered(cls, mean: Array, sd: Array, transition: Array, start: Array, ar: Array | None = None) -> Regimes:
        """The same model with its states in order."""
        order = np.lexsort((mean, sd))
        return cls(
            mean[order],
            sd[order],
            transition[np.ix_(order, order)],
            start[order],
            np.zeros(0) if ar is None else np.asarray(ar, np.float64),
        )

    @property
    def states(self) -> int:
        """K."""
        return len(self.mean)

    @property
    def order(self) -> int:
        """Lags of the autoregression, p."""
        return len(self.ar)

    @property
    def switching_variance(self) -> bool:
        """Whether the states differ in their standard deviations."""
        return bool(self.sd.max() > self.sd.min())

    @property
    def names(self) -> tuple[str, ...]:
        """What the states are called."""
        return state_names(self.states, by_variance=self.switching_variance)

    @property
    def expected_duration(self) -> Array:
        """Mean number of observations that a state lasts, 1 / (1 - p_ii), shape (K,)."""
        stays = np.diag(self.transition)
        return np.where(stays < 1, 1 / np.where(stays < 1, 1 - stays, 1.0), np.inf)

    @cached_property
    def stationary(self) -> Array:
        """The share of time that the chain spends in each state in the long run, shape (K,)."""
        return stationary(self.transition)

    def to_params(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {name: getattr(self, name).tolist() for name in ("mean", "sd", "transition", "start", "ar")}

    @classmethod
    def of_params(cls, params: Mapping[str, Any]) -> Regimes:
        """What `to_params` gave.

        Raises:
            DataError: it is not a model: a part is missing or of the wrong shape, a standard deviation is not above
                zero, a probability is not one.
        """
        try:
            parts = {name: np.array(params[name], np.float64) for name in ("mean", "sd", "transition", "start", "ar")}
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"These are no regime parameters: {type(error).__name__} {error}. Fit them again."
            ) from None
        model = cls(**parts)
        if problem := model._problem():
            raise DataError(f"These regime parameters make no model: {problem}. Fit them again.")
        return model

    def _problem(self) -> str:
        k = self.mean.size
        if not k or [self.mean.shape, self.sd.shape, self.start.shape, self.transition.shape] != [(k,)] * 3 + [(k, k)]:
            return f"shapes {self.mean.shape}, {self.sd.shape}, {self.transition.shape}, {self.start.shape}"
        if self.ar.ndim != 1 or not all(np.isfinite(part).all() for part in vars(self).values()):
            return "a figure is not finite"
        if not (self.sd > 0).all():
            return f"standard deviations {self.sd.tolist()}"
        for row in (*self.transition, self.start):
            if (row < 0).any() or abs(row.sum() - 1) > _SUM:
                return f"probabilities {row.tolist()}"
        return ""


def stationary(transition: npt.NDArray[np.float64]) -> Array:
    """The distribution that a chain keeps: pi P = pi, sum 1; least squares, so that a reducible chain gives one too."""
    k = len(transition)
    system = np.vstack([np.eye(k) - transition.T, np.ones((1, k))])
    solution = np.linalg.lstsq(system, np.append(np.zeros(k), 1.0), rcond=None)[0]
    positive = np.clip(solution, 0, None)
    return np.asarray(positive / positive.sum())


def state_names(states: int, *, by_variance: bool = True) -> tuple[str, ...]:
    """Names of K ordered states.

    >>> state_names(2), state_names(3)
    (('calm', 'stressed'), ('calm', 'normal', 'stressed'))
    >>> state_names(2, by_variance=False)
    ('low', 'high')
    """
    if states == 1:
        return ("normal",)
    first, middle, last = ("calm", "normal", "stressed") if by_variance else ("low", "middle", "high")
    between = states - 2
    return (first, *([middle] if between == 1 else [f"{middle}_{n + 1}" for n in range(between)]), last)
