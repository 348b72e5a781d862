"""Recorded bars backtested under the configuration that trades, and every order compared with the ledger's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qts.errors import MissingInput
from qts.market.bar import BarPanel
from qts.pipeline.deskplan import configuration, rules, side_versions, trade_config, universe
from qts.pipeline.sidetables import extras
from qts.pipeline.trade_batch import panel_of
from qts.settings import Settings
from qts.store.columns import to_arrow
from qts.store.ledger import Ledger
from qts.store.tables import table
from qts.trading.decide import decide, open_account
from qts.trading.record import Recorder

#: What an order is: all that was decided about it.
COLUMNS = (
    "order_id",
    "bar_time",
    "instrument",
    "strategy",
    "side",
    "type",
    "requested",
    "quantity",
    "price",
    "verdict",
)


def run(settings: Settings) -> dict[str, Any]:
    """Backtests what `qts trade` has recorded in one call of the decision step.

    Manual controls are taken as they are now, from the first bar on; so are strategies, policies and limits.

    Returns:
        orders and ledger_orders: how many; differing: how many are not the same to the last bit; first_difference: both
        forms of the first of them; identical.

    Raises:
        MissingInput: there are no bars to decide on.
    """
    ledger = Ledger(settings.tables)
    backtested = _as_rows(backtest(settings, ledger))
    traded = _as_rows(ledger.read("orders", columns=COLUMNS))
    differing = sorted(
        order for order in backtested.keys() | traded.keys() if backtested.get(order) != traded.get(order)
    )
    summary: dict[str, Any] = {
        "orders": len(backtested),
        "ledger_orders": len(traded),
        "differing": len(differing),
        "identical": not differing,
    }
    if differing:
        first = differing[0]
        summary["first_difference"] = {"backtest": backtested.get(first), "ledger": traded.get(first)}
    return summary


def backtest(settings: Settings, ledger: Ledger) -> pa.Table:
    """The orders of a backtest of all recorded bars, with the columns of `COLUMNS`."""
    config = trade_config(configuration(settings))
    label = next(name for name, length in config.intervals.items() if length == config.decision)
    rows = ledger.read("bars", where=pc.field("interval") == label).to_pandas()
    if rows.empty:
        raise MissingInput(
            f"There are no {label} bars in {settings.tables}; run `qts trade` first, or name its --workdir."
        )
    rows["bar_time"] = rows["bar_time"].astype("datetime64[ns, UTC]").astype("int64")
    versions = side_versions(ledger)
    known = universe(ledger, versions)
    panel = panel_of(rows, known.names)
    beside = extras(ledger, versions, known.names, panel.times, config.decision)
    panel = BarPanel(panel.instruments, panel.times, panel.values, beside)
    simulated = bool((rows["provenance"] == "simulated_path").any())
    held = rules(ledger, config, versions, known, "simulated_path" if simulated else "real")
    record = Recorder()
    decide(config.desk, open_account(config.desk, known, config.cash), panel, held, record=record)
    columns = record.columns("orders") if "orders" in record.tables() else {}
    if not columns:
        return table("orders").schema.empty_table().select(list(COLUMNS))
    return to_arrow("orders", {name: np.asarray(columns[name]) for name in COLUMNS})


def _as_rows(orders: pa.Table) -> dict[str, str]:
    """By order id, as text that tells every bit."""
    return {row["order_id"]: repr(row) for row in orders.to_pylist()}
