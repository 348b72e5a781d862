"""Runs experiments: here one after another, or side by side in processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

from qts.backtest.experiment import Experiment, Outcome, Terms, run
from qts.backtest.market import Market

#: Runs all experiments of a study on the same history; outcomes come in their order.
Runner = Callable[[Sequence[Experiment], Market, Terms], list[Outcome]]

#: Bars times experiments below which starting processes takes longer than they save.
_SMALL = 20_000
_shared: tuple[Market, Terms] | None = None


def in_process(experiments: Sequence[Experiment], market: Market, terms: Terms) -> list[Outcome]:
    """One after another."""
    return [run(experiment, market, terms) for experiment in experiments]


def longest_first(experiments: Sequence[Experiment], bars: int) -> list[int]:
    """The places of experiments, those that take longest first, so that none is left over when all others are done.

    An experiment sees every bar up to its end. Settling the account takes about as long as ten strategies' steps.
    """
    work = [(each.stop or bars) * (10 + len(each.strategies)) for each in experiments]
    return sorted(range(len(experiments)), key=lambda place: -work[place])


def processes(workers: int | None = None) -> Runner:
    """A runner that uses several processes; what it gives is the same as `in_process`, bit for bit.

    Args:
        workers: by default as many as cores.
    """
    count = workers or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

    def run_all(experiments: Sequence[Experiment], market: Market, terms: Terms) -> list[Outcome]:
        if count < 2 or len(experiments) * len(market.panel) < _SMALL:
            return in_process(experiments, market, terms)
        # spawn: a fork of a process that has threads (Arrow, BLAS, a JVM's sockets) may hang.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(count, len(experiments)), context, initializer=_share, initargs=(market, terms))
        order = longest_first(experiments, len(market.panel))
        with pool:
            done = dict(zip(order, pool.map(_run_shared, [experiments[place] for place in order]), strict=True))
        return [done[place] for place in range(len(experiments))]

    return run_all


def _share(market: Market, terms: Terms) -> None:
    """Keeps the history in a new process, so that it travels once a process and not once an experiment."""
    global _shared  # noqa: PLW0603 - a worker process has nothing else to remember it by
    _shared = market, terms


def _run_shared(experiment: Experiment) -> Outcome:
    if _shared is None:
        raise RuntimeError("This process was not given a history.")
    return run(experiment, *_shared)
