"""How long a bar is, and how many of them make a year."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qts.market.bar import IntArray
from qts.market.times import nanoseconds

_DAY = 86_400_000_000_000
_YEAR_DAYS = 365.25
#: Trading days a year where markets rest at weekends, for histories too short to count them.
_WEEKDAYS_ONLY = 252.0


def ends_of(times: pd.Series) -> IntArray:
    """Bar ends in nanoseconds UTC; dates alone mean the end of that day, shape (n,).

    Raises:
        DataError: a value that is no time.
    """
    ends = nanoseconds(times)
    return np.asarray(ends + _DAY if (ends % _DAY == 0).all() else ends)


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
