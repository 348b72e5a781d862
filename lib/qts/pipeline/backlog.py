"""How many ticks there are of every stretch of time, at one version of the ticks table: what a run has to consume."""

from __future__ import annotations

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from qts.market.frontier import STRETCH
from qts.store.ledger import Ledger


class Backlog:
    """The totals for `qts.market.frontier.replay_frontier`, counted once a version.

    Args:
        spark: to count with.
        ledger: where the ticks are.
    """

    def __init__(self, spark: SparkSession, ledger: Ledger) -> None:
        self._spark = spark
        self._ledger = ledger
        self._counted: tuple[int, int, pd.DataFrame] | None = None

    def totals(self, version: int, reached: int) -> pd.DataFrame:
        """Rows at or after a time, by stretch: stretch (number of `STRETCH` since the epoch), rows.

        Args:
            version: of the ticks table.
            reached: nanoseconds, a whole second; what lies before it was folded, or came too late for it.
        """
        held = self._counted
        # A count from an earlier time on serves for whole stretches; one that `reached` cuts is counted again.
        if held is None or held[0] != version or reached < held[1] or (reached != held[1] and reached % STRETCH):
            self._counted = held = (version, reached, self._count(version, reached))
        return held[2][held[2]["stretch"] >= reached // STRETCH]

    def _count(self, version: int, reached: int) -> pd.DataFrame:
        ticks = self._spark.read.format("delta").option("versionAsOf", version).load(str(self._ledger.path("ticks")))
        # Event time, too, for the table has its statistics and so skips files.
        left = ticks.where(F.col("event_time") >= F.timestamp_micros(F.lit(reached // 1000)))
        left = left.where(F.col("event_ns") >= reached)
        rows = left.groupBy(F.expr(f"event_ns div {STRETCH}L").alias("stretch")).agg(F.count(F.lit(1)).alias("rows"))
        return rows.toPandas()
