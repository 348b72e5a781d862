"""The instruments that are decided on together, and what one unit of each is worth in account currency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from qts.errors import DataError
from qts.market.bar import Array

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Universe:
    """`N` instruments, sorted by name.

    A linear instrument (share, spot pair, linear future) is worth `multiplier * price` in account currency and is paid
    for in full. An inverse one (coin-margined contract of `multiplier` quote units) has an exposure of
    `multiplier / price` coins, is margined (no cash moves but profit, loss and fees), and earns
    `multiplier * (1/entry - 1/exit)` coins per long contract; the account is then kept in that coin.

    Attributes:
        names: instrument names, unique and sorted.
        multiplier: quote units per unit and point of price, or per inverse contract, shape (N,).
        inverse: coin-margined contracts, shape (N,).
        lot_size: smallest tradable quantity, > 0, shape (N,).
        tick_size: smallest price step; 0 or NaN where there is none, shape (N,).
        tradable: whether orders may be sent; indices such as VIX are not, shape (N,).
    """

    names: tuple[str, ...]
    multiplier: Array
    inverse: BoolArray
    lot_size: Array
    tick_size: Array
    tradable: BoolArray

    def __post_init__(self) -> None:
        if list(self.names) != sorted(set(self.names)):
            raise DataError(
                f"A universe needs unique, sorted names, not {self.names[:5]}... Use Universe.from_columns."
            )
        for name in ("multiplier", "lot_size"):
            values = getattr(self, name)
            bad = np.flatnonzero(~((values > 0) & np.isfinite(values)))
            if bad.size:
                raise DataError(
                    f"Instrument {self.names[bad[0]]!r} has {name} {values[bad[0]]}; a finite number above 0 is needed "
                    "in the instruments table."
                )

    @cached_property
    def labels(self) -> npt.NDArray[np.object_]:
        """The names as an array that can be indexed, shape (N,)."""
        return np.array(self.names, dtype=object)

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def plain(cls, names: Sequence[str], lot_size: float = 1.0, tick_size: float = 0.0) -> Universe:
        """Linear instruments with multiplier 1, all tradable."""
        count = len(set(names))
        return cls(
            tuple(sorted(set(names))),
            np.ones(count),
            np.zeros(count, dtype=bool),
            np.full(count, lot_size),
            np.full(count, tick_size),
            np.ones(count, dtype=bool),
        )

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any]], currency: str | None = None) -> Universe:
        """From the columns of the `instruments` table (`rows.to_pydict()`), unordered; the last of equal names counts.

        Args:
            columns: instrument, multiplier, inverse, lot_size, tick_size, tradable; and currency, if asked for.
            currency: the account's; instruments in another one become untradable, because no rate converts them.

        Raises:
            DataError: a column is missing, or a multiplier or lot size is not a positive number.
        """
        wanted = ["instrument", "multiplier", "inverse", "lot_size", "tick_size", "tradable"]
        missing = [name for name in wanted + ["currency"] * (currency is not None) if name not in columns]
        if missing:
            raise DataError(f"The instruments table lacks {missing}; it has {sorted(columns)}.")
        last = {str(name): row for row, name in enumerate(columns["instrument"])}
        names = tuple(sorted(last))
        rows = [last[name] for name in names]

        def take(column: str, kind: type) -> npt.NDArray[Any]:
            return np.array([columns[column][row] for row in rows], dtype=kind)

        tradable = take("tradable", bool)
        if currency is not None:
            tradable &= np.array([columns["currency"][row] == currency for row in rows], dtype=bool)
        return cls(
            names,
            take("multiplier", float),
            take("inverse", bool),
            take("lot_size", float),
            take("tick_size", float),
            tradable,
        )

    def exposure(self, price: Array) -> Array:
        """Account currency at risk per unit held at a price, positive, shape (N,)."""
        return np.where(self.inverse, self.multiplier / price, self.multiplier * price)

    def worth(self, price: Array) -> Array:
        """A measure of worth per unit whose differences are profit and loss in account currency, shape (N,).

        `multiplier * price`, or `-multiplier / price` for inverse contracts: a long unit bought at p0 and marked at p1
        has earned `worth(p1) - worth(p0)` either way.
        """
        return np.where(self.inverse, -self.multiplier / price, self.multiplier * price)

    def whole_lots(self, quantity: Array) -> Array:
        """Quantities rounded towards zero to whole lots, shape (N,)."""
        return np.sign(quantity) * np.floor(np.abs(quantity) / self.lot_size + 1e-9) * self.lot_size
