"""The models whose libraries take seconds to import: Prophet and the LSTM, on short series."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from qts.forecast.point.base import Panel, load, save
from qts.forecast.point.evaluate import Design, evaluate
from qts.forecast.point.lstm import Lstm, network
from qts.forecast.point.prophets import Prophet
from qts.forecast.point.registry import build
from qts.forecast.point.series import read_long

_DAYS = pd.date_range("2020-01-01", periods=130, freq="D").as_unit("ns").asi8


def _panel(values: np.ndarray, times: np.ndarray, season: int = 0, calendar: bool = True) -> Panel:
    series = values.shape[1]
    at = np.repeat(times[: len(values), None], series, axis=1)
    return Panel(tuple(f"S{n}" for n in range(series)), values, at, np.full(series, season), calendar)


def _weekly(rows: int) -> np.ndarray:
    t = np.arange(rows)
    return 50 + 0.2 * t + 5 * np.sin(2 * np.pi * t / 7) + np.random.default_rng(1).normal(size=rows)


def test_prophet_forecasts_what_its_library_does_and_falls_back() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import prophet

        values = np.stack([_weekly(130), np.full(130, 3.0), np.r_[np.full(125, np.nan), np.arange(5.0)]], axis=1)
        fit = Prophet().fit(_panel(values, _DAYS), 6)
        found = Prophet().forecast(load(save(fit.state)), 6)
        theirs = prophet.Prophet(uncertainty_samples=0).fit(
            pd.DataFrame({"ds": pd.to_datetime(_DAYS), "y": values[:, 0]}), seed=0
        )
        expected = theirs.predict(theirs.make_future_dataframe(6, include_history=False))["yhat"]
    np.testing.assert_allclose(found.mean[0], expected, rtol=1e-6)
    assert fit.fallback == ("", "prophet: the series never moves", "prophet: 5 values, 12 needed")
    assert (found.mean[1] == 3).all()
    assert (found.mean[2] == 4).all()
    assert (found.sd > 0).all()


def test_prophet_is_as_unsure_of_the_trend_as_its_library() -> None:
    rng = np.random.default_rng(3)
    values = (np.repeat([0.2, -0.3, 0.5], 70) + 0.1 * rng.normal(size=210)).cumsum()[:, None]
    at, ahead = _DAYS[0] + np.arange(210) * (_DAYS[1] - _DAYS[0]), 60
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own use of pandas
        import prophet

        fit = Prophet().fit(_panel(values, at), ahead)
        theirs = prophet.Prophet(uncertainty_samples=8000).fit(
            pd.DataFrame({"ds": pd.to_datetime(at), "y": values[:, 0]}), seed=0
        )
        np.random.seed(4)  # noqa: NPY002 - the generator that the library draws from
        drawn = theirs.predictive_samples(theirs.make_future_dataframe(ahead, include_history=False))["trend"]
    variance = Prophet().forecast(fit.state, ahead).sd[0] ** 2
    growth, expected = variance - variance[0], drawn.var(axis=1) - drawn[0].var()
    np.testing.assert_allclose(np.sqrt(growth[9:]), np.sqrt(expected[9:]), rtol=0.1)
    assert growth[-1] > 0


def test_prophets_intervals_hold_what_they_say_where_its_fit_looks_too_good() -> None:
    walks = np.random.default_rng(5).normal(size=(126, 40)).cumsum(axis=0)
    state = Prophet().fit(_panel(walks[:120], _DAYS), 6).state
    said = Prophet().forecast(state, 6)
    came, low, high = walks[120:].T, said.quantile(0.025), said.quantile(0.975)
    inside = (came > low) & (came < high)
    assert 0.88 <= inside.mean() <= 0.99  # by the errors inside the fit: .73


def test_prophet_on_whole_numbers_takes_the_season_that_is_given() -> None:
    values = _weekly(130)[:, None]
    prophet = Prophet()
    state = prophet.fit(_panel(values[:120], np.arange(130), 7, calendar=False), 4).state
    before = prophet.forecast(state, 4).mean
    np.testing.assert_allclose(before[0], values[120:124, 0], atol=4)
    after = prophet.forecast(prophet.update(state, values[120], np.array([120])), 3).mean
    np.testing.assert_allclose(after, before[:, 1:])


def _walk(rows: int, series: int, seed: int) -> np.ndarray:
    return 100 + np.random.default_rng(seed).normal(size=(rows, series)).cumsum(axis=0)


def _momentum(rows: int, series: int) -> np.ndarray:
    """Changes that follow the change before."""
    from scipy.signal import lfilter

    shocks = np.random.default_rng(3).normal(size=(rows, series))
    return 100 + lfilter([1], [1, -0.7], shocks, axis=0).cumsum(axis=0)


@pytest.fixture(scope="module")
def trained() -> tuple[Panel, dict[str, np.ndarray]]:
    panel = _panel(_momentum(130, 12), _DAYS)
    return panel, Lstm(lags=12, hidden=8, epochs=5).fit(panel, 3).state


def test_the_network_learns_the_same_bits_again_and_leaves_the_generators_alone(trained) -> None:
    import torch

    panel, state = trained
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    again = Lstm(lags=12, hidden=8, epochs=5).fit(panel, 3).state
    assert torch.equal(before, torch.random.get_rng_state())
    assert not torch.are_deterministic_algorithms_enabled()
    assert save(again) == save(state)
    other = Lstm(lags=12, hidden=8, epochs=5, seed=1).fit(panel, 3).state
    assert save(other) != save(state)


def test_numpy_computes_what_torch_does(trained) -> None:
    import torch

    from qts.forecast.point.lstm_train import _network

    _, state = trained
    weights = {key.removeprefix("shared.weight."): v for key, v in state.items() if key.startswith("shared.weight.")}
    net = _network(8, 3).double()
    net.load_state_dict({key: torch.as_tensor(value) for key, value in weights.items()})
    inputs = np.random.default_rng(0).normal(size=(9, 12))
    location, scale, df = network(weights, inputs)
    with torch.no_grad():
        theirs = net(torch.as_tensor(inputs)).numpy()
    np.testing.assert_allclose(location, theirs[:, :3], atol=1e-9)
    np.testing.assert_allclose(scale, np.logaddexp(0, theirs[:, 3:]) + 1e-3, rtol=1e-9)
    assert df > 2


def test_served_bits_do_not_depend_on_the_batch(trained) -> None:
    from qts.forecast.point.base import rows_of

    _, state = trained
    whole, part = Lstm().forecast(state, 3), Lstm().forecast(rows_of(state, [2, 7]), 3)
    np.testing.assert_array_equal(whole.mean[[2, 7]], part.mean)
    np.testing.assert_array_equal(whole.sd[[2, 7]], part.sd)


def test_the_network_beats_no_change_where_there_is_something_to_learn(trained) -> None:
    panel, state = trained
    later = _momentum(160, 12)
    errors = {"lstm": [], "naive": []}
    for t in range(130, 157):
        found = Lstm().forecast(state, 3)
        errors["lstm"].append(np.square(found.mean - later[t : t + 3].T))
        errors["naive"].append(np.square(later[t - 1][:, None] - later[t : t + 3].T))
        state = Lstm().update(state, later[t], np.zeros(12, np.int64))
    assert panel.values.shape == (130, 12)
    assert np.mean(errors["lstm"]) < 0.8 * np.mean(errors["naive"])


def test_a_panel_that_is_too_short_gets_random_walks() -> None:
    fit = Lstm().fit(_panel(_walk(40, 2, 1), _DAYS), 4)
    assert fit.fallback[0].startswith("lstm: 8 windows")
    found = Lstm().forecast(fit.state, 6)
    assert (found.mean == fit.state["last"][:, None]).all()
    np.testing.assert_allclose(found.sd / found.sd[:, :1], np.sqrt(np.arange(1, 7)) * np.ones((2, 1)))


def test_the_random_walk_of_a_short_panel_is_as_wide_as_normal_changes_are() -> None:
    values = _walk(120, 40, 5)
    found = Lstm(lags=118).forecast(Lstm(lags=118).fit(_panel(values, _DAYS), 1).state, 1)
    assert found.sd.mean() == pytest.approx(1.0, abs=0.04)


def test_both_can_be_evaluated_beside_the_others() -> None:
    frame = pd.DataFrame({"series": "a", "timestamp": pd.to_datetime(_DAYS), "y": _weekly(130)})
    summary = evaluate(read_long(frame), build(["prophet", "lstm"]), Design(2)).summary()
    assert summary["models"]["prophet"]["theil_u"] < 0.6
    assert summary["models"]["lstm"]["fallbacks"] == 1
