"""What is in a file, before Spark reads it: its columns, whether it is whole, whether it holds anything.

Files of one folder differ (a column that is empty in one has no type there, one vendor writes nanoseconds and another
microseconds), so each is read by its own schema. Only headers and footers are read here.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import dataclass, field
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pyspark.sql import types as T

from qts.market.mapping import Mapping

Format = Literal["csv", "json", "parquet"]
SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json.gz": "json",
    ".jsonl.gz": "json",
}
_JSON_SAMPLE = 100  # lines whose keys stand for those of the file
_MAX_HEADER = 1 << 20  # bytes


class Unreadable(Exception):
    """A file that is damaged, or not of the format that it claims."""


@dataclass(frozen=True)
class Inspected:
    """What one file holds.

    Attributes:
        names: its columns in order.
        schema: Spark's types of a parquet file's columns; None for text, where every cell is text.
        nanos: columns that are integers of nanoseconds ("utc" or "local", for times without a zone).
        holds_rows: False where there is a header and nothing else.
        rows: how many there are, where the file says so. Files that differ in nothing else are read together.
    """

    format: Format
    names: tuple[str, ...]
    schema: T.StructType | None = None
    nanos: tuple[tuple[str, Literal["utc", "local"]], ...] = ()
    holds_rows: bool = True
    rows: int | None = field(default=None, compare=False)


def format_of(name: str) -> Format | None:
    """The format that a file's name says, None where it says none."""
    lower = name.lower()
    matching = [suffix for suffix in SUFFIXES if lower.endswith(suffix)]
    return SUFFIXES[max(matching, key=len)] if matching else None


def inspect(path: str, file_format: Format, mapping: Mapping) -> Inspected:
    """Looks into one file.

    Args:
        path: local, or a URI that pyarrow knows (s3, gs, hdfs, abfs).

    Raises:
        Unreadable: with the reason.
    """
    try:
        filesystem, inside = locate(path)
        if file_format == "parquet":
            with filesystem.open_input_file(inside) as handle:
                return _parquet(pq.ParquetFile(handle))
        with filesystem.open_input_stream(inside, compression=None) as handle:
            head: Any = gzip.GzipFile(fileobj=handle) if inside.endswith(".gz") else handle
            # A byte that is no UTF-8 spoils its own record, as it does for Spark, not the whole file.
            with io.TextIOWrapper(io.BufferedReader(head), "utf-8-sig", errors="replace", newline="") as text:
                return _csv(text, mapping) if file_format == "csv" else _json(text)
    except (OSError, EOFError, ValueError, csv.Error, pa.ArrowException) as error:
        raise Unreadable(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def locate(path: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a path or URI, and the path in it."""
    scheme, separator, rest = path.partition(":/")
    if not separator or scheme in ("file", "dbfs"):
        # Databricks mounts its volumes as local folders on the driver.
        return pafs.LocalFileSystem(), path if not separator else "/" + rest.lstrip("/")
    found: tuple[pafs.FileSystem, str] = pafs.FileSystem.from_uri(path.replace("s3a://", "s3://", 1))
    return found


def _parquet(file: pq.ParquetFile) -> Inspected:
    physical = {
        file.schema.column(place).path: file.schema.column(place).physical_type for place in range(len(file.schema))
    }
    fields, nanos = [], []
    for given in file.schema_arrow:
        kind = given.type.value_type if pa.types.is_dictionary(given.type) else given.type
        if physical.get(given.name) != "INT96" and pa.types.is_timestamp(kind) and kind.unit == "ns":
            nanos.append((given.name, "utc" if kind.tz else "local"))
        spark = _spark_type(kind, physical.get(given.name, ""))
        if spark is not None:
            fields.append(T.StructField(given.name, spark))
    schema = T.StructType(fields)
    rows = file.metadata.num_rows
    return Inspected("parquet", tuple(schema.names), schema, tuple(nanos), rows > 0, rows)  # type: ignore[arg-type]


def _spark_type(kind: pa.DataType, physical: str) -> T.DataType | None:
    """The type that Spark reads a parquet column as; None for nested columns, which no mapping names."""
    if pa.types.is_timestamp(kind):
        if physical == "INT96":
            return T.TimestampType()
        if kind.unit == "ns":
            return T.LongType()
        return T.TimestampType() if kind.tz else T.TimestampNTZType()
    if pa.types.is_decimal(kind):
        return T.DecimalType(kind.precision, kind.scale)
    for matches, spark in (
        (lambda given: pa.types.is_string(given) or pa.types.is_large_string(given), T.StringType()),
        (pa.types.is_float64, T.DoubleType()),
        (pa.types.is_float32, T.FloatType()),
        (pa.types.is_boolean, T.BooleanType()),
        (pa.types.is_int64, T.LongType()),
        (pa.types.is_int32, T.IntegerType()),
        (pa.types.is_int16, T.ShortType()),
        (pa.types.is_int8, T.ByteType()),
        (pa.types.is_uint64, T.DecimalType(20, 0)),
        (pa.types.is_uint32, T.LongType()),
        (pa.types.is_uint16, T.IntegerType()),
        (pa.types.is_uint8, T.ShortType()),
        (pa.types.is_date32, T.DateType()),
        # A column that is empty throughout is stored as integers; whatever it is, it holds nulls only.
        (pa.types.is_null, T.IntegerType()),
        (lambda given: pa.types.is_binary(given) or pa.types.is_large_binary(given), T.BinaryType()),
    ):
        if matches(kind):
            return spark
    return None


def _csv(text: IO[str], mapping: Mapping) -> Inspected:
    first = text.readline(_MAX_HEADER)
    if mapping.header is not None:
        return Inspected("csv", mapping.header, holds_rows=bool(first.strip()))
    names = next(csv.reader([first], delimiter=mapping.delimiter), [])
    if not any(name.strip() for name in names):
        raise Unreadable("the first line, which should name the columns, is empty")
    return Inspected("csv", tuple(name.strip() for name in names), holds_rows=_any_line(text))


def _json(text: IO[str]) -> Inspected:
    names: dict[str, None] = {}
    first = ""
    for _ in range(_JSON_SAMPLE):
        line = text.readline(_MAX_HEADER)
        if not line:
            break
        first = first or line.strip()
        try:
            record = json.loads(line) if line.strip() else None
        except ValueError:
            continue
        if isinstance(record, dict):
            names |= dict.fromkeys(record)
    if first and not names:
        hint = "; it seems to be one array or one spread-out object" if first[0] in "[{" else ""
        raise Unreadable(f"no line is a JSON object{hint}, and expected is one object a line")
    return Inspected("json", tuple(names), holds_rows=bool(first))


def _any_line(text: IO[str]) -> bool:
    return any(line.strip() for line in iter(lambda: text.readline(_MAX_HEADER), ""))
