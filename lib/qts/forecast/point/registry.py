"""Forecasters of levels by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from qts.errors import ConfigError, did_you_mean
from qts.forecast.point.arima import Arima
from qts.forecast.point.base import PointModel
from qts.forecast.point.ensemble import Ensemble
from qts.forecast.point.season import Seasonal
from qts.forecast.point.simple import Drift, Ewma, Naive
from qts.forecast.point.structural import LocalLevel, LocalTrend
from qts.forecast.point.trend import DampedTrend, Theta

#: What is evaluated when nothing else is asked for: all that fits hundreds of series in seconds.
DEFAULT = ("naive", "naive2", "drift", "ewma", "theta", "damped", "arima", "ensemble")


def _lstm() -> PointModel:
    from qts.forecast.point.lstm import Lstm

    return Seasonal(Lstm())


def _prophet() -> PointModel:
    from qts.forecast.point.prophets import Prophet

    return Prophet()


_KNOWN: dict[str, Callable[[], PointModel]] = {
    "naive": Naive,
    "naive2": lambda: Seasonal(Naive(), "naive2"),
    "drift": Drift,
    "ewma": lambda: Seasonal(Ewma()),
    "local_level": lambda: Seasonal(LocalLevel()),
    "local_trend": lambda: Seasonal(LocalTrend()),
    "theta": lambda: Seasonal(Theta()),
    "damped": lambda: Seasonal(DampedTrend()),
    "arima": lambda: Seasonal(Arima()),
    "prophet": _prophet,
    "lstm": _lstm,
    "ensemble": lambda: Ensemble([Seasonal(Theta()), Seasonal(DampedTrend()), Seasonal(Arima())]),
}


def names() -> tuple[str, ...]:
    """Every model's name."""
    return tuple(_KNOWN)


def build(wanted: Iterable[str]) -> dict[str, PointModel]:
    """The models of these names.

    Raises:
        ConfigError: a name is unknown or given twice, or there is none; the message names the nearest one.
    """
    found: dict[str, PointModel] = {}
    for name in wanted:
        if name not in _KNOWN:
            raise ConfigError(f"There is no model {name!r}; known are {', '.join(_KNOWN)}.{did_you_mean(name, _KNOWN)}")
        if name in found:
            raise ConfigError(f"The model {name!r} is named twice; name it once.")
        found[name] = _KNOWN[name]()
    if not found:
        raise ConfigError(f"No model is named; known are {', '.join(_KNOWN)}.")
    return found
