"""`qts bars` beside bare native Spark aggregations to the same intervals.

The subject is `qts.pipeline.bars.history`: exact sums, the order of prints within a nanosecond, realised measures, one
set of bits however ticks arrive. The peer is what one would write without QTS: a groupBy of (instrument, slot) for each
interval, open and close by min_by and max_by over time, sums in double. Both read the same table and write nowhere.
"""

from __future__ import annotations

from time import perf_counter

from harness import alternate, options, publish, record_of, seconds_of
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from sparks import drain, spark_and_settings

from qts.pipeline.bars import history
from qts.pipeline.partials import slot_partials
from qts.settings import duration

INSTRUMENTS = 50
SESSION = 6.5 * 3600  # seconds of a trading day
START = 1_700_000_000_000_000_000
INTERVALS = ("1s", "1m", "1d")


def main() -> None:
    given = options(__doc__, {"rows": (5_000_000, 300_000), "repetitions": (5, 2)})
    with spark_and_settings() as (spark, settings):
        path = settings.tables / "ticks"
        made_up(spark, given.rows).write.format("delta").save(str(path))
        ticks = spark.read.format("delta").load(str(path))
        measured = alternate(
            lambda: drain(history(ticks, INTERVALS, frozenset())),
            lambda: [drain(native(ticks, interval)) for interval in INTERVALS],
            repetitions=given.repetitions,
            warm_ups=2,
        )
        publish(
            record_of("bars_ratio", measured.ratios, source="simulated", details=shares(ticks, measured.subject)), given
        )


def shares(ticks: DataFrame, whole: tuple[float, ...]) -> dict[str, float]:
    """Where the time goes, in seconds of wall time; each is the better of two runs."""

    def best(frame: DataFrame) -> float:
        return min(seconds_of(lambda: drain(frame), clock=perf_counter) for _ in range(2))

    return {
        "qts bars, s": sorted(whole)[len(whole) // 2],
        "of which partials of 1 s, s": best(slot_partials(ticks)),
        "1 min alone, s": best(history(ticks, ("1m",), frozenset())),
        **{f"native {interval}, s": best(native(ticks, interval)) for interval in INTERVALS},
    }


def native(ticks: DataFrame, interval: str) -> DataFrame:
    """Open, high, low, close, volume and vwap, as one writes them in a notebook."""
    return (
        ticks.withColumn("slot", F.expr(f"event_ns div {duration(interval)}L"))
        .groupBy("instrument", "slot")
        .agg(
            F.min_by("price", "event_ns").alias("open"),
            F.max("price").alias("high"),
            F.min("price").alias("low"),
            F.max_by("price", "event_ns").alias("close"),
            F.sum("size").alias("volume"),
            (F.sum(F.col("size") * F.col("price")) / F.sum("size")).alias("vwap"),
            F.count(F.lit(1)).alias("trades"),
        )
    )


def made_up(spark: SparkSession, rows: int) -> DataFrame:
    """Trades of 50 instruments over one trading day, several a second, in the columns of the ticks table."""
    row = F.col("id")
    time = F.lit(START) + (row * F.lit(SESSION * 1e9 / rows)).cast("long")
    who = F.pmod(F.xxhash64(row), F.lit(INSTRUMENTS)).cast("string")
    return spark.range(rows).select(
        F.timestamp_micros((time / 1000).cast("long")).alias("event_time"),
        time.alias("event_ns"),
        F.concat(F.lit("I"), F.lpad(who, 3, "0")).alias("instrument"),
        F.lit("trade").alias("kind"),
        (F.lit(100.0) + draw(1, 1000) / 100).alias("price"),
        (draw(2, 500) + 1).cast("double").alias("size"),
        *[F.lit(None).cast("double").alias(name) for name in ("bid", "ask")],
        F.lit("bench").alias("source"),
        F.lit("0").alias("source_partition"),
        row.alias("source_offset"),
        F.lit("simulated_path").alias("provenance"),
    )


def draw(seed: int, below: int) -> Column:
    """Whole numbers in [0, below), the same for a row however the rows are split."""
    return F.pmod(F.xxhash64(F.col("id"), F.lit(seed)), F.lit(below))


if __name__ == "__main__":
    main()
