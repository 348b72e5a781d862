"""Figures of every streaming batch, from Spark's own progress reports, into the table `pipeline_health`."""

from __future__ import annotations

import json
import logging
import math
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
    StreamingQueryProgress,
)

from qts.errors import QtsError
from qts.store.ledger import Ledger

_log = logging.getLogger(__name__)

_CLOCK = "RateStream"

#: Longest wait for Spark's last word and for the last append, seconds: on a busy machine they may take a while, and
#: only where one of them never comes is it waited for so long.
_PATIENCE = 60.0

#: Seconds for which rows are gathered: a live query has a batch a second, and a commit for each would only cost.
_GATHERED = 2.0


class HealthListener(StreamingQueryListener):
    """Notes each batch of the queries of one job: those named `JOB` or `JOB-SOURCE`, and unnamed ones.

    Spark calls a listener from the thread that serves all of them, so nothing is written there: rows go to a queue and
    a thread of its own appends them. A table that cannot be written costs the figures, with a warning, never the query.

    Args:
        ledger: where `pipeline_health` is.
        job: name of the job, for readers.
    """

    def __init__(self, ledger: Ledger, job: str) -> None:
        super().__init__()
        self._ledger = ledger
        self._job = job
        self._seen: dict[str, int] = {}
        self._running: set[str] = set()
        self._quiet = threading.Event()
        self._quiet.set()
        self._ending = threading.Event()
        self._rows: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="qts-health", daemon=True)
        self._writer.start()

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802
        """Remembers that figures may come; Spark calls this before `start` returns."""
        if self._is_own(event.name):
            self._running.add(str(event.runId))
            self._quiet.clear()

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802
        """Queues the figures of a batch; Spark repeats the last ones while nothing comes in."""
        try:
            progress = event.progress
            run = str(progress.runId)
            if self._is_own(progress.name) and self._seen.get(run, -1) < progress.batchId:
                self._seen[run] = progress.batchId
                self._rows.put(health_row(self._job, progress))
        except Exception:
            _log.warning("Figures of a batch were lost.", exc_info=True)

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802
        """Nothing to note."""

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802
        """The last that Spark tells of a query; the job reports its own failures."""
        self._running.discard(str(event.runId))
        if not self._running:
            self._quiet.set()

    def wait(self, timeout: float = _PATIENCE) -> bool:
        """Waits until Spark has told all of every query that ended; it does so a moment later than they end.

        Args:
            timeout: longest wait, seconds.

        Returns:
            Whether it has.
        """
        return self._quiet.wait(timeout)

    def close(self, timeout: float = _PATIENCE) -> None:
        """Writes what is queued and ends the writer.

        Args:
            timeout: longest wait, seconds.
        """
        self._ending.set()
        self._rows.put(None)
        self._writer.join(timeout)

    def _is_own(self, query: str | None) -> bool:
        # Another job's queries may run in the same session, and its own listener notes them.
        return query is None or query == self._job or query.startswith(f"{self._job}-")

    def _write(self) -> None:
        while (row := self._rows.get()) is not None:
            rows, ends = [row], False
            self._ending.wait(_GATHERED)
            while not self._rows.empty() and not ends:  # one append for all that has come meanwhile
                following = self._rows.get()
                if following is None:
                    ends = True
                else:
                    rows.append(following)
            try:
                self._ledger.append("pipeline_health", pa.Table.from_pylist(rows, _SCHEMA))
            except (QtsError, OSError, pa.ArrowException):
                _log.warning("Figures of %d batches could not be written.", len(rows), exc_info=True)
            if ends:
                return


@contextmanager
def noting(spark: SparkSession, ledger: Ledger, job: str) -> Iterator[None]:
    """Notes the batches of a job's queries while the block runs, which is until they have ended."""
    listener = HealthListener(ledger, job)
    spark.streams.addListener(listener)
    try:
        yield
    finally:
        listener.wait()
        spark.streams.removeListener(listener)
        listener.close()


def health_row(job: str, progress: StreamingQueryProgress) -> dict[str, Any]:
    """One row of `pipeline_health`.

    `rows_in` counts what came from the sources as Spark sees it: without the clock's rows, and a text file is one row
    (the done rows of `batches` count ticks). `detail` is JSON: the milliseconds of each phase of the batch, its sources
    with their offsets, and its state.
    """
    phases = {phase: int(milliseconds) for phase, milliseconds in progress.durationMs.items()}
    rate = float(progress.processedRowsPerSecond)
    detail = {
        "phases_ms": phases,
        "sources": [
            {"name": source.description, "rows": int(source.numInputRows), "end": source.endOffset}
            for source in progress.sources
        ],
        "state_rows": sum(int(state.numRowsTotal) for state in progress.stateOperators),
        "event_time": dict(progress.eventTime),
    }
    return {
        "job": job if progress.name is None else progress.name,
        "query_id": str(progress.id),
        "run_id": str(progress.runId),
        "spark_batch": int(progress.batchId),
        "at": datetime.fromisoformat(progress.timestamp),
        "rows_in": sum(
            int(source.numInputRows) for source in progress.sources if not source.description.startswith(_CLOCK)
        ),
        "rows_per_second": rate if math.isfinite(rate) else 0.0,
        "duration_ms": int(progress.batchDuration),
        "detail": json.dumps(detail, sort_keys=True),
    }


_SCHEMA = pa.schema(
    [
        ("job", pa.string()),
        ("query_id", pa.string()),
        ("run_id", pa.string()),
        ("spark_batch", pa.int64()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("rows_in", pa.int64()),
        ("rows_per_second", pa.float64()),
        ("duration_ms", pa.int64()),
        ("detail", pa.string()),
    ]
)
