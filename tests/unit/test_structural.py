"""Structural models against published figures, statsmodels' filter, and what their states must hold to."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.tsa.statespace.structural import UnobservedComponents

from qts.forecast.point.base import Panel
from qts.forecast.point.registry import build
from qts.forecast.point.structural import LocalLevel, LocalTrend
from qts.market.bar import Array, State

MODELS: dict[str, LocalLevel] = {"llevel": LocalLevel(), "lltrend": LocalTrend()}
both = pytest.mark.parametrize("form", MODELS)


def _panel(values: Array) -> Panel:
    rows, series = values.shape
    times = np.arange(rows)[:, None] * np.ones(series, np.int64)
    return Panel(tuple(f"S{n}" for n in range(series)), values, times, np.ones(series, np.int64))


def _trend(rows: int, seed: int, noise: float = 1.0, level: float = 0.5, slope: float = 0.05) -> Array:
    rng = np.random.default_rng(seed)
    slopes = np.cumsum(slope * rng.normal(size=rows))
    return np.cumsum(slopes + level * rng.normal(size=rows)) + noise * rng.normal(size=rows)


def _variances(state: State) -> Array:
    """Relative to the noise: level, slope."""
    return np.array([state["share_level"][0], state["share_slope"][0]]) / state["share_noise"][0]


def test_the_nile_has_the_ratio_of_variances_that_the_book_gives() -> None:
    """Durbin and Koopman (2012), section 2.10: noise 15099, level 1469.1; the filtered level of 1970 is 798.37."""
    flow = sm.datasets.nile.load_pandas().data["volume"].to_numpy(np.float64)
    fit = MODELS["llevel"].fit(_panel(flow[:, None]), 1)
    assert fit.fallback == ("",)
    assert _variances(fit.state)[0] == pytest.approx(1469.1 / 15099, rel=0.02)
    assert fit.state["level"][0] == pytest.approx(798.37, abs=0.5)
    # The filtered variance has long settled, at 4032.2 (figure 2.1).
    assert fit.state["p_level"][0] / fit.state["share_noise"][0] == pytest.approx(4032.2 / 15099, rel=0.02)


@both
@pytest.mark.parametrize("seed", range(3))
def test_the_most_likely_variances_are_no_less_likely_than_statsmodels(form: str, seed: int) -> None:
    values = _trend(250, seed)
    reference = UnobservedComponents(values, form, use_exact_diffuse=True)
    best = reference.fit(disp=0, method="powell", maxiter=300)
    level, slope = _variances(MODELS[form].fit(_panel(values[:, None]), 1).state)

    def likelihood(scale: float) -> float:
        return float(reference.loglike(np.array([1.0, level] if form == "llevel" else [1.0, level, slope]) * scale))

    ours = max(likelihood(float(scale)) for scale in best.params[0] * np.geomspace(0.5, 2, 101))
    assert ours > best.llf - 0.01


@both
def test_the_filter_is_statsmodels_filter_through_gaps_too(form: str) -> None:
    values = _trend(160, 5)
    values[[20, 21, 22, 70, *range(100, 130), 158, 159]] = np.nan
    model = MODELS[form]
    state = model.fit(_panel(values[:, None]), 5).state
    found = model.forecast(state, 5)
    shares = np.array([state[f"share_{name}"][0] for name in ("noise", "level", "slope")])
    given_ = shares[: 2 if form == "llevel" else 3]
    reference = UnobservedComponents(values, form, use_exact_diffuse=True).smooth(given_).get_forecast(5)
    np.testing.assert_allclose(found.mean[0], reference.predicted_mean, rtol=1e-4)
    np.testing.assert_allclose(found.sd[0] / state["spread.sd"][0], reference.se_mean, rtol=1e-4)


@both
def test_a_gap_widens_the_interval_and_makes_the_next_value_count_more(form: str) -> None:
    model, series = MODELS[form], _trend(120, 2)[:, None]
    state, nothing, when = model.fit(_panel(series), 1).state, np.array([np.nan]), np.zeros(1, np.int64)
    later = state
    for _ in range(30):
        later = model.update(later, nothing, when)
    assert model.forecast(later, 1).sd[0, 0] > 1.2 * model.forecast(state, 1).sd[0, 0]

    def weight(before: State) -> float:
        expected = model.forecast(before, 1).mean[0]
        after = model.update(before, expected + 1.0, when)
        return float(after["level"][0] - expected[0])

    assert 0 < weight(state) < weight(later) < 1


def test_an_old_level_is_exponential_smoothing() -> None:
    rng = np.random.default_rng(7)
    values = 100 + np.cumsum(0.3 * rng.normal(size=(400, 20)), axis=0) + rng.normal(size=(400, 20))
    said = {name: build([name])[name] for name in ("local_level", "ewma")}
    means = [model.forecast(model.fit(_panel(values), 1).state, 1).mean for model in said.values()]
    assert np.abs(means[0] - means[1]).max() < 0.1  # the noise has an sd of 1


@both
def test_its_intervals_cover_what_they_say(form: str) -> None:
    values = np.column_stack([_trend(500, seed, slope=0.05 if form == "lltrend" else 0.0) for seed in range(60)])
    model = MODELS[form]
    state, inside = model.fit(_panel(values[:400]), 1).state, []
    for row in values[400:]:
        said = model.forecast(state, 1)
        inside.append((said.quantile(0.1)[:, 0] <= row) & (row <= said.quantile(0.9)[:, 0]))
        state = model.update(state, row, np.zeros(len(row), np.int64))
    share = np.mean(inside)
    error = np.std(np.mean(inside, axis=0)) / np.sqrt(values.shape[1])  # over series, which are independent
    assert abs(share - 0.8) < max(3 * error, 0.01)


@both
@given(scale=st.sampled_from([1e-150, 1e-8, 1.0, 1e8, 1e150]), shift=st.sampled_from([0.0, 1e3]))
def test_units_do_not_matter(form: str, scale: float, shift: float) -> None:
    values, model = _trend(60, 3)[:, None], MODELS[form]
    plain = model.forecast(model.fit(_panel(values), 2).state, 2)
    other = model.forecast(model.fit(_panel((values + shift) * scale), 2).state, 2)
    np.testing.assert_allclose(other.mean / scale - shift, plain.mean, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(other.sd / scale, plain.sd, rtol=1e-3)


@both
def test_what_cannot_be_fitted_is_a_random_walk_and_says_why(form: str) -> None:
    values = np.full((30, 3), np.nan)
    values[:, 0], values[-4:, 1] = 7.0, [1.0, 2.0, 1.0, 3.0]
    model = MODELS[form]
    fit = model.fit(_panel(values), 2)
    assert fit.fallback == (
        f"{model.name}: the series never moves",
        f"{model.name}: 4 values, {model.fewest} needed",
        f"{model.name}: 0 values, {model.fewest} needed",
    )
    said = model.forecast(fit.state, 2)
    np.testing.assert_array_equal(said.mean, [[7.0, 7.0], [3.0, 3.0], [np.nan, np.nan]])
    np.testing.assert_allclose(said.sd[1, 1] / said.sd[1, 0], np.sqrt(2))
