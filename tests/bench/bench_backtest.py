"""24 strategies by 20 stocks by 23 years through the decision step, LinUCB choosing among them.

CPU seconds of one process, beside the 24 strategies' own steps in a bare loop. The stocks are those of
skfolio's packaged data, 1990 to 2012.
"""

from __future__ import annotations

import time

from harness import options, publish, record_of
from stocks import stocks, strategies

from qts.backtest.experiment import Experiment, Terms, run
from qts.bandit.linucb import LinUcb


def main() -> None:
    given = options(__doc__, {"bars": (5797, 300), "turns": (2, 1)})
    market = stocks(given.bars)
    chosen = strategies(24)
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
