"""A desk of six strategies and two policies, and made-up markets of any size for it."""

from __future__ import annotations

import numpy as np

from qts.market.bar import FIELDS, BarPanel
from qts.pipeline.deskplan import configuration, trade_config
from qts.risk.limits import RiskLimits
from qts.settings import Settings
from qts.trading import controls
from qts.trading.decide import Rules, decide, open_account
from qts.trading.propose import Desk
from qts.trading.settle import SettleConfig
from qts.trading.universe import Universe

DAY = 86_400_000_000_000
STRATEGIES = {
    "ewma_cross": {"class": "EwmaCross"},
    "momentum": {"class": "TimeSeriesMomentum"},
    "breakout": {"class": "ChannelBreakout"},
    "bollinger": {"class": "BollingerReversion"},
    "rsi": {"class": "RsiReversion"},
    "volatility_target": {"class": "VolatilityTarget"},
}


def desk_of() -> tuple[Desk, RiskLimits]:
    """Six strategies, Thompson sampling and LinUCB, and the limits of conf/risk.yml."""
    chosen = {"strategies": STRATEGIES, "policies": {"thompson": {}, "linucb": {}}, "acting": "thompson"}
    config = trade_config(configuration(Settings()) | chosen)
    return config.desk, config.limits


def market(instruments: int, bars: int, seed: int = 0) -> BarPanel:
    """Daily bars of independent random walks, 1% a day."""
    rng = np.random.default_rng(seed)
    shape = (bars, instruments)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, shape), axis=0))
    opened = close * np.exp(rng.normal(0, 0.002, shape))
    values = {field: np.full(shape, np.nan) for field in FIELDS}
    values |= {
        "open": opened,
        "high": np.maximum(opened, close) * 1.003,
        "low": np.minimum(opened, close) * 0.997,
        "close": close,
        "volume": np.full(shape, 1e6),
        "vwap": close,
        "trades": np.full(shape, 4.0),
        "realised_variance": np.full(shape, 1e-4),
    }
    names = tuple(f"I{number:05d}" for number in range(instruments))
    return BarPanel(names, (20_000 + np.arange(bars)) * DAY, values)


def part(panel: BarPanel, start: int, stop: int) -> BarPanel:
    """Some bar times of a panel."""
    values = {name: rows[start:stop] for name, rows in panel.values.items()}
    return BarPanel(panel.instruments, panel.times[start:stop], values)


class Run:
    """An account that is taken through a market, a step at a time."""

    def __init__(self, desk: Desk, limits: RiskLimits, panel: BarPanel) -> None:
        self.desk, self.panel = desk, panel
        universe = Universe.plain(panel.instruments)
        settle = SettleConfig.of(limits, "bench", "simulated_path")
        self.rules = Rules(universe, limits.arrays(universe.names), controls.none(len(universe)), settle)
        self.account = open_account(desk, universe, 1000.0 * 1000 * len(universe))
        self.at = 0
        self.orders = 0

    def step(self) -> None:
        """The next bar, in a call of its own, as live trading decides."""
        self.account, record = decide(self.desk, self.account, part(self.panel, self.at, self.at + 1), self.rules)
        self.at += 1
        if "orders" in record.tables():
            self.orders += len(record.columns("orders")["order_id"])
