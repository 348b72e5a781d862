"""A Spark data source that plays a recording at a chosen speed.

The offset is the number of records played, in the recording's order, so a batch that is replayed is the same batch. The
rows of a batch travel inside its partitions: executors need no access to the files, and no load per task.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingABC
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadLimit, ReadMaxRows, SupportsTriggerAvailableNow
from pyspark.sql.types import BooleanType, DoubleType, LongType, StringType, StructField, StructType

from qts.errors import DataError
from qts.market.mapping import Mapping
from qts.pipeline.sources.normalise import Field, Raw, as_json, normalise
from qts.pipeline.sources.recorded import Kind, Recording, record
from qts.pipeline.sources.stream import Batch, SourceStream

FORMAT = "qts_replay"
_OFFSET = "_qts_offset"
_PARTITION_ROWS = 50_000
_SPARK = {"int64": LongType(), "double": DoubleType(), "string": StringType(), "bool": BooleanType()}


def open_replay(
    spark: SparkSession,
    name: str,
    *,
    dataset: str | None = None,
    path: str | None = None,
    mapping: Mapping | None = None,
    kind: Kind = "daily",
    speed: float | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    instruments: Sequence[str] | None = None,
    once: bool,
    max_rows: int = 200_000,
) -> SourceStream:
    """A stream that plays packaged data or recorded files.

    Args:
        speed: seconds of market time per second; None as fast as batches go. `once` ignores it.
        max_rows: records of one batch.

    Raises:
        As `recorded.record`.
    """
    wanted: dict[str, Any] = {
        "dataset": dataset,
        "path": path,
        "mapping": None
        if mapping is None
        else mapping.model_dump(mode="json", exclude_defaults=True) | {"kind": mapping.kind},
        "mapping_name": "" if mapping is None else mapping.name,
        "kind": kind,
        "start": _nanoseconds(start),
        "end": _nanoseconds(end),
        "instruments": None if instruments is None else list(instruments),
    }
    recording = recorded(json.dumps(wanted))
    spark.dataSource.register(ReplaySource)
    reader = spark.readStream.format(FORMAT).option("recording", json.dumps(wanted)).option("max_rows", max_rows)
    if speed is not None and not once:
        reader = reader.option("speed", speed)
    nanos = dict(recording.nanos)
    schema = replay_schema(recording)

    def candidates(batch: DataFrame) -> Batch:
        fields = {
            given.name: Field(F.col("`" + given.name.replace("`", "``") + "`"), given.dataType, nanos.get(given.name))
            for given in schema
            if given.name not in (_OFFSET, recording.provenance)
        }
        raw = Raw(batch, fields, F.lit("0"), F.col(_OFFSET), F.lit(name), as_json(fields))
        if recording.provenance is not None:
            raw = Raw(
                batch,
                fields,
                F.lit("0"),
                F.col(_OFFSET),
                F.lit(name),
                as_json(fields),
                provenance=F.col(recording.provenance),
            )
        return Batch(normalise(raw, recording.mapping, name))

    note = (
        f"{name}: the paths within each day are simulated (only open, high, low, close are real)"
        if recording.simulated
        else ""
    )
    return SourceStream(name, recording.mapping, reader.load(), candidates, sized=kind != "daily", note=note)


@lru_cache(maxsize=8)
def recorded(wanted: str) -> Recording:
    """The recording that the JSON asks for; kept, since the schema, the reader and the caller all need it."""
    asked = json.loads(wanted)
    mapping = None if asked["mapping"] is None else Mapping.of(asked.pop("mapping"), name=asked["mapping_name"])
    asked.pop("mapping_name")
    return record(**{**asked, "mapping": mapping})


def replay_schema(recording: Recording) -> StructType:
    """Spark's schema of a recording's rows: its columns and the offset."""
    fields = [StructField(given.name, _SPARK[str(given.type)]) for given in recording.table.schema]
    return StructType([*fields, StructField(_OFFSET, LongType())])


class ReplaySource(DataSource):
    """`spark.readStream.format("qts_replay")`; use `open_replay`, which sets its options."""

    @classmethod
    def name(cls) -> str:
        return FORMAT

    def schema(self) -> StructType:
        return replay_schema(recorded(self.options["recording"]))

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802
        speed = self.options.get("speed")
        return ReplayReader(
            self.options["recording"], schema, int(self.options["max_rows"]), None if speed is None else float(speed)
        )


class ReplayReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Plays a recording. The offset is {"row": records played, "of": the recording's fingerprint}.

    Args:
        speed: nanoseconds of event time that pass in one nanosecond; None for no waiting.
    """

    def __init__(self, wanted: str, schema: StructType, max_rows: int, speed: float | None) -> None:
        self._wanted = wanted
        self._schema = schema
        self._max_rows = max_rows
        self._speed = speed
        self._anchor: tuple[float, int] | None = None  # (wall seconds, event nanoseconds) when play began
        self._of = ""

    def initialOffset(self) -> dict[str, Any]:  # noqa: N802
        return self._offset(0)

    def getDefaultReadLimit(self) -> ReadLimit:  # noqa: N802
        return ReadMaxRows(self._max_rows)

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802
        # All of a recording is there from the start.
        self._speed = None

    def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:  # noqa: N802
        first = self._row(start)
        last = self._due(first)
        if isinstance(limit, ReadMaxRows):
            last = min(last, first + limit.max_rows)
        elif not isinstance(limit, ReadAllAvailable):
            last = min(last, first + self._max_rows)
        return self._offset(max(first, last))

    def reportLatestOffset(self) -> dict[str, Any] | None:  # noqa: N802
        return self._offset(len(self._recording.time))

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> Sequence[InputPartition]:
        first, last = self._row(start), self._row(end)
        arrow = to_arrow_schema(self._schema, timezone="UTC")
        slices = []
        for begin in range(first, last, _PARTITION_ROWS):
            count = min(_PARTITION_ROWS, last - begin)
            rows = self._recording.table.slice(begin, count).append_column(
                _OFFSET, pa.array(np.arange(begin, begin + count, dtype=np.int64))
            )
            sink = io.BytesIO()
            with pa.ipc.new_stream(sink, arrow) as writer:
                writer.write_table(rows.cast(arrow))
            slices.append(InputPartition(sink.getvalue()))
        return slices

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        with pa.ipc.open_stream(partition.value) as reader:
            yield from reader

    def _due(self, first: int) -> int:
        """How many records the clock has come to, counted from the first one of this run.

        A stream that is stopped and started goes on where it was: the pause is not caught up in one burst.
        """
        times = self._recording.time
        if self._speed is None or first >= len(times):
            return len(times)
        now = time.monotonic()
        if self._anchor is None:
            self._anchor = (now, int(times[first]))
        began, event = self._anchor
        return int(np.searchsorted(times, event + int((now - began) * self._speed * 1e9), side="right"))

    @property
    def _recording(self) -> Recording:
        return recorded(self._wanted)

    def _offset(self, row: int) -> dict[str, Any]:
        self._of = self._of or self._recording.fingerprint()
        return {"row": row, "of": self._of}

    def _row(self, offset: MappingABC[str, Any]) -> int:
        expected = self._offset(0)["of"]
        if offset["of"] != expected:
            raise DataError(
                f"The checkpoint was made with another recording ({offset['of']}; this one is {expected}). Give back "
                "the recorded data as it was, or start with a new checkpoint."
            )
        return int(offset["row"])


def _nanoseconds(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
