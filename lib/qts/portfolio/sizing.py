"""From a target in [-1, 1] to a position in whole lots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field

from qts.market.bar import Array
from qts.trading.universe import Universe


@dataclass(frozen=True)
class Sizing:
    """How targets become positions.

    Attributes:
        gross_budget: gross exposure as a multiple of equity when every target is +-1.
        weighting: `inverse_volatility` gives each instrument a share of the budget in proportion to 1/volatility
            (naive risk parity: equal risk each if returns are uncorrelated); `equal` gives all the same.
        volatility_span: span in bars of the exponentially weighted variance of log returns.
        rebalance_band: no trade while the position is within this share of the instrument's budget from its target;
            a target of 0 closes the position in any case.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    gross_budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    weighting: Literal["inverse_volatility", "equal"] = "inverse_volatility"
    volatility_span: Annotated[int, Field(ge=1)] = 60
    rebalance_band: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1


def budgets(volatility: Array, eligible: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], sizing: Sizing) -> Array:
    """Each instrument's share of the gross budget; shares of eligible instruments add up to 1, shape (N,).

    An unknown or zero volatility counts as the median of the known ones, and none as less than a tenth of it: a price
    that has hardly moved yet must not draw the whole budget.
    """
    if sizing.weighting == "equal":
        weight = np.ones(len(volatility))
    else:
        known = eligible & (volatility > 0) & np.isfinite(volatility)
        typical = float(np.median(volatility[known])) if known.any() else 1.0
        weight = typical / np.where(known, np.maximum(volatility, 0.1 * typical), typical)
    weight = np.where(eligible, weight, 0.0)
    total = weight.sum()
    return weight / total if total > 0 else weight


def target_quantity(
    target: Array,
    held: Array,
    price: Array,
    volatility: Array,
    equity: float,
    universe: Universe,
    sizing: Sizing,
) -> Array:
    """The position to hold, in whole lots, rounded towards zero; shape (N,).

    Args:
        target: wanted share of the instrument's budget, -1 (short) to 1 (long), shape (N,).
        held: position now, units, shape (N,).
        price: last good price, shape (N,). Without one the answer is NaN, unless the target is 0.
        volatility: standard deviation of a bar's log return, shape (N,).
        equity: of the account, account currency; nothing is opened on an equity of 0 or less.
    """
    priced = (price > 0) & np.isfinite(price)
    budget = budgets(volatility, universe.tradable & priced, sizing) * sizing.gross_budget * max(equity, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.where(priced, universe.exposure(price), np.nan)
        wanted = np.where(target == 0.0, 0.0, universe.whole_lots(np.clip(target, -1.0, 1.0) * budget / unit))
        near = np.abs(wanted - held) * unit <= sizing.rebalance_band * budget
    return np.where(near & (wanted != 0.0), held, wanted)
