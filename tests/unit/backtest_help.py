"""Markets and terms for tests of backtests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from qts.backtest.experiment import Experiment
from qts.backtest.market import Market, market_of
from qts.strategy.base import Strategy


def closes(bars: int, instruments: int, seed: int, drift: float = 0.0) -> pd.DataFrame:
    """Daily closes of independent random walks, wide."""
    rng = np.random.default_rng(seed)
    walk = np.exp(np.cumsum(rng.normal(drift, 0.01, (bars, instruments)), axis=0))
    dates = pd.bdate_range("2001-01-01", periods=bars).strftime("%Y-%m-%d")
    return pd.DataFrame(100 * walk, columns=[f"I{n}" for n in range(instruments)]).assign(Date=dates)


def long_bars(bars: int, instruments: int, seed: int) -> pd.DataFrame:
    """Daily bars with opens, highs, lows and volumes, long; some are missing, some have no volume."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(instruments):
        close = 100 * np.exp(np.cumsum(rng.standard_t(4, bars) * 0.01))
        opened = close * np.exp(rng.normal(0, 0.004, bars))
        frame = pd.DataFrame(
            {
                "instrument": f"I{number}",
                "timestamp": pd.bdate_range("2001-01-01", periods=bars, tz="UTC"),
                "open": opened,
                "high": np.maximum(opened, close) * 1.002,
                "low": np.minimum(opened, close) * 0.998,
                "close": close,
                "volume": np.where(rng.random(bars) < 0.03, 0.0, np.round(rng.exponential(40_000, bars))),
            }
        )
        frames.append(frame[rng.random(bars) > 0.05])
    return pd.concat(frames, ignore_index=True)


def market(bars: int = 300, instruments: int = 4, seed: int = 0) -> Market:
    """The panel of `long_bars`."""
    return market_of(long_bars(bars, instruments, seed), "x")


def one(strategy: Strategy, **changes: Any) -> Experiment:
    """An experiment with one strategy."""
    return replace(Experiment("one", {"one": strategy}), **changes)
