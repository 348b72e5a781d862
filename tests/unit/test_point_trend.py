"""Theta, the damped trend, seasons that move, and the ensemble of them."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.tsa.arima.model import ARIMA

from qts.forecast.point.base import Panel, put_rows
from qts.forecast.point.registry import build
from qts.forecast.point.season import season_of
from qts.forecast.point.trend import DampedTrend, Theta
from qts.market.bar import State


def _panel(values: np.ndarray, season: int = 1) -> Panel:
    return Panel.of(["a"], [values], [np.arange(len(values))], [season])


def _mean(name: str, values: np.ndarray, horizon: int, season: int = 1) -> np.ndarray:
    model = build([name])[name]
    return model.forecast(model.fit(_panel(values, season), horizon).state, horizon).mean[0]


def test_theta_is_smoothing_with_half_the_slope() -> None:
    values = 3.0 * np.arange(60) + np.random.default_rng(0).normal(size=60).cumsum()
    found = Theta().coefficients(values)
    assert found.constant == pytest.approx(np.polyfit(np.arange(60), values, 1)[0] / 2)
    steps = np.diff(_mean("theta", values, 8))
    np.testing.assert_allclose(steps, found.constant)


def test_the_damped_trend_is_the_recursion_of_level_and_slope() -> None:
    values = np.random.default_rng(1).normal(size=80).cumsum().cumsum()
    found = DampedTrend().coefficients(values)
    damping = -found.ar[1]
    level_weight = 1 - found.ma[1] / damping
    slope_weight = (found.ma[0] + 1 + damping - level_weight) / damping
    level, slope = values[0], 0.0
    for value in values[1:]:
        ahead = level + damping * slope
        level, slope = ahead + level_weight * (value - ahead), damping * slope + slope_weight * (value - ahead)
    wanted = level + slope * np.cumsum(damping ** np.arange(1, 11))
    np.testing.assert_allclose(_mean("damped", values, 10), wanted, rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_damped_trend_is_as_likely_as_statsmodels_arima_112_allows(seed: int) -> None:
    """Its three weights span part of ARIMA(1,1,2), so its squared errors lie above, and on its own data hardly so."""
    rng = np.random.default_rng(seed)
    level, slope, values = 0.0, 0.0, np.empty(300)
    for t, shock in enumerate(rng.normal(size=300)):
        values[t] = level + 0.9 * slope + shock
        level, slope = level + 0.9 * slope + 0.6 * shock, 0.9 * slope + 0.2 * shock
    found = DampedTrend().coefficients(values)
    free = ARIMA(values, order=(1, 1, 2)).fit()
    own = ARIMA(values, order=(1, 1, 2)).smooth([-found.ar[1], *found.ma, free.params[-1]])
    assert free.llf - own.llf == pytest.approx(0, abs=4)


def test_a_season_that_moves_is_followed_and_one_that_stays_is_averaged() -> None:
    rng = np.random.default_rng(2)
    month, year = np.arange(240) % 12, np.arange(240) // 12
    stays = 10 * np.sin(2 * np.pi * month / 12)
    moves = stays * np.cos(np.pi * year / 19) + 10 * np.cos(2 * np.pi * month / 12) * np.sin(np.pi * year / 19)
    noise = rng.normal(size=240)
    moving, _ = season_of(moves + noise - 50, 12)
    classical = np.array([(moves + noise)[month == k].mean() for k in range(12)])
    last = moves[-12:] - moves[-12:].mean()
    assert np.abs(moving - last).mean() < 0.35 * np.abs(classical - classical.mean() - last).mean()
    staying, _ = season_of(stays + noise - 50, 12)
    assert np.abs(staying - stays[:12]).mean() < 2 * np.sqrt(2 / np.pi) / np.sqrt(20)


def test_a_day_becomes_a_week_where_weekdays_differ() -> None:
    hour = np.arange(24 * 7 * 5)
    day, weekend = np.sin(2 * np.pi * hour / 24), (hour // 24) % 7 >= 5
    noise = 0.2 * np.random.default_rng(3).normal(size=len(hour))
    index, _ = season_of(day + 2.0 * weekend + noise, 24)
    assert len(index) == 168
    index, _ = season_of(day + noise, 24)
    assert len(index) == 24


@pytest.mark.parametrize("season", [-7, -52])
def test_a_season_that_there_may_be_is_not_seen_in_a_random_walk(season: int) -> None:
    rng = np.random.default_rng(4)
    seen = [len(season_of(100 + rng.normal(size=400).cumsum(), season)[0]) for _ in range(300)]
    assert np.mean(np.array(seen) > 1) <= 0.01  # one-sided 3 sigma is .0013
    weeks = np.resize(np.arange(float(-season)), 400)
    assert len(season_of(weeks + rng.normal(size=400), season)[0]) == -season


def test_three_seasons_are_enough() -> None:
    month = np.arange(36) % 12
    values = 100 + 30 * np.cos(2 * np.pi * month / 12) + np.random.default_rng(5).normal(size=36)
    assert len(season_of(values, 12)[0]) == 12
    assert len(season_of(values[1:], 12)[0]) == 1


@pytest.mark.parametrize("rows", [36, 60, 240])
def test_a_known_season_is_seen_in_few_random_walks(rows: int) -> None:
    rng = np.random.default_rng(6)
    seen = [len(season_of(100 + rng.normal(size=rows).cumsum(), 12)[0]) for _ in range(400)]
    assert np.mean(np.array(seen) > 1) <= 0.09  # .05 and .01 by the two tests, .09 is 2.5 standard errors above


@pytest.mark.parametrize("seed", range(3))
def test_the_ensemble_beats_no_change_on_a_trend_with_a_season(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.arange(120)
    values = np.exp(5 + 0.004 * rows + 0.1 * np.sin(2 * np.pi * rows / 12) + 0.01 * rng.normal(size=120).cumsum())
    error = {
        name: np.abs(_mean(name, values[:108], 12, 12) - values[108:]).mean() for name in ("naive", "drift", "ensemble")
    }
    assert error["ensemble"] < 0.6 * min(error["naive"], error["drift"])


@pytest.mark.parametrize(("first", "later"), [(120, 240), (240, 120)])
def test_a_refit_of_some_series_may_find_other_seasons(first: int, later: int) -> None:
    """A season that has come up brings more indices than all series had; one that is gone, fewer."""
    rng = np.random.default_rng(7)
    month = np.arange(240)
    late = 100 + rng.normal(size=240) + np.where(month >= 150, 20 * np.cos(np.pi * month / 6), 0)
    model = build(["ewma"])["ewma"]

    def fitted(rows: int) -> State:
        return model.fit(_panel(late[:rows], 12), 12).state

    other = model.fit(_panel(rng.normal(size=60)), 12).state
    twice = {key: np.repeat(value, 2, axis=0) for key, value in other.items()}
    both = put_rows(put_rows(twice, [1], fitted(first)), [1], fitted(later))
    wanted = model.forecast(fitted(later), 12).mean[0]
    np.testing.assert_array_equal(model.forecast(both, 12).mean, [model.forecast(other, 12).mean[0], wanted])
    assert len(season_of(late[:120], 12)[0]) < len(season_of(late, 12)[0])
