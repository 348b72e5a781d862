"""Figures of a return series as their users know them, each one named for what it is.

Returns are simple, per bar and net of costs; the risk-free rate is 0. A figure that is not defined (no trade, no loss,
no variance) is NaN.
"""

from __future__ import annotations

import math

import numpy as np

from qts.backtest.trades import Trades
from qts.market.bar import Array

Metrics = dict[str, float]

_NAN = float("nan")


def of_returns(returns: Array, periods: float) -> Metrics:
    """Return, risk, and their ratios.

        annual_return  (1 + total)^(periods / T) - 1 (CAGR)
        volatility     sd * sqrt(periods), sd with T - 1
        sharpe         mean / sd * sqrt(periods)                  (Sharpe, 1966)
        sortino        mean / sqrt(mean(min(r, 0)^2)) * sqrt(periods)   (Sortino and Price, 1994)
        calmar         annual_return / |max_drawdown|             (Young, 1991)
        omega          sum of gains / sum of losses               (Keating and Shadwick, 2002)
        max_drawdown   least equity / highest before - 1, at most 0; max_drawdown_bars: longest time below a high
        var_95         5% quantile of returns; cvar_95: mean of those at or below it
        tail_ratio     95% quantile / |5% quantile|
        kelly          share of gains - share of losses / (mean gain / mean loss)   (Kelly, 1956)
        win_rate_bars  share of gains among bars that moved

    Args:
        returns: shape (T,).
        periods: bars a year.
    """
    count = len(returns)
    equity: Array = np.cumprod(1.0 + returns).astype(np.float64)
    total = float(equity[-1] - 1.0) if count else 0.0
    mean, sd = (float(returns.mean()), float(returns.std(ddof=1))) if count > 1 else (_NAN, _NAN)
    growth = math.log1p(total) * periods / count if count and total > -1.0 else _NAN
    annual = math.expm1(growth) if not growth > 700.0 else math.inf  # a day of minutes may grow beyond all numbers
    drawdown, longest = drawdowns(equity)
    gains, losses = returns[returns > 0], -returns[returns < 0]
    low, high = np.quantile(returns, [0.05, 0.95]) if count else (_NAN, _NAN)
    wins = _ratio(len(gains), len(gains) + len(losses))
    payoff = _ratio(float(gains.mean()), float(losses.mean())) if len(gains) and len(losses) else _NAN
    moved = sd > 1e-15
    return {
        "total_return": total,
        "annual_return": annual,
        "volatility": sd * periods**0.5,
        "sharpe": mean / sd * periods**0.5 if moved else _NAN,
        "sortino": _ratio(mean, float(np.mean(np.minimum(returns, 0.0) ** 2)) ** 0.5) * periods**0.5 if moved else _NAN,
        "calmar": _ratio(annual, -drawdown),
        "omega": _ratio(float(gains.sum()), float(losses.sum())),
        "max_drawdown": drawdown,
        "max_drawdown_bars": float(longest),
        "var_95": float(low),
        "cvar_95": float(returns[returns <= low].mean()) if count else _NAN,
        "tail_ratio": _ratio(float(high), abs(float(low))),
        "skew": float(np.mean(((returns - mean) / sd) ** 3)) if moved else _NAN,
        "kurtosis": float(np.mean(((returns - mean) / sd) ** 4)) if moved else _NAN,
        "kelly": wins - (1.0 - wins) / payoff if payoff > 0 else _NAN,
        "win_rate_bars": wins,
    }


def drawdowns(equity: Array) -> tuple[float, int]:
    """The largest fall from a high, at most 0, and the longest time below one, in bars. Equity starts at 1."""
    if not len(equity):
        return 0.0, 0
    path = np.concatenate([[1.0], equity])
    high = np.maximum.accumulate(path)
    below = path < high
    runs = np.flatnonzero(np.diff(np.concatenate([[False], below, [False]]).astype(np.int8)))
    longest = int((runs[1::2] - runs[::2]).max()) if len(runs) else 0
    return float((path / high - 1.0).min()), longest


def of_trades(trades: Trades) -> Metrics:
    """What round trips tell.

    win_rate       share of round trips that paid
    profit_factor  sum of profits / sum of losses
    expectancy     mean profit of a round trip, share of equity
    sqn            sqrt(n) * mean / sd of profits                (Tharp, 2008: system quality number)
    """
    profit = trades.profit
    count = len(profit)
    sd = float(profit.std(ddof=1)) if count > 1 else 0.0
    return {
        "trades": float(count),
        "win_rate": _ratio(float((profit > 0).sum()), count),
        "profit_factor": _ratio(float(profit[profit > 0].sum()), float(-profit[profit < 0].sum())),
        "expectancy": float(profit.mean()) if count else _NAN,
        "sqn": _ratio(count**0.5 * float(profit.mean()), sd) if count else _NAN,
        "bars_held": float(trades.bars.mean()) if count else _NAN,
    }


def against(returns: Array, benchmark: Array, periods: float) -> Metrics:
    """How returns stand to those of a benchmark, both of shape (T,).

    beta, alpha        of the regression r = alpha + beta * b; alpha a year, arithmetic   (Jensen, 1968)
    information_ratio  mean(r - b) / sd(r - b) * sqrt(periods)
    tracking_error     sd(r - b) * sqrt(periods)
    treynor            mean * periods / beta                                          (Treynor, 1965)
    """
    if len(returns) < 3:
        return dict.fromkeys(("alpha", "beta", "information_ratio", "tracking_error", "treynor", "correlation"), _NAN)
    over = returns - benchmark
    error = float(over.std(ddof=1))
    covariance = np.cov(returns, benchmark)
    beta = _ratio(float(covariance[0, 1]), float(covariance[1, 1]))
    spread = float(covariance[0, 0] * covariance[1, 1]) ** 0.5
    return {
        "alpha": (float(returns.mean()) - beta * float(benchmark.mean())) * periods,
        "beta": beta,
        "information_ratio": _ratio(float(over.mean()), error) * periods**0.5,
        "tracking_error": error * periods**0.5,
        "treynor": _ratio(float(returns.mean()) * periods, beta),
        "correlation": _ratio(float(covariance[0, 1]), spread),
    }


def of_trading(
    gross: Array, turnover: Array, fill_share: Array, cash: float, participation: float, periods: float
) -> Metrics:
    """How much was held and traded.

        exposure        mean gross exposure, share of equity
        time_in_market  share of bars with a position
        turnover        value traded a year, share of equity
        capacity        equity at which 95% of fills would take no more than `participation` of their bar's volume

    Args:
        gross, turnover: see `Outcome`, shape (T,).
        fill_share: traded share of volume, of all fills, at an equity of `cash`.
    """
    known = fill_share[np.isfinite(fill_share)]
    return {
        "exposure": float(gross.mean()) if len(gross) else _NAN,
        "time_in_market": float((gross > 0).mean()) if len(gross) else _NAN,
        "turnover": float(turnover.mean()) * periods if len(turnover) else _NAN,
        "capacity": cash * participation / float(np.quantile(known, 0.95)) if len(known) else _NAN,
    }


def _ratio(above: float, below: float) -> float:
    return above / below if below else _NAN
