"""Regimes of many instruments in buckets: parameters and states as JSON, cuts and buckets that change no bit."""

from __future__ import annotations

import json
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_regime_forward import model_of

from qts.errors import DataError
from qts.market.returns import log_return
from qts.market.sentiment.decay import FORGOTTEN, decayed
from qts.mlops.regimes import PyFunc, RegimeBundle
from qts.pipeline import regime_evidence
from qts.pipeline.regime_buckets import FilterBucket, FitBucket, Returns
from qts.pipeline.training import by_bucket
from qts.regime.forward import filter_series
from qts.regime.model import Regimes
from qts.regime.panel import Panel, fit_returns, scores

DAY = 86_400_000_000


def rows(closes: dict[str, list[float]], first: int = 0) -> list[dict[str, Any]]:
    return [
        {"instrument": name, "at": (first + day) * DAY, "close": close, "params": None}
        for name, values in closes.items()
        for day, close in enumerate(values)
    ]


def run(task: Any, bars: list[dict[str, Any]], params: dict[str, Any]) -> list[dict[str, Any]]:
    schema = pa.schema(
        [("instrument", pa.string()), ("at", pa.int64()), ("close", pa.float64()), ("params", pa.string())]
    )
    beside = [{"instrument": name, "params": json.dumps(p)} for name, p in params.items()]
    batches = [pa.RecordBatch.from_pylist(part, schema) for part in (bars[::2], beside, bars[1::2])]
    return [row for batch in task(iter(batches)) for row in batch.to_pylist()]


def params_of(seed: int, states: int, after: int = 0) -> dict[str, Any]:
    model = model_of(seed, states)
    scaled = Regimes(model.mean / 100, model.sd / 100, model.transition, model.start, model.ar)
    return {"method": "hmm", "fallback": "", "after": after, **scaled.to_params()}


@given(seed=st.integers(0, 1000), cut=st.integers(2, 28), split=st.booleans())
@settings(max_examples=25)
def test_cuts_and_buckets_change_no_bit(seed, cut, split):
    rng = np.random.default_rng(seed)
    closes = {name: (100 * np.exp(np.cumsum(0.01 * rng.normal(size=30)))).tolist() for name in "ABC"}
    closes["B"][7] = float("nan")
    params = {name: params_of(seed + n, 1 + n) for n, name in enumerate("ABC")}
    task = FilterBucket("1")
    buckets = ("A", "BC") if split else ("ABC",)
    found, whole = [], run(task, rows(closes), params)
    for bucket in buckets:
        own = {name: params[name] for name in bucket}
        first = run(task, rows({name: closes[name][:cut] for name in bucket}), own)
        standing = {row["instrument"]: json.loads(row["standing"]) for row in first if row["standing"]}
        later = {name: {**own[name], "standing": standing.get(name)} for name in bucket}
        second = run(task, rows({name: closes[name][cut:] for name in bucket}, cut), later)
        found += [row for row in first + second if row["at"] is not None]
    key = lambda row: (row["instrument"], row["at"])  # noqa: E731
    assert sorted(found, key=key) == sorted((row for row in whole if row["at"] is not None), key=key)
    clean = {name: np.array([c for c in values if np.isfinite(c)]) for name, values in closes.items()}
    for name, values in clean.items():
        alone = filter_series(Regimes.of_params(params[name]), log_return(values[:-1], values[1:]))
        own = [row for row in whole if row["instrument"] == name and row["at"] is not None]
        assert [row["log_density"] for row in own] == alone.log_density.tolist()


def test_fitting_a_bucket():
    rng = np.random.default_rng(0)
    wild = (np.arange(400) // 50) % 2 == 1
    closes = {
        "A": (100 * np.exp(np.cumsum(np.where(wild, 0.03, 0.005) * rng.normal(size=400)))).tolist(),
        "STILL": [5.0] * 400,
        "SHORT": [5.0, 6.0],
    }
    found = {row["instrument"]: row for row in run(FitBucket(False, 0.5, 100, None, 3), rows(closes), {})}
    assert set(found) == {"A", "STILL"}
    fitted = json.loads(found["A"]["params"])
    assert (fitted["bars"], fitted["seen"], fitted["trained_until"]) == (199, 399, 199 * DAY * 1000)
    assert len(fitted["mean"]) == 2
    told = json.loads(found["A"]["scores"])
    assert told["old"] is None
    assert told["new"]["n"] == 200
    assert told["new"]["log_score"] > told["new"]["normal"] + 20
    assert json.loads(found["STILL"]["params"])["method"] == "none"
    again = run(FitBucket(True, 0.5, 100, None, 3), rows(closes), {"A": fitted})
    assert [row["instrument"] for row in again] == ["STILL"]
    refit = {r["instrument"]: r for r in run(FitBucket(False, 0.5, 100, None, 3), rows(closes), {"A": fitted})}
    both = json.loads(refit["A"]["scores"])
    assert both["old"] == both["new"]


def test_a_bucket_without_rows_gives_none():
    assert run(FilterBucket("1"), [], {}) == []
    assert run(FilterBucket("1"), rows({"A": [1.0, 2.0]}), {}) == []
    assert run(FitBucket(False, 0.5, 60, 2, 1), [], {}) == []


def test_returns_are_packed_in_time_order():
    packed = Returns.pack(["B", "A", "A", "B", "A"], np.array([2, 3, 1, 1, 2]), np.array([4.0, 8.0, 1.0, 2.0, np.nan]))
    assert packed.instruments == ("A", "B")
    assert packed.length.tolist() == [1, 1]
    assert packed.times.tolist() == [[3, 2]]
    np.testing.assert_allclose(packed.values, [[np.log(8), np.log(2)]])
    assert packed.last.tolist() == [8, 4]


def test_too_many_states_fall_back_and_say_why():
    returns = np.random.default_rng(1).normal(size=25)
    assert "25 finite values; 3 states need 30" in fit_returns(returns, 3, 1)["fallback"]
    assert len(fit_returns(returns, 3, 1)["mean"]) == 1
    assert fit_returns(np.zeros(50), None, 1)["method"] == "none"
    (nothing,) = scores([{"method": "none"}], returns[:, None], [10])
    assert (nothing["n"], nothing["log_score"], sum(nothing["pit"])) == (0, 0.0, 0)
    with pytest.raises(DataError, match="Fit them again"):
        Panel.of([{**params_of(1, 2), "sd": [1.0, -1.0]}])


def test_the_next_bars_sd_is_that_of_the_mixture():
    panel = Panel.of([params_of(4, 3)])
    model, p = panel.models[0], np.array([0.2, 0.5, 0.3])
    ahead = p @ model.transition
    mean = ahead @ model.mean
    expected = np.sqrt(ahead @ (model.sd**2 + model.mean**2) - mean**2)
    np.testing.assert_allclose(panel.filter.next_sd(p[None, :]), [expected])


@given(
    news=st.lists(st.tuples(st.integers(0, 50), st.floats(-1, 1)), max_size=12),
    at=st.lists(st.integers(0, 60), min_size=1, max_size=6).map(sorted),
    later=st.integers(0, 50),
)
def test_news_fades_by_its_formula_and_never_from_the_future(news, at, later):
    times, said = np.array([t for t, _ in news], np.int64), np.array([s for _, s in news], np.float64)
    tone, amount = decayed(times, said, np.array(at), 3)
    for row, now in enumerate(at):
        known = [(2.0 ** (-(now - t) / 3), s) for t, s in news if now - 3 * FORGOTTEN <= t < now]
        total = sum(w for w, _ in known)
        assert amount[row] == pytest.approx(total)
        assert tone[row] == pytest.approx(sum(w * s for w, s in known) / (1 + total))
        assert -1 < tone[row] < 1
    before = np.array(at) <= later
    more = decayed(np.append(times, later), np.append(said, 1.0), np.array(at), 3)
    np.testing.assert_array_equal(more[0][before], tone[before])


def test_the_pyfunc_bridges_a_bar_without_a_close() -> None:
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=60)))
    times = pd.date_range("2024-01-01", periods=60)
    model = PyFunc(RegimeBundle("hmm", 1, {"A": fit_returns(log_return(close[:-1], close[1:]), 2, 2)}))
    bars = pd.DataFrame({"instrument": "A", "bar_time": times, "close": close})
    holes = bars.assign(close=np.where(np.isin(np.arange(60), [20, 21, 40]), np.nan, close))
    holes.loc[40, "close"] = 0.0
    expected = model.predict(bars.drop([20, 21, 40]))
    pd.testing.assert_frame_equal(model.predict(holes), expected)
    assert len(expected) == 56


def test_where_bars_fall_in_the_distributions_that_were_foretold():
    rng = np.random.default_rng(1)
    model = Regimes(
        np.zeros(2), np.array([0.5, 2.0]), np.array([[0.95, 0.05], [0.1, 0.9]]), np.full(2, 0.5), np.zeros(0)
    )
    state, values = 0, np.empty(4000)
    for t in range(len(values)):
        state = int(rng.random() < model.transition[state, 1])
        values[t] = model.sd[state] * rng.normal()
    right, narrow = (
        scores([{"method": "hmm", "fallback": "", **m.to_params()}], values[:, None], [1000])[0]
        for m in (model, Regimes(model.mean, 0.6 * model.sd, model.transition, model.start, model.ar))
    )
    n = right["n"]
    assert n == sum(right["pit"]) == 3000
    # Binomial standard errors: .0073 of .8, .0040 of .95; chi-squared with 9 degrees of freedom: 99.9% below 27.9.
    assert right["inside_80"] / n == pytest.approx(0.80, abs=0.022)
    assert right["inside_95"] / n == pytest.approx(0.95, abs=0.012)
    assert sum((count - n / 10) ** 2 / (n / 10) for count in right["pit"]) < 27.9
    assert narrow["inside_95"] / n < 0.92
    assert narrow["pit"][0] + narrow["pit"][-1] > 0.25 * n
    # The first bar that counts is foretold by the bars before it, as brute force has it.
    (_, found), cut = Panel.of([{"method": "hmm", "fallback": "", **model.to_params()}]).filter.run(values[:, None]), 7
    ahead = found.probability[cut, 0] @ model.transition
    expected = sum(p * NormalDist(0, sd).cdf(values[cut + 1]) for p, sd in zip(ahead, model.sd, strict=True))
    told = Panel.of([{"method": "hmm", "fallback": "", **model.to_params()}]).filter.next_probability(
        found.probability[:-1], values[1:, None]
    )
    assert told[cut, 0] == pytest.approx(expected, rel=1e-12)


def test_a_runs_evidence_adds_up():
    """Two buckets, one series that no model fits: the table, the metrics of the buckets and of all, the picture."""
    params = {"A": {"bars": 9, **params_of(1, 2)}, "B": {"bars": 9, **params_of(2, 3)}}
    still = {"method": "none", "fallback": "the series does not move", "bars": 9}
    bundle = RegimeBundle("hmm", 1, {**params, "STILL": still})
    returns = 0.01 * np.random.default_rng(4).normal(size=(300, 3))
    found = scores([*params.values(), still], returns, [100, 100, 100])
    rows = [
        {"instrument": n, "bucket": k % 2, "scores": {"new": s}}
        for k, (n, s) in enumerate(zip("AB", found, strict=False))
    ]
    rows.append({"instrument": "STILL", "bucket": 1, "scores": {"new": found[2]}})
    table = regime_evidence.accuracy(bundle, rows).set_index("instrument")
    assert table["states"].to_dict() == {"A": 2, "B": 3, "STILL": 0}
    assert table.loc["STILL", "fallback"] == "the series does not move"
    assert np.isnan(table.loc["A", "normal_sd"])
    assert table.loc["B", "calm_sd"] < table.loc["B", "normal_sd"] < table.loc["B", "stressed_sd"]
    whole, parts = (
        regime_evidence.metrics(found),
        by_bucket(rows, lambda own: regime_evidence.metrics([score["new"] for score in own])),
    )
    assert whole["n"] == parts["within_bucket.000.n"] + parts["within_bucket.001.n"] == 400
    assert whole["log_density"] == pytest.approx(
        (parts["within_bucket.000.log_density"] + parts["within_bucket.001.log_density"]) / 2
    )
    assert parts["within_bucket.001.log_density"] == table.loc["B", "log_density"]
    picture = regime_evidence.calibration_plot(table.reset_index(), rows, "hmm").decode()
    assert "<svg" in picture
    one_state = [{**rows[0], "instrument": "C"}]
    plain = RegimeBundle("hmm", 1, {"C": {"bars": 9, **params_of(1, 1)}})
    for other, kept in ((bundle, []), (plain, one_state)):
        picture = regime_evidence.calibration_plot(regime_evidence.accuracy(other, kept), kept, "hmm")
        assert b"<svg" in picture
