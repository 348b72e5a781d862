"""Order choice beside statsforecast's AutoARIMA, on series as M4 has them: short, with and without a unit root."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.signal import lfilter

from qts.forecast.point.arima import Arima
from qts.forecast.point.base import Panel
from qts.market.bar import Array

_KNOWN, _AHEAD, _EACH = 120, 6, 6
#: Moving average, autoregression, whether it is integrated.
_LAWS = (([1], [1, -0.6], False), ([1, 0.6], [1], True), ([1], [1], True), ([1], [1, -0.7], True))


def made_up() -> Array:
    """Series of shape (laws times 6, 126)."""
    rng = np.random.default_rng(20)
    found = []
    for ma, ar, integrated in _LAWS:
        series = lfilter(ma, ar, rng.normal(size=(_EACH, 300 + _KNOWN + _AHEAD)))[:, 300:]
        found.append(100 + (series.cumsum(axis=1) if integrated else series))
    return np.concatenate(found)


def test_its_orders_forecast_as_well_as_autoarimas() -> None:
    every = made_up()
    past, future = every[:, :_KNOWN], every[:, _KNOWN:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peer warns where its search does not converge
        from statsforecast.models import AutoARIMA

        theirs = np.array([AutoARIMA(season_length=1).forecast(y, _AHEAD)["mean"] for y in past])
    names = [f"S{n}" for n in range(len(past))]
    panel = Panel.of(names, list(past), [np.arange(_KNOWN)] * len(past), [1] * len(past))
    ours = Arima().forecast(Arima().fit(panel, _AHEAD).state, _AHEAD).mean
    own, peer = (float(np.sqrt(np.square(found - future).mean())) for found in (ours, theirs))
    assert own < 1.1 * peer
