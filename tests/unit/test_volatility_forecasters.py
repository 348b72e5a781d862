"""The volatility models in the forecast job: own measures, causality, fall-backs, and intervals that learn."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from qts.forecast.bands import online_bands
from qts.forecast.history import FURTHER, History
from qts.forecast.registry import build
from qts.forecast.volatility.forecasters import FORECASTERS, measures_of
from qts.forecast.volatility.garch import fit_garch
from qts.forecast.volatility.har import HAR_LEVERAGE, HARQ

_DAY = 86_400_000_000_000
_MODELS = [model() for model in FORECASTERS]
models = pytest.mark.parametrize("model", _MODELS, ids=lambda model: model.name)


def _history(bars: int = 260, instruments: int = 3, seed: int = 0) -> History:
    """Stochastic volatility with all measures, an instrument after another, in no order."""
    rng = np.random.default_rng(seed)
    log = np.zeros((bars, instruments))
    for t in range(1, bars):
        log[t] = 0.95 * log[t - 1] + 0.3 * rng.normal(size=instruments)
    variance = 1e-4 * np.exp(log)
    close = 50 * np.exp(np.cumsum(np.sqrt(variance) * rng.normal(size=variance.shape), axis=0))
    share = rng.beta(5, 5, variance.shape)
    at, code = np.meshgrid((1 + np.arange(bars)) * _DAY, np.arange(instruments), indexing="ij")
    order = rng.permutation(bars * instruments)
    further = dict(zip(FURTHER, (share * variance, (1 - share) * variance, 1.3 * variance**2), strict=True))
    return History.pack(
        [f"S{n}" for n in range(instruments)], code.ravel()[order], at.ravel()[order], close.ravel()[order],
        variance.ravel()[order], _DAY, **{name: values.ravel()[order] for name, values in further.items()},
    )  # fmt: skip


@models
def test_each_model_fits_forecasts_and_does_not_see_the_future(model) -> None:
    whole = _history()
    params = model.fit(whole.first(np.full(3, 180)))
    assert [p["method"] for p in params] == [model.name] * 3
    cut = whole.first(np.full(3, 220))
    long, short = model.run(params, whole)[0], model.run(params, cut)[0]
    for target, forecast in short.items():
        for field in fields(forecast):
            values = getattr(forecast, field.name)
            np.testing.assert_array_equal(values, getattr(long[target], field.name)[:220])
            assert np.isfinite(values[180:]).all()
        assert (forecast.lower_95 <= forecast.lower_80)[180:].all()
        assert (forecast.upper_80 <= forecast.upper_95)[180:].all()
    one = whole.columns([1])
    alone = model.run(model.fit(one.first(np.array([180]))), one)[0]
    np.testing.assert_array_equal(alone["variance"].upper_95[:, 0], long["variance"].upper_95[:, 1])


def test_measures_reach_the_history_with_their_bars() -> None:
    history = _history()
    assert history.semivariance_minus is not None
    assert history.semivariance_plus is not None
    assert history.quarticity is not None
    np.testing.assert_allclose(history.semivariance_minus + history.semivariance_plus, history.variance)
    np.testing.assert_allclose(history.quarticity, 1.3 * history.variance**2)
    holes = replace(history, quarticity=np.where(np.arange(259)[:, None] == 7, np.nan, history.quarticity))
    measured = measures_of(holes).get("quarticity")
    np.testing.assert_array_equal(measured[7], history.variance[7] ** 2)
    bare = measures_of(replace(history, **dict.fromkeys(FURTHER)))
    np.testing.assert_array_equal(bare.get("rs_minus"), history.variance / 2)


def test_coefficients_are_those_of_the_evaluation() -> None:
    history = _history(instruments=1)
    last = np.array([len(history.variance) - 1])
    for name, model in (("har_leverage", HAR_LEVERAGE), ("harq", HARQ)):
        (params,) = build([name])[name].fit(history)
        np.testing.assert_array_equal(params["beta"], model.fit(measures_of(history), last).beta[0, 0])
    (params,) = build(["gjr"])["gjr"].fit(history)
    assert params["beta"] == fit_garch(history.returns[:, 0], asymmetric=True).beta


@pytest.mark.parametrize(
    ("name", "change", "method", "reason"),
    [
        ("harq", {"quarticity": None}, "log_har", "most bars have no quarticity"),
        ("har_rs", {"semivariance_plus": np.full((259, 1), np.nan)}, "log_har", "most bars have no semivariance_plus"),
        ("har_leverage", {"variance": np.full((259, 1), 1e-4)}, "ewma", "the variance is constant"),
        ("gjr", {"returns": np.zeros((259, 1))}, "ewma", "the price never moves"),
    ],
)
def test_a_series_that_does_not_carry_a_model_gets_a_simpler_one(
    name: str, change: dict, method: str, reason: str
) -> None:
    (params,) = build([name])[name].fit(replace(_history(instruments=1), **change))
    assert params["method"] == method
    assert reason in params["fallback"]


def test_few_bars_fall_back_too() -> None:
    short = _history(90, 1)
    for name, needed in (("garch", "100 needed"), ("hexp_leverage", "82 needed"), ("log_hexp", "80 needed")):
        (params,) = build([name])[name].fit(short.first(np.array([70])))
        assert params["method"] == "ewma"
        assert needed in params["fallback"]


def test_bands_start_where_each_training_ends_and_then_learn() -> None:
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(1500, 3))
    scores[800:] *= 3.0
    trained = np.array([300, 500, 1501])  # the last one's training window is not in these rows
    bands, _ = online_bands(scores, trained)
    for n, begin in ((0, 299), (1, 499)):
        assert np.isnan(bands[0][:begin, n]).all()
        assert np.isfinite(bands[0][begin:, n]).all()
        before, after = slice(begin, 799), slice(900, 1499)
        for made in (before, after):
            outcome = scores[made.start + 1 : made.stop + 1, n]
            inside = (bands[2][made, n] <= outcome) & (outcome <= bands[3][made, n])
            assert abs(inside.mean() - 0.95) < 0.03
    assert np.isnan(bands[0][:, 2]).all()
    first = np.sort(scores[50:300, 0])
    assert bands[2][299, 0] == pytest.approx(np.quantile(first, 0.025, method="weibull"))
    alone, _ = online_bands(scores[:, 1:2], trained[1:2])
    np.testing.assert_array_equal(alone[3][:, 0], bands[3][:, 1])
