"""Forecasters by the name that conf gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from qts.errors import ConfigError, did_you_mean
from qts.forecast.base import Forecaster
from qts.forecast.ewma import Ewma
from qts.forecast.naive import Naive
from qts.forecast.prices import price_forecasters
from qts.forecast.rls import HarRls
from qts.forecast.scale import ScaleForecaster
from qts.forecast.volatility.forecasters import FORECASTERS

_SCALES: tuple[type[ScaleForecaster], ...] = (Naive, Ewma, HarRls, *FORECASTERS)
_KNOWN: dict[str, Callable[[], Forecaster]] = {**{model.name: model for model in _SCALES}, **price_forecasters()}


def names() -> tuple[str, ...]:
    """Every forecaster's name."""
    return tuple(_KNOWN)


def build(wanted: Iterable[str]) -> dict[str, Forecaster]:
    """The forecasters of these names.

    Raises:
        ConfigError: a name is unknown; the message names the nearest one.
    """
    found: dict[str, Forecaster] = {}
    for name in wanted:
        if name not in _KNOWN:
            raise ConfigError(
                f"forecast.models names {name!r}; known are {', '.join(_KNOWN)}.{did_you_mean(name, _KNOWN)}"
            )
        found[name] = _KNOWN[name]()
    return found
