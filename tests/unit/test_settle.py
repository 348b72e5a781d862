"""settle(): what it writes, and what holds on any path of prices and targets."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.errors import DataError
from qts.execution.costs import Execution
from qts.market.bar import FIELDS, Bar
from qts.portfolio.accounting import ACCOUNTS, Book
from qts.portfolio.sizing import Sizing
from qts.risk.limits import RiskLimits
from qts.store.tables import table
from qts.trading import controls
from qts.trading.controls import Controls
from qts.trading.record import Recorder
from qts.trading.settle import SettleConfig, settle
from qts.trading.universe import Universe

#: The machine may be busy, so no deadline.
FEW = settings(deadline=None, max_examples=40)

DAY = 86_400_000_000_000
NAMES = ("AAA", "BBB")
TWO = Universe.plain(NAMES)
FREE = Execution(fee_bps=0, half_spread_bps=0, slippage_bps=0, impact=0, participation=1)
PLAIN = SettleConfig("acc", sizing=Sizing(weighting="equal", rebalance_band=0), execution=FREE)
NONE = controls.none(2)


def bar(day: int, close, open_=None, **values) -> Bar:
    blank = {name: np.full(len(close), np.nan) for name in FIELDS}
    close = np.array(close, dtype=float)
    open_ = close if open_ is None else np.array(open_, dtype=float)
    prices = {"close": close, "open": open_, "high": np.fmax(open_, close), "low": np.fmin(open_, close)}
    return Bar(day * DAY, **(blank | prices | {name: np.array(v, dtype=float) for name, v in values.items()}))


class Desk:
    """An account of 1,000 with all that it has written."""

    def __init__(self, config: SettleConfig = PLAIN, universe: Universe = TWO, cash: float = 1000.0, **limits) -> None:
        self.config, self.universe, self.record = config, universe, Recorder()
        self.limits = RiskLimits.parse(limits).arrays(universe.names)
        self.book = Book.for_universe(universe, cash)

    def step(self, at: Bar, targets, now: Controls | None = None, names=None) -> Book:
        names = names or ["ewma"] * len(self.universe)
        now = now or controls.none(len(self.universe))
        self.book = settle(
            self.book, at, np.array(targets, float), names, self.config, self.limits, now, self.record, self.universe
        )
        return self.book

    def rows(self, name: str, *columns: str) -> list[tuple]:
        held = self.record.columns(name)
        return list(zip(*(held[column].tolist() for column in columns), strict=True)) if held else []

    def events(self) -> list[tuple]:
        return self.rows("order_events", "order_id", "bar_time", "event", "quantity")


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


def halted(*scopes: str, action: str = "halt", resumes: int = 0) -> Controls:
    rows = [{"control_id": f"{i}", "at": i, "action": action, "scope": scope} for i, scope in enumerate(scopes)]
    return replace(controls.fold(rows, NAMES), resumes=resumes)


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


# --- what holds on any path ---------------------------------------------------------------------------------------

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
