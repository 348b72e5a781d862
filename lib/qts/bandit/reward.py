"""What an arm has earned, in units of risk."""

from __future__ import annotations

import numpy as np

from qts.market.bar import Array


def reward(
    position: Array, previous: Array, log_return: Array, cost: Array | float, volatility: Array, clip: float = 3.0
) -> Array:
    """(position * return - cost of turning over) / ex-ante volatility, clipped, shape (N,).

    Dividing by the volatility makes rewards of calm and wild instruments comparable and their variance about one, which
    is what the policies assume; clipping keeps one crash from outweighing years of evidence.

    Args:
        position: held over the return, in [-1, 1].
        previous: held before; the change is what is paid for.
        log_return: of the instrument over the bar after the decision.
        cost: of turning over a position of 1, as a fraction of its value.
        volatility: standard deviation of the return as known at the decision, positive.
        clip: largest absolute reward.

    Returns:
        NaN where any input is missing or the volatility is not positive: such a reward teaches nothing.
    """
    risk = np.where(volatility > 0, volatility, np.nan)
    return np.clip((position * log_return - cost * np.abs(position - previous)) / risk, -clip, clip)
