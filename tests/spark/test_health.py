"""`pipeline_health` fills in real runs: every batch of ingest and trade leaves its figures, once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from qts.pipeline import ingest, trade
from qts.settings import Settings
from qts.store.ledger import Ledger

MAPPING = "kind: trade\ncolumns: {event_time: time, instrument: symbol, price: px, size: qty}\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "trades.yml").write_text(MAPPING)
    return Settings(workdir=tmp_path / "work", bars={"intervals": ["1s", "1m"], "decision": "1m"})


def write(folder: Path, day: int, rows: int) -> None:
    folder.mkdir(exist_ok=True)
    lines = [f"2024-03-{day:02d}T10:00:{second:02d}Z,AAA,10.{second % 10},5" for second in range(rows)]
    (folder / f"{day}.csv").write_text("\n".join(["time,symbol,px,qty", *lines, ""]))


def test_batches_of_ingest_and_trade_leave_their_figures(
    spark: SparkSession, tmp_path: Path, settings: Settings
) -> None:
    for day, rows in ((1, 40), (2, 25)):
        write(tmp_path / "in", day, rows)
        landed = ingest.run(settings, once=True, path=tmp_path / "in", mapping=tmp_path / "trades.yml")
        assert landed["accepted"] == rows
        trade.run(settings, once=True)
    health = Ledger(settings.tables).read("pipeline_health").to_pylist()
    by_job = {job: [row for row in health if row["job"].split("-")[0] == job] for job in ("ingest", "trade")}
    assert sum(map(len, by_job.values())) == len(health)
    for job, rows in by_job.items():
        # Text files come to Spark whole, a row each.
        assert sum(row["rows_in"] for row in rows) == {"ingest": 2, "trade": 65}[job]
        assert len({(row["run_id"], row["spark_batch"]) for row in rows}) == len(rows)
        assert len({row["query_id"] for row in rows}) == 1
        assert len({row["run_id"] for row in rows}) == 2
        assert all(json.loads(row["detail"])["phases_ms"]["addBatch"] <= row["duration_ms"] for row in rows)
