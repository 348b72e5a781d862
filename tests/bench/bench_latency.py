"""From a bar's last tick to its order in the ledger: 50 instruments, bars of 1 s, the real trade query, live.

Two figures: ticks appended to the `ticks` table once a second, and the same ticks as files in a watched folder that the
real ingest reads. The clock starts when the ticks that let the frontier pass the bar are there (the lateness allowance
is 0, so it waits for nothing else) and stops at the done row of the batch, from which on readers see the order; the
details tell when the order was decided, too. Ticks are made up.
"""

from __future__ import annotations

import argparse
import itertools
import threading
import time
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from deltalake import DeltaTable, write_deltalake
from harness import options, publish, quantile_interval, record_of
from pyspark.sql import SparkSession
from sparks import spark_and_settings

from qts.pipeline import ingest, trade
from qts.sections import Bars, FilesSource, Ingest, Trade
from qts.settings import Settings
from qts.store.ledger import Ledger, conform
from qts.store.tables import table

INSTRUMENTS = tuple(f"I{number:02d}" for number in range(50))
PRINTS = 4  # of an instrument in a second
LINGER = 8  # seconds for orders that are still on their way
PATIENCE = 240  # seconds until the first order
NAME = "made_up"


def main() -> None:
    given = options(__doc__, {"seconds": (90, 20), "warmup": (30, 10)})
    for claim, run in (("latency_trade", from_table), ("latency_ingest", from_files)):
        sections = {
            "ingest": Ingest(allowance="0s"),
            "bars": Bars(intervals=("1s", "1m", "1d"), decision="1s"),
            "trade": Trade(trigger="0s"),
        }
        with spark_and_settings(**sections) as (spark, settings):
            instruments(Ledger(settings.tables))
            feed = run(spark, settings, given)
            report(claim, settings, feed, given)


class Feed:
    """Sends each second's prints once that second is over, and notes when which time had arrived."""

    def __init__(self, send: Callable[[pd.DataFrame], None]) -> None:
        self.send = send
        self.arrivals: list[tuple[int, float]] = []  # (a time that every instrument has passed, when that was so)
        self.measured_from = 0  # of the arrivals; those before belong to the warm-up
        self.rng = np.random.default_rng(0)
        self.price = np.full(len(INSTRUMENTS), 100.0)

    def run(self, is_trading: Callable[[], bool], warm_up: int, seconds: int) -> None:
        """Feeds until orders have come, then for a warm-up, then for the seconds that count."""
        first, end = int(time.time()) + 1, None
        for second in itertools.count(first):
            time.sleep(max(second + 1 - time.time(), 0))
            if end is None and is_trading():
                self.measured_from = len(self.arrivals) + warm_up
                end = second + warm_up + seconds
            if end is None and second > first + PATIENCE:
                raise SystemExit(f"No order within {PATIENCE} s: the machine is too busy, or see the log.")
            if second == end:
                return
            rows = self.prints(second)
            self.send(rows)
            self.arrivals.append((int(rows.groupby("instrument")["event_ns"].max().min()), time.time()))

    def prints(self, second: int) -> pd.DataFrame:
        shape = (PRINTS, len(INSTRUMENTS))
        # Milliseconds, which every column type on the way keeps.
        within = np.sort(self.rng.choice(1000, shape[0] * shape[1]).reshape(shape), axis=0)
        steps = np.exp(np.cumsum(self.rng.normal(0, 3e-4, shape), axis=0))
        price = self.price * steps
        self.price = price[-1]
        rows = pd.DataFrame(
            {
                "event_ns": (second * 1000 + within).ravel() * 1_000_000,
                "instrument": np.tile(np.array(INSTRUMENTS, dtype=object), PRINTS),
                "price": price.ravel(),
                "size": self.rng.integers(1, 500, price.size).astype(np.float64),
            }
        )
        return rows.sort_values(["event_ns", "instrument"], ignore_index=True)


def from_table(spark: SparkSession, settings: Settings, given: argparse.Namespace) -> Feed:
    """Feeds the ticks table itself, and trades on it."""
    declared = table("ticks")
    path = settings.tables / "ticks"
    # Unclustered, so that appending costs the machine next to nothing: the trade query is what is measured.
    DeltaTable.create(str(path), schema=declared.schema)
    offset = 0

    def append(rows: pd.DataFrame) -> None:
        nonlocal offset
        full = rows.assign(
            event_time=pd.to_datetime(rows["event_ns"], unit="ns", utc=True),
            kind="trade",
            provenance="simulated_path",
            source=NAME,
            source_partition="0",
            source_offset=np.arange(offset, offset + len(rows)),
        )
        offset += len(rows)
        write_deltalake(path, conform(pa.Table.from_pandas(full, preserve_index=False), declared), mode="append")

    feed = Feed(append)
    side_by_side(spark, settings, feed, given, lambda: trade.run(settings))
    return feed


def from_files(spark: SparkSession, settings: Settings, given: argparse.Namespace) -> Feed:
    """Feeds a watched folder, ingests it and trades on the ticks table."""
    folder = settings.workdir.parent / "inbox"
    folder.mkdir()
    mapping = folder.parent / "mapping.yml"
    columns = {name: name for name in ("instrument", "price", "size")}
    mapping.write_text(yaml.safe_dump({"kind": "trade", "columns": {"event_time": "ts", **columns}}))
    source = FilesSource(name=NAME, path=str(folder), mapping=mapping, watch=True)
    settings = settings.model_copy(update={"sources": (source,)})

    def drop(rows: pd.DataFrame) -> None:
        ready = rows.assign(ts=pd.to_datetime(rows.pop("event_ns"), unit="ns", utc=True).dt.as_unit("us"))
        number = len(feed.arrivals)
        draft = folder / f".{number}.tmp"
        ready.to_parquet(draft, index=False)
        draft.rename(folder / f"{number:06d}.parquet")

    feed = Feed(lambda rows: drop(rows.copy()))
    side_by_side(spark, settings, feed, given, lambda: ingest.run(settings), lambda: trade_when_ready(settings))
    return feed


def trade_when_ready(settings: Settings) -> None:
    while not Ledger(settings.tables).exists("ticks"):
        time.sleep(0.1)
    trade.run(settings)


def side_by_side(
    spark: SparkSession, settings: Settings, feed: Feed, given: argparse.Namespace, *jobs: Callable[[], object]
) -> None:
    """Runs the jobs in threads, feeds them, waits for what is still on its way, and ends their queries."""
    errors: list[BaseException] = []

    def work(job: Callable[[], object]) -> None:
        try:
            job()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    ledger = Ledger(settings.tables)

    def is_trading() -> bool:
        if errors:
            raise errors[0]
        return ledger.version("orders") > 0

    feed.run(is_trading, given.warmup, given.seconds)
    time.sleep(LINGER)
    failed = list(errors)
    for query in spark.streams.active:
        query.stop()
    for thread in threads:
        thread.join(30)
    if failed:
        raise failed[0]


def instruments(ledger: Ledger) -> None:
    """The instruments, as somebody would describe them."""
    count = len(INSTRUMENTS)
    ledger.create("instruments")
    described = {"currency": "USD", "multiplier": 1.0, "inverse": False, "lot_size": 1.0, "tick_size": 0.01}
    described |= {"price_from": "trade", "tradable": True}
    columns = {name: [value] * count for name, value in described.items()}
    ledger.append("instruments", pa.table({"instrument": list(INSTRUMENTS), **columns}))


def report(claim: str, settings: Settings, feed: Feed, given: argparse.Namespace) -> None:
    """Latencies of the orders after the warm-up."""
    ledger = Ledger(settings.tables)
    orders = ledger.read("orders", columns=("bar_time", "decided_time", "batch_id")).to_pandas()
    batches = ledger.read("batches", columns=("batch_id", "phase", "at", "job")).to_pandas()
    done = batches[(batches["phase"] == "done") & (batches["job"] == "trade")].set_index("batch_id")["at"]
    passed = np.array([ns for ns, _ in feed.arrivals])
    when = np.array([at for _, at in feed.arrivals])
    bar = orders["bar_time"].map(nanoseconds).to_numpy("int64")
    # The first arrival with which every instrument's newest tick lay at or after the bar's end.
    first = np.searchsorted(np.maximum.accumulate(passed), bar)
    fed = (first >= feed.measured_from) & (first < len(feed.arrivals))
    if not fed.any():
        raise SystemExit(
            f"{claim}: no order within {LINGER} s after the warm-up; the machine is too busy, or see the log."
        )
    arrived = when[first[fed]]
    visible = orders["batch_id"][fed].map(done).map(lambda at: at.timestamp()).to_numpy() - arrived
    decided = orders["decided_time"][fed].map(lambda at: at.timestamp()).to_numpy() - arrived
    # Orders of one bar share its latency: what is drawn again for the interval is bars.
    bars = pd.Series(visible).groupby(bar[fed]).first().to_numpy()
    value, low, high = quantile_interval(bars, 0.95)
    details = {
        "p50, s": float(np.quantile(bars, 0.5)),
        "decided p50, s": float(np.quantile(decided, 0.5)),
        "decided p95, s": float(np.quantile(decided, 0.95)),
        "bars with orders": float(len(bars)),
        "bars fed": float(given.seconds),
        "orders": float(len(visible)),
    }
    record = record_of(claim, [low, high], value=value, source="simulated", details=details, repetitions=len(bars))
    publish(record, given)


def nanoseconds(at: datetime) -> int:
    return pd.Timestamp(at).value


if __name__ == "__main__":
    main()
