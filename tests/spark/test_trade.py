"""The live query with `--once`: the same ledger however ticks are cut into batches, and what it says of bad input."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from trade_help import (
    NAMES,
    SECOND,
    START,
    WRITTEN,
    assert_same,
    by_time,
    commit,
    contents,
    done_batches,
    instruments,
    market,
    run_once,
    settings_for,
    undisturbed,
    workplace,
)

from qts.errors import CheckpointInUse, MissingInput, StoreError
from qts.pipeline import trade
from qts.pipeline.batches import lock
from qts.settings import Settings
from qts.store.ledger import Ledger
from qts.store.tables import table

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def expected(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    return contents(undisturbed(tmp_path_factory))


def test_the_market_gives_every_table_something_to_compare(expected):
    assert all(expected[name] for name in WRITTEN if name != "risk_events")
    assert len(expected["orders"]) > 50
    assert len(expected["fills"]) > 30
    assert any("simulated_path" in row for row in expected["portfolio"])
    assert any("'real'" in row for row in expected["portfolio"])


def shuffled(parts: list[pd.DataFrame]) -> list[pd.DataFrame]:
    return [part.sample(frac=1.0, random_state=3) for part in parts]


CUTS: dict[str, tuple[Callable[[pd.DataFrame], list[pd.DataFrame]], int, int]] = {
    "one commit, one bucket, shuffled": (lambda ticks: shuffled([ticks]), 1, 1),
    "three commits, a file a batch, 7 buckets": (lambda ticks: shuffled(by_time(ticks, 3)), 1, 7),
    "twelve commits, two files a batch, 64 buckets": (lambda ticks: by_time(ticks, 12), 2, 64),
    "an instrument a file, a file a batch": (lambda ticks: [ticks[ticks["instrument"] == n] for n in NAMES], 1, 4),
    "files of one instrument each, newest first, a file a batch": (
        lambda ticks: [part[part["instrument"] == n] for n in NAMES for part in reversed(by_time(ticks, 2))],
        1,
        7,
    ),
    "every fifth row a file, a file a batch": (lambda ticks: [ticks[start::5] for start in range(5)], 1, 64),
    "commits that cut days": (lambda ticks: [ticks[:301], ticks[301:333], ticks[333:]], 1, 2),
}


@pytest.mark.parametrize("how", CUTS)
def test_the_ledger_does_not_depend_on_how_ticks_are_cut(how, expected, tmp_path, monkeypatch):
    """Nor on whether buckets are decided on in this process, as for `expected`, or as Spark tasks."""
    cut, files, buckets = CUTS[how]
    monkeypatch.setattr("qts.pipeline.buckets.SMALL", -1)
    parts = cut(market())
    settings = workplace(tmp_path / "work", parts, buckets=buckets)
    figures = run_once(settings, files)
    assert figures["batches"] >= len(parts) / files
    assert figures["late_for_bars"] == 0
    assert figures["ticks"] == len(market())
    assert_same(contents(settings), expected)


def test_a_second_run_goes_on_where_the_first_one_ended(expected, tmp_path):
    first, second = by_time(market(), 2)
    settings = workplace(tmp_path / "work", [first])
    begun = run_once(settings)
    half = contents(settings)
    again = run_once(settings)
    assert_same(contents(settings), half)
    assert {key: again[key] for key in begun if key != "batches"} == {
        key: begun[key] for key in begun if key != "batches"
    }
    commit(settings.tables, second)
    figures = run_once(settings)
    assert figures["ticks"] == len(first) + len(second)
    assert_same(contents(settings), expected)


def two_days(workdir: Path, names: tuple[str, ...]) -> Settings:
    ticks = market()
    few = ticks[(ticks["event_ns"] < START + 2 * 86_400 * SECOND) & (ticks["instrument"] != "TIN")]
    settings = settings_for(workdir)
    DeltaTable.create(settings.tables / "ticks", schema=table("ticks").schema)
    commit(settings.tables, few)
    instruments(settings.tables, names)
    return settings


def test_ticks_of_an_unknown_instrument_stop_the_job_until_it_is_declared(tmp_path):
    settings = two_days(tmp_path / "work", ("CARBON", "EURUSD"))
    with pytest.raises(StoreError, match=r"IRON.*no row in table 'instruments'"):
        run_once(settings)
    assert all(not Ledger(settings.tables).read(name, done_only=False).num_rows for name in WRITTEN)
    instruments(settings.tables, ("IRON",))
    assert run_once(settings)["decisions"] > 0


def test_a_state_that_was_lost_is_an_error_and_not_a_fresh_start(tmp_path):
    settings = two_days(tmp_path / "work", ("CARBON", "EURUSD", "IRON"))
    run_once(settings)
    shutil.rmtree(settings.tables / "state")
    commit(settings.tables, market().tail(8).query("instrument != 'TIN'"))
    with pytest.raises(StoreError, match="state after batch 0"):
        run_once(settings)


@pytest.fixture
def traded(tmp_path: Path) -> Settings:
    settings = two_days(tmp_path / "work", ("CARBON", "EURUSD", "IRON"))
    run_once(settings)
    return settings


def test_a_checkpoint_that_was_deleted_beside_its_tables_trades_nothing_twice(traded):
    before = contents(traded)
    checkpoint = traded.checkpoint("trade")
    kept = checkpoint.rename(checkpoint.with_name("kept"))
    with pytest.raises(StoreError, match=r"is new, but table 'bars' .* checkpoint that was there before") as refusal:
        run_once(traded)
    assert "\n" not in str(refusal.value)
    assert_same(contents(traded), before)
    shutil.rmtree(checkpoint)
    kept.rename(checkpoint)
    run_once(traded)
    assert_same(contents(traded), before)


def test_after_its_tables_were_deleted_too_it_begins_anew(traded):
    before = contents(traded)
    shutil.rmtree(traded.checkpoint("trade"))
    for name in WRITTEN:
        shutil.rmtree(traded.tables / name, ignore_errors=True)
    run_once(traded)
    assert_same(contents(traded), before)


def test_progress_that_spark_has_lost_is_an_error_and_not_a_row_of_skipped_batches(traded):
    spark_part = traded.checkpoint("trade") / "spark"
    for ended in ("is gone", "ends at batch 0"):
        if ended == "is gone":
            kept = spark_part.rename(spark_part.with_name("kept"))
        else:
            kept.rename(spark_part)
            commit(traded.tables, market().tail(8).query("instrument != 'TIN'"))
            run_once(traded)
            for part in ("offsets", "commits"):
                (spark_part / part / "1").unlink()
        with pytest.raises(StoreError, match=f"Spark's progress .* {ended}"):
            run_once(traded)


def test_trading_needs_ticks(tmp_path):
    with pytest.raises(MissingInput, match="qts ingest"):
        trade.run(settings_for(tmp_path / "work"), once=True)


def test_two_processes_cannot_share_a_checkpoint(tmp_path):
    settings = two_days(tmp_path / "work", NAMES)
    with lock(settings.checkpoint("trade")), pytest.raises(CheckpointInUse, match="Another process"):
        trade.run(settings, once=True)
    assert done_batches(settings) == 0
