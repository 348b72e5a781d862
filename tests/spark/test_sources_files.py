"""Files: every vendor's file of the shared data maps without a fault, and a bad input costs nothing but itself."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qts.errors import ConfigError, DataError, MissingInput, UnknownColumn
from qts.market.mapping import Mapping
from qts.pipeline.sources import CANDIDATE
from qts.pipeline.sources.files import open_files

REPOSITORY = Path(__file__).resolve().parents[2]
MARKET = REPOSITORY / "../shared/data/market"
TRADE = {"kind": "trade", "columns": {"event_time": "ts", "instrument": "symbol", "price": "px", "size": "qty"}}
HEADER = "ts,symbol,px,qty\n"


def drain(spark, checkpoint, path, mapping, *, once=True, **options):
    """Every candidate of a source, in the order of its places."""
    mapping = Mapping.of(mapping, name="m.yml") if isinstance(mapping, dict) else mapping
    stream = open_files(spark, "s", str(path), mapping, once=once, **options)
    batches = []
    query = (
        stream.frame.writeStream.foreachBatch(
            lambda batch, _: batches.append(stream.batch(batch).candidates.toPandas())
        )
        .option("checkpointLocation", str(checkpoint))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    rows = pd.concat(batches) if batches else pd.DataFrame(columns=CANDIDATE.names)
    return rows.sort_values(["source_partition", "source_offset"]).reset_index(drop=True)


def codes(rows):
    return [list(found) for found in rows["parse_errors"]]


def utc(text):
    return pd.Timestamp(text).value


@pytest.mark.parametrize(
    ("files", "mapping", "rows"),
    [
        ("crypto/trades_*.parquet", "crypto_trades", 29_220),
        ("crypto/quotes_bbo_*{USDM,COINM}.parquet", "crypto_quotes", 95_381),
        ("crypto/quotes_bbo_*SPOT.parquet", "crypto_quotes_spot", 32_652),
        ("fx", "fx_quotes", 190_579),
        ("us_equity/trades_*.parquet", "us_equity_trades", 137_816),
        ("us_equity/bbo_*.parquet", "us_equity_quotes", 281_469),
        ("daily/sp500_*.csv.gz", "daily_closes_wide", 5_797 * 21),
        ("daily/vix_daily_ohlc_1990_2012.csv", "vix_daily", 5_794),
    ],
)
def test_every_shared_file_maps_without_a_fault(spark, tmp_path, files, mapping, rows):
    if not MARKET.is_dir():
        pytest.skip("../shared/data is not here")
    mapping = Mapping.load(REPOSITORY / "conf/mappings" / f"{mapping}.yml")
    stream = open_files(spark, "s", str(MARKET / files), mapping, once=True)
    seen = []

    def count(batch, _):
        found = stream.batch(batch).candidates.selectExpr(
            "count(*) AS rows",
            "count_if(size(parse_errors) = 0) AS good",
            "count(DISTINCT source_partition, source_offset) AS places",
            "count_if(event_time IS NULL OR event_ns IS NULL OR instrument IS NULL) AS holes",
            "count_if(CASE kind WHEN 'quote' THEN bid > 0 AND ask > 0 ELSE price > 0 END) AS priced",
            "count_if(event_time <> timestamp_micros(event_ns div 1000)) AS apart",
        )
        seen.append(found.first().asDict())

    options = {"checkpointLocation": str(tmp_path)}
    stream.frame.writeStream.foreachBatch(count).options(**options).trigger(
        availableNow=True
    ).start().awaitTermination()
    assert seen == [{"rows": rows, "good": rows, "places": rows, "holes": 0, "priced": rows, "apart": 0}]


def test_nanoseconds_sides_and_ids_of_crypto(spark, tmp_path):
    if not MARKET.is_dir():
        pytest.skip("../shared/data is not here")
    path = MARKET / "crypto/trades_ETHUSD_PERP_BINANCE_COINM.parquet"
    mapping = Mapping.load(REPOSITORY / "conf/mappings/crypto_trades.yml")
    received = mapping.model_copy(update={"columns": mapping.columns | {"event_time": "ts_recv"}})
    rows = drain(spark, tmp_path / "checkpoint", path, received)
    truth = pd.read_parquet(path)
    np.testing.assert_array_equal(rows["event_ns"], truth["ts_recv"].astype("int64"))
    np.testing.assert_array_equal(rows["side"], np.where(truth["buyer_is_maker"], "sell", "buy"))
    np.testing.assert_array_equal(rows["vendor_id"], truth["trade_id"].astype(str))
    np.testing.assert_array_equal(rows["source_offset"], np.arange(len(truth)))
    assert set(rows["source_partition"]) == {path.name}
    assert json.loads(rows["payload"][0])["qty"] == truth["qty"][0]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.bool_(), pa.int8(), pa.int64(), pa.uint64(), pa.float64()], ids=lambda kind: str(kind)
)
def test_a_flag_is_the_same_in_every_type(spark, tmp_path, kind):
    """Compared as text is compared: `1` and `true` are different cells, whatever type the vendor gives them."""
    cells = {"bool": [True, False, None], "double": [1.0, 0.0, None], "string": ["1", "TRUE", "0", None]}
    given = pa.array(cells.get(str(kind), [1, 0, None]), kind)
    table = pa.table({"ts": pa.array([0] * len(given), pa.timestamp("us", "UTC")), "f": given})
    pq.write_table(table.append_column("px", pa.array([1.0] * len(given))), tmp_path / "f.parquet")
    mapping = {"kind": "trade", "columns": {"event_time": "ts", "price": "px"}, "constants": {"instrument": "A"}}
    flag = {"column": "f", "value": [1, True, "x"]}
    side = {"column": "f", "values": {1: "buy", False: "sell", "true": "buy"}}
    rows = drain(spark, tmp_path / "c", tmp_path / "f.parquet", mapping | {"flag": flag, "side": side})
    texts = [None if cell is None else str(cell).lower() for cell in given.to_pylist()]
    assert rows["flagged"].tolist() == [text in ("1", "true", "x") for text in texts]
    assert rows["side"].tolist() == [{"1": "buy", "false": "sell", "true": "buy"}.get(text) for text in texts]


CSV = (
    "\ufeff" + HEADER + "2024-03-08 09:30:00.123456789,A,1.5,10\r\n"  # line 1: New York, winter time
    "2024-03-11T09:30:00,A,1.5,\r\n"  # summer time, size unknown
    "2024-03-08T14:30:00Z,A,1.5,10\r\n"
    "2024-03-08T15:30:00+01:00,A,1.5,10\r\n"
    "\r\n"
    "yesterday,A,1.5,10\r\n"  # line 6
    "12:30,A,1.5,10\r\n"
    "2024-03-08 09:30:00,A,dear,ten\r\n"
    "2024-03-08 09:30:00,A,NaN,10\r\n"
    "2024-03-08 09:30:00,A\r\n"  # line 10
    "2024-03-08 09:30:00,A,1,2,3\r\n"
    '2024-03-08 09:30:00,"A, ""B""",1e3,10\r\n'
    ",,,\r\n"
    "9999-03-08 09:30:00,A,1,1\r\n"
    "2024-03-08 09:30:00,A,5d,1\r\n"
)


def test_csv_line_by_line(spark, tmp_path):
    file = tmp_path / "a b+c%20é.csv"
    file.write_bytes(CSV.encode())
    rows = drain(spark, tmp_path / "c", file, TRADE | {"timezone": "America/New_York"}).set_index("source_offset")

    assert rows.index.tolist() == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    assert rows["event_ns"][1] == utc("2024-03-08T14:30:00Z") + 123_456_789
    assert rows["event_ns"][2] == utc("2024-03-11T13:30:00Z")
    assert rows["event_ns"][3] == rows["event_ns"][4] == utc("2024-03-08T14:30:00Z")
    assert np.isnan(rows["size"][2])
    assert dict(rows["parse_errors"].map(list)) == {
        **{line: [] for line in (1, 2, 3, 4, 9, 12, 13)},
        **{line: ["bad_time"] for line in (6, 7, 14)},
        8: ["bad_number"],
        10: ["unparseable_record"],
        11: ["unparseable_record"],
        15: ["bad_number"],
    }
    assert np.isnan(rows["price"][9])  # for the row rules to refuse: it is a number as far as the file goes
    assert rows["instrument"][12] == 'A, "B"'
    assert rows["price"][12] == 1000
    assert rows["payload"][11] == "2024-03-08 09:30:00,A,1,2,3"
    assert json.loads(rows["payload"][8]) == {"ts": "2024-03-08 09:30:00", "symbol": "A", "px": "dear", "qty": "ten"}
    assert set(rows["source_partition"]) == {file.name}
    assert set(rows["lateness_domain"]) == {f"s:{file.name}"}


def test_json_lines(spark, tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(
        '{"ts": 1704189600123, "symbol": "A", "px": 1.25, "qty": "7", "more": {"a": [1]}}\n'
        '{"ts": 1704189600123, "symbol": "A", "px": \n'
        '{"ts": "soon", "symbol": "A", "px": true}\n'
        "[1, 2]\n"
    )
    rows = drain(spark, tmp_path / "c", file, TRADE | {"unit": "ms"})
    assert codes(rows) == [[], ["unparseable_record"], ["bad_time", "bad_number"], ["unparseable_record"]]
    assert rows["event_ns"][0] == 1704189600123_000_000
    assert (rows["price"][0], rows["size"][0]) == (1.25, 7)
    assert rows["payload"][1] == '{"ts": 1704189600123, "symbol": "A", "px": '


@pytest.mark.parametrize(
    ("type_", "zone", "offset"),
    [
        (pa.timestamp("ns", "UTC"), "America/New_York", 0),
        (pa.timestamp("us", "UTC"), "America/New_York", 0),
        (pa.timestamp("ns"), "America/New_York", 5 * 3600),
        (pa.timestamp("us"), "America/New_York", 5 * 3600),
        (pa.timestamp("ms"), "UTC", 0),
        (pa.date32(), "America/New_York", 5 * 3600),
        (pa.string(), "America/New_York", 5 * 3600),
    ],
    ids=str,
)
def test_parquet_times_of_every_type(spark, tmp_path, type_, zone, offset):
    day = dt.datetime(2024, 1, 2)  # noqa: DTZ001
    when = pa.array([day], pa.timestamp("us")).cast(type_) if type_ != pa.string() else pa.array(["2024-01-02"])
    columns = {"ts": when, "symbol": ["A"], "px": pa.array([2], pa.int32()), "qty": pa.array([None], pa.null())}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    rows = drain(spark, tmp_path / "c", tmp_path / "x.parquet", TRADE | {"timezone": zone})
    assert rows["event_ns"][0] == utc("2024-01-02") + offset * 10**9
    assert rows["price"][0] == 2
    assert codes(rows) == [[]]


def test_old_parquet_times_and_odd_columns(spark, tmp_path):
    table = pa.table(
        {
            "t`s. x": pa.array([1_704_189_600_000_000], pa.timestamp("us")),
            "symbol": pa.array(["A"]).dictionary_encode(),
            "px": [1.0],
            "deep": [{"a": 1}],
        }
    )
    pq.write_table(table, tmp_path / "x.parquet", use_deprecated_int96_timestamps=True)
    columns = {"event_time": "t`s. x", "instrument": "symbol", "price": "px"}
    rows = drain(spark, tmp_path / "c", tmp_path / "x.parquet", TRADE | {"columns": columns})
    assert rows["event_ns"][0] == 1_704_189_600_000_000_000
    assert rows["instrument"][0] == "A"


def test_numbers_as_times_need_a_unit(spark, tmp_path):
    pq.write_table(pa.table({"ts": [1.5], "symbol": ["A"], "px": [1.0], "qty": [1]}), tmp_path / "x.parquet")
    rows = drain(spark, tmp_path / "c", tmp_path / "x.parquet", TRADE | {"unit": "s"})
    assert rows["event_ns"][0] == 1_500_000_000


def test_a_vendors_own_time_format(spark, tmp_path):
    (tmp_path / "x.csv").write_text("ts;symbol;px;qty\n31.01.2024 10:00;A;1;1\n2024-01-31;A;1;1\n")
    mapping = TRADE | {"time_format": "dd.MM.yyyy HH:mm", "timezone": "Europe/Berlin", "delimiter": ";"}
    rows = drain(spark, tmp_path / "c", tmp_path / "x.csv", mapping)
    assert rows["event_ns"][0] == utc("2024-01-31T09:00:00Z")
    assert codes(rows) == [[], ["bad_time"]]


def test_wide_files_have_a_record_a_cell(spark, tmp_path):
    (tmp_path / "w.csv").write_text("Date,A,`b.c`\n2024-01-02,1,\n2024-01-03,x,3\nbroken\n")
    mapping = {"kind": "trade", "wide": True, "columns": {"event_time": "Date"}, "time_of_day": "16:00"}
    rows = drain(spark, tmp_path / "c", tmp_path / "w.csv", mapping)
    assert rows["source_offset"].tolist() == [2, 4, 5, 6]
    assert rows["instrument"].tolist()[:3] == ["A", "A", "`b.c`"]
    assert codes(rows) == [[], ["bad_number"], [], ["unparseable_record"]]
    assert rows["event_ns"][2] == utc("2024-01-03T16:00:00Z")
    assert rows["payload"][3] == "broken"


def make_folder(folder, *, half_written=True):
    folder.mkdir()
    (folder / "sub").mkdir()
    good = pa.table(
        {"ts": pa.array([1, 2], pa.timestamp("ns", "UTC")), "symbol": ["A", "B"], "px": [1.0, 2.0], "qty": [1, 1]}
    )
    pq.write_table(good, folder / "good.parquet")
    other = pa.table({"ts": pa.array([3], pa.timestamp("us", "UTC")), "symbol": ["C"], "px": [3], "qty": [1.0]})
    pq.write_table(other, folder / "sub/other.parquet")
    with gzip.open(folder / "more.csv.gz", "wt") as handle:
        handle.write(HEADER + "2024-01-02,D,4,1\n")
    (folder / "_temporary.csv").write_text("hidden")
    (folder / "notes.md").write_text("not data")
    if half_written:
        whole = (folder / "good.parquet").read_bytes()
        (folder / "half.parquet").write_bytes(whole[: len(whole) // 2])
        (folder / "other_columns.csv").write_text("a,b\n1,2\n")


@pytest.mark.parametrize("max_files", [1, 2, 64])
def test_the_good_files_of_a_folder_land(spark, tmp_path, max_files):
    make_folder(tmp_path / "in")
    rows = drain(spark, tmp_path / "c", tmp_path / "in", TRADE, max_files=max_files)
    by_file = rows.groupby("source_partition")["source_offset"].agg(list).to_dict()
    assert by_file == {
        "good.parquet": [0, 1],
        "half.parquet": [-1],
        "more.csv.gz": [1],
        "other_columns.csv": [-1],
        "sub/other.parquet": [0],
    }
    bad = rows[rows["source_offset"] == -1]
    assert codes(bad) == [["unreadable_file"]] * 2
    assert "half.parquet" in bad["payload"].iloc[0]
    assert "names 'ts' but other_columns.csv has 'a', 'b'" in bad["payload"].iloc[1]
    good = rows[rows["source_offset"] >= 0]
    assert good["event_ns"].tolist() == [1, 2, utc("2024-01-02"), 3000]


def test_a_watched_folder_is_one_lateness_domain_and_goes_on(spark, tmp_path):
    (tmp_path / "in").mkdir()
    first = drain(spark, tmp_path / "c", tmp_path / "in", TRADE, once=False, watch=True)
    assert first.empty
    for name in ("b", "a"):
        (tmp_path / f"in/{name}.csv").write_text(HEADER + f"2024-01-02,{name},1,1\n")
        rows = drain(spark, tmp_path / "c", tmp_path / "in", TRADE, once=False, watch=True)
        assert rows["instrument"].tolist() == [name]
        assert set(rows["lateness_domain"]) == {"s"}
        assert rows["arrival"][0]["partition"] == f"{name}.csv"
        assert rows["arrival"][0]["arrived"] is not None


def test_a_line_keeps_its_number_however_large_the_tasks_are(spark, tmp_path):
    for name in ("x", "y"):
        lines = "".join(f"2024-01-02,{name},{number},1\n" for number in range(1, 3001))
        (tmp_path / f"{name}.csv").write_text(HEADER + lines)
    before = {
        key: spark.conf.get(key) for key in ("spark.sql.files.maxPartitionBytes", "spark.sql.files.openCostInBytes")
    }
    try:
        for key in before:
            spark.conf.set(key, "4096")
        rows = drain(spark, tmp_path / "c", tmp_path / "*.csv", TRADE)
    finally:
        for key, value in before.items():
            spark.conf.set(key, value)
    np.testing.assert_array_equal(rows["source_offset"], rows["price"])
    assert rows.groupby("source_partition").size().tolist() == [3000, 3000]


def test_the_payload_is_not_made_where_it_is_not_used(spark, tmp_path, capsys):
    make_folder(tmp_path / "in", half_written=False)
    stream = open_files(spark, "s", str(tmp_path / "in"), Mapping.of(TRADE), once=True)
    listed = spark.read.format("binaryFile").load(str(tmp_path / "in/good.parquet"))
    stream.batch(listed).candidates.drop("payload").explain()
    assert "to_json" not in capsys.readouterr().out.lower().replace("structstojson", "to_json")


@pytest.mark.parametrize(
    ("path", "content", "error", "message"),
    [
        ("none.csv", None, MissingInput, "does not exist"),
        ("none/*.csv", None, MissingInput, "does not exist"),
        ("x.csv", "", MissingInput, "holds no rows"),
        ("x.parquet", "", MissingInput, "holds no rows"),
        ("x.csv", HEADER, MissingInput, "holds no rows"),
        ("x.csv", HEADER + "\n\n", MissingInput, "holds no rows"),
        ("x.csv", "\n1,2\n", DataError, "the first line, which should name the columns, is empty"),
        ("x.csv", "ts,symbol,Px,qty\n1,2,3,4\n", UnknownColumn, "names 'px' but x.csv has .* Did you mean 'Px'?"),
        ("x.parquet", "PAR1 and no more", DataError, "half written or damaged"),
        ("x.csv.gz", "not gzip", DataError, "half written or damaged"),
        ("x.json", '[{"ts": 1}]', DataError, "expected is one object a line"),
        ("x.data", HEADER + "1,2,3,4\n", ConfigError, "format of .* cannot be told"),
    ],
)
def test_what_cannot_be_read_is_refused_before_a_query_starts(spark, tmp_path, path, content, error, message):
    if content is not None:
        (tmp_path / path).write_text(content)
    with pytest.raises(error, match=message):
        open_files(spark, "s", str(tmp_path / path), Mapping.of(TRADE, name="m.yml"), once=True)


def test_a_folder_without_files_is_refused(spark, tmp_path):
    with pytest.raises(MissingInput, match="holds no files with names in"):
        open_files(spark, "s", str(tmp_path), Mapping.of(TRADE), once=True)


def test_daily_bars_belong_to_replay(spark, tmp_path):
    daily = Mapping.of({"kind": "daily", "columns": {"event_time": "d", "instrument": "i", "close": "c"}})
    with pytest.raises(ConfigError, match="source of type replay"):
        open_files(spark, "s", str(tmp_path), daily, once=True)
