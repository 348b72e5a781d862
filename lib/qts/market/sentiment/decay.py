"""News fades: the tone of an instrument's texts at a time, each text weighing half as much every half-life."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import exp2

from qts.market.bar import Array, IntArray

#: Half-lives after which a text is forgotten: it weighs a thousandth then.
FORGOTTEN = 10


def decayed(times: IntArray, scores: Array, at: IntArray, half_life: int) -> tuple[Array, Array]:
    """Tone and amount of news as known strictly before some times.

    With weights w_i = 2^(-age_i / half-life), the tone is sum(w s) / (1 + sum(w)): as if one neutral text had always
    just come, so that old or few texts say little and no news is neutral. A text counts for `FORGOTTEN` half-lives and
    then no more, so that a figure depends on no other time than its own.

    Args:
        times: of the texts, nanoseconds, shape (R,), in any order.
        scores: of the texts, in [-1, 1], shape (R,).
        at: times to look from, nanoseconds, shape (T,).
        half_life: nanoseconds.

    Returns:
        Tone in (-1, 1) and amount of news, sum(w), each of shape (T,).
    """
    order = np.lexsort((scores, times))
    times, scores = times[order], scores[order]
    tone, amount = np.zeros(len(at)), np.zeros(len(at))
    first = np.searchsorted(times, at - FORGOTTEN * half_life, side="left")
    last = np.searchsorted(times, at, side="left")
    for row in np.flatnonzero(last > first):
        known = slice(first[row], last[row])
        weight = exp2(-(at[row] - times[known]) / half_life)
        amount[row] = weight.sum()
        tone[row] = (weight * scores[known]).sum() / (1 + amount[row])
    return tone, amount


def is_news(times: IntArray, texts: IntArray, span: int) -> npt.NDArray[np.bool_]:
    """Which texts say something new: the same had not come within a span before.

    A text that a second vendor passes on is no second piece of news. Repeats count as having come, so a text that is
    sent again and again is news once; and what is new depends on no text that lies further back than the span.

    Args:
        times: of the texts, nanoseconds, shape (R,), in any order.
        texts: equal numbers for equal texts, shape (R,).
        span: nanoseconds.

    Returns:
        Shape (R,). Of equal texts of one time the first row is the news.

    >>> is_news(np.array([0, 5, 5, 12]), np.array([1, 1, 2, 1]), span=6).tolist()
    [True, False, True, True]
    """
    order = np.lexsort((times, texts))
    same = (np.diff(texts[order]) == 0) & (np.diff(times[order]) <= span)
    found = np.ones(len(times), np.bool_)
    found[order[1:]] = ~same
    return found
