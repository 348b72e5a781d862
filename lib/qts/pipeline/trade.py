"""The live query: validated ticks in; bars, decisions, orders and the whole ledger out, exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from qts.errors import MissingInput, StoreError
from qts.logs import logger
from qts.pipeline.backlog import Backlog
from qts.pipeline.batches import BatchLog, checkpoint_id, lock
from qts.pipeline.buckets import spark_runner
from qts.pipeline.deskplan import configuration, side_versions, universe
from qts.pipeline.guards import refuse_lost_progress, refuse_repetition
from qts.pipeline.listener import noting
from qts.pipeline.partials import slot_partials
from qts.pipeline.session import spark_session
from qts.pipeline.streams import Guarded, await_query, start_query
from qts.pipeline.trade_batch import Outcome, TradeState, refuse_unknown, timed, trade
from qts.settings import Settings
from qts.store.columns import to_arrow
from qts.store.ledger import Ledger
from qts.store.tables import TABLES

JOB = "trade"
_WRITES = [name for name, declared in TABLES.items() if declared.writer == JOB]


def run(settings: Settings, *, once: bool = False) -> dict[str, Any]:
    """Trades on the ticks table until stopped, or with `once` on all that it holds.

    Returns:
        Counts of this checkpoint's whole life: ticks, bars, decisions, orders, denied, fills; and the account's end.

    Raises:
        MissingInput: there are no ticks yet.
        CheckpointInUse: another process trades on this checkpoint.
        StoreError: the checkpoint and the tables do not belong together.
    """
    ledger = Ledger(settings.tables)
    if not ledger.exists("ticks"):
        raise MissingInput(f"There is no table 'ticks' in {settings.tables}. Run `qts ingest` or `qts demo` first.")
    config = configuration(settings)
    checkpoint = settings.checkpoint(JOB)
    with lock(checkpoint):
        log = BatchLog(ledger, JOB, checkpoint_id(checkpoint))
        refuse_lost_progress(log, checkpoint / "spark")
        refuse_repetition(log, checkpoint, _WRITES)
        spark = spark_session(settings)
        # Else Spark takes a whole backlog in one batch, for its clock source does not know availableNow; none of the
        # clock's rows is used, so those that the wrapper may lose or repeat are no matter.
        spark.conf.set("spark.sql.streaming.triggerAvailableNowWrapper.enabled", "true")
        for name in _WRITES:
            ledger.create(name)
        work = Guarded(TradeBatches(spark, ledger, log, config, once=once))
        writer = live_input(spark, ledger).writeStream.queryName(JOB)
        writer = writer.option("checkpointLocation", str(checkpoint / "spark"))
        with noting(spark, ledger, JOB):
            await_query(start_query(writer, work, once=once, trigger_ns=settings.trade.trigger), work)
        return summary(ledger, log)


def live_input(spark: SparkSession, ledger: Ledger) -> DataFrame:
    """Ticks, and a clock that ticks once a second so that controls and timeouts act in a quiet market."""
    ticks = spark.readStream.format("delta").load(str(ledger.path("ticks")))
    ticks = ticks.select(
        "source",
        "source_partition",
        "source_offset",
        "instrument",
        "kind",
        "event_ns",
        "price",
        "size",
        "bid",
        "ask",
        "provenance",
    )
    clock = spark.readStream.format("rate").option("rowsPerSecond", 1).load()
    nothing = [F.lit(None).cast(field.dataType).alias(field.name) for field in ticks.schema]
    return ticks.unionByName(clock.select(*nothing))


class TradeBatches:
    """The foreachBatch function. Everything that decides is in qts.pipeline.trade_batch; this reads and writes."""

    def __init__(
        self, spark: SparkSession, ledger: Ledger, log: BatchLog, config: Mapping[str, Any], *, once: bool
    ) -> None:
        self.ledger = ledger
        self.log = log
        self.config = config
        self.once = once
        self.runner = spark_runner(spark)
        self._backlog = Backlog(spark, ledger)
        self._backlog_version: int | None = None
        self._caught_up = False
        self._state: tuple[int, TradeState] | None = None
        self._logger = logger(job=JOB)

    def __call__(self, rows: DataFrame, batch: int) -> None:
        """Does batch `batch`, or nothing when it is done already."""
        if self.log.is_done(batch):
            return
        figures: dict[str, Any] = {}
        ticks = rows.where(F.col("instrument").isNotNull())
        if self._caught_up:  # a second or a few of ticks: one task without a shuffle is the quickest
            ticks = ticks.coalesce(1)
        arrived = timed(figures, "partials", lambda: slot_partials(ticks).toPandas())
        plan = timed(figures, "plan", lambda: self.log.plan(batch, lambda: self._plan(arrived)))
        before = timed(figures, "state", lambda: self.state_after(batch - 1))
        version = plan["backlog"]
        totals = None if version is None else self._backlog.totals(version, before.reached)
        outcome = timed(figures, "decide", lambda: trade(self.ledger, plan, before, arrived, totals, self.runner))
        timed(figures, "write", lambda: self._write(batch, outcome))
        self._state = (batch, outcome.state)
        # A batch that was planned before a crash knows an older backlog than this run has.
        own = not self.once and version is not None and version == self._backlog_version
        self._caught_up = self._caught_up or (own and outcome.caught_up)
        self.log.done(batch, {**outcome.figures, **figures})
        self._logger.info("batch", batch=batch, **outcome.figures, **figures)
        if late := outcome.figures["late_for_bars"]:
            self._logger.warning("ticks came after bars of theirs had closed; `qts bars` has them", ticks=late)

    def state_after(self, batch: int) -> TradeState:
        """The state after a batch, kept from the call before or read back from the table."""
        if self._state is None or self._state[0] != batch:
            parts = self.log.load_state(batch)
            if batch >= 0 and not parts:
                raise StoreError(
                    f"Table 'state' in {self.ledger.root} lacks the state after batch {batch} of checkpoint "
                    f"{self.log.checkpoint}, where trading goes on. Bring the table back, or start in a new workdir."
                )
            self._state = (batch, TradeState.of_parts(parts))
        return self._state[1]

    def _plan(self, arrived: pd.DataFrame) -> dict[str, Any]:
        versions = side_versions(self.ledger)
        # Before the plan is kept: it pins the table, and no replay would see what was added to it afterwards.
        refuse_unknown(arrived["instrument"], universe(self.ledger, versions).names)
        if self._backlog_version is None:
            # Read after Spark has fixed where a finite run ends, so that it is never taken for the end of all input
            # early. A live run, too, begins with what is there, in whatever order its files were landed.
            self._backlog_version = self.ledger.version("ticks")
        backlog = None if self._caught_up else self._backlog_version
        return {"config": self.config, "versions": versions, "once": self.once, "backlog": backlog}

    def _write(self, batch: int, outcome: Outcome) -> None:
        # Each table is a Delta log of its own, so they are written side by side; the state and the done row come after.
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda item: self.log.append(item[0], batch, item[1]), outcome_rows(outcome).items()))
        self.log.save_state(batch, outcome.state.to_parts())


def outcome_rows(outcome: Outcome) -> dict[str, pa.Table]:
    """A batch's rows for every table that has any, without its checkpoint and batch ids."""
    rows = {name: to_arrow(name, outcome.record.columns(name)) for name in outcome.record.tables()}
    if len(outcome.bars):
        rows["bars"] = _nan_to_null(to_arrow("bars", {name: outcome.bars[name].to_numpy() for name in outcome.bars}))
    if "orders" in rows:
        decided = pa.array([datetime.now(UTC)] * rows["orders"].num_rows, pa.timestamp("us", tz="UTC"))
        rows["orders"] = rows["orders"].append_column("decided_time", decided)
    return rows


def _nan_to_null(rows: pa.Table) -> pa.Table:
    """As Spark writes `bars_history`: SQL's averages leave nulls out, and NaN would take them over."""
    columns = [
        pc.if_else(pc.is_nan(rows[field.name]), pa.scalar(None, field.type), rows[field.name])
        if pa.types.is_floating(field.type)
        else rows[field.name]
        for field in rows.schema
    ]
    return pa.table(columns, names=rows.schema.names)


def summary(ledger: Ledger, log: BatchLog) -> dict[str, Any]:
    """What this checkpoint has done so far."""
    done = log.summaries()
    verdicts = Counter(ledger.read("orders", columns=("verdict",))["verdict"].to_pylist())
    portfolio = ledger.read("portfolio", columns=("bar_time", "equity", "provenance")).sort_by("bar_time")
    last = portfolio.slice(max(portfolio.num_rows - 1, 0)).to_pylist()
    return {
        "batches": len(done),
        "ticks": sum(batch["ticks"] for batch in done),
        "late_for_bars": sum(batch["late_for_bars"] for batch in done),
        "bars": sum(batch["bars"] for batch in done),
        "bar_times": sum(batch["bar_times"] for batch in done),
        "decisions": ledger.read("decisions", columns=("acting",)).num_rows,
        "orders": sum(verdicts.values()),
        "denied": verdicts["deny"],
        "fills": ledger.read("fills", columns=("order_id",)).num_rows,
        "equity": last[0]["equity"] if last else None,
        "equity_provenance": last[0]["provenance"] if last else None,
    }
