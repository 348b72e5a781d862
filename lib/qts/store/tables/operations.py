"""What runs, how it does, what people have told it: data quality, health, alerts, controls, batches, state."""

from __future__ import annotations

import pyarrow as pa

from qts.store.tables.base import BATCH, BOOL, F64, I64, STR, TIME, Table, schema

DECLARED = (
    Table(
        "quality_results",
        "gold",
        schema(
            {
                "table_name": STR,
                "suite": STR,
                "expectation": STR,
                "success": BOOL,
                "action": STR,
                "observed": STR,
                "checked_at": TIME,
            },
            BATCH,
        ),
        key=("checkpoint_id", "batch_id", "suite", "expectation"),
        writer="ingest",
        varying=("checked_at",),
    ),
    Table(
        "pipeline_health",
        "gold",
        schema(
            {
                "job": STR,
                "query_id": STR,
                "run_id": STR,
                "spark_batch": I64,
                "at": TIME,
                "rows_in": I64,
                "rows_per_second": F64,
                "duration_ms": I64,
                "detail": STR,
            }
        ),
        key=("run_id", "spark_batch"),
        writer="monitor",
        varying=("query_id", "run_id", "at", "rows_per_second", "duration_ms", "detail"),
        batched=False,
    ),
    # Seen at once, not when their batch is done: what keeps a batch from ending is what somebody has to know.
    Table(
        "alerts",
        "gold",
        schema({"alert_id": STR, "at": TIME, "job": STR, "code": STR, "severity": STR, "message": STR}, BATCH),
        key=("alert_id",),
        writer="every streaming job",
        varying=("alert_id", "at", "message"),
        batched=False,
    ),
    Table(
        "alert_events",
        "gold",
        schema({"alert_id": STR, "at": TIME, "job": STR, "code": STR, "event": STR}, BATCH),
        key=("alert_id", "event"),
        writer="every streaming job",
        varying=("alert_id", "at"),
        batched=False,
    ),
    Table(
        "controls",
        "control",
        schema(
            {"control_id": STR, "at": TIME, "action": STR, "scope": STR, "reason": STR, "actor": STR},
        ),
        key=("control_id",),
        writer="control",
        batched=False,
    ),
    Table(
        "batches",
        "control",
        schema({"job": STR, **BATCH, "phase": STR, "at": TIME, "payload": STR}),
        key=("checkpoint_id", "batch_id", "phase"),
        writer="every streaming job",
        varying=("at", "payload"),
        batched=False,
    ),
    Table(
        "state",
        "control",
        schema({"job": STR, **BATCH, "part": STR, "blob": pa.binary()}),
        key=("checkpoint_id", "batch_id", "part"),
        writer="every streaming job",
        varying=("blob",),
        batched=False,
    ),
)
