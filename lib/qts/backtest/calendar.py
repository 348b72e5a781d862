"""How long a bar is, and how many of them make a year."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qts.errors import DataError
from qts.market.bar import IntArray

_DAY = 86_400_000_000_000
_YEAR_DAYS = 365.25
#: Trading days a year where markets rest at weekends, for histories too short to count them.
_WEEKDAYS_ONLY = 252.0
#: What a number may count in, by its size: seconds, milliseconds, microseconds, nanoseconds since 1970.
_UNITS = ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3), (np.inf, 1))


def ends_of(times: pd.Series) -> IntArray:
    """Bar ends in nanoseconds UTC; dates alone mean the end of that day, shape (n,).

    Raises:
        DataError: a value that is no time.
    """
    if pd.api.types.is_numeric_dtype(times) and not pd.api.types.is_bool_dtype(times):
        return _counted(times)
    stamps = pd.to_datetime(times, utc=True, errors="coerce", format="mixed" if times.dtype == object else None)
    if (bad := stamps.isna().to_numpy()).any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"The bars have the time {times.iloc[row]!r} in row {row + 1}; expected dates, ISO 8601 or numbers."
        )
    ends = stamps.to_numpy("datetime64[ns]").astype(np.int64)
    return np.asarray(ends + _DAY if (ends % _DAY == 0).all() else ends)


def _counted(times: pd.Series) -> IntArray:
    values = times.to_numpy()
    if not np.isfinite(values.astype(np.float64)).all():
        row = int(np.flatnonzero(~np.isfinite(values.astype(np.float64)))[0])
        raise DataError(f"The bars have no time in row {row + 1}; expected one in every row.")
    largest = float(np.abs(values.astype(np.float64)).max())
    unit = next(unit for limit, unit in _UNITS if largest < limit)
    if np.issubdtype(values.dtype, np.integer):
        return np.asarray(values.astype(np.int64) * unit)
    return np.asarray(np.rint(values * unit).astype(np.int64))


def periods_per_year(times: IntArray) -> float:
    """Bars a year: those of a day that has any, times such days a year.

    Days a year are counted where history is at least a year long; else they are 365.25 where there are bars at weekends
    and 252 where there are none. Bars further apart than days (weeks, months) are counted by their median distance.

    Args:
        times: bar ends, increasing, nanoseconds UTC, shape (T,).
    """
    days = (times - 1) // _DAY
    active, per_day = np.unique(days, return_counts=True)
    apart = float(np.median(np.diff(active))) if len(active) > 1 else 1.0
    if apart > 2.5:
        return _YEAR_DAYS / apart
    span = float(active[-1] - active[0] + 1)
    weekend = ((active + 3) % 7 >= 5).any()  # day 0, 1970-01-01, was a Thursday
    calendar = _YEAR_DAYS if weekend else _WEEKDAYS_ONLY
    year = len(active) * _YEAR_DAYS / span if span >= _YEAR_DAYS else calendar
    return float(np.median(per_day)) * year
