"""From targets to positions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.portfolio.sizing import Sizing, budgets, target_quantity
from qts.trading.universe import Universe

#: The machine may be busy, so no deadline.
FEW = settings(deadline=None, max_examples=60)

THREE = Universe.plain(["AAA", "BBB", "CCC"])
ALL = np.ones(3, dtype=bool)
EQUAL = Sizing(weighting="equal", rebalance_band=0.0)


def size(target, held=(0, 0, 0), price=(10, 20, 30), volatility=(0.01,) * 3, equity=9000.0, sizing=EQUAL):
    arrays = (np.array(values, dtype=float) for values in (target, held, price, volatility))
    return target_quantity(*arrays, equity, THREE, sizing).tolist()


def test_each_instrument_gets_its_share_in_whole_lots_towards_zero():
    assert size([1, -0.5, 0.005]) == [300, -75, 0]


def test_inverse_volatility_gives_equal_risk():
    volatility = np.array([0.01, 0.02, 0.04])
    share = budgets(volatility, ALL, Sizing())
    np.testing.assert_allclose(share * volatility, (share * volatility)[0])
    assert share.sum() == pytest.approx(1)


def test_an_unknown_volatility_counts_as_the_typical_one():
    assert budgets(np.array([0.01, np.nan, 0.01]), ALL, Sizing()).tolist() == [1 / 3] * 3
    assert budgets(np.full(3, np.nan), ALL, Sizing()).tolist() == [1 / 3] * 3
    assert budgets(np.zeros(3), ALL, Sizing()).tolist() == [1 / 3] * 3


def test_a_price_that_hardly_moves_does_not_draw_the_whole_budget():
    share = budgets(np.array([0.01, 1e-300, 0.01]), ALL, Sizing())
    np.testing.assert_allclose(share, [1 / 12, 10 / 12, 1 / 12])


def test_what_cannot_be_traded_takes_no_budget():
    assert budgets(np.full(3, 0.01), np.array([True, False, True]), Sizing()).tolist() == [0.5, 0, 0.5]
    assert budgets(np.full(3, 0.01), np.zeros(3, dtype=bool), Sizing()).tolist() == [0, 0, 0]


def test_small_changes_are_left_alone_but_a_closed_position_is_closed():
    band = Sizing(weighting="equal", rebalance_band=0.1)
    assert size([1, 1, 0], held=[290, 100, 1], sizing=band) == [290, 150, 0]


def test_without_equity_positions_are_closed_and_none_is_opened():
    assert size([1, 1, -1], held=[5, 0, 0], equity=-10.0) == [0, 0, 0]


def test_without_a_price_there_is_no_answer_but_closing():
    assert np.isnan(size([1, 1, 1], price=[np.nan, 20, 30])[0])
    assert size([0, 1, 1], held=[5, 0, 0], price=[np.nan, 20, 30])[0] == 0


@given(
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.lists(st.floats(0.01, 1000), min_size=3, max_size=3),
    st.lists(st.one_of(st.just(np.nan), st.floats(0, 1)), min_size=3, max_size=3),
    st.floats(0, 1e7),
    st.floats(0.1, 3),
)
@FEW
def test_the_gross_budget_holds(target, price, volatility, equity, gross):
    wanted = size(target, price=price, volatility=volatility, equity=equity, sizing=Sizing(gross_budget=gross))
    assert np.sum(np.abs(wanted) * np.array(price)) <= gross * equity * (1 + 1e-6) + 1e-6
    assert np.all(np.sign(wanted) * np.sign(target) >= 0)
