from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.forecast.averages import log_means
from qts.forecast.history import History
from qts.forecast.memory import Memory
from qts.forecast.registry import build
from qts.forecast.rls import normal_equations, solved

_DAY = 86_400_000_000_000


def _history(variance: np.ndarray, seed: int = 0) -> History:
    """One instrument with this realised variance, shape (T,)."""
    close = 100 * np.exp(np.cumsum(np.sqrt(variance) * np.random.default_rng(seed).normal(size=len(variance))))
    times = np.arange(len(variance)) * _DAY
    return History.pack(["A"], np.zeros(len(variance), np.int64), times, close, variance, _DAY)


def _moving(rows: int, seed: int, slope: float = 0.9) -> np.ndarray:
    logs = np.zeros(rows)
    for t, shock in enumerate(np.random.default_rng(seed).normal(0, 0.4, rows - 1), start=1):
        logs[t] = slope * logs[t - 1] + shock
    return np.exp(logs - 9)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    forgetting=st.sampled_from([0.97, 0.995, 1.0]),
    rows=st.integers(40, 300),
    missing=st.floats(0, 0.2),
)
def test_the_recursion_is_weighted_least_squares_over_all_bars(
    seed: int, forgetting: float, rows: int, missing: float
) -> None:
    rng = np.random.default_rng(seed)
    x = np.concatenate([np.ones((rows, 1)), rng.normal(size=(rows, 3))], axis=1)
    y = x @ rng.normal(size=4) + rng.normal(size=rows)
    x[rng.random(rows) < missing, 2] = np.nan
    held = normal_equations(x[:, None], y[:, None], np.array([forgetting]), Memory.whole(y[:, None]))[-1]
    before, after = x[:-1], y[1:]
    used = np.isfinite(before).all(axis=1)
    root = np.sqrt(np.power(forgetting, np.arange(rows - 1)[::-1][used]))
    expected, *_ = np.linalg.lstsq(root[:, None] * before[used], root * after[used], rcond=None)
    np.testing.assert_allclose(solved(held)[0], expected, rtol=1e-9, atol=1e-9)


def test_without_forgetting_it_is_the_log_har_of_all_bars_so_far() -> None:
    history = _history(_moving(400, 1))
    (params,) = build(["har_rls"])["har_rls"].fit(history)
    params |= {"forgetting": 1.0}
    forecast = build(["har_rls"])["har_rls"].run([params], history)[0]["variance"]
    x = np.column_stack([np.ones(len(history.variance)), *(f[:, 0] for f in log_means(history.variance))])
    y = np.log(history.variance[:, 0])
    beta, *_ = np.linalg.lstsq(x[21:-1], y[22:], rcond=None)
    expected = np.exp(x[-1] @ beta) * params["variance"]["level"]
    assert forecast.mean[-1, 0] == pytest.approx(expected, rel=1e-9)


def test_it_follows_a_break_that_the_coefficients_of_training_do_not_know() -> None:
    calm, wild = _moving(900, 2, slope=0.2), _moving(1500, 3, slope=0.97)
    history = _history(np.concatenate([calm, wild]))
    outcome = np.log(history.next_bar(history.variance)[1800:-1, 0])
    errors = {}
    for name, model in build(["log_har", "har_rls"]).items():
        params = model.fit(history.first(np.array([800])))
        if name == "har_rls":
            params = [{**params[0], "forgetting": 0.995}]  # in training there was nothing to forget
        mean = model.run(params, history)[0]["variance"].mean[1800:-1, 0]
        errors[name] = np.square(np.log(mean) - outcome)
    gain = errors["log_har"] - errors["har_rls"]
    assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain))


def test_a_market_that_stands_still_after_training_does_no_harm() -> None:
    moving = _moving(300, 4)
    history = _history(np.concatenate([moving, np.full(3000, 1e-4), moving]))
    (params,) = build(["har_rls"])["har_rls"].fit(history.first(np.array([290])))
    assert params["method"] == "har_rls"
    forecast = build(["har_rls"])["har_rls"].run([{**params, "forgetting": 0.99}], history)[0]["variance"]
    later = forecast.mean[300:, 0]
    assert np.isfinite(later).all()
    np.testing.assert_allclose(later[2900:2990] / params["variance"]["level"], 1e-4, rtol=1e-3)
    assert later.max() < 20 * history.variance.max() * params["variance"]["level"]


def test_few_and_constant_bars_fall_back() -> None:
    model = build(["har_rls"])["har_rls"]
    (short,) = model.fit(_history(_moving(130, 5)))
    assert short["method"] == "log_har"
    assert short["fallback"] == "har_rls: 129 bars, 142 needed"
    (still,) = model.fit(_history(np.full(300, 1e-4)))
    assert still["method"] == "ewma"
    assert "har_rls: the variance is constant" in still["fallback"]
