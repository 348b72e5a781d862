"""Round trips: from flat to a position and back, by the fills of one instrument."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qts.market.bar import Array, IntArray


@dataclass(frozen=True)
class Trades:
    """Round trips of an account, `M` of them, in the order of their ends.

    Attributes:
        profit: net of fees, as a share of the equity before the first fill, shape (M,).
        bars: bar times from the first fill to the last, shape (M,).
        open: still open at the end, valued at the last price then, shape (M,).
    """

    profit: Array
    bars: IntArray
    open: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.profit)

    @classmethod
    def none(cls) -> Trades:
        """No round trip."""
        return cls(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=bool))


def round_trips(
    instrument: npt.NDArray[np.intp],
    bar: npt.NDArray[np.intp],
    quantity: Array,
    price: Array,
    fee: Array,
    last_price: Array,
    last_bar: int,
    equity: Array,
) -> Trades:
    """Cuts fills into round trips. A fill that turns a position over ends one and begins the next, sharing the fee.

    Args:
        instrument, bar, quantity, price, fee: of `F` fills in time order, quantity signed, shape (F,).
        last_price: that open positions are valued at, by instrument, shape (N,).
        last_bar: index of the last bar time.
        equity: before each bar time, shape (T,).
    """
    found: list[tuple[int, float, int, bool]] = []
    order = np.lexsort((bar, instrument))
    held, cash, since, who = 0.0, 0.0, 0, -1
    rows = zip(*(column[order].tolist() for column in (instrument, bar, quantity, price, fee)), strict=True)

    def close_open() -> None:
        if held:
            found.append((last_bar, (cash + held * last_price[who]) / equity[since], last_bar - since, True))

    for name, at, units, paid, charge in rows:
        if name != who:
            close_open()
            held, cash, who = 0.0, 0.0, name
        if held == 0.0:
            cash, since = 0.0, at
        after = held + units
        tiny = 1e-9 * max(abs(held), abs(units))
        if held and after * held <= tiny * abs(held):
            share = min(1.0, abs(held / units))
            cash += held * paid - share * charge
            found.append((at, cash / equity[since], at - since, False))
            held = 0.0 if abs(after) <= tiny else after
            cash, since = -held * paid - (1 - share) * charge, at
        else:
            cash -= units * paid + charge
            held = after
    close_open()
    found.sort(key=lambda trip: trip[0])
    ends = [np.array(column) for column in zip(*(trip[1:] for trip in found), strict=True)] if found else None
    return Trades(*ends) if ends else Trades.none()
