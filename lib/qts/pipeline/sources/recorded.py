"""What the replay source plays: recorded ticks or daily bars as one Arrow table in the order of event time."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from qts.errors import ConfigError, DataError, MissingInput
from qts.market import sample
from qts.market.bar import IntArray
from qts.market.mapping import Mapping
from qts.market.paths import SIMULATED, Prints, midnight
from qts.market.times import nanoseconds
from qts.pipeline.sources.inspect import format_of

_PER_UNIT = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
#: What daily bars become; the mapping is the identity.
_PRINT_COLUMNS = {"event_time": "event_ns", "price": "price"}
Kind = Literal["ticks", "daily", "index"]


@dataclass(frozen=True)
class Recording:
    """Records in the order of play.

    Attributes:
        table: text, numbers and booleans only; times are integers or text. `R` rows.
        time: when each is played, nanoseconds since 1970-01-01 UTC, not decreasing, shape (R,).
        nanos: columns that hold nanoseconds, in UTC or ("local") in the mapping's zone.
        mapping: how its records are read.
        provenance: column of the table, or None where all of it is real.
    """

    table: pa.Table
    time: IntArray
    nanos: tuple[tuple[str, Literal["utc", "local"]], ...]
    mapping: Mapping
    provenance: str | None = None

    @property
    def simulated(self) -> bool:
        """Whether prints within the day are made up."""
        if self.provenance is None:
            return False
        return bool(pc.any(pc.equal(self.table[self.provenance], SIMULATED)).as_py())

    def fingerprint(self) -> str:
        """Changes when the recording does, so that a stream does not go on in another one."""
        digest = blake2b(self.time.tobytes(), digest_size=8)
        digest.update(str(self.table.schema.names).encode())
        return f"{self.table.num_rows}-{digest.hexdigest()}"


def record(
    *,
    dataset: str | None = None,
    path: str | None = None,
    mapping: Mapping | None = None,
    kind: Kind = "daily",
    start: int | None = None,
    end: int | None = None,
    instruments: Sequence[str] | None = None,
) -> Recording:
    """Loads packaged data, or files with a mapping, and puts them in the order of event time.

    Args:
        start, end: nanoseconds; records before `start`, or at or after `end`, are left out.
        instruments: only these.

    Raises:
        ConfigError: unknown data set, no mapping for a path, or a mapping of another kind.
        MissingInput: no such path, or no record is left.
        UnknownColumn: the mapping names a column that is not there.
        DataError: a file cannot be read, or a daily bar is impossible.
    """
    if dataset is not None:
        packaged = sample.dataset(dataset)
        recording = _of_daily(packaged.load(), "index" if packaged.into == "indices" else "trade")
    elif path is None or mapping is None:
        raise ConfigError("Replay needs a packaged dataset by name, or a path with a mapping.")
    elif (kind == "daily") != (mapping.kind == "daily"):
        raise ConfigError(
            f"Replay of kind {kind!r} with mapping {mapping.name} of kind {mapping.kind!r}: daily bars need "
            "`kind: daily` in both, ticks and indices in neither."
        )
    elif mapping.kind == "daily":
        recording = _of_daily(sample.check_ohlc(_daily(*_read(path, mapping), mapping), path), "trade")
    else:
        recording = _of_records(path, mapping)
    return _only(recording, start, end, instruments, dataset or path or "")


def _of_daily(bars: sample.Daily, kind: Literal["trade", "index"]) -> Recording:
    prints: Prints = bars.prints()
    order = np.lexsort((np.arange(len(prints.time)), prints.instrument.astype(str), prints.time))
    table = pa.table(
        {
            "event_ns": pa.array(prints.time[order]),
            "instrument": pa.array(prints.instrument[order], pa.string()),
            "price": pa.array(prints.price[order]),
            "size": pa.array(prints.size[order], from_pandas=True),
            "provenance": pa.array([prints.provenance] * len(order), pa.string()),
        }
    )
    columns = (
        {"event_time": "event_ns", "instrument": "instrument", "price": "price", "size": "size"}
        if kind == "trade"
        else {"event_time": "event_ns", "index_name": "instrument", "value": "price"}
    )
    mapping = Mapping.of({"kind": kind, "unit": "ns", "columns": columns}, name="of packaged data")
    return Recording(table, prints.time[order], (("event_ns", "utc"),), mapping, "provenance")


def _of_records(path: str, mapping: Mapping) -> Recording:
    table, nanos = _read(path, mapping)
    times = event_times(table[mapping.columns["event_time"]], mapping, dict(nanos).get(mapping.columns["event_time"]))
    # A time that cannot be read keeps its place behind the record before it; normalise sends it to quarantine.
    known = pd.Series(times).ffill().bfill()
    if known.isna().any():
        raise DataError(
            f"Not one time in column {mapping.columns['event_time']!r} of {path} can be read; check the mapping."
        )
    when = known.to_numpy(np.int64)
    order = np.argsort(when, kind="stable")
    return Recording(table.take(pa.array(order)), when[order], nanos, mapping)


def _read(path: str, mapping: Mapping) -> tuple[pa.Table, tuple[tuple[str, Literal["utc", "local"]], ...]]:
    """All files under a path as one table, in the order of their names."""
    files = sorted(glob.glob(os.path.join(path, "**", "*"), recursive=True) if os.path.isdir(path) else glob.glob(path))
    files = files or ([path] if os.path.exists(path) else [])
    tables = []
    for file in files:
        if os.path.isfile(file) and format_of(file) in ("csv", "parquet"):
            table = _load(file, mapping)
            mapping.check_columns(table.schema.names, os.path.basename(file))
            tables.append(table)
    if not tables:
        raise MissingInput(f"{path} is not there or has no csv or parquet file. Name a file or a folder to replay.")
    flat, nanos = zip(*(_flat(table) for table in tables), strict=True)
    # The kind of time has to be the same in all, or one meaning would be lost in the joined column.
    if len({tuple(sorted(found)) for found in nanos}) > 1:
        raise DataError(
            f"The files of {path} keep their times in different types; replay them as sources of their own."
        )
    try:
        return pa.concat_tables(flat, promote_options="permissive").combine_chunks(), nanos[0]
    except pa.ArrowException as error:
        raise DataError(
            f"The files of {path} differ in their columns' types: {error}. Replay them one by one."
        ) from error


def _load(file: str, mapping: Mapping) -> pa.Table:
    try:
        if format_of(file) == "parquet":
            return pq.read_table(file)
        options = pacsv.ReadOptions(column_names=list(mapping.header) if mapping.header else None)
        names = mapping.header or pacsv.open_csv(file, parse_options=_parse(mapping)).schema.names
        texts = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True)
        return pacsv.read_csv(file, options, _parse(mapping), texts)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} cannot be read: {error}. Get it again, or name another.") from error


def _parse(mapping: Mapping) -> pacsv.ParseOptions:
    return pacsv.ParseOptions(delimiter=mapping.delimiter)


def _flat(table: pa.Table) -> tuple[pa.Table, tuple[tuple[str, Literal["utc", "local"]], ...]]:
    """Plain types that every Arrow reader agrees on: int64, float64, string, bool; times as int64 nanoseconds."""
    columns: dict[str, pa.ChunkedArray] = {}
    nanos: list[tuple[str, Literal["utc", "local"]]] = []
    for name in table.schema.names:
        column = table[name]
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
            kind = column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            nanos.append((name, "utc" if pa.types.is_timestamp(kind) and kind.tz else "local"))
            columns[name] = column.cast(pa.timestamp("ns")).cast(pa.int64())
        elif pa.types.is_boolean(kind):
            columns[name] = column
        elif pa.types.is_integer(kind):
            columns[name] = column.cast(pa.int64())
        elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            columns[name] = column.cast(pa.float64())
        elif not pa.types.is_nested(kind):
            columns[name] = column.cast(pa.string())
    return pa.table(columns), tuple(nanos)


def event_times(column: pa.ChunkedArray, mapping: Mapping, nanos: str | None) -> npt.NDArray[np.float64] | pd.Series:
    """Nanoseconds UTC of a column of times as nullable integers, null where one cannot be read; for ordering only."""
    if nanos == "utc":
        return column.to_pandas(integer_object_nulls=False, types_mapper=pd.ArrowDtype).astype("Int64")
    if nanos == "local":
        wall = pd.Series(column.cast(pa.timestamp("ns")).to_pandas())
        return _in_utc(wall, mapping)
    if not pa.types.is_string(column.type):
        if mapping.unit is None:
            raise ConfigError(
                f"mapping {mapping.name}: its times are numbers; say their unit, `unit: ms` (s, ms, us, ns)."
            )
        return (column.to_pandas() * _PER_UNIT[mapping.unit]).round().astype("Int64")
    text = column.to_pandas()
    if mapping.unit is not None:
        return (pd.to_numeric(text, errors="coerce") * _PER_UNIT[mapping.unit]).round().astype("Int64")
    if mapping.time_format is not None:
        raise ConfigError(
            f"mapping {mapping.name}: replay reads ISO 8601 times or numbers with a unit, no time_format."
        )
    zoned = text.str.contains(r":.*(?:Z|[+-]\d{2}:?\d{0,2})$", na=False)
    wall = pd.to_datetime(text.where(~zoned), errors="coerce", format="ISO8601")
    if mapping.time_of_day is not None:
        wall = wall.where(text.str.contains(":", na=False), wall + pd.Timedelta(mapping.time_of_day))
    instant = pd.to_datetime(text.where(zoned), errors="coerce", utc=True, format="ISO8601")
    return _in_utc(wall, mapping).where(~zoned, _as_ints(instant.dt.tz_localize(None)))


def _in_utc(wall: pd.Series, mapping: Mapping) -> pd.Series:
    local = wall.dt.tz_localize(mapping.timezone, ambiguous=True, nonexistent="shift_forward")
    return _as_ints(local.dt.tz_convert("UTC").dt.tz_localize(None))


def _as_ints(times: pd.Series) -> pd.Series:
    return times.astype("datetime64[ns]").astype("int64").astype("Int64").mask(times.isna())


def _daily(table: pa.Table, nanos: Sequence[tuple[str, str]], mapping: Mapping) -> sample.Daily:
    """Daily bars of a table with a mapping of kind daily, ordered by (day, instrument).

    Args:
        nanos: columns that hold nanoseconds; other times are dates as texts or numbers.
    """
    frame = table.to_pandas()
    if mapping.wide:
        cells = list(mapping.cells(table.schema.names))
        day_column = mapping.columns["event_time"]
        frame = frame.melt(id_vars=[day_column], value_vars=cells, var_name="instrument", value_name="close")
        names = {"event_time": day_column, "instrument": "instrument", "close": "close"}
    else:
        names = mapping.columns
    given = {ours: pd.Series(frame[theirs]) for ours, theirs in names.items()}
    given |= {
        ours: pd.Series(value, index=frame.index) for ours, value in mapping.constants.items() if ours not in given
    }
    days = given["event_time"]
    if days.isna().any():
        raise DataError(f"{int(days.isna().sum())} daily bars have no date in {names['event_time']!r}.")
    known = dict(nanos).keys() & {names["event_time"]}
    at = days.to_numpy(np.int64) if known else nanoseconds(days)
    numbers = {
        ours: pd.to_numeric(given[ours], errors="coerce")
        for ours in ("open", "high", "low", "close", "volume")
        if ours in given
    }
    table_ = pd.DataFrame({"day": midnight(at), "instrument": given["instrument"]})
    table_ = table_.assign(**numbers)
    if mapping.wide:
        table_ = table_.dropna(subset=["close"])
    table_ = table_.sort_values(["day", "instrument"], kind="stable")
    return sample.Daily(
        table_["day"].to_numpy(np.int64),
        table_["instrument"].to_numpy(object),
        **{name: table_[name].to_numpy(np.float64) for name in numbers},
    )


def _only(
    recording: Recording, start: int | None, end: int | None, instruments: Sequence[str] | None, given: str
) -> Recording:
    keep = np.ones(len(recording.time), dtype=bool)
    if start is not None:
        keep &= recording.time >= start
    if end is not None:
        keep &= recording.time < end
    if instruments is not None:
        name = recording.mapping.columns.get("instrument", recording.mapping.columns.get("index_name", ""))
        if name in recording.table.schema.names:
            keep &= pc.is_in(recording.table[name], value_set=pa.array(list(instruments), pa.string())).to_numpy()
    if not keep.any():
        raise MissingInput(f"{given} has no record between `start` and `end` for these instruments; widen the choice.")
    if keep.all():
        return recording
    table = recording.table.filter(pa.array(keep))
    return Recording(table, recording.time[keep], recording.nanos, recording.mapping, recording.provenance)
