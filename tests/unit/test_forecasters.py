from __future__ import annotations

import itertools
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from qts.errors import ConfigError
from qts.forecast.averages import rolling_mean
from qts.forecast.base import UNFITTED, Forecast, Forecaster
from qts.forecast.history import History, variance_floor
from qts.forecast.registry import build, names
from qts.forecast.scores import Score, log_score, qlike

_DAY = 86_400_000_000_000
_SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
#: Prophet and the LSTM take seconds a fit: tests/unit/test_prices.py has them.
_MODELS = [model for name, model in build(names()).items() if name not in {"prophet", "lstm"}]

models = pytest.mark.parametrize("model", _MODELS, ids=lambda model: model.name)


def _rows(bars: int, instruments: int, seed: int) -> dict[str, np.ndarray]:
    """Rows of a panel in no order, with missing bars; the first of two instruments has realised variance."""
    rng = np.random.default_rng(seed)
    sd = 0.01 * np.exp(0.5 * rng.normal(size=(bars, instruments)))
    close = 100 * np.exp(np.cumsum(sd * rng.normal(size=sd.shape), axis=0))
    close[rng.random(close.shape) < 0.05] = np.nan
    variance = np.where(np.arange(instruments) % 2 == 0, sd**2, np.nan)
    at, code = np.meshgrid(np.arange(bars) * _DAY, np.arange(instruments), indexing="ij")
    order = rng.permutation(bars * instruments)
    return {
        "code": code.ravel()[order],
        "times": at.ravel()[order],
        "close": close.ravel()[order],
        "realised_variance": variance.ravel()[order],
    }


def _history(rows: dict[str, np.ndarray], instruments: int, keep: np.ndarray | None = None) -> History:
    chosen = rows if keep is None else {name: values[keep] for name, values in rows.items()}
    return History.pack([f"S{n:02}" for n in range(instruments)], **chosen, interval=_DAY)


def _following(rows: dict[str, np.ndarray], begin: int, end: int) -> History:
    """The bars of some days, each instrument's packed behind the last good one before them."""
    times, usable = rows["times"] // _DAY, np.isfinite(rows["close"])
    kept = (begin <= times) & (times < end)
    for n in range(3):
        before = usable & (rows["code"] == n) & (times < begin)
        kept |= before & (times == times[before].max())
    return _history(rows, 3, kept)


def _figures(forecasts: dict[str, Forecast]) -> dict[tuple[str, str], np.ndarray]:
    return {(t, f.name): getattr(forecast, f.name) for t, forecast in forecasts.items() for f in fields(forecast)}


@models
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), cut=st.integers(110, 199))
def test_the_future_never_changes_a_past_forecast(model: Forecaster, seed: int, cut: int) -> None:
    rows = _rows(200, 3, seed)
    whole, part = _history(rows, 3), _history(rows, 3, rows["times"] < cut * _DAY)
    params = model.fit(whole.first(np.full(3, 100)))
    long, short = _figures(model.run(params, whole)[0]), _figures(model.run(params, part)[0])
    inside = part.inside
    for name, values in short.items():
        np.testing.assert_array_equal(values[inside], long[name][: len(values)][inside])


@models
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(150, 199), min_size=1, max_size=4, unique=True))
def test_a_state_that_is_carried_gives_the_bits_of_the_whole_history(
    model: Forecaster, seed: int, cuts: list[int]
) -> None:
    rows = _rows(200, 3, seed)
    whole = _history(rows, 3)
    params = model.fit(whole.first(np.full(3, 100)))
    together, last = model.run(params, whole)
    part = _history(rows, 3, rows["times"] < min(cuts) * _DAY)
    _, state = model.run(params, part)
    assert state["ready"].all()
    row, expected = part.length, _figures(together)
    for begin, end in itertools.pairwise([*sorted(cuts), 200]):
        # One instrument's last bar stays away from a batch now and then: the others go on without it.
        fresh = _following(rows, begin, end)
        forecasts, state = model.run(params, fresh, state)
        for name, values in _figures(forecasts).items():
            for n in range(3):
                found = values[: fresh.length[n], n]
                np.testing.assert_array_equal(found, expected[name][row[n] : row[n] + fresh.length[n], n])
        row = row + fresh.length
    assert {key: values.shape for key, values in state.items()} == {key: values.shape for key, values in last.items()}
    for key, values in last.items():
        np.testing.assert_array_equal(state[key], values)


@models
@pytest.mark.parametrize("buckets", [2, 7])
def test_bits_do_not_depend_on_who_else_is_in_the_bucket(model: Forecaster, buckets: int) -> None:
    whole = _history(_rows(260, 7, 5), 7)
    params = model.fit(whole.first(whole.length // 2))
    together = _figures(model.run(params, whole)[0])
    for bucket in range(buckets):
        columns = list(range(bucket, 7, buckets))
        part = whole.columns(columns)
        assert model.fit(part.first(part.length // 2)) == [params[n] for n in columns]
        alone = _figures(model.run([params[n] for n in columns], part)[0])
        for name, values in alone.items():
            np.testing.assert_array_equal(values, together[name][: len(values), columns])


@models
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), bars=st.integers(0, 130), huge=st.sampled_from([1e-4, 1e300]))
@example(seed=198, bars=13, huge=1e-4)  # enough bars that never moved for the naive model alone
def test_any_series_gives_parameters_and_ordered_intervals(
    model: Forecaster, seed: int, bars: int, huge: float
) -> None:
    rng = np.random.default_rng(seed)
    close = rng.choice([1e-8, 1.0, 1.0, 50.0, 1e9, np.nan, np.inf, -1.0, 0.0], (bars, 2))
    close[:, 1] = 7.0  # never moves
    rows = {
        "code": np.tile([0, 1], bars),
        "times": np.repeat(np.arange(bars), 2) * _DAY,
        "close": close.ravel(),
        "realised_variance": rng.choice([np.nan, np.inf, 0.0, -1.0, 1e-300, 1e-4, huge], 2 * bars),
    }
    history = _history(rows, 2)
    params = model.fit(history)
    for p in params:
        assert p["method"] in {*names(), UNFITTED}
        assert (p["fallback"] == "") == (p["method"] == model.name)
    for forecast in model.run(params, history)[0].values():
        known = np.isfinite(forecast.mean)
        assert np.isfinite([getattr(forecast, f.name)[known] for f in fields(forecast)]).all()
        assert (forecast.sd[known] > 0).all()
        assert (forecast.lower_95[known] <= forecast.lower_80[known]).all()
        assert (forecast.lower_80[known] <= forecast.upper_80[known]).all()
        assert (forecast.upper_80[known] <= forecast.upper_95[known]).all()
        assert not known[~history.inside].any()


def test_har_is_ordinary_least_squares() -> None:
    history = _history(_rows(500, 1, 2), 1)
    (params,) = build(["log_har"])["log_har"].fit(history)
    log = pd.Series(history.variance[:, 0])
    design = sm.add_constant(np.column_stack([np.log(log.rolling(w).mean()) for w in (1, 5, 22)])[21:-1])
    fit = sm.OLS(np.log(log.to_numpy())[22:], design).fit()
    np.testing.assert_allclose(params["beta"], fit.params, rtol=0, atol=1e-9)
    assert params["variance"]["level"] == pytest.approx(np.exp(fit.resid).mean(), rel=1e-9)
    np.testing.assert_allclose(
        params["variance"]["quantiles"], np.exp(np.quantile(fit.resid, [0.1, 0.9, 0.025, 0.975])), rtol=5e-3
    )


def test_har_is_unbiased_over_its_training_window() -> None:
    history = _history(_rows(400, 2, 9), 2)
    har = build(["log_har"])["log_har"]
    params = har.fit(history)
    assert [p["method"] for p in params] == ["log_har", "log_har"]
    forecast = har.run(params, history)[0]["variance"]
    ratio = history.outcome("variance") / forecast.mean
    np.testing.assert_allclose(np.nanmean(ratio, axis=0), 1.0, rtol=1e-9)


def test_ewma_is_the_recursion() -> None:
    history = _history(_rows(150, 1, 4), 1)
    ewma = build(["ewma"])["ewma"]
    mean = ewma.run(ewma.fit(history), history)[0]["variance"].mean[:, 0]
    x = history.variance[:, 0]
    level = x[:20].mean()
    assert np.isnan(mean[:19]).all()
    for t in range(19, len(x)):
        level = level if t == 19 else 0.94 * level + 0.06 * x[t]
        assert mean[t] == pytest.approx(level, rel=1e-12)


def test_naive_repeats_the_last_variance() -> None:
    history = _history(_rows(60, 2, 4), 2)
    naive = build(["naive"])["naive"]
    forecasts = naive.run(naive.fit(history), history)[0]
    np.testing.assert_array_equal(forecasts["variance"].mean, history.variance)
    sd = np.sqrt(pd.DataFrame(history.returns**2).expanding().mean().to_numpy())
    np.testing.assert_allclose(forecasts["return"].sd[history.inside], sd[history.inside], rtol=1e-12)
    assert (forecasts["return"].mean[history.inside] == 0).all()


def test_a_series_falls_back_step_by_step_and_says_why() -> None:
    rows = _rows(120, 1, 6)
    history = _history(rows, 1)
    har = build(["log_har"])["log_har"]
    methods = {}
    for bars in (5, 25, 60, 110):
        (params,) = har.fit(history.first(np.array([bars])))
        methods[bars] = params["method"]
        assert params["bars"] == bars
    assert methods == {5: UNFITTED, 25: "naive", 60: "ewma", 110: "log_har"}
    (params,) = har.fit(history.first(np.array([25])))
    assert params["fallback"] == "log_har: 25 bars, 82 needed; ewma: 25 bars, 30 needed"


def test_a_history_counts_an_instruments_own_bars() -> None:
    history = History.pack(
        ["b", "a"],
        np.array([0, 1, 0, 1, 0, 0]),
        np.array([3, 1, 1, 9, 2, 4]) * _DAY,
        np.array([100.0, 5.0, 99.0, 5.0, np.nan, 101.0]),
        np.array([np.nan, 1.0, 1.0, 0.0, 1.0, 2e-4]),
        _DAY,
    )
    assert history.instruments == ("a", "b")
    assert history.length.tolist() == [1, 2]
    assert history.times[:, 1].tolist() == [3 * _DAY, 4 * _DAY]
    np.testing.assert_allclose(history.returns[:, 1], np.log([100 / 99, 101 / 100]))
    # b: squared return where no realised variance is known; a: did not move, so the floor.
    np.testing.assert_allclose(history.variance[:, 1], [np.log(100 / 99) ** 2, 2e-4])
    assert history.variance[0, 0] == variance_floor(_DAY) == 1e-8


@given(st.integers(1, 40), st.integers(1, 30))
def test_rolling_mean(length: int, window: int) -> None:
    values = np.random.default_rng(length).normal(size=(length, 3))
    expected = pd.DataFrame(values).rolling(window).mean().to_numpy()
    np.testing.assert_allclose(rolling_mean(values, window), expected, atol=1e-12)


def test_scores() -> None:
    y, mean, sd = np.array([0.01, -0.02]), np.zeros(2), np.array([0.01, 0.03])
    np.testing.assert_allclose(log_score(y, mean, sd), -norm.logpdf(y, mean, sd))
    assert (qlike(np.array([1e-4, 4e-4]), np.array([2e-4, 2e-4])) > 0).all()
    forecast = Forecast(mean, sd, -sd, sd, -2 * sd, 2 * sd)
    score = Score.of("return", forecast, np.array([0.015, np.nan]), np.array([True, True]))
    assert (score.n, score.inside_80, score.inside_95) == (1, 0, 1)
    assert (score + score).metrics("return")["return.rmse"] == pytest.approx(0.015)
    assert Score().metrics("return") == {}


def test_disorder_repeats_and_negative_variances_change_nothing() -> None:
    rows = _rows(120, 2, 8)
    clean = _history(
        {**rows, "realised_variance": np.where(rows["times"] % 7 == 0, np.nan, rows["realised_variance"])}, 2
    )
    again = np.concatenate([np.arange(240), np.arange(0, 240, 3)])[::-1]
    messy = {name: values[again] for name, values in rows.items()}
    messy["realised_variance"] = np.where(messy["times"] % 7 == 0, -1e-4, messy["realised_variance"])
    found = _history(messy, 2)
    assert found.length.tolist() == clean.length.tolist()
    for name in ("times", "returns", "variance"):
        np.testing.assert_array_equal(getattr(found, name), getattr(clean, name))


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'ewma'"):
        build(["ewmaa"])


def _out_of_sample(close: Any, variance: Any, times: Any) -> dict[str, dict[str, float]]:
    history = History.pack(["X"], np.zeros(len(times), np.int64), times, close, variance, _DAY)
    train = history.length // 2
    later = np.arange(len(history.times))[:, None] >= train
    found: dict[str, dict[str, float]] = {}
    for model in build(["naive", "ewma", "log_har", "har_leverage"]).values():
        forecasts = model.run(model.fit(history.first(train)), history)[0]
        found[model.name] = {}
        for target, forecast in forecasts.items():
            found[model.name] |= Score.of(target, forecast, history.outcome(target), later).metrics(target)
    return found


def test_coverage_and_order_on_the_sp500() -> None:
    """Trained on 1999 to 2008, judged on 2009 to 2018. Proxy: Garman and Klass (1980) on real daily OHLC."""
    from arch.data import sp500

    data = sp500.load().dropna()
    opened, high, low, close = (data[name].to_numpy(np.float64) for name in ("Open", "High", "Low", "Close"))
    garman_klass = 0.5 * np.log(high / low) ** 2 - (2 * np.log(2) - 1) * np.log(close / opened) ** 2
    found = _out_of_sample(close, garman_klass, data.index.to_numpy().astype("datetime64[ns]").astype(np.int64))
    har, ewma, naive = (found[name] for name in ("log_har", "ewma", "naive"))
    assert har["variance.n"] > 2500
    # Measured: QLIKE .371 < .420 < .669; coverage of HAR .774 and .943 (variance), .803 and .937 (returns).
    assert har["variance.qlike"] < ewma["variance.qlike"] < naive["variance.qlike"]
    assert har["return.log_score"] < ewma["return.log_score"] < naive["return.log_score"]
    assert 0.75 <= har["variance.coverage_80"] <= 0.85
    assert 0.92 <= har["variance.coverage_95"] <= 0.97
    assert 0.75 <= har["return.coverage_80"] <= 0.85
    assert 0.92 <= har["return.coverage_95"] <= 0.97


def test_order_on_the_dow_jones_realised_variance() -> None:
    file = _SHARED / "volatility/dji_realized_oxfordman_v03.csv"
    if not file.exists():
        pytest.skip("the shared data folder is absent")
    data = pd.read_csv(file, parse_dates=["date"]).dropna(subset=["rv5", "close_price"])
    times = data["date"].to_numpy().astype("datetime64[ns]").astype(np.int64)
    found = _out_of_sample(data["close_price"].to_numpy(), data["rv5"].to_numpy(), times)
    assert found["log_har"]["variance.qlike"] < found["ewma"]["variance.qlike"] < found["naive"]["variance.qlike"]
    assert found["log_har"]["variance.rmse"] < found["naive"]["variance.rmse"]
    assert found["har_leverage"]["variance.qlike"] < found["log_har"]["variance.qlike"]
    # The residuals of 2000 to 2009 alone held 88% of the calmer years after; learning from every bar holds the promise.
    for name in ("log_har", "har_leverage"):
        assert abs(found[name]["variance.coverage_95"] - 0.95) < 0.01
        assert abs(found[name]["variance.coverage_80"] - 0.80) < 0.02
