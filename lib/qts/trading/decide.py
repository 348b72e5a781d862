"""decide(): the one decision path. Live trading and backtests both call it; only who runs the buckets differs."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qts.market.bar import FIELDS, Bar, BarPanel, State
from qts.portfolio.accounting import Book
from qts.risk.limits import Limits
from qts.trading.controls import Controls
from qts.trading.propose import Desk, Proposals, propose, start
from qts.trading.record import Recorder
from qts.trading.settle import SettleConfig, settle
from qts.trading.universe import Universe

#: Proposes for some instruments: their state and bars in, their new state and proposals out.
Work = tuple[State, BarPanel]
Result = tuple[State, Proposals]
Runner = Callable[[Desk, Sequence[Work]], Sequence[Result]]


@dataclass(frozen=True)
class Account:
    """Everything that a decision leaves behind for the next one.

    Attributes:
        names: instruments, sorted, in the order of all arrays.
        arms: names of the strategies that the policies have learnt about.
        desk: per-instrument state of strategies and policies.
        book: cash, positions and open orders.
    """

    names: tuple[str, ...]
    arms: tuple[str, ...]
    desk: State
    book: Book


@dataclass(frozen=True)
class Rules:
    """What holds for all bar times of a batch; all of it comes from the batch's plan."""

    universe: Universe
    limits: Limits
    controls: Controls
    settle: SettleConfig


def in_process(desk: Desk, work: Sequence[Work]) -> Sequence[Result]:
    """Runs the buckets here, one after another."""
    return [propose(desk, state, panel) for state, panel in work]


def open_account(desk: Desk, universe: Universe, cash: float) -> Account:
    """An account before its first bar."""
    return Account(
        universe.names, tuple(desk.strategies), start(desk, len(universe)), Book.for_universe(universe, cash)
    )


def align(account: Account, desk: Desk, universe: Universe) -> Account:
    """The account for a universe or a desk that has changed since.

    Instruments that are new start afresh. Strategies and policies that are new do, too; when the set of strategies has
    changed, all policies start afresh, for what they learnt was about other arms.
    """
    arms = tuple(desk.strategies)
    if account.names == universe.names and account.arms == arms:
        return account
    source = {name: row for row, name in enumerate(account.names)}
    kept = np.array([name in source for name in universe.names], dtype=bool)
    rows = np.array([source[name] for name in universe.names if name in source], dtype=np.intp)
    fresh = start(desk, len(universe))
    for key, values in fresh.items():
        old = account.desk.get(key)
        learnt_elsewhere = account.arms != arms and (key.startswith("policy/") or key in ("arm", "context"))
        if old is not None and old.shape[1:] == values.shape[1:] and not learnt_elsewhere:
            values[kept] = old[rows]
    return Account(universe.names, arms, fresh, account.book.align(account.names, universe))


def decide(
    desk: Desk,
    account: Account,
    panel: BarPanel,
    rules: Rules,
    buckets: int = 1,
    run: Runner = in_process,
    record: Recorder | None = None,
) -> tuple[Account, Recorder]:
    """Decides on every bar time of a panel, in order.

    Args:
        desk: strategies and policies.
        account: the state after the bar before; not changed.
        panel: bars over exactly the instruments of `rules.universe`.
        rules: universe, limits, controls.
        buckets: into how many parts the instruments are cut for `run`; it does not change a bit of the result.
        run: runs the buckets, here or in a Spark job.
        record: where rows go, by default a new one.

    Returns:
        The account afterwards, and all rows for the gold tables.
    """
    account = align(account, desk, rules.universe)
    parts = [rows for rows in _buckets(account.names, buckets) if rows.size]
    results = run(desk, [(_rows(account.desk, rows), _cut(panel, rows)) for rows in parts])
    order = np.argsort(np.concatenate(parts), kind="stable") if parts else np.empty(0, dtype=np.intp)
    proposals = Proposals.join([proposed for _, proposed in results], order)
    state = {key: np.concatenate([part[key] for part, _ in results])[order] for key in results[0][0]}
    record = record or Recorder()
    record_proposals(record, desk, panel, proposals)
    book = _settle_all(desk, account.book, panel, proposals, rules, record)
    return replace(account, desk=state, book=book), record


def act_between_bars(account: Account, rules: Rules) -> tuple[Account, Recorder]:
    """Lets controls act when no bar closes: cancels what they forbid, sends what flattens, just after the last bar.

    Nothing happens before the first bar, when there is nothing to cancel or to flatten.
    """
    record, count = Recorder(), len(rules.universe)
    if account.book.time == 0 or account.names != rules.universe.names:
        return account, record
    nothing = np.full(count, np.nan)
    # A microsecond, the finest time that tables keep: bars are seconds apart, so order ids stay unique.
    fields: dict[str, Any] = dict.fromkeys(FIELDS, nothing)
    quiet = Bar(account.book.time + 1000, **fields)
    book = settle(
        account.book, quiet, nothing, [""] * count, rules.settle, rules.limits, rules.controls, record, rules.universe
    )
    return replace(account, book=book), record


def _settle_all(desk: Desk, book: Book, panel: BarPanel, proposals: Proposals, rules: Rules, record: Recorder) -> Book:
    acting = list(desk.policies).index(desk.acting)
    names = np.array([*desk.strategies, ""], dtype=object)  # arm -1, no decision, reads the last one
    for row, bar in enumerate(panel):
        book = settle(
            book,
            bar,
            proposals.target[row, :, acting],
            names[proposals.arm[row, :, acting]].tolist(),
            rules.settle,
            rules.limits,
            rules.controls,
            record,
            rules.universe,
        )
    return book


def record_proposals(record: Recorder, desk: Desk, panel: BarPanel, proposals: Proposals) -> None:
    """Rows for the tables signals, decisions and rewards, in time order."""
    names = np.array(panel.instruments, dtype=object)
    strategies = np.array(list(desk.strategies), dtype=object)
    here = proposals.arm[:, :, 0] >= 0
    when, who = np.nonzero(here)
    count, arms = len(when), len(strategies)
    record.add(
        "signals",
        count * arms,
        bar_time=np.repeat(panel.times[when], arms),
        instrument=np.repeat(names[who], arms),
        strategy=np.tile(strategies, count),
        signal=proposals.signals[when, who].reshape(-1),
    )
    for number, policy in enumerate(desk.policies):
        record.add(
            "decisions",
            count,
            bar_time=panel.times[when],
            instrument=names[who],
            policy=policy,
            acting=policy == desk.acting,
            arm=strategies[proposals.arm[when, who, number]],
            propensity=proposals.propensity[when, who, number],
            target=proposals.target[when, who, number],
            context=proposals.context[when, who, number],
        )
        then, whose = np.nonzero(np.isfinite(proposals.reward[:, :, number]))
        record.add(
            "rewards",
            len(then),
            bar_time=proposals.reward_time[then, whose],
            matured_at=panel.times[then],
            instrument=names[whose],
            policy=policy,
            arm=strategies[proposals.reward_arm[then, whose, number]],
            reward=proposals.reward[then, whose, number],
        )


def _buckets(names: Sequence[str], buckets: int) -> list[npt.NDArray[np.intp]]:
    """Rows of each bucket; an instrument's bucket is a hash of its name, the same in every process."""
    bucket = np.array([zlib.crc32(name.encode()) % buckets for name in names], dtype=np.intp)
    return [np.flatnonzero(bucket == number) for number in range(buckets)]


def _rows(state: State, rows: npt.NDArray[np.intp]) -> State:
    return {key: values[rows] for key, values in state.items()}


def _cut(panel: BarPanel, rows: npt.NDArray[np.intp]) -> BarPanel:
    return BarPanel(
        tuple(panel.instruments[row] for row in rows),
        panel.times,
        {name: values[:, rows] for name, values in panel.values.items()},
        {name: values[:, rows] for name, values in panel.extra.items()},
    )
