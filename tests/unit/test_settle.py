"""settle(): what it writes, bar by bar."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from settle_help import DAY, FREE, NAMES, PLAIN, TWO, Desk, bar, halted

from qts.errors import DataError
from qts.market.bar import Bar
from qts.store.tables import table
from qts.trading.universe import Universe


def test_an_order_of_one_bar_is_filled_at_the_next_open():
    desk = Desk()
    desk.step(bar(1, [10, 10]), [1, 0])
    assert desk.book.quantity.tolist() == [0, 0]
    desk.step(bar(2, [12, 10], [11, 10]), [np.nan, np.nan])
    assert desk.rows("fills", "order_id", "fill_time", "instrument", "quantity", "price") == [
        (f"acc-{DAY}-AAA", 2 * DAY, "AAA", 50, 11)
    ]
    assert desk.rows("orders", "order_id", "bar_time", "side", "type", "requested", "quantity", "price", "verdict") == [
        (f"acc-{DAY}-AAA", DAY, "buy", "market", 50, 50, 10, "accept")
    ]
    assert desk.events() == [
        (f"acc-{DAY}-AAA", DAY, "accepted", 50),
        (f"acc-{DAY}-AAA", 2 * DAY, "filled", 50),
    ]
    assert desk.rows("portfolio", "bar_time", "cash", "equity", "gross", "unrealised", "trading_state") == [
        (DAY, 1000, 1000, 0, 0, "active"),
        (2 * DAY, 450, 1050, 600, 50, "active"),
    ]
    assert desk.rows("positions", "bar_time", "quantity", "price", "value", "cost", "unrealised") == [
        (2 * DAY, 50, 12, 600, 550, 50)
    ]
    assert desk.rows("journal", "entry_id", "account", "amount", "quantity") == [
        ("acc-opening", "capital", -1000, 0),
        ("acc-opening", "cash", 1000, 0),
        (f"acc-{DAY}-AAA@{2 * DAY}", "inventory", 550, 50),
        (f"acc-{DAY}-AAA@{2 * DAY}", "fees", 0, 0),
        (f"acc-{DAY}-AAA@{2 * DAY}", "realised", 0, 0),
        (f"acc-{DAY}-AAA@{2 * DAY}", "cash", -550, 0),
    ]


def test_an_order_waits_for_the_next_bar_of_its_instrument():
    desk = Desk()
    desk.step(bar(1, [10, 10]), [1, 1])
    desk.step(bar(2, [np.nan, 10]), [1, 1])
    assert desk.book.quantity.tolist() == [0, 50]
    desk.step(bar(3, [10, 10]), [1, 1])
    assert desk.book.quantity.tolist() == [50, 50]


def test_a_new_decision_replaces_what_is_still_open():
    desk = Desk(replace(PLAIN, execution=replace(FREE, participation=0.1, time_in_force=5)))
    desk.step(bar(1, [10, 10], volume=[1000, 1000]), [1, 0])
    desk.step(bar(2, [10, 10], volume=[100, 1000]), [0, 0])
    assert desk.events()[1:] == [
        (f"acc-{DAY}-AAA", 2 * DAY, "partially_filled", 10),
        (f"acc-{DAY}-AAA", 2 * DAY, "cancelled", 40),
        (f"acc-{2 * DAY}-AAA", 2 * DAY, "accepted", 10),
    ]


def test_an_order_that_nobody_replaces_expires():
    desk = Desk(replace(PLAIN, execution=replace(FREE, participation=0.1, time_in_force=2)))
    desk.step(bar(1, [10, 10]), [1, 0])
    for day in (2, 3):
        desk.step(bar(day, [10, 10], volume=[100, 100]), [np.nan, np.nan])
    assert [event[2:] for event in desk.events()] == [
        ("accepted", 50),
        ("partially_filled", 10),
        ("partially_filled", 10),
        ("expired", 30),
    ]
    assert not desk.book.open_orders.quantity.any()


def test_limit_orders_are_bettered_and_on_the_tick():
    config = replace(PLAIN, execution=replace(FREE, order_type="limit", limit_offset_bps=33))
    desk = Desk(config, replace(TWO, tick_size=np.array([0.05, 0.05])))
    desk.step(bar(1, [10, 10]), [1, -1])
    assert [round(price, 9) for (price,) in desk.rows("orders", "limit_price")] == [9.95, 10.05]
    assert desk.rows("orders", "type", "verdict") == [("limit", "accept")] * 2
    desk.step(bar(2, [9, 10], [9.97, 10.02], low=[9.0, 10.0], high=[10, 10.04]), [np.nan, np.nan])
    assert [round(price, 9) for (price,) in desk.rows("fills", "price")] == [9.95]


def test_denied_and_cut_orders_are_told_why():
    desk = Desk(max_order_size=20, restricted=["BBB"])
    desk.step(bar(1, [10, 10]), [1, 1])
    assert desk.rows("orders", "instrument", "requested", "quantity", "verdict", "codes") == [
        ("AAA", 50, 20, "cut", ["max_order_size"]),
        ("BBB", 50, 0, "deny", ["restricted", "max_order_size"]),
    ]
    assert desk.rows("risk_events", "code", "instrument", "figure", "limit", "action") == [
        ("max_order_size", "AAA", 50, 20, "cut"),
        ("restricted", "BBB", 1, 0, "deny"),
        ("max_order_size", "BBB", 50, 20, "deny"),
    ]
    assert [event[2:] for event in desk.events()] == [("cut", 20), ("denied", 0)]
    assert desk.book.open_orders.quantity.tolist() == [20, 0]
    assert desk.book.orders == 1


def test_open_orders_tie_up_their_cash():
    desk = Desk(min_cash=100)
    desk.step(bar(1, [10, np.nan]), [1, np.nan])
    assert desk.book.open_orders.quantity.tolist() == [90, 0]
    desk.step(bar(2, [np.nan, 10]), [np.nan, 1])
    assert desk.rows("orders", "instrument", "verdict", "codes")[1:] == [("BBB", "deny", ["cash"])]


def test_a_halt_cancels_open_orders_before_they_can_fill():
    desk = Desk()
    desk.step(bar(1, [10, 10]), [1, 1])
    desk.step(bar(2, [10, 10]), [1, 1], halted("AAA"))
    assert desk.book.quantity.tolist() == [0, 50]
    assert (f"acc-{DAY}-AAA", 2 * DAY, "cancelled", 50) in desk.events()
    assert desk.rows("orders", "instrument", "verdict", "codes")[2:] == [("AAA", "deny", ["trading_state"])]
    assert desk.rows("portfolio", "trading_state")[-1] == ("active",)


def test_when_reducing_only_reductions_pass():
    desk = Desk()
    desk.step(bar(1, [10, 10]), [1, 0])
    desk.step(bar(2, [10, 10]), [1, 1])
    desk.step(bar(3, [10, 10]), [0.5, 1], halted("*", action="reduce"))
    desk.step(bar(4, [10, 10]), [0.5, 1], halted("*", action="reduce"))
    assert desk.book.quantity.tolist() == [25, 0]
    assert (f"acc-{2 * DAY}-BBB", 3 * DAY, "cancelled", 50) in desk.events()
    assert desk.rows("portfolio", "trading_state")[-1] == ("reducing",)


def test_what_the_trading_state_forbids_is_denied_once_a_strategy_and_not_at_every_bar():
    desk, now = Desk(), halted("*")
    for day in (1, 2, 3):
        desk.step(bar(day, [10, 10]), [1, -1], now)
    desk.step(bar(4, [10, 10]), [1, -1], now, ["other", "ewma"])
    denied = [(day * DAY, name, "deny", ["trading_state"]) for day, name in ((1, "AAA"), (1, "BBB"), (4, "AAA"))]
    assert desk.rows("orders", "bar_time", "instrument", "verdict", "codes") == denied
    desk.step(bar(5, [10, 10]), [1, 0])  # let go: it trades
    assert desk.rows("orders", "bar_time", "verdict")[3:] == [(5 * DAY, "accept")]
    desk.step(bar(6, [10, 10]), [1, 1], now)  # and a new halt tells anew
    assert desk.rows("orders", "bar_time", "instrument", "verdict")[4:] == [(6 * DAY, name, "deny") for name in NAMES]


def test_a_wish_that_was_denied_in_part_is_still_granted_where_it_reduces():
    desk, now = Desk(max_order_size=20), halted("*", action="reduce")
    for day in (1, 2, 3, 4):
        desk.step(bar(day, [10, 10]), [1, 0])
    assert desk.book.quantity.tolist() == [50, 0]
    for day in (5, 6, 7, 8):
        desk.step(bar(day, [10, 10]), [-1, 0], now)
    assert desk.rows("orders", "requested", "quantity", "codes")[3:] == [
        (100, 20, ["trading_state", "max_order_size"]),
        (30, 20, ["max_order_size"]),
        (10, 10, []),
    ]
    assert desk.book.quantity.tolist() == [0, 0]


def test_flattening_closes_positions_without_any_bar():
    desk = Desk()
    desk.step(bar(1, [10, 10]), [1, -1])
    desk.step(bar(2, [10, 10]), [1, -1])
    for day in (3, 4):  # the clock moves, no tick comes: one order an instrument, not one a second
        desk.step(bar(day, [np.nan, np.nan]), [np.nan, np.nan], halted("*", action="flatten"))
    assert desk.rows("orders", "bar_time", "side", "quantity", "strategy")[2:] == [
        (3 * DAY, "sell", 50, "flatten"),
        (3 * DAY, "buy", 50, "flatten"),
    ]
    desk.step(bar(5, [11, 9]), [1, 1], halted("*", action="flatten"))
    assert desk.book.quantity.tolist() == [0, 0]
    assert desk.book.cash == 1100
    desk.step(bar(6, [11, 9]), [1, 1], halted("*", action="flatten"))
    assert not desk.book.open_orders.quantity.any()


def test_a_drawdown_trips_its_breaker_until_a_resume():
    desk = Desk(breakers={"max_drawdown": {"limit": 0.1, "action": "halted"}})
    desk.step(bar(1, [10, 10]), [1, 0])
    desk.step(bar(2, [10, 10]), [np.nan, np.nan])
    desk.step(bar(3, [6, 10]), [0, 0])
    desk.step(bar(4, [6, 10]), [0, 0])
    assert desk.rows("risk_events", "bar_time", "code", "instrument", "limit", "action")[:1] == [
        (3 * DAY, "max_drawdown", "*", 0.1, "halted")
    ]
    assert desk.rows("risk_events", "figure")[0][0] == pytest.approx(0.2)
    assert desk.rows("portfolio", "trading_state")[1:] == [("active",), ("halted",), ("halted",)]
    assert {codes[0] for (codes,) in desk.rows("orders", "codes")[1:]} == {"trading_state"}
    desk.step(bar(5, [6, 10]), [0, 0], halted(resumes=1))
    assert desk.rows("portfolio", "trading_state", "drawdown")[-1] == ("active", 0)  # measured anew
    desk.step(bar(6, [6, 10]), [0, 0], halted(resumes=1))
    assert desk.book.quantity.tolist() == [0, 0]


def test_a_daily_loss_holds_until_the_next_day():
    limits = {"breakers": {"max_daily_loss": {"limit": 0.1, "until": "next_day"}}}
    desk = Desk(**limits)
    hour = DAY // 24

    def at(hours: int, price: float) -> Bar:
        return replace(bar(1, [price, 10.0]), time=DAY + hours * hour)

    for hours, price in ((1, 10), (2, 10), (3, 7), (4, 7), (24, 7), (25, 7)):
        desk.step(at(hours, price), [1, 0] if hours < 3 else [np.nan, np.nan])
    states = [state for (state,) in desk.rows("portfolio", "trading_state")]
    assert states == ["active", "active", "reducing", "reducing", "reducing", "active"]


def test_a_flood_of_orders_trips_before_any_is_sent():
    desk = Desk(breakers={"max_orders_per_bar": {"limit": 1, "action": "halted"}})
    desk.step(bar(1, [10, 10]), [1, 1])
    assert desk.rows("orders", "verdict") == [("deny",)] * 2
    assert desk.rows("risk_events", "code", "figure")[0] == ("max_orders_per_bar", 2)


def test_bar_times_have_to_grow():
    desk = Desk()
    desk.step(bar(2, [10, 10]), [0, 0])
    with pytest.raises(DataError, match="grow"):
        desk.step(bar(2, [10, 10]), [0, 0])
    with pytest.raises(DataError, match="2 instruments"):
        desk.step(bar(3, [10, 10, 10]), [0, 0, 0])


def test_no_instruments_at_all():
    desk = Desk(universe=Universe.plain(()))
    assert desk.step(bar(1, []), []).cash == 1000


def test_rows_fit_the_declared_tables():
    desk = Desk(max_order_size=20, restricted=["BBB"])
    for day in range(1, 5):
        desk.step(bar(day, [10, 10]), [(-1) ** day, 1])
    for name in desk.record.tables():
        declared = table(name).schema
        columns = desk.record.columns(name)
        assert set(columns) <= set(declared.names)
        required = {f.name for f in declared if not f.nullable}
        assert required <= set(columns)
        for column, values in columns.items():
            kind = declared.field(column).type
            pa.array(values, type=pa.int64() if pa.types.is_timestamp(kind) else kind)
