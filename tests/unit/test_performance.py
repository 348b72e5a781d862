"""The account beside buying and holding, from the tables that trading has written."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console

from qts.commands.demo import beside
from qts.pipeline.batches import BatchLog
from qts.pipeline.performance import performance
from qts.pipeline.trade import outcome_rows
from qts.settings import Settings
from qts.store.ledger import Ledger

from .desk_help import Trading, control, market


def test_the_account_stands_beside_the_same_instruments_bought_and_held(tmp_path):
    settings = Settings(workdir=tmp_path, bars={"intervals": ["1s", "1m"], "decision": "1m"}, trade={"cash": 100_000})
    trading = Trading.at(settings.tables)
    assert performance(settings, trading.ledger) == {}
    ticks = market(1, 20)
    log = BatchLog(trading.ledger, "trade", "checkpoint")
    log.plan(0, dict)
    outcome = trading.batch(ticks, ticks)
    for name, rows in outcome_rows(outcome).items():
        log.append(name, 0, rows)
    assert performance(settings, trading.ledger) == {}  # the batch is not done
    log.done(0, {})

    found = performance(settings, Ledger(settings.tables))
    equity = outcome.record.columns("portfolio")["equity"]
    assert found["account"]["total_return"] == pytest.approx(equity[-1] / 100_000 - 1)
    assert found["account"]["max_drawdown"] == pytest.approx(
        (equity / np.maximum.accumulate(np.append(100_000, equity))[1:] - 1).min()
    )
    minutes = outcome.bars[outcome.bars["interval"] == "1m"].sort_values("bar_time")
    growth = []
    for _, own in minutes.groupby("instrument"):
        # Bought at the open of its second bar, for 1 basis point each of fee, half-spread and slippage.
        growth.append(own["close"].iloc[-1] / own["open"].iloc[1] * (1 - 3e-4))
    assert found["buy_and_hold"]["total_return"] == pytest.approx(np.mean(growth) - 1)
    assert (found["instruments"], found["provenance"]) == (len(growth), "real")


def test_an_account_that_never_traded_has_no_sharpe_ratio(tmp_path):
    settings = Settings(workdir=tmp_path, bars={"intervals": ["1s", "1m"], "decision": "1m"}, trade={"cash": 100_000})
    trading = Trading.at(settings.tables)
    control(trading.ledger, "halt", 1)
    log, ticks = BatchLog(trading.ledger, "trade", "checkpoint"), market(1, 20)
    log.plan(0, dict)
    for name, rows in outcome_rows(trading.batch(ticks, ticks)).items():
        log.append(name, 0, rows)
    log.done(0, {})
    found = performance(settings, trading.ledger)
    assert (found["account"]["total_return"], found["account"]["sharpe"]) == (0.0, None)
    assert found["buy_and_hold"]["sharpe"] is not None


def test_the_lines_say_what_their_prices_are(capsys):
    figures = {"total_return": 0.5, "annual_return": 0.1, "sharpe": None, "max_drawdown": -0.2}
    both = {"account": figures, "buy_and_hold": figures, "instruments": 3}
    for provenance, told in (("simulated_path", "simulated path"), ("real", "replayed")):
        beside(Console(width=120), both | {"provenance": provenance})
        out = capsys.readouterr().out
        assert [line.split() for line in out.splitlines()[1:3]] == [
            ["account", "+50.0%", "+10.0%", "-", "-20.0%"],
            ["buy", "and", "hold", "+50.0%", "+10.0%", "-", "-20.0%"],
        ]
        assert f"prices: {told}. Buy and hold: the same 3 instruments" in out
