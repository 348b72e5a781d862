"""The rows that settle leaves behind, table by table, with the columns of store/tables/trading.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qts.execution.broker import Fills
from qts.market.bar import Array
from qts.portfolio.accounting import ACCOUNTS, Book, Entries, Marks
from qts.risk.breakers import Trip
from qts.risk.orders import BoolArray, Orders, Verdicts
from qts.trading.record import Recorder
from qts.trading.universe import Universe

Labels = npt.NDArray[np.object_]

_EVENTS = {"accept": "accepted", "cut": "cut", "deny": "denied"}


def order_ids(account: str, decided: npt.NDArray[np.int64], instruments: Labels) -> Labels:
    """`account-decision bar time in ns-instrument`: the same decision has the same id in every run, shape (M,)."""
    pairs = zip(decided.tolist(), instruments.tolist(), strict=True)
    return _objects([f"{account}-{time}-{name}" for time, name in pairs])


def opening(record: Recorder, book: Book, at: int, account: str) -> None:
    """The first entry of an account: where its cash came from."""
    record.add(
        "journal",
        2,
        entry_id=f"{account}-opening",
        time=at,
        account=_objects(["capital", "cash"]),
        instrument="*",
        amount=np.array([-book.capital, book.capital]),
        quantity=np.zeros(2),
    )


def fills(record: Recorder, ids: Labels, fills: Fills, at: int, provenance: str, universe: Universe) -> None:
    """One row a fill."""
    record.add(
        "fills",
        len(fills),
        order_id=ids,
        fill_time=at,
        instrument=universe.labels[fills.instrument],
        quantity=fills.quantity,
        price=fills.price,
        reference_price=fills.reference,
        fee=fills.fee,
        half_spread=fills.half_spread,
        slippage=fills.slippage,
        provenance=provenance,
    )


def journal(record: Recorder, ids: Labels, fills: Fills, entries: Entries, at: int, universe: Universe) -> None:
    """Four rows a fill, in the order of `ACCOUNTS`, in which they add up to exactly zero."""
    lines = len(ACCOUNTS)
    quantity = np.zeros((len(fills), lines))
    quantity[:, 0] = fills.quantity
    record.add(
        "journal",
        len(fills) * lines,
        entry_id=np.repeat(_objects([f"{order}@{at}" for order in ids.tolist()]), lines),
        time=at,
        account=np.tile(_objects(list(ACCOUNTS)), len(fills)),
        instrument=np.repeat(universe.labels[fills.instrument], lines),
        amount=entries.amount.ravel(),
        quantity=quantity.ravel(),
    )


def events(record: Recorder, ids: Labels, at: int, event: str | Labels, quantity: Array, detail: str | Labels) -> None:
    """One row for each order that something has happened to; `event` and `detail` may be one for all."""
    record.add("order_events", len(ids), order_id=ids, bar_time=at, event=event, quantity=quantity, detail=detail)


def orders(
    record: Recorder, ids: Labels, at: int, orders: Orders, verdicts: Verdicts, strategies: Labels, universe: Universe
) -> None:
    """Orders with their verdicts, an event each, and a risk event for every rule that one broke."""
    instruments = universe.labels[orders.instrument]
    codes = _objects(verdicts.codes)
    record.add(
        "orders",
        len(orders),
        order_id=ids,
        bar_time=at,
        instrument=instruments,
        strategy=strategies,
        side=np.where(orders.quantity > 0, "buy", "sell").astype(object),
        type=np.where(orders.limit, "limit", "market").astype(object),
        requested=np.abs(orders.quantity),
        quantity=verdicts.quantity,
        price=orders.price,
        verdict=verdicts.verdict.astype(object),
        codes=codes,
        limit_price=np.where(orders.limit, orders.price, np.nan),
    )
    names = _objects([_EVENTS[verdict] for verdict in verdicts.verdict.tolist()])
    details = _objects([" ".join(each) for each in verdicts.codes])
    events(record, ids, at, names, verdicts.quantity, details)

    broken = [(row, code) for row, each in enumerate(verdicts.codes) for code in each]
    if not broken:
        return
    unknown = np.full(len(orders), np.nan)
    compared = [verdicts.figures.get(code, (unknown, unknown)) for _, code in broken]
    rows = [row for row, _ in broken]
    record.add(
        "risk_events",
        len(broken),
        bar_time=at,
        code=_objects([code for _, code in broken]),
        instrument=instruments[rows],
        order_id=ids[rows],
        figure=np.array([figure[row] for (figure, _), row in zip(compared, rows, strict=True)]),
        limit=np.array([limit[row] for (_, limit), row in zip(compared, rows, strict=True)]),
        action=verdicts.verdict[rows].astype(object),
    )


def trips(record: Recorder, trips: Sequence[Trip], at: int) -> None:
    """A risk event of the whole account for each breaker that has tripped."""
    for trip in trips:
        record.add(
            "risk_events",
            1,
            bar_time=at,
            code=trip.code,
            instrument="*",
            order_id="",
            figure=trip.figure,
            limit=trip.limit,
            action=trip.action,
        )


def positions(record: Recorder, book: Book, marks: Marks, at: int, shown: BoolArray, universe: Universe) -> None:
    """The positions that are shown: those that are held, and those that were just closed."""
    rows = np.flatnonzero(shown)
    record.add(
        "positions",
        len(rows),
        bar_time=at,
        instrument=universe.labels[rows],
        quantity=book.quantity[rows],
        price=book.price[rows],
        value=marks.value[rows],
        cost=marks.cost[rows],
        unrealised=marks.unrealised[rows],
    )


def portfolio(
    record: Recorder, book: Book, marks: Marks, at: int, drawdown: float, state: str, provenance: str
) -> None:
    """The account at one bar time."""
    record.add(
        "portfolio",
        1,
        bar_time=at,
        cash=book.cash,
        equity=marks.equity,
        gross=marks.gross,
        net=marks.net,
        realised=float(book.realised.sum()),
        unrealised=float(marks.unrealised.sum()),
        fees=float(book.fees.sum()),
        drawdown=drawdown,
        trading_state=state,
        provenance=provenance,
    )


def _objects(values: Sequence[object]) -> Labels:
    """A one-dimensional array of objects, which lists of equal length do not turn into a matrix."""
    array = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        array[index] = value
    return array
