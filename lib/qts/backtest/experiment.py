"""One experiment: the live decision step over a stretch of history, and what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from qts.backtest.fills import NextPrice
from qts.backtest.market import Market
from qts.backtest.scenario import apply
from qts.backtest.trades import Trades, round_trips
from qts.bandit.base import Choice, Policy
from qts.errors import DataError
from qts.market.bar import Array, Bar, BarPanel, IntArray, State
from qts.risk.limits import RiskLimits
from qts.strategy.base import Strategy
from qts.trading import controls
from qts.trading.decide import Rules, decide, open_account
from qts.trading.propose import Desk
from qts.trading.record import Recorder
from qts.trading.settle import SettleConfig
from qts.trading.universe import Universe

_YEAR = 365.25 * 86_400_000_000_000

#: Name, kind, scenario, trials and identity of an experiment.
About = tuple[str, str, str, int, str]


@dataclass(frozen=True)
class Terms:
    """What holds for all experiments of a study.

    Attributes:
        cash: to begin with.
        risk: limits, sizing and execution costs; by default no limit binds but the sizing's budget, for a limit in
            account currency would cut one strategy and not another.
        lot_size: smallest quantity; small by default, for adjusted prices are not what a share has cost.
        borrow: cost of being short, share of the position's value a year.
        reward_cost: of turning over a position of 1, in the policies' rewards.
        seed: of the policies' draws.
        hold: bars for which a policy keeps the strategy that it has chosen.
    """

    cash: float = 1_000_000.0
    risk: RiskLimits = field(default_factory=lambda: RiskLimits(min_cash=None))
    lot_size: float = 1e-4
    borrow: float = 0.005
    reward_cost: float = 0.0005
    seed: int = 7
    hold: int = 1

    def universe(self, names: Sequence[str]) -> Universe:
        """The instruments, linear and tradable."""
        return Universe.plain(names, lot_size=self.lot_size)


@dataclass(frozen=True)
class Experiment:
    """A strategy, or a policy that chooses among strategies, on some instruments over a window in a scenario.

    Attributes:
        name: of the strategy or policy.
        strategies: the one, or the policy's arms.
        policy: None for a strategy on its own.
        instruments: empty for all of the file.
        first, stop: bar times that are traded and measured, as indices; strategies see those before `first`, too, and
            policies learn from them. None for the beginning and the end.
        scenario: name of a shock, see `qts.backtest.scenario`.
        trials: how many variants were looked at to arrive at this one; a search counts all its candidates.
        note: what a reader has to know of it.
    """

    name: str
    strategies: Mapping[str, Strategy]
    policy: Policy | None = None
    instruments: tuple[str, ...] = ()
    first: int | None = None
    stop: int | None = None
    scenario: str = "history"
    trials: int = 1
    note: str = ""

    @property
    def kind(self) -> str:
        """`strategy` or `policy`."""
        return "strategy" if self.policy is None else "policy"

    def identity(self, terms: Terms, fingerprint: str) -> str:
        """The same for the same experiment on the same data, and for no other one."""
        what = {
            "name": self.name,
            "strategies": {name: repr(strategy) for name, strategy in self.strategies.items()},
            "policy": repr(self.policy),
            "instruments": self.instruments,
            "window": [self.first, self.stop],
            "scenario": self.scenario,
            "terms": {**asdict(replace(terms, risk=RiskLimits())), "risk": terms.risk.model_dump(mode="json")},
            "data": fingerprint,
        }
        return hashlib.blake2b(json.dumps(what, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What came of an experiment, bar by bar over the T bar times that were measured.

    Attributes:
        name, kind, scenario, trials: as in the experiment.
        identity: see `Experiment.identity`.
        times: bar ends, ns UTC, shape (T,).
        returns: of the account, net of all costs, simple, shape (T,).
        gross, net: exposure as a share of equity after each bar, shape (T,).
        turnover: value traded as a share of equity, shape (T,).
        trades: round trips.
        fills, orders: counts.
        fill_share: traded share of the volume of each filled bar, shape (fills,); NaN where volumes are unknown.
        notes: what a reader has to know.
        error: why there is none of this; else empty.
    """

    name: str
    kind: str
    scenario: str
    trials: int
    identity: str
    times: IntArray
    returns: Array
    gross: Array
    net: Array
    turnover: Array
    trades: Trades
    fills: int
    orders: int
    fill_share: Array
    notes: tuple[str, ...] = ()
    error: str = ""

    @property
    def equity(self) -> Array:
        """Growth of one unit, shape (T,)."""
        return np.asarray(np.cumprod(1.0 + self.returns))


def run(experiment: Experiment, market: Market, terms: Terms) -> Outcome:
    """Runs one experiment. One that fails says why and harms no other."""
    identity = experiment.identity(terms, market.fingerprint)
    about = (experiment.name, experiment.kind, experiment.scenario, experiment.trials, identity)
    try:
        return _run(experiment, market, terms, about)
    except Exception as error:
        nothing = np.empty(0)
        reason = f"{type(error).__name__}: {error}"
        none = np.empty(0, dtype=np.int64)
        return Outcome(*about, none, nothing, nothing, nothing, nothing, Trades.none(), 0, 0, nothing, error=reason)


def _run(experiment: Experiment, market: Market, terms: Terms, about: About) -> Outcome:
    if experiment.instruments:
        market = market.only(experiment.instruments, every_time=True)
    panel, risk = apply(experiment.scenario, market.panel, terms.risk)
    first, stop = experiment.first or 0, experiment.stop or len(panel)
    if not 0 <= first < stop - 1 < len(panel):
        raise DataError(f"The window of bars {first} to {stop} has not two of the {len(panel)} bars there are.")
    universe = terms.universe(panel.instruments)
    desk = _desk(experiment, terms)
    settle = SettleConfig("backtest", "backtest", risk.sizing, risk.execution, NextPrice(risk.execution))
    rules = Rules(universe, risk.arrays(universe.names), controls.none(len(universe)), settle)
    account = open_account(desk, universe, terms.cash)
    if first:
        # Before the window all is as in it, but that the account is halted: what would be warm live is warm here.
        halted = controls.Controls(
            "halted", np.full(len(universe), controls.HALTED, dtype=np.int8), rules.controls.flattened
        )
        account, _ = decide(desk, account, part(panel, 0, first), replace(rules, controls=halted), record=_Kept())
    account, record = decide(desk, account, part(panel, first, stop), rules, record=_Kept())
    return _outcome(experiment, part(panel, first, stop), terms, record, about)


def _desk(experiment: Experiment, terms: Terms) -> Desk:
    strategies = {name: Checked(strategy) for name, strategy in experiment.strategies.items()}
    policy = experiment.policy or OnlyArm()
    return Desk(strategies, {experiment.name: policy}, experiment.name, terms.seed, terms.reward_cost, terms.hold)


def part(panel: BarPanel, first: int, stop: int) -> BarPanel:
    """Some bar times of a panel."""
    return BarPanel(
        panel.instruments,
        panel.times[first:stop],
        {name: values[first:stop] for name, values in panel.values.items()},
        {name: values[first:stop] for name, values in panel.extra.items()},
    )


class _Kept(Recorder):
    """Keeps what results are made of; the rest of the ledger would only cost memory."""

    tables_kept = frozenset({"portfolio", "fills", "orders"})

    def add(self, table: str, rows: int, **columns: Any) -> None:
        if table in self.tables_kept:
            super().add(table, rows, **columns)


@dataclass(frozen=True)
class OnlyArm:
    """The policy of a desk with one strategy: it takes it, and has nothing to learn."""

    def draws(self, arms: int) -> int:
        return 0

    def start(self, instruments: int, arms: int, features: int) -> State:
        return {}

    def probabilities(self, state: State, context: Array) -> Array:
        return np.ones((len(context), 1))

    def choose(self, state: State, context: Array, uniforms: Array) -> Choice:
        return Choice(np.zeros(len(context), dtype=np.int64), np.ones(len(context)))

    def learn(
        self,
        state: State,
        context: Array,
        arm: IntArray,
        reward: Array,
        propensity: Array | None = None,
        paper: Array | None = None,
    ) -> State:
        return state


@dataclass(frozen=True)
class Checked:
    """A strategy whose signals are looked at: one bad number would travel on as a position.

    Attributes:
        inner: the strategy.
    """

    inner: Strategy

    @property
    def reads(self) -> tuple[str, ...]:
        """Extras that the strategy asks for."""
        return tuple(getattr(self.inner, "reads", ()))

    def across(self, instruments: Sequence[str], close: Array) -> Mapping[str, Array]:
        """What the strategy reads of other instruments' closes; nothing, if it reads none."""
        across = getattr(self.inner, "across", None)
        return across(instruments, close) if across else {}

    def start(self, instruments: int) -> State:
        return self.inner.start(instruments)

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        """See `Strategy.step`.

        Raises:
            DataError: a signal of the wrong length, or one that is no number within -1 and 1.
        """
        after, signal = self.inner.step(state, bar)
        signal = np.asarray(signal, dtype=np.float64)
        if signal.shape != bar.close.shape:
            raise DataError(
                f"The signal at {np.datetime64(bar.time, 'ns')} has shape {signal.shape}, expected {bar.close.shape}."
            )
        if not (np.abs(signal) <= 1.0 + 1e-12).all():
            worst = signal[~(np.abs(signal) <= 1.0 + 1e-12)][0]
            raise DataError(f"The signal at {np.datetime64(bar.time, 'ns')} is {worst}, expected numbers from -1 to 1.")
        return after, signal


def _outcome(experiment: Experiment, panel: BarPanel, terms: Terms, record: Recorder, about: About) -> Outcome:
    account = record.columns("portfolio")
    equity, gross, net = account["equity"], account["gross"], account["net"]
    if (bad := np.flatnonzero(~(equity > 0))).size:
        raise DataError(
            f"The account was ruined at {np.datetime64(int(panel.times[bad[0]]), 'ns')}: equity {equity[bad[0]]:,.2f}."
        )
    before = np.concatenate([[terms.cash], equity[:-1]])
    returns = equity / before - 1.0 - short_cost(panel.times, (gross - net) / 2, before, terms.borrow)
    fills = record.columns("fills") if "fills" in record.tables() else {}
    turnover, share = np.zeros(len(panel)), np.empty(0)
    trades = Trades.none()
    if fills:
        row = np.searchsorted(panel.times, fills["fill_time"])
        column = np.searchsorted(np.array(panel.instruments, dtype=object), fills["instrument"])
        np.add.at(turnover, row, np.abs(fills["quantity"]) * fills["reference_price"])
        turnover /= before
        volume = panel.values["volume"][row, column]
        share = np.abs(fills["quantity"]) / np.where(volume > 0, volume, np.nan)
        last = _last_prices(panel)
        trades = round_trips(column, row, fills["quantity"], fills["price"], fills["fee"], last, len(panel) - 1, before)
    notes: tuple[str, ...] = (experiment.note,) if experiment.note else ()
    if not fills and gross.max(initial=0.0) == 0:
        notes += (
            f"Never held a position: its warm-up may be longer than the {len(panel):,} bars, or an input be missing.",
        )
    orders = len(record.columns("orders")["order_id"]) if "orders" in record.tables() else 0
    return Outcome(
        *about,
        panel.times,
        returns,
        gross / equity,
        net / equity,
        turnover,
        trades,
        len(fills["price"]) if fills else 0,
        orders,
        share,
        notes,
    )


def short_cost(times: IntArray, shorts: Array, equity: Array, rate: float) -> Array:
    """What borrowing costs, as a share of equity, for the time from each bar to the next, shape (T, ...).

    Args:
        times: bar ends, ns, shape (T,).
        shorts: value of short positions after each bar, shape (T, ...).
        equity: before each bar, shape (T, ...).
        rate: a year.
    """
    if rate == 0 or not shorts.any():
        return np.zeros_like(shorts)
    years = np.diff(times, prepend=times[:1]) / _YEAR
    held = np.concatenate([np.zeros_like(shorts[:1]), shorts[:-1]])
    return np.asarray(rate * years.reshape(-1, *[1] * (shorts.ndim - 1)) * held / equity)


def _last_prices(panel: BarPanel) -> Array:
    """The last close of each instrument, shape (N,)."""
    close = panel.values["close"]
    last = len(close) - 1 - np.isfinite(close)[::-1].argmax(axis=0)
    return np.asarray(close[last, np.arange(close.shape[1])])
