"""No row is late: what is put together from stretches, against the fold over all rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.market.quality import NEVER, late
from qts.market.sequence import Stretch, none_late, stretches

TIMES = st.lists(st.integers(0, 40), min_size=1, max_size=12)


def pieces_of(partitions, sizes):
    """(key, arrived, place, time) of partitions that are read one after the other, in pieces of the given sizes."""
    rows = [(key, 10 * key, place, time) for key, times in enumerate(partitions) for place, time in enumerate(times)]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    cuts = np.cumsum(sizes) % (len(rows) + 1)
    return [tuple(part) for part in np.split(columns, np.sort(cuts), axis=1)]


def any_late(partitions, allowance, *, apart):
    """By the fold, over each partition, or over all in the order in which they arrived."""
    domains = partitions if apart else [[time for times in partitions for time in times]]
    return any(late(np.array(times), NEVER, allowance)[0].any() for times in domains)


@given(
    partitions=st.lists(TIMES, min_size=1, max_size=4),
    sizes=st.lists(st.integers(0, 9), max_size=6),
    allowance=st.integers(0, 12),
    apart=st.booleans(),
    tidy=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_rows_that_are_read_in_order_are_judged_exactly(partitions, sizes, allowance, apart, tidy):
    if tidy:
        partitions = [sorted(times) for times in partitions]
    found = list(stretches(pieces_of(partitions, sizes)))
    assert none_late(found, allowance, apart=apart) is not any_late(partitions, allowance, apart=apart)
    assert none_late(found[::-1], allowance, apart=apart) is none_late(found, allowance, apart=apart)


@given(partitions=st.lists(TIMES, min_size=1, max_size=4), allowance=st.integers(0, 12), data=st.data())
@settings(max_examples=400, deadline=None)
def test_tasks_that_share_files_never_clear_a_late_row(partitions, allowance, data):
    """Whatever rows a task has, and in whatever order it gives them."""
    apart = data.draw(st.booleans())
    rows = [(key, 10 * key, place, time) for key, times in enumerate(partitions) for place, time in enumerate(times)]
    shuffled = data.draw(st.permutations(rows)) if data.draw(st.booleans()) else rows
    split = data.draw(st.integers(0, len(rows)))
    found = []
    for task in (shuffled[:split], shuffled[split:]):
        found += stretches([tuple(np.array(task, dtype=np.int64).reshape(-1, 4).T)])
    if any_late(partitions, allowance, apart=apart):
        assert not none_late(found, allowance, apart=apart)


def test_partitions_that_came_at_once_stand_in_the_order_of_their_keys():
    one, later = Stretch(1, 5, 0, 0, 10, 10, NEVER), Stretch(2, 5, 0, 0, 20, 20, NEVER)
    assert none_late([later, one], 5, apart=False)
    assert not none_late([one._replace(key=3), later], 5, apart=False)
    assert none_late([one._replace(key=3), later], 5, apart=True)
    assert none_late([one._replace(key=3), later._replace(arrived=6)], 5, apart=False)


@pytest.mark.parametrize("pieces", [[], [(np.empty(0, np.int64),) * 4]])
def test_nothing_is_not_late(pieces):
    assert none_late(stretches(pieces), 0, apart=False)
