"""Replay: the same recording gives the same batches, whatever the speed, the cut or the number of starts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadMaxRows

from qts.errors import ConfigError, DataError, MissingInput
from qts.market.mapping import Mapping
from qts.market.paths import REAL, SESSION, SIMULATED
from qts.pipeline.sources import open_stream, replay
from qts.pipeline.sources.recorded import record
from qts.pipeline.sources.replay import ReplayReader, open_replay, recorded, replay_schema

SPAN = {"start": datetime(2018, 1, 1, tzinfo=UTC), "end": datetime(2018, 3, 1, tzinfo=UTC)}
TRADE = {"kind": "trade", "columns": {"event_time": "ts", "instrument": "i", "price": "p"}}


def drain(spark, checkpoint, stream, *, stop_after=None):
    """Batches of candidates; the query fails after some of them if asked to."""
    batches = []

    def keep(batch, number):
        batches.append(stream.batch(batch).candidates.toPandas())
        if number + 1 == stop_after:
            raise RuntimeError("stop here")

    query = (
        stream.frame.writeStream.foreachBatch(keep)
        .option("checkpointLocation", str(checkpoint))
        .trigger(availableNow=True)
        .start()
    )
    if stop_after is None:
        query.awaitTermination()
    else:
        with pytest.raises(StreamingQueryException, match="stop here"):
            query.awaitTermination()
    return [batch.sort_values("source_offset").reset_index(drop=True) for batch in batches]


def packaged(spark, **options):
    return open_replay(spark, "r", dataset="sp500_nasdaq", once=True, **SPAN, **options)


def test_batches_do_not_depend_on_their_size(spark, tmp_path):
    whole = drain(spark, tmp_path / "a", packaged(spark, max_rows=10_000))
    parts = drain(spark, tmp_path / "b", packaged(spark, max_rows=100))
    assert len(whole) == 1
    assert [len(part) for part in parts] == [100, 100, 100, len(whole[0]) - 300]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole[0])

    rows = whole[0]
    assert rows["source_offset"].tolist() == list(range(len(rows)))
    assert rows["event_ns"].is_monotonic_increasing
    assert set(rows["instrument"]) == {"SP500", "NASDAQ"}
    assert set(rows["provenance"]) == {SIMULATED}
    assert "simulated" in packaged(spark).note


def test_a_batch_that_is_replayed_is_the_same(spark, tmp_path):
    before = drain(spark, tmp_path / "c", packaged(spark, max_rows=100), stop_after=2)
    after = drain(spark, tmp_path / "c", packaged(spark, max_rows=150))
    pd.testing.assert_frame_equal(before[1], after[0])  # the failed batch again, as it was planned
    played = pd.concat([before[0], *after], ignore_index=True)
    pd.testing.assert_frame_equal(played, drain(spark, tmp_path / "d", packaged(spark))[0])


def test_settings_name_the_source(spark, tmp_path):
    source = SimpleNamespace(
        type="replay",
        name="vix",
        into="indices",
        dataset="vix_wti",
        path=None,
        mapping=None,
        kind="index",
        speed=None,
        instruments=("VIX",),
        **SPAN,
    )
    rows = drain(spark, tmp_path / "c", open_stream(spark, source, once=True))[0]
    assert set(rows["instrument"]) == {"VIX"}
    assert set(rows["kind"]) == {"index"}
    assert set(rows["provenance"]) == {REAL}
    source.into = "ticks"
    with pytest.raises(ConfigError, match="say `into: indices`"):
        open_stream(spark, source, once=True)


def test_recorded_ticks_are_merged_by_event_time(spark, tmp_path):
    for name, times in (("b", [3, 1, 5]), ("a", [2, 3, 9])):
        table = pa.table({"ts": pa.array(times, pa.timestamp("ns", "UTC")), "i": [name] * 3, "p": [1.0, 2.0, 3.0]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    stream = open_replay(spark, "r", path=str(tmp_path), mapping=Mapping.of(TRADE), kind="ticks", once=True, max_rows=4)
    rows = pd.concat(drain(spark, tmp_path / "c", stream), ignore_index=True)
    assert rows["event_ns"].tolist() == [1, 2, 3, 3, 5, 9]
    assert rows["instrument"].tolist() == ["b", "a", "a", "b", "b", "a"]
    assert set(rows["provenance"]) == {REAL}
    assert stream.note == ""


def test_bad_cells_of_a_recording_reach_quarantine(spark, tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("ts,i,p\n2024-01-02T00:00:01Z,A,1\nnever,A,2\n2024-01-02T00:00:03+01:00,A,x\n")
    stream = open_replay(spark, "r", path=str(file), mapping=Mapping.of(TRADE), kind="ticks", once=True)
    rows = drain(spark, tmp_path / "c", stream)[0]
    assert [list(found) for found in rows["parse_errors"]] == [["bad_number"], [], ["bad_time"]]
    assert json.loads(rows["payload"][2]) == {"ts": "never", "i": "A", "p": "2"}


def test_own_daily_bars_become_paths(tmp_path):
    file = tmp_path / "bars.csv"
    file.write_text("d,i,o,h,l,c,v\n2024-01-03,B,2,4,1,3,10\n2024-01-02,B,2,4,1.5,3,\n")
    columns = dict(zip(("event_time", "instrument", "open", "high", "low", "close", "volume"), "diohlcv", strict=True))
    mapping = Mapping.of({"kind": "daily", "columns": columns})
    recording = record(path=str(file), mapping=mapping)
    assert recording.simulated
    assert recording.table["price"].to_pylist() == [2, 1.5, 4, 3, 2, 1, 4, 3]
    assert recording.table["size"].to_pylist() == [None] * 4 + [2, 2, 2, 4]
    assert recording.time[0] == pd.Timestamp("2024-01-02").value + SESSION[0]
    file.write_text("d,i,o,h,l,c,v\n2024-01-03,B,2,1,1,3,10\n")
    with pytest.raises(DataError, match="1 impossible daily bars"):
        record(path=str(file), mapping=mapping)


def test_wide_daily_closes_become_real_prints(tmp_path):
    file = tmp_path / "wide.csv"
    file.write_text("Date,B,A\n2024-01-02,2,\n2024-01-03,3,1\n")
    mapping = Mapping.of({"kind": "daily", "wide": True, "columns": {"event_time": "Date"}})
    recording = record(path=str(file), mapping=mapping)
    assert not recording.simulated
    assert recording.table["instrument"].to_pylist() == ["B", "A", "B"]
    assert recording.table["price"].to_pylist() == [2, 1, 3]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dataset": "sp500"}, ConfigError, "There is no packaged data set 'sp500'"),
        ({"path": "none", "mapping": Mapping.of(TRADE), "kind": "ticks"}, MissingInput, "none is not there"),
        ({"path": "x"}, ConfigError, "a path with a mapping"),
        ({"path": "x", "mapping": Mapping.of(TRADE)}, ConfigError, "daily bars need"),
        ({"dataset": "vix_wti", "instruments": ["GOLD"]}, MissingInput, "no record between"),
        ({"dataset": "vix_wti", "start": 2**62}, MissingInput, "no record between"),
    ],
)
def test_what_cannot_be_played_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        record(**options)


WANTED = json.dumps(
    dict.fromkeys(("path", "mapping", "start", "end", "instruments"))
    | {"dataset": "sp500_nasdaq", "kind": "daily", "mapping_name": ""}
)


def reader(speed, max_rows=1_000_000):
    return ReplayReader(WANTED, replay_schema(recorded(WANTED)), max_rows, speed)


def test_speed_follows_the_clock_and_a_pause_is_not_caught_up(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(replay, "time", SimpleNamespace(monotonic=lambda: clock.now))
    times = recorded(WANTED).time
    playing = reader(speed=86_400.0)  # a day a second
    start = playing.initialOffset()
    for seconds in (0.0, 1.0, 2.5, 10.0):
        clock.now = 100.0 + seconds
        row = playing.latestOffset(start, ReadAllAvailable())["row"]
        assert row == np.searchsorted(times, times[0] + int(seconds * 86_400e9), side="right")
    assert playing.latestOffset(start, ReadMaxRows(5))["row"] == 5

    clock.now += 1e6  # stopped for long, then started again from where it was
    again = reader(speed=86_400.0)
    row = playing._offset(40)
    assert again.latestOffset(row, ReadAllAvailable())["row"] == np.searchsorted(times, times[40], side="right")
    again.prepareForTriggerAvailableNow()
    assert again.latestOffset(row, ReadAllAvailable())["row"] == len(times)
    end = again._offset(len(times))
    assert again.latestOffset(end, ReadAllAvailable()) == end == again.reportLatestOffset()


def test_another_recording_does_not_go_on_in_the_same_checkpoint():
    with pytest.raises(DataError, match="made with another recording"):
        reader(speed=None).latestOffset({"row": 3, "of": "7-abc"}, ReadAllAvailable())
