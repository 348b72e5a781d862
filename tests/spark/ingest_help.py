"""Hand-made candidates, and the rules of ingest told row by row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StructField, StructType

from qts.market import mapping
from qts.market.quality import Limits
from qts.pipeline.batches import BatchLog
from qts.pipeline.expectations import Suite
from qts.pipeline.landing import Lander
from qts.pipeline.sources.normalise import CANDIDATE
from qts.pipeline.sources.stream import Batch, SourceStream
from qts.pipeline.tables import create_table
from qts.store.ledger import Ledger

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
LIMITS = Limits(10 * SECOND, 0, 5 * SECOND, 0.5, 3600 * SECOND)
MAPPING = mapping.Mapping.of(
    {"kind": "trade", "columns": {"event_time": "t", "instrument": "i", "price": "p", "size": "s"}}
)
GATE = Suite("ticks", (), "none")


def row(offset: int, **given: Any) -> dict[str, Any]:
    """A good trade of A, one second after the one before, with what is given in its place."""
    ns = given.pop("event_ns", T0 + offset * SECOND)
    made = {
        "event_ns": ns,
        "instrument": "A",
        "kind": "trade",
        "price": 100.0,
        "size": 1.0,
        "provenance": "real",
        "source": "feed",
        "source_partition": "p",
        "source_offset": offset,
        "parse_errors": [],
        "flagged": False,
        "lateness_domain": "feed",
    } | given
    made["payload"] = json.dumps({"offset": offset})
    return made


def candidates(spark: SparkSession, rows: Iterable[Mapping[str, Any]]) -> DataFrame:
    """The rows with every column of a candidate."""
    schema = StructType([*CANDIDATE, StructField("micros", LongType())])
    full = []
    for given in rows:
        values = {out.name: given.get(out.name) for out in CANDIDATE}
        values["arrival"] = (None, given["source_partition"], given["source_offset"])
        values["micros"] = None if given["event_ns"] is None else given["event_ns"] // 1000
        full.append(tuple(values.values()))
    frame = spark.createDataFrame(full, schema)
    return frame.withColumn("event_time", F.timestamp_micros("micros")).drop("micros")


def lander(
    spark: SparkSession,
    root: Path,
    *,
    checkpoint: str = "c1",
    instruments: Any = "any",
    suite: Suite = GATE,
    limits: Limits = LIMITS,
    about: int | None = 1,
) -> Lander:
    """A lander whose batches are candidates already; `about` is what is known of their size."""
    ledger = Ledger(root)
    create_table(spark, root, "ticks")
    stream = SourceStream("feed", MAPPING, spark.range(0), lambda frame: Batch(frame, about))
    return Lander(stream, "ticks", ledger, BatchLog(ledger, "ingest", checkpoint), limits, instruments, suite)


def positions(ledger: Ledger, name: str) -> list[tuple[str, int]]:
    """Where the rows of a table stood in their source, in order."""
    rows = ledger.read(name, columns=("source_partition", "source_offset"))
    return sorted(zip(rows["source_partition"].to_pylist(), rows["source_offset"].to_pylist(), strict=True))


def reasons(ledger: Ledger) -> dict[tuple[str, int], list[str]]:
    """Reasons of every quarantined record, by its place."""
    rows = ledger.read("quarantine").to_pylist()
    return {(r["source_partition"], r["source_offset"]): r["reasons"] for r in rows}


@dataclass
class Book:
    """The rules as README and docstrings word them, one row after another."""

    limits: Limits
    clocks: dict[Any, int] = field(default_factory=dict)
    good: dict[Any, tuple[float, int]] = field(default_factory=dict)
    accepted: set[Any] = field(default_factory=set)

    def judge(self, given: Mapping[str, Any], now: int) -> list[str]:
        found = list(given["parse_errors"])
        if "unparseable_record" in found:
            return found
        ns, name, quote = given["event_ns"], given["instrument"], given["kind"] == "quote"
        timed = ns is not None
        if ns is None and "bad_time" not in found:
            found.append("missing_time")
        if timed and not self.limits.earliest <= ns <= now + self.limits.future_tolerance:
            found.append("implausible_time")
            timed = False
        if not name or not name.strip():
            found.append("missing_instrument")
            timed = False
        elif set(name) & set("/';\\\n%") or ".." in name or len(name) > 64:
            found.append("unsafe_instrument")
            timed = False
        prices = [given.get("bid"), given.get("ask")] if quote else [given["price"]]
        finite = [p is not None and math.isfinite(p) for p in prices]
        if not all(finite):
            found.append("price_not_finite")
        if any(p is not None and p <= 0 for p in prices):
            found.append("price_not_positive")
        size = given["size"]
        if not quote and (size is None or not math.isfinite(size)):
            found.append("size_not_finite")
        if not quote and size is not None and size <= 0:
            found.append("size_not_positive")
        if quote and all(finite) and prices[0] > prices[1]:
            found.append("quote_crossed")
        if given["flagged"]:
            found.append("flagged")
        return self._in_order(given, found, prices) if timed else found

    def _in_order(self, given: Mapping[str, Any], found: list[str], prices: Sequence[float]) -> list[str]:
        ns, group = given["event_ns"], (given["lateness_domain"], given["instrument"])
        late = ns < self.clocks.get(group, ns) - self.limits.allowance
        self.clocks[group] = max(ns, self.clocks.get(group, ns))
        sound, reasons = not found, [*found, *["late"] * late]
        if sound and not late:
            price, key = sum(prices) / len(prices), (*group, given["kind"])
            before = self.good.get(key)
            far = before and abs(price - before[0]) > self.limits.jump_limit * before[0]
            if far and ns - before[1] <= self.limits.jump_max_age:
                reasons = ["price_jump"]
            else:
                self.good[key] = (price, ns)
        identity = tuple(given.get(name) for name in ("instrument", "venue", "kind", "vendor_id", "event_ns"))
        if sound and given.get("vendor_id") is not None and identity in self.accepted:
            return ["duplicate"]
        if not reasons and given.get("vendor_id") is not None:
            self.accepted.add(identity)
        return reasons
