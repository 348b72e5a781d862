"""Prints within a day pass through its real prices, and share its volume without loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qts.errors import ConfigError, DataError
from qts.market import sample
from qts.market.paths import REAL, SESSION, SIMULATED, daily_closes, daily_paths, midnight, split

DAY = 86_400_000_000_000
prices = st.floats(0.01, 1e6)
bars = st.lists(
    st.tuples(st.lists(prices, min_size=4, max_size=4).map(sorted), st.permutations([1, 2])), min_size=1, max_size=8
)


@given(bars)
def test_prints_pass_through_the_bar(bars):
    low, high = (np.array([four[place] for four, _ in bars]) for place in (0, 3))
    open_, close = (np.array([four[order[place]] for four, order in bars]) for place in (0, 1))
    day = np.arange(len(bars), dtype=np.int64) * DAY
    prints = daily_paths(day, np.array(["A"] * len(bars), object), open_, high, low, close)

    path = prints.price.reshape(-1, 4)
    np.testing.assert_array_equal(path[:, 0], open_)
    np.testing.assert_array_equal(path[:, 3], close)
    np.testing.assert_array_equal(path.max(axis=1), high)
    np.testing.assert_array_equal(path.min(axis=1), low)
    assert prints.provenance == SIMULATED
    assert (np.diff(prints.time) > 0).all()
    np.testing.assert_array_equal(midnight(prints.time), np.repeat(day, 4))


def test_the_extreme_nearer_the_open_comes_first():
    day, name = np.zeros(2, np.int64), np.array(["A", "B"], object)
    open_, high, low = np.array([10.0, 10.0]), np.array([11.0, 14.0]), np.array([7.0, 9.0])
    path = daily_paths(day, name, open_, high, low, np.array([10.0, 10.0])).price.reshape(-1, 4)
    assert path[0].tolist() == [10, 11, 7, 10]
    assert path[1].tolist() == [10, 9, 14, 10]


@given(st.lists(st.one_of(st.integers(1, 2**53).map(float), st.floats(1e-6, 1e12)), min_size=1, max_size=9))
def test_sizes_sum_to_the_volume_exactly(volumes):
    volume = np.array(volumes)
    sizes = split(volume, 4)
    np.testing.assert_array_equal(((sizes[:, 0] + sizes[:, 1]) + sizes[:, 2]) + sizes[:, 3], volume)
    assert (sizes > 0).all()


def test_a_volume_that_is_not_positive_is_unknown():
    assert np.isnan(split(np.array([0.0, -5.0, np.nan]), 4)).all()


def test_a_close_alone_is_one_real_print():
    prints = daily_closes(np.array([0, DAY]), np.array(["A", "A"], object), np.array([1.0, 2.0]))
    assert prints.provenance == REAL
    assert prints.time.tolist() == [SESSION[-1], DAY + SESSION[-1]]
    assert np.isnan(prints.size).all()


@pytest.mark.parametrize(
    ("name", "rows", "instruments", "provenance"),
    [
        ("sp500_nasdaq", 10_062, {"SP500", "NASDAQ"}, SIMULATED),
        ("stocks20", 166_260, 20, REAL),
        ("vix_wti", 9_580, {"VIX", "WTI"}, REAL),
    ],
)
def test_packaged_data(name, rows, instruments, provenance):
    bars = sample.dataset(name).load()
    assert len(bars.day) == len(bars.close) == rows
    assert (set(bars.instrument) == instruments) if isinstance(instruments, set) else len(set(bars.instrument)) == 20
    assert (np.diff(bars.day) >= 0).all()
    prints = bars.prints()
    assert prints.provenance == provenance
    assert len(prints.time) == rows * (4 if provenance == SIMULATED else 1)


def test_the_first_real_bar_is_the_published_one():
    bars = sample.sp500_nasdaq()
    first = np.flatnonzero(bars.instrument == "SP500")[0]
    assert bars.close[first] == 1228.099976
    assert np.datetime64(int(bars.day[first]), "ns") == np.datetime64("1999-01-04")


def test_an_unknown_data_set_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'stocks20'"):
        sample.dataset("stock20")


def test_an_impossible_bar_is_named():
    one = np.array([1.0])
    bars = sample.Daily(np.array([0]), np.array(["X"], object), one, open=one, high=one * 0.5, low=one * 0.4)
    with pytest.raises(
        DataError, match=r"1 impossible daily bars; the first is X on 1970-01-01 with open 1, high 0\.5"
    ):
        sample.check_ohlc(bars, "mine.csv")
