"""The whole pipeline, stage after stage, on the sources of the settings; then what went in and what came out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pyarrow.compute as pc

from qts.mlops.tracking import reachable
from qts.pipeline import bars, forecast, ingest, monitor, regimes, sentiment, trade
from qts.pipeline.models import tracking_of
from qts.pipeline.performance import performance
from qts.settings import ReplaySource, Settings
from qts.store.ledger import Ledger

#: In the order in which each needs what the one before wrote.
STAGES: dict[str, Callable[..., dict[str, Any]]] = {
    "ingest": ingest.run,
    "bars": bars.run,
    "forecast": forecast.run,
    "regime": regimes.run,
    "sentiment": sentiment.run,
    "trade": trade.run,
    "monitor": monitor.run,
}
_ROWS = ("in", "accepted", "quarantined", "duplicates")


def run(settings: Settings, *, on_stage: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Runs every stage once; a second run on the same workdir takes in nothing twice.

    Args:
        on_stage: called with a stage's name before it starts.

    Returns:
        Totals of the tables: ticks and indices {in, accepted, quarantined, duplicates}, bars, forecasts, regimes,
        decisions, orders, denied, fills, mlflow_runs, account {equity, ...}, performance (see there), last_order,
        seconds {stage: s}, workdir, provenance.
    """
    seconds: dict[str, float] = {}
    for name, stage in STAGES.items():
        if on_stage:
            on_stage(name)
        begun = time.perf_counter()
        stage(settings, once=True)
        seconds[name] = round(time.perf_counter() - begun, 2)
    return {**totals(settings), "seconds": seconds, "workdir": str(settings.workdir)}


def totals(settings: Settings) -> dict[str, Any]:
    """What the tables of a workdir hold; rows of unfinished batches do not count."""
    ledger = Ledger(settings.tables)
    verdicts = ledger.read("orders", columns=("verdict",))["verdict"]
    return {
        "ticks": _ingested(ledger, "ticks"),
        "indices": _ingested(ledger, "indices"),
        "bars": ledger.read("bars", columns=("instrument",)).num_rows,
        "forecasts": ledger.read("forecasts", columns=("instrument",)).num_rows,
        "regimes": ledger.read("regimes", columns=("instrument",)).num_rows,
        "decisions": ledger.read("decisions", columns=("instrument",)).num_rows,
        "orders": len(verdicts),
        "denied": pc.sum(pc.equal(verdicts, "deny")).as_py() or 0,
        "fills": ledger.read("fills", columns=("order_id",)).num_rows,
        "mlflow_runs": _mlflow_runs(settings),
        "account": _account(ledger),
        "performance": performance(settings, ledger),
        "last_order": _last_order(ledger),
        "provenance": _provenance(settings),
    }


def _ingested(ledger: Ledger, table: str) -> dict[str, int]:
    """Rows of all done batches of ingest into a table; they add up: in = accepted + quarantined + duplicates."""
    mine = (pc.field("job") == "ingest") & (pc.field("phase") == "done")
    payloads = ledger.read("batches", columns=("payload",), where=mine)["payload"].to_pylist()
    summaries = [summary for summary in map(json.loads, payloads) if summary["table"] == table]
    return {key: sum(summary[key] for summary in summaries) for key in _ROWS}


def _account(ledger: Ledger) -> dict[str, Any]:
    """The account after the last bar; `drawdown` is the one at that bar, `max_drawdown` the worst of the whole run."""
    rows = ledger.read("portfolio").sort_by("bar_time")
    if not rows.num_rows:
        return {}
    last = rows.slice(rows.num_rows - 1).to_pylist()[0]
    shown = ("bar_time", "equity", "cash", "realised", "unrealised", "fees", "drawdown", "trading_state", "provenance")
    return {**{key: last[key] for key in shown}, "max_drawdown": pc.max(rows["drawdown"]).as_py()}


def _last_order(ledger: Ledger) -> str | None:
    """An order that was filled, for a user who wants to see one explained."""
    fills = ledger.read("fills", columns=("order_id", "fill_time")).sort_by([("fill_time", "descending")])
    return str(fills["order_id"][0]) if fills.num_rows else None


def _mlflow_runs(settings: Settings) -> int:
    with reachable(settings.tracking_uri):
        client = tracking_of(settings).client
        experiment = client.get_experiment_by_name(settings.mlflow.experiment)
        if experiment is None:
            return 0
        count, token = 0, None
        while True:
            page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
            count, token = count + len(page), page.token
            if not token:
                return count


def _provenance(settings: Settings) -> str:
    """What the prices are, for every summary that shows a price or a profit."""
    daily = [s.name for s in settings.sources if isinstance(s, ReplaySource) and s.kind == "daily"]
    if not daily:
        return "recorded data as named in the sources"
    return f"real daily bars, intraday path simulated ({', '.join(daily)})"
