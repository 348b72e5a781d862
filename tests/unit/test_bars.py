"""Bars do not depend on how ticks were cut into batches, and equal a plain loop over the sorted prints."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.market import bars

SECOND = bars.SECOND
INTERVALS = (SECOND, 60 * SECOND)
LABELS = {SECOND: "1s", 60 * SECOND: "1m"}
END = np.iinfo(np.int64).max


def partials_of(ticks: pd.DataFrame) -> pd.DataFrame:
    """What the native aggregation gives for a set of ticks, written plainly."""
    rows = []
    for (instrument, kind, slot), group in ticks.groupby(["instrument", "kind", ticks["ns"] // SECOND]):
        ordered = group.sort_values(["ns", "offset"])
        size = ordered["size"].to_numpy()
        value = size * ordered["price"].to_numpy()
        rows.append(
            {
                "instrument": instrument,
                "kind": kind,
                "slot": slot,
                "open_key": ordered["ns"].iloc[0] % SECOND * 1000 + ordered["offset"].iloc[0],
                "open": ordered["price"].iloc[0],
                "close_key": ordered["ns"].iloc[-1] % SECOND * 1000 + ordered["offset"].iloc[-1],
                "close": ordered["price"].iloc[-1],
                "high": ordered["price"].max(),
                "low": ordered["price"].min(),
                "rows": len(group),
                "volume_whole": int(np.floor(size).sum()),
                "volume_part": int(np.round((size - np.floor(size)) * bars.QUANTUM).sum()),
                "value_whole": int(np.floor(value).sum()),
                "value_part": int(np.round((value - np.floor(value)) * bars.QUANTUM).sum()),
                "spread_parts": 5_000_000 * len(group) if kind == "quote" else 0,
                "simulated": False,
            }
        )
    return pd.DataFrame(rows, columns=bars.PARTIAL_COLUMNS) if rows else bars.no_partials()


@st.composite
def tick_tables(draw: st.DrawFn) -> pd.DataFrame:
    count = draw(st.integers(1, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "instrument": rng.choice(["A", "B"], count),
            "kind": rng.choice(["trade", "quote"], count, p=[0.8, 0.2]),
            "ns": np.sort(rng.integers(0, 150 * SECOND, count)),
            "offset": np.arange(count),
            "price": np.round(100 * np.exp(rng.normal(0, 0.01, count)), 4),
            "size": np.round(rng.exponential(3, count), 6),
        }
    )


def run(batches: list[pd.DataFrame], frontiers: list[int]) -> pd.DataFrame:
    waiting, still_open, out = bars.no_partials(), bars.no_open_bars(), []
    for ticks, frontier in zip(batches, frontiers, strict=True):
        waiting = bars.merge(pd.concat([waiting, partials_of(ticks)], ignore_index=True))
        final = waiting["slot"] < frontier // SECOND
        folded = bars.fold(still_open, bars.slots(waiting[final]), INTERVALS, frontier)
        waiting, still_open = waiting[~final], folded.still_open
        out.append(bars.figures(folded.closed, LABELS))
    return pd.concat(out, ignore_index=True).sort_values(["bar_time", "interval", "instrument"], ignore_index=True)


@given(ticks=tick_tables(), cuts=st.lists(st.integers(0, 60), max_size=5), order=st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_bars_have_the_same_bits_however_ticks_are_cut(ticks, cuts, order):
    whole = run([ticks], [END])
    edges = [0, *sorted(min(cut, len(ticks)) for cut in cuts), len(ticks)]
    pieces = [ticks.iloc[a:b] for a, b in itertools.pairwise(edges)]
    # The frontier follows what has arrived; rows inside a piece come in any order.
    frontiers = [int(piece["ns"].max()) if len(piece) else 0 for piece in pieces]
    frontiers = list(np.maximum.accumulate(frontiers))
    shuffled = [piece.sample(frac=1, random_state=order.randint(0, 9999)) for piece in pieces]
    pd.testing.assert_frame_equal(run([*shuffled, ticks.iloc[:0]], [*frontiers, END]), whole, check_exact=True)


@given(ticks=tick_tables())
@settings(max_examples=15, deadline=None)
def test_bars_equal_a_plain_loop_over_the_prints(ticks):
    got = run([ticks], [END]).set_index(["instrument", "interval", "bar_time"])
    trades = ticks[ticks["kind"] == "trade"]
    assert len(got) == sum(trades.groupby(["instrument", trades["ns"] // ns]).ngroups for ns in INTERVALS)
    for interval in INTERVALS:
        for (instrument, number), group in trades.groupby(["instrument", trades["ns"] // interval]):
            bar = got.loc[(instrument, LABELS[interval], (number + 1) * interval)]
            prices = group["price"].to_numpy()
            assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (
                prices[0],
                prices.max(),
                prices.min(),
                prices[-1],
            )
            assert bar["trades"] == len(group)
            assert bar["volume"] == pytest.approx(group["size"].sum(), abs=1e-7)
            closes = group.groupby(group["ns"] // SECOND)["price"].last().to_numpy()
            returns = np.diff(np.log(np.r_[prices[0], closes]))
            if len(prices) > 1:
                assert bar["realised_variance"] == pytest.approx((returns**2).sum(), abs=1e-15)
                assert bar["semivariance_minus"] + bar["semivariance_plus"] == pytest.approx(bar["realised_variance"])
                assert bar["bipower"] == pytest.approx(np.pi / 2 * np.abs(returns[1:] * returns[:-1]).sum(), abs=1e-15)


def test_mid_quotes_make_the_bars_of_quote_driven_instruments():
    ticks = pd.DataFrame(
        {
            "instrument": "EURUSD",
            "kind": "quote",
            "ns": [0, 1, 2],
            "offset": [0, 1, 2],
            "price": [1.1, 1.3, 1.2],
            "size": 0.0,
        }
    )
    folded = bars.fold(bars.no_open_bars(), bars.slots(partials_of(ticks), {"EURUSD"}), (SECOND,), END)
    bar = bars.figures(folded.closed, LABELS).iloc[0]
    assert (bar["open"], bar["high"], bar["low"], bar["close"], bar["trades"]) == (1.1, 1.3, 1.1, 1.2, 3)
    assert bar["spread"] == pytest.approx(0.005)
    assert np.isnan(bar["vwap"])


def test_a_bar_of_one_print_has_no_variance():
    ticks = pd.DataFrame({"instrument": "A", "kind": "trade", "ns": [5], "offset": [0], "price": [9.0], "size": [1.0]})
    bar = run([ticks], [END]).iloc[0]
    assert np.isnan(bar["realised_variance"])
    assert np.isnan(bar["quarticity"])
