"""Backtests beside the live query: the same orders from the same bars, and experiments as Spark tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from backtest_help import market as made_up
from pyspark.sql import SparkSession
from trade_help import undisturbed

from qts.backtest.experiment import Experiment, Terms
from qts.backtest.runner import in_process
from qts.conf import conf_file
from qts.pipeline import ingest, parity, trade
from qts.pipeline.backtest import spark_runner
from qts.settings import Settings
from qts.strategy.controls import BuyAndHold, Random
from qts.strategy.trend import EwmaCross

CRYPTO = Path(__file__).resolve().parents[3] / "shared" / "data" / "market" / "crypto"


def test_a_backtest_of_what_was_traded_gives_the_same_orders(spark, tmp_path_factory):
    settings = undisturbed(tmp_path_factory)
    found = parity.run(settings)
    assert found["ledger_orders"] > 50
    assert found["identical"], found


def test_a_backtest_under_other_rules_is_not_the_same(spark, tmp_path_factory):
    settings = undisturbed(tmp_path_factory)
    found = parity.run(settings.model_copy(update={"trade": settings.trade.model_copy(update={"seed": 99})}))
    assert not found["identical"]
    assert found["differing"] > 0
    assert found["first_difference"]["backtest"] != found["first_difference"]["ledger"]


@pytest.mark.skipif(not CRYPTO.is_dir(), reason="the recorded ticks are not beside the checkout")
def test_recorded_ticks_streamed_and_their_bars_backtested_give_the_same_orders(spark, tmp_path, capsys):
    """Four minutes of bitcoin and ether, spot, as an exchange has sent them; a decision every second."""
    strategies = {
        "hold": {"class": "BuyAndHold"},
        "cross": {"class": "EwmaCross", "fast": 3, "slow": 10},
        "breakout": {"class": "ChannelBreakout", "entry": 10, "leave": 5},
    }
    (tmp_path / "strategies.yml").write_text(yaml.safe_dump({"strategies": strategies}, sort_keys=False))
    settings = Settings(
        workdir=tmp_path / "work",
        strategies=tmp_path / "strategies.yml",
        bars={"intervals": ["1s", "1m"], "decision": "1s"},
        trade={"cash": 10_000_000.0, "policies": {"linucb": {}, "thompson": {}}, "hold": 3},
    )
    for name in ("BTCUSDT", "ETHUSDT"):
        source = CRYPTO / f"trades_{name}_BINANCE_SPOT.parquet"
        ingest.run(settings, once=True, path=source, mapping=conf_file("mappings/crypto_trades.yml"))
    trade.run(settings, once=True)
    found = parity.run(settings)
    assert found["ledger_orders"] > 100
    assert found["identical"], found


def test_experiments_as_spark_tasks_give_the_same_bits(spark: SparkSession):
    seen = made_up(bars=80)
    chosen = [
        Experiment("cross", {"cross": EwmaCross(3, 8)}),
        Experiment("random", {"random": Random(hold=2)}),
        Experiment("fails", {"hold": BuyAndHold()}, instruments=("XX",)),
    ]
    spent: list[float] = []
    here, there = in_process(chosen, seen, Terms()), spark_runner(spark, spent)(chosen, seen, Terms())
    assert len(spent) == len(chosen)
    assert min(spent) >= 0 < sum(spent)
    for left, right in zip(here, there, strict=True):
        assert left.error == right.error
        assert left.identity == right.identity
        np.testing.assert_array_equal(left.returns, right.returns)
