"""The declared tables in Delta: made with their checks by Spark, listed, and kept in shape."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from qts.errors import ConfigError, StoreError
from qts.pipeline.session import spark_session
from qts.settings import Settings, duration
from qts.store.ledger import Ledger
from qts.store.tables import TABLES, Table, table

#: Batches whose state is kept: `qts explain` can re-execute decisions this far back.
STATE_BATCHES = 1000


def spark_schema(name: str) -> StructType:
    """A declared table's schema as Spark has it."""
    schema: StructType = from_arrow_schema(table(name).schema)
    return schema


def create_table(spark: SparkSession, root: Path, name: str) -> None:
    """Makes an empty table with its constraints, or what of these an interrupted start left out."""
    declared = table(name)
    where = str(root / name)
    target = where.replace("`", "``")
    if not DeltaTable.is_deltatable(where):
        _create(spark, target, declared)
    made = DeltaTable(where)
    if "clustering" in (made.protocol().writer_features or ()):
        raise StoreError(
            f"Table {name!r} in {root} cannot be appended to: it has liquid clustering, as earlier versions made it. "
            "Take a new --workdir and ingest again, or copy its rows into a table without."
        )
    held = made.metadata().configuration if declared.checks else {}
    for check, condition in declared.checks:
        if f"delta.constraints.{check}" not in held:
            spark.sql(f"ALTER TABLE delta.`{target}` ADD CONSTRAINT {check} CHECK ({condition})")


def _create(spark: SparkSession, target: str, declared: Table) -> None:
    columns = ", ".join(
        f"`{field.name}` {field.dataType.simpleString()}{'' if field.nullable else ' NOT NULL'}"
        for field in spark_schema(declared.name)
    )
    # delta-rs reads these tables too, and it reads no deletion vectors.
    properties = "'delta.enableDeletionVectors' = 'false'"
    if declared.clustered_by:
        # Statistics of all columns would cost every write about a quarter more, and only these are searched by.
        properties += f", 'delta.dataSkippingStatsColumns' = '{','.join(declared.clustered_by)}'"
    made = f"CREATE TABLE IF NOT EXISTS delta.`{target}` ({columns}) USING delta"
    spark.sql(f"{made} TBLPROPERTIES ({properties})")


def list_tables(settings: Settings) -> dict[str, Any]:
    """Every declared table with its rows, version and size; no Spark needed.

    Returns:
        tables: list of {name, layer, writer, exists, version, rows, files, bytes, key, clustered_by}.
    """
    ledger = Ledger(settings.tables)
    return {"workdir": str(settings.workdir), "tables": [_figures(ledger, declared) for declared in TABLES.values()]}


def _figures(ledger: Ledger, declared: Table) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": declared.name,
        "layer": declared.layer,
        "writer": declared.writer,
        "key": list(declared.key),
        "clustered_by": list(declared.clustered_by),
        "exists": ledger.exists(declared.name),
    }
    if not told["exists"]:
        return {**told, "version": None, "rows": 0, "files": 0, "bytes": 0}
    delta = ledger.open(declared.name)
    files = pa.table(delta.get_add_actions(flatten=True))
    return {
        **told,
        "version": delta.version(),
        "rows": pc.sum(files["num_records"]).as_py() or 0,
        "files": files.num_rows,
        "bytes": pc.sum(files["size_bytes"]).as_py() or 0,
    }


def maintain(settings: Settings, *, retention: str = "7d") -> dict[str, Any]:
    """Compacts and vacuums all tables, and drops states that no replay needs any more.

    Large tables are rewritten by Spark in the order of a space-filling curve (Z-order) of their clustering columns;
    ledgers are compacted by delta-rs.

    Args:
        retention: files that no version younger than this needs are deleted; at least an hour.

    Returns:
        tables: {name: {files_before, files_after, vacuumed}}.

    Raises:
        ConfigError: the retention is shorter than an hour, in which running jobs may still read old files.
    """
    keep = duration(retention) // 1_000_000_000
    if keep < 3600:
        raise ConfigError(f"A retention of {retention!r} may delete files that running jobs read; give 1h or more.")
    ledger = Ledger(settings.tables)
    done: dict[str, Any] = {}
    for name, declared in TABLES.items():
        if not ledger.exists(name):
            continue
        before = len(ledger.open(name).file_uris())
        if name == "state":
            _prune_state(ledger)
        if declared.clustered_by:
            columns = ", ".join(declared.clustered_by)
            spark_session(settings).sql(f"OPTIMIZE delta.`{ledger.path(name)}` ZORDER BY ({columns})")
        else:
            ledger.open(name).optimize.compact()
        delta = ledger.open(name)
        # In full: a crash may leave files that were staged and that no commit has ever named.
        deleted = delta.vacuum(
            retention_hours=max(keep // 3600, 1), dry_run=False, enforce_retention_duration=False, full=True
        )
        delta.create_checkpoint()
        done[name] = {"files_before": before, "files_after": len(delta.file_uris()), "vacuumed": len(deleted)}
    return {"tables": done, "retention": str(timedelta(seconds=keep))}


def _prune_state(ledger: Ledger) -> None:
    rows = ledger.read("state", columns=("checkpoint_id", "batch_id"), done_only=False)
    newest = rows.group_by("checkpoint_id").aggregate([("batch_id", "max")]).to_pylist()
    for row in newest:
        oldest = row["batch_id_max"] - STATE_BATCHES
        if oldest > 0:
            ledger.open("state").delete(f"checkpoint_id = '{row['checkpoint_id']}' AND batch_id < {oldest}")
