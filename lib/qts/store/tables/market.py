"""What comes in and what is made of it: instruments, ticks, indices, headlines, sentiment, bars."""

from __future__ import annotations

import pyarrow as pa

from qts.store.tables.base import BATCH, BOOL, F64, I64, LARGEST, POSITION, STR, TIME, Table, schema

#: Where a record came from, and the batch that it landed with.
LANDED = {**POSITION, "ingest_time": TIME, **BATCH}

DECLARED = (
    Table(
        "instruments",
        "reference",
        schema(
            {
                "instrument": STR,
                "currency": STR,
                "multiplier": F64,
                "inverse": BOOL,
                "lot_size": F64,
                "tick_size": F64,
                "price_from": STR,
                "tradable": BOOL,
            },
            {"calendar": STR, "sector": STR, "venue": STR},
        ),
        key=("instrument",),
        writer="ingest",
        batched=False,
    ),
    Table(
        "ticks",
        "bronze",
        schema(
            {"event_time": TIME, "event_ns": I64, "instrument": STR, "kind": STR},
            {
                "price": F64,
                "size": F64,
                "bid": F64,
                "bid_size": F64,
                "ask": F64,
                "ask_size": F64,
                "side": STR,
                "venue": STR,
                "vendor_id": STR,
                "provenance": STR,
                **LANDED,
            },
        ),
        key=tuple(POSITION),
        writer="ingest",
        clustered_by=("event_time", "instrument"),
        checks=(
            ("kind_known", "kind IN ('trade', 'quote')"),
            ("trade_priced", f"kind <> 'trade' OR (price > 0D AND price <= {LARGEST})"),
            ("quote_not_crossed", f"kind <> 'quote' OR (bid > 0D AND ask >= bid AND ask <= {LARGEST})"),
        ),
        varying=("ingest_time",),
    ),
    Table(
        "quarantine",
        "bronze",
        schema(
            {"reasons": pa.list_(STR), "payload": STR},
            {"table_name": STR, **LANDED},
        ),
        key=tuple(POSITION),
        writer="ingest",
        varying=("ingest_time",),
    ),
    Table(
        "indices",
        "bronze",
        schema(
            {"event_time": TIME, "index_name": STR, "value": F64},
            {"provenance": STR, **LANDED},
        ),
        key=tuple(POSITION),
        writer="ingest",
        varying=("ingest_time",),
    ),
    Table(
        "headlines",
        "bronze",
        schema(
            {"event_time": TIME, "text": STR},
            {"instrument": STR, "provenance": STR, **LANDED},
        ),
        key=tuple(POSITION),
        writer="ingest",
        varying=("ingest_time",),
    ),
    Table(
        "sentiment",
        "silver",
        schema(
            {"event_time": TIME, "score": F64, "label": STR, "uncertainty": F64, "scorer": STR, "text_hash": I64},
            {"instrument": STR, "provenance": STR, **POSITION, **BATCH},
        ),
        key=tuple(POSITION),
        writer="sentiment",
    ),
    *(
        Table(
            name,
            "silver",
            schema(
                {"instrument": STR, "interval": STR, "bar_time": TIME},
                {
                    "open": F64,
                    "high": F64,
                    "low": F64,
                    "close": F64,
                    "volume": F64,
                    "vwap": F64,
                    "trades": I64,
                    "spread": F64,
                    "realised_variance": F64,
                    "bipower": F64,
                    "semivariance_minus": F64,
                    "semivariance_plus": F64,
                    "quarticity": F64,
                    "provenance": STR,
                    **BATCH,
                },
            ),
            key=("instrument", "interval", "bar_time"),
            writer=writer,
            batched=batched,
        )
        for name, writer, batched in (("bars", "trade", True), ("bars_history", "bars", False))
    ),
)
