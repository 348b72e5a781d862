"""Forecasters of levels in the forecast job, the two that take seconds a fit among them."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from qts.errors import DataError
from qts.forecast.base import UNFITTED
from qts.forecast.history import History
from qts.forecast.registry import build

_DAY = 86_400_000_000_000


def _history(bars: int, drift: float = 0.0, instruments: int = 3) -> History:
    rng = np.random.default_rng(4)
    close = 100 * np.exp(np.cumsum(drift + 0.01 * rng.normal(size=(400, instruments)), axis=0))[:bars]
    at, code = np.meshgrid(np.arange(bars) * _DAY, np.arange(instruments), indexing="ij")
    names = [f"S{n}" for n in range(instruments)]
    return History.pack(names, code.ravel(), at.ravel(), close.ravel(), np.full(close.size, np.nan), _DAY)


def test_drift_forecasts_the_mean_return_of_the_training_window() -> None:
    drift = build(["drift"])["drift"]
    history = _history(300, drift=0.002)
    params = drift.fit(history.first(np.full(3, 200)))
    found = drift.run(params, history)[0]["return"]
    expected = history.returns[1:200].mean(axis=0)  # the first level is the first bar's
    np.testing.assert_allclose(found.mean[199:299], np.tile(expected, (100, 1)), rtol=1e-6)
    assert np.isnan(found.mean[:199]).all()
    late = found.sd[250]
    np.testing.assert_allclose(late, history.returns.std(axis=0), rtol=0.2)


def test_intervals_are_calibrated_by_the_errors_since_training() -> None:
    arima = build(["arima"])["arima"]
    history = _history(400)
    found = arima.run(arima.fit(history.first(np.full(3, 100))), history)[0]["return"]
    outcome = history.outcome("return")
    inside = (found.lower_80 <= outcome) & (outcome <= found.upper_80)
    judged = np.isfinite(outcome) & np.isfinite(found.mean)
    assert inside[judged].mean() == pytest.approx(0.8, abs=0.04)
    assert (found.lower_95[judged] <= found.lower_80[judged]).all()


@pytest.mark.parametrize("name", ["prophet", "lstm"])
def test_a_forecast_depends_on_its_past_alone(name: str) -> None:
    model = build([name])[name]
    params = model.fit(_history(130).first(np.full(3, 100)))
    assert {p["method"] for p in params} <= {name, "naive"}
    whole, part = (model.run(params, _history(bars))[0]["return"] for bars in (130, 110))
    for field in fields(whole):
        np.testing.assert_array_equal(getattr(whole, field.name)[:109], getattr(part, field.name)[:109])
    assert np.isfinite(part.mean[99:]).all()


@pytest.mark.parametrize("name", ["prophet", "lstm"])
def test_a_state_that_is_carried_gives_the_bits_of_the_whole_history(name: str) -> None:
    model, whole = build([name])[name], _history(130)
    params = model.fit(whole.first(np.full(3, 100)))
    together, last = model.run(params, whole)
    _, state = model.run(params, _history(110))
    for begin, end in ((109, 110), (110, 118), (118, 129)):
        fresh = replace(
            whole,
            times=whole.times[begin:end],
            returns=whole.returns[begin:end],
            variance=whole.variance[begin:end],
            length=np.full(3, end - begin),
        )
        forecasts, state = model.run(params, fresh, state)
        for field in fields(forecasts["return"]):
            expected = getattr(together["return"], field.name)[begin:end]
            np.testing.assert_array_equal(getattr(forecasts["return"], field.name), expected)
    for key, values in last.items():
        np.testing.assert_array_equal(state[key], values)


def test_a_version_that_lacks_an_array_of_its_model_is_refused() -> None:
    drift = build(["drift"])["drift"]
    history = _history(120)
    params = drift.fit(history)
    assert np.isfinite(drift.run(params, history)[0]["return"].mean[-1]).all()
    for each in params:
        each["layout"] = each["layout"].replace('"changes"', '"rows"')
    with pytest.raises(DataError, match=r"version of drift has no changes: .*qts train --once"):
        drift.run(params, history)


def test_a_history_that_ends_inside_the_training_window_gets_nothing() -> None:
    smoothing = build(["smoothing"])["smoothing"]
    params = smoothing.fit(_history(200))
    assert np.isnan(smoothing.run(params, _history(150))[0]["return"].mean).all()
    few = smoothing.fit(_history(5))
    assert [p["method"] for p in few] == [UNFITTED] * 3
    assert few[0]["fallback"] == "smoothing: 4 bars, 10 needed"
