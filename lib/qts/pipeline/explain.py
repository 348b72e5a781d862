"""`qts explain ORDER_ID`: all that led to an order, and the decision executed again from its plan."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from qts.errors import DataError, StoreError, did_you_mean
from qts.market.bar import BarPanel
from qts.pipeline.batches import BatchLog
from qts.pipeline.deskplan import TradeConfig, rules, trade_config, universe
from qts.pipeline.sidetables import extras
from qts.pipeline.trade_batch import TradeState, panel_of
from qts.settings import Settings
from qts.store.columns import to_arrow
from qts.store.ledger import Ledger
from qts.store.tables import table
from qts.trading.decide import decide, open_account
from qts.trading.propose import CONTEXT
from qts.trading.record import Recorder

JOB = "trade"
_TICKS_SHOWN = 5


class _Witness(Recorder):
    """Keeps the risk figures of one order, which no table holds."""

    def __init__(self, order_id: str) -> None:
        super().__init__()
        self.order_id = order_id
        self.rules: list[dict[str, Any]] = []

    def see(self, what: str, **details: Any) -> None:
        if what == "verdicts" and self.order_id in details["ids"]:
            row = list(details["ids"]).index(self.order_id)
            verdicts = details["verdicts"]
            self.rules = [
                {
                    "code": code,
                    "figure": _plain(figure[row]),
                    "limit": _plain(limit[row]),
                    "broken": code in verdicts.codes[row],
                }
                for code, (figure, limit) in verdicts.figures.items()
            ]


def run(settings: Settings, order_id: str) -> dict[str, Any]:
    """Explains one order.

    Returns:
        order, ticks {count, first, last}, bar, signals, decision {policy, arm, propensity, context}, forecasts, rules,
        events, fills, plan {batch, versions, seed, code}, replay {identical, differences} or {impossible: why}.

    Raises:
        DataError: there is no such order.
    """
    ledger = Ledger(settings.tables)
    found = ledger.read("orders", where=pc.field("order_id") == order_id, done_only=False)
    if not found.num_rows:
        some = ledger.read("orders", columns=("order_id",))["order_id"].to_pylist()
        hint = did_you_mean(order_id, some[-1000:]) or (f" The newest is {some[-1]}." if some else "")
        raise DataError(f"There is no order {order_id!r} among {len(some)} orders in {settings.tables}.{hint}")
    order = found.to_pylist()[0]
    log = BatchLog(ledger, JOB, order["checkpoint_id"])
    plan = log.stored_plan(order["batch_id"])
    config = trade_config(plan["config"])
    at = (pc.field("bar_time") == order["bar_time"]) & (pc.field("instrument") == order["instrument"])
    mine = pc.field("order_id") == order_id
    decision = ledger.read("decisions", where=at & pc.field("acting")).to_pylist()
    interval = next(name for name, length in config.intervals.items() if length == config.decision)
    bar = ledger.read("bars", where=at & (pc.field("interval") == interval)).to_pylist()
    again, replay, known = _replay(ledger, log, plan, config, order)
    return {
        "order": _shown(order),
        "ticks": _ticks(ledger, order, config.decision),
        "bar": _shown(bar[0]) if bar else None,
        "signals": {row["strategy"]: row["signal"] for row in ledger.read("signals", where=at).to_pylist()},
        "decision": _decision(decision[0]) if decision else None,
        "known": known,
        "models": _models(ledger, plan, order),
        "rules": again.rules,
        "events": [_shown(row) for row in ledger.read("order_events", where=mine).to_pylist()],
        "fills": [_shown(row) for row in ledger.read("fills", where=mine).to_pylist()],
        "plan": {
            "checkpoint_id": order["checkpoint_id"],
            "batch_id": order["batch_id"],
            "now": plan["now"],
            "versions": plan["versions"],
            "seed": plan["config"]["seed"],
            "code": plan["config"]["code"],
        },
        "replay": replay,
    }


def _replay(
    ledger: Ledger, log: BatchLog, plan: dict[str, Any], config: TradeConfig, order: dict[str, Any]
) -> tuple[_Witness, dict[str, Any], dict[str, float | None]]:
    """Executes the batch again, and compares the order's rows with what the ledger holds."""
    witness = _Witness(order["order_id"])
    batch = order["batch_id"]
    parts = log.load_state(batch - 1)
    if batch > 0 and not parts:
        return witness, {"impossible": f"the state after batch {batch - 1} is no longer kept"}, {}
    mine = (pc.field("checkpoint_id") == order["checkpoint_id"]) & (pc.field("batch_id") == batch)
    rows = ledger.read("bars", where=mine, done_only=False).to_pandas()
    rows = rows[rows["interval"].map(config.intervals) == config.decision]
    if rows.empty:
        return witness, {"impossible": "a control sent this order between bars, on no bar of its own"}, {}
    try:
        known = universe(ledger, plan["versions"])
        panel = panel_of(
            rows.assign(bar_time=rows["bar_time"].to_numpy("datetime64[ns]").astype(np.int64)), known.names
        )
        beside = extras(ledger, plan["versions"], known.names, panel.times, config.decision)
        provenance = _provenance(ledger, order)
        batch_rules = rules(ledger, config, plan["versions"], known, provenance)
    except StoreError as error:
        return witness, {"impossible": f"a side table is no longer kept at its planned version ({error})"}, {}
    account = TradeState.of_parts(parts).account or open_account(config.desk, known, config.cash)
    panel = BarPanel(panel.instruments, panel.times, panel.values, beside)
    _, record = decide(config.desk, account, panel, batch_rules, record=witness)
    differences = [
        f"{name}: {difference}"
        for name in ("orders", "decisions", "signals")
        for difference in _differences(ledger, name, record, order)
    ]
    row = int(np.searchsorted(panel.times, pd.Timestamp(order["bar_time"]).value))
    column = known.names.index(order["instrument"])
    seen = {name: _plain(values[row, column]) for name, values in beside.items()}
    return witness, {"identical": not differences, "differences": differences}, seen


def _differences(ledger: Ledger, name: str, record: Recorder, order: dict[str, Any]) -> list[str]:
    declared = table(name)
    where = (pc.field("bar_time") == order["bar_time"]) & (pc.field("instrument") == order["instrument"])
    again = to_arrow(name, record.columns(name)).filter(where)
    columns = [column for column in again.schema.names if column not in declared.replayed]
    mine = where & (pc.field("checkpoint_id") == order["checkpoint_id"])
    held = ledger.read(name, where=mine, columns=columns, done_only=False)
    keys = [(key, "ascending") for key in declared.key]
    left, right = (rows.select(columns).sort_by(keys) for rows in (held, again))
    if left.num_rows != right.num_rows:
        return [f"{left.num_rows} rows in the ledger, {right.num_rows} again"]
    return [column for column in columns if not _same(left[column], right[column])]


def _same(held: pa.ChunkedArray, again: pa.ChunkedArray) -> bool:
    """Bit for bit, with NaN equal to NaN."""
    return repr(held.to_pylist()) == repr(again.cast(held.type).to_pylist())


def _ticks(ledger: Ledger, order: dict[str, Any], interval: int) -> dict[str, Any]:
    start = order["bar_time"] - timedelta(microseconds=interval // 1000)
    where = (
        (pc.field("instrument") == order["instrument"])
        & (pc.field("event_time") >= start)
        & (pc.field("event_time") < order["bar_time"])
    )
    rows = ledger.read("ticks", where=where).sort_by(
        [("event_ns", "ascending"), ("source", "ascending"), ("source_offset", "ascending")]
    )
    shown = [_shown(row) for row in rows.to_pylist()] if rows.num_rows <= 2 * _TICKS_SHOWN else None
    if shown is None:
        first, last = rows.slice(0, _TICKS_SHOWN), rows.slice(rows.num_rows - _TICKS_SHOWN)
        return {
            "count": rows.num_rows,
            "first": [_shown(row) for row in first.to_pylist()],
            "last": [_shown(row) for row in last.to_pylist()],
        }
    return {"count": rows.num_rows, "first": shown, "last": []}


def _models(ledger: Ledger, plan: dict[str, Any], order: dict[str, Any]) -> list[dict[str, Any]]:
    """Versions of the models whose newest forecast the bar's decision could know."""
    version = plan["versions"].get("forecasts", -1)
    if version < 0:
        return []
    where = (pc.field("instrument") == order["instrument"]) & (pc.field("made_at") < order["bar_time"])
    where &= pc.field("made_at") >= order["bar_time"] - timedelta(days=30)
    columns = ("model", "target", "version", "made_at")
    try:
        done_at = plan["versions"].get("batches")
        rows = ledger.read("forecasts", version=version, where=where, columns=columns, done_at=done_at).to_pandas()
    except StoreError:
        return []
    newest = rows.sort_values("made_at").groupby(["model", "target"], as_index=False).last()
    return [_shown(row) for row in newest.to_dict("records")]


def _provenance(ledger: Ledger, order: dict[str, Any]) -> str:
    rows = ledger.read("portfolio", where=pc.field("bar_time") == order["bar_time"], done_only=False)
    return str(rows["provenance"][0].as_py()) if rows.num_rows else "real"


def _decision(row: dict[str, Any]) -> dict[str, Any]:
    return {**_shown(row), "context": dict(zip(CONTEXT, row["context"], strict=True))}


def _shown(row: dict[Any, Any]) -> dict[str, Any]:
    return {
        str(key): value.isoformat() if hasattr(value, "isoformat") else _plain(value)
        for key, value in row.items()
        if key not in ("checkpoint_id", "batch_id", "ingest_time")
    }


def _plain(value: Any) -> Any:
    """Values as JSON has them: NaN and infinities become null."""
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value
