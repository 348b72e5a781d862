"""How sure the linear models are of their next error: coverage where little is known, and the filters in C."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.forecast.point.base import Panel
from qts.forecast.point.linear import Coefficients, LinearModel
from qts.forecast.point.simple import Drift, Naive
from qts.forecast.point.spread import Spread
from qts.market.bar import Array


def _panel(values: Array) -> Panel:
    rows, series = values.shape
    times = np.arange(rows)[:, None] * np.ones(series, np.int64)
    return Panel(tuple(f"S{n}" for n in range(series)), values, times, np.ones(series, np.int64))


@pytest.mark.parametrize("rows", [4, 6, 12, 29, 60])
@pytest.mark.parametrize("ahead", [1, 3])
def test_intervals_from_few_values_hold_their_coverage(rows: int, ahead: int) -> None:
    """With 3 errors and the quantiles of a normal an 80% interval would hold 66% of the time."""
    walks = np.random.default_rng(rows).normal(size=(rows + ahead, 4000)).cumsum(axis=0)
    model = Naive()
    found = model.forecast(model.fit(_panel(walks[:rows]), ahead).state, ahead)
    for coverage in (0.8, 0.95):
        low, high = (found.quantile(p)[:, -1] for p in ((1 - coverage) / 2, (1 + coverage) / 2))
        inside = ((low <= walks[-1]) & (walks[-1] <= high)).mean()
        assert inside == pytest.approx(coverage, abs=4 * np.sqrt(coverage * (1 - coverage) / 4000))


def test_a_drift_is_not_quite_known() -> None:
    """Table 5.2 of Hyndman and Athanasopoulos; without h / n the last step's 95% interval would hold 90%."""
    rows, ahead = 40, 20
    walks = (0.3 + np.random.default_rng(0).normal(size=(rows + ahead, 3000))).cumsum(axis=0)
    walks[:10:3, ::2] = np.nan  # gaps in half of them
    model = Drift()
    state = model.fit(_panel(walks[:rows]), ahead).state
    found, h = model.forecast(state, ahead), np.arange(1, ahead + 1)
    np.testing.assert_allclose(found.sd[1] / state["spread.sd"][1], np.sqrt(h * (1 + h / (rows - 1))))
    inside = (found.quantile(0.025)[:, -1] <= walks[-1]) & (walks[-1] <= found.quantile(0.975)[:, -1])
    assert inside[1::2].mean() == pytest.approx(0.95, abs=0.02)
    assert inside[::2].mean() == pytest.approx(0.95, abs=0.02)


def test_what_few_values_leave_open_fades_as_values_come() -> None:
    walk = np.random.default_rng(1).normal(size=(60, 1)).cumsum(axis=0)
    model = Naive()
    state = model.fit(_panel(walk[:6]), 1).state
    for t in range(6, 60):
        state = model.update(state, walk[t], np.array([t]))
    whole = model.fit(_panel(walk), 1).state
    assert np.isinf(model.forecast(state, 1).df).all()
    np.testing.assert_allclose(model.forecast(state, 1).sd, np.sqrt(np.square(np.diff(walk, axis=0)).mean()))
    assert whole["spread.count"] == state["spread.count"] == 59


class _Fixed(LinearModel):
    name = "fixed"

    def __init__(self, ar: list[float], ma: list[float], constant: float) -> None:
        self._process = Coefficients(np.array(ar), np.array(ma), constant)

    def coefficients(self, values: Array) -> Coefficients:
        return self._process


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(4, 40),
    ar=st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=7),
    ma=st.lists(st.floats(-0.3, 0.3), max_size=5),
)
def test_a_whole_series_is_filtered_as_it_is_stepped_through(
    seed: int, rows: int, ar: list[float], ma: list[float]
) -> None:
    values = 3 + np.random.default_rng(seed).normal(size=(rows + 30, 2))
    values[:2, 1] = np.nan
    model = _Fixed(ar, ma, 0.1)
    state = model.fit(_panel(values[:rows]), 1).state
    for t in range(rows, len(values)):
        state = model.update(state, values[t], np.full(2, t))
    whole = model.fit(_panel(values), 1).state
    for key in ("lags", "shocks"):
        np.testing.assert_allclose(whole[key], state[key], atol=1e-9)
    assert (whole["spread.count"] == state["spread.count"]).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(30, 80))
def test_variances_are_those_of_the_recursion(seed: int, rows: int) -> None:
    """Whatever decay was chosen: ten squares alike, then an exponential average; gaps change nothing."""
    rng = np.random.default_rng(seed)
    errors = rng.normal(size=(rows, 3)) * np.exp(0.1 * rng.normal(size=(rows, 3)).cumsum(axis=0))
    errors[rng.random(errors.shape) < 0.1] = np.nan
    found = Spread.choose(errors, np.ones(3))
    for n in range(3):
        variance = 0.0
        for k, error in enumerate(errors[np.isfinite(errors[:, n]), n], start=1):
            weight = 1 / k if k <= 10 or found.decay[n] == 1.0 else 1 - found.decay[n]
            variance += weight * (error**2 - variance)
        assert found.sd[n] == pytest.approx(np.sqrt(variance), rel=1e-12)
