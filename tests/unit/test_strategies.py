"""Invariants that every built-in strategy keeps, tested on all of them at once."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.market.bar import FIELDS, Array, Bar, State
from qts.strategy import registry
from qts.strategy.base import Strategy

#: Every class with windows so short that some dozens of bars take it through all of its cases.
SHORT = registry.build(
    {
        "Flat": {"class": "Flat"},
        "BuyAndHold": {"class": "BuyAndHold"},
        "Random": {"class": "Random", "hold": 2},
        "EwmaCross": {"class": "EwmaCross", "fast": 2, "slow": 5},
        "TimeSeriesMomentum": {"class": "TimeSeriesMomentum", "lookback": 4, "span": 5},
        "ChannelBreakout": {"class": "ChannelBreakout", "entry": 4, "leave": 2},
        "BollingerReversion": {"class": "BollingerReversion", "length": 5, "entry": 1.0},
        "RsiReversion": {"class": "RsiReversion", "length": 3},
        "VolatilityTarget": {"class": "VolatilityTarget", "span": 3},
        "VolatilityManaged": {"class": "VolatilityManaged", "span": 3, "minimum": 6},
        "ForecastVolatility": {"class": "ForecastVolatility", "span": 3},
    }
)
EVERY = [pytest.param(strategy, id=f"{name}-short") for name, strategy in SHORT.items()]
DEFAULTS = [pytest.param(strategy, id=name) for name, strategy in registry.all().items()]


@dataclass(frozen=True)
class Bars:
    """Bars whose every case a strategy may meet: gaps, missing highs, flat stretches, late starts, odd forecasts."""

    seed: int
    instruments: int
    length: int

    def __getitem__(self, times: slice) -> list[Bar]:
        rng = np.random.default_rng(self.seed)
        shape = (self.length, self.instruments)
        moves = rng.standard_t(3, shape) * 10 ** rng.uniform(-4, -1, self.instruments)
        moves[rng.random(shape) < 0.2] = 0.0
        close = 10 ** rng.uniform(-3, 6, self.instruments) * np.exp(np.clip(moves, -0.5, 0.5).cumsum(axis=0))
        high, low = close * (1 + rng.exponential(0.01, shape)), close * (1 - rng.uniform(0, 0.01, shape))
        high[rng.random(shape) < 0.1] = np.nan
        low[rng.random(shape) < 0.1] = np.nan
        forecast = rng.exponential(1e-4, shape)
        forecast[rng.random(shape) < 0.3] = np.nan
        forecast[rng.random(shape) < 0.05] = 0.0
        close[rng.random(shape) < rng.choice([0.0, 0.1, 0.5])] = np.nan
        close[: rng.integers(0, 5), : self.instruments // 2] = np.nan
        return [bar_of(time, close[time], high[time], low[time], forecast[time]) for time in range(self.length)[times]]


def bar_of(
    time: int, close: Array, high: Array | None = None, low: Array | None = None, forecast: Array | None = None
) -> Bar:
    values = dict.fromkeys(FIELDS, close) | {"volume": np.ones(len(close)), "trades": np.ones(len(close))}
    values["high"] = close if high is None else high
    values["low"] = close if low is None else low
    extra = {} if forecast is None else {"forecast.har.variance": forecast}
    return Bar(time * 60_000_000_000, **values, extra=extra)


def run(strategy: Strategy, bars: list[Bar], state: State | None = None) -> tuple[State, Array]:
    instruments = len(bars[0].close)
    state = strategy.start(instruments) if state is None else state
    signals = []
    for bar in bars:
        state, signal = strategy.step(state, bar)
        signals.append(signal)
    return state, np.array(signals)


def assert_same(one: State, two: State) -> None:
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def saved_and_loaded(state: State) -> State:
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file) as arrays:
        return dict(arrays)


paths = st.builds(Bars, seed=st.integers(0, 2**32), instruments=st.integers(1, 5), length=st.integers(2, 60))
every_strategy = pytest.mark.parametrize("strategy", EVERY)
few = settings(max_examples=12, deadline=None)


def test_the_short_ones_are_all_of_them() -> None:
    assert SHORT.keys() == registry.all().keys()


@every_strategy
@few
@given(bars=paths, cut=st.integers(1, 59))
def test_the_future_never_changes_the_past(strategy: Strategy, bars: Bars, cut: int) -> None:
    _, whole = run(strategy, bars[:])
    _, part = run(strategy, bars[:cut])
    np.testing.assert_array_equal(whole[:cut], part)


@every_strategy
@few
@given(bars=paths, cut=st.integers(1, 59))
def test_a_saved_state_goes_on_as_if_nothing_had_happened(strategy: Strategy, bars: Bars, cut: int) -> None:
    state, whole = run(strategy, bars[:])
    cut = min(cut, bars.length - 1)
    middle, _ = run(strategy, bars[:cut])
    restarted, rest = run(strategy, bars[cut:], saved_and_loaded(middle))
    np.testing.assert_array_equal(whole[cut:], rest)
    assert_same(state, restarted)


@pytest.mark.parametrize("strategy", EVERY + DEFAULTS)
@pytest.mark.parametrize("buckets", [7, 64])
def test_the_bits_do_not_depend_on_the_buckets(strategy: Strategy, buckets: int) -> None:
    bars = Bars(seed=5, instruments=64, length=40)[:]
    state, whole = run(strategy, bars)
    for bucket in range(buckets):
        rows = np.arange(bucket, 64, buckets)
        part_state, part = run(strategy, [bar.rows(rows) for bar in bars])
        np.testing.assert_array_equal(whole[:, rows], part)
        assert_same({name: values[rows] for name, values in state.items()}, part_state)


@every_strategy
@few
@given(bars=paths)
def test_signals_are_positions(strategy: Strategy, bars: Bars) -> None:
    state, signals = run(strategy, bars[:])
    assert signals.shape == (bars.length, bars.instruments)
    assert signals.dtype == np.float64
    assert (np.abs(signals) <= 1).all()
    assert all(len(values) == bars.instruments for values in state.values())
    seen = np.cumsum([np.isfinite(bar.close) for bar in bars[:]], axis=0) > 0
    assert (signals[~seen] == 0).all()


@every_strategy
@few
@given(bars=paths, worthless=st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -5.0]))
def test_a_bar_without_a_usable_close_changes_nothing(strategy: Strategy, bars: Bars, worthless: float) -> None:
    state, signals = run(strategy, bars[:])
    close = np.full(bars.instruments, worthless)
    missing = bar_of(bars.length, close, high=close + 2, low=close - 2, forecast=np.full(bars.instruments, 1e-6))
    after, signal = strategy.step(state, missing)
    np.testing.assert_array_equal(signal, signals[-1])
    assert_same(state, after)


@every_strategy
@few
@given(bars=paths)
def test_a_step_changes_neither_its_state_nor_earlier_signals(strategy: Strategy, bars: Bars) -> None:
    *before, last = bars[:]
    state, signals = run(strategy, before)
    kept = {name: values.copy() for name, values in state.items()}
    _, again = strategy.step(state, last)
    again[:] = 7.0
    assert_same(state, kept)
    np.testing.assert_array_equal(signals, run(strategy, before)[1])


@pytest.mark.parametrize("strategy", [entry for entry in EVERY if not isinstance(entry.values[0], registry.Random)])
@few
@given(bars=paths, power=st.integers(-6, 6))
def test_the_currency_unit_does_not_matter(strategy: Strategy, bars: Bars, power: int) -> None:
    # But for Random, whose coin is a hash of the price.
    scale = 2.0**power
    scaled = [
        bar_of(number, bar.close * scale, bar.high * scale, bar.low * scale, bar.extra["forecast.har.variance"])
        for number, bar in enumerate(bars[:])
    ]
    np.testing.assert_array_equal(run(strategy, bars[:])[1], run(strategy, scaled)[1])


@pytest.mark.parametrize("strategy", EVERY + DEFAULTS)
def test_a_price_that_never_moves_raises_nothing(strategy: Strategy) -> None:
    _, signals = run(strategy, [bar_of(time, np.array([100.0])) for time in range(300)])
    moved = isinstance(strategy, (registry.BuyAndHold, registry.Random))
    assert moved or (signals == 0).all()
