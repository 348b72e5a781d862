"""The strategies by name, and those of a configuration.

A strategy of your own needs no change here: name its class by a dotted path in conf/strategies.yml, or give it a short
name by an entry point of your package in the group `qts.strategy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qts.errors import ConfigError
from qts.plugins import create
from qts.strategy.base import Strategy
from qts.strategy.breakout import ChannelBreakout, KeltnerBreakout, VolatilityBreakout
from qts.strategy.controls import BuyAndHold, Flat, Random
from qts.strategy.forecast import ForecastConsensus, ForecastReturn, ForecastVolatility
from qts.strategy.regime import FearGauge, RegimeExposure, RegimeSwitch, VolatilityRegime
from qts.strategy.relative import PairReversion, RelativeMomentum, RelativeReversal
from qts.strategy.reversion import (
    BollingerReversion,
    InternalBarStrength,
    RsiReversion,
    ShortTermReversal,
    StochasticReversion,
    ZScoreReversion,
)
from qts.strategy.seasonal import Seasonality, TurnOfMonth
from qts.strategy.sentiment import SentimentLevel, SentimentSurprise
from qts.strategy.session import GapReversal, OvernightMomentum
from qts.strategy.trend import CtaMomentum, EwmaCross, Macd, SmaCross, TimeSeriesMomentum
from qts.strategy.volatility import VolatilityManaged, VolatilityTarget
from qts.strategy.volume import OrderFlowImbalance, SignedJump, VwapReversion

BUILTIN: dict[str, type[Strategy]] = {
    cls.__name__: cls
    for cls in (
        Flat,
        BuyAndHold,
        Random,
        EwmaCross,
        SmaCross,
        Macd,
        TimeSeriesMomentum,
        CtaMomentum,
        ChannelBreakout,
        KeltnerBreakout,
        VolatilityBreakout,
        BollingerReversion,
        ZScoreReversion,
        RsiReversion,
        StochasticReversion,
        ShortTermReversal,
        InternalBarStrength,
        GapReversal,
        OvernightMomentum,
        TurnOfMonth,
        Seasonality,
        VolatilityTarget,
        VolatilityManaged,
        VwapReversion,
        OrderFlowImbalance,
        SignedJump,
        PairReversion,
        RelativeMomentum,
        RelativeReversal,
        ForecastVolatility,
        ForecastReturn,
        ForecastConsensus,
        SentimentLevel,
        SentimentSurprise,
        RegimeExposure,
        RegimeSwitch,
        VolatilityRegime,
        FearGauge,
    )
}


def all() -> dict[str, Strategy]:  # noqa: A001 - read as registry.all()
    """Every built-in strategy with its default parameters, by class name."""
    return {name: cls() for name, cls in BUILTIN.items()}


def build(spec: Mapping[str, Mapping[str, Any]]) -> dict[str, Strategy]:
    """The strategies of a configuration, in its order.

    Args:
        spec: the `strategies` of conf/strategies.yml: a name of your choice to `class` (a built-in's name, or
            `package.module:Class`) and the parameters of that class.

    Raises:
        ConfigError: nothing is named; an entry has no class; a class or parameter is unknown (with the nearest known
            one); a value has the wrong type or is out of range; a class of your own is no strategy.
    """
    if not isinstance(spec, Mapping) or not spec:
        raise ConfigError(f"strategies is {spec!r}, expected at least one entry such as `flat: {{class: Flat}}`.")
    return {name: _build(name, entry) for name, entry in spec.items()}


def _build(name: str, entry: Mapping[str, Any]) -> Strategy:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("class"), str):
        raise ConfigError(f"strategies.{name} is {entry!r}, expected a class and its parameters: {{class: Flat}}.")
    parameters = {key: value for key, value in entry.items() if key != "class"}
    try:
        strategy = create(entry["class"], parameters, BUILTIN, "strategy")
    except ConfigError as error:
        raise ConfigError(f"strategies.{name}: {error}") from error
    if not isinstance(strategy, Strategy):
        raise ConfigError(f"strategies.{name}: {entry['class']} has no start() and step(), so it is no strategy.")
    return strategy
