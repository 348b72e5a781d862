"""Many parameters at once: the arithmetic of the decision step, vectorised over parameter sets.

A loop over bars is left, for sizes depend on an equity that depends on all fills before; what happens within a bar is
done for all parameter sets and instruments together. It knows one strategy an account, market orders and no limits, and
is held to the decision step by a test, to within 1e-9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qts.backtest.experiment import Terms, short_cost
from qts.errors import ConfigError
from qts.execution.costs import half_spread, slippage
from qts.market.bar import Array, BarPanel
from qts.market.returns import log_return
from qts.portfolio.sizing import budgets
from qts.risk.limits import RiskLimits
from qts.strategy.base import Strategy, carry, ewma
from qts.strategy.sweep import signals
from qts.trading.across import with_others


def sweep(strategies: Sequence[Strategy], panel: BarPanel, terms: Terms) -> Array:
    """Returns of each strategy on an account of its own, net of costs, shape (T, P).

    Raises:
        ConfigError: limits bind, or orders are limit orders: only the decision step knows those.
    """
    panel, _ = with_others(strategies, panel)
    targets = np.stack([signals(strategy, panel) for strategy in strategies], axis=1)
    return returns_of(targets, panel, terms)


def returns_of(targets: npt.NDArray[np.number], panel: BarPanel, terms: Terms) -> Array:
    """Returns of accounts that follow targets, net of costs, shape (T, P).

    Args:
        targets: wanted share of each instrument's budget after each bar, -1 to 1, of any numeric type, shape (T, P, N).
        panel: bars, as `qts.backtest.market` prepares them.

    Raises:
        ConfigError: as for `sweep`.
    """
    _refuse_limits(terms.risk)
    bars = _prepare(panel, terms)
    execution, sizing, lot = terms.risk.execution, terms.risk.sizing, terms.lot_size
    count, accounts, instruments = targets.shape
    quantity, order = np.zeros((accounts, instruments)), np.zeros((accounts, instruments))
    cash = np.full(accounts, terms.cash)
    equity, shorts = np.empty((count, accounts)), np.empty((count, accounts))
    for t in range(count):
        ready = bars.ready[t]
        if ready.any():
            wanted = np.abs(order)
            allowed = bars.allowed[t]
            if np.isfinite(allowed).any():
                capped = np.floor(np.minimum(allowed, wanted) / lot + 1e-9) * lot
                wanted = np.where(wanted <= allowed, wanted, capped)
            size = np.where(ready, wanted, 0.0)
            side = np.sign(order)
            price = bars.fill[t] + side * (bars.half[t] + slippage(size, bars.fill[t], bars.volume[t], execution))
            value = side * size * price
            cash = cash - (value + size * price * (execution.fee_bps * 1e-4)).sum(axis=1)
            quantity = _whole(quantity + side * size, lot)
        worth = quantity * bars.price[t]
        equity[t] = cash + worth.sum(axis=1)
        shorts[t] = -np.minimum(worth, 0.0).sum(axis=1)
        here = bars.here[t]
        budget = bars.share[t] * (sizing.gross_budget * np.maximum(equity[t], 0.0))[:, None]
        target = np.clip(targets[t].astype(np.float64), -1.0, 1.0)
        raw = target * budget / bars.price[t]
        goal = np.sign(raw) * np.floor(np.abs(raw) / lot + 1e-9) * lot
        near = np.abs(goal - quantity) * bars.price[t] <= sizing.rebalance_band * budget
        goal = np.where(near & (goal != 0.0), quantity, goal)
        order = np.where(here, goal - quantity, order)
    before = np.concatenate([np.full((1, accounts), terms.cash), equity[:-1]])
    returns: Array = equity / before - 1.0 - short_cost(panel.times, shorts, before, terms.borrow)
    return returns


@dataclass(frozen=True)
class _Bars:
    """What is the same for all accounts, shape (T, N).

    Attributes:
        here: there is a bar to decide on.
        price: last good close; 1 before the first, when nothing can be held.
        ready, fill, half, volume, allowed: whether orders are filled, at which price, half-spread, and up to what size.
        share: of the gross budget.
    """

    here: npt.NDArray[np.bool_]
    price: Array
    ready: npt.NDArray[np.bool_]
    fill: Array
    half: Array
    volume: Array
    allowed: Array
    share: Array


def _prepare(panel: BarPanel, terms: Terms) -> _Bars:
    execution, sizing = terms.risk.execution, terms.risk.sizing
    close, opened, volume = (panel.values[name] for name in ("close", "open", "volume"))
    here = np.isfinite(close) & (close > 0)
    fill = np.where(np.isfinite(opened) & (opened > 0), opened, close)
    fill = np.where(volume == 0, np.nan, fill)
    ready = np.isfinite(fill) & (fill > 0)
    price, share = np.ones(close.shape), np.zeros(close.shape)
    last = variance = np.full(close.shape[1], np.nan)
    for t in range(len(close)):
        now = np.where(here[t], close[t], np.nan)
        variance = ewma(variance, np.square(log_return(last, now)), sizing.volatility_span)
        last = carry(last, now)
        known = np.isfinite(last)
        price[t] = np.where(known, last, 1.0)
        share[t] = budgets(np.sqrt(variance), known, sizing)
    allowed = np.where(volume > 0, execution.participation * volume, np.inf)
    fill = np.where(ready, fill, 1.0)
    return _Bars(here, price, ready, fill, half_spread(fill, panel.values["spread"], execution), volume, allowed, share)


def _whole(quantity: Array, lot: float) -> Array:
    """Whole lots where a sum of lots has missed them by rounding."""
    whole = np.rint(quantity / lot) * lot
    return np.where(np.abs(quantity - whole) < 1e-6 * lot, whole, quantity)


def _refuse_limits(risk: RiskLimits) -> None:
    free = RiskLimits(min_cash=None, sizing=risk.sizing, execution=risk.execution)
    if risk != free or risk.execution.order_type != "market":
        raise ConfigError(
            "A sweep knows market orders and no limits; run these terms through the decision step instead."
        )
