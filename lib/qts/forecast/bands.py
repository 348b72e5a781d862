"""Intervals that a forecaster's scores keep calibrated, bar by bar, after its training window."""

from __future__ import annotations

import numpy as np

from qts.forecast.conformal import AdaptiveConformal
from qts.market.bar import Array, IntArray, State

#: 80 and 95% as everywhere; a bar's worth of learning is small, for some instruments have few bars after training.
_CONFORMAL = AdaptiveConformal(coverages=(0.8, 0.95), gamma=0.01)

#: Lower and upper at 80%, lower and upper at 95%, shape (T, N) each.
Bands = tuple[Array, Array, Array, Array]


def online_bands(scores: Array, trained: IntArray) -> tuple[Bands, State]:
    """Bounds of the next bar's score, made at the end of each bar, from the scores up to it.

    The state is a function of the scores alone: primed with those of the last training bars, it learns from each bar
    after them. So appended rows change no earlier bound.

    Args:
        scores: of each bar's outcome, shape (T, N); NaN where there is none.
        trained: bars of each instrument that its model was fitted to, shape (N,).

    Returns:
        The bounds, NaN before a column's last training bar; and the state after the last scores, for `next_bands`.
    """
    steps, instruments = scores.shape
    bands = np.full((4, steps, instruments), np.nan)
    after = int((steps - trained).max(initial=0))
    columns = np.arange(instruments)
    # Every instrument from its own first bar after training: row i is its bar trained + i.
    rows = trained + np.arange(after)[:, None]
    aligned = np.where(rows < steps, scores[np.minimum(rows, steps - 1), columns], np.nan) if steps else scores
    back = trained - _CONFORMAL.window + np.arange(_CONFORMAL.window)[:, None]
    past = np.where(back >= 0, scores[np.clip(back, 0, steps - 1), columns], np.nan) if steps else scores
    low, high, state = _CONFORMAL.run(aligned, _CONFORMAL.primed(past))
    made = trained - 1 + np.arange(after + 1)[:, None]
    row, column = np.nonzero((made >= 0) & (made < steps))
    for level in range(2):
        bands[2 * level, made[row, column], column] = low[row, column, level]
        bands[2 * level + 1, made[row, column], column] = high[row, column, level]
    return (bands[0], bands[1], bands[2], bands[3]), state


def next_bands(scores: Array, state: State) -> tuple[Bands, State]:
    """Bounds after more scores, one row each, from the state that the earlier ones left.

    One call over all rows and many over parts of them give the same bits.
    """
    low, high, state = _CONFORMAL.run(scores, state)
    return (low[1:, :, 0], high[1:, :, 0], low[1:, :, 1], high[1:, :, 1]), state
