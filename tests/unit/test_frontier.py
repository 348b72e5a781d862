"""The frontier never runs ahead of a row that is still to come, and waits for nobody who has gone silent."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from qts.market import frontier
from qts.market.frontier import END, SECOND, STRETCH, live_frontier, no_pairs, replay_frontier, silent

NOW = 1_700_000_000 * SECOND
IDLE = 30 * SECOND


def arrived(*rows: tuple[str, str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["source", "instrument", "newest_ns"])


def advance(pairs: pd.DataFrame, rows: pd.DataFrame, now: int) -> pd.DataFrame:
    return frontier.advance(pairs, rows, now, IDLE)


ROWS = st.tuples(st.sampled_from("st"), st.sampled_from("AB"), st.integers(1, 100 * SECOND))
BATCHES = st.lists(st.lists(ROWS, max_size=4), min_size=1, max_size=6)


@given(batches=BATCHES)
def test_a_pair_knows_its_newest_row_and_when_it_was_last_seen(batches):
    pairs, want = no_pairs(), {}
    for step, batch in enumerate(batches):
        pairs = advance(pairs, arrived(*batch), NOW + step)
        for source, name, newest in batch:
            want[source, name] = (max(want.get((source, name), (0, 0))[0], newest), NOW + step)
    got = {(p.source, p.instrument): (p.newest_ns, p.seen_ns) for p in pairs.itertuples()}
    assert got == want
    assert list(map(str, pairs.dtypes[["newest_ns", "seen_ns"]])) == ["int64"] * 2


def test_there_is_no_frontier_before_the_first_row():
    assert live_frontier(no_pairs(), NOW, 0, IDLE) == 0
    assert live_frontier(advance(no_pairs(), arrived(), NOW), NOW, 0, IDLE) == 0


@given(batches=BATCHES, allowance=st.integers(0, 10 * SECOND))
def test_while_all_pairs_are_active_the_slowest_one_leads(batches, allowance):
    pairs = no_pairs()
    for batch in batches:
        pairs = advance(pairs, arrived(*batch), NOW)
        reached = live_frontier(pairs, NOW + IDLE, allowance, IDLE)
        assert reached == (max(pairs["newest_ns"].min() - allowance, 0) if len(pairs) else 0)


@given(batch=st.lists(ROWS, min_size=1, max_size=6), waits=st.lists(st.integers(0, 200 * SECOND), max_size=6))
def test_time_alone_never_takes_the_frontier_back(batch, waits):
    pairs = advance(no_pairs(), arrived(*batch), NOW)
    reached = [live_frontier(pairs, NOW + wait, SECOND, IDLE) for wait in sorted(waits)]
    assert reached == sorted(reached)


@given(batch=st.lists(ROWS, min_size=1, max_size=6), more=st.lists(ROWS, max_size=4))
def test_rows_of_known_pairs_never_take_the_frontier_back(batch, more):
    pairs = advance(no_pairs(), arrived(*batch), NOW)
    known = set(zip(pairs["source"], pairs["instrument"], strict=True))
    after = advance(pairs, arrived(*[row for row in more if row[:2] in known]), NOW + SECOND)
    assert live_frontier(after, NOW + SECOND, 0, IDLE) >= live_frontier(pairs, NOW + SECOND, 0, IDLE)


def test_an_idle_pair_does_not_hold_up_the_others():
    lag = 5 * SECOND
    pairs = advance(no_pairs(), arrived(("s", "A", NOW - lag), ("s", "B", NOW - lag)), NOW)
    for second in range(1, 100):
        now = NOW + second * SECOND
        pairs = advance(pairs, arrived(("s", "A", now - lag)), now)
        reached = live_frontier(pairs, now, SECOND, IDLE)
        if second <= 30:
            assert reached == NOW - lag - SECOND
        else:  # B is where the market was a timeout ago
            assert reached == now - lag - IDLE - SECOND


def test_a_market_that_is_silent_altogether_moves_with_the_clock():
    pairs = advance(no_pairs(), arrived(("s", "A", NOW - SECOND)), NOW)
    assert live_frontier(pairs, NOW + 10 * IDLE, 0, IDLE) == NOW - SECOND + 9 * IDLE


def test_history_that_is_played_live_is_timed_by_its_own_clock():
    old = 1_000 * SECOND
    pairs = advance(no_pairs(), arrived(("s", "A", old)), NOW)
    assert live_frontier(pairs, NOW + IDLE + SECOND, 0, IDLE) == old + SECOND


def test_after_a_silence_of_all_every_instrument_has_its_timeout_again():
    pairs = advance(no_pairs(), arrived(("s", "A", NOW), ("s", "B", NOW)), NOW)
    back = NOW + 3600 * SECOND
    assert silent(pairs, back, IDLE)
    assert not silent(no_pairs(), back, IDLE)
    pairs = advance(pairs, arrived(("s", "A", NOW + SECOND)), back)  # of the hour that was missed
    assert live_frontier(pairs, back, 0, IDLE) == NOW
    pairs = advance(pairs, arrived(("s", "A", back), ("s", "B", NOW + 2 * SECOND)), back + SECOND)
    assert live_frontier(pairs, back + SECOND, 0, IDLE) == NOW + 2 * SECOND


def test_one_silent_instrument_is_no_silence_of_all():
    pairs = advance(no_pairs(), arrived(("s", "A", NOW), ("s", "B", NOW)), NOW)
    pairs = advance(pairs, arrived(("s", "A", NOW + IDLE)), NOW + IDLE)
    later = advance(pairs, arrived(("s", "A", NOW + 2 * IDLE)), NOW + 2 * IDLE)
    assert not silent(pairs, NOW + 2 * IDLE, IDLE)
    assert later.set_index("instrument")["seen_ns"].to_dict() == {"A": NOW + 2 * IDLE, "B": NOW}


def slots_of(ns: np.ndarray) -> pd.DataFrame:
    """One row a second, as partials have them."""
    slot, rows = np.unique(ns // SECOND, return_counts=True)
    return pd.DataFrame({"slot": slot, "rows": rows})


def stretches_of(ns: np.ndarray) -> pd.DataFrame:
    stretch, rows = np.unique(ns // STRETCH, return_counts=True)
    return pd.DataFrame({"stretch": stretch, "rows": rows})


def test_the_end_is_reached_when_all_rows_have_come():
    ns = np.array([5, STRETCH, STRETCH + 1, 7 * STRETCH])
    assert replay_frontier(slots_of(ns[:0]), stretches_of(ns)) == 0
    assert replay_frontier(slots_of(ns[[0, 1]]), stretches_of(ns)) == STRETCH
    assert replay_frontier(slots_of(ns[[3, 1, 0, 2]]), stretches_of(ns)) == END
    assert replay_frontier(slots_of(ns[:0]), stretches_of(ns[:0])) == END


def test_rows_beyond_the_totals_do_not_matter():
    ns = np.array([5, 5, STRETCH])
    assert replay_frontier(slots_of(ns), stretches_of(ns[1:])) == END
    assert replay_frontier(slots_of(ns[:2]), stretches_of(ns[1:])) == STRETCH


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 200), cuts=st.lists(st.integers(0, 200), max_size=8))
def test_a_finite_input_in_any_order_is_never_late(seed, rows, cuts):
    """Whatever the order and the cuts, the frontier stays at or before all that is to come, and ends with the input."""
    random = np.random.default_rng(seed)
    ns = random.integers(0, 20 * STRETCH, rows)  # in no order at all
    batches = np.split(ns, sorted(min(cut, rows) for cut in cuts))
    waiting, reached, seen = ns[:0], 0, 0
    for batch in batches:
        assert (batch >= reached).all()
        waiting = np.concatenate([waiting, batch])
        totals = stretches_of(ns[ns >= reached])
        seen += len(batch)
        before, reached = reached, replay_frontier(slots_of(waiting), totals)
        assert reached >= before
        # The tightest whole stretch, not only a safe one.
        assert reached == (END if seen == rows else ns[seen:].min() // STRETCH * STRETCH)
        waiting = waiting[waiting >= reached]  # what lies before it is folded
    assert len(waiting) == 0


def test_files_of_one_instrument_each_go_on_as_far_as_the_last_one_has_come():
    ns = np.arange(4) * STRETCH
    totals = stretches_of(np.r_[ns, ns, ns])
    come = np.r_[ns, ns]  # two files of three
    for minute in range(4):
        assert replay_frontier(slots_of(come), totals) == minute * STRETCH
        come = np.append(come, minute * STRETCH)
    assert replay_frontier(slots_of(come), totals) == END
