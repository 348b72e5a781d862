"""A Kafka topic: one record is one message's value, JSON or csv; its place is the partition and the offset."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from typing import Any, Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from qts.errors import ConfigError, MissingInput
from qts.market.mapping import Mapping
from qts.pipeline.sources.lines import parse_lines
from qts.pipeline.sources.normalise import normalise
from qts.pipeline.sources.stream import Batch, SourceStream

_TIMEOUT = 10.0  # seconds for a broker's answer before a query starts


def open_kafka(
    spark: SparkSession,
    name: str,
    servers: str,
    topic: str,
    mapping: Mapping,
    *,
    value_format: Literal["json", "csv"] = "json",
    max_rows: int = 500_000,
) -> SourceStream:
    """A stream over a topic, from its beginning; the checkpoint says where it goes on.

    Args:
        servers: bootstrap servers, "host:9092,host2:9092".
        max_rows: messages of one batch.

    Raises:
        MissingInput: no broker answers, or the topic does not exist.
        ConfigError: csv values need `header` in the mapping; a wide or daily mapping does not fit messages.
    """
    if mapping.kind == "daily" or (mapping.wide and value_format == "json"):
        raise ConfigError(
            f"mapping {mapping.name} is {'wide' if mapping.wide else 'for daily bars'}; messages are neither."
        )
    if value_format == "csv" and mapping.header is None:
        raise ConfigError(
            f"Topic {topic} carries csv, which has no header line in its messages: name the columns in order in "
            f"mapping {mapping.name}, `header: [ts, symbol, price]`."
        )
    names = mapping.header if value_format == "csv" and mapping.header is not None else mapping.used_columns
    mapping.check_columns(names, f"the header of topic {topic}")
    check_topic(servers, topic)
    reader = spark.readStream.format("kafka")
    for option, value in reader_options(servers, topic, max_rows).items():
        reader = reader.option(option, value)

    prefix = f"{name}:"

    def candidates(batch: DataFrame) -> Batch:
        place = F.concat_ws("-", "topic", "partition")
        lines = batch.select(
            # A tombstone has no value: it is a broken record like any other.
            F.coalesce(F.col("value").cast("string"), F.lit("")).alias("_line"),
            place.alias("_partition"),
            F.col("offset").alias("_offset"),
        )
        raw = parse_lines(
            lines,
            "_line",
            value_format,
            names,
            mapping,
            partition=F.col("_partition"),
            offset=F.col("_offset"),
            domain=F.concat(F.lit(prefix), F.col("_partition")),
        )
        return Batch(normalise(raw, mapping, name))

    return SourceStream(name, mapping, reader.load(), candidates, domain_prefix=prefix, absent=mapping.absent)


def reader_options(servers: str, topic: str, max_rows: int) -> MappingABC[str, str]:
    """Options of Spark's Kafka reader: everything from the start, and an error rather than a gap."""
    return {
        "kafka.bootstrap.servers": servers,
        "subscribe": topic,
        "startingOffsets": "earliest",
        # Records that the broker has dropped before they were read are lost for good: stop and say so.
        "failOnDataLoss": "true",
        "maxOffsetsPerTrigger": str(max_rows),
        # Half of an aborted transaction never happened.
        "kafka.isolation.level": "read_committed",
    }


def check_topic(servers: str, topic: str, client: Any = None) -> None:
    """Asks the broker whether the topic is there, for Spark would retry for minutes and then fail obscurely.

    Args:
        client: an AdminClient; by default one for `servers`.

    Raises:
        MissingInput: no broker answers, or there is no such topic.
    """
    quiet: dict[str, str | int | float | bool] = {
        "bootstrap.servers": servers,
        "socket.timeout.ms": int(_TIMEOUT * 1000),
        "log_level": 0,
    }
    admin = client if client is not None else AdminClient(quiet)
    try:
        topics = admin.list_topics(timeout=_TIMEOUT).topics
    except KafkaException as error:
        raise MissingInput(
            f"No Kafka broker answers at {servers} ({error.args[0].str()}). Check `servers` and that the broker runs."
        ) from error
    if topic not in topics:
        known = ", ".join(sorted(name for name in topics if not name.startswith("__"))) or "none"
        raise MissingInput(
            f"There is no topic {topic!r} at {servers}; its topics are: {known}. Create it, or name another."
        )
