"""Records that are lines of text: csv and JSON, from files and from Kafka.

Every cell is read as text and cast later, so that a bad one is quarantined and not nulled in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from qts.market.mapping import Mapping
from qts.pipeline.sources.normalise import Field, Raw, as_json

_BROKEN = "_broken"

#: Before a record that is not UTF-8, kept whole in base64: as it is no reader of the quarantine could show it, and with
#: its bytes replaced two names or ids could become one.
NOT_UTF8 = "base64:"


def parse_lines(
    frame: DataFrame,
    line: str,
    text: Literal["csv", "json"],
    names: Sequence[str],
    mapping: Mapping,
    *,
    partition: Column,
    offset: Column,
    domain: Column,
    arrived: Column | None = None,
) -> Raw:
    """Raw records of a frame of lines.

    Args:
        frame: has the column `line` and whatever the other columns refer to.
        names: of csv, its header in order; of JSON, the keys to read.
    """
    valid = F.is_valid_utf8(F.col(line))
    readable = F.when(valid, F.col(line))
    if text == "csv":
        # By place, for header names may be anything: empty, equal but for case, or the corrupt column's own name.
        cells = [f"c{place}" for place in range(len(names))]
        # A quote within quotes is doubled (RFC 4180); Spark's own default is a backslash before it.
        options = {"sep": mapping.delimiter, "escape": '"', "mode": "PERMISSIVE", "columnNameOfCorruptRecord": _BROKEN}
        ddl = ", ".join(f"{cell} STRING" for cell in (*cells, _BROKEN))
        parsed = frame.withColumn("_record", F.from_csv(readable, ddl, options))
    else:
        cells = list(names)
        options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": _BROKEN}
        schema = T.StructType([T.StructField(cell, T.StringType()) for cell in (*cells, _BROKEN)])
        parsed = frame.withColumn("_record", F.from_json(readable, schema, options))
    record = F.col("_record")
    fields = {name: Field(record.getField(cell), T.StringType()) for name, cell in zip(names, cells, strict=True)}
    raw_line = F.coalesce(readable, F.concat(F.lit(NOT_UTF8), F.base64(F.col(line).cast("binary"))))
    # An empty csv line is to the parser a record of nulls.
    broken = record.isNull() | record.getField(_BROKEN).isNotNull() | (F.trim(raw_line) == "")
    return Raw(
        parsed,
        fields,
        partition,
        offset,
        domain,
        F.when(broken, raw_line).otherwise(as_json(fields)) if text == "csv" else raw_line,
        F.lit(None).cast("timestamp") if arrived is None else arrived,
        broken,
    )
