"""20 real stocks, 1990 to 2012, and the strategies that find what they need in daily closes alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qts.backtest.market import Market, market_of
from qts.market.sample import stocks20
from qts.strategy import registry
from qts.strategy.base import Strategy

#: The others would stay flat and cost nothing.
_NEED_MORE = {"PairReversion", "InternalBarStrength", "GapReversal", "OvernightMomentum", "VwapReversion"}
_NEED_MORE |= {"OrderFlowImbalance", "SignedJump", "SentimentLevel", "SentimentSurprise", "FearGauge"}
_NEED_MORE |= {"ForecastReturn", "ForecastConsensus", "RegimeExposure", "RegimeSwitch"}


def stocks(bars: int) -> Market:
    """The first so many days of skfolio's packaged data, to 2012 at most."""
    daily = stocks20()
    table = pd.DataFrame({"timestamp": daily.day, "instrument": daily.instrument, "close": daily.close})
    table = table[table["timestamp"] < pd.Timestamp("2013-01-01").value]
    return market_of(table[table["timestamp"] <= np.unique(table["timestamp"])[:bars][-1]], "stocks")


def strategies(count: int) -> dict[str, Strategy]:
    """The first so many, in the order of the registry."""
    return dict([item for item in registry.all().items() if item[0] not in _NEED_MORE][:count])
