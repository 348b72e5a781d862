"""What volatility models see of the past, and the features that they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qts.forecast.averages import WINDOWS, rolling_mean
from qts.forecast.memory import Memory
from qts.market.bar import Array

#: Optional columns of `Measures`.
OPTIONAL = ("returns", "rs_minus", "rs_plus", "quarticity")

_SCALE_WEIGHT = 0.06  # of the newest variance in the volatility that scales shocks, RiskMetrics' (1996)


@dataclass(frozen=True)
class Measures:
    """Realised measures of `N` instruments, each packed from row 0: row t is the instrument's own t-th bar.

    Attributes:
        variance: realised variance or a proxy of it, positive, shape (T, N); NaN below a column's end.
        returns: returns from close to close, shape (T, N), or None.
        rs_minus, rs_plus: realised semivariances, the parts of the variance from falls and from rises, or None.
        quarticity: realised quarticity, in units of the variance squared, or None.
        past: what recursive features carry from earlier rows; None for a whole history.
    """

    variance: Array
    returns: Array | None = None
    rs_minus: Array | None = None
    rs_plus: Array | None = None
    quarticity: Array | None = None
    past: Memory | None = None

    @property
    def memory(self) -> Memory:
        """Where recursive features go on from; by default rows begin with the history."""
        return self.past or Memory.whole(self.variance)

    def has(self, needs: tuple[str, ...]) -> bool:
        """Whether all these columns are there."""
        return all(getattr(self, name) is not None for name in needs)

    def get(self, name: str) -> Array:
        """A column that a model has said it needs."""
        values: Array | None = getattr(self, name)
        if values is None:
            raise KeyError(f"There is no {name}; ask `has` first.")
        return values

    def rows(self, index: npt.NDArray[np.integer[Any]] | slice) -> Measures:
        """Some rows only."""
        optional = {name: getattr(self, name) for name in OPTIONAL}
        part = {name: None if values is None else values[index] for name, values in optional.items()}
        return Measures(self.variance[index], **part)

    def per(self, unit: float) -> Measures:
        """The same with variances in multiples of `unit`."""
        sizes = {"returns": float(np.sqrt(unit)), "rs_minus": unit, "rs_plus": unit, "quarticity": unit * unit}
        optional = {name: getattr(self, name) for name in OPTIONAL}
        scaled = {name: None if values is None else values / sizes[name] for name, values in optional.items()}
        return Measures(self.variance / unit, **scaled)


def means(values: Array) -> list[Array]:
    """Means of the last day, week and month (1, 5 and 22 rows) of Corsi's HAR, shape (T, N) each."""
    return [rolling_mean(values, window) for window in WINDOWS]


def exponential_means(measures: Measures) -> list[Array]:
    """Exponential averages of the variance with centres of mass 1, 5, 25 and 125 rows, shape (T, N) each.

    Source: T. Bollerslev, B. Hood, J. Huss and L. Pedersen, "Risk everywhere", Review of Financial Studies 31 (2018),
    the HExp model.
    """
    variance, memory = measures.variance, measures.memory
    return [memory.exponential(f"mean{c}", variance, np.full(variance.shape[1], c / (1 + c))) for c in (1, 5, 25, 125)]


def falls(measures: Measures) -> list[Array]:
    """Negative returns in units of the current volatility, min(r, 0) / s, averaged over a day, a week and a month.

    s^2 is the exponential average of the variance up to the same row, so that one wild day is divided by its own
    size: where the variance is a squared return, the ratio stays above -1 / sqrt(.06) = -4.1. Raw returns as
    regressors did worse than none.

    After F. Corsi and R. Reno, "Discrete-time volatility forecasting with persistent leverage effect", Journal of
    Business & Economic Statistics 30 (2012), with two differences: they scale by nothing, and over a week and a month
    they take the negative part of the mean return, where this is the mean of the negative parts, so that a fall which
    the week made good again still counts. By QLIKE of 2003 to 2006, Garman-Klass: .260 against .267 with theirs, scaled
    alike, on the S&P 500, .243 against .244 on the NASDAQ.
    """
    variance = measures.variance
    scale = np.sqrt(measures.memory.exponential("scale", variance, np.full(variance.shape[1], 1 - _SCALE_WEIGHT)))
    return means(np.minimum(measures.get("returns"), 0) / scale)
