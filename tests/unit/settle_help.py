"""An account that settles bar by bar, for tests."""

from dataclasses import replace

import numpy as np

from qts.execution.costs import Execution
from qts.market.bar import FIELDS, Bar
from qts.portfolio.accounting import Book
from qts.portfolio.sizing import Sizing
from qts.risk.limits import RiskLimits
from qts.trading import controls
from qts.trading.controls import Controls
from qts.trading.record import Recorder
from qts.trading.settle import SettleConfig, settle
from qts.trading.universe import Universe

DAY = 86_400_000_000_000
NAMES = ("AAA", "BBB")
TWO = Universe.plain(NAMES)
FREE = Execution(fee_bps=0, half_spread_bps=0, slippage_bps=0, impact=0, participation=1)
PLAIN = SettleConfig("acc", sizing=Sizing(weighting="equal", rebalance_band=0), execution=FREE)
NONE = controls.none(2)


def bar(day: int, close, open_=None, **values) -> Bar:
    blank = {name: np.full(len(close), np.nan) for name in FIELDS}
    close = np.array(close, dtype=float)
    open_ = close if open_ is None else np.array(open_, dtype=float)
    prices = {"close": close, "open": open_, "high": np.fmax(open_, close), "low": np.fmin(open_, close)}
    return Bar(day * DAY, **(blank | prices | {name: np.array(v, dtype=float) for name, v in values.items()}))


class Desk:
    """An account of 1,000 with all that it has written."""

    def __init__(self, config: SettleConfig = PLAIN, universe: Universe = TWO, cash: float = 1000.0, **limits) -> None:
        self.config, self.universe, self.record = config, universe, Recorder()
        self.limits = RiskLimits.parse(limits).arrays(universe.names)
        self.book = Book.for_universe(universe, cash)

    def step(self, at: Bar, targets, now: Controls | None = None, names=None) -> Book:
        names = names or ["ewma"] * len(self.universe)
        now = now or controls.none(len(self.universe))
        self.book = settle(
            self.book, at, np.array(targets, float), names, self.config, self.limits, now, self.record, self.universe
        )
        return self.book

    def rows(self, name: str, *columns: str) -> list[tuple]:
        held = self.record.columns(name)
        return list(zip(*(held[column].tolist() for column in columns), strict=True)) if held else []

    def events(self) -> list[tuple]:
        return self.rows("order_events", "order_id", "bar_time", "event", "quantity")


def halted(*scopes: str, action: str = "halt", resumes: int = 0) -> Controls:
    rows = [{"control_id": f"{i}", "at": i, "action": action, "scope": scope} for i, scope in enumerate(scopes)]
    return replace(controls.fold(rows, NAMES), resumes=resumes)
