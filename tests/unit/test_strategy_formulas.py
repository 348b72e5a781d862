"""Each strategy against published numbers, or against its definition written a second time with pandas or loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from qts.market.bar import FIELDS, Array, Bar
from qts.strategy.base import Strategy, ewma, push, running_mean, window
from qts.strategy.breakout import ChannelBreakout
from qts.strategy.controls import BuyAndHold, Flat, Random
from qts.strategy.forecast import ForecastVolatility
from qts.strategy.reversion import BollingerReversion, RsiReversion
from qts.strategy.trend import EwmaCross, TimeSeriesMomentum
from qts.strategy.volatility import VolatilityManaged, VolatilityTarget


def bars(close: Array, high: Array | None = None, low: Array | None = None, **extra: Array) -> list[Bar]:
    columns = dict.fromkeys(FIELDS, close)
    columns |= {"high": close if high is None else high, "low": close if low is None else low}
    return [
        Bar(
            time,
            **{name: np.array([values[time]]) for name, values in columns.items()},
            extra={name: np.array([values[time]]) for name, values in extra.items()},
            instruments=("A",),
        )
        for time in range(len(close))
    ]


def signals(strategy: Strategy, given: list[Bar]) -> Array:
    state, out = strategy.start(1), []
    for bar in given:
        state, signal = strategy.step(state, bar)
        out.append(signal[0])
    return np.array(out)


@pytest.fixture
def close() -> Array:
    return 100 * np.exp(np.random.default_rng(3).normal(0, 0.02, 700).cumsum())


def test_ewma_cross_is_that_of_pandas(close: Array) -> None:
    series = pd.Series(close)
    fast, slow = series.ewm(span=12, adjust=False).mean(), series.ewm(span=26, adjust=False).mean()
    expected = np.sign(fast - slow).where(series.index >= 25, 0.0)
    np.testing.assert_array_equal(signals(EwmaCross(), bars(close)), expected)


def test_ewma_ignores_what_is_missing_as_pandas_does() -> None:
    values = np.array([np.nan, 1.0, np.nan, 3.0, 2.0, np.nan])
    mean, means = np.array([np.nan]), []
    for value in values:
        mean = ewma(mean, np.array([value]), span=3)
        means.append(mean[0])
    np.testing.assert_allclose(means, pd.Series(values).ewm(span=3, adjust=False, ignore_na=True).mean())


def test_a_window_keeps_the_last_values_in_order() -> None:
    values = window(2, 3)
    for value in ([1.0, 9.0], [2.0, np.nan], [3.0, 8.0], [4.0, np.nan]):
        values = push(values, np.array(value))
    np.testing.assert_array_equal(values, [[2.0, 3.0, 4.0], [np.nan, 9.0, 8.0]])


def test_a_running_mean_is_plain_at_first() -> None:
    mean, data = np.zeros(1), [4.0, 2.0, 9.0, 1.0]
    for seen, value in enumerate(data, start=1):
        mean = running_mean(mean, np.array([value]), np.array([float(seen)]), limit=3)
    assert mean[0] == pytest.approx((2 * 5.0 + 1.0) / 3)


def test_momentum_is_the_return_in_standard_deviations(close: Array) -> None:
    log = np.log(pd.Series(close))
    sd = np.sqrt((log.diff() ** 2).ewm(span=121, adjust=False, ignore_na=True).mean())
    expected = ((log - log.shift(252)) / (sd * np.sqrt(252))).clip(-1, 1).fillna(0.0)
    np.testing.assert_allclose(signals(TimeSeriesMomentum(), bars(close)), expected, atol=1e-9)
    assert (np.abs(expected[252:]) < 1).any()


def test_momentum_does_not_care_how_wild_an_instrument_is(close: Array) -> None:
    calm = signals(TimeSeriesMomentum(), bars(close))
    wild = signals(TimeSeriesMomentum(), bars(close**5))
    np.testing.assert_allclose(calm, wild, atol=1e-9)


def test_breakout_follows_the_turtles_rule(close: Array) -> None:
    rng = np.random.default_rng(4)
    high, low = close * (1 + rng.exponential(0.005, 700)), close * (1 - rng.exponential(0.005, 700))
    position, expected = 0.0, []
    for day in range(700):
        if day >= 20:
            if close[day] > high[day - 20 : day].max():
                position = 1.0
            elif close[day] < low[day - 20 : day].min():
                position = -1.0
            elif (position == 1 and close[day] < low[day - 10 : day].min()) or (
                position == -1 and close[day] > high[day - 10 : day].max()
            ):
                position = 0.0
        expected.append(position)
    assert set(expected) == {-1.0, 0.0, 1.0}
    np.testing.assert_array_equal(signals(ChannelBreakout(), bars(close, high, low)), expected)


def test_breakout_takes_closes_where_there_are_no_highs(close: Array) -> None:
    nothing = np.full(700, np.nan)
    np.testing.assert_array_equal(
        signals(ChannelBreakout(), bars(close, nothing, nothing)), signals(ChannelBreakout(), bars(close))
    )


def test_bollinger_sells_above_the_upper_band_and_leaves_at_the_mean(close: Array) -> None:
    series = pd.Series(close)
    mean, sd = series.rolling(20).mean(), series.rolling(20).std(ddof=0)
    position, expected = 0.0, []
    for price, middle, width in zip(close, mean, 2 * sd, strict=True):
        if price >= middle + width:
            position = -1.0
        elif price <= middle - width:
            position = 1.0
        elif (position == 1 and price >= middle) or (position == -1 and price <= middle):
            position = 0.0
        expected.append(position)
    assert set(expected) == {-1.0, 0.0, 1.0}
    np.testing.assert_array_equal(signals(BollingerReversion(), bars(close)), expected)


#: The worked example of StockCharts' ChartSchool: closes of QQQQ and their 14-day RSI with Wilder's smoothing.
CHART_SCHOOL = (
    "44.3389 44.0902 44.1497 43.6124 44.3278 44.8264 45.0955 45.4245 45.8433 46.0826 45.8931 46.0328 45.6140 46.2820 "
    "46.2820 46.0028 46.0328 46.4116 46.2222 45.6439 46.2122 46.2521 45.7137 46.4515 45.7835 45.3548 44.0288 44.1783 "
    "44.2181 44.5672 43.4205 42.6628 43.1314"
)
CHART_SCHOOL_RSI = (
    "70.53 66.32 66.55 69.41 66.36 57.97 62.93 63.26 56.06 62.38 54.71 50.42 39.99 41.46 41.87 45.46 37.30 33.08 37.77"
)


def test_rsi_is_that_of_the_published_example() -> None:
    strategy = RsiReversion()
    state, index = strategy.start(1), []
    for bar in bars(np.array(CHART_SCHOOL.split(), dtype=float)):
        state, _ = strategy.step(state, bar)
        index.append(strategy.index(state)[0])
    np.testing.assert_allclose(index[14:], np.array(CHART_SCHOOL_RSI.split(), dtype=float), atol=0.01)


def test_rsi_buys_what_is_oversold_until_it_is_back() -> None:
    falling_then_rising = np.concatenate([np.linspace(100, 80, 21), np.linspace(81, 110, 30)])
    position = signals(RsiReversion(), bars(falling_then_rising))
    assert (position[:14] == 0).all()
    assert position[14] == 1
    assert position[-1] == -1
    assert 0 in position[20:40]


def test_volatility_target_is_target_over_sd(close: Array) -> None:
    squared = np.log(pd.Series(close)).diff() ** 2
    sd = np.sqrt(squared.ewm(span=20, adjust=False, ignore_na=True).mean())
    expected = (0.01 / sd).clip(upper=1).where(np.arange(700) >= 20, 0.0)
    np.testing.assert_allclose(signals(VolatilityTarget(target=0.01), bars(close)), expected, atol=1e-12)


def test_volatility_managed_compares_with_the_past_only(close: Array) -> None:
    squared = np.log(pd.Series(close)).diff() ** 2
    now = squared.ewm(span=20, adjust=False, ignore_na=True).mean()
    expected = (0.5 * squared.expanding().mean() / now).clip(upper=1).where(np.arange(700) >= 60, 0.0)
    np.testing.assert_allclose(signals(VolatilityManaged(), bars(close)), expected, atol=1e-12)


def test_forecasts_go_before_the_past(close: Array) -> None:
    forecast = np.full(700, 0.04**2)
    forecast[[30, 31]] = np.nan, -1.0
    by_forecast = signals(ForecastVolatility(), bars(close, **{"forecast.log_har.variance": forecast}))
    by_past = signals(VolatilityTarget(), bars(close))
    expected = np.full(700, 0.25)
    expected[[30, 31]] = by_past[[30, 31]]
    np.testing.assert_allclose(by_forecast, expected)
    np.testing.assert_array_equal(signals(ForecastVolatility(model="garch"), bars(close)), by_past)


def test_controls(close: Array) -> None:
    gap = close.copy()
    gap[:3] = np.nan
    assert (signals(Flat(), bars(gap)) == 0).all()
    np.testing.assert_array_equal(signals(BuyAndHold(), bars(gap)), np.arange(700) >= 3)


def test_random_is_a_fair_coin_kept_for_some_bars(close: Array) -> None:
    thrown = signals(Random(hold=1), bars(close))
    assert set(thrown) == {-1.0, 1.0}
    assert abs(thrown.mean()) < 4 / np.sqrt(700)
    assert abs(np.corrcoef(thrown[:-1], thrown[1:])[0, 1]) < 4 / np.sqrt(700)
    assert (signals(Random(seed=1, hold=1), bars(close)) != thrown).any()
    held = signals(Random(hold=5), bars(close)).reshape(-1, 5)
    assert (held == held[:, :1]).all()
