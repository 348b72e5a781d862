"""The forecast job: what Spark adds to the fits, and what a new bar costs.

Overhead: the fits of one bucket by `FitBucket` as a Spark task, beside the same call in this process; one core each.
Scoring: one batch of the running job after one new bar of every instrument, from planning to the last row written, by
the default models. With --instruments 10000 the fits before it take ten minutes; only the 1,000 of the claim leave a
record. --series 0 or --instruments 0 leaves a part out.
"""

from __future__ import annotations

import argparse
from time import perf_counter

import numpy as np
import pandas as pd
import pyarrow as pa
from harness import alternate, options, publish, record_of
from pyspark.sql import SparkSession
from sparks import spark_and_settings

from qts.forecast.history import FURTHER
from qts.pipeline import forecast
from qts.pipeline.forecast_buckets import FITTED, INPUT, FitBucket
from qts.settings import Forecast, Settings
from qts.store.ledger import Ledger

DAY = 86_400_000_000_000
BEGIN = 1_420_070_400_000_000_000
MODELS = Forecast().models
CLAIMED = 1000  # instruments


def main() -> None:
    given = options(__doc__, {"series": (500, 20), "points": (500, 150), "instruments": (CLAIMED, 20)})
    sections = {"forecast": Forecast(models=MODELS, buckets=2, refit_every=10_000)}
    with spark_and_settings(**sections) as (spark, settings):
        if given.series:
            overhead(spark, given)
        if given.instruments:
            scoring(settings, given)


def overhead(spark: SparkSession, given: argparse.Namespace) -> None:
    """The ratio of a Spark task to the plain call."""
    bars = made_up(given.series, given.points)
    rows = pa.table(
        {
            "instrument": bars["instrument"],
            "at": bars["time"] // 1000,
            "close": bars["close"],
            "realised_variance": bars["realised_variance"],
            **{name: np.full(len(bars), np.nan) for name in FURTHER},
            "model": pa.nulls(len(bars), pa.string()),
            "params": pa.nulls(len(bars), pa.string()),
        }
    )
    task = FitBucket(DAY, {"arima": "all", "ensemble": "all"}, 0.8, 60)
    frame = spark.createDataFrame(rows, INPUT).repartition(1, "instrument")
    measured = alternate(
        lambda: frame.mapInArrow(task, FITTED).toArrow(),
        lambda: list(task(iter(rows.to_batches()))),
        repetitions=1 if given.quick else 3,
    )
    details = {"plain, s": min(measured.peer), "Spark, s": min(measured.subject)}
    publish(record_of("forecast_overhead", measured.ratios, source="simulated", details=details), given)


def scoring(settings: Settings, given: argparse.Namespace) -> None:
    """Seconds from the start of the job to its end, for one new bar."""
    bars = made_up(given.instruments, 260)
    ledger = Ledger(settings.tables)
    start, turns = 250, 1 if given.quick else 5
    ledger.append("bars_history", as_table(bars[bars["bar"] < start]))
    job = forecast.Job(settings)
    job.next_batch()
    taken, rows = [], []
    for bar in range(start, start + turns + 1):
        ledger.append("bars_history", as_table(bars[bars["bar"] == bar]))
        began = perf_counter()
        summary = job.next_batch()
        taken.append(perf_counter() - began)
        rows.append(summary["forecasts"])
    details = {"forecasts a bar": float(rows[-1]), "models": len(MODELS), "after the history, s": taken[0]}
    if given.instruments != CLAIMED:
        given.quick = True
    publish(record_of("forecast_scoring", taken[1:], source="simulated", details=details), given)


def made_up(instruments: int, bars: int) -> pd.DataFrame:
    """Daily bars of random walks: instrument, bar, time, close, realised_variance."""
    rng = np.random.default_rng(4)
    sd = 0.01 * np.exp(0.3 * rng.normal(size=(bars, instruments)))
    close = 100 * np.exp(np.cumsum(sd * rng.normal(size=sd.shape), axis=0))
    at, who = np.meshgrid(np.arange(bars), np.arange(instruments), indexing="ij")
    return pd.DataFrame(
        {
            "instrument": np.char.add("I", who.ravel().astype(str)),
            "bar": at.ravel(),
            "time": BEGIN + at.ravel() * DAY,
            "close": close.ravel(),
            "realised_variance": (sd**2).ravel(),
        }
    )


def as_table(bars: pd.DataFrame) -> pa.Table:
    """Rows of `bars_history`."""
    return pa.table(
        {
            "instrument": pa.array(bars["instrument"], pa.string()),
            "interval": pa.array(["1d"] * len(bars), pa.string()),
            "bar_time": pa.array(bars["time"] // 1000, pa.int64()).cast(pa.timestamp("us", "UTC")),
            "close": bars["close"].to_numpy(),
            "realised_variance": bars["realised_variance"].to_numpy(),
            "provenance": pa.array(["simulated"] * len(bars), pa.string()),
        }
    )


if __name__ == "__main__":
    main()
