"""The sentiment job: scores every headline once, by bucket, into the sentiment table.

A batch takes the headlines of those ingest batches that have ended since the batch before was planned. Its plan names
the versions of `headlines` and `batches`, so a restart takes the same ones, and Delta's application transaction skips a
write that was done.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from qts import __version__
from qts.market.sentiment.scorer import LABELS, Scorer, build
from qts.pipeline.alerts import Alerts, batches
from qts.pipeline.batches import BatchLog, NothingNewError, Plan, checkpoint_id, lock
from qts.pipeline.history import pinned
from qts.pipeline.session import spark_session
from qts.settings import Settings
from qts.store.ledger import Ledger
from qts.store.tables import table

_BESIDE = ("event_time", "instrument", "provenance", "source", "source_partition", "source_offset")


def run(settings: Settings, *, once: bool = True) -> dict[str, Any]:
    """Scores of headlines.

    Args:
        once: one batch of what is there; else looks for new headlines until it is stopped.

    Returns:
        scored (rows written now), labels {label: rows written now}, scorer, batch.

    Raises:
        ConfigError: the scorer is unknown.
        SetupError: the scorer needs a package that is not there.
    """
    scorer = build(settings.sentiment.scorer)  # refuses an unknown one before anything starts
    checkpoint = settings.checkpoint("sentiment")
    with lock(checkpoint):
        log = BatchLog(Ledger(settings.tables), "sentiment", checkpoint_id(checkpoint))
        trigger = settings.sentiment.trigger
        return batches(lambda: _next_batch(settings, log, scorer), Alerts(log), once=once, trigger=trigger)


def _next_batch(settings: Settings, log: BatchLog, scorer: Scorer) -> dict[str, Any]:
    ledger, number = log.ledger, log.last_done() + 1
    before = log.stored_plan(number - 1)["tables"]["batches"] if number else -1

    def make() -> Plan:
        tables = pinned(ledger, ("headlines", "batches"))
        if tables["headlines"] < 0 or not _ended_between(ledger, before, tables["batches"]).num_rows:
            raise NothingNewError
        return {"tables": tables, "config": settings.sentiment.model_dump(mode="json"), "code": __version__}

    try:
        plan = log.plan(number, make)
    except NothingNewError:
        return {"batch": number - 1, "scored": 0, "labels": dict.fromkeys(LABELS, 0), "scorer": scorer.name}
    spark = spark_session(settings)
    if ledger.transaction("sentiment", log.checkpoint) < number:
        headlines = _headlines(spark, ledger, plan, _ended_between(ledger, before, plan["tables"]["batches"]))
        _write(log, number, scored(headlines, plan["config"]["scorer"], plan["config"]["buckets"]))
    mine = (pc.field("checkpoint_id") == log.checkpoint) & (pc.field("batch_id") == number)
    labels = ledger.read("sentiment", columns=("label",), where=mine, done_only=False)["label"].to_pylist()
    summary = {
        "batch": number,
        "scored": len(labels),
        "labels": {label: labels.count(label) for label in LABELS},
        "scorer": scorer.name,
    }
    log.done(number, summary)
    return summary


def _ended_between(ledger: Ledger, before: int, now: int) -> pa.Table:
    """(checkpoint_id, batch_id) of ingest's batches that ended after one version of `batches` and up to another."""
    keys = ["checkpoint_id", "batch_id"]
    where = (pc.field("job") == table("headlines").writer) & (pc.field("phase") == "done")

    def ended(version: int) -> pa.Table:
        if version < 0:
            return table("batches").schema.empty_table().select(keys)
        rows = ledger.read("batches", version=version, columns=keys, where=where)
        return rows.cast(pa.schema([table("batches").schema.field(name) for name in keys]))

    return ended(now).join(ended(before), keys=keys, join_type="left anti").group_by(keys).aggregate([])


def _headlines(spark: SparkSession, ledger: Ledger, plan: Plan, batches: pa.Table) -> DataFrame:
    chosen = spark.createDataFrame(batches.to_pandas(), "checkpoint_id string, batch_id long")
    rows = spark.read.format("delta").option("versionAsOf", plan["tables"]["headlines"])
    return rows.load(str(ledger.path("headlines"))).join(
        F.broadcast(chosen), ["checkpoint_id", "batch_id"], "left_semi"
    )


def scored(headlines: DataFrame, scorer: str, buckets: int) -> DataFrame:
    """Rows of the sentiment table from rows of the headlines table, in as many tasks as there are buckets."""
    rows = headlines.select(*_BESIDE, _same_text("text").alias("text_hash"), "text")
    kept = [*_BESIDE, "text_hash"]
    kinds = dict(rows.select(*kept).dtypes)
    beside = ", ".join(f"{name} {kind}" for name, kind in kinds.items())

    def score(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        model = _scorer(scorer)
        for part in parts:
            found = model.score([text if isinstance(text, str) else None for text in part["text"]])
            yield part[kept].assign(
                score=found.score, label=found.label, uncertainty=found.uncertainty, scorer=model.name
            )

    schema = f"{beside}, score double, label string, uncertainty double, scorer string"
    return rows.repartition(buckets).mapInPandas(score, schema)


def _same_text(column: str) -> Column:
    """A hash that texts share if they differ in case, space and punctuation alone, as vendors do who pass on a text."""
    return F.xxhash64(F.trim(F.regexp_replace(F.lower(F.coalesce(column, F.lit(""))), r"[^\p{L}\p{N}%]+", " ")))


@lru_cache(maxsize=1)
def _scorer(name: str) -> Scorer:
    """One scorer a worker process: a transformer takes seconds to load."""
    return build(name)


def _write(log: BatchLog, number: int, rows: DataFrame) -> None:
    log.ledger.create("sentiment")
    (
        rows.withColumns({"checkpoint_id": F.lit(log.checkpoint), "batch_id": F.lit(number).cast("long")})
        .write.format("delta")
        .mode("append")
        .option("txnAppId", log.checkpoint)
        .option("txnVersion", number)
        .save(str(log.ledger.path("sentiment")))
    )
