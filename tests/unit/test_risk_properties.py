"""What holds for all risk rules."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from risk_help import NAMES, judge, market, outcome, view

from qts.risk.check import check
from qts.risk.limits import RiskLimits
from qts.risk.orders import Orders
from qts.risk.rules import RULES
from qts.trading.controls import HALTED, REDUCING

#: The machine may be busy, so no deadline.
FEW = settings(deadline=None, max_examples=60)
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
