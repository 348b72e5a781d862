"""Walk-forward: parameters are chosen on the past only, and judged on what came after."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from qts.backtest.experiment import Experiment, Terms
from qts.backtest.market import Market
from qts.backtest.significance import sharpe
from qts.backtest.sweep import sweep
from qts.errors import ConfigError, DataError
from qts.market.bar import Array, Bar, State
from qts.strategy.base import Strategy

#: How much faster or slower than its defaults a strategy is tried, where no grid is given.
_PACES = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Plan:
    """How history is cut.

    Attributes:
        train, test: bars of a training and of a test window.
        anchored: training always begins at the first bar; else it rolls along.
        purge: bars cut off the end of training, whose outcome lies in the test: at least the 1 bar that a fill waits.
        embargo: further bars between training and test.
    """

    train: int
    test: int
    anchored: bool = False
    purge: int = 1
    embargo: int = 0

    def __post_init__(self) -> None:
        if min(self.train, self.test, self.purge) < 1 or self.embargo < 0:
            raise ConfigError(f"{self} makes no sense: expected train, test and purge of at least 1 bar, embargo of 0.")


@dataclass(frozen=True)
class Fold:
    """One training window and the test window after it, as half-open ranges of bar indices."""

    train_first: int
    train_stop: int
    test_first: int
    test_stop: int


def default_plan(bars: int, periods: float, anchored: bool = False) -> Plan:
    """Three years of training and one of test where history is ten years long, else the same in proportion."""
    unit = max(1, round(min(periods, bars / 10)))
    embargo = math.ceil(0.01 * 3 * unit)  # Lopez de Prado's (2018) one per cent
    return Plan(3 * unit, unit, anchored, embargo=embargo)


def folds(bars: int, plan: Plan) -> list[Fold]:
    """All folds, in order; test windows follow one another without gap or overlap, the last one may be shorter.

    Raises:
        DataError: history is too short for one fold.
    """
    gap = plan.purge + plan.embargo
    found = []
    for test in range(plan.train + gap, bars, plan.test):
        stop = test - gap
        found.append(Fold(0 if plan.anchored else stop - plan.train, stop, test, min(test + plan.test, bars)))
    # A single bar at the end has no fill to be measured by: it joins the window before.
    if len(found) > 1 and found[-1].test_stop - found[-1].test_first < 2:
        last = found.pop()
        found[-1] = replace(found[-1], test_stop=last.test_stop)
    if not found or found[-1].test_stop - found[0].test_first < 3:
        raise DataError(f"{bars} bars are too few for {plan}; at least {plan.train + gap + 3} are needed.")
    return found


def candidates(strategy: Strategy, grid: Mapping[str, Sequence[Any]] | None = None) -> list[Strategy]:
    """The variants of a strategy that training chooses from, the strategy itself first.

    Args:
        grid: parameter to values, all combinations of which are tried. Without one, all lengths (whole numbers above 1)
            are halved and doubled together, so that the strategy is tried at half and at twice its pace.

    Raises:
        ConfigError: the grid names a parameter that the strategy does not have.
    """
    # A class of a user's own may be of any kind; without fields there is nothing to vary.
    given: Any = strategy
    names: list[str] = [field.name for field in fields(given)] if is_dataclass(given) else []
    if grid:
        unknown = [name for name in grid if name not in names]
        if unknown:
            raise ConfigError(f"{type(strategy).__name__} has no parameter {unknown[0]!r}; it has {', '.join(names)}.")
        changes = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    else:
        lengths = {name: getattr(strategy, name) for name in names}
        lengths = {name: value for name, value in lengths.items() if type(value) is int and value > 1}
        changes = [{name: max(2, round(value * pace)) for name, value in lengths.items()} for pace in _PACES]
    found = [strategy]
    for change in changes if names else ():
        try:
            variant = replace(given, **change)
        except ConfigError:
            continue  # a combination that makes no sense, say a fast mean that is slower than the slow one
        if variant not in found:
            found.append(variant)
    return found


@dataclass(frozen=True)
class Scheduled:
    """Follows one of several strategies at a time, each from its time on; all of them step, so all are warm.

    Attributes:
        variants: the strategies.
        times: bar ends from which on a choice holds, ns, increasing; before the first one the position is 0.
        choices: index of a variant for each time.
    """

    variants: tuple[Strategy, ...]
    times: tuple[int, ...]
    choices: tuple[int, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """Extras that any of them asks for."""
        return tuple(dict.fromkeys(name for each in self.variants for name in getattr(each, "reads", ())))

    def across(self, instruments: Sequence[str], close: Array) -> Mapping[str, Array]:
        """What any of them reads of other instruments' closes."""
        found: dict[str, Array] = {}
        for each in self.variants:
            if across := getattr(each, "across", None):
                found.update(across(instruments, close))
        return found

    def start(self, instruments: int) -> State:
        return {
            f"{place}.{key}": values
            for place, each in enumerate(self.variants)
            for key, values in each.start(instruments).items()
        }

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        """See `Strategy.step`."""
        after, signals = dict(state), []
        for place, each in enumerate(self.variants):
            prefix = f"{place}."
            own = {key[len(prefix) :]: values for key, values in state.items() if key.startswith(prefix)}
            stepped, signal = each.step(own, bar)
            after.update({prefix + key: values for key, values in stepped.items()})
            signals.append(signal)
        now = bisect_right(self.times, bar.time) - 1
        return after, signals[self.choices[now]] if now >= 0 else np.zeros(len(bar.close))


def walk_forward(
    experiment: Experiment, market: Market, terms: Terms, plan: Plan, grid: Mapping[str, Sequence[Any]] | None = None
) -> Experiment:
    """The experiment over all test windows, its parameters chosen in each one's training window by Sharpe ratio.

    A policy needs no search: it learns as it goes, and is measured over the same windows.
    """
    cut = folds(len(market.panel), plan)
    window = {"first": cut[0].test_first, "stop": cut[-1].test_stop}
    if experiment.policy is not None:
        return replace(experiment, **window)  # type: ignore[arg-type]
    ((name, strategy),) = experiment.strategies.items()
    variants = candidates(strategy, grid)
    if len(variants) == 1:
        return replace(experiment, **window)  # type: ignore[arg-type]
    returns = sweep(variants, market.panel, terms)
    choices = tuple(_best(returns[fold.train_first : fold.train_stop]) for fold in cut)
    # The decision at the last training bar is filled in the test: a choice holds from the first bar of its test on.
    times = tuple(int(market.panel.times[fold.test_first]) for fold in cut)
    chosen = ", ".join(f"{choices.count(place)} x {variants[place]!r}" for place in sorted(set(choices)))
    return replace(
        experiment,
        strategies={name: Scheduled(tuple(variants), times, choices)},
        trials=len(variants),
        note=f"Walk-forward over {len(cut)} windows chose {chosen}.",
        **window,  # type: ignore[arg-type]
    )


def _best(returns: Array) -> int:
    """Index of the variant with the highest Sharpe ratio; the first of equals: the default where nothing differs."""
    ratios = [sharpe(column) for column in returns.T]
    return int(np.argmax([ratio if math.isfinite(ratio) else -math.inf for ratio in ratios]))
