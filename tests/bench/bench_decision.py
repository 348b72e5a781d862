"""CPU of a decision step, 1,000 instruments by six strategies, beside the six strategies alone.

The subject is `qts.trading.decide.decide` on one bar: rewards, strategies, two policies, sizing, risk, the paper
broker, accounting and all rows for the ledger. The peer is a bare loop over the strategies' `step`.
"""

from __future__ import annotations

import time

from desks import Run, desk_of, market
from harness import alternate, options, publish, record_of


def main() -> None:
    given = options(__doc__, {"instruments": (1000, 1000), "bars": (120, 30)})
    desk, limits = desk_of()
    panel = market(given.instruments, 60 + given.bars)
    run = Run(desk, limits, panel)
    states = {name: strategy.start(given.instruments) for name, strategy in desk.strategies.items()}
    at = 0

    def strategies_alone() -> None:
        nonlocal at
        bar = panel[at]
        for name, strategy in desk.strategies.items():
            states[name], _ = strategy.step(states[name], bar)
        at += 1

    # The first bars are cheaper: windows are short, nothing is held. They warm the caches up.
    measured = alternate(run.step, strategies_alone, repetitions=given.bars, warm_ups=60, clock=time.process_time)
    parts = [1000 * sum(measured.subject[k::5]) / len(measured.subject[k::5]) for k in range(5)]
    details = {
        "ratio to the six strategies alone": sum(measured.subject) / sum(measured.peer),
        "strategies alone, ms": 1000 * sum(measured.peer) / given.bars,
        "orders a step": run.orders / (60 + given.bars),
    }
    publish(record_of("decision_cpu", parts, source="simulated", details=details), given)


if __name__ == "__main__":
    main()
