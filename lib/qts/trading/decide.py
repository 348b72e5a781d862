"""decide(): the one decision path. Live trading and backtests both call it; only who runs the buckets differs."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qts.errors import DataError
from qts.market.bar import FIELDS, Bar, BarPanel, State
from qts.portfolio.accounting import Book
from qts.risk.limits import Limits
from qts.trading import across
from qts.trading.controls import Controls
from qts.trading.propose import BY_ARM, BY_POLICY, Desk, Proposals, pool, propose, start, stretches
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
        arms: names of the strategies that the policies have learnt about, in the order of their arms.
        policies: names of the policies, in the order of the second axis of the desk's arrays by policy.
        desk: per-instrument state of strategies and policies.
        book: cash, positions and open orders.
    """

    names: tuple[str, ...]
    arms: tuple[str, ...]
    policies: tuple[str, ...]
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
    return _account(desk, universe, start(desk, len(universe)), Book.for_universe(universe, cash))


def align(account: Account, desk: Desk, universe: Universe) -> Account:
    """The account for a universe or a desk that has changed since.

    Instruments that are new start afresh. Strategies and policies that are new do, too, and those whose arrays have
    other shapes than before; when the set of strategies, or their order, has changed, all policies start afresh, for
    what they learnt was about other arms.
    """
    now = universe.names, tuple(desk.strategies), tuple(desk.policies)
    if (account.names, account.arms, account.policies) == now and _shapes(account.desk) == _shapes(start(desk, 0)):
        return account
    fresh = start(desk, len(universe))
    aligned = _account(desk, universe, fresh, account.book.align(account.names, universe))
    to, of = _places(account.names, aligned.names)
    policy_to, policy_of = _places(account.policies, aligned.policies)
    restarted = _restarted(account, aligned)
    for key, values in fresh.items():
        old = account.desk.get(key)
        if old is None or _owner(key) in restarted:
            continue
        if key in BY_ARM:
            if account.arms == aligned.arms:
                values[to] = old[of]
        elif key not in BY_POLICY:
            values[to] = old[of]
        elif old.shape[2:] == values.shape[2:]:
            values[np.ix_(to, policy_to)] = old[np.ix_(of, policy_of)]
    if account.arms != aligned.arms:
        fresh["arm"][:] = -1
    return aligned


def _account(desk: Desk, universe: Universe, state: State, book: Book) -> Account:
    return Account(universe.names, tuple(desk.strategies), tuple(desk.policies), state, book)


def _places(old: Sequence[str], new: Sequence[str]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Where the names that both have stand in the new ones, and where in the old ones."""
    source = {name: place for place, name in enumerate(old)}
    pairs = [(place, source[name]) for place, name in enumerate(new) if name in source]
    both = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _owner(key: str) -> str:
    """The strategy or policy that an array of the desk's state belongs to; the key itself where it is nobody's."""
    return key.rpartition("/")[0] or key


def _restarted(account: Account, aligned: Account) -> set[str]:
    """Owners of which not every array fits: half an old state would be none that steps from the start could reach."""
    learnt = {f"policy/{name}" for name in aligned.policies if account.arms != aligned.arms}
    old, new = _shapes(account.desk), _shapes(aligned.desk)
    return learnt | {_owner(key) for key in old.keys() | new.keys() if "/" in key and old.get(key) != new.get(key)}


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    """The shape of every array but for its rows."""
    return {key: values.shape[1:] for key, values in state.items()}


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

    Raises:
        DataError: the panel is not over the instruments of the universe.
    """
    if panel.instruments != rules.universe.names:
        raise DataError(
            f"The panel has {len(panel.instruments)} instruments ({', '.join(panel.instruments[:3])}, ...) where the "
            f"universe has {len(rules.universe)}; build it over exactly the universe's names, in their order."
        )
    account = align(account, desk, rules.universe)
    state, clock = account.desk, int(account.desk["clock"].max(initial=0))
    panel, owed = across.with_others(desk.strategies.values(), panel, state["close"], state["market_since"])
    proposed = []
    for stretch in stretches(desk, clock, len(panel)):
        state = pool(desk, state, clock + stretch.start)
        state, proposals = _propose(desk, account.names, state, _during(panel, stretch), buckets, run)
        proposed.append(proposals)
    state |= {"market_since": owed, "clock": np.full(len(account.names), clock + len(panel), dtype=np.int64)}
    proposals = Proposals.follow(proposed)
    record = record or Recorder()
    record_proposals(record, desk, panel, proposals)
    book = _settle_all(desk, account.book, panel, proposals, rules, record)
    return replace(account, desk=state, book=book), record


def _propose(
    desk: Desk, names: tuple[str, ...], state: State, panel: BarPanel, buckets: int, run: Runner
) -> tuple[State, Proposals]:
    """Runs the buckets and puts their results together."""
    if buckets == 1:
        return run(desk, [(state, panel)])[0]
    parts = [rows for rows in _buckets(names, buckets) if rows.size]
    results = run(desk, [(_rows(state, rows), _cut(panel, rows)) for rows in parts])
    order = np.argsort(np.concatenate(parts), kind="stable") if parts else np.empty(0, dtype=np.intp)
    proposals = Proposals.join([proposed for _, proposed in results], order)
    return {key: np.concatenate([part[key] for part, _ in results])[order] for key in results[0][0]}, proposals


def act_between_bars(desk: Desk, account: Account, rules: Rules) -> tuple[Account, Recorder]:
    """Lets controls act when no bar closes: cancels what they forbid, sends what flattens, just after the last bar.

    Nothing happens before the first bar, when there is nothing to cancel or to flatten.
    """
    record, count = Recorder(), len(rules.universe)
    if account.book.time == 0:
        return account, record
    account = align(account, desk, rules.universe)  # a new instrument must not keep a halt from the others
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


def _during(panel: BarPanel, stretch: slice) -> BarPanel:
    values, extra = ({key: each[stretch] for key, each in group.items()} for group in (panel.values, panel.extra))
    return BarPanel(panel.instruments, panel.times[stretch], values, extra)


def _cut(panel: BarPanel, rows: npt.NDArray[np.intp]) -> BarPanel:
    return BarPanel(
        tuple(panel.instruments[row] for row in rows),
        panel.times,
        {name: values[:, rows] for name, values in panel.values.items()},
        {name: values[:, rows] for name, values in panel.extra.items()},
    )
