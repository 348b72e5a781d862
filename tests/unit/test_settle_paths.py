"""settle(): what holds on any path of prices and targets."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from settle_help import FREE, NAMES, NONE, PLAIN, TWO, Desk, bar, halted

from qts.execution.costs import Execution
from qts.market.bar import Bar
from qts.portfolio.accounting import ACCOUNTS, Book
from qts.trading.controls import Controls

#: The machine may be busy, so no deadline.
FEW = settings(deadline=None, max_examples=40)

PRICE = st.one_of(st.floats(0.5, 200), st.just(np.nan))
TARGET = st.one_of(st.floats(-1, 1), st.just(np.nan))
STEP = st.tuples(
    st.lists(PRICE, min_size=2, max_size=2),
    st.lists(PRICE, min_size=2, max_size=2),
    st.lists(TARGET, min_size=2, max_size=2),
    st.floats(0, 1e4),
    st.sampled_from(["active", "active", "active", "reduce", "halt", "flatten"]),
)
PATHS = st.lists(STEP, min_size=1, max_size=12)
MIXED = replace(TWO, inverse=np.array([False, True]), multiplier=np.array([1.0, 10.0]), lot_size=np.array([0.1, 1.0]))
TIGHT = {
    "max_order_notional": 800,
    "max_position": 60,
    "max_gross_exposure": 1500,
    "max_price_age": 3 * 86400,
    "breakers": {"max_drawdown": {"limit": 0.5}},
}


def bars(path) -> list[tuple[Bar, list[float], Controls]]:
    return [
        (
            bar(day, close, open_, volume=[volume] * 2),
            targets,
            NONE if action == "active" else halted("*", action=action),
        )
        for day, (open_, close, targets, volume, action) in enumerate(path, start=1)
    ]


def walk(path, universe=MIXED, config=None) -> Desk:
    desk = Desk(config or replace(PLAIN, execution=Execution(time_in_force=3)), universe, **TIGHT)
    for at, targets, now in bars(path):
        desk.step(at, targets, now)
    return desk


@given(PATHS)
@FEW
def test_the_journal_balances_and_explains_the_equity(path):
    desk = walk(path)
    lines, totals = defaultdict(list), defaultdict(float)
    for entry, account, amount in desk.rows("journal", "entry_id", "account", "amount"):
        lines[entry].append(amount)
        totals[account] += amount
    assert all(sum(amounts) == 0.0 for amounts in lines.values())
    equity, cash, unrealised = desk.rows("portfolio", "equity", "cash", "unrealised")[-1]
    assert cash == pytest.approx(totals["cash"])
    assert equity == pytest.approx(1000 - totals["realised"] - totals["fees"] + unrealised)
    assert equity == pytest.approx(totals["cash"] + totals["inventory"] + unrealised)
    assert set(totals) <= {*ACCOUNTS, "capital"}
    value = sum(v for at, v in desk.rows("positions", "bar_time", "value") if at == desk.book.time)
    assert equity == pytest.approx(cash + value)


@given(PATHS)
@FEW
def test_fills_come_after_their_decision_and_at_later_prices(path):
    desk = walk(path, config=replace(PLAIN, execution=replace(FREE, time_in_force=3)))
    opens = {(at.time, name): at.open[i] for at, _, _ in bars(path) for i, name in enumerate(NAMES)}
    decided = dict(desk.rows("orders", "order_id", "bar_time"))
    allowed = dict(desk.rows("orders", "order_id", "quantity"))
    filled = defaultdict(float)
    for order, at, name, quantity, price in desk.rows(
        "fills", "order_id", "fill_time", "instrument", "quantity", "price"
    ):
        assert at > decided[order]
        assert price == opens[at, name]
        filled[order] += abs(quantity)
    assert all(filled[order] <= allowed[order] + 1e-9 for order in filled)


@given(PATHS)
@FEW
def test_every_order_ends_once(path):
    desk = walk(path)
    ends, sent = defaultdict(int), dict(desk.rows("orders", "order_id", "quantity"))
    assert len(sent) == len(desk.rows("orders", "order_id"))
    units = defaultdict(float)
    for order, _, event, quantity in desk.events():
        ends[order] += event in ("denied", "filled", "cancelled", "expired")
        units[order] += quantity if event in ("filled", "partially_filled", "cancelled", "expired") else 0
    open_ = {
        f"acc-{t}-{n}"
        for t, n, q in zip(desk.book.open_orders.decided, NAMES, desk.book.open_orders.quantity, strict=True)
        if q
    }
    for order, quantity in sent.items():
        assert ends[order] == (order not in open_)
        if order not in open_:
            assert units[order] == pytest.approx(quantity)
    keys = [event[:3] for event in desk.events()]
    assert len(keys) == len(set(keys))


@given(PATHS, st.integers(0, 11))
@FEW
def test_the_future_never_changes_the_past_and_a_saved_book_goes_on_alike(path, cut):
    whole, part = walk(path), walk(path[:cut])
    for name in part.record.tables():
        for column, values in part.record.columns(name).items():
            np.testing.assert_array_equal(whole.record.columns(name)[column][: len(values)], values)
    part.book = Book.from_state({name: values.copy() for name, values in part.book.to_state().items()})
    for at, targets, now in bars(path)[cut:]:
        part.step(at, targets, now)
    one, two = whole.book.to_state(), part.book.to_state()
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)


@given(PATHS)
@FEW
def test_while_halted_nothing_trades_and_while_reducing_positions_only_shrink(path):
    desk = Desk(PLAIN, **TIGHT)
    for at, targets, now in bars(path):
        before = desk.book.quantity
        after = desk.step(at, targets, now).quantity
        if now.state == "halted":
            np.testing.assert_array_equal(after, before)
            assert not desk.book.open_orders.quantity.any()
        if now.state == "reducing":
            assert np.all(np.abs(after) <= np.abs(before))
            assert np.all(after * before >= 0)
