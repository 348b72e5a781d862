"""Kafka without a broker: the options of the reader, and what is refused before a query starts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from qts.errors import ConfigError, MissingInput
from qts.market.mapping import Mapping
from qts.pipeline.sources.kafka import check_topic, open_kafka, reader_options

TRADE = Mapping.of({"kind": "trade", "columns": {"event_time": "ts", "instrument": "i", "price": "p"}}, name="m.yml")


def broker(*topics):
    return SimpleNamespace(list_topics=lambda timeout: SimpleNamespace(topics=dict.fromkeys(topics)))


def test_nothing_is_skipped_and_a_gap_is_an_error():
    options = reader_options("host:9092", "ticks", 1000)
    assert options["startingOffsets"] == "earliest"
    assert options["failOnDataLoss"] == "true"
    assert options["subscribe"] == "ticks"
    assert options["maxOffsetsPerTrigger"] == "1000"
    assert options["kafka.bootstrap.servers"] == "host:9092"


def test_a_topic_that_is_there():
    check_topic("host:9092", "ticks", broker("ticks"))


def test_a_topic_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(MissingInput, match="no topic 'tick' at host:9092; its topics are: news, ticks"):
        check_topic("host:9092", "tick", broker("ticks", "news", "__consumer_offsets"))


def test_no_broker():
    def fail(timeout):
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    with pytest.raises(MissingInput, match="No Kafka broker answers at host:9092"):
        check_topic("host:9092", "ticks", SimpleNamespace(list_topics=fail))


def test_csv_needs_the_names_of_its_columns():
    with pytest.raises(ConfigError, match="header: "):
        open_kafka(None, "k", "host:9092", "ticks", TRADE, value_format="csv")  # type: ignore[arg-type]


def test_daily_bars_are_no_messages():
    daily = Mapping.of({"kind": "daily", "columns": {"event_time": "d", "instrument": "i", "close": "c"}})
    with pytest.raises(ConfigError, match="for daily bars"):
        open_kafka(None, "k", "host:9092", "ticks", daily)  # type: ignore[arg-type]
