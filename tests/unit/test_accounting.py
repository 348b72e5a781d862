"""The book: double entry, average cost, marks, and states that come back bit for bit."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.errors import DataError
from qts.execution.broker import Fills, OpenOrders
from qts.portfolio.accounting import ACCOUNTS, Book, mark, post
from qts.trading.universe import Universe

#: The machine may be busy, so no deadline.
FEW = settings(deadline=None, max_examples=60)

LINEAR = Universe.plain(["AAA", "BBB"], lot_size=0.1)
MIXED = replace(LINEAR, inverse=np.array([False, True]), multiplier=np.array([5.0, 100.0]))


def fill(quantity: float, price: float, fee: float = 0.0, row: int = 0) -> Fills:
    nothing = np.zeros(1)
    return Fills(
        np.array([row]), np.array([quantity]), np.array([price]), np.array([price]), np.array([fee]), nothing, nothing
    )


def traded(*fills: Fills, universe: Universe = LINEAR, cash: float = 1000.0) -> Book:
    book = Book.for_universe(universe, cash)
    for each in fills:
        book, _ = post(book, each, universe)
    return book


def at(book: Book, *prices: float) -> Book:
    return replace(book, price=np.array(prices))


def test_a_round_trip_at_average_cost():
    book = traded(fill(4, 10, 1), fill(4, 20, 1), fill(-6, 25, 1))
    assert book.quantity[0] == 2
    assert book.cost[0] == 30  # two units at the average of 15
    assert book.realised[0] == 60
    assert book.fees[0] == 3
    assert book.cash == 1000 - 40 - 80 + 150 - 3
    marks = mark(at(book, 30, np.nan), LINEAR)
    assert (marks.equity, marks.unrealised[0], marks.gross, marks.net) == (1087, 30, 60, 60)


def test_a_position_that_turns_around():
    book = traded(fill(4, 10), fill(-10, 12))
    assert (book.quantity[0], book.cost[0], book.realised[0]) == (-6, -72, 8)
    assert mark(at(book, 10, 1), LINEAR).equity == 1000 + 8 + 12


def test_a_short_that_is_covered():
    book = traded(fill(-5, 20), fill(5, 15))
    assert (book.quantity[0], book.cost[0], book.realised[0], book.cash) == (0, 0, 25, 1025)


def test_the_multiplier_scales_profit():
    book = traded(fill(2, 10), universe=MIXED)
    assert mark(at(book, 11, 1), MIXED).equity == 1000 + 2 * 5


def test_an_inverse_contract_moves_profit_only():
    """Ten contracts of 100 dollars, bought at 20,000 and sold at 25,000: 1000 (1/20000 - 1/25000) = 0.01 coins."""
    book = traded(fill(10, 20_000, 0.001, row=1), universe=MIXED, cash=1.0)
    assert book.cash == 1 - 0.001
    marks = mark(at(book, 1, 25_000), MIXED)
    assert marks.value[1] == pytest.approx(0.01)
    assert marks.cost[1] == 0
    assert marks.exposure[1] == pytest.approx(0.04)
    book, entries = post(book, fill(-10, 25_000, row=1), MIXED)
    assert book.cash == pytest.approx(1 - 0.001 + 0.01)
    assert book.realised[1] == pytest.approx(0.01)
    assert entries.amount[0, ACCOUNTS.index("inventory")] == 0
    assert (book.quantity[1], book.cost[1]) == (0, 0)


def test_an_inverse_short_gains_when_the_price_falls():
    book = traded(fill(-10, 25_000, row=1), fill(10, 20_000, row=1), universe=MIXED, cash=1.0)
    assert book.realised[1] == pytest.approx(0.01)


def test_selling_in_tenths_ends_at_exactly_nothing():
    book = traded(fill(0.3, 10), *[fill(-0.1, 11)] * 3)
    assert book.quantity[0] == 0
    assert book.cost[0] == 0


def test_two_fills_of_one_instrument_at_once_are_refused():
    two = replace(
        fill(1, 1),
        **{k: np.array([v, v]) for k, v in {"instrument": 0, "quantity": 1.0, "price": 1.0, "fee": 0}.items()},
    )
    with pytest.raises(DataError, match="at most one an instrument"):
        post(Book.for_universe(LINEAR, 1), two, LINEAR)


TRADES = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(-50, 50).filter(bool).map(lambda lots: lots * 0.1),
        st.floats(0.5, 500),
        st.floats(0, 3),
    ),
    max_size=25,
)


@given(TRADES, st.sampled_from([LINEAR, MIXED]), st.floats(0.5, 500), st.floats(0.5, 500))
@FEW
def test_nothing_appears_or_vanishes(trades, universe, last_a, last_b):
    book = Book.for_universe(universe, 1000.0)
    ledger = dict.fromkeys(ACCOUNTS, 0.0)
    ledger["cash"] = 1000.0
    for row, quantity, price, fee in trades:
        book, entries = post(book, fill(quantity, price, fee, row), universe)
        for line in entries.amount.tolist():
            assert sum(line) == 0.0  # exactly
            for account, amount in zip(ACCOUNTS, line, strict=True):
                ledger[account] += amount
    book = at(book, last_a, last_b)
    marks = mark(book, universe)
    scale = 1e-9 * (1 + sum(abs(q * p) * 100 for _, q, p, _ in trades))
    assert marks.equity == pytest.approx(book.cash + marks.value.sum(), abs=scale)
    earned = book.realised.sum() + marks.unrealised.sum() - book.fees.sum()
    assert marks.equity == pytest.approx(1000 + earned, abs=scale)
    assert book.cash == pytest.approx(ledger["cash"], abs=scale)
    assert marks.cost.sum() == pytest.approx(ledger["inventory"], abs=scale)
    assert book.realised.sum() == pytest.approx(-ledger["realised"], abs=scale)
    assert book.fees.sum() == pytest.approx(ledger["fees"], abs=scale)
    for row in range(2):
        held = sum(q for r, q, _, _ in trades if r == row)
        assert book.quantity[row] == pytest.approx(held, abs=1e-9)
        if book.quantity[row] == 0:
            assert book.cost[row] == 0
        # Profit by first principles: cash flows and what is left, whatever the method of cost.
        worth = [universe.worth(np.full(2, price))[row] for price in (last_a, last_b)][row]
        flows = -sum(q * universe.worth(np.full(2, p))[row] for r, q, p, _ in trades if r == row)
        assert book.realised[row] + marks.unrealised[row] == pytest.approx(flows + held * worth, abs=scale)


@given(TRADES)
@FEW
def test_the_same_fills_make_the_same_book(trades):
    fills = [fill(q, p, fee, row) for row, q, p, fee in trades]
    one, two = traded(*fills, universe=MIXED), traded(*fills, universe=MIXED)
    assert same(one.to_state(), two.to_state())


def test_cash_does_not_depend_on_the_order_of_instruments():
    both = Fills(
        np.array([0, 1]),
        *(np.array([a, b]) for a, b in [(3, 7), (0.1, 0.7), (0.1, 0.7), (0.3, 0.1)]),
        *[np.zeros(2)] * 2,
    )
    turned = Fills(
        both.instrument,
        *(getattr(both, f)[::-1] for f in ("quantity", "price", "reference", "fee")),
        *[np.zeros(2)] * 2,
    )
    book = Book.for_universe(LINEAR, 1e6 / 3)
    assert post(book, both, LINEAR)[0].cash == post(book, turned, LINEAR)[0].cash


def same(one, two) -> bool:
    return one.keys() == two.keys() and all(one[k].tobytes() == two[k].tobytes() for k in one)


def busy_book() -> Book:
    book = at(traded(fill(4, 10, 1), fill(-2, 3, 1, row=1)), 11, 2.5)
    opened = OpenOrders(np.array([1.0, 0]), np.array([9.5, np.nan]), np.array([10**18 + 1, 0]), np.array([2, 0]))
    return replace(book, open_orders=opened, time=10**18 + 7, day=11574, orders=3, variance=np.array([0.01, np.nan]))


def test_a_state_comes_back_bit_for_bit():
    book, file = busy_book(), io.BytesIO()
    np.savez(file, **book.to_state())
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        again = Book.from_state(dict(loaded))
    assert same(book.to_state(), again.to_state())
    assert (again.time, again.cash) == (book.time, book.cash)


def test_a_state_that_is_none_is_refused():
    with pytest.raises(DataError, match="lacks"):
        Book.from_state({"quantity": np.zeros(2)})


def test_a_universe_that_grows_keeps_the_account():
    book = busy_book()
    grown = Universe.plain(["AAA", "ABC", "BBB", "ZZZ"], lot_size=0.1)
    moved = book.align(LINEAR.names, grown)
    assert moved.quantity.tolist() == [4, 0, -2, 0]
    assert moved.open_orders.quantity.tolist() == [1, 0, 0, 0]
    assert moved.open_orders.decided.tolist() == [10**18 + 1, 0, 0, 0]
    assert (moved.cash, moved.time, moved.orders) == (book.cash, book.time, book.orders)
    assert mark(moved, grown).equity == mark(book, LINEAR).equity
    assert book.align(LINEAR.names, LINEAR) is book


def test_an_instrument_with_business_cannot_leave():
    with pytest.raises(DataError, match="'BBB'"):
        busy_book().align(LINEAR.names, Universe.plain(["AAA"]))
    empty = Book.for_universe(LINEAR, 5)
    assert len(empty.align(LINEAR.names, Universe.plain(["AAA"])).quantity) == 1
