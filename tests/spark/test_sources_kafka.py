"""What a Kafka batch becomes; the broker itself is another test's."""

from __future__ import annotations

import pytest

from qts.market.mapping import Mapping
from qts.pipeline.sources import kafka

TRADE = {"kind": "trade", "columns": {"event_time": "ts", "instrument": "i", "price": "p"}}


@pytest.mark.parametrize(
    ("value_format", "more", "good", "bad"),
    [
        ("json", {}, b'{"ts": "2024-01-02T10:00:00Z", "i": "A", "p": 2.5}', b'{"ts": '),
        ("csv", {"header": ["p", "i", "ts"]}, b"2.5,A,2024-01-02T10:00:00Z", b"2.5,A"),
    ],
)
def test_messages_become_candidates(spark, monkeypatch, value_format, more, good, bad):
    monkeypatch.setattr(kafka, "check_topic", lambda servers, topic: None)
    mapping = Mapping.of(TRADE | more, name="m.yml")
    stream = kafka.open_kafka(spark, "k", "localhost:9", "ticks", mapping, value_format=value_format)
    assert stream.frame.isStreaming
    batch = spark.createDataFrame(
        [(good, "ticks", 1, 7), (bad, "ticks", 1, 8), (None, "ticks", 0, 9)],
        "value BINARY, topic STRING, partition INT, offset LONG",
    )
    rows = stream.batch(batch).candidates.orderBy("source_offset").collect()
    assert [row["source_partition"] for row in rows] == ["ticks-1", "ticks-1", "ticks-0"]
    assert [row["source_offset"] for row in rows] == [7, 8, 9]
    assert [row["lateness_domain"] for row in rows] == ["k:ticks-1", "k:ticks-1", "k:ticks-0"]
    assert [row["parse_errors"] for row in rows] == [[], ["unparseable_record"], ["unparseable_record"]]
    assert (rows[0]["instrument"], rows[0]["price"], rows[0]["event_ns"]) == ("A", 2.5, 1_704_189_600_000_000_000)
    assert rows[1]["payload"] == bad.decode()
