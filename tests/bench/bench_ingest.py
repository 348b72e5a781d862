"""Validated, exactly-once ingest beside a bare Spark stream that copies the same files to Delta.

The subject is `qts.pipeline.ingest.run` on two sources: consolidated US trades and crypto trades, whose vendor ids are
looked up. The peer reads the same parquet files with `availableNow` and as many files a batch, and appends them to
Delta tables as they are. The ticks table is made before the clock starts: that happens once in its life. The trades are
real ones, shown again on other days until there are enough; where the folder of real data is missing they are made up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from harness import Comparison, alternate, options, publish, record_of
from pyspark.sql import SparkSession
from sparks import spark_and_settings

from qts.conf import conf_file
from qts.mlops.scorecard import DataSource
from qts.pipeline import ingest
from qts.pipeline.tables import create_table
from qts.sections import FilesSource
from qts.settings import Settings

REAL = Path(__file__).resolve().parents[2] / "../shared/data/market"
FILE_ROWS = 250_000
WARM_UPS = 1
#: Of a second run, where what a batch costs at any size counts for more.
SMALL_ROWS = 200_000


@dataclass(frozen=True)
class Vendor:
    """A family of files with one schema."""

    name: str
    pattern: str
    mapping: str
    time: str


VENDORS = (
    Vendor("us_trades", "us_equity/trades_*.parquet", "us_equity_trades.yml", "ts"),
    Vendor("crypto_trades", "crypto/trades_*.parquet", "crypto_trades.yml", "ts_event"),
)


def main() -> None:
    given = options(__doc__, {"rows": (3_000_000, 200_000), "repetitions": (3, 1)})
    with spark_and_settings() as (spark, settings):
        source: DataSource = "replayed" if REAL.is_dir() else "simulated"
        large = Measured.of(spark, settings, given.rows, given.repetitions)
        details = {
            "rows": float(large.rows),
            "accepted": float(large.accepted),
            "ingest, rows a second": large.rows / float(np.median(large.taken.subject)),
            "bare copy, rows a second": large.rows / float(np.median(large.taken.peer)),
        }
        if not given.quick:
            small = Measured.of(spark, settings, SMALL_ROWS, given.repetitions)
            details[f"of a bare copy, {SMALL_ROWS:,} rows"] = float(np.median(small.kept))
        publish(record_of("ingest_throughput", large.kept, source=source, details=details), given)


@dataclass(frozen=True)
class Measured:
    """Both ways to take in the same files, in turns."""

    rows: int
    accepted: int
    taken: Comparison

    @property
    def kept(self) -> list[float]:
        """The share of the bare copy's throughput that ingest keeps, one a turn."""
        return [1 / ratio for ratio in self.taken.ratios]

    @classmethod
    def of(cls, spark: SparkSession, settings: Settings, about: int, repetitions: int) -> Measured:
        home = settings.workdir / f"{about}"
        files = home / "files"
        rows = sum(write(vendor, files / vendor.name, about // len(VENDORS)) for vendor in VENDORS)
        sources = tuple(
            FilesSource(name=v.name, path=str(files / v.name), mapping=conf_file(f"mappings/{v.mapping}"))
            for v in VENDORS
        )
        folders = [home / str(turn) for turn in range(WARM_UPS + repetitions)]
        for folder in folders:
            create_table(spark, folder / "tables", "ticks")
        validated_into, copied_into = iter(folders), iter(folders)
        accepted: list[int] = []

        def validated() -> None:
            folder = next(validated_into)
            summary = ingest.run(settings.model_copy(update={"workdir": folder, "sources": sources}), once=True)
            if summary["in"] != rows:
                raise SystemExit(f"ingest saw {summary['in']} of {rows} rows")
            accepted.append(summary["accepted"])

        def copied() -> None:
            folder = next(copied_into) / "copies"
            for vendor in VENDORS:
                copy(spark, settings, files / vendor.name, folder / vendor.name)

        taken = alternate(validated, copied, repetitions=repetitions, warm_ups=WARM_UPS)
        return cls(rows, accepted[-1], taken)


def copy(spark: SparkSession, settings: Settings, files: Path, to: Path) -> None:
    """The bare stream: the files' own columns, appended to a Delta table."""
    schema = spark.read.parquet(str(files)).schema
    stream = spark.readStream.schema(schema).option("maxFilesPerTrigger", settings.ingest.max_files_per_trigger)
    writer = stream.parquet(str(files)).writeStream.format("delta").option("checkpointLocation", f"{to}.checkpoint")
    writer.trigger(availableNow=True).start(str(to)).awaitTermination()


def write(vendor: Vendor, folder: Path, rows: int) -> int:
    """Files of about `rows` rows in all, each of one instrument; returns how many there are."""
    folder.mkdir(parents=True)
    originals = real(vendor) or made_up(vendor)
    days = max(round(rows / sum(len(trades) for trades in originals)), 1)
    written = 0
    for number, trades in enumerate(originals):
        at_once = max(FILE_ROWS // len(trades), 1)
        for first in range(0, days, at_once):
            shown = [
                # Backwards, for a tick of the future is refused.
                trades.assign(**{vendor.time: trades[vendor.time] - pd.Timedelta(days=days - day)})
                for day in range(first, min(first + at_once, days))
            ]
            part = pd.concat(shown, ignore_index=True)
            part.to_parquet(folder / f"{number}-{first:05d}.parquet", index=False)
            written += len(part)
    return written


def real(vendor: Vendor) -> list[pd.DataFrame]:
    """The real trades of a family, one frame an instrument; a column that is all null in some files is left out."""
    return [
        pd.read_parquet(file).drop(columns="exec_type", errors="ignore") for file in sorted(REAL.glob(vendor.pattern))
    ]


def made_up(vendor: Vendor) -> list[pd.DataFrame]:
    """A trading day of trades in the family's columns, for three instruments."""
    rng = np.random.default_rng(0)
    count = 30_000
    time = pd.Timestamp("2024-01-02T14:30:00Z") + pd.to_timedelta(np.sort(rng.integers(0, 23_400_000, count)), "ms")
    frames = []
    for name in ("AAA", "BBB", "CCC"):
        price = np.round(100 * np.exp(np.cumsum(rng.normal(0, 1e-5, count))), 2)
        common = {vendor.time: time.as_unit("us"), "instrument": name, "price": price}
        if vendor.name == "us_trades":
            own = {"size": rng.integers(1, 500, count), "exchange": "N", "cond": "@", "suspicious": 0}
        else:
            own = {"qty": rng.exponential(1.0, count), "trade_id": np.arange(count), "buyer_is_maker": True}
        frames.append(pd.DataFrame(common | own))
    return frames


if __name__ == "__main__":
    main()
