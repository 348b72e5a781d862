"""A small market, a desk with both policies, and what a trade batch needs, for the tests of the decision path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from qts.bandit.registry import build_policy
from qts.market import bars
from qts.market.bar import FIELDS, BarPanel
from qts.market.frontier import STRETCH
from qts.pipeline.trade_batch import Outcome, TradeState, trade
from qts.risk.limits import RiskLimits
from qts.store.columns import to_arrow
from qts.store.ledger import Ledger
from qts.strategy import registry
from qts.trading import controls
from qts.trading.decide import Rules, in_process
from qts.trading.propose import Desk
from qts.trading.record import Recorder
from qts.trading.settle import SettleConfig
from qts.trading.universe import Universe

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
START = 1_700_000_040 * SECOND  # on a whole minute
NAMES = ("AA", "BB", "CC", "DD", "EE")
STRATEGIES: dict[str, dict[str, Any]] = {
    "flat": {"class": "Flat"},
    "hold": {"class": "BuyAndHold"},
    "cross": {"class": "EwmaCross", "fast": 2, "slow": 4},
    "bands": {"class": "BollingerReversion", "length": 3, "entry": 0.5},
    "forecast": {"class": "ForecastVolatility", "model": "log_har", "target": 0.01, "span": 3},
}
POLICIES: dict[str, dict[str, Any]] = {"thompson": {"forgetting": 0.98}, "linucb": {"alpha": 1.0}}
RISK: dict[str, Any] = {"max_order_notional": 20_000, "max_gross_exposure": 150_000}


def desk_of(
    strategies: Mapping[str, Any] = STRATEGIES, policies: Sequence[str] = tuple(POLICIES), **changes: Any
) -> Desk:
    built = {name: build_policy(name, POLICIES[name]) for name in policies}
    desk = Desk(registry.build(strategies), built, acting=policies[0], seed=11, cost=0.0005)
    return replace(desk, **changes)


def rules_of(names: Sequence[str], now: controls.Controls | None = None) -> Rules:
    universe, limits = Universe.plain(names, lot_size=0.01), RiskLimits.parse(RISK)
    return Rules(
        universe,
        limits.arrays(universe.names),
        now or controls.none(len(names)),
        SettleConfig.of(limits, "acc", "real"),
    )


def panel_of(
    seed: int, length: int, names: Sequence[str] = NAMES, missing: float = 0.15, volume: float = 1000
) -> BarPanel:
    """Prices that jump now and then, with bars missing; an instrument's bars do not depend on the other ones."""
    values = {field: np.full((length, len(names)), np.nan) for field in FIELDS}
    extra = np.full((length, len(names)), np.nan)
    for column, name in enumerate(names):
        random = np.random.default_rng([seed, *name.encode()])
        close = 50 * np.exp(np.cumsum(random.standard_t(3, length) * 0.01))
        here = random.random(length) >= missing
        opened = close * np.exp(random.normal(0, 0.003, length))
        drawn = {
            "close": close,
            "open": opened,
            "high": np.maximum(close, opened) * 1.001,
            "low": np.minimum(close, opened) * 0.999,
            "volume": random.exponential(volume, length),
            "spread": close * 0.0004,
            "trades": np.ceil(random.exponential(20, length)),
        }
        for field, column_values in drawn.items():
            values[field][here, column] = column_values[here]
        extra[:, column] = np.where(random.random(length) < 0.5, random.exponential(1e-4, length), np.nan)
    times = START + MINUTE * np.arange(1, length + 1, dtype=np.int64)
    return BarPanel(tuple(names), times, values, {"forecast.log_har.variance": extra})


def part_of(panel: BarPanel, rows: slice) -> BarPanel:
    def cut(arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {name: values[rows] for name, values in arrays.items()}

    return BarPanel(panel.instruments, panel.times[rows], cut(panel.values), cut(panel.extra))


def rows_of(records: Sequence[Recorder]) -> dict[str, list[str]]:
    """Everything that was recorded, table by table."""
    names = sorted({name for record in records for name in record.tables()})
    tables = {name: [to_arrow(name, r.columns(name)) for r in records if name in r.tables()] for name in names}
    return {name: as_text(pa.concat_tables(parts)) for name, parts in tables.items()}


def as_text(rows: pa.Table) -> list[str]:
    """Rows in an order of their own, as text that tells every bit."""
    plain = [rows[c].cast(pa.int64()) if pa.types.is_timestamp(rows[c].type) else rows[c] for c in rows.schema.names]
    return sorted(map(str, zip(*(column.to_pylist() for column in plain), strict=True)))


def assert_states_equal(left: Mapping[str, Any], right: Mapping[str, Any]) -> None:
    assert left.keys() == right.keys()
    for key in left:
        np.testing.assert_array_equal(left[key], right[key], err_msg=key)
        assert left[key].dtype == right[key].dtype, key


def market(seed: int, minutes: int, names: Sequence[str] = NAMES[:3], start: int = START) -> pd.DataFrame:
    """Trades in time order, about three a minute and instrument, from one source an instrument."""
    random = np.random.default_rng(seed)
    parts = []
    for name in names:
        count = 3 * minutes
        ns = np.sort(random.integers(0, minutes * MINUTE, count)) + start
        price = np.round(50 * np.exp(np.cumsum(random.normal(0, 0.004, count))), 4)
        size = np.round(random.exponential(3000, count), 3)
        parts.append(pd.DataFrame({"instrument": name, "ns": ns, "price": price, "size": size}))
    return pd.concat(parts).sort_values("ns", ignore_index=True).assign(source="feed")


def partials_of(ticks: pd.DataFrame) -> pd.DataFrame:
    """What the native aggregation gives: one row a source, instrument and second."""
    rows = [
        {
            "source": source,
            "instrument": name,
            "kind": "trade",
            "slot": slot,
            "open_key": group["ns"].iloc[0] % SECOND,
            "open": group["price"].iloc[0],
            "close_key": group["ns"].iloc[-1] % SECOND,
            "close": group["price"].iloc[-1],
            "high": group["price"].max(),
            "low": group["price"].min(),
            "rows": len(group),
            "volume_whole": int(np.floor(group["size"]).sum()),
            "volume_part": int(np.round(group["size"] % 1 * bars.QUANTUM).sum()),
            "value_whole": int(np.floor(group["size"] * group["price"]).sum()),
            "value_part": int(np.round(group["size"] * group["price"] % 1 * bars.QUANTUM).sum()),
            "spread_parts": 0,
            "simulated": False,
            "newest_ns": group["ns"].max(),
        }
        for (source, name, slot), group in ticks.sort_values("ns").groupby(
            ["source", "instrument", ticks["ns"] // SECOND]
        )
    ]
    return pd.DataFrame(rows) if rows else bars.no_partials().assign(source="", newest_ns=np.int64(0))


def totals_of(ticks: pd.DataFrame, reached: int) -> pd.DataFrame:
    """What there is from a time on, as `qts.pipeline.backlog` counts it."""
    stretch = ticks.loc[ticks["ns"] >= reached, "ns"] // STRETCH
    return (
        stretch.rename("stretch")
        .to_frame()
        .groupby("stretch", as_index=False)
        .size()
        .set_axis(["stretch", "rows"], axis=1)
    )


def declare(ledger: Ledger, names: Sequence[str]) -> None:
    """Adds instruments to their table."""
    count = len(names)
    columns = {
        "instrument": list(names),
        "currency": ["USD"] * count,
        "multiplier": [1.0] * count,
        "inverse": [False] * count,
        "lot_size": [0.01] * count,
        "tick_size": [0.0] * count,
        "price_from": ["trade"] * count,
        "tradable": [True] * count,
    }
    ledger.append("instruments", pa.table(columns))


def control(ledger: Ledger, action: str, number: int, scope: str = "*") -> None:
    at = pa.array([datetime(2024, 1, 1, 0, 0, number, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    row = {"control_id": [f"c{number}"], "action": [action], "scope": [scope], "reason": ["test"], "actor": ["me"]}
    ledger.append("controls", pa.table({**row, "at": at}))


@dataclass
class Trading:
    """A row of trade batches, driven by hand; every state goes through its bytes, as between two processes."""

    ledger: Ledger
    state: TradeState
    buckets: int = 3
    allowance: int = 0
    idle_timeout: int = 10 * MINUTE

    @classmethod
    def at(cls, root: Path, names: Sequence[str] = NAMES[:3], **settings: int) -> Trading:
        ledger = Ledger(root)
        declare(ledger, names)
        return cls(ledger, TradeState.empty(), **settings)

    def plan(self, now_ns: int, *, once: bool = False) -> dict[str, Any]:
        config = {
            "strategies": STRATEGIES,
            "policies": POLICIES,
            "acting": "thompson",
            "seed": 5,
            "reward_cost": 0.0005,
            "risk": RISK,
            "account": "acc",
            "cash": 100_000.0,
            "buckets": self.buckets,
            "intervals": ["1s", "1m"],
            "decision": "1m",
            "allowance": self.allowance,
            "idle_timeout": self.idle_timeout,
        }
        tables = ("batches", "instruments", "controls", "forecasts", "indices")
        versions = {name: self.ledger.version(name) for name in tables}
        now = datetime.fromtimestamp(now_ns / SECOND, UTC).isoformat()
        return {"now": now, "config": config, "versions": versions, "once": once}

    def batch(
        self,
        ticks: pd.DataFrame,
        whole: pd.DataFrame | None = None,
        now: int = START,
        backlog: pd.DataFrame | None = None,
    ) -> Outcome:
        """A batch of a finite input, the whole of which is given, or of a live run that began with a backlog."""
        known = whole if whole is not None else backlog
        totals = None if known is None else totals_of(known, self.state.reached)
        plan = self.plan(now, once=whole is not None)
        outcome = trade(self.ledger, plan, self.state, partials_of(ticks), totals, in_process)
        self.state = TradeState.of_parts(outcome.state.to_parts())
        return outcome
