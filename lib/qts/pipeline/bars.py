"""`qts bars`: bars of history by native aggregation in batch, with the same bits as the streamed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame

from qts.errors import MissingInput
from qts.market import bars, frontier
from qts.pipeline.deskplan import quote_driven
from qts.pipeline.partials import merged_partials
from qts.pipeline.session import spark_session
from qts.pipeline.tables import create_table, spark_schema
from qts.settings import Settings, duration
from qts.store.ledger import Ledger

TABLE = "bars_history"


def run(settings: Settings, *, once: bool = True) -> dict[str, Any]:
    """Builds `bars_history` anew from all ticks, in every configured interval.

    Args:
        once: history is finite, so it makes no difference; every job takes it.

    Returns:
        bars: {interval: rows}, ticks, table.

    Raises:
        MissingInput: there are no ticks yet.
    """
    ledger = Ledger(settings.tables)
    if not ledger.exists("ticks"):
        raise MissingInput(f"There is no table 'ticks' in {settings.tables}. Run `qts ingest` first.")
    spark = spark_session(settings)
    create_table(spark, ledger.root, TABLE)
    ticks = spark.read.format("delta").load(str(ledger.path("ticks")))
    quoted = quote_driven(ledger, {"instruments": ledger.version("instruments")})
    built = history(ticks, settings.bars.intervals, quoted)
    built.write.format("delta").mode("overwrite").save(str(ledger.path(TABLE)))
    counts = ledger.read(TABLE, columns=("interval",)).group_by("interval").aggregate([("interval", "count")])
    return {
        "bars": dict(zip(counts["interval"].to_pylist(), counts["interval_count"].to_pylist(), strict=True)),
        "table": str(ledger.path(TABLE)),
    }


def history(ticks: DataFrame, intervals: tuple[str, ...], quoted: frozenset[str]) -> DataFrame:
    """All bars of finite ticks, as rows of the `bars_history` table.

    The ticks are aggregated to seconds in the JVM; one task then folds the seconds of one hash bucket of instruments.
    """
    seconds = merged_partials(ticks)
    return seconds.repartition("instrument").mapInPandas(_folding(intervals, quoted), spark_schema(TABLE))


def _folding(
    intervals: tuple[str, ...], quoted: frozenset[str]
) -> Callable[[Iterator[pd.DataFrame]], Iterator[pd.DataFrame]]:
    lengths = {duration(name): name for name in intervals}

    def fold(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        # A partition arrives in several batches, and an instrument may straddle them.
        parts = [batch for batch in batches if len(batch)]
        if not parts:
            return
        slots = bars.slots(bars.merge(pd.concat(parts, ignore_index=True)), quoted)
        closed = bars.fold(bars.no_open_bars(), slots, tuple(lengths), frontier.END).closed
        rows = bars.figures(closed, lengths)
        yield rows.assign(
            bar_time=pd.to_datetime(rows["bar_time"], unit="ns", utc=True), checkpoint_id=None, batch_id=None
        )

    return fold
