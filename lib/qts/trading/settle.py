"""settle(): the half of the decision step that sees the whole account.

One bar time: fill what is open, mark, trip breakers, size the new targets, check them, leave the orders open. Nothing
is filled at the bar that it was decided on: orders leave only after all fills of their bar.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from qts.errors import DataError
from qts.execution.broker import Broker, Fills, OpenOrders
from qts.execution.costs import Execution
from qts.execution.paper import PaperBroker
from qts.market.bar import Array, Bar
from qts.market.returns import log_return
from qts.portfolio.accounting import Book, mark, post
from qts.portfolio.sizing import Sizing, target_quantity
from qts.risk import breakers
from qts.risk.check import check
from qts.risk.limits import Limits, RiskLimits
from qts.risk.orders import BookView, BoolArray, Orders
from qts.trading import write
from qts.trading.controls import ACTIVE, HALTED, STATES, Controls, StateArray
from qts.trading.record import Recorder
from qts.trading.universe import Universe

_DAY = 86_400_000_000_000
_SECOND = 1_000_000_000


@dataclass(frozen=True)
class SettleConfig:
    """What settle needs beside the account, its limits and its controls.

    Attributes:
        account: its name; order ids begin with it.
        provenance: of the bars' prices (`recorded`, `simulated_path`, ...); goes to fills and portfolio rows.
        broker: fills the orders; None for a `PaperBroker` of `execution`.
    """

    account: str = "paper"
    provenance: str = "recorded"
    sizing: Sizing = field(default_factory=Sizing)
    execution: Execution = field(default_factory=Execution)
    broker: Broker | None = None

    @classmethod
    def of(cls, risk: RiskLimits, account: str, provenance: str = "recorded") -> SettleConfig:
        """With sizing and execution as conf/risk.yml has them."""
        return cls(account, provenance, risk.sizing, risk.execution)


def settle(
    book: Book,
    bar: Bar,
    targets: Array,
    strategies: Sequence[str] | npt.NDArray[np.object_],
    config: SettleConfig,
    limits: Limits,
    controls: Controls,
    record: Recorder,
    universe: Universe,
) -> Book:
    """Takes the account through one bar time and writes down all that happened.

    Steps, in this order:
      1. Open orders that the trading state forbids are cancelled, the others are filled against the bar.
      2. Positions are marked at the closes; an instrument without a close keeps its last good one.
      3. Circuit breakers trip or let go.
      4. Targets become orders. An instrument with a close and a finite target is decided anew: its open order is
         cancelled. One that a control flattens gets the target 0, bar or no bar. What the trading state forbids is
         asked for once by each strategy, so that its denial is on record, and not again at every bar.
      5. Orders are checked against the limits at the last good price; what is left of them stays open for the next bar.

    Args:
        book: the account after the bar time before.
        bar: shape (N,); may be NaN throughout, when only controls or the clock have moved.
        targets: wanted share of each instrument's budget, -1 to 1; NaN for no decision, shape (N,).
        strategies: what each target comes from, shape (N,).
        limits, controls: over the same instruments.
        record: gets rows for fills, journal, order_events, orders, risk_events, positions, portfolio.

    Raises:
        DataError: the bar is not later than the last one, or shapes differ.
    """
    _refuse(book, bar, targets, universe)
    at = bar.time
    day = (at - 1) // _DAY  # a daily bar ends at midnight and belongs to the day that it closes
    if book.time == 0:
        write.opening(record, book, at, config.account)
    trips = breakers.released(book.trips, limits.breakers, day, controls.resumes)
    measured_anew = book.trips[0, 0] >= 0 > trips[0, 0]
    states = _states(trips, limits, controls)

    book = _cancel(
        book, _forbidden(book, states), at, f"trading state {_name(states, controls)}", config, record, universe
    )
    book, filled = _fill(book, bar, config, record, universe)

    previous = book.equity
    book = _marked(book, bar, config.sizing.volatility_span)
    marks = mark(book, universe)
    new_day = day > book.day
    book = replace(
        book,
        time=at,
        day=day,
        equity=marks.equity,
        peak_equity=marks.equity if measured_anew else max(book.peak_equity, marks.equity),
        day_start_equity=previous if new_day else book.day_start_equity,
    )
    figures = {
        "max_drawdown": _loss(book.peak_equity, marks.equity),
        "max_daily_loss": _loss(book.day_start_equity, marks.equity),
    }
    trips, new = breakers.tripped(trips, limits.breakers, figures, day, controls.resumes)
    write.trips(record, new, at)

    decided = (np.isfinite(targets) & _good(bar.close)) | (
        controls.flattened & (book.quantity + book.open_orders.quantity != 0)
    )
    book = _cancel(book, decided, at, "replaced by a new decision", config, record, universe)
    wanted = target_quantity(
        np.where(controls.flattened, 0.0, targets),
        book.quantity,
        book.price,
        np.sqrt(book.variance),
        marks.equity,
        universe,
        config.sizing,
    )
    labels = np.where(controls.flattened, "flatten", np.asarray(strategies, dtype=object))
    book, wanted = _told_once(book, wanted, decided, labels, _states(trips, limits, controls))
    change = np.where(decided, wanted - book.quantity, 0.0)
    rows = np.flatnonzero(change != 0)
    trips, new = breakers.tripped(
        trips, limits.breakers, {"max_orders_per_bar": float(len(rows))}, day, controls.resumes
    )
    write.trips(record, new, at)
    states = _states(trips, limits, controls)
    if (trips != book.trips).any():
        book = replace(book, trips=trips)
    book = _order(book, at, rows, change[rows], labels[rows], states, config, limits, record, universe)
    write.positions(record, book, marks, at, (book.quantity != 0) | filled, universe)
    write.portfolio(record, book, marks, at, figures["max_drawdown"], _name(states, controls), config.provenance)
    return book


def _refuse(book: Book, bar: Bar, targets: Array, universe: Universe) -> None:
    if bar.time <= book.time:
        raise DataError(
            f"A bar of {bar.time} ns was to be settled after one of {book.time} ns. Bar times have to grow: start from "
            "the state before this batch."
        )
    shapes = {"book": len(book.quantity), "bar": len(bar.close), "targets": len(targets)}
    if set(shapes.values()) != {len(universe)}:
        raise DataError(f"The universe has {len(universe)} instruments, but {shapes}. Align them (Book.align) first.")


def _states(trips: npt.NDArray[np.int64], limits: Limits, controls: Controls) -> StateArray:
    """The trading state of each instrument: the strictest of controls, breakers and limits, shape (N,)."""
    account = max(breakers.state(trips, limits.breakers), limits.trading_state)
    return np.maximum(controls.states, np.int8(account))


def _name(states: StateArray, controls: Controls) -> str:
    """The account's trading state: what its least restricted instrument may do, but no better than its own control."""
    least = int(states.min()) if states.size else ACTIVE
    return STATES[max(least, STATES.index(controls.state))]


def _forbidden(book: Book, states: StateArray) -> BoolArray:
    """Open orders that the trading state no longer allows, shape (N,)."""
    open_ = book.open_orders.quantity
    reduces = (open_ * book.quantity < 0) & (np.abs(open_) <= np.abs(book.quantity))
    forbidden: BoolArray = (states == HALTED) | ((states != ACTIVE) & ~reduces)
    return forbidden


def _told_once(
    book: Book, wanted: Array, decided: BoolArray, labels: npt.NDArray[np.object_], states: StateArray
) -> tuple[Book, Array]:
    """Step 4: positions without what the trading state has already denied the same strategy, shape (N,).

    The rest of such a wish, the part that reduces where only that is allowed, stays. The rules judge it all the same.
    """
    if not states.any():  # all active
        return (replace(book, barred=np.zeros_like(book.barred)) if book.barred.any() else book), wanted
    held = book.quantity
    nearer = np.sign(held) * np.clip(np.sign(held) * wanted, 0.0, np.abs(held))
    permitted = np.where(states == HALTED, held, np.where(states == ACTIVE, wanted, nearer))
    over = decided & (wanted != permitted)
    who = np.array([zlib.crc32(str(label).encode()) + 1 for label in labels], dtype=np.int64)
    again = over & (book.barred == who)
    barred = np.where(over, who, np.where(states == ACTIVE, 0, book.barred))
    return replace(book, barred=barred), np.where(again, permitted, wanted)


def _cancel(
    book: Book, rows: BoolArray, at: int, why: str, config: SettleConfig, record: Recorder, universe: Universe
) -> Book:
    open_ = book.open_orders
    gone = np.flatnonzero(rows & (open_.quantity != 0))
    if not gone.size:
        return book
    ids = write.order_ids(config.account, open_.decided[gone], universe.labels[gone])
    write.events(record, ids, at, "cancelled", np.abs(open_.quantity[gone]), why)
    return replace(book, open_orders=open_.without(rows))


def _fill(book: Book, bar: Bar, config: SettleConfig, record: Recorder, universe: Universe) -> tuple[Book, BoolArray]:
    """Step 1: fills, what they leave open, and which instruments were filled, shape (N,)."""
    open_ = book.open_orders
    filled = np.zeros(len(universe), dtype=bool)
    if not open_.quantity.any():
        return book, filled
    broker = config.broker or PaperBroker(config.execution)
    fills: Fills = broker.fill(open_, bar, universe)
    rows = fills.instrument
    filled[rows] = True
    left = open_.quantity.copy()
    left[rows] -= fills.quantity
    left = np.where(np.abs(left) < 1e-6 * universe.lot_size, 0.0, left)
    age = open_.age + (np.isfinite(bar.open) & (open_.quantity != 0))
    ids = write.order_ids(config.account, open_.decided[rows], universe.labels[rows])
    book, entries = post(book, fills, universe)
    write.fills(record, ids, fills, bar.time, config.provenance, universe)
    write.journal(record, ids, fills, entries, bar.time, universe)
    events = np.where(left[rows] == 0, "filled", "partially_filled").astype(object)
    write.events(record, ids, bar.time, events, np.abs(fills.quantity), "")

    expired = (left != 0) & (age >= config.execution.time_in_force)
    gone = np.flatnonzero(expired)
    ids = write.order_ids(config.account, open_.decided[gone], universe.labels[gone])
    write.events(record, ids, bar.time, "expired", np.abs(left[gone]), f"{config.execution.time_in_force} bars")
    kept = OpenOrders(left, open_.limit, open_.decided, age).without((left == 0) | expired)
    return replace(book, open_orders=kept), filled


def _marked(book: Book, bar: Bar, span: int) -> Book:
    """Step 2: last good prices, and the exponentially weighted variance of log returns between them."""
    good = _good(bar.close)
    known = good & _good(book.price)
    square = log_return(np.where(known, book.price, 1.0), np.where(known, bar.close, 1.0)) ** 2
    weight = 2.0 / (span + 1.0)
    variance = np.where(np.isnan(book.variance), square, book.variance + weight * (square - book.variance))
    return replace(
        book,
        price=np.where(good, bar.close, book.price),
        price_time=np.where(good, bar.time, book.price_time),
        variance=np.where(known, variance, book.variance),
    )


def _order(
    book: Book,
    at: int,
    rows: npt.NDArray[np.intp],
    change: Array,
    labels: npt.NDArray[np.object_],
    states: StateArray,
    config: SettleConfig,
    limits: Limits,
    record: Recorder,
    universe: Universe,
) -> Book:
    """Step 5: checks the orders of one bar time, writes them down and leaves the allowed quantities open."""
    if not rows.size:
        return book
    limited = config.execution.order_type == "limit"
    limit = _limit_price(book.price[rows], change, config, universe.tick_size[rows]) if limited else None
    price = book.price[rows] if limit is None else limit
    orders = Orders(rows.astype(np.int64), change, price, np.full(len(rows), limited))
    verdicts = check(orders, limits, _view(book, at, states, universe))
    ids = write.order_ids(config.account, np.full(len(rows), at), universe.labels[rows])
    record.see("verdicts", ids=ids, verdicts=verdicts)
    write.orders(record, ids, at, orders, verdicts, labels, universe)

    open_ = book.open_orders
    quantity, limits_, decided, age = open_.quantity.copy(), open_.limit.copy(), open_.decided.copy(), open_.age.copy()
    quantity[rows] = np.sign(change) * verdicts.quantity
    sent = quantity[rows] != 0
    limits_[rows] = np.where(sent, np.nan if limit is None else limit, np.nan)
    decided[rows] = np.where(sent, at, 0)
    age[rows] = 0
    return replace(book, open_orders=OpenOrders(quantity, limits_, decided, age), orders=book.orders + int(sent.sum()))


def _limit_price(price: Array, change: Array, config: SettleConfig, tick: Array) -> Array:
    """The decision price bettered by the offset, on the tick that is no worse; shape (M,)."""
    side = np.sign(change)
    raw = price * (1.0 - side * config.execution.limit_offset_bps * 1e-4)
    step = np.where(tick > 0, tick, 1.0)
    return np.where(tick > 0, side * np.floor(side * raw / step + 1e-9) * step, raw)


def _view(book: Book, at: int, states: StateArray, universe: Universe) -> BookView:
    open_ = book.open_orders
    buys, sells = np.maximum(open_.quantity, 0.0), np.maximum(-open_.quantity, 0.0)
    price = np.where(np.isnan(open_.limit), book.price, open_.limit)
    cost = np.where((buys > 0) & ~universe.inverse, buys * universe.multiplier * price, 0.0)
    return BookView(
        quantity=book.quantity,
        buys=buys,
        sells=sells,
        price=book.price,
        price_age=(at - book.price_time) / _SECOND,
        exposure=universe.exposure(book.price),
        inverse=universe.inverse,
        multiplier=universe.multiplier,
        lot_size=universe.lot_size,
        tick_size=universe.tick_size,
        tradable=universe.tradable,
        state=states,
        cash=book.cash,
        equity=book.equity,
        spent=float(cost.sum()),
    )


def _good(price: Array) -> BoolArray:
    good: BoolArray = np.isfinite(price) & (price > 0)
    return good


def _loss(before: float, now: float) -> float:
    """Share of `before` that is lost, 0 when nothing is; all where nothing was there to lose."""
    if before <= 0:
        return 1.0
    return max(0.0, 1.0 - now / before)
