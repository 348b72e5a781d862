"""CPU of a decision step of 1,000 instruments with all that conf/strategies.yml and conf/local.yml turn on.

As bench_decision.py, with twenty-four strategies in place of six; beside the strategies alone.
"""

from __future__ import annotations

import time

from desks import Run, market
from harness import alternate, options, publish, record_of

from qts.pipeline.deskplan import configuration, trade_config
from qts.settings import Settings
from qts.trading.across import with_others


def main() -> None:
    given = options(__doc__, {"instruments": (1000, 1000), "bars": (60, 10)})
    config = trade_config(configuration(Settings()))
    strategies = config.desk.strategies
    panel = market(given.instruments, 60 + given.bars)
    run = Run(config.desk, config.limits, panel)
    bars = iter(list(with_others(strategies.values(), panel)[0]))
    states = {name: strategy.start(given.instruments) for name, strategy in strategies.items()}

    def strategies_alone() -> None:
        bar = next(bars)
        for name, strategy in strategies.items():
            states[name], _ = strategy.step(states[name], bar)

    measured = alternate(run.step, strategies_alone, repetitions=given.bars, warm_ups=60, clock=time.process_time)
    parts = [1000 * sum(measured.subject[k::5]) / len(measured.subject[k::5]) for k in range(5)]
    details = {
        "strategies": len(strategies),
        "policies": len(config.desk.policies),
        "ratio to the strategies alone": sum(measured.subject) / sum(measured.peer),
        "strategies alone, ms": 1000 * sum(measured.peer) / given.bars,
    }
    publish(record_of("decision_full_cpu", parts, source="simulated", details=details), given)


if __name__ == "__main__":
    main()
