"""Bars as Spark sees them: the versions that a plan names, done batches only, streamed and historical ones as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from qts.store.ledger import Ledger, only_done
from qts.store.tables import table

#: What a batch that reads bars pins in its plan.
BAR_TABLES = ("bars", "bars_history", "batches")

_KEY = ["instrument", "interval", "bar_time"]


def pinned(ledger: Ledger, names: tuple[str, ...] = BAR_TABLES) -> dict[str, int]:
    """The newest version of each table, -1 where it does not exist yet."""
    return {name: ledger.version(name) for name in names}


def ended(ledger: Ledger, versions: Mapping[str, int], name: str = "bars") -> int:
    """How many batches of a table's writer had ended at the pinned version of `batches`.

    An end may come after the batch's rows, and then is in no version of the table itself.
    """
    if versions["batches"] < 0:
        return 0
    where = (pc.field("job") == table(name).writer) & (pc.field("phase") == "done")
    return int(ledger.read("batches", version=versions["batches"], columns=("batch_id",), where=where).num_rows)


def read_done(spark: SparkSession, ledger: Ledger, name: str, versions: Mapping[str, int]) -> DataFrame:
    """A table's rows at its pinned version, without those of batches that were not done then.

    Args:
        versions: of this table and of `batches`.
    """
    rows = _at(spark, ledger, name, versions[name])
    if not table(name).batched or versions[name] < 0:
        return rows
    batch = ["checkpoint_id", "batch_id"]
    done = _at(spark, ledger, "batches", versions["batches"]).where("phase = 'done'").select(*batch).distinct()
    marked = rows.join(F.broadcast(done.withColumn("_done", F.lit(True))), batch, "left")
    return marked.where("_done OR batch_id IS NULL").select(rows.columns)


def done_between(
    ledger: Ledger,
    name: str,
    before: Mapping[str, int],
    now: Mapping[str, int],
    columns: Sequence[str],
    where: pc.Expression,
    most: int,
) -> pa.Table | None:
    """The rows of a batched table whose batches were done at the versions `now` and not yet at those `before`.

    Args:
        before, now: versions of this table and of `batches`.

    Returns:
        The rows, in no order; None where they are more than `most`.
    """
    if now[name] < 0:
        return table(name).schema.empty_table().select(columns)
    old, new = (ledger.done_batches(versions["batches"]) for versions in (before, now))
    if before[name] >= 0:
        new = new.join(old, keys=["checkpoint_id", "batch_id"], join_type="left anti")
    batches = pc.field("batch_id").isin(new["batch_id"].unique())
    wanted = [*columns, *(key for key in ("checkpoint_id", "batch_id") if key not in columns)]
    rows = ledger.read(name, version=now[name], columns=wanted, where=where & batches, done_only=False)
    return None if rows.num_rows > most else only_done(rows, new).select(columns)


def bars_of(spark: SparkSession, ledger: Ledger, versions: Mapping[str, int], interval: str) -> DataFrame:
    """Bars of one interval, one row a key: the streamed one where there are both, for a restart must find the same."""
    streamed, past = (
        read_done(spark, ledger, name, versions).where(F.col("interval") == interval)
        for name in ("bars", "bars_history")
    )
    if versions["bars"] < 0:
        return past
    if versions["bars_history"] < 0:
        return streamed
    return streamed.unionByName(past.join(streamed, _KEY, "left_anti").select(past.columns))


def _at(spark: SparkSession, ledger: Ledger, name: str, version: int) -> DataFrame:
    if version < 0:
        from pyspark.sql.pandas.types import from_arrow_schema

        return spark.createDataFrame([], from_arrow_schema(table(name).schema))
    return spark.read.format("delta").option("versionAsOf", version).load(str(ledger.path(name)))
