"""Columns of times as files have them: texts in either order of day and month, numbers of any unit, compact dates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qts.errors import DataError
from qts.market.bar import IntArray

#: What a number may count in, by its size: seconds, milliseconds, microseconds, nanoseconds since 1970.
_UNITS = ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3), (np.inf, 1))
#: Whole numbers in this range are dates such as 20180131. As seconds they would lie in August 1970.
_COMPACT = 19_000_101, 22_001_231
_COUNTED = 2e8  # seconds, 1976: smaller numbers may count anything
_QUARTER, _MONTH = r"^\s*Q([1-4])[\s/-]*(\d{4})\s*$", r"^\s*(\d{4})[\s-]?[Mm](\d{1,2})\s*$"
_PARTS = f"(?:{_QUARTER})|(?:{_MONTH})"


def nanoseconds(column: pd.Series) -> IntArray:
    """Times in nanoseconds since 1970-01-01 UTC, shape (n,).

    Texts without a zone are UTC. Where one text begins with a number above 12, as 13/01/2020 does, all dates of the
    column have the day first; see `day_first` for columns without one.

    Raises:
        DataError: a value that is no time, or texts of which some have the day first and others the month.
    """
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return _all_known(column, compact_dates(column)) if is_compact(column) else _counted(column)
    return _all_known(column, written_times(column))


def written_times(column: pd.Series) -> pd.Series:
    """Texts as times, UTC, read as `nanoseconds` reads them; NaT where one cannot be read. Times stay what they are.

    Raises:
        DataError: some texts have the day first and others the month.
    """
    text = not pd.api.types.is_datetime64_any_dtype(column)
    form, first = ("mixed", day_first(column)) if text else (None, False)
    if text:
        column = _parts_of_years(column)
    return pd.to_datetime(column, utc=True, errors="coerce", format=form, dayfirst=first)


def _parts_of_years(column: pd.Series) -> pd.Series:
    """Q1 2001 and 2001M01, as statistical offices write them, in the forms that pandas reads."""
    texts = column.astype("string")
    if not texts.str.match(_PARTS).any():
        return column
    quarters = texts.str.replace(_QUARTER, r"\2Q\1", regex=True)
    return quarters.str.replace(_MONTH, r"\1-\2", regex=True).astype(object)


def day_first(column: pd.Series) -> bool:
    """Whether the dates among texts have the day first: one of them begins with a number above 12.

    Where no number is above 12, dates with dots have the day first, for nobody writes the month so; and so have dates
    of several years that all begin with one number: firsts of months, not days of one month.

    Raises:
        DataError: another one has such a number in second place.
    """
    parts = column.astype("string").str.extract(r"^\s*(\d{1,2})([/.-])(\d{1,2})\2(\d{4})")
    first, second = (pd.to_numeric(parts[place], errors="coerce") for place in (0, 2))
    if (first > 12).any() and (second > 12).any():
        one, other = (column[(each > 12).fillna(value=False).to_numpy(dtype=bool)].iloc[0] for each in (first, second))
        raise DataError(
            f"The times {one!r} and {other!r} cannot both be read: one has the day first, the other the month. "
            "Expected one order, best ISO 8601 (2020-01-31)."
        )
    if (first > 12).any() or (second > 12).any():
        return bool((first > 12).any())
    firsts_of_months = first.nunique() == 1 and second.nunique() > 1 and parts[3].nunique() > 1
    return bool((parts[1] == ".").any() or firsts_of_months)


def is_compact(column: pd.Series) -> bool:
    """Whether numbers are dates such as 20180131."""
    known = column.dropna()
    return len(known) > 0 and bool(known.between(*_COMPACT).all()) and bool((known % 1 == 0).all())


def is_counted(column: pd.Series) -> bool:
    """Whether whole numbers are seconds since 1970, or thousandth, millionth or milliardth parts of them.

    Only from 1976 on: a smaller number may as well count the rows of a long table.
    """
    known = column.dropna()
    return len(known) > 0 and bool((known >= _COUNTED).all()) and bool((known % 1 == 0).all())


def counted_times(column: pd.Series) -> pd.Series:
    """Such numbers as times, UTC; NaT where there is none, or one that no time can hold."""
    size = float(column.max(skipna=True))
    unit = next(unit for limit, unit in _UNITS if size < limit)
    with np.errstate(invalid="ignore"):
        nanos = column.where(column < np.iinfo(np.int64).max / unit).astype("Int64") * unit
    return pd.to_datetime(nanos, utc=True)


def _all_known(column: pd.Series, stamps: pd.Series) -> IntArray:
    _refuse(column, stamps.isna().to_numpy())
    return np.asarray(stamps.to_numpy("datetime64[ns]").astype(np.int64))


def compact_dates(column: pd.Series) -> pd.Series:
    """Numbers such as 20180131 as times, UTC; NaT where there is no such day."""
    return pd.to_datetime(column.astype("Int64").astype("string"), format="%Y%m%d", errors="coerce", utc=True)


def _counted(column: pd.Series) -> IntArray:
    whole = pd.api.types.is_integer_dtype(column) and not column.hasnans
    values = column.to_numpy(dtype=np.int64) if whole else column.to_numpy(dtype=np.float64, na_value=np.nan)
    size = np.abs(values.astype(np.float64))
    _refuse(column, ~np.isfinite(size))
    unit = next(unit for limit, unit in _UNITS if float(size.max(initial=0.0)) < limit)
    return np.asarray(values * unit if whole else np.rint(values * unit).astype(np.int64))


def _refuse(column: pd.Series, bad: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        if pd.isna(column.iloc[row]):
            raise DataError(f"There is no time in row {row + 1}; expected one in every row.")
        given = column.iloc[row : row + 1].tolist()[0]
        raise DataError(f"The time in row {row + 1} is {given!r}; expected dates, ISO 8601 or numbers.")
