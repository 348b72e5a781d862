"""qts risk check: any orders file gets a verdict for every row, or one clear error."""

import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.errors import DataError, UnknownColumn
from qts.risk.commands import check_files
from qts.risk.limits import RiskLimits

#: The machine may be busy, so no deadline.
FEW = settings(deadline=None, max_examples=60)

PORTFOLIO = {"cash": 10_000, "positions": {"AAA": 50, "BBB": -20}, "prices": {"AAA": 100, "BBB": 10.0, "CCC": None}}


def order(**changes) -> dict:
    plain = {"order_id": "1", "timestamp": "2024-05-01T10:00:00Z", "instrument": "AAA", "side": "buy", "quantity": 10}
    return plain | {"type": "market", "limit_price": None, "strategy": "s"} | changes


def check(*orders: dict, portfolio=PORTFOLIO, **limits) -> list[tuple]:
    result = check_files(pd.DataFrame(list(orders)), RiskLimits.parse(limits), portfolio)
    json.dumps(result, allow_nan=False)
    return [(each["verdict"], each["quantity"], each["codes"]) for each in result["orders"]]


@pytest.mark.parametrize(
    ("changes", "limits", "expected"),
    [
        ({}, {}, ("accept", 10, [])),
        ({"side": " SELL "}, {}, ("accept", 10, [])),
        ({"quantity": "10"}, {}, ("accept", 10, [])),
        ({"quantity": 0.25}, {}, ("accept", 0.25, [])),
        ({"quantity": 150}, {}, ("cut", 100, ["cash"])),
        ({"quantity": 70}, {"max_position": 100}, ("cut", 50, ["max_position"])),
        ({"quantity": 5.5}, {"lot_size": 1}, ("cut", 5, ["lot_size"])),
        ({"type": "limit", "limit_price": 120}, {"price_collar": 0.1}, ("deny", 0, ["price_collar"])),
        ({"type": None, "limit_price": 120}, {"price_collar": 0.1}, ("deny", 0, ["price_collar"])),
        ({"type": "market", "limit_price": 120}, {"price_collar": 0.1}, ("accept", 10, [])),
        ({"type": "limit"}, {}, ("deny", 0, ["bad_price"])),
        ({"type": "stop"}, {}, ("deny", 0, ["bad_type"])),
        ({"side": "hold"}, {}, ("deny", 0, ["bad_side"])),
        ({"side": None}, {}, ("deny", 0, ["bad_side"])),
        ({"quantity": float("nan")}, {}, ("deny", 0, ["bad_quantity"])),
        ({"quantity": -3}, {}, ("deny", 0, ["bad_quantity"])),
        ({"quantity": 0}, {}, ("deny", 0, ["bad_quantity"])),
        ({"quantity": float("inf")}, {}, ("deny", 0, ["bad_quantity"])),
        ({"quantity": "ten"}, {}, ("deny", 0, ["bad_quantity"])),
        ({"timestamp": "yesterday-ish"}, {}, ("deny", 0, ["bad_timestamp"])),
        ({"timestamp": 1714557600000}, {}, ("accept", 10, [])),
        ({"order_id": None}, {}, ("deny", 0, ["bad_order_id"])),
        ({"instrument": "../AAA'; --"}, {}, ("deny", 0, ["unknown_instrument"])),
        ({"instrument": None}, {}, ("deny", 0, ["unknown_instrument"])),
        ({"instrument": "CCC"}, {}, ("deny", 0, ["no_price"])),
        ({"instrument": "DDD"}, {"restricted": ["DDD"]}, ("deny", 0, ["no_price"])),
        ({"side": "hold", "instrument": "ZZZ"}, {}, ("deny", 0, ["bad_side", "unknown_instrument"])),
        # An equity of 10,000 + 50 x 100 - 20 x 10 = 14,800.
        ({}, {"max_order_notional_fraction": 0.05}, ("cut", 7, ["max_order_notional"])),
        ({}, {"max_position_notional_fraction": 0.37}, ("cut", 4, ["max_position_notional"])),
        ({}, {"max_gross_exposure_fraction": 0.4}, ("cut", 7, ["max_gross_exposure"])),
        ({}, {"max_net_exposure_fraction": 0.39}, ("cut", 9, ["max_net_exposure"])),
        ({}, {"trading_state": "halted"}, ("deny", 0, ["trading_state"])),
        ({}, {"restricted": ["AAA"]}, ("deny", 0, ["restricted"])),
    ],
)
def test_one_order(changes, limits, expected):
    assert check(order(**changes), **limits) == [expected]


def test_limits_of_an_equity_that_is_not_known_let_positions_be_closed_only():
    portfolio = PORTFOLIO | {"positions": PORTFOLIO["positions"] | {"CCC": 3}}
    orders = order(), order(order_id="2", side="sell", quantity=50)
    assert check(*orders, portfolio=portfolio, max_order_notional_fraction=0.01) == [
        ("deny", 0, ["trading_state", "max_order_notional"]),
        ("accept", 50, []),
    ]


def test_orders_share_the_cash_in_the_order_of_the_file():
    orders = [order(order_id=str(i), quantity=q) for i, q in enumerate((60, 30, 30, 5))]
    assert check(*orders) == [
        ("accept", 60, []),
        ("accept", 30, []),
        ("cut", 10, ["cash"]),
        ("deny", 0, ["cash"]),
    ]


def test_an_order_id_is_used_once():
    assert [codes for *_, codes in check(order(), order())] == [[], ["duplicate_order_id"]]


def test_a_denied_order_takes_up_nothing():
    assert [v for v, *_ in check(order(quantity=-1), order(order_id="2", quantity=100))] == ["deny", "accept"]


def test_broken_rules_come_with_their_figures():
    result = check_files(
        pd.DataFrame([order(quantity=70)]), RiskLimits.parse({"max_position": 100, "min_cash": None}), PORTFOLIO
    )
    assert result["orders"][0]["figures"] == {"max_position": {"figure": 120, "limit": 100}}
    assert (result["accepted"], result["cut"], result["denied"]) == (0, 1, 0)


def test_endless_prices_of_what_is_held_are_unknown_ones():
    portfolio = PORTFOLIO | {"prices": {"AAA": float("inf"), "BBB": float("inf"), "CCC": 5.0}}
    bought = order(instrument="CCC")
    assert check(bought, portfolio=portfolio, max_gross_exposure=1e9) == [("deny", 0, ["max_gross_exposure"])]
    assert check(bought, portfolio=portfolio) == [("accept", 10, [])]


def test_few_columns_are_enough():
    orders = pd.DataFrame({"order_id": [7], "instrument": ["AAA"], "side": ["buy"], "quantity": [1]})
    result = check_files(orders, RiskLimits(), PORTFOLIO)
    assert result["orders"][0]["order_id"] == "7"
    assert result["accepted"] == 1


def test_no_orders_no_verdicts():
    orders = pd.DataFrame({name: [] for name in order()})
    assert check_files(orders, RiskLimits(), PORTFOLIO)["orders"] == []


def test_a_missing_column_names_the_nearest():
    with pytest.raises(UnknownColumn, match=r"no column 'quantity'.*Did you mean 'quantty'"):
        check_files(pd.DataFrame([order()]).rename(columns={"quantity": "quantty"}), RiskLimits(), PORTFOLIO)


@pytest.mark.parametrize(
    ("portfolio", "message"),
    [
        ({"cash": 1, "positions": {}, "price": {}}, "no 'prices'.*Did you mean 'price'"),
        ({"cash": "much", "positions": {}, "prices": {}}, "cash is 'much'"),
        ({"cash": float("nan"), "positions": {}, "prices": {}}, "cash is nan"),
        ({"cash": 1, "positions": {"AAA": None}, "prices": {}}, "positions.AAA is None"),
        ({"cash": 1, "positions": [], "prices": {}}, "'positions' is"),
        ([], "list"),
    ],
)
def test_a_portfolio_that_cannot_be_used_is_refused(portfolio, message):
    with pytest.raises(DataError, match=message):
        check_files(pd.DataFrame([order()]), RiskLimits(), portfolio)


CELL = st.one_of(st.none(), st.text(max_size=5), st.floats(), st.integers(-(10**6), 10**6), st.booleans())


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "order_id": CELL,
                "timestamp": CELL,
                "instrument": st.one_of(CELL, st.sampled_from(["AAA", "BBB", "CCC"])),
                "side": st.one_of(CELL, st.sampled_from(["buy", "sell"])),
                "quantity": CELL,
                "type": st.one_of(CELL, st.sampled_from(["market", "limit"])),
                "limit_price": CELL,
            }
        ),
        min_size=1,
        max_size=6,
    )
)
@FEW
def test_no_cell_crashes_it(orders):
    result = check_files(pd.DataFrame(orders), RiskLimits(price_collar=0.1), PORTFOLIO)
    assert len(result["orders"]) == len(orders)
    json.dumps(result, allow_nan=False)
    for each in result["orders"]:
        assert (each["verdict"] == "accept") == (not each["codes"])
