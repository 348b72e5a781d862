"""24 experiments at once: wall time as Spark tasks on two cores, beside the CPU time that the experiments took / 2.

What `qts backtest --spark` runs: 24 strategies by 20 stocks, one experiment a task. The CPU time is that of the
experiments alone, taken inside their tasks: two at once take more of it than one after another, for they share caches.
Every turn has a new session, so that the start of the Python workers, their imports, the way of the history to them and
of the results back count; the session's own start does not. The same experiments in a plain loop show that results are
the same, and what being at once costs.
"""

from __future__ import annotations

import time

import numpy as np
from harness import options, publish, record_of
from sparks import spark_and_settings
from stocks import stocks, strategies

from qts.backtest.experiment import Experiment, Outcome, Terms
from qts.backtest.runner import in_process
from qts.pipeline.backtest import spark_runner

CORES = 2


def main() -> None:
    given = options(__doc__, {"bars": (5797, 250), "turns": (3, 1), "experiments": (24, 24)})
    market, terms = stocks(given.bars), Terms()
    experiments = [Experiment(name, {name: one}) for name, one in strategies(given.experiments).items()]
    ratios, wall, inside, loop = [], [], [], []
    for turn in range(given.turns):
        with spark_and_settings(spark={"master": f"local[{CORES}]"}) as (spark, _):
            spent: list[float] = []
            at_once = spark_runner(spark, spent)
            for first in (turn % 2 == 0, turn % 2 == 1):
                began, used = time.perf_counter(), time.process_time()
                if first:
                    here = in_process(experiments, market, terms)
                    loop.append(time.process_time() - used)
                else:
                    there = at_once(experiments, market, terms)
                    wall.append(time.perf_counter() - began)
        refuse_difference(here, there)
        inside.append(sum(spent))
        ratios.append(wall[-1] / (inside[-1] / CORES))
    details = {
        "wall, s": sum(wall) / len(wall),
        "CPU in the tasks, s": sum(inside) / len(inside),
        "CPU in a plain loop, s": sum(loop) / len(loop),
        "experiments": float(len(experiments)),
        "bars": float(len(market.panel)),
        "first turn": ratios[0],
    }
    publish(record_of("experiments_at_once", ratios, source="real", details=details), given)


def refuse_difference(here: list[Outcome], there: list[Outcome]) -> None:
    """A fast answer that is another one would be of no use."""
    for one, other in zip(here, there, strict=True):
        if one.error or not np.array_equal(one.returns, other.returns):
            raise SystemExit(f"{one.name}: {one.error or 'the tasks gave another result than the loop'}")


if __name__ == "__main__":
    main()
