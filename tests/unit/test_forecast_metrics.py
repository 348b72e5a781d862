from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm, t

from qts.forecast import metrics


def _frame(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two series with a training part and a forecast, in the shape of the reference library."""
    rng = np.random.default_rng(seed)
    parts = [
        pd.DataFrame({"unique_id": name, "ds": np.arange(40), "y": level + rng.normal(size=40).cumsum()})
        for name, level in (("a", 10.0), ("b", 500.0))
    ]
    whole = pd.concat(parts, ignore_index=True)
    test = whole[whole["ds"] >= 30].assign(model=lambda rows: rows["y"] + rng.normal(size=len(rows)))
    return whole[whole["ds"] < 30], test


@pytest.mark.parametrize("season", [1, 4])
def test_errors_are_those_of_the_reference_library(season: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its docstrings have escapes that Python warns of
        from utilsforecast import losses

    train, test = _frame(season)
    theirs = {
        "rmse": losses.rmse(test, ["model"]),
        "mae": losses.mae(test, ["model"]),
        "smape": losses.smape(test, ["model"]),
        "mase": losses.mase(test, ["model"], season, train),
        "rmsse": losses.rmsse(test, ["model"], season, train),
    }
    for name, own in test.groupby("unique_id"):
        y, f = own["y"].to_numpy(), own["model"].to_numpy()
        history = train.loc[train["unique_id"] == name, "y"].to_numpy()
        ours = {
            "rmse": metrics.rmse(y, f),
            "mae": metrics.mae(y, f),
            "smape": metrics.smape(y, f) / 200,  # theirs is a share of the greatest possible
            "mase": metrics.mase(y, f, history, season),
            "rmsse": metrics.rmsse(y, f, history, season),
        }
        for metric, value in ours.items():
            expected = theirs[metric].set_index("unique_id")["model"][name]
            assert value == pytest.approx(expected, rel=1e-9), metric


def test_by_hand() -> None:
    y, f = np.array([2.0, 4.0, np.nan]), np.array([1.0, 6.0, 1.0])
    assert metrics.mae(y, f) == 1.5
    assert metrics.rmse(y, f) == pytest.approx(np.sqrt(2.5))
    assert metrics.smape(y, f) == pytest.approx((200 / 3 + 40) / 2)
    assert metrics.mase(y, f, np.array([1.0, 3.0, 2.0])) == pytest.approx(1.0)
    assert metrics.theil_u(y, f, np.array([1.0, 3.0, 0.0])) == pytest.approx(np.sqrt(2.5))
    assert metrics.coverage(y, np.array([2.0, 5.0, 0.0]), np.array([3.0, 6.0, 1.0])) == 0.5
    assert np.isnan(metrics.mase(y, f, np.array([7.0, 7.0])))
    assert np.isnan(metrics.mae(np.array([np.nan]), np.array([1.0])))


@pytest.mark.parametrize("df", [2.5, 5.0, 30.0, np.inf])
@pytest.mark.parametrize("actual", [-4.0, 0.3, 2.0, 9.0])
def test_crps_is_the_integral_of_its_definition(df: float, actual: float) -> None:
    law = norm(2.0, 1.5) if np.isinf(df) else t(df, 2.0, 1.5)
    below = quad(lambda x: law.cdf(x) ** 2, -np.inf, actual)[0]
    above = quad(lambda x: law.sf(x) ** 2, actual, np.inf)[0]
    found = metrics.crps_student(np.array(actual), np.array(2.0), np.array(1.5), np.array(df))
    assert float(found) == pytest.approx(below + above, rel=1e-5)


@given(
    actual=st.floats(-10, 10),
    quantiles=st.lists(st.floats(-10, 10), min_size=5, max_size=5).map(sorted),
)
def test_the_weighted_interval_score_is_the_mean_pinball_loss_of_its_quantiles(
    actual: float, quantiles: list[float]
) -> None:
    levels = (0.025, 0.1, 0.5, 0.9, 0.975)
    losses = [2 * max(p * (actual - q), (p - 1) * (actual - q)) for p, q in zip(levels, quantiles, strict=True)]
    lowest, low, middle, high, highest = (np.array(q) for q in quantiles)
    found = metrics.weighted_interval_score(
        np.array(actual), middle, {0.8: low, 0.95: lowest}, {0.8: high, 0.95: highest}
    )
    assert float(found) == pytest.approx(np.mean(losses), abs=1e-9)
