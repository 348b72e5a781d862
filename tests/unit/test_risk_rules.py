"""Risk rules: each by itself, and what holds for all of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.risk.check import check
from qts.risk.limits import RiskLimits
from qts.risk.orders import BookView, Orders, Verdicts
from qts.risk.rules import RULES
from qts.trading.controls import HALTED, REDUCING

#: The machine may be busy, so no deadline.
FEW = settings(deadline=None, max_examples=60)

NAMES = ("AAA", "BBB", "CCC")


def view(**changes: object) -> BookView:
    """Three linear instruments at 100, 10 and 1, no positions, a million in cash."""
    price = np.array([100.0, 10.0, 1.0])
    plain = BookView(
        quantity=np.zeros(3),
        buys=np.zeros(3),
        sells=np.zeros(3),
        price=price,
        price_age=np.zeros(3),
        exposure=price,
        inverse=np.zeros(3, dtype=bool),
        multiplier=np.ones(3),
        lot_size=np.ones(3),
        tick_size=np.full(3, 0.01),
        tradable=np.ones(3, dtype=bool),
        state=np.zeros(3, dtype=np.int8),
        cash=1e6,
        equity=1e6,
    )
    return replace(plain, **changes)


def market(*orders: tuple[int, float], at: BookView | None = None) -> Orders:
    rows = np.array([row for row, _ in orders], dtype=np.int64)
    price = np.append((at or view()).price, np.nan)[rows]
    return Orders(rows, np.array([q for _, q in orders], dtype=float), price, np.zeros(len(rows), dtype=bool))


def limit_order(row: int, quantity: float, price: float) -> Orders:
    return Orders(np.array([row]), np.array([quantity]), np.array([price]), np.array([True]))


def judge(orders: Orders, book: BookView | None = None, **limits: object) -> Verdicts:
    return check(orders, RiskLimits.parse(limits).arrays(NAMES), book or view())


def outcome(verdicts: Verdicts) -> tuple[str, float, list[str]]:
    return str(verdicts.verdict[0]), float(verdicts.quantity[0]), verdicts.codes[0]


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


# --- what holds for all rules -------------------------------------------------------------------------------------

LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "max_order_size": st.floats(0, 300),
        "max_order_notional": st.floats(0, 5000),
        "max_position": st.floats(0, 400),
        "max_position_notional": st.floats(0, 8000),
        "max_gross_exposure": st.floats(0, 20000),
        "max_net_exposure": st.floats(0, 20000),
        "min_cash": st.floats(-100, 5000),
        "cash_buffer": st.floats(0, 0.2),
        "allow_short": st.booleans(),
        "trading_state": st.sampled_from(["active", "reducing"]),
    },
)
QUANTITY = st.integers(-300, 300).map(float)
ORDERS = st.lists(st.tuples(st.integers(0, 2), QUANTITY.filter(bool)), min_size=1, max_size=8)
BOOKS = st.builds(
    lambda held, lots, cash, inverse: view(
        quantity=np.array(held) * np.array(lots), lot_size=np.array(lots), cash=cash, inverse=np.array(inverse)
    ),
    st.lists(QUANTITY, min_size=3, max_size=3),
    st.lists(st.sampled_from([1.0, 0.1, 5.0, np.pi]), min_size=3, max_size=3),
    st.floats(0, 20000),
    st.lists(st.booleans(), min_size=3, max_size=3),
)


FRACTIONS = st.fixed_dictionaries(
    {},
    optional={
        name: st.floats(0, 3)
        for name in (
            *("max_order_notional_fraction", "max_position_notional_fraction"),
            *("max_gross_exposure_fraction", "max_net_exposure_fraction"),
        )
    },
)


@given(ORDERS, BOOKS, FRACTIONS, st.sampled_from([1 / 64, 8.0, 1024.0]))
@FEW
def test_an_account_that_has_grown_may_do_all_in_proportion(wanted, book, limits, times):
    """Powers of two, so that every figure is the same times them to the last bit. Absolute limits fail this."""
    book = replace(book, equity=5_000.0)
    grown = replace(
        book,
        quantity=book.quantity * times,
        lot_size=book.lot_size * times,
        cash=book.cash * times,
        equity=book.equity * times,
    )
    before = judge(market(*wanted), book, **limits)
    after = judge(market(*((row, quantity * times) for row, quantity in wanted)), grown, **limits)
    assert after.codes == before.codes
    np.testing.assert_allclose(after.quantity, before.quantity * times, rtol=1e-12)


@given(ORDERS, BOOKS, FRACTIONS)
@FEW
def test_fractions_are_the_amounts_that_they_make(wanted, book, limits):
    """But for orders that close, which a fraction lets pass whatever they are worth."""
    book = replace(book, equity=5_000.0, quantity=np.zeros(3))
    orders = market(*({row: (row, quantity) for row, quantity in wanted}.values()))
    amounts = {name.removesuffix("_fraction"): fraction * 5_000.0 for name, fraction in limits.items()}
    ours, theirs = judge(orders, book, **limits), judge(orders, book, **amounts)
    assert ours.codes == theirs.codes
    assert ours.quantity.tolist() == theirs.quantity.tolist()


@given(ORDERS, BOOKS, FRACTIONS, st.sampled_from([np.nan, -100.0, 0.0, 1e-300]))
@FEW
def test_without_equity_every_position_can_still_be_closed(wanted, book, limits, equity):
    book = replace(book, equity=equity, lot_size=np.full(3, np.nan))
    for row, held in enumerate(book.quantity):
        if held and "max_net_exposure_fraction" not in limits:
            assert outcome(judge(market((row, -held)), book, **limits)) == ("accept", abs(held), [])
    if not equity > 0 and limits:
        flat = replace(book, quantity=np.zeros(3))
        assert not judge(market(*wanted), flat, **limits).quantity.any()


@given(ORDERS, BOOKS, LIMITS)
@FEW
def test_a_verdict_never_asks_for_more(wanted, book, limits):
    orders = market(*wanted)
    verdicts = judge(orders, book, **limits)
    assert np.all(verdicts.quantity <= np.abs(orders.quantity))
    assert np.all(verdicts.quantity >= 0)
    for verdict, quantity, size, codes in zip(
        verdicts.verdict, verdicts.quantity, np.abs(orders.quantity), verdicts.codes, strict=True
    ):
        assert verdict == ("accept" if quantity == size else "cut" if quantity else "deny")
        assert bool(codes) == (verdict != "accept")


@given(ORDERS, BOOKS, LIMITS)
@FEW
def test_what_was_cut_passes_when_it_is_checked_again(wanted, book, limits):
    orders = market(*wanted)
    first = judge(orders, book, **limits)
    sent = first.quantity > 0
    signed = np.sign(orders.quantity) * first.quantity
    again = Orders(orders.instrument[sent], signed[sent], orders.price[sent], orders.limit[sent])
    second = judge(again, book, **limits)
    assert second.verdict.tolist() == ["accept"] * int(sent.sum())


@given(ORDERS, BOOKS, LIMITS)
@FEW
def test_limits_hold_after_all_orders_are_filled_in_any_combination(wanted, book, limits):
    orders = market(*wanted)
    verdicts = judge(orders, book, **limits)
    signed = np.sign(orders.quantity) * verdicts.quantity
    for side in (1, -1):  # only the buys fill, or only the sales
        after = book.quantity.copy()
        filled = np.where(np.sign(signed) == side, signed, 0.0)
        np.add.at(after, orders.instrument, filled)
        slack = 1e-6
        before = np.abs(book.quantity)
        if "max_position" in limits:
            assert np.all(np.abs(after) <= np.maximum(limits["max_position"], before) + slack)
        if "max_gross_exposure" in limits:
            gross = np.sum(np.abs(after) * book.exposure)
            assert gross <= max(limits["max_gross_exposure"], np.sum(before * book.exposure)) + slack
        if not limits.get("allow_short", True):
            assert np.all(after >= np.minimum(book.quantity, 0) - slack)
        if limits.get("trading_state") == "reducing":
            assert np.all(np.abs(after) <= before + slack)
            assert np.all(after * book.quantity >= -slack)


@given(st.data(), ORDERS, LIMITS)
@FEW
def test_what_is_not_known_is_denied(data, wanted, limits):
    """Any input of a binding rule, made NaN, denies; and never crashes."""
    row = data.draw(st.integers(0, len(wanted) - 1))
    field = data.draw(st.sampled_from(["quantity", "price"]))
    orders = market(*wanted)
    values = getattr(orders, field).copy()
    values[row] = np.nan
    orders = replace(orders, **{field: values}, limit=np.ones(len(orders), dtype=bool))
    assert judge(orders, **limits).verdict[row] == "deny"


@pytest.mark.parametrize(
    ("field", "limits"),
    [
        ("price", {}),
        ("price_age", {"max_price_age": 10}),
        ("quantity", {"max_position": 1000}),
        ("quantity", {"max_position_notional": 1e6}),
        ("exposure", {"max_position_notional": 1e6}),
        ("exposure", {"max_gross_exposure": 1e9}),
        ("exposure", {"max_net_exposure": 1e9}),
        ("multiplier", {"max_order_notional": 1e6}),
        ("multiplier", {}),
        ("buys", {"max_position": 1000}),
    ],
)
def test_an_unknown_figure_of_the_account_denies(field, limits):
    values = getattr(view(), field).copy()
    values[0] = np.nan
    assert judge(market((0, 10)), view(**{field: values}), **limits).verdict.tolist() == ["deny"]


@given(ORDERS, BOOKS, st.permutations([0, 1, 2]))
@FEW
def test_the_order_of_instruments_changes_nothing_where_nothing_is_shared(wanted, book, permutation):
    own = {"max_order_size": 100, "max_position": 150, "max_order_notional": 3000, "min_cash": None}
    orders, to = market(*wanted), np.argsort(permutation)
    arrays = ("quantity", "price", "exposure", "lot_size", "inverse")
    moved = replace(book, **{name: getattr(book, name)[permutation] for name in arrays})
    one = judge(orders, book, **own)
    two = judge(replace(orders, instrument=to[orders.instrument]), moved, **own)
    assert one.quantity.tolist() == two.quantity.tolist()
    assert one.codes == two.codes


@given(BOOKS, LIMITS, st.lists(QUANTITY.filter(bool), min_size=3, max_size=3))
@FEW
def test_orders_one_by_one_are_judged_as_in_one_go(book, limits, quantities):
    """The vectorised path over different instruments equals a fold over single orders."""
    together = judge(market(*enumerate(quantities)), book, **limits)
    arrays, alone = RiskLimits.parse(limits).arrays(NAMES), []
    for row, quantity in enumerate(quantities):
        verdicts = check(market((row, quantity)), arrays, book)
        granted = float(verdicts.quantity[0])
        alone.append(granted)
        units = np.eye(3)[row] * granted
        paid = granted * book.price[row] * (1 + arrays.cash_buffer) if quantity > 0 and not book.inverse[row] else 0
        book = (
            replace(book, buys=book.buys + units, cash=book.cash - paid)
            if quantity > 0
            else replace(book, sells=book.sells + units)
        )
    np.testing.assert_allclose(together.quantity, alone, atol=1e-9)


def test_every_rule_reports_its_figure():
    figures = judge(market((0, 1)), max_order_size=5).figures
    assert set(figures) == {*RULES, "max_gross_exposure", "max_net_exposure", "cash"}
    assert [float(v[0]) for v in figures["max_order_size"]] == [1, 5]


def test_halting_stops_everything_and_reducing_all_but_reductions():
    book = view(quantity=np.array([50.0, -50, 0]))
    orders = market((0, -5), (0, 5), (1, 5), (1, -5), (2, 5))
    halted = judge(orders, replace(book, state=np.full(3, HALTED, np.int8)))
    reducing = judge(orders, replace(book, state=np.full(3, REDUCING, np.int8)))
    assert halted.verdict.tolist() == ["deny"] * 5
    assert reducing.verdict.tolist() == ["accept", "deny", "accept", "deny", "deny"]
