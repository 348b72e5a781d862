"""What one instrument costs when there are 100, 1,000 or 10,000 of them.

Two costs, CPU of this process: a decision step, and building bars from a batch's slots (merge, fold into the open bars
of three intervals, figures). The value is the worst ratio of the cost per instrument at a size to that at any smaller
one: below 1 it falls all the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from desks import Run, desk_of, market
from harness import options, publish, record_of, seconds_of

from qts.market import bars

SIZES = (100, 1_000, 10_000)
SECOND = bars.SECOND
INTERVALS = {SECOND: "1s", 60 * SECOND: "1m", 86_400 * SECOND: "1d"}
SLOTS = 5  # of a batch
WARM_UPS = 3


def main() -> None:
    given = options(__doc__, {"repetitions": (15, 3)})
    for claim, make in (("instruments_decision", decisions), ("instruments_bars", folds)):
        steps = {size: make(size, WARM_UPS + given.repetitions) for size in SIZES}
        taken: dict[int, list[float]] = {size: [] for size in SIZES}
        for turn in range(WARM_UPS + given.repetitions):
            for size, step in steps.items():
                # A small size takes its steps one after another, or the large one would empty the caches before each.
                spent = seconds_of(step) / size
                if turn >= WARM_UPS:
                    taken[size].append(1e6 * spent)
        rises = [worst_rise({size: costs[turn] for size, costs in taken.items()}) for turn in range(given.repetitions)]
        details = {f"{size} instruments, us each": float(np.median(costs)) for size, costs in taken.items()}
        medians = worst_rise({size: float(np.median(costs)) for size, costs in taken.items()})
        publish(
            record_of(
                claim,
                [*rises, medians],
                value=medians,
                source="simulated",
                details=details,
                repetitions=given.repetitions,
            ),
            given,
        )


def worst_rise(costs: Mapping[int, float]) -> float:
    """The largest ratio of a size's cost to a smaller size's."""
    return max(costs[large] / costs[small] for small in costs for large in costs if small < large)


def decisions(instruments: int, steps: int) -> Callable[[], object]:
    """One decision step, again and again."""
    desk, limits = desk_of()
    return Run(desk, limits, market(instruments, steps)).step


def folds(instruments: int, steps: int) -> Callable[[], object]:
    """One batch of slots into the open bars, again and again."""
    rng = np.random.default_rng(0)
    names = np.array([f"I{number:05d}" for number in range(instruments)], dtype=object)
    batches = iter([batch_of(names, SLOTS * step, rng) for step in range(steps)])
    still_open = bars.no_open_bars()

    def step() -> None:
        nonlocal still_open
        partials = next(batches)
        frontier = (int(partials["slot"].max()) + 1) * SECOND
        slots = bars.slots(bars.merge(partials))
        folded = bars.fold(still_open, slots, tuple(INTERVALS), frontier)
        still_open = folded.still_open
        bars.figures(folded.closed, INTERVALS)

    return step


def batch_of(names: np.ndarray, first_slot: int, rng: np.random.Generator) -> pd.DataFrame:
    """Partials of `SLOTS` seconds, one an instrument and second, in the shuffled order that Spark gives."""
    count = SLOTS * len(names)
    close = 100 * np.exp(rng.normal(0, 0.001, count))
    rows = pd.DataFrame(
        {
            "instrument": np.tile(names, SLOTS),
            "kind": "trade",
            "slot": np.repeat(1_700_000_000 + first_slot + np.arange(SLOTS), len(names)),
            "open_key": 1,
            "open": close * 0.9995,
            "close_key": 2,
            "close": close,
            "high": close * 1.001,
            "low": close * 0.999,
            "rows": 4,
            "volume_whole": 100,
            "volume_part": 0,
            "value_whole": 10_000,
            "value_part": 0,
            "spread_parts": 0,
            "simulated": True,
        }
    )
    return rows[bars.PARTIAL_COLUMNS].sample(frac=1, random_state=1, ignore_index=True)


if __name__ == "__main__":
    main()
