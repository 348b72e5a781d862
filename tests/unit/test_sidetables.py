"""Beside a bar stands what was known strictly before its end, at the versions that the plan names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.pipeline.sidetables import extras
from qts.store.columns import to_arrow
from qts.store.ledger import Ledger

MINUTE, DAY = 60_000_000_000, 86_400_000_000_000
T0 = 1_700_000_040_000_000_000 // DAY * DAY
NAMES = ("A", "B")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


def add_forecasts(ledger: Ledger, *rows: tuple[str, int, float], batch: int | None = None, **columns: Any) -> None:
    """Rows of (instrument, made_at, mean); sd is a tenth of the mean."""
    count = len(rows)
    mean = np.array([row[2] for row in rows])
    values = {
        "instrument": np.array([row[0] for row in rows], dtype=object),
        "made_at": np.array([row[1] for row in rows]),
        "target_time": np.array([row[1] + MINUTE for row in rows]),
        "mean": mean,
        "sd": mean / 10,
        **dict.fromkeys(("lower_80", "upper_80", "lower_95", "upper_95"), mean),
    }
    fixed = {"target": "variance", "horizon": 1, "model": "log_har", "version": "1", **columns}
    values |= {
        name: np.array([value] * count, dtype=None if name == "horizon" else object) for name, value in fixed.items()
    }
    if batch is not None:
        values |= {"checkpoint_id": np.array(["f"] * count, dtype=object), "batch_id": np.array([batch] * count)}
    ledger.append("forecasts", to_arrow("forecasts", values))


def add_indices(ledger: Ledger, name: str, *rows: tuple[int, float]) -> None:
    values = {
        "event_time": np.array([row[0] for row in rows]),
        "index_name": np.array([name] * len(rows), dtype=object),
        "value": np.array([row[1] for row in rows]),
    }
    ledger.append("indices", to_arrow("indices", values))


def add_regimes(ledger: Ledger, *rows: tuple[str, int, float], interval: str = "1m", version: str = "1") -> None:
    """Rows of (instrument, bar_time, probability of stress)."""
    count, stressed = len(rows), np.array([row[2] for row in rows])
    words = {"interval": interval, "model": "hmm", "version": version, "regime": "calm"}
    values: dict[str, Any] = {name: np.array([value] * count, dtype=object) for name, value in words.items()}
    values |= {"instrument": np.array([r[0] for r in rows], dtype=object), "bar_time": np.array([r[1] for r in rows])}
    values |= {"calm": 1 - stressed, "normal": 0 * stressed, "stressed": stressed}
    ledger.append("regimes", to_arrow("regimes", values | dict.fromkeys(("volatility", "log_density"), stressed / 10)))


def add_sentiment(ledger: Ledger, *rows: tuple[str | None, int, float], texts: Sequence[int] | None = None) -> None:
    """Rows of (instrument, event_time, score).

    Args:
        texts: equal numbers for equal texts; by default all differ.
    """
    words = dict.fromkeys(("label", "scorer"), np.array(["x"] * len(rows), dtype=object))
    values = {
        **words,
        "instrument": np.array([row[0] for row in rows], dtype=object),
        "event_time": np.array([row[1] for row in rows]),
        "score": np.array([row[2] for row in rows]),
        "uncertainty": np.zeros(len(rows)),
        "text_hash": np.arange(len(rows)) if texts is None else np.array(texts, np.int64),
    }
    ledger.append("sentiment", to_arrow("sentiment", values))


def end(ledger: Ledger, batch: int) -> None:
    row = {"job": "f", "checkpoint_id": "f", "batch_id": batch, "phase": "done", "payload": "{}"}
    at = pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    ledger.append("batches", pa.table({**{name: [value] for name, value in row.items()}, "at": at}))


def beside(
    ledger: Ledger, times: Sequence[int], interval: int = MINUTE, **versions: int
) -> dict[str, list[list[float]]]:
    pinned = {
        name: ledger.version(name) for name in ("forecasts", "regimes", "sentiment", "indices", "batches")
    } | versions
    found = extras(ledger, pinned, NAMES, np.array(times, dtype=np.int64), interval)
    assert all(values.shape == (len(times), len(NAMES)) for values in found.values())
    return {name: values.tolist() for name, values in found.items()}


def same(got: list[list[float]], want: list[list[float]]) -> bool:
    return np.array_equal(np.array(got), np.array(want), equal_nan=True)


NAN = float("nan")


def test_without_tables_or_bars_there_is_nothing(ledger):
    assert beside(ledger, [T0]) == {}
    add_forecasts(ledger, ("A", T0 - MINUTE, 1.0))
    assert beside(ledger, []) == {}
    assert beside(ledger, [T0], forecasts=-1) == {}
    assert list(beside(ledger, [T0])) == ["forecast.log_har.variance", "forecast.log_har.variance.sd"]


def test_a_forecast_counts_from_the_bar_after_the_one_it_was_made_at(ledger):
    add_forecasts(ledger, ("A", T0, 1.0), ("A", T0 + MINUTE, 2.0))
    found = beside(ledger, [T0, T0 + MINUTE, T0 + 2 * MINUTE])
    assert same(found["forecast.log_har.variance"], [[NAN, NAN], [1.0, NAN], [2.0, NAN]])
    assert same(found["forecast.log_har.variance.sd"], [[NAN, NAN], [0.1, NAN], [0.2, NAN]])


def test_an_index_counts_when_its_time_lies_before_the_bars_end(ledger):
    add_indices(ledger, "VIX", (T0, 20.0), (T0 + MINUTE - 1000, 21.0), (T0 + MINUTE, 22.0))
    found = beside(ledger, [T0, T0 + MINUTE, T0 + MINUTE + MINUTE])
    assert same(found["index.VIX"], [[NAN, NAN], [21.0, 21.0], [22.0, 22.0]])


def test_a_regime_counts_from_the_bar_after_its_own_and_the_newest_version_counts(ledger):
    add_regimes(ledger, ("A", T0, 0.25), ("A", T0 + MINUTE, 0.5), ("STRANGER", T0, 1.0))
    add_regimes(ledger, ("A", T0 + MINUTE, 0.75), version="2")
    add_regimes(ledger, ("B", T0, 0.9), interval="1d")
    found = beside(ledger, [T0, T0 + MINUTE, T0 + 2 * MINUTE, T0 + 9 * MINUTE])
    assert same(found["regime.stressed"], [[NAN, NAN], [0.25, NAN], [0.75, NAN], [NAN, NAN]])
    assert same(found["regime.calm"], [[NAN, NAN], [0.75, NAN], [0.25, NAN], [NAN, NAN]])
    assert same(found["regime.volatility"], [[NAN, NAN], [0.025, NAN], [0.075, NAN], [NAN, NAN]])
    assert same(found["regime.normal"], [[NAN, NAN], [0, NAN], [0, NAN], [NAN, NAN]])


def test_news_counts_before_the_bars_end_and_fades(ledger):
    hour = 60 * MINUTE
    add_sentiment(ledger, ("A", T0, 0.8), (None, T0, -0.4), ("STRANGER", T0, 1.0))
    found = beside(ledger, [T0, T0 + MINUTE, T0 + 6 * hour, T0 + 61 * hour])
    tone, news, market = (np.array(found[f"sentiment.{name}"]) for name in ("score", "news", "market"))
    assert not tone[:, 1].any()
    assert tone[0, 0] == 0
    assert tone[1, 0] == pytest.approx(0.4, abs=1e-3)
    assert tone[2, 0] == pytest.approx(0.8 * 0.5 / 1.5)
    assert news[2, 0] == pytest.approx(0.5)
    assert (tone[3, 0], news[3, 0]) == (0, 0)
    assert market[2].tolist() == pytest.approx([-0.4 * 0.5 / 1.5] * 2)


@pytest.mark.parametrize(("interval", "kept"), [(MINUTE, 5 * MINUTE), (DAY, 5 * DAY), (2 * DAY, 10 * DAY)])
def test_old_values_are_no_news(interval, kept, ledger):
    add_forecasts(ledger, ("A", T0, 1.0))
    add_indices(ledger, "VIX", (T0, 20.0))
    found = beside(ledger, [T0 + kept, T0 + kept + 1000], interval)
    assert same(found["forecast.log_har.variance"], [[1.0, NAN], [NAN, NAN]])
    assert same(found["index.VIX"], [[20.0, 20.0], [NAN, NAN]])


def test_instruments_models_targets_and_horizons_are_kept_apart(ledger):
    add_forecasts(ledger, ("A", T0, 1.0), ("B", T0, 2.0), ("STRANGER", T0, 9.0))
    add_forecasts(ledger, ("B", T0, 3.0), model="ewma")
    add_forecasts(ledger, ("A", T0, 4.0), target="return")
    add_forecasts(ledger, ("A", T0, 5.0), horizon=2)
    found = beside(ledger, [T0 + MINUTE])
    assert same(found["forecast.log_har.variance"], [[1.0, 2.0]])
    assert same(found["forecast.ewma.variance"], [[NAN, 3.0]])
    assert same(found["forecast.log_har.return"], [[4.0, NAN]])
    assert len(found) == 6


def test_rows_in_any_order_give_the_newest(ledger):
    add_indices(ledger, "VIX", (T0 + 2000, 3.0), (T0, 1.0))
    add_indices(ledger, "VIX", (T0 + 1000, 2.0))
    assert same(beside(ledger, [T0 + 1500, T0 + MINUTE])["index.VIX"], [[2.0, 2.0], [3.0, 3.0]])


def test_what_came_after_the_plan_changes_nothing(ledger):
    """A forecast added between a kill and the restart, and a batch that ended in between."""
    add_forecasts(ledger, ("A", T0, 1.0), batch=0)
    end(ledger, 0)
    add_forecasts(ledger, ("A", T0 + 1000, 2.0), batch=1)  # written, but not done when the plan is made
    add_indices(ledger, "VIX", (T0, 20.0))
    pinned = {name: ledger.version(name) for name in ("forecasts", "indices", "batches")}
    first = beside(ledger, [T0 + MINUTE], **pinned)
    assert same(first["forecast.log_har.variance"], [[1.0, NAN]])
    end(ledger, 1)
    add_forecasts(ledger, ("A", T0 + 2000, 3.0))
    add_indices(ledger, "VIX", (T0 + 1, 30.0))
    again = beside(ledger, [T0 + MINUTE], **pinned)
    assert all(same(again[name], first[name]) for name in first)
    assert again.keys() == first.keys()
    assert same(beside(ledger, [T0 + MINUTE])["forecast.log_har.variance"], [[3.0, NAN]])


def test_a_text_that_a_second_vendor_passes_on_is_news_once(tmp_path: Path) -> None:
    hour = 60 * MINUTE
    once, twice, other = (Ledger(tmp_path / name) for name in ("once", "twice", "other"))
    told = [("A", T0, 0.8), ("A", T0 + hour, -0.4), (None, T0, 0.5)]
    add_sentiment(once, *told, texts=[7, 8, 7])
    again = [("A", T0 + MINUTE, 0.8), ("A", T0 + 2 * hour, 0.8), (None, T0 + hour, 0.5)]
    add_sentiment(twice, *told, *again, texts=[7, 8, 7, 7, 7, 7])
    add_sentiment(other, *told, *again, texts=range(6))
    times = [T0 + n * hour for n in range(1, 30)]
    assert beside(twice, times) == beside(once, times)
    assert beside(other, times) != beside(once, times)  # three more texts
    # After 10 half-lives of 6 hours without it, it is news again.
    later = Ledger(tmp_path / "later")
    add_sentiment(later, ("A", T0, 0.8), ("A", T0 + 61 * hour, 0.8), texts=[7, 7])
    fresh, gone = (beside(later, [T0 + n * hour])["sentiment.news"][0][0] for n in (62, 61))
    assert gone == 0.0
    assert fresh == pytest.approx(2 ** (-1 / 6))


@given(
    texts=st.lists(
        st.tuples(st.sampled_from((*NAMES, None)), st.integers(0, 22), st.floats(-1, 1), st.integers(0, 1)), max_size=10
    ),
    cut=st.integers(1, 11),
)
@settings(max_examples=25)
def test_what_is_news_does_not_depend_on_where_batches_are_cut(texts, cut, tmp_path_factory):
    """Bars 15 hours apart, and texts between them: a text is forgotten after four bars."""
    ledger, step = Ledger(tmp_path_factory.mktemp("tables")), 15 * 60 * MINUTE
    if texts:
        rows = [(name, T0 + step // 2 * at, score) for name, at, score, _ in texts]
        add_sentiment(ledger, *rows, texts=[text for *_, text in texts])
    times = [T0 + step * number for number in range(12)]
    whole, parts = beside(ledger, times), [beside(ledger, times[:cut]), beside(ledger, times[cut:])]
    for name, values in whole.items():
        assert same(parts[0][name] + parts[1][name], values)


@given(
    known=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 40)), max_size=12, unique=True),
    index=st.lists(st.integers(0, 40), max_size=8, unique=True),
    texts=st.lists(st.tuples(st.sampled_from((*NAMES, None)), st.integers(0, 40), st.floats(-1, 1)), max_size=8),
    cut=st.integers(1, 19),
)
def test_a_bar_knows_the_same_however_bars_are_cut_into_batches(known, index, texts, cut, tmp_path_factory):
    """Half minutes since T0 for what is known, whole minutes for bars: equal times do occur."""
    ledger = Ledger(tmp_path_factory.mktemp("tables"))
    half = MINUTE // 2
    if known:
        add_forecasts(ledger, *((name, T0 + half * at, 1.0 + at) for name, at in known))
        add_regimes(ledger, *((name, T0 + half * at, at / 40) for name, at in known))
    if texts:
        add_sentiment(ledger, *((name, T0 + half * at, score) for name, at, score in texts))
    if index:
        add_indices(ledger, "VIX", *((T0 + half * at, 1.0 + at) for at in index))
    times = [T0 + MINUTE * number for number in range(20)]
    whole, parts = beside(ledger, times), [beside(ledger, times[:cut]), beside(ledger, times[cut:])]
    unknown = [[NAN, NAN]] * 20
    for name in whole.keys() | parts[0].keys() | parts[1].keys():
        joined = parts[0].get(name, unknown[:cut]) + parts[1].get(name, unknown[cut:])
        assert same(joined, whole.get(name, unknown))
    for place, name in enumerate(NAMES):
        for time, got in zip(times, whole.get("forecast.log_har.variance", unknown), strict=True):
            before = [at for who, at in known if who == name and time - 5 * MINUTE <= T0 + half * at < time]
            assert same([[got[place]]], [[1.0 + max(before) if before else NAN]])
