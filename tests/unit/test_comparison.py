"""Diebold-Mariano against statsmodels, its size under the null, and the bootstrap's intervals."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from qts.errors import DataError
from qts.forecast.comparison import bootstrap_interval, diebold_mariano, rmse_cut, winkler


@given(seed=st.integers(0, 1000), n=st.integers(10, 300), horizon=st.integers(1, 5))
def test_t_is_that_of_a_regression_on_a_constant_with_hac_errors(seed: int, n: int, horizon: int) -> None:
    a, b = np.random.default_rng(seed).gamma(1, size=(2, n))
    found = diebold_mariano(a, b, horizon=horizon)
    hac = {"maxlags": found.lags, "use_correction": False}
    fit = sm.OLS(a - b, np.ones(n)).fit(cov_type="HAC", cov_kwds=hac)
    small = np.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    assert found.t == pytest.approx(fit.tvalues[0] * small, rel=1e-9)
    assert found.lags >= horizon - 1
    assert diebold_mariano(b, a, horizon=horizon).t == pytest.approx(-found.t)


def test_equal_forecasts_are_rejected_as_often_as_promised() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(400, 402, 2))
    losses = (noise[:, 2:] + 0.5 * noise[:, 1:-1] + 0.3 * noise[:, :-2]) ** 2  # autocorrelated, of one law
    rejected = np.mean([diebold_mariano(pair[:, 0], pair[:, 1]).p < 0.05 for pair in losses])
    assert 0.02 < rejected < 0.09


def test_degenerate_losses() -> None:
    ones = np.ones(10)
    assert (diebold_mariano(ones, ones).t, diebold_mariano(ones, ones).p) == (0.0, 1.0)
    assert (diebold_mariano(ones, 2 * ones).t, diebold_mariano(ones, 2 * ones).p) == (-np.inf, 0.0)
    assert np.isnan(diebold_mariano(ones[:2], ones[:2]).t)
    holes = np.where(np.arange(10) == 3, np.nan, np.arange(10.0))
    assert diebold_mariano(holes, ones).n == 9
    with pytest.raises(DataError, match="one length"):
        diebold_mariano(ones, ones[:3])


@given(seed=st.integers(0, 1000))
def test_no_interval_beats_the_true_quantiles_by_more_than_noise(seed: int) -> None:
    y = np.random.default_rng(seed).normal(size=20_000)
    z = 1.6448536
    best = winkler(y, np.full_like(y, -z), np.full_like(y, z), 0.9).mean()
    for factor in (0.7, 1.4):
        assert winkler(y, np.full_like(y, -factor * z), np.full_like(y, factor * z), 0.9).mean() > best


def test_the_bootstrap_interval_of_an_rmse_cut() -> None:
    rng = np.random.default_rng(5)
    good, bad = rng.normal(size=800) ** 2, (1.5 * rng.normal(size=800)) ** 2
    low, high = bootstrap_interval(rmse_cut, good, bad)
    assert low < rmse_cut(good, bad) < high
    assert low < 1 - 1 / 1.5 < high
    assert (low, high) == bootstrap_interval(rmse_cut, good, bad)
    assert bootstrap_interval(rmse_cut, good, bad, level=0.5)[0] > low
    assert np.isnan(bootstrap_interval(rmse_cut, good[:1], bad[:1])).all()
    assert np.isnan(rmse_cut(good, np.zeros(800)))


def test_the_bootstrap_interval_of_a_dependent_mean_covers() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(100):
        shocks = rng.normal(size=700)
        series = np.convolve(shocks, 0.8 ** np.arange(30), "valid")
        low, high = bootstrap_interval(lambda x: float(x.mean()), series, draws=200)
        hits += low < 0 < high
    assert hits >= 85
