"""Bars of a file as a panel to trade on: put in order, checked, with notes on all that a reader should know."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from qts.backtest.calendar import ends_of, periods_per_year
from qts.errors import DataError, UnknownColumn
from qts.market.bar import FIELDS, Array, BarPanel, IntArray

#: What the columns of a file may be called; the first name is ours.
_TIME = ("timestamp", "date", "datetime", "time", "bar_time", "ts", "unnamed: 0", "index")
NAMES = ("instrument", "symbol", "ticker")
#: Columns with one of these beginnings are what strategies call extras.
_EXTRAS = ("forecast.", "index.", "regime.", "sentiment.", "headlines.")
_PRICES = ("open", "high", "low", "close", "vwap")

#: Share of opens that equal the close before, above which opens are no prices that one could have traded at.
STALE_OPENS = 0.2


@dataclass(frozen=True)
class Market:
    """History to trade on.

    Attributes:
        panel: the bars; where opens are unknown or stale they are NaN, and orders are filled at the close instead.
        mended: what was put right in the file, a sentence each.
        stale: instruments whose opens are dropped, and the share of them that equals the close before.
    """

    panel: BarPanel
    mended: tuple[str, ...] = ()
    stale: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def periods_per_year(self) -> float:
        """Bars a year, by the bars' real frequency and calendar."""
        return periods_per_year(self.panel.times)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results has to know, a sentence each."""
        values = self.panel.values
        gaps = _gaps(values["close"], values["volume"], self.panel.instruments)
        return (*self.mended, *_opens(self.panel, self.stale), *gaps)

    @cached_property
    def fingerprint(self) -> str:
        """Of all that decisions and fills can depend on: no other history has it, be it only a part of this one."""
        digest = hashlib.blake2b(repr(self.panel.instruments).encode() + self.panel.times.tobytes(), digest_size=8)
        for name, grid in sorted({**self.panel.values, **self.panel.extra}.items()):
            if not np.isnan(grid).all():
                digest.update(name.encode() + np.ascontiguousarray(grid).tobytes())
        return digest.hexdigest()

    def until(self, stop: int) -> Market:
        """The first `stop` bar times, of the instruments that have a bar by then."""
        values, extra = (
            {key: each[:stop] for key, each in group.items()} for group in (self.panel.values, self.panel.extra)
        )
        return replace(self, panel=_present(BarPanel(self.panel.instruments, self.panel.times[:stop], values, extra)))

    def only(self, instruments: Sequence[str], every_time: bool = False) -> Market:
        """The same history of some instruments.

        Args:
            every_time: keep bar times at which none of them has a bar.

        Raises:
            DataError: one of them is not there.
        """
        place = {name: column for column, name in enumerate(self.panel.instruments)}
        unknown = [name for name in instruments if name not in place]
        if unknown:
            raise DataError(f"There are no bars of {unknown[0]!r}; there are {', '.join(self.panel.instruments[:20])}.")
        chosen = sorted(set(instruments))
        columns = [place[name] for name in chosen]
        panel = BarPanel(
            tuple(chosen),
            self.panel.times,
            {name: values[:, columns] for name, values in self.panel.values.items()},
            {name: values[:, columns] for name, values in self.panel.extra.items()},
        )
        return replace(self, panel=panel if every_time else _present(panel))


def _present(panel: BarPanel) -> BarPanel:
    """The panel without bar times and instruments that have no bar."""
    here = np.isfinite(panel.values["close"])
    rows, columns = here.any(axis=1), here.any(axis=0)
    if rows.all() and columns.all():
        return panel
    names = tuple(panel.instruments[column] for column in np.flatnonzero(columns))
    values, extra = (
        {key: each[rows][:, columns] for key, each in group.items()} for group in (panel.values, panel.extra)
    )
    return BarPanel(names, panel.times[rows], values, extra)


def market_of(table: pd.DataFrame, name: str) -> Market:
    """Bars as a file has them.

    Long: a row an instrument and time, with columns instrument, timestamp, close, and as far as known open, high, low,
    volume and further ones of a bar (spread, vwap, ...). Wide: a time column, and one column of closes a ticker. A file
    without an instrument column but with a close is one instrument's.

    Rows are put in order; of rows with the same time and instrument the last one counts; prices that are not positive
    numbers count as missing. All of that is noted.

    Args:
        name: of the instrument, where the file has only one.

    Raises:
        DataError: nothing that can be traded on is left, or a column holds no numbers or times.
    """
    lower = {str(column).strip().lower(): column for column in table.columns}
    time = _first(lower, _TIME)
    if time is None:
        if not isinstance(table.index, pd.DatetimeIndex):
            raise UnknownColumn(
                f"The bars have no time column; expected one of {', '.join(_TIME[:5])}, got {list(lower)[:10]}."
            )
        table = table.rename_axis("timestamp").reset_index()
        lower, time = {str(column).strip().lower(): column for column in table.columns}, "timestamp"
    notes: list[str] = []
    ends = ends_of(table[time])
    instrument = _first(lower, NAMES)
    if instrument is not None or "close" in lower:
        if "close" not in lower:
            raise UnknownColumn(
                f"Bars in long form need a close; the columns are {', '.join(map(str, table.columns))}."
            )
        if instrument is None:
            names = pd.Series(name, index=table.index)
        else:
            named = table[instrument].notna().to_numpy()
            if not named.all():
                notes.append(f"{int((~named).sum()):,} rows name no instrument; they are left out.")
                table, ends = table[named], ends[named]
            names = table[instrument].astype(str)
        fields = {key: table[column] for key, column in lower.items() if key in FIELDS or key.startswith(_EXTRAS)}
        raw = _long(ends, names, fields, notes)
    else:
        raw = _wide(ends, _tickers(table.drop(columns=time)), notes)
    return _finished(raw, notes)


@dataclass(frozen=True)
class _Raw:
    names: tuple[str, ...]
    times: IntArray
    columns: Mapping[str, Array]


def _first(lower: Mapping[str, object], names: Sequence[str]) -> str | None:
    return next((str(lower[name]) for name in names if name in lower), None)


def _numbers(values: pd.Series, name: str) -> Array:
    numbers = pd.to_numeric(values, errors="coerce")
    bad = numbers.isna() & values.notna()
    if bad.any():
        row = int(np.flatnonzero(bad.to_numpy())[0])
        raise DataError(
            f"Column {name} has {values.iloc[row]!r} in row {row + 1}; expected numbers. Remove or correct it."
        )
    return np.asarray(numbers.to_numpy(np.float64))


def _long(ends: IntArray, names: pd.Series, fields: Mapping[str, pd.Series], notes: list[str]) -> _Raw:
    frame = pd.DataFrame({key: _numbers(values, key) for key, values in fields.items()})
    frame["end"], frame["name"] = ends, names.to_numpy(object)
    if not (
        frame["end"].is_monotonic_increasing or frame.sort_values("name", kind="stable")["end"].is_monotonic_increasing
    ):
        frame = frame.sort_values("end", kind="stable")
    twice = frame.duplicated(["end", "name"], keep="last")
    if twice.any():
        notes.append(f"{int(twice.sum()):,} rows repeat an instrument and time; the last of them counts.")
        frame = frame[~twice]
    index, labels = np.unique(frame["end"].to_numpy(np.int64)), sorted(set(frame["name"]))
    place = np.searchsorted(index, frame["end"].to_numpy(np.int64)), pd.Index(labels).get_indexer(frame["name"])
    columns = {}
    for key in fields:
        grid = np.full((len(index), len(labels)), np.nan)
        grid[place] = frame[key].to_numpy(np.float64)
        columns[key] = grid
    return _Raw(tuple(labels), index, columns)


def _tickers(closes: pd.DataFrame) -> pd.DataFrame:
    """The columns that are instruments: row numbers that pandas has written beside them would be a fine trend."""
    numbers = np.arange(len(closes))
    rows = [
        name
        for name in closes.columns
        if re.fullmatch(r"Unnamed: \d+", str(name)) or (name == "index" and np.array_equal(closes[name], numbers))
    ]
    return closes.drop(columns=rows)


def _wide(ends: IntArray, closes: pd.DataFrame, notes: list[str]) -> _Raw:
    if closes.shape[1] == 0:
        raise DataError("The file has a time column and no other; expected one column of closes a ticker.")
    grid = np.column_stack([_numbers(closes[column], str(column)) for column in closes.columns])
    labels = [str(column) for column in closes.columns]
    order = np.argsort(ends, kind="stable")
    last = np.append(np.diff(ends[order]) != 0, True)
    if not last.all():
        notes.append(f"{int((~last).sum()):,} rows repeat a time; the last of them counts.")
    rows, columns = order[last], np.argsort(np.array(labels, dtype=object), kind="stable")
    return _Raw(tuple(labels[column] for column in columns), ends[rows], {"close": grid[rows][:, columns]})


def _finished(raw: _Raw, notes: list[str]) -> Market:
    columns = dict(raw.columns)
    given = [key for key in _PRICES if key in columns]
    good = {key: np.isfinite(columns[key]) & (columns[key] > 0) for key in given}
    if bad := sum(int((~np.isnan(columns[key]) & ~good[key]).sum()) for key in given):
        notes.append(f"{bad:,} prices are zero, negative or infinite; they count as missing.")
    columns |= {key: np.where(good[key], columns[key], np.nan) for key in given}
    close = columns["close"]
    here: npt.NDArray[np.bool_] = np.isfinite(close)
    empty = [raw.names[column] for column in np.flatnonzero(~here.any(axis=0))]
    if empty:
        notes.append(f"{len(empty)} instruments have no price at all and are left out: {', '.join(empty[:5])}.")
    keep_rows, keep = here.any(axis=1), here.any(axis=0)
    columns = {key: values[keep_rows][:, keep] for key, values in columns.items()}
    names = tuple(raw.names[column] for column in np.flatnonzero(keep))
    times = raw.times[keep_rows]
    if len(times) < 3:
        raise DataError(f"{len(times)} bar times with prices are left; at least 3 are needed to trade and to measure.")
    values = {field: columns.get(field, np.full(columns["close"].shape, np.nan)) for field in FIELDS}
    values["open"], stale = _tradable_opens(values["open"], values["close"], names)
    values["volume"] = _known_volume(values["volume"])
    extra = {key: grid for key, grid in columns.items() if key not in FIELDS}
    return Market(BarPanel(names, times, values, extra), tuple(notes), stale)


def _tradable_opens(opened: Array, close: Array, names: Sequence[str]) -> tuple[Array, dict[str, float]]:
    """Opens without those of instruments whose opens are mostly copies of the close before, and their shares."""
    before = np.full_like(close, np.nan)
    last = np.full(close.shape[1], np.nan)
    for row in range(len(close)):
        before[row] = last
        last = np.where(np.isfinite(close[row]), close[row], last)
    both = np.isfinite(opened) & np.isfinite(before)
    share = (both & (np.abs(opened - before) <= 1e-9 * before)).sum(axis=0) / np.maximum(both.sum(axis=0), 1)
    stale = share > STALE_OPENS
    return np.where(stale, np.nan, opened), {names[i]: float(share[i]) for i in np.flatnonzero(stale).tolist()}


def _opens(panel: BarPanel, stale: Mapping[str, float]) -> list[str]:
    shares = {name: stale[name] for name in panel.instruments if name in stale}
    if shares:
        worst = max(shares, key=lambda name: shares[name])
        told = (
            f"Opens of {len(shares)} instruments are stale ({worst}: {shares[worst]:.0%} equal the close before): a "
            "fill there would be at the price that was decided on. They are filled at the next close, and strategies "
            "that need an open sit out."
        )
        return [told]
    if not np.isfinite(panel.values["open"]).any():
        return ["There are no opens: orders are filled at the next close, and strategies that need an open sit out."]
    return []


def _known_volume(volume: Array) -> Array:
    """Volumes, NaN for instruments whose volumes are mostly 0: they are not known."""
    positive = (volume > 0).sum(axis=0)
    return np.where(positive > (volume == 0).sum(axis=0), volume, np.nan)


def _gaps(close: Array, volume: Array, names: Sequence[str]) -> list[str]:
    here: npt.NDArray[np.bool_] = np.isfinite(close)
    count = len(close)
    first, last = here.argmax(axis=0), count - 1 - here[::-1].argmax(axis=0)
    inside = np.array(
        [int((~here[a : b + 1, column]).sum()) for column, (a, b) in enumerate(zip(first, last, strict=True))]
    )
    notes = []
    if inside.any():
        notes.append(
            f"{int(inside.sum()):,} bars are missing between an instrument's first and last: positions wait meanwhile."
        )
    late, gone = np.flatnonzero(first > 0), np.flatnonzero(last < count - 1)
    if late.size:
        notes.append(
            f"{late.size} instruments begin later than the first bar: {', '.join(names[i] for i in late[:5])}."
        )
    if gone.size:
        notes.append(
            f"{gone.size} instruments end before the last bar (delisted?): {', '.join(names[i] for i in gone[:5])}. "
            "What is held then stays at its last price, for what holders were paid is not in the file."
        )
    quiet = int((volume == 0).sum())
    if quiet:
        notes.append(f"{quiet:,} bars have no volume: nothing is filled in them.")
    if not gone.size and len(names) > 1:
        notes.append(
            "All instruments are there at the end. If they were chosen because they are, they are survivors, and "
            "holding any of them looks better than it was: compare with buy-and-hold of the same, not with zero."
        )
    return notes
