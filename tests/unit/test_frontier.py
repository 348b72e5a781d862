"""The frontier never runs ahead of a row that is still to come, and waits for nobody who has gone silent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qts.market import frontier
from qts.market.frontier import END, advance, live_frontier, no_pairs, replay_frontier

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
IDLE = 30 * SECOND


def arrived(*rows: tuple[str, str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["source", "instrument", "rows", "newest_ns"])


ROWS = st.tuples(st.sampled_from("st"), st.sampled_from("AB"), st.integers(1, 5), st.integers(1, 100 * SECOND))
BATCHES = st.lists(st.lists(ROWS, max_size=4), min_size=1, max_size=6)


@given(batches=BATCHES)
def test_a_pair_knows_all_its_rows_its_newest_one_and_when_it_was_last_seen(batches):
    pairs, want = no_pairs(), {}
    for step, batch in enumerate(batches):
        pairs = advance(pairs, arrived(*batch), NOW + step)
        for source, name, rows, newest in batch:
            before = want.get((source, name), (0, 0, 0))
            want[source, name] = (before[0] + rows, max(before[1], newest), NOW + step)
    got = {(p.source, p.instrument): (p.rows, p.newest_ns, p.seen_ns) for p in pairs.itertuples()}
    assert got == want
    assert list(map(str, pairs.dtypes[["rows", "newest_ns", "seen_ns"]])) == ["int64"] * 3


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
    pairs = advance(no_pairs(), arrived(("s", "A", 1, NOW - lag), ("s", "B", 1, NOW - lag)), NOW)
    for second in range(1, 100):
        now = NOW + second * SECOND
        pairs = advance(pairs, arrived(("s", "A", 1, now - lag)), now)
        reached = live_frontier(pairs, now, SECOND, IDLE)
        if second <= 30:
            assert reached == NOW - lag - SECOND
        else:  # B is where the market was a timeout ago
            assert reached == now - lag - IDLE - SECOND


def test_a_market_that_is_silent_altogether_moves_with_the_clock():
    pairs = advance(no_pairs(), arrived(("s", "A", 1, NOW - SECOND)), NOW)
    assert live_frontier(pairs, NOW + 10 * IDLE, 0, IDLE) == NOW - SECOND + 9 * IDLE


def test_history_that_is_played_live_is_timed_by_its_own_clock():
    old = 1_000 * SECOND
    pairs = advance(no_pairs(), arrived(("s", "A", 1, old)), NOW)
    assert live_frontier(pairs, NOW + IDLE + SECOND, 0, IDLE) == old + SECOND


def test_the_end_is_reached_when_all_rows_have_come():
    totals = arrived(("s", "A", 2, 0), ("t", "A", 1, 0))
    pairs = advance(no_pairs(), arrived(("s", "A", 2, 50)), NOW)
    assert replay_frontier(pairs, totals, 0) == 0  # nothing of t yet
    pairs = advance(pairs, arrived(("t", "A", 1, 3)), NOW)
    assert replay_frontier(pairs, totals, 0) == END
    assert replay_frontier(no_pairs(), totals.iloc[:0], 0) == END


def test_rows_beyond_the_totals_do_not_matter():
    totals = arrived(("s", "A", 2, 0))
    pairs = advance(no_pairs(), arrived(("s", "A", 3, 50), ("u", "Z", 1, 7)), NOW)
    assert replay_frontier(pairs, totals, 0) == END


def test_the_frontier_keeps_its_nanoseconds():
    totals = arrived(("s", "A", 9, 0), ("s", "B", 9, 0))
    pairs = advance(no_pairs(), arrived(("s", "A", 1, NOW + 1), ("s", "B", 1, NOW + 3)), NOW)
    assert replay_frontier(pairs, totals, 0) == NOW + 1


@st.composite
def orderly_feeds(draw: st.DrawFn) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Rows in batches: each pair's own rows come in time order, the pairs in any interleaving."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = []
    for source, name in [("s", "A"), ("s", "B"), ("t", "A")]:
        ns = np.sort(random.integers(1, 100 * SECOND, random.integers(1, 12)))
        parts.append(pd.DataFrame({"source": source, "instrument": name, "newest_ns": ns, "rows": 1}))
    if draw(st.booleans()):
        ticks = pd.concat(parts)  # files of one instrument each, one after another
    else:
        turns = random.permutation(np.repeat(range(len(parts)), [len(part) for part in parts]))
        place = [(turns[:i] == turn).sum() for i, turn in enumerate(turns)]
        ticks = pd.concat([parts[turn].iloc[[row]] for turn, row in zip(turns, place, strict=True)])
    edges = sorted(draw(st.lists(st.integers(0, len(ticks)), max_size=8)))
    return ticks, [ticks.iloc[a:b] for a, b in zip([0, *edges], [*edges, len(ticks)], strict=True)]


@given(feed=orderly_feeds())
def test_a_replay_never_passes_a_row_that_is_still_to_come(feed):
    ticks, batches = feed
    totals = ticks.groupby(["source", "instrument"], as_index=False)["rows"].sum()
    pairs, reached, seen = no_pairs(), 0, 0
    for batch in batches:
        pairs = advance(pairs, batch, NOW)
        before, reached = reached, replay_frontier(pairs, totals, 0)
        seen += len(batch)
        rest = ticks.iloc[seen:]
        assert reached >= before
        assert reached == END if rest.empty else reached <= rest["newest_ns"].min()


@pytest.mark.parametrize("order", [("A", "B"), ("B", "A")])
def test_files_of_one_instrument_each_decide_nothing_until_the_last_one_has_begun(order):
    totals = arrived(("s", "A", 3, 0), ("s", "B", 3, 0))
    pairs = no_pairs()
    for ns in (1, 2, 3):
        pairs = advance(pairs, arrived(("s", order[0], 1, ns * SECOND)), NOW)
        assert replay_frontier(pairs, totals, 0) == 0
    for ns in (1, 2):
        pairs = advance(pairs, arrived(("s", order[1], 1, ns * SECOND)), NOW)
        assert replay_frontier(pairs, totals, 0) == ns * SECOND
    assert replay_frontier(advance(pairs, arrived(("s", order[1], 1, 3 * SECOND)), NOW), totals, 0) == frontier.END
