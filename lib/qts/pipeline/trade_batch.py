"""One batch of the live query: ticks to bars, decisions, orders; a pure function of rows, state and plan."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from qts.errors import StoreError
from qts.market import bars, frontier
from qts.market.bar import FIELDS, BarPanel
from qts.pipeline.deskplan import TradeConfig, quote_driven, rules, trade_config, universe
from qts.pipeline.sidetables import extras
from qts.portfolio.accounting import Book
from qts.store.columns import arrays_bytes, arrays_of, frame_bytes, frame_of
from qts.store.ledger import Ledger
from qts.trading.decide import Account, Runner, act_between_bars, decide, open_account
from qts.trading.record import Recorder

Plan = Mapping[str, Any]


@dataclass(frozen=True)
class TradeState:
    """Everything that one batch hands to the next.

    Attributes:
        partials: slots that the frontier has not passed (`bars.PARTIAL_COLUMNS`).
        open_bars: bars that have not ended (`bars.OPEN_BAR_COLUMNS`).
        pairs: what has arrived of each source and instrument (`frontier.no_pairs`).
        reached: the frontier so far, nanoseconds; slots before it are folded.
        closed_until: by interval length, the end of the newest closed bar.
        simulated: whether any bar decided so far was made of simulated prints.
        controls_version: of the controls table, as the account knows it.
        account: strategies, policies and book; None before the first decision.
    """

    partials: pd.DataFrame
    open_bars: pd.DataFrame
    pairs: pd.DataFrame
    reached: int
    closed_until: dict[int, int]
    simulated: bool
    controls_version: int
    account: Account | None

    @classmethod
    def empty(cls) -> TradeState:
        return cls(bars.no_partials(), bars.no_open_bars(), frontier.no_pairs(), 0, {}, False, -1, None)

    def to_parts(self) -> dict[str, bytes]:
        """As named blobs for the state table."""
        meta: dict[str, Any] = {
            "reached": self.reached,
            "closed_until": {str(interval): end for interval, end in self.closed_until.items()},
            "simulated": self.simulated,
            "controls_version": self.controls_version,
        }
        parts = {
            "partials": frame_bytes(self.partials),
            "open_bars": frame_bytes(self.open_bars),
            "pairs": frame_bytes(self.pairs),
        }
        if self.account is not None:
            meta |= {"names": self.account.names, "arms": self.account.arms, "policies": self.account.policies}
            parts |= {"desk": arrays_bytes(self.account.desk), "book": arrays_bytes(self.account.book.to_state())}
        return {**parts, "meta": json.dumps(meta).encode()}

    @classmethod
    def of_parts(cls, parts: Mapping[str, bytes]) -> TradeState:
        """What `to_parts` wrote; an empty state where nothing was ever written."""
        if not parts:
            return cls.empty()
        meta = json.loads(parts["meta"])
        account = None
        if "names" in meta:
            book = Book.from_state(arrays_of(parts["book"]))
            account = Account(
                tuple(meta["names"]), tuple(meta["arms"]), tuple(meta["policies"]), arrays_of(parts["desk"]), book
            )
        return cls(
            frame_of(parts["partials"]),
            frame_of(parts["open_bars"]),
            frame_of(parts["pairs"]),
            meta["reached"],
            {int(interval): end for interval, end in meta["closed_until"].items()},
            meta["simulated"],
            meta["controls_version"],
            account,
        )


@dataclass(frozen=True)
class Outcome:
    """What a batch gives: the state after it, rows for the tables, figures for its done row.

    Attributes:
        caught_up: whether all that `totals` counts has come.
    """

    state: TradeState
    bars: pd.DataFrame
    record: Recorder
    figures: dict[str, Any]
    caught_up: bool


def trade(
    ledger: Ledger,
    plan: Plan,
    before: TradeState,
    arrived: pd.DataFrame,
    totals: pd.DataFrame | None,
    run: Runner,
) -> Outcome:
    """Does the work of a batch; writes nothing.

    Args:
        ledger: to read side tables at the plan's versions.
        plan: see qts.pipeline.deskplan; with `now`.
        before: the state after the batch before.
        arrived: the batch's ticks as partials, with source and newest_ns.
        totals: what the finite input, or the backlog that a live run began with, holds from `before.reached` on
            (`frontier.replay_frontier`); None where there is none.
        run: who runs the buckets.
    """
    config = trade_config(plan["config"])
    now = int(datetime.fromisoformat(plan["now"]).timestamp() * 1_000_000) * 1000
    pairs = frontier.advance(before.pairs, arrived, now, config.idle_timeout)
    # A slot that was folded takes no more rows: the sums of its bars have gone on in time order.
    late = arrived["slot"].to_numpy("int64") < before.reached // bars.SECOND
    waiting = bars.merge(_concat(before.partials, arrived.loc[~late, bars.PARTIAL_COLUMNS]))
    to_come = frontier.END if totals is None else frontier.replay_frontier(waiting, totals)
    live = not plan["once"]
    reached = frontier.live_frontier(pairs, now, config.allowance, config.idle_timeout) if live else to_come
    # Slots are folded whole: the frontier counts from the second that it stands in.
    reached = max(min(reached, to_come) // bars.SECOND * bars.SECOND, before.reached)
    # Neither the end of input nor a silent market's clock says that nothing will come of the time before it.
    runs_ahead = reached == _end() or (live and frontier.silent(pairs, now, config.idle_timeout))
    state, rows, record = _close_and_decide(ledger, plan, config, before, waiting, reached, runs_ahead, run)
    decided = rows.loc[rows["interval"].map(config.intervals) == config.decision, "bar_time"]
    figures = {
        "ticks": int(arrived["rows"].sum()),
        "late_for_bars": _late(arrived, before),
        "bars": len(rows),
        "bar_times": int(decided.nunique()),
        "reached": state.reached,
    }
    return Outcome(replace(state, pairs=pairs), rows, record, figures, caught_up=to_come == frontier.END)


def _concat(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Both, but for empty ones, whose columns' types would count."""
    return pd.concat([part for part in (left, right) if len(part)] or [left], ignore_index=True)


def _late(arrived: pd.DataFrame, before: TradeState) -> int:
    """Ticks that came when a bar of theirs had closed."""
    closed = max(before.reached, *before.closed_until.values(), 0)
    return int(arrived.loc[arrived["slot"].to_numpy("int64") < closed // bars.SECOND, "rows"].sum())


def _close_and_decide(
    ledger: Ledger,
    plan: Plan,
    config: TradeConfig,
    before: TradeState,
    waiting: pd.DataFrame,
    reached: int,
    runs_ahead: bool,
    run: Runner,
) -> tuple[TradeState, pd.DataFrame, Recorder]:
    versions = plan["versions"]
    final = waiting["slot"].to_numpy("int64") < reached // bars.SECOND
    slots = bars.slots(waiting[final], quote_driven(ledger, versions))
    folded = bars.fold(before.open_bars, slots, tuple(config.intervals.values()), reached, before.closed_until)
    closed_until = dict(before.closed_until)
    for interval, last in folded.closed.groupby("interval_ns")["bar"].max().items():
        closed_until[int(interval)] = (int(last) + 1) * int(interval)
    rows = bars.figures(folded.closed, {ns: name for name, ns in config.intervals.items()})
    record, account = Recorder(), before.account
    decided = rows[rows["interval"].map(config.intervals) == config.decision]
    simulated = before.simulated or bool(decided["provenance"].eq("simulated_path").any())
    if len(decided):
        account, record = _decide(ledger, plan, config, before, decided, run)
    elif account is not None and versions["controls"] != before.controls_version:
        known = universe(ledger, versions)
        now_rules = rules(ledger, config, versions, known, _provenance(simulated))
        account, record = act_between_bars(config.desk, account, now_rules)
    if runs_ahead:  # then the frontier stays where the data ended: more may come, after an outage or another day
        reached = max(before.reached, (int(slots["slot"].max()) + 1) * bars.SECOND if len(slots) else 0)
    state = TradeState(
        waiting[~final].reset_index(drop=True),
        folded.still_open,
        before.pairs,
        reached,
        closed_until,
        simulated,
        versions["controls"],
        account,
    )
    return state, rows, record


def _end() -> int:
    return frontier.END // bars.SECOND * bars.SECOND


def _decide(
    ledger: Ledger,
    plan: Plan,
    config: TradeConfig,
    before: TradeState,
    decided: pd.DataFrame,
    run: Runner,
) -> tuple[Account, Recorder]:
    versions = plan["versions"]
    known = universe(ledger, versions)
    account = before.account or open_account(config.desk, known, config.cash)
    record = Recorder()
    for part, simulated in _by_provenance(decided, before.simulated):
        panel = panel_of(part, known.names)
        beside = extras(ledger, versions, known.names, panel.times, config.decision)
        panel = BarPanel(panel.instruments, panel.times, panel.values, beside)
        part_rules = rules(ledger, config, versions, known, _provenance(simulated))
        account, record = decide(config.desk, account, panel, part_rules, config.buckets, run, record)
    return account, record


def _by_provenance(decided: pd.DataFrame, simulated: bool) -> list[tuple[pd.DataFrame, bool]]:
    """The bars before the first simulated one, and those from it on, so that no row tells where a batch began."""
    if simulated:
        return [(decided, True)]
    marked = decided.loc[decided["provenance"] == "simulated_path", "bar_time"]
    late = decided["bar_time"] >= (marked.min() if len(marked) else _end())
    return [(part, flag) for part, flag in ((decided[~late], False), (decided[late], True)) if len(part)]


def _provenance(simulated: bool) -> str:
    return "simulated_path" if simulated else "real"


def panel_of(rows: pd.DataFrame, names: tuple[str, ...]) -> BarPanel:
    """Bars of one interval as a panel over the given instruments.

    Raises:
        StoreError: a bar's instrument is not among them.
    """
    times = np.unique(rows["bar_time"].to_numpy("int64"))
    when = np.searchsorted(times, rows["bar_time"].to_numpy("int64"))
    refuse_unknown(rows["instrument"], names)
    who = pd.Index(names, dtype=object).get_indexer(rows["instrument"])
    values = {}
    for field in FIELDS:
        values[field] = np.full((len(times), len(names)), np.nan)
        values[field][when, who] = rows[field].to_numpy(np.float64)
    return BarPanel(names, times, values)


def refuse_unknown(instruments: Iterable[str], names: tuple[str, ...]) -> None:
    """Sees that all instruments are in the universe.

    Raises:
        StoreError: one is not.
    """
    if stray := sorted(set(instruments) - set(names)):
        raise StoreError(
            f"Ticks of {stray[:5]} have no row in table 'instruments'; `qts ingest` writes it before their ticks. "
            "Add the rows, then start again."
        )


def timed(figures: dict[str, Any], name: str, work: Callable[[], Any]) -> Any:
    """Runs `work` and notes its milliseconds under `figures["ms"][name]`."""
    began = time.perf_counter()
    result = work()
    figures.setdefault("ms", {})[name] = round(1000 * (time.perf_counter() - began), 1)
    return result
