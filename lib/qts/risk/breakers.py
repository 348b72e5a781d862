"""Circuit breakers: what the account as a whole may lose or send before it is held back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.market.bar import IntArray
from qts.risk.limits import Breaker, Breakers
from qts.trading.controls import ACTIVE, STATES

#: The breakers, in the order of the rows of a trips array.
BREAKERS = ("max_drawdown", "max_daily_loss", "max_orders_per_bar")


@dataclass(frozen=True)
class Trip:
    """A breaker that has just tripped: its figure, its limit, and the trading state that it brings."""

    code: str
    figure: float
    limit: float
    action: str


def no_trips() -> IntArray:
    """By breaker the day and the count of manual resumes at its trip, -1 while it has not tripped; shape (3, 2)."""
    return np.full((len(BREAKERS), 2), -1, dtype=np.int64)


def released(trips: IntArray, breakers: Breakers, day: int, resumes: int) -> IntArray:
    """The trips that still hold: a resume since the trip releases any, a new day those that are set to `next_day`."""
    kept = trips.copy()
    for row, code in enumerate(BREAKERS):
        breaker: Breaker | None = getattr(breakers, code)
        over = breaker is not None and breaker.until == "next_day" and day > trips[row, 0]
        if breaker is None or over or resumes > trips[row, 1]:
            kept[row] = -1
    return kept


def state(trips: IntArray, breakers: Breakers) -> int:
    """The strictest trading state that a tripped breaker asks for, a code of `controls.STATES`."""
    held = [ACTIVE]
    for row, code in enumerate(BREAKERS):
        breaker: Breaker | None = getattr(breakers, code)
        if trips[row, 0] >= 0 and breaker is not None:
            held.append(STATES.index(breaker.action))
    return max(held)


def tripped(
    trips: IntArray, breakers: Breakers, figures: dict[str, float], day: int, resumes: int
) -> tuple[IntArray, list[Trip]]:
    """Trips each breaker whose figure is above its limit, or unknown, unless it has tripped already.

    Args:
        figures: by breaker; those that are not named are not looked at.
    """
    after, new = trips.copy(), []
    for code, figure in figures.items():
        breaker: Breaker | None = getattr(breakers, code)
        row = BREAKERS.index(code)
        if breaker is not None and trips[row, 0] < 0 and not figure <= breaker.limit:
            after[row] = day, resumes
            new.append(Trip(code, figure, breaker.limit, breaker.action))
    return after, new
