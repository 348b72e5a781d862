"""`ingest.run` on real streams: files that come once, bad input that is said clearly, indices and headlines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import csv
from pydantic import TypeAdapter

from qts.errors import ConfigError, DataError, MissingInput, QualityGateFailed, StoreError
from qts.pipeline import ingest
from qts.pipeline.batches import lock
from qts.pipeline.landing import Lander
from qts.settings import Settings, Source
from qts.store.ledger import Ledger

from .ingest_help import positions, reasons

TRADES = """\
time,symbol,px,qty,id
2024-03-01T10:00:00Z,AAA,10.0,5,1
2024-03-01T10:00:01Z,AAA,10.1,5,2
2024-03-01T10:00:01Z,AAA,10.1,5,2
2024-03-01T10:00:02Z,AAA,NaN,5,3
2024-03-01T10:00:03Z,AAA,-10,0,4
yesterday,AAA,10.2,5,5
2024-03-01T10:00:04Z,../AAA,10.2,5,6
2024-03-01T10:00:05Z,AAA,99.0,5,7
2024-03-01T09:00:00Z,AAA,10.2,5,8
2024-03-01T10:00:06Z,AAA,10.2,5,9
"""
NAMES = TRADES.split("\n", 1)[0].split(",")
MAPPING = """\
kind: trade
columns: {event_time: time, instrument: symbol, price: px, size: qty, vendor_id: id}
constants: {venue: X}
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def settings(tmp_path, *sources, **given):
    adapter = TypeAdapter(tuple[Source, ...])
    return Settings(workdir=tmp_path / "work", sources=adapter.validate_python(sources), **given)


@pytest.fixture
def trades(tmp_path):
    return write(tmp_path / "in" / "trades.csv", TRADES), write(tmp_path / "trades.yml", MAPPING)


def test_a_file_is_taken_in_once(spark, tmp_path, trades):
    path, mapping = trades
    config = settings(tmp_path)
    told = ingest.run(config, once=True, path=path, mapping=mapping)
    assert {key: told[key] for key in ("in", "accepted", "quarantined", "duplicates")} == {
        "in": 10,
        "accepted": 3,
        "quarantined": 6,
        "duplicates": 1,
    }
    assert told["reasons"] == {
        "bad_time": 1,
        "duplicate": 1,
        "late": 1,
        "price_jump": 1,
        "price_not_finite": 1,
        "price_not_positive": 1,
        "size_not_positive": 1,
        "unsafe_instrument": 1,
    }
    assert told["table"] == str(config.tables / "ticks")
    ledger = Ledger(config.tables)
    assert [offset for _, offset in positions(ledger, "ticks")] == [1, 2, 10]
    payloads = {r["source_offset"]: r["payload"] for r in ledger.read("quarantine").to_pylist()}
    assert "../AAA" in payloads[7]
    again = ingest.run(config, once=True, path=path, mapping=mapping)
    assert (again["in"], again["reasons"]) == (0, {})
    assert len(positions(ledger, "ticks")) == 3
    json.dumps(told)


def test_parquet_is_judged_as_csv_is(spark, tmp_path, trades):
    """Its names are looked at once each, in what the survey found, and its rows are read again for the write."""
    path, mapping = trades
    table = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=dict.fromkeys(NAMES, pa.string())))
    given = settings(tmp_path / "csv"), settings(tmp_path / "parquet")
    parquet = tmp_path / "in as parquet" / "100% of it" / "trades.parquet"
    parquet.parent.mkdir(parents=True)
    pq.write_table(table, parquet)
    expected, told = (
        ingest.run(config, once=True, path=file, mapping=mapping)
        for config, file in zip(given, (path, parquet), strict=True)
    )
    assert told["reasons"] == expected["reasons"]
    assert "unsafe_instrument" in told["reasons"]
    assert told["accepted"] == expected["accepted"]
    assert positions(Ledger(given[1].tables), "ticks") == [("trades.parquet", row) for row in (0, 1, 9)]
    pq.write_table(table.filter(pc.equal(table["symbol"], "AAA")), parquet.parent / "safe.parquet")
    safe = ingest.run(given[1], once=True, path=parquet.parent / "safe.parquet", mapping=mapping)
    assert (safe["in"], safe["accepted"], safe["duplicates"]) == (9, 0, 4)


def test_indices_and_headlines_land_the_same_way(spark, tmp_path):
    values = "day,close\n2024-03-01,13.1\n2024-03-02,-1.5\n2024-03-03,\n2024-03-04,oops\n"
    index = write(
        tmp_path / "v.yml", "kind: index\ncolumns: {event_time: day, value: close}\nconstants: {index_name: VIX}\n"
    )
    texts = (
        '{"at": "2024-03-01T08:00:00Z", "body": "Oil falls"}\n{"at": "2024-03-01T08:01:00Z", "body": ""}\nnot json\n'
    )
    news = write(tmp_path / "n.yml", "kind: headline\ncolumns: {event_time: at, text: body}\n")
    config = settings(
        tmp_path,
        {
            "name": "vix",
            "type": "files",
            "path": str(write(tmp_path / "v.csv", values)),
            "mapping": index,
            "into": "indices",
        },
        {
            "name": "news",
            "type": "files",
            "path": str(write(tmp_path / "n.json", texts)),
            "mapping": news,
            "into": "headlines",
        },
    )
    told = ingest.run(config, once=True)
    ledger = Ledger(config.tables)
    assert sorted(ledger.read("indices")["value"].to_pylist()) == [-1.5, 13.1]
    assert ledger.read("headlines")["text"].to_pylist() == ["Oil falls"]
    for source in told["sources"].values():
        assert source["in"] == source["accepted"] + source["quarantined"] + source["duplicates"]
    assert told["sources"]["news"]["reasons"] == {"missing_text": 1, "unparseable_record": 1}
    assert told["sources"]["vix"]["in"] == 4
    assert told["accepted"] == 3
    assert {tuple(codes) for codes in reasons(ledger).values()} >= {("missing_text",), ("unparseable_record",)}


def test_one_source_fails_and_the_others_end_cleanly(spark, tmp_path, trades, monkeypatch):
    path, mapping = trades
    second = write(tmp_path / "in2" / "more.csv", TRADES)
    both = [
        {"name": name, "type": "files", "path": str(where), "mapping": mapping}
        for name, where in (("first", path), ("second", second))
    ]
    config = settings(tmp_path, *both)
    whole = Lander._count

    def broken(self, *rest):
        if self.stream.name == "first":
            raise OSError(28, "No space left on device")
        return whole(self, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Lander, "_count", broken)
        with pytest.raises(OSError, match="No space left on device"):
            ingest.run(config, once=True)
    assert len(positions(Ledger(config.tables), "ticks")) == 3
    told = ingest.run(config, once=True)  # the vendor's ids are there already, under the other source
    assert (told["in"], told["accepted"], told["duplicates"]) == (10, 0, 4)


def test_the_gate_of_the_settings_stops_the_job(spark, tmp_path, trades):
    path, mapping = trades
    stops = settings(tmp_path, ingest={"gate": "stop"})
    with pytest.raises(QualityGateFailed, match=r"quarantined_share 0\.6"):
        ingest.run(stops, once=True, path=path, mapping=mapping)
    assert Ledger(stops.tables).read("quarantine", done_only=False).num_rows == 0
    warns = settings(tmp_path, ingest={"gate": "warn"})
    assert ingest.run(warns, once=True, path=path, mapping=mapping)["accepted"] == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(spark, tmp_path, trades):
    path, mapping = trades
    (tmp_path / "work").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        ingest.run(settings(tmp_path), once=True, path=path, mapping=mapping)


def test_a_work_folder_that_is_a_file_is_named(tmp_path, trades):
    path, mapping = trades
    write(tmp_path / "work", "")
    with pytest.raises(StoreError, match="cannot be written"):
        ingest.run(settings(tmp_path), once=True, path=path, mapping=mapping)


def test_a_second_process_on_a_source_is_refused(tmp_path, trades):
    path, mapping = trades
    config = settings(tmp_path)
    name = ingest.adhoc_source(str(path), mapping).name
    with lock(config.checkpoint("ingest") / name), pytest.raises(Exception, match="Another process"):
        ingest.run(config, once=True, path=path, mapping=mapping)


def test_what_cannot_work_is_said_before_anything_runs(spark, tmp_path, trades):
    path, mapping = trades
    with pytest.raises(ConfigError, match="no sources"):
        ingest.run(settings(tmp_path), once=True)
    with pytest.raises(ConfigError, match="needs --mapping"):
        ingest.run(settings(tmp_path), once=True, path=path)
    with pytest.raises(MissingInput):
        ingest.run(settings(tmp_path), once=True, path=tmp_path / "none.csv", mapping=mapping)
    with pytest.raises(DataError):
        ingest.run(settings(tmp_path), once=True, path=write(tmp_path / "t.csv", "a,b\n1,2\n"), mapping=mapping)
    gone = settings(tmp_path, ingest={"expectations": tmp_path / "none.yml"})
    with pytest.raises(MissingInput, match="no suite"):
        ingest.run(gone, once=True, path=path, mapping=mapping)


def test_the_same_path_and_mapping_have_the_same_checkpoint(tmp_path, trades, monkeypatch):
    path, mapping = trades
    monkeypatch.chdir(tmp_path)
    name = ingest.adhoc_source(str(path), mapping).name
    assert ingest.adhoc_source("in/../in/trades.csv", Path("trades.yml")).name == name
    assert ingest.adhoc_source(str(path), write(tmp_path / "other.yml", MAPPING + "timezone: UTC\n")).name != name
