"""Lateness and price jumps: the folds against a row-by-row reference, and the proof of innocence against the folds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.market.innocence import Carried, Slots, slot_width, suspects
from qts.market.quality import NEVER, LastGood, Limits, jumps, late

ROWS = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.sampled_from([1.0, 10.0, 10.4, 10.5, 10.9, 11.0, 11.6, 15.0, 30.0]),
        st.integers(0, 1),
        st.booleans(),
    ),
    max_size=60,
)
LIMITS = st.builds(
    Limits,
    allowance=st.integers(0, 12),
    earliest=st.just(0),
    future_tolerance=st.just(0),
    jump_limit=st.sampled_from([0.05, 0.1, 0.5, math.inf]),
    jump_max_age=st.integers(0, 40),
)


@dataclass
class ByTheBook:
    """The two rules, one row at a time, as the module's page words them."""

    limits: Limits
    clock: int | None = None
    good: dict[int, tuple[float, int]] = field(default_factory=dict)

    def judge(self, time: int, price: float, kind: int, sound: bool) -> str:
        is_late = self.clock is not None and time < self.clock - self.limits.allowance
        self.clock = time if self.clock is None else max(self.clock, time)
        if is_late:
            return "late"
        if not sound:
            return "unsound"
        if kind in self.good and not math.isinf(self.limits.jump_limit):
            reference, at = self.good[kind]
            if abs(price - reference) > self.limits.jump_limit * reference and time - at <= self.limits.jump_max_age:
                return "price_jump"
        self.good[kind] = (price, time)
        return "good"


def columns(rows):
    time, price, kind, sound = (np.array(column) for column in zip(*rows, strict=True))
    return time.astype(np.int64), price.astype(float), kind.astype(np.int64), sound.astype(bool)


def folded(rows, limits, clock, last):
    """Verdicts of a whole batch by the vectorised folds, with the carry after it."""
    time, price, kind, sound = columns(rows)
    verdict = np.where(sound, "good", "unsound").astype(object)
    is_late, clock = late(time, clock, limits.allowance)
    verdict[is_late] = "late"
    for each in (0, 1):
        at = np.flatnonzero(sound & ~is_late & (kind == each))
        broken, last[each] = jumps(time[at], price[at], last[each], limits)
        verdict[at[broken]] = "price_jump"
    return verdict.tolist(), clock, last


@given(rows=ROWS, limits=LIMITS, cuts=st.lists(st.integers(0, 60), max_size=5))
@settings(max_examples=400, deadline=None)
def test_folds_follow_the_book_wherever_batches_are_cut(rows, limits, cuts):
    book = ByTheBook(limits)
    expected = [book.judge(*row) for row in rows]
    got, clock, last = [], NEVER, [LastGood(), LastGood()]
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for start, end in pairwise(edges):
        verdicts, clock, last = folded(rows[start:end], limits, clock, last)
        got += verdicts
    assert got == expected
    for kind, (price, time) in book.good.items():
        assert last[kind] == LastGood(price, time)


def test_a_long_run_of_jumps_ends_where_the_price_comes_back():
    price = np.r_[100.0, np.full(1000, 300.0), 101.0, 300.0, 102.0]
    time = np.arange(len(price), dtype=np.int64)
    broken, last = jumps(time, price, LastGood(), Limits(0, 0, 0, 0.5, 10_000))
    assert np.flatnonzero(broken).tolist() == [*range(1, 1001), 1002]
    assert last == LastGood(102.0, 1003)


def test_a_real_gap_heals_once_the_reference_has_aged():
    time = np.array([0, 1, 2, 50, 51])
    broken, last = jumps(time, np.array([100.0, 10.0, 10.0, 10.0, 10.1]), LastGood(), Limits(0, 0, 0, 0.5, 20))
    assert broken.tolist() == [False, True, True, False, False]
    assert last.price == 10.1


def slots_of(groups, limits, pieces):
    """The aggregates that Spark would make; each group's rows are also cut into `pieces` source partitions."""
    width, made = slot_width(limits.allowance), {}
    for group, rows in enumerate(groups):
        for place, (time, price, kind, sound) in enumerate(rows):
            piece = place * pieces // max(len(rows), 1)
            made.setdefault((group, kind, time // width, piece), []).append((place, time, price if sound else math.nan))
    entries = [
        (
            group,
            kind,
            slot,
            min(p for p, _, _ in rows),
            max(p for p, _, _ in rows),
            min(t for _, t, _ in rows),
            max(t for _, t, _ in rows),
            min((x for _, _, x in rows if not math.isnan(x)), default=math.nan),
            max((x for _, _, x in rows if not math.isnan(x)), default=math.nan),
        )
        for (group, kind, slot, _), rows in made.items()
    ]
    ints = [np.array([e[i] for e in entries], dtype=np.int64) for i in range(7)]
    return Slots(*ints, *(np.array([e[i] for e in entries], dtype=float) for i in (7, 8)))


@given(
    groups=st.lists(ROWS, min_size=1, max_size=3),
    before=ROWS,
    limits=LIMITS,
    pieces=st.integers(1, 3),
    tidy=st.booleans(),
)
@settings(max_examples=800, deadline=None)
def test_whom_the_proof_clears_is_innocent(groups, before, limits, pieces, tidy):
    if tidy:  # nearly sorted rows are the ones that the proof is for
        groups = [sorted(rows, key=lambda row: row[0] + 4 * row[3]) for rows in groups]
    carry = ByTheBook(limits)
    for row in before:
        carry.judge(*row)
    clock = NEVER if carry.clock is None else carry.clock
    price = np.array([[carry.good.get(kind, (math.nan, NEVER))[0] for kind in (0, 1)]] * len(groups))
    time = np.array([[carry.good.get(kind, (math.nan, NEVER))[1] for kind in (0, 1)]] * len(groups))
    guilty = suspects(
        slots_of(groups, limits, pieces), Carried(np.full(len(groups), clock), price, time.astype(np.int64)), limits
    )
    for group, rows in enumerate(groups):
        book = ByTheBook(limits, carry.clock, dict(carry.good))
        if {"late", "price_jump"} & {book.judge(*row) for row in rows}:
            assert guilty[group]


def test_an_orderly_market_is_cleared():
    """The proof must not only be safe: ticks in order, or a little out of it, cost no fold."""
    limits = Limits(10_000_000_000, 0, 0, 0.2, 7 * 86_400 * 10**9)
    rng = np.random.default_rng(3)
    time = np.sort(rng.integers(0, 3600 * 10**9, 20_000))
    price = 100 * np.exp(np.cumsum(rng.normal(0, 2e-3, len(time))))
    shaken = np.argsort(time + rng.integers(0, 10**9, len(time)), kind="stable")  # up to a second out of order
    rows = [(int(time[i]), float(price[i]), 0, True) for i in shaken]
    nothing = Carried(np.array([NEVER]), np.full((1, 2), np.nan), np.full((1, 2), NEVER))
    assert not suspects(slots_of([rows], limits, 1), nothing, limits).any()


@pytest.mark.parametrize("spike", [3.0, 0.2])
def test_one_spike_inside_a_batch_makes_a_suspect(spike):
    limits = Limits(10, 0, 0, 0.5, 1000)
    rows = [(t, 10.0 * (spike if t == 50 else 1.0), 0, True) for t in range(100)]
    nothing = Carried(np.full(2, NEVER), np.full((2, 2), np.nan), np.full((2, 2), NEVER))
    calm = [(t, 10.0, 0, True) for t in range(100)]
    assert suspects(slots_of([rows, calm], limits, 1), nothing, limits).tolist() == [True, False]
