"""Every table of QTS, declared once: schema, key, the one job that writes it, clustering, checks.

Times are UTC timestamps in microseconds, which is what Delta keeps; `*_ns` columns carry the full nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from qts.errors import StoreError, did_you_mean

Layer = Literal["reference", "bronze", "silver", "gold", "control"]

_TIME = pa.timestamp("us", tz="UTC")
_STR, _F64, _I64, _BOOL = pa.string(), pa.float64(), pa.int64(), pa.bool_()
#: The largest finite double. Delta works its checks out row by row: a literal costs nothing, a cast of 'infinity' does.
_LARGEST = "1.7976931348623157E308D"


@dataclass(frozen=True)
class Table:
    """One Delta table.

    Attributes:
        key: columns that identify a row among the rows of done batches.
        writer: the one job that writes it.
        clustered_by: liquid clustering columns; empty for ledgers, which delta-rs appends to.
        checks: Delta CHECK constraints, name to SQL; they hold for writes by Spark.
        replayed: columns that a replay may fill differently (clock times, batch and run ids); all others must be equal.
        batched: whether rows carry checkpoint_id and batch_id, so that readers can see done batches only.
    """

    name: str
    layer: Layer
    schema: pa.Schema
    key: tuple[str, ...]
    writer: str
    clustered_by: tuple[str, ...] = ()
    checks: tuple[tuple[str, str], ...] = ()
    replayed: tuple[str, ...] = ()
    batched: bool = True


def _schema(required: dict[str, pa.DataType], optional: dict[str, pa.DataType] | None = None) -> pa.Schema:
    return pa.schema(
        [pa.field(name, kind, nullable=False) for name, kind in required.items()]
        + [pa.field(name, kind) for name, kind in (optional or {}).items()]
    )


_BATCH = {"checkpoint_id": _STR, "batch_id": _I64}
_POSITION = {"source": _STR, "source_partition": _STR, "source_offset": _I64}
_REPLAYED = ("checkpoint_id", "batch_id")

_DECLARED = (
    Table(
        "instruments",
        "reference",
        _schema(
            {
                "instrument": _STR,
                "currency": _STR,
                "multiplier": _F64,
                "inverse": _BOOL,
                "lot_size": _F64,
                "tick_size": _F64,
                "price_from": _STR,
                "tradable": _BOOL,
            },
            {"calendar": _STR, "sector": _STR, "venue": _STR},
        ),
        key=("instrument",),
        writer="ingest",
        batched=False,
    ),
    Table(
        "ticks",
        "bronze",
        _schema(
            {"event_time": _TIME, "event_ns": _I64, "instrument": _STR, "kind": _STR},
            {
                "price": _F64,
                "size": _F64,
                "bid": _F64,
                "bid_size": _F64,
                "ask": _F64,
                "ask_size": _F64,
                "side": _STR,
                "venue": _STR,
                "vendor_id": _STR,
                "provenance": _STR,
                **_POSITION,
                "ingest_time": _TIME,
                **_BATCH,
            },
        ),
        key=("source", "source_partition", "source_offset"),
        writer="ingest",
        clustered_by=("event_time", "instrument"),
        checks=(
            ("kind_known", "kind IN ('trade', 'quote')"),
            ("trade_priced", f"kind <> 'trade' OR (price > 0D AND price <= {_LARGEST})"),
            ("quote_not_crossed", f"kind <> 'quote' OR (bid > 0D AND ask >= bid AND ask <= {_LARGEST})"),
        ),
        replayed=("ingest_time", *_REPLAYED),
    ),
    Table(
        "quarantine",
        "bronze",
        _schema(
            {"reasons": pa.list_(_STR), "payload": _STR},
            {"table_name": _STR, **_POSITION, "ingest_time": _TIME, **_BATCH},
        ),
        key=("source", "source_partition", "source_offset"),
        writer="ingest",
        replayed=("ingest_time", *_REPLAYED),
    ),
    Table(
        "indices",
        "bronze",
        _schema(
            {"event_time": _TIME, "index_name": _STR, "value": _F64},
            {"provenance": _STR, **_POSITION, "ingest_time": _TIME, **_BATCH},
        ),
        key=("source", "source_partition", "source_offset"),
        writer="ingest",
        replayed=("ingest_time", *_REPLAYED),
    ),
    Table(
        "headlines",
        "bronze",
        _schema(
            {"event_time": _TIME, "text": _STR},
            {"instrument": _STR, "provenance": _STR, **_POSITION, "ingest_time": _TIME, **_BATCH},
        ),
        key=("source", "source_partition", "source_offset"),
        writer="ingest",
        replayed=("ingest_time", *_REPLAYED),
    ),
    Table(
        "sentiment",
        "silver",
        _schema(
            {"event_time": _TIME, "score": _F64, "label": _STR, "uncertainty": _F64, "scorer": _STR},
            {"instrument": _STR, "provenance": _STR, **_POSITION, **_BATCH},
        ),
        key=("source", "source_partition", "source_offset"),
        writer="sentiment",
        replayed=_REPLAYED,
    ),
    *(
        Table(
            name,
            "silver",
            _schema(
                {"instrument": _STR, "interval": _STR, "bar_time": _TIME},
                {
                    "open": _F64,
                    "high": _F64,
                    "low": _F64,
                    "close": _F64,
                    "volume": _F64,
                    "vwap": _F64,
                    "trades": _I64,
                    "spread": _F64,
                    "realised_variance": _F64,
                    "bipower": _F64,
                    "semivariance_minus": _F64,
                    "semivariance_plus": _F64,
                    "quarticity": _F64,
                    "provenance": _STR,
                    **_BATCH,
                },
            ),
            key=("instrument", "interval", "bar_time"),
            writer=writer,
            replayed=_REPLAYED,
            batched=batched,
        )
        for name, writer, batched in (("bars", "trade", True), ("bars_history", "bars", False))
    ),
    Table(
        "forecasts",
        "gold",
        _schema(
            {
                "instrument": _STR,
                "target": _STR,
                "made_at": _TIME,
                "target_time": _TIME,
                "horizon": _I64,
                "model": _STR,
                "version": _STR,
                "mean": _F64,
                "sd": _F64,
                "lower_80": _F64,
                "upper_80": _F64,
                "lower_95": _F64,
                "upper_95": _F64,
            },
            _BATCH,
        ),
        key=("instrument", "target", "made_at", "horizon", "model", "version"),
        writer="forecast",
        replayed=_REPLAYED,
    ),
    Table(
        "forecast_scores",
        "gold",
        _schema(
            {
                "instrument": _STR,
                "target": _STR,
                "made_at": _TIME,
                "target_time": _TIME,
                "model": _STR,
                "version": _STR,
                "actual": _F64,
                "error": _F64,
                "loss": _F64,
                "inside_80": _BOOL,
                "inside_95": _BOOL,
            },
            _BATCH,
        ),
        key=("instrument", "target", "made_at", "model", "version"),
        writer="monitor",
        replayed=_REPLAYED,
    ),
    Table(
        "regimes",
        "gold",
        _schema(
            {
                "instrument": _STR,
                "interval": _STR,
                "bar_time": _TIME,
                "model": _STR,
                "version": _STR,
                "calm": _F64,
                "normal": _F64,
                "stressed": _F64,
                "regime": _STR,
                "volatility": _F64,
                "log_density": _F64,
            },
            _BATCH,
        ),
        key=("instrument", "interval", "bar_time", "model", "version"),
        writer="regime",
        replayed=_REPLAYED,
    ),
    Table(
        "signals",
        "gold",
        _schema({"bar_time": _TIME, "instrument": _STR, "strategy": _STR, "signal": _F64}, _BATCH),
        key=("bar_time", "instrument", "strategy"),
        writer="trade",
        replayed=_REPLAYED,
    ),
    Table(
        "decisions",
        "gold",
        _schema(
            {
                "bar_time": _TIME,
                "instrument": _STR,
                "policy": _STR,
                "acting": _BOOL,
                "arm": _STR,
                "propensity": _F64,
                "target": _F64,
                "context": pa.list_(_F64),
            },
            _BATCH,
        ),
        key=("bar_time", "instrument", "policy"),
        writer="trade",
        replayed=_REPLAYED,
    ),
    Table(
        "rewards",
        "gold",
        _schema(
            {"bar_time": _TIME, "matured_at": _TIME, "instrument": _STR, "policy": _STR, "arm": _STR, "reward": _F64},
            _BATCH,
        ),
        key=("bar_time", "instrument", "policy"),
        writer="trade",
        replayed=_REPLAYED,
    ),
    Table(
        "orders",
        "gold",
        _schema(
            {
                "order_id": _STR,
                "bar_time": _TIME,
                "instrument": _STR,
                "strategy": _STR,
                "side": _STR,
                "type": _STR,
                "requested": _F64,
                "quantity": _F64,
                "price": _F64,
                "verdict": _STR,
                "codes": pa.list_(_STR),
            },
            {"limit_price": _F64, "decided_time": _TIME, **_BATCH},
        ),
        key=("order_id",),
        writer="trade",
        replayed=("decided_time", *_REPLAYED),
    ),
    Table(
        "order_events",
        "gold",
        _schema(
            {"order_id": _STR, "bar_time": _TIME, "event": _STR, "quantity": _F64, "detail": _STR},
            _BATCH,
        ),
        key=("order_id", "bar_time", "event"),
        writer="trade",
        replayed=_REPLAYED,
    ),
    Table(
        "fills",
        "gold",
        _schema(
            {
                "order_id": _STR,
                "fill_time": _TIME,
                "instrument": _STR,
                "quantity": _F64,
                "price": _F64,
                "reference_price": _F64,
                "fee": _F64,
                "half_spread": _F64,
                "slippage": _F64,
            },
            {"provenance": _STR, **_BATCH},
        ),
        key=("order_id", "fill_time"),
        writer="trade",
        replayed=_REPLAYED,
    ),
    Table(
        "journal",
        "gold",
        _schema(
            {"entry_id": _STR, "time": _TIME, "account": _STR, "instrument": _STR, "amount": _F64, "quantity": _F64},
            _BATCH,
        ),
        key=("entry_id", "account"),
        writer="trade",
        replayed=_REPLAYED,
    ),
    Table(
        "positions",
        "gold",
        _schema(
            {
                "bar_time": _TIME,
                "instrument": _STR,
                "quantity": _F64,
                "price": _F64,
                "value": _F64,
                "cost": _F64,
                "unrealised": _F64,
            },
            _BATCH,
        ),
        key=("bar_time", "instrument"),
        writer="trade",
        replayed=_REPLAYED,
    ),
    Table(
        "portfolio",
        "gold",
        _schema(
            {
                "bar_time": _TIME,
                "cash": _F64,
                "equity": _F64,
                "gross": _F64,
                "net": _F64,
                "realised": _F64,
                "unrealised": _F64,
                "fees": _F64,
                "drawdown": _F64,
                "trading_state": _STR,
                "provenance": _STR,
            },
            _BATCH,
        ),
        key=("bar_time",),
        writer="trade",
        replayed=_REPLAYED,
    ),
    Table(
        "risk_events",
        "gold",
        _schema(
            {
                "bar_time": _TIME,
                "code": _STR,
                "instrument": _STR,
                "order_id": _STR,
                "figure": _F64,
                "limit": _F64,
                "action": _STR,
            },
            _BATCH,
        ),
        key=("bar_time", "code", "instrument", "order_id"),
        writer="trade",
        replayed=_REPLAYED,
    ),
    Table(
        "quality_results",
        "gold",
        _schema(
            {
                "table_name": _STR,
                "suite": _STR,
                "expectation": _STR,
                "success": _BOOL,
                "action": _STR,
                "observed": _STR,
                "checked_at": _TIME,
            },
            _BATCH,
        ),
        key=("checkpoint_id", "batch_id", "suite", "expectation"),
        writer="ingest",
        replayed=("checked_at", *_REPLAYED),
    ),
    Table(
        "experiments",
        "gold",
        _schema(
            {
                "experiment_id": _STR,
                "study_id": _STR,
                "at": _TIME,
                "universe": _STR,
                "data": _STR,
                "strategy": _STR,
                "kind": _STR,
                "parameters": _STR,
                "scenario": _STR,
                "start": _TIME,
                "end": _TIME,
                "bars": _I64,
                "trials": _I64,
                "metrics": _STR,
                "error": _STR,
            },
            {
                "sharpe": _F64,
                "t": _F64,
                "p": _F64,
                "deflated_sharpe": _F64,
                "spa_p": _F64,
            },
        ),
        key=("study_id", "experiment_id"),
        writer="backtest",
        replayed=("at",),
        batched=False,
    ),
    Table(
        "pipeline_health",
        "gold",
        _schema(
            {
                "job": _STR,
                "query_id": _STR,
                "run_id": _STR,
                "spark_batch": _I64,
                "at": _TIME,
                "rows_in": _I64,
                "rows_per_second": _F64,
                "duration_ms": _I64,
                "detail": _STR,
            }
        ),
        key=("run_id", "spark_batch"),
        writer="monitor",
        replayed=("query_id", "run_id", "at", "rows_per_second", "duration_ms", "detail"),
        batched=False,
    ),
    Table(
        "controls",
        "control",
        _schema(
            {"control_id": _STR, "at": _TIME, "action": _STR, "scope": _STR, "reason": _STR, "actor": _STR},
        ),
        key=("control_id",),
        writer="control",
        batched=False,
    ),
    Table(
        "batches",
        "control",
        _schema({"job": _STR, **_BATCH, "phase": _STR, "at": _TIME, "payload": _STR}),
        key=("checkpoint_id", "batch_id", "phase"),
        writer="every streaming job",
        replayed=("at", "payload", *_REPLAYED),
        batched=False,
    ),
    Table(
        "state",
        "control",
        _schema({"job": _STR, **_BATCH, "part": _STR, "blob": pa.binary()}),
        key=("checkpoint_id", "batch_id", "part"),
        writer="every streaming job",
        replayed=("blob", *_REPLAYED),
        batched=False,
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _DECLARED}


def table(name: str) -> Table:
    """The declaration of a table.

    Raises:
        StoreError: no such table; the message names the nearest one.
    """
    try:
        return TABLES[name]
    except KeyError:
        raise StoreError(
            f"There is no table {name!r}; the tables are {', '.join(sorted(TABLES))}.{did_you_mean(name, TABLES)}"
        ) from None
