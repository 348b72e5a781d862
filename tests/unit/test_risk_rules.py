"""Risk rules, each by itself."""

import numpy as np
import pytest
from risk_help import judge, limit_order, market, outcome, view

from qts.trading.controls import HALTED

LONG, SHORT = np.array([50.0, 0, 0]), np.array([-50.0, 0, 0])

CASES = {
    "within all limits": (market((0, 10)), {}, {"max_order_size": 10}, ("accept", 10, [])),
    "halted": (market((0, -10)), {"quantity": LONG}, {"trading_state": "halted"}, ("deny", 0, ["trading_state"])),
    "halted by control": (market((0, 1)), {"state": np.full(3, HALTED, np.int8)}, {}, ("deny", 0, ["trading_state"])),
    "reducing, opens": (market((0, 10)), {}, {"trading_state": "reducing"}, ("deny", 0, ["trading_state"])),
    "reducing, adds": (
        market((0, 10)),
        {"quantity": LONG},
        {"trading_state": "reducing"},
        ("deny", 0, ["trading_state"]),
    ),
    "reducing, reduces": (market((0, -10)), {"quantity": LONG}, {"trading_state": "reducing"}, ("accept", 10, [])),
    "reducing, crosses zero": (
        market((0, -80)),
        {"quantity": LONG},
        {"trading_state": "reducing"},
        ("cut", 50, ["trading_state"]),
    ),
    "restricted": (market((0, 1)), {}, {"restricted": ["AAA"]}, ("deny", 0, ["restricted"])),
    "restricted for one": (
        market((0, 1)),
        {},
        {"instruments": {"AAA": {"restricted": True}}},
        ("deny", 0, ["restricted"]),
    ),
    "index": (market((0, 1)), {"tradable": np.array([False, True, True])}, {}, ("deny", 0, ["not_tradable"])),
    "stale": (market((0, 1)), {"price_age": np.full(3, 61.0)}, {"max_price_age": 60}, ("deny", 0, ["stale_price"])),
    "collar, above": (limit_order(0, 1, 111), {}, {"price_collar": 0.1}, ("deny", 0, ["price_collar"])),
    "collar, below": (limit_order(0, -1, 89), {}, {"price_collar": 0.1}, ("deny", 0, ["price_collar"])),
    "collar, at": (limit_order(0, 1, 110), {}, {"price_collar": 0.1}, ("accept", 1, [])),
    "off tick": (limit_order(0, 1, 100.005), {}, {}, ("deny", 0, ["tick_size"])),
    "on tick": (limit_order(0, 1, 100.07), {}, {}, ("accept", 1, [])),
    "odd lot": (market((0, 2.5)), {}, {}, ("cut", 2, ["lot_size"])),
    "less than a lot": (market((0, 0.5)), {}, {}, ("deny", 0, ["lot_size"])),
    "size": (market((0, 12)), {}, {"max_order_size": 10}, ("cut", 10, ["max_order_size"])),
    "notional": (market((0, 12)), {}, {"max_order_notional": 1050}, ("cut", 10, ["max_order_notional"])),
    "notional below a lot": (market((0, 12)), {}, {"max_order_notional": 99}, ("deny", 0, ["max_order_notional"])),
    "position": (market((0, 20)), {"quantity": LONG}, {"max_position": 60}, ("cut", 10, ["max_position"])),
    "position, short": (market((0, -20)), {"quantity": SHORT}, {"max_position": 60}, ("cut", 10, ["max_position"])),
    "position, back": (market((0, -20)), {"quantity": LONG}, {"max_position": 40}, ("accept", 20, [])),
    "position, open orders": (
        market((0, 20)),
        {"quantity": LONG, "buys": np.array([8.0, 0, 0])},
        {"max_position": 60},
        ("cut", 2, ["max_position"]),
    ),
    "position notional": (
        market((0, 20)),
        {"quantity": LONG},
        {"max_position_notional": 6000},
        ("cut", 10, ["max_position_notional"]),
    ),
    "notional, of equity": (
        market((0, 12)),
        {"equity": 10_000.0},
        {"max_order_notional_fraction": 0.105},
        ("cut", 10, ["max_order_notional"]),
    ),
    "notional, the amount is stricter": (
        market((0, 12)),
        {"equity": 10_000.0},
        {"max_order_notional_fraction": 0.5, "max_order_notional": 700},
        ("cut", 7, ["max_order_notional"]),
    ),
    "notional of equity, for one": (
        market((0, 12)),
        {"equity": 10_000.0},
        {"max_order_notional_fraction": 0.5, "instruments": {"AAA": {"max_order_notional_fraction": 0.03}}},
        ("cut", 3, ["max_order_notional"]),
    ),
    "notional of equity, closes": (
        market((0, -50)),
        {"quantity": LONG, "equity": 100.0},
        {"max_order_notional_fraction": 0.1},
        ("accept", 50, []),
    ),
    "notional of equity, closes and crosses zero": (
        market((0, -80)),
        {"quantity": LONG, "equity": 100.0},
        {"max_order_notional_fraction": 0.1},
        ("cut", 50, ["max_order_notional"]),
    ),
    "position notional, of equity": (
        market((0, 20)),
        {"quantity": LONG, "equity": 10_000.0},
        {"max_position_notional_fraction": 0.6},
        ("cut", 10, ["max_position_notional"]),
    ),
    "gross, of equity": (
        market((0, 20)),
        {"quantity": LONG, "equity": 3000.0},
        {"max_gross_exposure_fraction": 2},
        ("cut", 10, ["max_gross_exposure"]),
    ),
    "net, of equity": (
        market((0, -20)),
        {"quantity": SHORT, "equity": 3000.0},
        {"max_net_exposure_fraction": 2},
        ("cut", 10, ["max_net_exposure"]),
    ),
    "no equity, opens": (
        market((0, 1)),
        {"equity": 0.0},
        {"max_gross_exposure_fraction": 2},
        ("deny", 0, ["trading_state"]),
    ),
    "unknown equity, opens": (
        market((0, 1)),
        {"equity": np.nan},
        {"max_net_exposure_fraction": 2},
        ("deny", 0, ["trading_state"]),
    ),
    "no equity, closes": (
        market((0, 20)),
        {"quantity": np.array([-50.0, 2000, 0]), "equity": -5.0},
        {"max_order_notional_fraction": 1, "max_net_exposure_fraction": 1},
        ("accept", 20, []),
    ),
    "no equity, only amounts": (market((0, 1)), {"equity": np.nan}, {"max_gross_exposure": 1000}, ("accept", 1, [])),
    "short": (market((0, -80)), {"quantity": LONG}, {"allow_short": False}, ("cut", 50, ["allow_short"])),
    "short, flat": (market((0, -1)), {}, {"allow_short": False}, ("deny", 0, ["allow_short"])),
    "gross": (market((0, 20)), {"quantity": LONG}, {"max_gross_exposure": 6000}, ("cut", 10, ["max_gross_exposure"])),
    "gross, other side": (market((0, -80)), {"quantity": LONG}, {"max_gross_exposure": 5000}, ("accept", 80, [])),
    "gross, already above": (market((0, -20)), {"quantity": LONG}, {"max_gross_exposure": 10}, ("accept", 20, [])),
    "net": (market((0, -20)), {"quantity": SHORT}, {"max_net_exposure": 6000}, ("cut", 10, ["max_net_exposure"])),
    "net, reducing": (
        market((0, 20)),
        {"quantity": np.array([-50.0, 2000, 0])},
        {"max_net_exposure": 15000, "trading_state": "reducing"},
        ("accept", 20, []),
    ),
    "cash": (market((0, 20)), {"cash": 1050.0}, {}, ("cut", 10, ["cash"])),
    "cash, kept back": (market((0, 20)), {"cash": 1550.0}, {"min_cash": 500}, ("cut", 10, ["cash"])),
    "cash, buffer": (market((0, 20)), {"cash": 1050.0}, {"cash_buffer": 0.1}, ("cut", 9, ["cash"])),
    "cash, no limit": (market((0, 20)), {"cash": 0.0}, {"min_cash": None}, ("accept", 20, [])),
    "cash, covers": (market((0, 50)), {"quantity": SHORT, "cash": 0.0}, {}, ("accept", 50, [])),
    "cash, sale": (market((0, -50)), {"cash": 0.0}, {}, ("accept", 50, [])),
    "cash, margined": (market((0, 50)), {"inverse": np.ones(3, bool), "cash": 0.0}, {}, ("accept", 50, [])),
    "unknown": (market((-1, 5)), {}, {}, ("deny", 0, ["unknown_instrument"])),
    "zero": (market((0, 0)), {}, {}, ("deny", 0, ["bad_quantity"])),
    "infinite": (market((0, np.inf)), {}, {}, ("deny", 0, ["bad_quantity"])),
    "bad limit": (limit_order(0, 1, -5), {}, {}, ("deny", 0, ["bad_price"])),
    "override": (
        market((0, 12)),
        {},
        {"max_order_size": 1, "instruments": {"AAA": {"max_order_size": 10}}},
        ("cut", 10, ["max_order_size"]),
    ),
    "two rules": (
        market((0, 12)),
        {},
        {"max_order_size": 10, "max_order_notional": 300},
        ("cut", 3, ["max_order_size", "max_order_notional"]),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_rule(case):
    orders, changes, limits, expected = CASES[case]
    assert outcome(judge(orders, view(**changes), **limits)) == expected


def test_orders_of_one_time_take_up_what_the_account_has_left():
    verdicts = judge(market((0, 6), (1, 30), (2, 300)), max_gross_exposure=1000)
    assert verdicts.verdict.tolist() == ["accept", "accept", "cut"]
    assert verdicts.quantity.tolist() == [6, 30, 100]
    assert verdicts.codes[2] == ["max_gross_exposure"]
    figure, limit = verdicts.figures["max_gross_exposure"]
    assert figure.tolist() == [600, 900, 1200]
    assert limit.tolist() == [1000] * 3


def test_a_sale_frees_nothing_before_it_is_filled():
    book = view(quantity=np.array([10.0, 0, 0]), cash=0.0)
    verdicts = judge(market((0, -10), (1, 5)), book, max_gross_exposure=1000)
    assert verdicts.codes == [[], ["max_gross_exposure", "cash"]]


def test_several_orders_of_one_instrument_add_up():
    verdicts = judge(market((0, 6), (0, 6), (0, -5), (0, 6)), max_position=10)
    assert verdicts.quantity.tolist() == [6, 4, 5, 0]
    assert verdicts.verdict.tolist() == ["accept", "cut", "accept", "deny"]


def test_several_purchases_of_one_instrument_share_the_cash():
    verdicts = judge(market((0, 6), (0, 6), (1, 10)), view(cash=1000.0))
    assert verdicts.quantity.tolist() == [6, 4, 0]


def test_two_sales_cannot_both_close_the_same_position():
    verdicts = judge(market((0, -40), (0, -40)), view(quantity=LONG), trading_state="reducing")
    assert verdicts.quantity.tolist() == [40, 10]


def test_without_a_lot_size_cuts_are_in_whole_units_only_for_whole_orders():
    book = view(lot_size=np.full(3, np.nan))
    verdicts = judge(market((0, 12), (1, 120.5)), book, max_order_notional=1050)
    assert verdicts.quantity.tolist() == [10, 105]
    assert judge(market((0, 12.5)), book, max_order_notional=1050).quantity.tolist() == [10.5]


def test_fractions_that_are_whole_lots_pass():
    lots = view(lot_size=np.array([0.1, 0.01, 1e-8]))
    assert judge(market((0, 0.3), (1, 0.57), (2, 0.00000007)), lots).verdict.tolist() == ["accept"] * 3


def test_an_account_without_orders_has_no_verdicts():
    assert judge(market()).codes == []


def test_a_held_instrument_without_a_price_stops_all_that_needs_the_total():
    book = view(quantity=np.array([0.0, 5, 0]), price=np.array([100.0, np.nan, 1]), exposure=np.array([100, np.nan, 1]))
    assert outcome(judge(market((0, 1)), book, max_gross_exposure=1e9)) == ("deny", 0, ["max_gross_exposure"])
    assert outcome(judge(market((0, 1)), book))[0] == "accept"


def test_what_is_not_known_of_one_order_does_not_stop_the_next():
    book = view(exposure=np.array([np.nan, 10, 1]))
    verdicts = judge(market((0, 10), (1, 10)), book, max_gross_exposure=1e9)
    assert verdicts.verdict.tolist() == ["deny", "accept"]


def test_an_order_may_use_the_exposure_that_the_other_side_s_open_orders_have_taken():
    """Long 50 with 120 for sale is at worst short 70; buying 20 can make it long 70, which is no more."""
    book = view(quantity=LONG, sells=np.array([120.0, 0, 0]))
    verdicts = judge(market((0, 21)), book, max_gross_exposure=7000)
    assert verdicts.quantity.tolist() == [20]
