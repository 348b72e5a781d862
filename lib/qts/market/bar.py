"""Bars as arrays: one `Bar` is one time over all instruments; a `BarPanel` is many of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
State = dict[str, npt.NDArray[Any]]

#: The per-bar figures, in the order of the `bars` table. Prices in quote currency, variances of log returns.
FIELDS = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "vwap",
    "trades",
    "spread",
    "realised_variance",
    "bipower",
    "semivariance_minus",
    "semivariance_plus",
    "quarticity",
)


@dataclass(frozen=True)
class Bar:
    """One bar time over `N` instruments; NaN where an instrument has no bar.

    Attributes:
        time: end of the bar, nanoseconds since 1970-01-01 UTC.
        open, high, low, close, vwap: prices, shape (N,).
        volume: units traded, shape (N,).
        trades: number of prints, shape (N,).
        spread: mean quoted spread (ask - bid) in price units, shape (N,); NaN without quotes.
        realised_variance, bipower, semivariance_minus, semivariance_plus, quarticity: shape (N,);
            NaN where the bar has fewer than two prints.
        extra: what else is known, by name, each shape (N,): what came strictly before `time`, such as
            `forecast.log_har.variance`, `index.VIX`; and of the same bar time in other instruments what strategies
            read, see `qts.trading.across`.
        instruments: names, in the order of all arrays; empty where nobody asks.
    """

    time: int
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    vwap: Array
    trades: Array
    spread: Array
    realised_variance: Array
    bipower: Array
    semivariance_minus: Array
    semivariance_plus: Array
    quarticity: Array
    extra: Mapping[str, Array] = field(default_factory=dict)
    instruments: tuple[str, ...] = ()

    def rows(self, index: npt.NDArray[np.intp] | slice) -> Bar:
        """The same bar for some instruments only."""
        fields = {name: getattr(self, name)[index] for name in FIELDS}
        extra = {name: values[index] for name, values in self.extra.items()}
        names = tuple(np.array(self.instruments, dtype=object)[index]) if self.instruments else ()
        return Bar(self.time, **fields, extra=extra, instruments=names)


@dataclass(frozen=True)
class BarPanel:
    """`T` bar times by `N` instruments.

    Attributes:
        instruments: names, in the order of the second axis.
        times: bar ends, strictly increasing, nanoseconds since 1970-01-01 UTC, shape (T,).
        values: for each of `FIELDS` an array of shape (T, N), NaN where there is no bar.
        extra: further arrays of shape (T, N), see `Bar.extra`.
    """

    instruments: tuple[str, ...]
    times: IntArray
    values: Mapping[str, Array]
    extra: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, index: int) -> Bar:
        fields = {name: self.values[name][index] for name in FIELDS}
        beside = {name: values[index] for name, values in self.extra.items()}
        return Bar(int(self.times[index]), **fields, extra=beside, instruments=self.instruments)

    def __iter__(self) -> Iterator[Bar]:
        return (self[index] for index in range(len(self)))
