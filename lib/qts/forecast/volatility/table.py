"""A table of daily realised measures, cleaned: what was left out, and why, is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from qts.errors import DataError, UnknownColumn, did_you_mean
from qts.forecast.volatility.measures import Measures
from qts.market.bar import Array
from qts.market.times import compact_dates, counted_times, is_compact, is_counted, written_times

#: Columns that are taken as they are when no option names one, by their names in lower case without punctuation.
_CLOSES = ("close", "closeprice", "adjclose", "adjustedclose", "price", "last")
_RETURNS = ("return", "returns", "ret", "logreturn", "logreturns", "logret")
_MOST_CONFLICTS = 0.2  # share of dates with several variances
_ENOUGH = 0.5  # share of days that an optional column must cover to be used


@dataclass(frozen=True)
class Columns:
    """The names of the columns that matter; None where the user names none."""

    date: str
    variance: str
    quarticity: str | None = None
    rs_minus: str | None = None
    rs_plus: str | None = None
    returns: str | None = None
    close: str | None = None


@dataclass(frozen=True)
class Days:
    """Usable days in order of time.

    Attributes:
        dates: as text, shape (T,).
        measures: of one instrument, shape (T, 1).
        notes: what was left out, derived or filled in.
    """

    dates: tuple[str, ...]
    measures: Measures
    notes: tuple[str, ...]


def read_days(table: pd.DataFrame, columns: Columns) -> Days:
    """Sorts and cleans a table.

    A column of quarticity or of a semivariance that is named but absent drops the models that need it, with a note.
    Days whose variance is missing, zero, negative or infinite are left out, for no loss is defined on them; of repeated
    days the last row counts. Gaps need no filling: lags count the days that are there.

    Raises:
        UnknownColumn: an option names a column that the table does not have.
        DataError: no date or no variance can be read.
    """
    notes: list[str] = []
    columns = _without_absent(table, columns, notes)
    for name in vars(columns).values():
        if name is not None and name not in table.columns:
            raise UnknownColumn(
                f"There is no column {name!r}; the file has {', '.join(map(repr, table.columns[:20]))}."
                f"{did_you_mean(name, map(str, table.columns))}"
            )
    order, dates, table = _in_order(table, columns.date, notes)
    table, dates = _last_of_each(table, order, dates, columns, notes)
    variance = _numbers(table, columns.variance)
    usable = np.isfinite(variance) & (variance > 0)
    if not usable.any():
        raise DataError(
            f"Column {columns.variance!r} holds no positive number in {len(table)} rows; expected realised variances."
        )
    _note_unusable(variance, columns.variance, notes)
    optional = {
        "returns": _returns(table, columns, usable, notes),
        "quarticity": _quarticity(table, columns.quarticity, variance, usable, notes),
        **_semivariances(table, columns, variance, usable, notes),
    }
    packed: dict[str, Any] = {
        name: None if values is None else values[usable][:, None] for name, values in optional.items()
    }
    return Days(tuple(dates[usable]), Measures(variance[usable][:, None], **packed), tuple(notes))


def _without_absent(table: pd.DataFrame, columns: Columns, notes: list[str]) -> Columns:
    """Without the columns that only some models need and the table does not have."""
    optional = (columns.quarticity, columns.rs_minus, columns.rs_plus)
    known = tuple(name if name in table.columns else None for name in optional)
    notes.extend(
        f"There is no column {name!r}.{did_you_mean(name, map(str, table.columns))}"
        for name, found in zip(optional, known, strict=True)
        if name is not None and found is None
    )
    return replace(columns, quarticity=known[0], rs_minus=known[1], rs_plus=known[2])


def _in_order(table: pd.DataFrame, name: str, notes: list[str]) -> tuple[pd.Series, pd.Series, pd.DataFrame]:
    """Sortable times, their texts and the rows, in order, without rows whose time cannot be read."""
    given = table[name]
    if pd.api.types.is_numeric_dtype(given) and not pd.api.types.is_bool_dtype(given):
        times = compact_dates(given) if is_compact(given) else counted_times(given) if is_counted(given) else given
    else:
        times = written_times(given)
    readable = times.notna().to_numpy()
    if not readable.any():
        raise DataError(f"Column {name!r} holds no date that can be read; the first is {_first(given)}.")
    if not readable.all():
        notes.append(f"{_rows(int((~readable).sum()))} left out: no readable date in {name!r}.")
    times, table = times[readable], table[readable]
    if not times.is_monotonic_increasing:
        notes.append("Rows were not in order of time and have been sorted.")
    order = np.argsort(times.to_numpy(), kind="stable")
    times, table = times.iloc[order], table.iloc[order]
    if not pd.api.types.is_datetime64_any_dtype(times):
        return times, times.astype(str), table
    midnight = bool((times == times.dt.normalize()).all())
    return times, times.dt.strftime("%Y-%m-%d" if midnight else "%Y-%m-%dT%H:%M:%S"), table


def _last_of_each(
    table: pd.DataFrame, times: pd.Series, dates: pd.Series, columns: Columns, notes: list[str]
) -> tuple[pd.DataFrame, np.ndarray]:
    repeated = times.duplicated(keep="last").to_numpy()
    differ = pd.Series(table[columns.variance].to_numpy()).groupby(times.to_numpy()).nunique() > 1
    if differ.mean() > _MOST_CONFLICTS:
        raise DataError(
            f"{int(differ.sum()):,} of {len(differ):,} dates in {columns.date!r} have several values of "
            f"{columns.variance!r}. Does the file hold several instruments? Keep the rows of one."
        )
    if repeated.any():
        notes.append(f"{_rows(int(repeated.sum()))} left out: a later row has the same date.")
    return table[~repeated], dates.to_numpy()[~repeated]


def _note_unusable(variance: Array, name: str, notes: list[str]) -> None:
    with np.errstate(invalid="ignore"):
        kinds = {
            "missing": np.isnan(variance),
            "zero": variance == 0,
            "negative": variance < 0,
            "infinite": np.isposinf(variance),
        }
    for kind, where in kinds.items():
        if where.any():
            notes.append(f"{_rows(int(where.sum()))} left out: {name!r} is {kind}.")


def _returns(table: pd.DataFrame, columns: Columns, usable: np.ndarray, notes: list[str]) -> Array | None:
    """Returns from one usable day to the next."""
    given, close = columns.returns, columns.close
    if given is not None and close is not None:
        raise DataError(f"Returns are named twice, by --returns {given} and --close {close}; expected one of them.")
    if given is None and close is None:
        given = _named_like(table, _RETURNS, {columns.variance, columns.date})
        close = None if given else _named_like(table, _CLOSES, {columns.variance, columns.date})
        if given or close:
            notes.append(f"Returns are taken from the column {given or close!r}.")
    if given is not None:
        known = _numbers(table, given)
        path = np.nancumsum(np.where(np.isfinite(known), known, np.nan))
    elif close is not None:
        prices = _numbers(table, close)
        known = np.where(np.isfinite(prices) & (prices > 0), prices, np.nan)
        path = pd.Series(np.log(known)).ffill().bfill().to_numpy()
    else:
        notes.append("No returns: name a column with --returns or --close for leverage and GARCH models.")
        return None
    if not _covers(known, usable, given or str(close), "the leverage and GARCH models", notes):
        return None
    moves = np.diff(path[usable], prepend=np.nan)
    moves[0] = known[usable][0] if given is not None and np.isfinite(known[usable][0]) else 0.0
    returns = np.zeros(len(usable))
    returns[usable] = moves
    if not moves.any():
        notes.append(f"Column {given or close!r} never moves: the leverage and GARCH models are left out.")
        return None
    return returns


def _semivariances(
    table: pd.DataFrame, columns: Columns, variance: Array, usable: np.ndarray, notes: list[str]
) -> Mapping[str, Array | None]:
    nothing: Mapping[str, Array | None] = {"rs_minus": None, "rs_plus": None}
    names = {"rs_minus": columns.rs_minus, "rs_plus": columns.rs_plus}
    given = [name for name in names.values() if name is not None]
    if not given:
        notes.append("No semivariances: har_rs and log_har_rs are left out (--rs-minus, --rs-plus).")
        return nothing
    if len(given) == 1:
        one = _numbers(table, given[0])
        other = np.maximum(variance - one, 0.0)
        minus, plus = (one, other) if columns.rs_minus else (other, one)
        notes.append("The semivariance that is not named is the variance less the other one.")
    else:
        minus, plus = (_numbers(table, name) for name in given)
    both = np.where(np.isfinite(minus) & np.isfinite(plus) & (minus >= 0) & (plus >= 0), minus + plus, np.nan)
    if not _covers(both, usable, " and ".join(given), "har_rs and log_har_rs", notes):
        return nothing
    known = np.isfinite(both)
    return {"rs_minus": np.where(known, minus, variance / 2), "rs_plus": np.where(known, plus, variance / 2)}


def _quarticity(
    table: pd.DataFrame, name: str | None, variance: Array, usable: np.ndarray, notes: list[str]
) -> Array | None:
    """Holes take the last known multiple of the squared variance, and the squared variance itself ahead of it."""
    if name is None:
        notes.append("No quarticity: harq is left out (--rq).")
        return None
    values = _numbers(table, name)
    values = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    if not _covers(values, usable, name, "harq", notes):
        return None
    square = np.where(usable, variance, np.nan) ** 2
    multiple = pd.Series(values / square).ffill().fillna(1.0).to_numpy()
    return np.where(np.isfinite(values), values, multiple * square)


def _covers(known: Array, usable: np.ndarray, name: str, models: str, notes: list[str]) -> bool:
    """Whether enough days have a value; a note where some have none."""
    holes = int((~np.isfinite(known[usable])).sum())
    if holes > (1 - _ENOUGH) * usable.sum():
        notes.append(f"{name!r} is unusable on {holes} of {usable.sum()} days: {models} left out.")
        return False
    if holes:
        notes.append(f"{name!r} is unusable on {holes} days, where a neutral value stands in.")
    return True


def _named_like(table: pd.DataFrame, wanted: tuple[str, ...], taken: set[str]) -> str | None:
    plain = {re.sub(r"[^a-z]", "", str(name).lower()): str(name) for name in table.columns if name not in taken}
    return next((plain[name] for name in wanted if name in plain), None)


def _numbers(table: pd.DataFrame, name: str) -> Array:
    return np.asarray(pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64, na_value=np.nan))


def _first(values: pd.Series) -> str:
    return repr(values.iloc[0]) if len(values) else "missing, for there are no rows"


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
