"""Raw records of any source into candidates: our columns, typed, with what could not be read. Native expressions only.

A candidate is not yet a tick: row rules judge it. What a mapping cannot read is named in `parse_errors` and keeps its
raw record in `payload`, so that quarantine loses nothing. `payload` is an expression that costs only where it is used:
select it for refused rows, or wrap it in `F.when(refused, ...)`, before anything is cached.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from qts.errors import ConfigError
from qts.market.mapping import Mapping

UNPARSEABLE, UNREADABLE, BAD_TIME, BAD_NUMBER = "unparseable_record", "unreadable_file", "bad_time", "bad_number"

#: What every source yields, in this order. An index's name is in `instrument` and its value in `price`.
CANDIDATE = T.StructType(
    [
        T.StructField("event_time", T.TimestampType()),
        T.StructField("event_ns", T.LongType()),
        T.StructField("instrument", T.StringType()),
        T.StructField("kind", T.StringType()),
        *(T.StructField(name, T.DoubleType()) for name in ("price", "size", "bid", "bid_size", "ask", "ask_size")),
        *(T.StructField(name, T.StringType()) for name in ("side", "venue", "vendor_id", "provenance", "text")),
        T.StructField("source", T.StringType()),
        T.StructField("source_partition", T.StringType()),
        T.StructField("source_offset", T.LongType()),
        T.StructField("payload", T.StringType()),
        T.StructField("parse_errors", T.ArrayType(T.StringType())),
        T.StructField("flagged", T.BooleanType()),
        # The vendor's id where the source has it as a whole number: cheaper to look at than its text.
        T.StructField("vendor_number", T.LongType()),
        T.StructField("lateness_domain", T.StringType()),
        T.StructField(
            "arrival",
            T.StructType(
                [
                    T.StructField("arrived", T.TimestampType()),
                    T.StructField("partition", T.StringType()),
                    T.StructField("offset", T.LongType()),
                ]
            ),
        ),
    ]
)

_PER_UNIT = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_NUMBERS = ("price", "size", "bid", "bid_size", "ask", "ask_size")
_NANOS = "_qts_ns"
_ZONE_LETTERS = frozenset("VzOXxZ")


@dataclass(frozen=True)
class Field:
    """One of their columns.

    Attributes:
        column: how to reach it.
        type: its Spark type.
        nanos: set where it is an integer of nanoseconds since 1970, in UTC or in the mapping's time zone.
    """

    column: Column
    type: T.DataType
    nanos: Literal["utc", "local"] | None = None


@dataclass(frozen=True)
class Raw:
    """Raw records and where they stand in their source.

    Attributes:
        frame: the records.
        fields: their columns by name.
        partition, offset: place in the source, unique together.
        domain: records are late with respect to the others of their domain.
        arrived: when the partition came, null where that does not matter.
        payload: the raw record as JSON, or as it was where it is broken.
        broken: whether the record as a whole cannot be parsed; None where that cannot be.
        provenance: `real`, or a column that says.
    """

    frame: DataFrame
    fields: MappingABC[str, Field]
    partition: Column
    offset: Column
    domain: Column
    payload: Column
    arrived: Column = field(default_factory=lambda: F.lit(None).cast("timestamp"))
    broken: Column | None = None
    provenance: Column = field(default_factory=lambda: F.lit("real"))


def normalise(raw: Raw, mapping: Mapping, source: str) -> DataFrame:
    """Candidates of the raw records, one each (one per instrument's cell of a wide record), with `CANDIDATE`'s columns.

    Args:
        mapping: its columns are all among `raw.fields`.
        source: the source's name.

    Raises:
        ConfigError: a column's type cannot be a time, or a number; or times are numbers and the mapping has no unit.
    """
    if mapping.wide:
        raw, mapping = _melted(raw, mapping)
    return expressions(raw, mapping, source).over(raw.frame)


@dataclass(frozen=True)
class Expressions:
    """What makes candidates of raw records, in two steps; the same for all frames of the same columns.

    Attributes:
        staged: what is used several times, and so is worked out in a projection of its own.
        candidate: the columns of a candidate.
    """

    staged: dict[str, Column]
    candidate: tuple[Column, ...]

    def over(self, frame: DataFrame) -> DataFrame:
        """The candidates of a frame."""
        # The rule of the whole project; a session that already ran (Databricks) may have another.
        frame.sparkSession.conf.set("spark.sql.session.timeZone", "UTC")
        return frame.withColumns(self.staged).select(*self.candidate)


def expressions(raw: Raw, mapping: Mapping, source: str) -> Expressions:
    """How `normalise` reads records that are not wide; of `raw` all but the frame counts.

    Raises:
        ConfigError: as `normalise`.
    """
    numbers, may_fail = _numbers(raw, mapping)
    nanos, bad_time = _event_ns(raw, mapping)
    staged = {_NANOS: nanos} | {f"_qts_{name}": value for name, value in numbers.items()}
    nanos = F.col(_NANOS)
    values = {name: F.col(f"_qts_{name}") for name in numbers}
    bad_number = _any(values[name].isNull() & given.isNotNull() & (F.trim(given) != "") for name, given in may_fail)
    micros = F.call_function("div", nanos - F.pmod(nanos, F.lit(1000)), F.lit(1000).cast("long"))
    columns: dict[str, Column] = {
        "event_time": F.timestamp_micros(micros),
        "event_ns": nanos,
        "instrument": _text(raw, mapping, "index_name" if mapping.kind == "index" else "instrument"),
        "kind": F.lit(mapping.kind),
        **values,
        "side": _side(raw, mapping),
        "venue": _text(raw, mapping, "venue"),
        "vendor_id": _text(raw, mapping, "vendor_id"),
        "provenance": raw.provenance,
        "text": _text(raw, mapping, "text"),
        "source": F.lit(source),
        "source_partition": raw.partition,
        "source_offset": raw.offset,
        "payload": raw.payload,
        "parse_errors": _errors(raw.broken, bad_time, bad_number),
        "flagged": _flagged(raw, mapping),
        "vendor_number": _vendor_number(raw, mapping),
        "lateness_domain": raw.domain,
        "arrival": F.struct(
            raw.arrived.cast("timestamp").alias("arrived"),
            raw.partition.alias("partition"),
            raw.offset.cast("long").alias("offset"),
        ),
    }
    # A cast of the struct as a whole, were it only for what may be null, would have it built for every row.
    types = {out.name: out.dataType for out in CANDIDATE if not isinstance(out.dataType, T.StructType)}
    chosen = (columns[name].cast(types[name]) if name in types else columns[name] for name in CANDIDATE.names)
    return Expressions(staged, tuple(c.alias(n) for c, n in zip(chosen, CANDIDATE.names, strict=True)))


def as_json(fields: MappingABC[str, Field]) -> Column:
    """A record as one JSON object under their names; nulls are kept out, as JSON writers do."""
    return F.to_json(F.struct(*(given.column.alias(name) for name, given in fields.items())))


def _melted(raw: Raw, mapping: Mapping) -> tuple[Raw, Mapping]:
    """One record a cell. A cell that is empty (or NaN, as pandas writes one) says that there was no price that day."""
    name_of, value_of = mapping.wide_columns
    cells = mapping.cells(raw.fields)
    kept = {name: raw.fields[name] for name in mapping.used_columns}
    types = {raw.fields[name].type for name in cells}
    common: T.DataType = next(iter(types)) if len(types) == 1 else T.StringType()
    pairs = F.array(
        *(F.struct(F.lit(name).alias("name"), raw.fields[name].column.cast(common).alias("cell")) for name in cells)
    )
    marker = F.lit(False) if raw.broken is None else raw.broken
    flat = raw.frame.select(
        *(given.column.alias(f"_kept{place}") for place, given in enumerate(kept.values())),
        raw.partition.alias("_partition"),
        raw.offset.alias("_row"),
        raw.domain.alias("_domain"),
        raw.arrived.alias("_arrived"),
        marker.alias("_broken"),
        F.when(marker, raw.payload).alias("_payload"),
        F.posexplode(F.when(marker, F.slice(pairs, 1, 1)).otherwise(pairs)).alias("_place", "_pair"),
    )
    cell = F.col("_pair.cell")
    missing = F.isnan(cell) if isinstance(common, (T.DoubleType, T.FloatType)) else F.lit(False)
    if isinstance(common, T.StringType):
        missing = F.trim(cell) == ""
    frame = flat.where(F.col("_broken") | (cell.isNotNull() & ~missing))
    fields = {
        name: Field(F.col(f"_kept{place}"), given.type, given.nanos) for place, (name, given) in enumerate(kept.items())
    }
    fields |= {name_of: Field(F.col("_pair.name"), T.StringType()), value_of: Field(cell, common)}
    long = mapping.model_copy(
        update={
            "columns": mapping.columns | {name_of: name_of, value_of: value_of},
            "wide": False,
            "instruments": "any",
        }
    )
    melted = Raw(
        frame,
        fields,
        F.col("_partition"),
        F.col("_row") * len(cells) + F.col("_place"),
        F.col("_domain"),
        F.coalesce(F.col("_payload"), as_json(fields)),
        F.col("_arrived"),
        None if raw.broken is None else F.col("_broken"),
        raw.provenance,
    )
    return melted, long


def _numbers(raw: Raw, mapping: Mapping) -> tuple[dict[str, Column], list[tuple[str, Column]]]:
    """Our numbers, and which of them come from what text that may not be one."""
    values: dict[str, Column] = {}
    may_fail: list[tuple[str, Column]] = []
    for name in _NUMBERS:
        ours = "value" if mapping.kind == "index" and name == "price" else name
        if ours not in mapping.columns:
            values[name] = F.lit(mapping.constants.get(ours)).cast("double")
            continue
        theirs = mapping.columns[ours]
        given = raw.fields[theirs]
        if isinstance(given.type, T.NumericType):
            values[name] = given.column.cast("double")
        elif isinstance(given.type, (T.StringType, T.NullType)):
            text = given.column.cast("string")
            # Java reads "12d" and "12F" as numbers; no vendor writes them on purpose.
            typed = _any(text.endswith(letter) for letter in "dDfF")
            values[name] = F.when(~typed, text.try_cast("double"))
            may_fail.append((name, text))
        else:
            raise ConfigError(
                f"mapping {mapping.name} names {theirs!r} as {ours}, but that column is a "
                f"{given.type.simpleString()}; expected numbers."
            )
    return values, may_fail


def _any(conditions: Iterable[Column]) -> Column:
    return reduce(Column.__or__, conditions, F.lit(False))


def _text(raw: Raw, mapping: Mapping, name: str) -> Column:
    if name in mapping.columns:
        return raw.fields[mapping.columns[name]].column.cast("string")
    return F.lit(mapping.constants.get(name))


def _vendor_number(raw: Raw, mapping: Mapping) -> Column:
    given = raw.fields.get(mapping.columns.get("vendor_id", ""))
    return given.column if given is not None and isinstance(given.type, T.IntegralType) else F.lit(None)


def _side(raw: Raw, mapping: Mapping) -> Column:
    if mapping.side is None:
        return F.lit(None)
    given = raw.fields[mapping.side.column]
    chosen: Column | None = None
    for theirs, ours in mapping.side.values.items():
        same = _same(given, (theirs,))
        chosen = F.when(same, ours) if chosen is None else chosen.when(same, ours)
    return F.lit(None) if chosen is None else chosen


def _flagged(raw: Raw, mapping: Mapping) -> Column:
    if mapping.flag is None:
        return F.lit(False)
    return F.coalesce(_same(raw.fields[mapping.flag.column], mapping.flag.value), F.lit(False))


def _same(given: Field, texts: Sequence[str]) -> Column:
    """Whether a cell, written as lower-case text, is one of some; compared as what it is where that is no text."""
    if isinstance(given.type, T.BooleanType):
        return _any(given.column == F.lit(text == "true") for text in texts if text in ("true", "false"))
    if isinstance(given.type, T.IntegralType):
        return given.column.isin(*(int(text) for text in texts if re.fullmatch(r"0|-?[1-9]\d{0,17}", text)))
    return F.lower(given.column.cast("string")).isin(*texts)


def _errors(broken: Column | None, bad_time: Column, bad_number: Column) -> Column:
    whole = F.lit(False) if broken is None else broken
    codes = {UNPARSEABLE: whole, BAD_TIME: ~whole & bad_time, BAD_NUMBER: ~whole & bad_number}
    # Not array_compact: it has no generated code, and the whole projection would be interpreted row by row.
    listed = F.split(F.concat_ws(",", *(F.when(fault, code) for code, fault in codes.items())), ",")
    return F.when(_any(codes.values()), listed).otherwise(F.array().cast("array<string>"))


def _event_ns(raw: Raw, mapping: Mapping) -> tuple[Column, Column]:
    """Nanoseconds since 1970 UTC, and where (by way of `_NANOS`) a time is given but cannot be read."""
    theirs = mapping.columns["event_time"]
    given = raw.fields[theirs]
    column, kind = given.column, given.type
    bad = column.isNotNull() & F.col(_NANOS).isNull()
    if given.nanos == "utc" or (given.nanos == "local" and mapping.timezone == "UTC"):
        return column, F.lit(False)
    if given.nanos == "local":
        rest = F.pmod(column, F.lit(1000))
        wall = F.timestamp_micros(F.call_function("div", column - rest, F.lit(1000).cast("long")))
        return _in_utc(wall, mapping) + rest, F.lit(False)
    if isinstance(kind, T.TimestampType):
        return _thousandfold(column), bad
    if isinstance(kind, T.DateType):
        return _in_utc(_at_time_of_day(column.cast("timestamp"), mapping), mapping), bad
    if isinstance(kind, T.TimestampNTZType):
        return _in_utc(column.cast("timestamp"), mapping), bad
    if isinstance(kind, (T.StringType, T.NullType)):
        text = column.cast("string")
        nanos = _from_number(text.try_cast("decimal(38,9)"), mapping) if mapping.unit else _from_text(text, mapping)
        return nanos, bad & (F.trim(text) != "")
    if not isinstance(kind, T.NumericType):
        raise ConfigError(
            f"mapping {mapping.name} names {theirs!r} as event_time, but that column is a {kind.simpleString()}; "
            "expected times, dates, text or numbers."
        )
    if mapping.unit is None:
        raise ConfigError(
            f"mapping {mapping.name} names {theirs!r} as event_time, and its times are numbers "
            f"({kind.simpleString()}): say their unit, `unit: ms` (s, ms, us or ns)."
        )
    return _from_number(column.try_cast("decimal(38,9)"), mapping), bad


def _from_number(number: Column, mapping: Mapping) -> Column:
    scaled = F.try_multiply(number, F.lit(_PER_UNIT[mapping.unit or "ns"]).cast("decimal(10,0)"))
    return F.round(scaled).try_cast("long")


def _from_text(text: Column, mapping: Mapping) -> Column:
    """ISO 8601 with up to nine decimals of a second, or the mapping's format (six)."""
    if mapping.time_format is not None:
        wall = F.try_to_timestamp(text, F.lit(mapping.time_format))
        letters = set("".join(mapping.time_format.split("'")[::2]))
        if letters & _ZONE_LETTERS:
            return _thousandfold(wall)
        return _in_utc(wall if letters & set("HhKk") else _at_time_of_day(wall, mapping), mapping)
    read = text.try_cast("timestamp")
    wall = read
    if mapping.time_of_day is not None:
        wall = F.when(text.contains(":"), read).otherwise(_at_time_of_day(read, mapping))
    nanos = _in_utc(wall, mapping)
    if mapping.timezone != "UTC" or mapping.time_of_day is not None:
        # What follows the time of day is a zone: Z, +02:00, America/New_York.
        behind = F.substring(text, 12, 64)
        zoned = _any(behind.contains(sign) for sign in ("Z", "+", "-", "/", "UTC", "GMT"))
        nanos = F.when(zoned, _thousandfold(read)).otherwise(nanos)
    # Spark keeps microseconds; three more digits are in the text.
    below = F.rpad(F.regexp_extract(text, r"\.\d{6}(\d{1,3})", 1), 3, "0").cast("int")
    nanos = F.when(F.length(text) > len("2000-01-01 00:00:00.000000"), nanos + below).otherwise(nanos)
    # A date comes first, or Spark would take "12:30" for half past twelve of the day on which the job happens to run.
    return F.when(F.substring(F.ltrim(text), 5, 1) == "-", nanos)


def _at_time_of_day(day: Column, mapping: Mapping) -> Column:
    hours, minutes, seconds = map(int, (mapping.time_of_day or "00:00:00").split(":"))
    return F.timestamp_add("SECOND", F.lit(hours * 3600 + minutes * 60 + seconds), F.date_trunc("DAY", day))


def _in_utc(wall: Column, mapping: Mapping) -> Column:
    """Nanoseconds of a wall time in the mapping's zone that was read as if it were UTC."""
    return _thousandfold(wall if mapping.timezone == "UTC" else F.to_utc_timestamp(wall, mapping.timezone))


def _thousandfold(instant: Column) -> Column:
    """Nanoseconds; null for years beyond 2262, which 64 bits cannot hold."""
    return F.try_multiply(F.unix_micros(instant), F.lit(1000).cast("long"))
