"""What models say: forecasts, regimes, signals, decisions, rewards, and what backtests have shown."""

from __future__ import annotations

import pyarrow as pa

from qts.store.tables.base import BATCH, BOOL, F64, I64, STR, TIME, Table, schema

#: What a forecast is about, and who made it.
MADE = {"instrument": STR, "target": STR, "made_at": TIME, "target_time": TIME}
VERSION = {"model": STR, "version": STR}

DECLARED = (
    Table(
        "forecasts",
        "gold",
        schema(
            {
                **MADE,
                "horizon": I64,
                **VERSION,
                "mean": F64,
                "sd": F64,
                "lower_80": F64,
                "upper_80": F64,
                "lower_95": F64,
                "upper_95": F64,
            },
            BATCH,
        ),
        key=("instrument", "target", "made_at", "horizon", "model", "version"),
        writer="forecast",
    ),
    Table(
        "forecast_scores",
        "gold",
        schema(
            {
                **MADE,
                **VERSION,
                "actual": F64,
                "error": F64,
                "loss": F64,
                "inside_80": BOOL,
                "inside_95": BOOL,
            },
            BATCH,
        ),
        key=("instrument", "target", "made_at", "model", "version"),
        writer="monitor",
    ),
    Table(
        "regimes",
        "gold",
        schema(
            {
                "instrument": STR,
                "interval": STR,
                "bar_time": TIME,
                **VERSION,
                "calm": F64,
                "normal": F64,
                "stressed": F64,
                "regime": STR,
                "volatility": F64,
                "log_density": F64,
            },
            BATCH,
        ),
        key=("instrument", "interval", "bar_time", "model", "version"),
        writer="regime",
    ),
    Table(
        "signals",
        "gold",
        schema({"bar_time": TIME, "instrument": STR, "strategy": STR, "signal": F64}, BATCH),
        key=("bar_time", "instrument", "strategy"),
        writer="trade",
    ),
    Table(
        "decisions",
        "gold",
        schema(
            {
                "bar_time": TIME,
                "instrument": STR,
                "policy": STR,
                "acting": BOOL,
                "arm": STR,
                "propensity": F64,
                "target": F64,
                "context": pa.list_(F64),
            },
            BATCH,
        ),
        key=("bar_time", "instrument", "policy"),
        writer="trade",
    ),
    Table(
        "rewards",
        "gold",
        schema(
            {"bar_time": TIME, "matured_at": TIME, "instrument": STR, "policy": STR, "arm": STR, "reward": F64},
            BATCH,
        ),
        key=("bar_time", "instrument", "policy"),
        writer="trade",
    ),
    Table(
        "experiments",
        "gold",
        schema(
            {
                "experiment_id": STR,
                "study_id": STR,
                "at": TIME,
                "universe": STR,
                "data": STR,
                "strategy": STR,
                "kind": STR,
                "parameters": STR,
                "scenario": STR,
                "start": TIME,
                "end": TIME,
                "bars": I64,
                "trials": I64,
                "metrics": STR,
                "error": STR,
            },
            {
                "sharpe": F64,
                "t": F64,
                "p": F64,
                "deflated_sharpe": F64,
                "spa_p": F64,
            },
        ),
        key=("study_id", "experiment_id"),
        writer="backtest",
        varying=("at",),
        batched=False,
    ),
)
