"""Tables in Delta: made with clustering and constraints, listed, maintained, and read by delta-rs ever after."""

from __future__ import annotations

import datetime
import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from py4j.protocol import Py4JJavaError
from trade_help import by_time, contents, market, run_once, settings_for, side_tables, undisturbed

from qts.errors import ConfigError, StoreError
from qts.pipeline import tables
from qts.pipeline.batches import BatchLog
from qts.pipeline.tables import create_table, list_tables, maintain, spark_schema
from qts.store.ledger import Ledger
from qts.store.staging import Staging
from qts.store.tables import TABLES

pytestmark = pytest.mark.usefixtures("spark")


def spark_rows(spark, ticks):
    """Ticks as a DataFrame of exactly the declared columns."""
    wanted = spark_schema("ticks")
    records = ticks.astype(object).where(ticks.notna(), None).to_dict("records")
    return spark.createDataFrame([values_of(record, wanted) for record in records], wanted)


def values_of(record, wanted):
    record = {**record, "event_time": record["event_time"] and record["event_time"].to_pydatetime()}
    return tuple(record.get(field.name) for field in wanted)


@pytest.fixture(scope="module")
def made(spark, tmp_path_factory):
    """A ticks table made by Spark, with one good trade."""
    settings = settings_for(tmp_path_factory.mktemp("tables") / "work")
    create_table(spark, settings.tables, "ticks")
    spark_rows(spark, market().query("kind == 'trade'")[:1]).write.format("delta").mode("append").save(
        str(settings.tables / "ticks")
    )
    return settings


def test_a_table_has_its_checks(spark, made):
    detail = spark.sql(f"DESCRIBE DETAIL delta.`{made.tables / 'ticks'}`").collect()[0]
    assert detail["properties"]["delta.enableDeletionVectors"] == "false"
    checks = {key for key in detail["properties"] if key.startswith("delta.constraints.")}
    assert checks == {f"delta.constraints.{name}" for name, _ in TABLES["ticks"].checks}
    assert create_table(spark, made.tables, "ticks") is None  # there already: nothing happens


def test_what_an_interrupted_start_left_out_is_added(spark, tmp_path):
    tables._create(spark, str(tmp_path / "ticks"), TABLES["ticks"])
    create_table(spark, tmp_path, "ticks")
    detail = spark.sql(f"DESCRIBE DETAIL delta.`{tmp_path / 'ticks'}`").collect()[0]
    assert {f"delta.constraints.{name}" for name, _ in TABLES["ticks"].checks} <= set(detail["properties"])


BAD = {
    "kind_known": {"kind": "rumour"},
    "trade_priced": {"price": -1.0},
    "quote_not_crossed": {"kind": "quote", "bid": 2.0, "ask": 1.0},
    "event_time": {"event_time": None},
}


@pytest.mark.parametrize("check", BAD)
def test_delta_refuses_a_bad_row(check, spark, made):
    row = market().query("kind == 'trade'")[:1].astype(object).assign(**BAD[check])
    schema = spark_schema("ticks")
    for field in schema:
        field.nullable = True
    frame = spark.createDataFrame([values_of(row.iloc[0].to_dict(), schema)], schema)
    with pytest.raises(Py4JJavaError, match=check):
        frame.write.format("delta").mode("append").save(str(made.tables / "ticks"))
    assert Ledger(made.tables).read("ticks").num_rows == 1


def test_infinite_and_missing_prices_are_refused(spark, made):
    for price in (float("inf"), float("nan"), None):
        row = market().query("kind == 'trade'")[:1].astype(object).assign(price=price)
        frame = spark.createDataFrame([values_of(row.iloc[0].to_dict(), spark_schema("ticks"))], spark_schema("ticks"))
        with pytest.raises(Py4JJavaError, match="trade_priced"):
            frame.write.format("delta").mode("append").save(str(made.tables / "ticks"))


def test_a_clustered_table_of_an_earlier_version_is_named(spark, tmp_path):
    spark.sql(f"CREATE TABLE delta.`{tmp_path / 'ticks'}` (event_time TIMESTAMP) USING delta CLUSTER BY (event_time)")
    with pytest.raises(StoreError, match=r"cannot be appended to: it has liquid clustering.* new --workdir"):
        create_table(spark, tmp_path, "ticks")


def test_spark_and_staged_files_write_the_same_table(spark, tmp_path):
    """Each sees what the other wrote, reads the other's statistics and honours the other's transactions."""
    create_table(spark, tmp_path, "ticks")
    ledger, rows = Ledger(tmp_path), market().query("kind == 'trade'")
    where = str(ledger.path("ticks"))
    staging = Staging(where, "ticks", {"checkpoint_id": "c", "batch_id": 0})
    given = pa.Table.from_pandas(rows[:10], preserve_index=False)
    assert ledger.commit("ticks", staging.write(given), transaction=("c", 0))
    for version in (0, 1):  # the first is there already
        writer = spark_rows(spark, rows[10:20]).write.format("delta").mode("append")
        writer.option("txnAppId", "c").option("txnVersion", version).save(where)
    assert ledger.transaction("ticks", "c") == 1
    last = rows[:20]["event_time"].max()
    found = spark.read.format("delta").load(where)
    assert found.count() == ledger.read("ticks", done_only=False).num_rows == 20
    assert found.where(found.event_time == last).count() == (rows[:20]["event_time"] == last).sum()
    assert found.where(found.event_time > last).count() == 0


def test_the_list_counts_every_declared_table(made):
    listed = {row["name"]: row for row in list_tables(made)["tables"]}
    json.dumps(listed)
    assert list(listed) == list(TABLES)
    ticks = listed["ticks"]
    assert (ticks["rows"], ticks["files"], ticks["exists"]) == (1, 1, True)
    assert ticks["bytes"] > 0
    assert ticks["version"] == Ledger(made.tables).version("ticks")
    assert listed["orders"] == {
        "name": "orders",
        "layer": "gold",
        "writer": "trade",
        "key": ["order_id"],
        "clustered_by": [],
        "exists": False,
        "version": None,
        "rows": 0,
        "files": 0,
        "bytes": 0,
    }


def test_every_declared_table_can_be_made_by_spark(spark, tmp_path):
    # Those that Spark writes; all others are made by delta-rs.
    for name in ("ticks", "bars_history"):
        create_table(spark, tmp_path, name)
        assert Ledger(tmp_path).read(name, done_only=False).schema.names == TABLES[name].schema.names


def test_maintenance_leaves_all_data_and_the_job_goes_on(spark, tmp_path, tmp_path_factory, monkeypatch):
    settings = settings_for(tmp_path / "work")
    side_tables(settings.tables)
    create_table(spark, settings.tables, "ticks")
    parts = by_time(market(), 8)
    for part in parts[:4]:
        spark_rows(spark, part).coalesce(1).write.format("delta").mode("append").save(str(settings.tables / "ticks"))
    run_once(settings, 1)
    before, ledger = contents(settings), Ledger(settings.tables)
    ticks = ledger.read("ticks").sort_by("event_ns")
    monkeypatch.setattr(tables, "STATE_BATCHES", 1)
    done = maintain(settings)
    again = maintain(settings, retention="1h")
    json.dumps(done)
    for figures in (done["tables"], again["tables"]):
        assert figures["ticks"]["files_after"] == 1
        assert all(row["vacuumed"] == 0 for row in figures.values())  # all of it is younger than the retention
        assert all(row["files_after"] <= row["files_before"] for row in figures.values())
    assert done["tables"]["batches"] == {"files_before": 8, "files_after": 1, "vacuumed": 0}
    ledger = Ledger(settings.tables)
    assert contents(settings) == before
    assert ledger.read("ticks").sort_by("event_ns").equals(ticks)
    states = set(ledger.read("state", columns=("batch_id",), done_only=False)["batch_id"].to_pylist())
    assert states == {2, 3}
    checkpoint = ledger.read("batches", columns=("checkpoint_id",))["checkpoint_id"][0].as_py()
    assert BatchLog(ledger, "trade", checkpoint).last_done() == 3

    for part in parts[4:]:
        spark_rows(spark, part).write.format("delta").mode("append").save(str(settings.tables / "ticks"))
    run_once(settings)
    assert contents(settings) == contents(undisturbed(tmp_path_factory))


def test_pruned_states_can_be_read_after_files_were_rewritten(tmp_path, monkeypatch):
    settings = settings_for(tmp_path / "work")
    ledger = Ledger(settings.tables)
    log = BatchLog(ledger, "trade", "abc")
    for batch in range(6):
        log.save_state(batch, {"meta": b"%d" % batch})
    ledger.open("state").optimize.compact()
    monkeypatch.setattr(tables, "STATE_BATCHES", 2)
    # One file holds all batches now, so this rewrites it.
    tables._prune_state(Ledger(settings.tables))
    for batch, meta in ((2, None), (3, b"3"), (5, b"5")):
        assert BatchLog(Ledger(settings.tables), "trade", "abc").load_state(batch).get("meta") == meta


def test_files_that_nobody_needs_are_deleted(tmp_path, monkeypatch):
    settings = settings_for(tmp_path / "work")
    ledger = Ledger(settings.tables)
    now = datetime.datetime.now(datetime.UTC)
    for number in range(4):
        row = {"control_id": str(number), "at": now, "action": "resume", "scope": "*", "reason": "r", "actor": "a"}
        ledger.append("controls", pa.Table.from_pylist([row], schema=TABLES["controls"].schema))
    ledger.open("controls").optimize.compact()
    vacuum = type(ledger.open("controls")).vacuum
    monkeypatch.setattr(
        type(ledger.open("controls")),
        "vacuum",
        lambda self, **options: vacuum(self, **{**options, "retention_hours": 0}),
    )
    assert maintain(settings, retention="1h")["tables"]["controls"] == {
        "files_before": 1,
        "files_after": 1,
        "vacuumed": 4,
    }
    assert Ledger(settings.tables).read("controls").num_rows == 4
    with pytest.raises(StoreError, match="longer retention"):
        Ledger(settings.tables).read("controls", version=2, where=pc.field("scope") == "*")


@pytest.mark.parametrize("retention", ["59m", "0s"])
def test_a_retention_that_could_delete_files_in_use_is_refused(retention, tmp_path):
    with pytest.raises(ConfigError, match="give 1h or more"):
        maintain(settings_for(tmp_path / "work"), retention=retention)


def test_maintenance_of_an_empty_workdir_does_nothing(tmp_path):
    assert maintain(settings_for(tmp_path / "work"))["tables"] == {}
