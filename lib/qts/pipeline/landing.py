"""One batch of one source: judged, gated, planned, written, remembered, done."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from qts.errors import DataError, StoreError
from qts.logs import logger
from qts.market.quality import Limits
from qts.pipeline.batches import BatchLog
from qts.pipeline.expectations import Suite, result_rows, stop_on_failure
from qts.pipeline.look import written
from qts.pipeline.marks import Held
from qts.pipeline.memory import Memory
from qts.pipeline.rules import Landing, headline_rules, index_rules, tick_rules
from qts.pipeline.sources.stream import Batch, SourceStream
from qts.pipeline.validate import Accepted, Judge, Verdict
from qts.store.ledger import Ledger
from qts.store.staging import Staging
from qts.store.tables import table

#: Refused rows that go through this process; more are written by Spark.
SMALL = 100_000

#: What is assumed of an instrument that nobody described: linear, whole units, no tick size.
DEFAULTS: Mapping[str, Any] = {
    "currency": "USD",
    "multiplier": 1.0,
    "inverse": False,
    "lot_size": 1.0,
    "tick_size": 0.0,
    "tradable": True,
}

T = TypeVar("T")

_registering = threading.Lock()


@dataclass(frozen=True)
class Counts:
    """Rows of a batch: `rows` = accepted + quarantined + duplicates."""

    rows: int
    accepted: int
    quarantined: int
    duplicates: int
    reasons: Mapping[str, int]

    def summary(self) -> dict[str, Any]:
        return {
            "in": self.rows,
            "accepted": self.accepted,
            "quarantined": self.quarantined,
            "duplicates": self.duplicates,
            "reasons": dict(self.reasons),
        }


@dataclass
class _Kept:
    """What need not be found out again for every batch; nothing that is written depends on it.

    Attributes:
        landings: rules by what they are made of, for it takes a while to put the same expressions together.
        registered: instruments that have been seen in their table, which nothing is ever taken from.
        rows: of the batch before.
    """

    landings: dict[str, Landing] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)
    rows: int | None = None


@dataclass(frozen=True)
class Lander:
    """Lands the batches of one source; a batch that is repeated, whole or after a crash, changes nothing.

    Attributes:
        stream: the open source.
        into: the table that accepted rows go to.
        ledger: where the tables are.
        log: plans, states and done rows of this source's checkpoint.
        limits: of the row rules; a planned batch keeps those of its plan.
        instruments: the names that are allowed, or any.
        suite: the gate. It is not part of the plan: it decides whether a batch is written, never what.
    """

    stream: SourceStream
    into: str
    ledger: Ledger
    log: BatchLog
    limits: Limits
    instruments: tuple[str, ...] | str
    suite: Suite
    _kept: _Kept = field(default_factory=_Kept)

    def __call__(self, frame: DataFrame, batch: int) -> None:
        """The foreachBatch function.

        Raises:
            QualityGateFailed: the gate stops the job; nothing of the batch but the results is written.
            StoreError: a table cannot be written.
            DataError: the source cannot be read.
        """
        if self.log.is_done(batch):
            return
        planned = self.ledger.transaction("batches", f"{self.log.checkpoint}/plan") >= batch
        plan = self.log.stored_plan(batch) if planned else self._plan()
        limits, landing, glance = self._rules(plan)
        memory = Memory.load(self.log.load_state(batch - 1))
        held = Held(frame.sparkSession, self.ledger, plan["versions"].get("ticks", -1))
        staging = self._staging(self.into, plan, batch)
        judge = Judge(landing, glance, limits, memory, held, self._columns(), staging, self.stream.domain_prefix)
        verdict = self._reading(lambda: judge.judge(self._sized(self.stream.batch(frame)), batch))
        self._kept.rows = verdict.rows
        try:
            refused, counts = self._reading(lambda: self._count(verdict, batch))
            self._gate(verdict, counts, plan, batch)
            # Before the first row is shown, not earlier: a batch that failed to be read, or at the gate, is judged
            # anew, by the settings of then and against what other sources have brought meanwhile.
            self.log.plan(batch, lambda: plan)
            self._register(verdict, batch)
        except BaseException:
            verdict.discard(staging)
            raise
        finally:
            verdict.release()
        self._write(staging, verdict.accepted, batch)
        self._write(self._staging("quarantine", plan, batch), refused, batch)
        self.log.save_state(batch, verdict.memory.parts())
        self.log.done(batch, {"source": self.stream.name, "table": self.into, **counts.summary()})
        logger(job="ingest").info("batch landed", source=self.stream.name, batch=batch, **counts.summary())

    def _sized(self, batch: Batch) -> Batch:
        """With the size of the batch before in place of one that the source does not know."""
        return batch if batch.about is not None else replace(batch, about=self._kept.rows)

    def _plan(self) -> dict[str, Any]:
        return {
            "now": datetime.now(UTC).isoformat(),
            "source": self.stream.name,
            "table": self.into,
            "versions": {"ticks": self.ledger.version("ticks")} if self.into == "ticks" else {},
            "limits": asdict(self.limits),
            "instruments": self.instruments,
            "sized": self.stream.sized and "size" in self.stream.mapping.columns,
        }

    def _rules(self, plan: Mapping[str, Any]) -> tuple[Limits, Landing, Landing]:
        """The limits, the rules at the plan's time, and what of them does not depend on it."""
        limits, now = Limits(**plan["limits"]), pd.Timestamp(plan["now"]).value
        key = json.dumps([plan["limits"], plan["instruments"], plan["sized"]])
        landings = self._kept.landings
        if key not in landings:
            landings[key] = self._landing(limits, now, plan)
        known = landings[key]
        return limits, known.until(now + limits.future_tolerance), known.trusting

    def _landing(self, limits: Limits, now: int, plan: Mapping[str, Any]) -> Landing:
        if self.into == "ticks":
            return tick_rules(limits, now, plan["instruments"], sized=plan["sized"])
        rules = index_rules if self.into == "indices" else headline_rules
        return rules(limits, now, plan["instruments"])

    def _count(self, verdict: Verdict, batch: int) -> tuple[DataFrame | pa.Table | None, Counts]:
        """The refused rows, in memory if they are few, and the batch's counts."""
        refused, reasons = verdict.refused, Counter[tuple[str, ...]]()
        if isinstance(refused, DataFrame) and verdict.rows - verdict.good <= SMALL:
            refused = refused.toArrow()
        if isinstance(refused, DataFrame):
            rows = refused.groupBy("reasons").count().collect()
            reasons.update({tuple(row["reasons"]): row["count"] for row in rows})
        elif refused is not None:
            reasons.update(tuple(codes) for codes in refused["reasons"].to_pylist())
        if verdict.good + reasons.total() != verdict.rows:
            raise DataError(
                f"Batch {batch} of source {self.stream.name!r} had {verdict.rows} rows when it was first read, then "
                f"{verdict.good} good and {reasons.total()} refused ones: the data changed meanwhile. Put files in by "
                "renaming and never change them in place, then start the job again."
            )
        codes = Counter[str]()
        for listed, count in reasons.items():
            codes.update(dict.fromkeys(listed, count))
        repeated = reasons[("duplicate",)]
        counts = Counts(verdict.rows, verdict.good, reasons.total() - repeated, repeated, dict(sorted(codes.items())))
        return refused, counts

    def _gate(self, verdict: Verdict, counts: Counts, plan: Mapping[str, Any], batch: int) -> None:
        if not self.suite.rules or not counts.rows:
            return
        results = self.suite.check(aggregates(verdict, counts))
        rows = result_rows(self.suite, results, datetime.fromisoformat(plan["now"]))
        rows = rows.append_column("checkpoint_id", pa.array([self.log.checkpoint] * len(results), pa.string()))
        rows = rows.append_column("batch_id", pa.array([batch] * len(results), pa.int64()))
        # A changed suite judges a stopped batch anew and is kept beside the old result; a replay adds nothing.
        self.ledger.append("quality_results", rows, transaction=(f"{self.log.checkpoint}/{self.suite.name}", batch))
        for result in results:
            if not result.success:
                logger(job="ingest").warning(
                    "expectation failed",
                    source=self.stream.name,
                    batch=batch,
                    expectation=result.rule.label,
                    observed=result.observed,
                )
        stop_on_failure(self.suite, results, self.stream.name, batch)

    def _register(self, verdict: Verdict, batch: int) -> None:
        """Writes instruments that nobody described into their table, before their ticks are there to be read."""
        if self.into != "ticks" or not verdict.good:
            return
        seen = verdict.survey.by_instrument()
        seen = seen[seen["sound"] > 0]
        kinds: dict[str, str] = {}
        for name, kind in zip(seen["instrument"], seen["kind"], strict=True):
            # Trades are prices that were paid; an instrument that has some is priced from them.
            kinds[name] = "trade" if "trade" in (kind, kinds.get(name)) else kind
        if self._kept.registered.issuperset(kinds):
            return
        with _registering:
            known = set(self.ledger.read("instruments", columns=("instrument",))["instrument"].to_pylist())
            new = sorted(set(kinds) - known)
            if new:
                rows = {name: [value] * len(new) for name, value in DEFAULTS.items()}
                rows |= {"instrument": new, "price_from": [kinds[name] for name in new]}
                self.ledger.append("instruments", pa.table(rows), transaction=(self.log.checkpoint, batch))
        self._kept.registered.update(kinds)

    def _staging(self, name: str, plan: Mapping[str, Any], batch: int) -> Staging:
        """Where the batch's rows for a table are written, with what is the same in all of them."""
        self.ledger.create(name)
        stamps: dict[str, Any] = {"ingest_time": datetime.fromisoformat(plan["now"])}
        stamps |= {"checkpoint_id": self.log.checkpoint, "batch_id": batch}
        if name == "quarantine":
            stamps["table_name"] = self.into
        return Staging(str(self.ledger.path(name)), name, stamps)

    def _write(self, staging: Staging, rows: Accepted | DataFrame | None, batch: int) -> None:
        """Writes what is not written yet, and shows it; nothing where that was done before a crash."""
        if isinstance(rows, pa.Table):
            files = tuple(staging.write(rows))
        elif isinstance(rows, DataFrame):
            files = self._reading(lambda: written(rows, staging))
        else:
            files = rows or ()
        if not self.ledger.commit(staging.name, files, transaction=(self.log.checkpoint, batch)):
            staging.discard(files)

    def _columns(self) -> dict[str, Column]:
        """The declared columns of the table but for the batch's own, and those that are null throughout.

        Delta reads a column that a file lacks as null; written out, each would cost a row about as much as a number.
        """
        renamed = {"index_name": "instrument", "value": "price"} if self.into == "indices" else {}
        left_out = {"ingest_time", "checkpoint_id", "batch_id"}
        left_out |= self.stream.absent if self.into == "ticks" else set()
        names = [name for name in table(self.into).schema.names if name not in left_out]
        return {name: F.col(renamed.get(name, name)) for name in names}

    def _reading(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except Exception as error:
            if _of_spark(error):
                # A worker writes as it reads, and a disk that refuses is not the source's fault. Spark hands on what a
                # worker raised as the text of its traceback and nothing else: there is no error class to ask for.
                if refused := re.search(r"qts\.errors\.StoreError: (.+)", str(error)):
                    raise StoreError(refused[1]) from error
                raise DataError(
                    f"Source {self.stream.name!r} cannot be read: {_cause(error)}. Nothing of this batch was written; "
                    "mend or remove what is named, then start the job again."
                ) from error
            raise


def aggregates(verdict: Verdict, counts: Counts) -> dict[str, pd.DataFrame]:
    """What a suite is checked on: `batch`, one row, and `instruments`, a row an instrument and kind."""
    instruments = verdict.survey.by_instrument()
    instruments = instruments.astype({"rows": "int64", "sound": "int64", "low": "float64", "high": "float64"})
    batch = {
        "rows": counts.rows,
        "accepted": counts.accepted,
        "quarantined": counts.quarantined,
        "duplicates": counts.duplicates,
        "quarantined_share": counts.quarantined / counts.rows,
        "duplicate_share": counts.duplicates / counts.rows,
        "instruments": int(instruments["instrument"].nunique()),
    }
    return {
        "batch": pd.DataFrame([batch]),
        "instruments": instruments.assign(sound_share=instruments["sound"] / instruments["rows"]),
    }


def _of_spark(error: Exception) -> bool:
    """Whether Spark raised it; the JVM's own exceptions come through py4j, which Spark Connect does not have."""
    return isinstance(error, PySparkException) or type(error).__module__.startswith("py4j.")


def _cause(error: Exception) -> str:
    """The innermost cause that Spark names, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes[-1] if causes else lines[0] if lines else type(error).__name__)[:400].rstrip(".")
