"""How the account has done, beside the same instruments bought once and held."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc

from qts.backtest.benchmark import buy_and_hold
from qts.backtest.calendar import periods_per_year
from qts.backtest.metrics import of_returns
from qts.market.bar import FIELDS, Array, IntArray
from qts.pipeline.deskplan import configuration, side_versions, trade_config, universe
from qts.pipeline.experiments import plain
from qts.pipeline.trade_batch import panel_of
from qts.settings import Settings
from qts.store.ledger import Ledger

_FIGURES = ("total_return", "annual_return", "volatility", "sharpe", "max_drawdown")


def performance(settings: Settings, ledger: Ledger) -> dict[str, Any]:
    """Return and risk of the account and of buying and holding, over the bars that were decided on; net of costs.

    The benchmark takes all tradable instruments in equal parts, decided at the first bar and filled at the next price.

    Returns:
        account and buy_and_hold: {total_return, annual_return, volatility, sharpe, max_drawdown}, the last at most 0,
        None where a figure is not defined;
        from, to: bar times; instruments: how many are held; provenance: of the prices. Empty before a second bar.
    """
    config = trade_config(configuration(settings))
    label = next(name for name, length in config.intervals.items() if length == config.decision)
    columns = ("instrument", "bar_time", "provenance", *FIELDS)
    rows = ledger.read("bars", columns=columns, where=pc.field("interval") == label).to_pandas()
    account = ledger.read("portfolio", columns=("bar_time", "equity")).sort_by("bar_time")
    known = universe(ledger, side_versions(ledger))
    rows = rows[rows["instrument"].isin(np.array(known.names)[known.tradable])]
    if account.num_rows < 2 or rows["bar_time"].nunique() < 2:
        return {}
    rows["bar_time"] = rows["bar_time"].astype("datetime64[ns, UTC]").astype("int64")
    panel = panel_of(rows, tuple(sorted(rows["instrument"].unique())))
    held = buy_and_hold(panel, 0, len(panel), config.limits.execution)
    times = account["bar_time"].to_numpy().astype("datetime64[ns]").astype(np.int64)
    equity = account["equity"].to_numpy()
    return {
        "account": _figures(np.diff(equity, prepend=config.cash) / np.concatenate([[config.cash], equity[:-1]]), times),
        "buy_and_hold": _figures(held, panel.times),
        "from": account["bar_time"][0].as_py(),
        "to": account["bar_time"][-1].as_py(),
        "instruments": len(panel.instruments),
        "provenance": "simulated_path" if (rows["provenance"] == "simulated_path").any() else "real",
    }


def _figures(returns: Array, times: IntArray) -> dict[str, float | None]:
    figures = of_returns(returns, periods_per_year(times))
    return dict(plain({name: figures[name] for name in _FIGURES}))
