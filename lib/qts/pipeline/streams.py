"""Starting and ending streaming queries, with errors that a user can read."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

BatchFunction = Callable[[DataFrame, int], None]


class Guarded:
    """A foreachBatch function that keeps what it raised: Spark passes on only the text of a Python error."""

    def __init__(self, work: BatchFunction) -> None:
        self.work = work
        self.error: Exception | None = None

    def __call__(self, rows: DataFrame, batch: int) -> None:
        try:
            self.work(rows, batch)
        except Exception as error:
            self.error = error
            raise
        except BaseException as error:
            # A panic of native code, say. Py4J answers for an Exception only: of anything else its thread dies, with
            # the connection still open, and Spark waits for ever.
            self.error = RuntimeError(f"{type(error).__name__}: {error}")
            raise self.error from error


def start_query(writer: DataStreamWriter, work: Guarded, *, once: bool, trigger_ns: int) -> StreamingQuery:
    """Starts a query: with `once` on all that is there, else every `trigger_ns` nanoseconds."""
    writer = writer.foreachBatch(work)
    if once:
        return writer.trigger(availableNow=True).start()
    return writer.trigger(processingTime=f"{max(trigger_ns // 1_000_000, 0)} milliseconds").start()


def await_query(query: StreamingQuery, work: Guarded) -> None:
    """Waits until the query ends; an interrupt stops it after its batch.

    Raises:
        Exception: what the batch function raised, or what Spark says of its files and sources.
    """
    try:
        query.awaitTermination()
    except KeyboardInterrupt:
        query.stop()
    except StreamingQueryException as error:
        raise readable(error, work) from error


def readable(error: StreamingQueryException, work: Guarded) -> Exception:
    """The error that a batch function raised, which Spark passes on as text only; else Spark's own."""
    return error if work.error is None else work.error
