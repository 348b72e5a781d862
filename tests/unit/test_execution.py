"""The paper broker and its costs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.execution.broker import OpenOrders
from qts.execution.costs import Execution
from qts.execution.paper import PaperBroker
from qts.market.bar import FIELDS, Bar
from qts.trading.universe import Universe

#: The machine may be busy, so no deadline.
FEW = settings(deadline=None, max_examples=60)

ONE = Universe.plain(["AAA"])
FREE = Execution(fee_bps=0, half_spread_bps=0, slippage_bps=0, impact=0, participation=1)


def bar(time: int = 2, **values: float) -> Bar:
    blank = {name: np.array([np.nan]) for name in FIELDS}
    prices = {"open": 100.0, "high": 105.0, "low": 95.0, "close": 101.0} | values
    return Bar(time, **(blank | {name: np.array([float(value)]) for name, value in prices.items()}))


def order(quantity: float, limit: float = np.nan, decided: int = 1) -> OpenOrders:
    return OpenOrders(np.array([float(quantity)]), np.array([limit]), np.array([decided]), np.array([0]))


def fill(orders: OpenOrders, at: Bar, execution: Execution = FREE, universe: Universe = ONE):
    return PaperBroker(execution).fill(orders, at, universe)


@pytest.mark.parametrize("side", [1, -1])
def test_a_market_order_pays_the_open_half_the_spread_slippage_and_a_fee(side):
    execution = Execution(fee_bps=10, half_spread_bps=20, slippage_bps=30)
    filled = fill(order(50 * side), bar(), execution)
    assert filled.quantity.tolist() == [50 * side]
    assert filled.reference.tolist() == [100]
    assert filled.price[0] == pytest.approx(100 + side * (0.2 + 0.3))
    assert filled.fee[0] == pytest.approx(50 * filled.price[0] * 0.001)


def test_a_quoted_spread_goes_before_the_assumed_one():
    filled = fill(order(1), bar(spread=0.5), Execution(half_spread_bps=100))
    assert filled.half_spread.tolist() == [0.25]


def test_slippage_grows_with_the_square_of_the_share_of_volume():
    execution = replace(FREE, impact=0.1)
    small, large = (fill(order(q), bar(volume=1000), execution).slippage[0] for q in (10, 20))
    assert small == pytest.approx(100 * 0.1 * 0.01**2)
    assert large == pytest.approx(4 * small)


def test_a_large_order_is_filled_in_part_in_whole_lots():
    assert fill(order(500), bar(volume=1055), replace(FREE, participation=0.1)).quantity.tolist() == [105]
    assert len(fill(order(500), bar(volume=5), replace(FREE, participation=0.1))) == 0
    assert fill(order(500), bar(volume=0), replace(FREE, participation=0.1)).quantity.tolist() == [500]


@pytest.mark.parametrize("price", [np.nan, np.inf, 0.0, -1.0])
def test_without_an_open_nothing_is_filled(price):
    assert len(fill(order(5), bar(open=price))) == 0


def test_nothing_is_filled_at_the_bar_of_its_decision():
    assert len(fill(order(5, decided=2), bar(time=2))) == 0
    assert len(fill(order(5, decided=2), bar(time=3))) == 1


@pytest.mark.parametrize(
    ("quantity", "limit", "price"),
    [
        (5, 97, 97),  # traded through
        (5, 95, None),  # only touched
        (5, 90, None),
        (5, 103, 100),  # the open is better
        (-5, 103, 103),
        (-5, 105, None),
        (-5, 98, 100),
    ],
)
def test_a_limit_order_fills_when_the_bar_trades_through_it(quantity, limit, price):
    filled = fill(order(quantity, limit), bar(), Execution(half_spread_bps=100, participation=1))
    assert filled.price.tolist() == ([] if price is None else [price])


def test_an_inverse_contract_pays_its_fee_in_coins():
    inverse = replace(ONE, inverse=np.array([True]), multiplier=np.array([100.0]))
    filled = fill(order(10), bar(open=20_000), replace(FREE, fee_bps=10), inverse)
    assert filled.fee[0] == pytest.approx(10 * 100 / 20_000 * 0.001)


@given(
    st.integers(-1000, 1000).filter(bool),
    st.one_of(st.just(np.nan), st.floats(50, 150)),
    st.lists(st.floats(1, 200), min_size=4, max_size=4),
    st.floats(0, 1e5),
    st.floats(0, 5),
)
@FEW
def test_no_fill_is_better_than_its_order_allows(quantity, limit, prices, volume, spread):
    """Never more than ordered, never on the other side, never beyond the limit, never dearer for the broker."""
    low, open_, close, high = sorted(prices)
    at = bar(open=open_, high=high, low=low, close=close, volume=volume, spread=spread)
    for side, size, price, reference, fee in zip(
        *(
            getattr(fill(order(quantity, limit), at, Execution()), n)
            for n in ("quantity", "quantity", "price", "reference", "fee")
        ),
        strict=True,
    ):
        assert np.sign(side) == np.sign(quantity)
        assert abs(size) <= abs(quantity)
        assert abs(size) <= max(0.1 * volume, 0) or volume == 0
        assert np.sign(quantity) * (price - reference) >= 0
        assert fee > 0
        if np.isfinite(limit):
            assert np.sign(quantity) * (limit - price) >= 0
