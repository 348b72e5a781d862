"""Adaptive conformal inference: coverage that is an identity, intervals that are nested, finite and causal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.errors import ConfigError
from qts.forecast.conformal import AdaptiveConformal
from qts.forecast.point.base import COVERAGES, Predictive
from qts.forecast.point.intervals import calibrated

_CONFORMAL = AdaptiveConformal(window=60)


def _scores(seed: int, steps: int, series: int = 3) -> np.ndarray:
    """Fat-tailed scores whose scale jumps halfway; some are missing."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_t(4, (steps, series)) * np.where(np.arange(steps) < steps // 2, 1, 3)[:, None]
    scores[rng.random(scores.shape) < 0.05] = np.nan
    return scores


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.integers(0, 200))
def test_the_level_accounts_for_every_miss(seed: int, steps: int) -> None:
    scores = _scores(seed, steps)
    low, high, state = _CONFORMAL.run(scores)
    judged = np.isfinite(scores)[:, :, None] & np.isfinite(low[:-1])
    missed = judged & ((scores[:, :, None] < low[:-1]) | (scores[:, :, None] > high[:-1]))
    alpha = 1 - np.array(_CONFORMAL.coverages)
    expected = alpha + _CONFORMAL.gamma * (alpha * judged.sum(axis=0) - missed.sum(axis=0))
    np.testing.assert_allclose(state["level"], expected, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.integers(0, 200), cut=st.integers(0, 200))
def test_intervals_are_finite_nested_and_do_not_see_the_future(seed: int, steps: int, cut: int) -> None:
    scores, cut = _scores(seed, steps), min(cut, steps)
    low, high, end = _CONFORMAL.run(scores)
    known = np.isfinite(low)
    assert (np.isfinite(high) == known).all()
    enough = np.cumsum(np.isfinite(scores), axis=0) >= _CONFORMAL.fewest
    np.testing.assert_array_equal(known[1:, :, 0], enough)
    assert (low[known] <= high[known]).all()
    assert (low[..., 1] <= low[..., 0])[known[..., 0]].all()
    assert (high[..., 1] >= high[..., 0])[known[..., 0]].all()
    first_low, _, middle = _CONFORMAL.run(scores[:cut])
    second_low, _, state = _CONFORMAL.run(scores[cut:], middle)
    np.testing.assert_array_equal(np.concatenate([first_low[:-1], second_low]), low)
    for name, values in end.items():
        np.testing.assert_array_equal(state[name], values)
    alone, _, _ = _CONFORMAL.run(scores[:, 1:2])
    np.testing.assert_array_equal(alone, low[:, 1:2])


def test_coverage_survives_a_drift_of_scale_that_a_fixed_level_does_not() -> None:
    rng = np.random.default_rng(7)
    scores = rng.normal(size=(3000, 8)) * np.exp(np.cumsum(rng.normal(scale=0.1, size=(3000, 8)), axis=0))
    covered = {}
    for gamma in (0.0, 0.02):
        low, high, _ = AdaptiveConformal(coverages=(0.9,), gamma=gamma).run(scores)
        covered[gamma] = ((low[250:-1, :, 0] <= scores[250:]) & (scores[250:] <= high[250:-1, :, 0])).mean()
    assert abs(covered[0.02] - 0.9) < 0.01
    assert abs(covered[0.0] - 0.9) > 0.02


def test_a_series_that_stood_still_opens_its_intervals_as_soon_as_it_moves() -> None:
    """Equal scores are all inside, but the level may not go on rising meanwhile: the next hundreds would be outside."""
    moving = np.random.default_rng(2).normal(size=(600, 4))
    low, high, state = AdaptiveConformal(coverages=(0.8,), gamma=0.02).run(
        np.concatenate([np.zeros((5000, 4)), moving])
    )
    inside = (low[5000:-1, :, 0] <= moving) & (moving <= high[5000:-1, :, 0])
    assert inside[100:].mean() > 0.7
    assert state["level"].max() <= 1.02


def test_on_exchangeable_scores_the_first_interval_has_its_nominal_coverage() -> None:
    conformal = AdaptiveConformal(coverages=(0.8,), fewest=19, window=19)
    scores = np.random.default_rng(3).normal(size=(20, 20_000))
    low, high, _ = conformal.run(scores)
    inside = (low[19, :, 0] <= scores[19]) & (scores[19] <= high[19, :, 0])
    assert abs(inside.mean() - 0.8) < 4 * np.sqrt(0.8 * 0.2 / 20_000)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), ahead=st.integers(2, 8))
def test_further_ahead_a_miss_is_one_of_the_interval_that_was_issued(seed: int, ahead: int) -> None:
    scores = _scores(seed, 150, 1)
    state = _CONFORMAL.start(1)
    issued, misses, judged = [], np.zeros(2), np.zeros(2)
    for t in range(150):
        if t >= ahead:  # the outcome of what was forecast `ahead` steps ago
            low, high = issued[t - ahead]
            state = _CONFORMAL.update(state, scores[t], (low, high))
            counts = np.isfinite(scores[t, 0]) & np.isfinite(low[0])
            misses += counts & ((scores[t, 0] < low[0]) | (scores[t, 0] > high[0]))
            judged += counts
        issued.append(_CONFORMAL.interval(state))
    alpha = 1 - np.array(_CONFORMAL.coverages)
    expected = alpha + _CONFORMAL.gamma * (alpha * judged - misses)
    np.testing.assert_allclose(state["level"][0], expected, atol=1e-9)


def test_lanes_judge_each_step_ahead_by_what_was_said_at_its_origin() -> None:
    rng = np.random.default_rng(5)
    before, origins, horizon = 70, 80, 3  # enough before that no lane borrows
    scores = rng.standard_t(4, (before + origins, 1, horizon)) * np.linspace(1, 4, before + origins)[:, None, None]
    known_at = np.arange(before + origins)[:, None, None] + np.arange(horizon)
    flat = np.ones((origins, 1, horizon))
    forecast = Predictive(0 * flat, flat, np.inf * flat)
    lower, upper = calibrated(forecast, scores, known_at, before, np.array([before - 1]))
    conformal = AdaptiveConformal(COVERAGES, gamma=0.02, window=250)
    for h in range(horizon):
        state = conformal.primed(scores[: before - h, :, h])
        issued: list[tuple[np.ndarray, np.ndarray]] = []
        for k in range(origins):
            origin = k - 1 - h  # whose step h + 1 has just come true
            if k and origin >= 0:
                state = conformal.update(state, scores[before + origin, :, h], issued[origin])
            elif k:
                unknown = np.full((1, 2), np.nan)
                state = conformal.update(state, scores[before + origin, :, h], (unknown, unknown))
            issued.append(conformal.interval(state))
        for i, level in enumerate(COVERAGES):
            np.testing.assert_array_equal(lower[level][:, 0, h], [low[0, i] for low, _ in issued])
            np.testing.assert_array_equal(upper[level][:, 0, h], [high[0, i] for _, high in issued])


@pytest.mark.parametrize("wrong", [{"coverages": (0.9, 0.8)}, {"coverages": ()}, {"gamma": -1.0}, {"fewest": 300}])
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="expected"):
        AdaptiveConformal(**wrong)
