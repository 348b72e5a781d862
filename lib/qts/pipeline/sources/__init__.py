"""Where records come from: files, Kafka, replay. Every source yields the same candidates.

```python
stream = open_stream(spark, source, once=True)
query = stream.frame.writeStream.foreachBatch(lambda batch, _: land(stream.batch(batch).candidates))
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import SparkSession

from qts.errors import ConfigError
from qts.market.mapping import Mapping
from qts.pipeline.sources.files import open_files
from qts.pipeline.sources.kafka import open_kafka
from qts.pipeline.sources.normalise import CANDIDATE
from qts.pipeline.sources.replay import open_replay
from qts.pipeline.sources.stream import SourceStream

if TYPE_CHECKING:
    from qts.settings import Source

__all__ = ["CANDIDATE", "SourceStream", "open_stream"]


def open_stream(
    spark: SparkSession,
    source: Source,
    *,
    once: bool,
    max_files: int = 64,
    max_rows: int = 200_000,
    speed: float | None = None,
) -> SourceStream:
    """Opens a source of the settings.

    Args:
        once: read what is there and end (use the availableNow trigger).
        max_files: files of one batch.
        max_rows: records of one batch, for Kafka and replay.
        speed: in place of the replay source's own.

    Raises:
        MissingInput: the path, topic or broker is not there, or holds nothing.
        UnknownColumn: the data lacks a column of the mapping.
        ConfigError: the mapping is wrong, or its kind does not fit the table that the source fills.
        DataError: the data cannot be read at all.
    """
    if source.type == "replay":
        stream = open_replay(
            spark,
            source.name,
            dataset=source.dataset,
            path=source.path,
            mapping=None if source.mapping is None else Mapping.load(source.mapping),
            kind=source.kind,
            speed=source.speed if speed is None else speed,
            start=source.start,
            end=source.end,
            instruments=source.instruments,
            once=once,
            max_rows=max_rows,
        )
    elif source.type == "kafka":
        mapping = Mapping.load(source.mapping)
        stream = open_kafka(
            spark, source.name, source.servers, source.topic, mapping, value_format=source.format, max_rows=max_rows
        )
    else:
        stream = open_files(
            spark,
            source.name,
            source.path,
            Mapping.load(source.mapping),
            file_format=source.format,
            once=once,
            watch=source.watch,
            max_files=max_files,
        )
    fits = {"trade": "ticks", "quote": "ticks", "daily": "ticks", "index": "indices", "headline": "headlines"}
    if fits[stream.mapping.kind] != source.into:
        raise ConfigError(
            f"Source {source.name} goes into {source.into}, but its records are of kind {stream.mapping.kind}: "
            f"say `into: {fits[stream.mapping.kind]}`."
        )
    return stream
