"""Ticks to partials: the one native aggregation that live trading and history share. See qts.market.bars."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from qts.market.bars import KEY, QUANTUM, SECOND


def slot_partials(ticks: DataFrame) -> DataFrame:
    """One row per (source, instrument, kind, slot of one second).

    Returns:
        The columns of `qts.market.bars.PARTIAL_COLUMNS`, with source and `newest_ns`, the newest event time.
    """
    newest = F.max("event_ns").alias("newest_ns")
    return _prints(ticks).groupBy("source", *KEY).agg(*_aggregates(), newest)


def merged_partials(ticks: DataFrame) -> DataFrame:
    """One row per (instrument, kind, slot), whatever the source: `qts.market.bars.merge` of `slot_partials`."""
    return _prints(ticks).groupBy(*KEY).agg(*_aggregates())


def _prints(ticks: DataFrame) -> DataFrame:
    trade = F.col("kind") == "trade"
    price = F.when(trade, F.col("price")).otherwise((F.col("bid") + F.col("ask")) / 2)
    size = F.when(trade, F.coalesce(F.col("size"), F.lit(0.0))).otherwise(F.lit(0.0))
    return ticks.select(
        "source",
        "instrument",
        "kind",
        "event_ns",
        F.expr(f"event_ns div {SECOND}L").alias("slot"),
        _order_key().alias("key"),
        price.alias("price"),
        size.alias("size"),
        (size * price).alias("value"),
        F.when(trade, F.lit(0.0)).otherwise(F.col("ask") - F.col("bid")).alias("spread"),
        (F.col("provenance") == "simulated_path").alias("simulated"),
    )


def _aggregates() -> list[Column]:
    """All of fixed width, so Spark aggregates by hash and never sorts ticks."""
    return [
        F.min("key").alias("open_key"),
        F.min_by("price", "key").alias("open"),
        F.max("key").alias("close_key"),
        F.max_by("price", "key").alias("close"),
        F.max("price").alias("high"),
        F.min("price").alias("low"),
        F.count(F.lit(1)).alias("rows"),
        *_exact_sum("size", "volume"),
        *_exact_sum("value", "value"),
        F.sum(F.rint(F.col("spread") * QUANTUM).cast("long")).alias("spread_parts"),
        F.coalesce(F.max("simulated"), F.lit(False)).alias("simulated"),
    ]


def _order_key() -> Column:
    """A tick's place within its second: 30 bits of nanoseconds, 21 of its offset, 12 of where it came from.

    Ticks of one source partition with equal times keep their order (over two million rows); equal ones of several
    partitions get an arbitrary order that is the same on every run.
    """
    within = F.shiftleft(F.pmod(F.col("event_ns"), F.lit(SECOND)), 33)
    offset = F.shiftleft(F.pmod(F.col("source_offset"), F.lit(1 << 21)), 12)
    origin = F.pmod(F.xxhash64("source", "source_partition"), F.lit(1 << 12))
    return within.bitwiseOR(offset).bitwiseOR(origin)


def _exact_sum(column: str, name: str) -> tuple[Column, Column]:
    """Sums of whole units and of billionths: integers add up to the same in any order.

    By `rint`, one instruction: `round` makes a BigDecimal of every value, and took a third of the aggregation.
    """
    whole = F.floor(F.col(column))
    part = F.rint((F.col(column) - whole) * QUANTUM).cast("long")
    return F.sum(whole).alias(f"{name}_whole"), F.sum(part).alias(f"{name}_part")
