"""24 strategies by 20 stocks by 23 years through the decision step, LinUCB choosing among them.

CPU seconds of one process, beside the 24 strategies' own steps in a bare loop. The stocks are those of
skfolio's packaged data, 1990 to 2012.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from harness import options, publish, record_of

from qts.backtest.experiment import Experiment, Terms, run
from qts.backtest.market import Market, market_of
from qts.bandit.linucb import LinUcb
from qts.market.sample import stocks20
from qts.strategy import registry

STRATEGIES = 24


def stocks(bars: int) -> Market:
    """The first so many days, to 2012 at most."""
    daily = stocks20()
    table = pd.DataFrame({"timestamp": daily.day, "instrument": daily.instrument, "close": daily.close})
    table = table[table["timestamp"] < pd.Timestamp("2013-01-01").value]
    return market_of(table[table["timestamp"] <= np.unique(table["timestamp"])[:bars][-1]], "stocks")


def main() -> None:
    given = options(__doc__, {"bars": (5797, 300), "turns": (2, 1)})
    market = stocks(given.bars)
    # Of all, those that find what they need in closes alone; the rest would stay flat and cost nothing.
    without = {"PairReversion", "InternalBarStrength", "GapReversal", "OvernightMomentum", "VwapReversion"}
    without |= {"OrderFlowImbalance", "SignedJump", "SentimentLevel", "SentimentSurprise", "FearGauge"}
    without |= {"ForecastReturn", "ForecastConsensus", "RegimeExposure", "RegimeSwitch"}
    chosen = dict([item for item in registry.all().items() if item[0] not in without][:STRATEGIES])
    wall, bare = [], []
    for _ in range(given.turns):
        began = time.process_time()
        outcome = run(Experiment("linucb", chosen, LinUcb()), market, Terms())
        wall.append(time.process_time() - began)
        if outcome.error:
            raise SystemExit(outcome.error)
        began = time.process_time()
        states = {name: strategy.start(len(market.panel.instruments)) for name, strategy in chosen.items()}
        for bar in market.panel:
            for name, strategy in chosen.items():
                states[name], _ = strategy.step(states[name], bar)
        bare.append(time.process_time() - began)
    details = {
        "strategies alone, s": sum(bare) / len(bare),
        "strategies": float(len(chosen)),
        "instruments": float(len(market.panel.instruments)),
        "bars": float(len(market.panel)),
        "fills": float(outcome.fills),
    }
    publish(record_of("backtest_linucb", wall, source="real", details=details), given)


if __name__ == "__main__":
    main()
