"""Proof that no row of a batch is late, from one look at each row's place and time.

Rows are late within a domain and instrument (see `qts.market.quality`), but where no row lies more than the allowance
behind any row before it, of whatever instrument, none can be late. Whoever reads rows in their order need only keep
the newest time so far. A batch is read in *stretches*: consecutive rows of one source partition with rising places. Of
each stretch this module keeps its ends and how far its rows fall back, and `none_late` puts the stretches together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from qts.market.bar import IntArray
from qts.market.quality import NEVER


class Stretch(NamedTuple):
    """Consecutive rows of one source partition, in rising places.

    Attributes:
        key: which partition, as a number.
        arrived: when that partition came; orders the partitions of a domain.
        first, last: the places of the first and the last row.
        oldest, newest: event times, nanoseconds.
        lag: how far a row lies behind the newest one before it in the stretch at most, nanoseconds; of one row `NEVER`.
    """

    key: int
    arrived: int
    first: int
    last: int
    oldest: int
    newest: int
    lag: int

    def then(self, after: Stretch) -> Stretch:
        """Both as one, where the other goes on from this one."""
        lag = max(self.lag, after.lag, self.newest - after.oldest)
        oldest, newest = min(self.oldest, after.oldest), max(self.newest, after.newest)
        return Stretch(self.key, self.arrived, self.first, after.last, oldest, newest, lag)


def stretches(pieces: Iterable[tuple[IntArray, IntArray, IntArray, IntArray]]) -> Iterator[Stretch]:
    """The stretches of rows that are read piece by piece.

    Args:
        pieces: key, arrived, place and event time (nanoseconds) of some rows, each of shape (R,).

    >>> rows = [np.array([0, 0, 0]), np.array([7, 7, 7]), np.array([0, 1, 2]), np.array([10, 30, 25])]
    >>> list(stretches([rows]))
    [Stretch(key=0, arrived=7, first=0, last=2, oldest=10, newest=30, lag=5)]
    """
    pending: Stretch | None = None
    for key, arrived, place, time in pieces:
        breaks = np.flatnonzero((key[1:] != key[:-1]) | (place[1:] <= place[:-1])) + 1
        edges = [0, *breaks.tolist(), len(key)] if len(key) else []
        for start, end in pairwise(edges):
            found = _stretch(int(key[start]), int(arrived[start]), place[start:end], time[start:end])
            if pending is not None and found.key == pending.key and found.first > pending.last:
                pending = pending.then(found)
                continue
            if pending is not None:
                yield pending
            pending = found
    if pending is not None:
        yield pending


def _stretch(key: int, arrived: int, place: IntArray, time: IntArray) -> Stretch:
    lag = int((np.maximum.accumulate(time)[:-1] - time[1:]).max()) if len(time) > 1 else NEVER
    return Stretch(key, arrived, int(place[0]), int(place[-1]), int(time.min()), int(time.max()), lag)


def none_late(found: Iterable[Stretch], allowance: int, *, apart: bool) -> bool:
    """Whether certainly no row is late with respect to another of the same batch; False says nothing.

    Args:
        found: all stretches of the batch, in any order; their keys say in which order partitions stand that arrived at
            once.
        allowance: nanoseconds.
        apart: each partition is a domain of its own; else all may be one domain, in the order in which they arrived.
    """
    ordered = sorted(found, key=lambda each: (each.key if apart else 0, each.arrived, each.key, each.first))
    domain: Stretch | None = None
    for each in ordered:
        if each.lag > allowance:
            return False
        if domain is None or (apart and each.key != domain.key):
            domain = each
            continue
        same = each.key == domain.key
        if same and each.first <= domain.last:
            return False
        if domain.newest - each.oldest > allowance:
            return False
        domain = each._replace(newest=max(domain.newest, each.newest))
    return True
