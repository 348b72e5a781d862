"""Files of bars, good and bad ones, and how many bars make a year."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from backtest_help import closes, long_bars

from qts.backtest.calendar import ends_of, periods_per_year
from qts.backtest.experiment import Experiment, Terms, run
from qts.backtest.fills import NextPrice
from qts.backtest.market import NAMES, market_of
from qts.commands.files import read_table
from qts.errors import DataError, UnknownColumn
from qts.execution.broker import OpenOrders
from qts.strategy.controls import BuyAndHold
from qts.strategy.session import GapReversal
from qts.trading.universe import Universe

DAILY = Path(__file__).resolve().parents[3] / "shared" / "data" / "market" / "daily"
with_data = pytest.mark.skipif(not DAILY.is_dir(), reason="the daily data is not beside the checkout")


def times(text: str, count: int, freq: str) -> np.ndarray:
    return pd.date_range(text, periods=count, freq=freq, tz="UTC").to_numpy("datetime64[ns]").astype(np.int64)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (ends_of(pd.Series(pd.bdate_range("2000-01-03", periods=2600).strftime("%Y-%m-%d"))), 260.9),
        (ends_of(pd.Series(pd.bdate_range("2000-01-03", periods=50))), 252.0),
        (times("2020-01-01", 800, "D"), 365.25),
        (times("2020-01-03", 30, "D"), 365.25),
        (times("2020-01-03", 300, "W-FRI"), 52.18),
        (times("2020-01-01", 60, "MS"), 11.8),
        (times("2020-01-06 00:01", 24 * 60 * 4, "min"), 1440 * 252),
        (times("2020-01-06", 24 * 4 * 30, "15min"), 96 * 365.25),
    ],
)
def test_bars_a_year(given: np.ndarray, wanted: float) -> None:
    assert periods_per_year(given) == pytest.approx(wanted, rel=0.01)


def test_sessions_of_a_stock_exchange() -> None:
    """26 bars of 15 minutes a day, on weekdays: 26 x 252, not 96 x 365."""
    days = pd.bdate_range("2020-01-06", periods=40, tz="UTC")
    stamps = [day + pd.Timedelta(minutes=14 * 60 + 45 + 15 * bar) for day in days for bar in range(26)]
    assert periods_per_year(ends_of(pd.Series(stamps))) == pytest.approx(26 * 252)


def test_times_in_any_form_are_the_same() -> None:
    stamps = pd.date_range("2021-03-01 10:00", periods=5, freq="h", tz="UTC")
    ns = stamps.to_numpy("datetime64[ns]").astype(np.int64)
    for form in (stamps, stamps.strftime("%Y-%m-%dT%H:%M:%SZ"), ns, ns // 10**3, ns // 10**6, ns // 10**9, ns / 1e9):
        np.testing.assert_array_equal(ends_of(pd.Series(form)), ns)
    with pytest.raises(DataError, match=r"row 2 is 'soon'"):
        ends_of(pd.Series(["2021-03-01", "soon"]))
    with pytest.raises(DataError, match="no time in row 2"):
        ends_of(pd.Series([1e9, np.nan]))


def test_wide_and_long_are_the_same_market() -> None:
    wide = closes(40, 3, seed=0)
    long = wide.melt("Date", var_name="Ticker", value_name="Close").rename(columns={"Date": "date"})
    left, right = market_of(wide, "x"), market_of(long, "x")
    assert left.fingerprint == right.fingerprint
    np.testing.assert_array_equal(left.panel.values["close"], right.panel.values["close"])


def test_one_instrument_in_columns_of_its_own() -> None:
    table = long_bars(30, 1, seed=0).drop(columns="instrument").rename(columns=str.upper)
    seen = market_of(table, "vix")
    assert seen.panel.instruments == ("vix",)
    assert np.isfinite(seen.panel.values["high"]).all()


def test_unsorted_and_repeated_rows() -> None:
    table = long_bars(50, 2, seed=1)
    wrong = table.iloc[[3, 9]].assign(close=1.0)
    mixed = pd.concat([wrong, table]).reset_index(drop=True)
    seen = market_of(mixed, "x")
    np.testing.assert_array_equal(seen.panel.values["close"], market_of(table, "x").panel.values["close"])
    assert any(note.startswith("2 rows repeat") for note in seen.notes)
    assert (np.diff(seen.panel.times) > 0).all()
    wide = closes(20, 2, seed=0)
    doubled = market_of(pd.concat([wide.iloc[:5] * 1, wide]), "x")
    assert any(note.startswith("5 rows repeat") for note in doubled.notes)


def test_prices_that_are_none() -> None:
    table = closes(20, 2, seed=0)
    table.loc[4, "I0"], table.loc[5, "I1"], table["I2"] = 0.0, -3.0, np.nan
    table.loc[6, "I1"] = np.inf
    seen = market_of(table, "x")
    assert np.isnan(seen.panel.values["close"][4, 0])
    assert seen.panel.instruments == ("I0", "I1")
    assert any("3 prices are zero, negative or infinite" in note for note in seen.notes)
    assert any("I2" in note for note in seen.notes)


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (pd.DataFrame({"a": [1.0, 2, 3]}), UnknownColumn, "no time column"),
        (pd.DataFrame({"Date": ["2020-01-01"] * 3}), DataError, "no other"),
        (pd.DataFrame({"symbol": ["a"], "date": ["2020-01-01"]}), UnknownColumn, "need a close"),
        (closes(2, 1, 0), DataError, "2 bar times with prices are left"),
        (closes(5, 1, 0).assign(I0=["x", "1", "2", "3", "4"]), DataError, "has 'x' in row 1"),
    ],
)
def test_files_that_cannot_be_used(table: pd.DataFrame, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        market_of(table, "x")


def test_a_delisting_keeps_the_last_price_and_is_told() -> None:
    table = closes(60, 2, seed=0)
    table.loc[30:, "I1"] = np.nan
    seen = market_of(table, "x")
    assert any("delisted" in note for note in seen.notes)
    assert not any("survivors" in note for note in seen.notes)
    outcome = run(Experiment("hold", {"hold": BuyAndHold()}), seen, Terms())
    assert outcome.error == ""
    assert outcome.gross[-1] > 0.8
    assert len(outcome.trades) == 2


def test_survivors_are_told() -> None:
    assert any("survivors" in note for note in market_of(closes(60, 2, seed=0), "x").notes)


def test_missing_days_are_told_and_traded_over() -> None:
    table = closes(60, 2, seed=0)
    table.loc[10:14, "I1"] = np.nan
    seen = market_of(table, "x")
    assert any(note.startswith("5 bars are missing") for note in seen.notes)
    assert run(Experiment("hold", {"hold": BuyAndHold()}), seen, Terms()).error == ""


def test_bars_without_volume_fill_nothing_where_volumes_are_known() -> None:
    table = long_bars(40, 1, seed=2)
    table["volume"] = 1000.0
    table.loc[table.index[1:8], "volume"] = 0.0
    outcome = run(Experiment("hold", {"hold": BuyAndHold()}), market_of(table, "x"), Terms(cash=1e4))
    assert (outcome.turnover[:8] == 0).all()
    assert outcome.turnover[8] > 0
    unknown = market_of(table.assign(volume=0.0), "x")
    assert run(Experiment("hold", {"hold": BuyAndHold()}), unknown, Terms()).turnover[1] > 0


def test_stale_opens_are_no_prices_to_trade_at() -> None:
    table = long_bars(120, 1, seed=3)
    table["open"] = table["close"].shift(1).fillna(table["close"])
    seen = market_of(table, "x")
    assert any("stale" in note for note in seen.notes)
    assert np.isnan(seen.panel.values["open"]).all()
    gap = run(Experiment("gap", {"gap": GapReversal(span=5)}), seen, Terms())
    assert gap.fills == 0
    held = run(Experiment("hold", {"hold": BuyAndHold()}), seen, Terms())
    assert held.fills > 0


def test_fills_are_at_the_next_open_or_else_close() -> None:
    seen = market_of(long_bars(30, 1, seed=4).dropna(), "x")
    bar = seen.panel[int(np.flatnonzero(np.isfinite(seen.panel.values["close"][:, 0]))[3])]
    order = OpenOrders(np.array([5.0]), np.array([np.nan]), np.array([bar.time - 1]), np.array([0]))
    universe = Universe.plain(["I0"], lot_size=0.01)
    assert NextPrice().fill(order, bar, universe).reference[0] == bar.open[0]
    bar.open[0] = np.nan
    assert NextPrice().fill(order, bar, universe).reference[0] == bar.close[0]
    bar.volume[0] = 0.0
    assert len(NextPrice().fill(order, bar, universe)) == 0


@with_data
def test_real_files_are_read() -> None:
    stocks = market_of(pd.read_csv(DAILY / "sp500_20stocks_adjclose_1990_2012.csv.gz"), "x")
    assert len(stocks.panel.instruments) == 20
    assert stocks.periods_per_year == pytest.approx(252, abs=1)
    vix = market_of(pd.read_csv(DAILY / "vix_daily_ohlc_1990_2012.csv"), "VIX")
    assert vix.panel.instruments == ("VIX",)
    assert vix.periods_per_year == pytest.approx(252, abs=1)


def test_the_packaged_index_has_stale_opens() -> None:
    from qts.market.sample import sp500_nasdaq

    daily = sp500_nasdaq()
    fields = {name: getattr(daily, name) for name in ("instrument", "open", "high", "low", "close", "volume")}
    table = pd.DataFrame({"timestamp": daily.day, **fields})
    seen = market_of(table[table["timestamp"] < pd.Timestamp("2006-01-01").value], "x")
    assert any("stale (SP500: 9" in note for note in seen.notes)


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%d", "%Y%m%d", "%b %d, %Y"])
def test_dates_in_any_order_of_their_parts(form: str) -> None:
    """A wrong guess for a few rows would shuffle history in silence."""
    days = pd.bdate_range("2019-01-01", periods=300)
    np.testing.assert_array_equal(ends_of(pd.Series(days.strftime(form))), ends_of(pd.Series(days)))


def test_dates_as_numbers() -> None:
    """20190102 is a day and not a second of August 1970; midnights count as days whatever unit they are in."""
    days = pd.bdate_range("2019-01-01", periods=300)
    wanted = ends_of(pd.Series(days))
    numbers = pd.Series(days.strftime("%Y%m%d").astype(int))
    seconds = pd.Series(days.to_numpy("datetime64[s]").astype(np.int64))
    for given in (numbers, numbers.astype(float), numbers.astype("Int64"), seconds, (seconds * 1000).astype("Int64")):
        np.testing.assert_array_equal(ends_of(given), wanted)
    with pytest.raises(DataError, match="row 2 is 20190231"):
        ends_of(pd.Series([20190101, 20190231]))


def test_dates_that_contradict_one_another_are_refused() -> None:
    with pytest.raises(DataError, match="cannot both be read"):
        ends_of(pd.Series(["13/01/2020", "01/13/2020"]))


def test_names_are_text(tmp_path: Path) -> None:
    """000001 and NA are instruments; a row without a name is none."""
    table = long_bars(60, 3, seed=0)
    table["instrument"] = table["instrument"].map({"I0": "000001", "I1": "NA", "I2": ""})
    table.rename(columns={"instrument": "Symbol"}).to_csv(tmp_path / "bars.csv", index=False)
    seen = market_of(read_table(tmp_path / "bars.csv", "bars", NAMES), "x")
    assert seen.panel.instruments == ("000001", "NA")
    assert any("name no instrument" in note for note in seen.notes)


def test_a_part_of_a_history_is_another_history() -> None:
    """What is the same to `experiments` counts as one trial, and shares its report and its MLflow run."""
    whole = market_of(long_bars(120, 3, seed=0), "x")
    parts = [whole, whole.only(["I0"]), whole.only(["I1"]), whole.only(["I0", "I1"]), whole.until(80), whole.until(81)]
    assert len({part.fingerprint for part in parts}) == len(parts)
    dearer = long_bars(120, 3, seed=0)
    dearer["open"] *= 1.001
    assert market_of(dearer, "x").fingerprint != whole.fingerprint
    assert whole.only(whole.panel.instruments).fingerprint == whole.until(120).fingerprint == whole.fingerprint


def test_a_part_has_its_own_calendar_and_notes() -> None:
    """Stocks beside a market that never closes: alone they have their own bar times, and so their own year."""
    wide = pd.DataFrame({"Date": pd.date_range("2018-01-01", periods=900).strftime("%Y-%m-%d")})
    wide["BTC"] = np.linspace(100, 120, 900)
    weekday = pd.to_datetime(wide["Date"]).dt.dayofweek < 5
    wide["SPY"] = np.where(weekday, wide["BTC"], np.nan)
    seen = market_of(wide, "x")
    assert seen.periods_per_year == pytest.approx(365.25, rel=0.001)
    alone = seen.only(["SPY"])
    assert alone.periods_per_year == pytest.approx(260.9, rel=0.01)
    assert any("missing" in note for note in seen.notes)
    assert not any("missing" in note for note in alone.notes)
    assert len(seen.only(["SPY"], every_time=True).panel) == 900
    assert seen.until(1).panel.instruments == ("BTC", "SPY")


def test_row_numbers_are_no_instrument(tmp_path: Path) -> None:
    """`to_csv` writes them in front; as prices they rise from 0 to thousands."""
    wide = closes(40, 3, seed=0)
    wide.to_csv(tmp_path / "wide.csv")
    seen = market_of(read_table(tmp_path / "wide.csv", "bars", NAMES), "x")
    assert seen.panel.instruments == ("I0", "I1", "I2")
    assert market_of(wide.reset_index(), "x").panel.instruments == ("I0", "I1", "I2")
