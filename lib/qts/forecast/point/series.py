"""From a long table (series, timestamp or t, y) to clean series, with a note of all that was mended."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from qts.errors import DataError, UnknownColumn, did_you_mean
from qts.market.bar import Array, IntArray
from qts.market.times import compact_dates, counted_times, is_compact, is_counted, written_times

#: Names that the columns may have, in any case; the first is ours, the others are those of well-known libraries.
NAMES, _TIME, _VALUE = (
    ("series", "unique_id", "instrument", "symbol", "ticker", "item_id", "series_id"),
    ("timestamp", "t", "ds", "date", "datetime", "time", "period", "month", "quarter", "week", "day", "year"),
    ("y", "value", "close", "target"),
)
_LARGEST = 1e150  # a value whose square is a number
_DAY = 86_400_000_000_000
_REGULAR = 0.95  # share of steps of one length that makes a calendar; trading days are none (weekends are no gaps)
_INSERTED = 0.25  # share of rows that gaps may add
_MOST_REPEATED = 0.2  # share of rows that may repeat a time where there is no column of series
_MOST_A_DAY = 1440  # one a minute
#: Step in days, tolerance, periods in a season as in the M4 competition; negative for one that M4 does not count on.
_SEASONS = ((365.25, 2.0, 1), (91.3, 2.5, 4), (30.44, 2.6, 12), (7.0, 0.01, -52), (1.0, 0.01, -7), (1 / 24, 1e-4, 24))
_YEARS = 1600, 2200  # whole numbers in a column of times that is not called t


@dataclass(frozen=True)
class Series:
    """One series in the order of time.

    Attributes:
        name: as in the table.
        times: nanoseconds since 1970-01-01 UTC, or the table's own whole numbers; strictly increasing, shape (T,).
        values: shape (T,), NaN where a period has no value; the first and the last are known.
        season: periods in a season; 1 for none, 0 where the calendar does not say, -m where it may be m.
        calendar: whether times are nanoseconds.
    """

    name: str
    times: IntArray
    values: Array
    season: int
    calendar: bool = False

    @property
    def scaled_by(self) -> int:
        """The season of MASE's naive forecast: what the calendar says for sure, else none."""
        return max(self.season, 1)


@dataclass(frozen=True)
class Table:
    """What a long table held.

    Attributes:
        series: those with at least one value, by name.
        notes: how many rows were mended or left out, by reason; only what occurred.
    """

    series: tuple[Series, ...]
    notes: dict[str, int] = field(default_factory=dict)


def read_long(rows: pd.DataFrame, season: int | None = None) -> Table:
    """Series of a long table, in any order of rows.

    Rows without a time are left out; of rows with the same series and time the last one counts; values that are no
    finite numbers, or too large to square, are gaps. Where nearly all steps of a series are of one length, periods
    without a row are gaps too.

    Args:
        rows: columns series, timestamp or t, y. Without a series column all rows are one series.
        season: periods in a season of every series; by default what the calendar says.

    Raises:
        UnknownColumn: there is no time or no value column.
        DataError: no row is usable, or times repeat where no column tells the series apart.
    """
    time, value = _required(rows, _TIME, "the time"), _required(rows, _VALUE, "the value")
    name = _named(rows, NAMES)
    notes: dict[str, int] = {}
    at, calendar = _times(rows[time], str(time).strip().lower() != "t")
    _refuse_if_none(at, rows[time], "time")
    y = pd.to_numeric(rows[value], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    y = np.where(np.abs(y) <= _LARGEST, y, np.nan)
    _refuse_if_none(pd.Series(y), rows[value], f"finite number below {_LARGEST:g}")
    frame = pd.DataFrame(
        {
            "series": "y" if name is None else rows[name].astype("string").to_numpy(dtype=object, na_value=None),
            "at": at,
            "y": y,
        }
    )
    good = frame.dropna(subset=["series", "at"])
    _note(notes, "rows_without_time_or_series", len(frame) - len(good))
    unsorted = good.groupby("series", sort=False)["at"].diff() < 0
    _note(notes, "rows_out_of_order", int(unsorted.sum()))
    once = good.sort_values(["series", "at"], kind="stable").drop_duplicates(["series", "at"], keep="last")
    if name is None and len(good) - len(once) > _MOST_REPEATED * len(good):
        raise DataError(
            f"{len(good) - len(once):,} of {len(good):,} rows repeat a time and no column tells series apart. Expected "
            f"a column 'series', or one row a time; the file has {_shown(rows)}."
        )
    _note(notes, "duplicated_times", len(good) - len(once))
    _note(notes, "values_missing", int(once["y"].isna().sum()))
    found = []
    for key, own in once.groupby("series", sort=True):
        known = np.flatnonzero(np.isfinite(own["y"].to_numpy()))
        if not len(known):
            _note(notes, "series_without_values", 1)
            continue
        inner = own.iloc[known[0] : known[-1] + 1]
        times, values = inner["at"].to_numpy(np.int64), inner["y"].to_numpy(np.float64)
        periods = _season(times) if calendar and season is None else (season or 0)
        times, values = _with_gaps(times, values, calendar, notes)
        found.append(Series(str(key), times, values, periods, calendar))
    if not found:
        raise DataError(
            f"No row of {len(frame)} has a series, a time and a finite value; expected columns series, timestamp or t, "
            "y."
        )
    return Table(tuple(found), notes)


def _named(rows: pd.DataFrame, wanted: tuple[str, ...]) -> str | None:
    """The column with the first of these names that there is, in any case."""
    plain = {str(column).strip().lower(): column for column in reversed(list(rows.columns))}
    return next((plain[name] for name in wanted if name in plain), None)


def _required(rows: pd.DataFrame, wanted: tuple[str, ...], what: str) -> str:
    found = _named(rows, wanted)
    if found is None:
        raise UnknownColumn(
            f"No column holds {what}: expected {' or '.join(repr(w) for w in wanted[:2])}, the file has {_shown(rows)}."
            f"{did_you_mean(wanted[0], map(str, rows.columns))}"
        )
    return found


def _shown(rows: pd.DataFrame) -> str:
    return ", ".join(repr(str(column)) for column in rows.columns[:12]) + (", ..." if len(rows.columns) > 12 else "")


def _refuse_if_none(read: pd.Series, given: pd.Series, what: str) -> None:
    if read.notna().any():
        return
    known = given.dropna()
    shown = f"the first is {known.tolist()[0]!r}" if len(known) else "all are empty"
    raise DataError(f"Column {given.name!r} holds no {what} in {len(given):,} rows: {shown}.")


def _times(column: pd.Series, dated: bool) -> tuple[pd.Series, bool]:
    """Whole numbers (nullable), and whether they are nanoseconds of a calendar.

    Args:
        column: as in the table.
        dated: whether whole numbers between 1600 and 2200 are years.
    """
    if not pd.api.types.is_datetime64_any_dtype(column):
        numbers = pd.to_numeric(column, errors="coerce")
        if pd.api.types.is_numeric_dtype(column) or numbers.notna().sum() > column.notna().sum() / 2:
            whole = numbers.where(np.isfinite(numbers.to_numpy(np.float64, na_value=np.nan)))
            if is_compact(whole):
                return _nanoseconds(compact_dates(whole)), True
            if is_counted(whole):
                return _nanoseconds(counted_times(whole)), True
            if dated and whole.dropna().between(*_YEARS).all() and not (whole.dropna() % 1 != 0).any():
                return _nanoseconds(pd.to_datetime(whole.astype("Int64").astype("string"), format="%Y", utc=True)), True
            if (whole.dropna() % 1 != 0).any():
                whole = whole.rank(method="dense")
            return pd.Series(whole.astype("Int64").to_numpy(dtype=object), dtype="Int64"), False
    return _nanoseconds(written_times(column)), True


def _nanoseconds(stamps: pd.Series) -> pd.Series:
    nanos = pd.Series(stamps.dt.tz_localize(None).astype("datetime64[ns]").astype("int64").to_numpy(), dtype="Int64")
    return nanos.mask(stamps.isna().to_numpy())


def _season(times: IntArray) -> int:
    """Periods in a season by the usual step; 0 where no rule is known, -m where there may be one of m.

    Weeks may follow the year, days the week, and parts of an hour the day; days that leave weekends out may follow
    the week of five.
    """
    if len(times) < 2:
        return 0
    step = float(np.median(np.diff(times))) / _DAY
    season = next((season for days, tolerance, season in _SEASONS if abs(step - days) <= tolerance), 0)
    if season == -7 and not (pd.to_datetime(times).dayofweek >= 5).any():
        return -5
    a_day = 1 / step if step > 0 else 0.0
    return -round(a_day) if 24 < a_day <= _MOST_A_DAY and abs(a_day - round(a_day)) < 1e-3 else season


def _with_gaps(times: IntArray, values: Array, calendar: bool, notes: dict[str, int]) -> tuple[IntArray, Array]:
    """A row for every period of a regular calendar."""
    if len(times) < 4:
        return times, values
    place = _months(times) if calendar else None
    place = times if place is None else place
    steps = np.diff(place)
    unit = int(np.median(steps))
    if unit <= 0 or (steps == unit).mean() < _REGULAR or (steps % unit).any():
        return times, values
    where = (place - place[0]) // unit
    missing = int(where[-1]) + 1 - len(times)
    if not 0 < missing <= _INSERTED * len(times):
        return times, values
    _note(notes, "periods_without_row", missing)
    rows = np.arange(where[-1] + 1)
    full = np.full(len(rows), np.nan)
    full[where] = values
    return np.interp(rows, where, (times - times[0]).astype(np.float64)).round().astype(np.int64) + times[0], full


def _months(times: IntArray) -> IntArray | None:
    """Months since 1970 where all times are on one day of the month, or on its last."""
    stamps = pd.to_datetime(times)
    if len(set(stamps.day)) > 1 and not stamps.is_month_end.all():
        return None
    months = (stamps.year * 12 + stamps.month).to_numpy().astype(np.int64)
    return months if (np.diff(months) > 0).all() else None


def _note(notes: dict[str, int], reason: str, rows: int) -> None:
    if rows:
        notes[reason] = notes.get(reason, 0) + rows
