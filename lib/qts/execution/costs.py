"""What a fill costs beyond the price on the screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field

from qts.market.bar import Array


@dataclass(frozen=True)
class Execution:
    """How the paper broker fills orders and what it charges.

    Attributes:
        order_type: `market`, or `limit` at the decision price moved by `limit_offset_bps` in the order's favour.
        limit_offset_bps: basis points that a limit order asks to trade better than the decision price.
        time_in_force: bars of its instrument that an order, or the rest of one, stays open.
        fee_bps: fee in basis points of the traded value.
        half_spread_bps: half the quoted spread, in basis points, where the bar has no quotes.
        slippage_bps: slippage where the bar's volume is unknown.
        impact: slippage is `impact * share**2` of the price, share = order / volume (Zipline's VolumeShareSlippage).
        participation: largest share of a bar's volume that one order takes; the rest stays open.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    order_type: Literal["market", "limit"] = "market"
    limit_offset_bps: Annotated[float, Field(ge=0, lt=10_000)] = 0.0
    time_in_force: Annotated[int, Field(ge=1)] = 1
    fee_bps: Annotated[float, Field(ge=0, lt=10_000)] = 1.0
    half_spread_bps: Annotated[float, Field(ge=0, lt=1_000)] = 1.0
    slippage_bps: Annotated[float, Field(ge=0, lt=1_000)] = 1.0
    impact: Annotated[float, Field(ge=0, lt=1)] = 0.1
    participation: Annotated[float, Field(gt=0, le=1)] = 0.1


def half_spread(price: Array, quoted: Array, execution: Execution) -> Array:
    """Half the bid-ask spread in price units: quoted where the bar has quotes, assumed elsewhere; shape (N,)."""
    return np.where(np.isfinite(quoted) & (quoted >= 0), quoted / 2, price * execution.half_spread_bps * 1e-4)


def slippage(quantity: Array, price: Array, volume: Array, execution: Execution) -> Array:
    """How far an order of this size moves the price, in price units, >= 0; shape (N,).

    A volume that is NaN or 0 counts as unknown: a bar with an open had a trade, so 0 means that sizes were not given.
    """
    known = volume > 0
    share = np.abs(quantity) / np.where(known, volume, np.inf)
    return price * np.where(known, execution.impact * share**2, execution.slippage_bps * 1e-4)
