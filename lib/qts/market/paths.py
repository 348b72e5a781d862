"""Intraday prints that pass through the real open, high, low and close of a daily bar.

Only the four prices and the day's volume are real. When in the day they were reached is made up, so these prints are
marked `simulated_path` wherever they go; a day known by its close alone gives that one print, marked `real`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qts.market.bar import Array, IntArray

SIMULATED, REAL = "simulated_path", "real"

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
#: Times of the four prints after midnight UTC: open, two turns, close of a New York session in winter.
SESSION = tuple(seconds * _SECOND for seconds in (52_200, 60_000, 67_800, 75_600))


@dataclass(frozen=True)
class Prints:
    """Prints in time order within each instrument; `M` of them.

    Attributes:
        time: nanoseconds since 1970-01-01 UTC, shape (M,).
        instrument: names, shape (M,).
        price: shape (M,).
        size: units; NaN where the day's volume is unknown, shape (M,).
        provenance: `SIMULATED` or `REAL`, for all of them.
    """

    time: IntArray
    instrument: npt.NDArray[np.object_]
    price: Array
    size: Array
    provenance: str


def daily_paths(
    day: IntArray,
    instrument: npt.NDArray[np.object_],
    open_: Array,
    high: Array,
    low: Array,
    close: Array,
    volume: Array | None = None,
) -> Prints:
    """Four prints a day: open, high and low, close; of the two extremes the one nearer the open comes first.

    The order is the convention of backtesters that see daily bars only (a bar that opens near its high is taken to
    have gone up first). On a tie the low comes first.

    Args:
        day: midnight UTC of each bar, nanoseconds, shape (D,).
        instrument: shape (D,).
        open_, high, low, close: shape (D,), with low <= open, close <= high.
        volume: units traded, shape (D,). Split over the prints so that they sum to it exactly (up to 2^53); a volume
            that is not positive is taken as unknown.

    Returns:
        4 D prints, those of one bar next to each other.
    """
    up_first = (high - open_) < (open_ - low)
    price = np.stack([open_, np.where(up_first, high, low), np.where(up_first, low, high), close], axis=1)
    time = day[:, None] + np.array(SESSION, dtype=np.int64)
    size = np.full(price.shape, np.nan) if volume is None else split(volume, price.shape[1])
    return Prints(time.ravel(), np.repeat(instrument, price.shape[1]), price.ravel(), size.ravel(), SIMULATED)


def daily_closes(day: IntArray, instrument: npt.NDArray[np.object_], close: Array) -> Prints:
    """One print a day at the close, for data that has adjusted closes only; nothing about it is simulated."""
    return Prints(day + SESSION[-1], instrument, close, np.full(close.shape, np.nan), REAL)


def split(volume: Array, parts: int) -> Array:
    """Whole shares of `volume` (D,) as (D, parts), the last with the rest: each row sums to its volume exactly.

    A volume below one unit a part goes in equal parts, which for a power of two is exact as well; one that is not
    positive gives NaN.
    """
    known = np.where(volume > 0, volume, np.nan)
    share = np.where(known >= parts, np.floor(known / parts), known / parts)
    rest = known - share * (parts - 1)
    return np.concatenate([np.repeat(share[:, None], parts - 1, axis=1), rest[:, None]], axis=1)


def midnight(time: IntArray) -> IntArray:
    """Midnight UTC of the day of each time, nanoseconds."""
    return np.asarray(time - time % _DAY, dtype=np.int64)
