"""The ledger of the account: orders with their verdicts, fills, positions, cash, risk events."""

from __future__ import annotations

import pyarrow as pa

from qts.store.tables.base import BATCH, F64, STR, TIME, Table, schema

DECLARED = (
    Table(
        "orders",
        "gold",
        schema(
            {
                "order_id": STR,
                "bar_time": TIME,
                "instrument": STR,
                "strategy": STR,
                "side": STR,
                "type": STR,
                "requested": F64,
                "quantity": F64,
                "price": F64,
                "verdict": STR,
                "codes": pa.list_(STR),
            },
            {"limit_price": F64, "decided_time": TIME, **BATCH},
        ),
        key=("order_id",),
        writer="trade",
        varying=("decided_time",),
    ),
    Table(
        "order_events",
        "gold",
        schema(
            {"order_id": STR, "bar_time": TIME, "event": STR, "quantity": F64, "detail": STR},
            BATCH,
        ),
        key=("order_id", "bar_time", "event"),
        writer="trade",
    ),
    Table(
        "fills",
        "gold",
        schema(
            {
                "order_id": STR,
                "fill_time": TIME,
                "instrument": STR,
                "quantity": F64,
                "price": F64,
                "reference_price": F64,
                "fee": F64,
                "half_spread": F64,
                "slippage": F64,
            },
            {"provenance": STR, **BATCH},
        ),
        key=("order_id", "fill_time"),
        writer="trade",
    ),
    Table(
        "journal",
        "gold",
        schema(
            {"entry_id": STR, "time": TIME, "account": STR, "instrument": STR, "amount": F64, "quantity": F64},
            BATCH,
        ),
        key=("entry_id", "account"),
        writer="trade",
    ),
    Table(
        "positions",
        "gold",
        schema(
            {
                "bar_time": TIME,
                "instrument": STR,
                "quantity": F64,
                "price": F64,
                "value": F64,
                "cost": F64,
                "unrealised": F64,
            },
            BATCH,
        ),
        key=("bar_time", "instrument"),
        writer="trade",
    ),
    Table(
        "portfolio",
        "gold",
        schema(
            {
                "bar_time": TIME,
                "cash": F64,
                "equity": F64,
                "gross": F64,
                "net": F64,
                "realised": F64,
                "unrealised": F64,
                "fees": F64,
                "drawdown": F64,
                "trading_state": STR,
                "provenance": STR,
            },
            BATCH,
        ),
        key=("bar_time",),
        writer="trade",
    ),
    Table(
        "risk_events",
        "gold",
        schema(
            {
                "bar_time": TIME,
                "code": STR,
                "instrument": STR,
                "order_id": STR,
                "figure": F64,
                "limit": F64,
                "action": STR,
            },
            BATCH,
        ),
        key=("bar_time", "code", "instrument", "order_id"),
        writer="trade",
    ),
)
