"""The newer strategies against their definition, written a second time with pandas or loops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from qts.market.bar import FIELDS, Array, BarPanel
from qts.strategy.base import Strategy
from qts.strategy.breakout import KeltnerBreakout, VolatilityBreakout
from qts.strategy.forecast import ForecastConsensus, ForecastReturn
from qts.strategy.regime import FearGauge, RegimeExposure, RegimeSwitch, VolatilityRegime
from qts.strategy.relative import PairReversion, RelativeMomentum, RelativeReversal
from qts.strategy.reversion import InternalBarStrength, ShortTermReversal, StochasticReversion, ZScoreReversion
from qts.strategy.seasonal import Seasonality, TurnOfMonth
from qts.strategy.sentiment import SentimentLevel, SentimentSurprise
from qts.strategy.session import GapReversal, OvernightMomentum
from qts.strategy.trend import CtaMomentum, Macd, SmaCross
from qts.strategy.volume import OrderFlowImbalance, SignedJump, VwapReversion
from qts.trading.across import with_others

DAYS, HOUR = 900, 3_600_000_000_000
Series = pd.Series


def market(instruments: int = 1, seed: int = 8) -> BarPanel:
    """Daily bars with an open, a range, volume and what else strategies read."""
    rng = np.random.default_rng(seed)
    shape = (DAYS, instruments)
    close = 100 * np.exp(rng.normal(0, 0.02, shape).cumsum(axis=0))
    values = {name: np.full(shape, np.nan) for name in FIELDS}
    values["open"] = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.01, shape))
    values["high"] = np.maximum(values["open"], close) * (1 + rng.exponential(0.005, shape))
    values["low"] = np.minimum(values["open"], close) * (1 - rng.exponential(0.005, shape))
    values |= {"close": close, "vwap": close * (1 + rng.normal(0, 0.004, shape)), "volume": rng.gamma(2, 500, shape)}
    values |= {name: rng.exponential(1e-4, shape) for name in ("semivariance_minus", "semivariance_plus")}
    extra = {
        "forecast.arima.return": rng.normal(0, 1e-3, shape),
        "forecast.arima.return.sd": rng.uniform(0.01, 0.03, shape),
        "forecast.lstm.return": np.where(rng.random(shape) < 0.5, np.nan, rng.normal(0, 1e-3, shape)),
        "forecast.lstm.return.sd": rng.uniform(0.01, 0.03, shape),
        "sentiment.score": rng.uniform(-1, 1, shape),
        "regime.stressed": rng.random(shape),
        "index.VIX": 20 * np.exp(rng.normal(0, 0.1, shape)),
    }
    names = tuple(f"I{number}" for number in range(instruments))
    times = pd.bdate_range("2015-01-05", periods=DAYS).to_numpy("datetime64[ns]").astype(np.int64) + 24 * HOUR
    return BarPanel(names, times, values, extra)


def signals(strategy: Strategy, panel: BarPanel) -> Array:
    panel, _ = with_others([strategy], panel)
    state, out = strategy.start(len(panel.instruments)), []
    for bar in panel:
        state, signal = strategy.step(state, bar)
        out.append(signal)
    return np.array(out)


PANEL = market()
OPEN, HIGH, LOW, CLOSE, VWAP, VOLUME = (
    Series(PANEL.values[name][:, 0]) for name in ("open", "high", "low", "close", "vwap", "volume")
)
LOG = np.log(CLOSE)
RETURN = LOG.diff()


def ewm(series: Series, span: float) -> Series:
    return series.ewm(span=span, adjust=False, ignore_na=True).mean()


def extra(name: str) -> Series:
    return Series(PANEL.extra[name][:, 0])


def hysteresis(score: Series, entry: float, leave: float = 0.0) -> Series:
    position, out = 0, []
    for value in score:
        if value >= entry:
            position = -1
        elif value <= -entry:
            position = 1
        elif (position == 1 and value >= -leave) or (position == -1 and value <= leave):
            position = 0
        out.append(position)
    return Series(out, dtype=float)


def wilder(series: Series, length: int) -> Series:
    out, mean = [], np.nan
    for number, value in enumerate(series):
        seen = number  # the first value is missing
        if seen >= 1:
            mean = value if seen == 1 else mean + (value - mean) / min(seen, length)
        out.append(mean)
    return Series(out)


TRUE_RANGE = np.maximum(HIGH, CLOSE.shift()) - np.minimum(LOW, CLOSE.shift())
TRUE_RANGE[0] = np.nan


def scaled(lookback: int, span: int) -> Series:
    return (LOG - LOG.shift(lookback)) / np.sqrt(ewm(RETURN**2, span) * lookback)


def sma_cross() -> Series:
    slow = CLOSE.rolling(50).mean()
    return np.sign(CLOSE.rolling(5).mean() - slow).where((CLOSE.rolling(5).mean() / slow - 1).abs() > 0.01, 0.0)


def macd() -> Series:
    line = ewm(CLOSE, 12) - ewm(CLOSE, 26)
    return np.sign(line - ewm(line, 9)).where(CLOSE.index >= 34, 0.0)


def cta() -> Series:
    total = Series(0.0, index=CLOSE.index)
    for fast, slow in ((8, 24), (16, 48), (32, 96)):
        gap = CLOSE.ewm(alpha=1 / fast, adjust=False).mean() - CLOSE.ewm(alpha=1 / slow, adjust=False).mean()
        score = gap / (CLOSE * np.sqrt(ewm(RETURN**2, 63)))
        z = score / np.sqrt(ewm(score**2, 252))
        total += z * np.exp(-(z**2) / 4) / 0.89 / 3
    return total.clip(-1, 1).where(CLOSE.index >= 126, 0.0)


def keltner() -> Series:
    middle, reach = ewm(CLOSE, 20), 2 * wilder(TRUE_RANGE, 20)
    position, out = 0, []
    for day in range(DAYS):
        warm = day >= 20
        if warm and CLOSE[day] > middle[day] + reach[day]:
            position = 1
        elif warm and CLOSE[day] < middle[day] - reach[day]:
            position = -1
        elif (position == 1 and CLOSE[day] < middle[day]) or (position == -1 and CLOSE[day] > middle[day]):
            position = 0
        out.append(position)
    return Series(out, dtype=float)


def volatility_breakout() -> Series:
    usual, out, side, until = 1.5 * wilder(TRUE_RANGE, 14), [], 0.0, -1
    for day in range(DAYS):
        if day >= 15 and abs(CLOSE[day] - CLOSE[day - 1]) > usual[day - 1]:
            side, until = np.sign(CLOSE[day] - CLOSE[day - 1]), day + 5
        out.append(side if day < until else 0.0)
    return Series(out)


def stochastic() -> Series:
    low, high = LOW.rolling(14).min(), HIGH.rolling(14).max()
    return hysteresis(100 * (CLOSE - low) / (high - low) - 50, 30)


def gap() -> Series:
    return np.log(OPEN / CLOSE.shift())


def overnight() -> Series:
    score = ewm(gap(), 60) / np.sqrt(ewm(gap() ** 2, 60)) * np.sqrt(60) / 2
    return score.where(CLOSE.index >= 60, 0.0)


def turn_of_month() -> Series:
    """Held over the last weekday of each month and the first three, as decided at the close before."""
    days = pd.bdate_range("2015-01-05", periods=DAYS + 1)
    calendar = pd.bdate_range("2015-01-01", "2019-12-31").to_series()
    place = calendar.groupby([calendar.dt.year, calendar.dt.month])
    first, last = place.cumcount(), place.cumcount(ascending=False)
    return Series([float(first[day] < 3 or last[day] < 1) for day in days[1:]])


def weekday() -> Series:
    days = pd.bdate_range("2015-01-05", periods=DAYS + 1).dayofweek
    out = []
    for day in range(DAYS):
        past = RETURN[1 : day + 1]
        same = past[days[1 : day + 1] == days[day + 1]]
        t = (same.mean() - past.mean()) / (past.std(ddof=0) / np.sqrt(len(same))) if len(same) >= 50 else 0.0
        out.append(np.clip(t / 2, -1, 1))
    return Series(out)


def vwap() -> Series:
    fair = (VWAP * VOLUME).rolling(20).sum() / VOLUME.rolling(20).sum()
    away = np.log(CLOSE / fair)
    return (-away / np.sqrt(ewm(away**2, 60)) / 2).where(away.expanding().count() >= 60, 0.0)


def order_flow() -> Series:
    bought = VOLUME * (2 * norm.cdf(RETURN / np.sqrt(ewm(RETURN**2, 60))) - 1)
    traded = VOLUME.where(RETURN.notna())
    return (ewm(bought, 20) / ewm(traded, 20) / 0.5).where(CLOSE.index >= 20, 0.0)


def signed_jump() -> Series:
    plus, minus = (Series(PANEL.values[f"semivariance_{side}"][:, 0]) for side in ("plus", "minus"))
    return (-ewm((plus - minus) / (plus + minus), 10) / 0.5).where(CLOSE.index >= 9, 0.0)


def consensus() -> Series:
    ratios = pd.concat(
        [extra(f"forecast.{m}.return") / extra(f"forecast.{m}.return.sd") for m in ("arima", "lstm")], axis=1
    )
    return ratios.mean(axis=1) / 0.1


def surprise() -> Series:
    score = extra("sentiment.score")
    new = score - ewm(score, 20).shift()
    return (new / np.sqrt(ewm(new**2, 20)) / 2).where(CLOSE.index >= 20, 0.0)


def regime_switch() -> Series:
    stress = extra("regime.stressed")
    return (1 - stress) * scaled(63, 121).clip(-1, 1) - stress * scaled(5, 121).clip(-1, 1)


def volatility_regime() -> Series:
    fast = ewm(RETURN**2, 10)
    score = ewm(RETURN, 10) / np.sqrt(fast / 10)
    side = np.where(fast > 1.5 * ewm(RETURN**2, 120), -1, 1)
    return (side * score).where(CLOSE.index >= 120, 0.0)


def fear() -> Series:
    away = np.log(extra("index.VIX") / ewm(extra("index.VIX"), 60))
    score = (away / np.sqrt(ewm(away**2, 60))).where(CLOSE.index >= 59)
    return (-hysteresis(score, 2.0)).clip(lower=0)


DEFINITIONS: list[tuple[Strategy, Callable[[], Series]]] = [
    (SmaCross(fast=5, slow=50, band=0.01), sma_cross),
    (Macd(), macd),
    (CtaMomentum(), cta),
    (KeltnerBreakout(), keltner),
    (VolatilityBreakout(), volatility_breakout),
    (ZScoreReversion(), lambda: -(CLOSE - CLOSE.rolling(20).mean()) / CLOSE.rolling(20).std(ddof=0) / 2),
    (StochasticReversion(), stochastic),
    (ShortTermReversal(), lambda: -scaled(5, 121)),
    (InternalBarStrength(), lambda: 1 - 2 * (CLOSE - LOW) / (HIGH - LOW)),
    (GapReversal(), lambda: (-gap() / np.sqrt(ewm(gap() ** 2, 60)) / 2).where(CLOSE.index >= 60, 0.0)),
    (OvernightMomentum(), overnight),
    (TurnOfMonth(), turn_of_month),
    (Seasonality(), weekday),
    (VwapReversion(), vwap),
    (OrderFlowImbalance(), order_flow),
    (SignedJump(), signed_jump),
    (ForecastReturn(model="arima"), lambda: extra("forecast.arima.return") / extra("forecast.arima.return.sd") / 0.1),
    (ForecastConsensus(models=("arima", "lstm", "none")), consensus),
    (SentimentLevel(), lambda: extra("sentiment.score") / 0.5),
    (SentimentSurprise(), surprise),
    (RegimeExposure(aversion=2.0), lambda: 1 - 2 * extra("regime.stressed")),
    (RegimeSwitch(), regime_switch),
    (VolatilityRegime(), volatility_regime),
    (FearGauge(), fear),
]


@pytest.mark.parametrize(("strategy", "definition"), DEFINITIONS, ids=[type(each).__name__ for each, _ in DEFINITIONS])
def test_a_signal_is_that_of_the_definition(strategy: Strategy, definition: Callable[[], Series]) -> None:
    expected = definition().fillna(0.0).clip(-1, 1)
    assert expected.nunique() > 1
    np.testing.assert_allclose(signals(strategy, PANEL)[:, 0], expected, atol=1e-9)


def test_pairs_trade_both_legs_against_each_other() -> None:
    panel = market(instruments=3)
    found = signals(PairReversion(partners={"I0": "I2", "I2": "I0"}), panel)
    spread = Series(np.log(panel.values["close"][:, 0] / panel.values["close"][:, 2]))
    score = (spread - spread.rolling(60).mean()) / spread.rolling(60).std(ddof=0)
    np.testing.assert_array_equal(found[:, 0], hysteresis(score, 2.0))
    np.testing.assert_array_equal(found[:, 2], -found[:, 0])
    assert (found[:, 1] == 0).all()


@pytest.mark.parametrize(("strategy", "sign"), [(RelativeMomentum(126), 1), (RelativeReversal(5), -1)])
def test_relative_strength_is_the_return_beyond_the_market(strategy: RelativeMomentum, sign: int) -> None:
    panel = market(instruments=4)
    returns = pd.DataFrame(np.log(panel.values["close"])).diff()
    excess = returns.sub(returns.mean(axis=1), axis=0)
    score = excess.rolling(strategy.lookback).sum() / np.sqrt(ewm(excess**2, 121) * strategy.lookback)
    np.testing.assert_allclose(signals(strategy, panel), sign * score.clip(-1, 1).fillna(0.0), atol=1e-9)


def test_an_instrument_that_was_away_is_compared_with_all_that_the_market_did_meanwhile() -> None:
    close = np.array([[10.0, 20.0, 5.0], [11.0, np.nan, 5.0], [11.0, np.nan, 6.0], [12.0, 25.0, 6.0]])
    values = dict.fromkeys(FIELDS, close)
    told, owed = with_others([RelativeReversal()], BarPanel(("A", "B", "C"), np.arange(4), values))
    first, second = np.log(11 / 10) / 2, np.log(6 / 5) / 2
    # The return of B since its last bar counts at the bar at which it is known, with those of the others.
    third = (np.log(12 / 11) + np.log(25 / 20)) / 3
    np.testing.assert_allclose(told.extra["market.return"][3], [third, first + second + third, third])
    np.testing.assert_array_equal(owed, np.zeros(3))


def test_stale_opens_keep_the_night_from_being_traded() -> None:
    values = dict(PANEL.values)
    values["open"] = np.vstack([values["close"][:1], values["close"][:-1]])
    stale = BarPanel(PANEL.instruments, PANEL.times, values)
    one_price = BarPanel(PANEL.instruments, PANEL.times, dict.fromkeys(FIELDS, values["close"]))
    for panel in (stale, one_price):
        for strategy in (GapReversal(), OvernightMomentum()):
            assert (signals(strategy, panel) == 0).all()


@pytest.mark.parametrize("cycle", ["hour", "month"])
def test_other_cycles_find_their_season(cycle: str) -> None:
    """Every fourth slot of the cycle rises, the others fall: what is held at their close is long before they begin."""
    step = HOUR if cycle == "hour" else 24 * HOUR
    times = pd.date_range("2010-01-01", periods=3000, freq=pd.Timedelta(step, "ns"))
    slot = (times.hour if cycle == "hour" else times.month) % 4
    moves = np.where(slot == 0, 0.02, -0.005) + np.random.default_rng(0).normal(0, 0.01, 3000)
    close = 100 * np.exp(moves.cumsum())[:, None]
    ends = times.to_numpy("datetime64[ns]").astype(np.int64) + step
    found = signals(Seasonality(cycle=cycle), BarPanel(("A",), ends, dict.fromkeys(FIELDS, close)))[:, 0]  # type: ignore[arg-type]
    following = np.roll(slot, -1)[:-1]
    late = np.arange(2999) > 1500
    weekend = np.zeros(2999, dtype=bool) if cycle == "hour" else times[1:].dayofweek >= 5
    assert (found[:-1][late & (following == 0) & ~weekend] > 0).all()
    assert (found[:-1][late & (following != 0) & ~weekend] < 0).mean() > 0.9
