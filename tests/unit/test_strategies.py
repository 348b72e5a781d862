"""Invariants that every built-in strategy keeps, tested on all of them at once."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.market.bar import FIELDS, Array, Bar, BarPanel, State
from qts.strategy import registry
from qts.strategy.base import Strategy
from qts.strategy.sweep import signals as swept
from qts.trading.across import with_others

PARTNERS = {f"I{number:02d}": f"I{number ^ 1:02d}" for number in range(20)}
#: Every class with windows so short that some dozens of bars take it through all of its cases.
SHORT = registry.build(
    {
        "Flat": {"class": "Flat"},
        "BuyAndHold": {"class": "BuyAndHold"},
        "Random": {"class": "Random", "hold": 2},
        "EwmaCross": {"class": "EwmaCross", "fast": 2, "slow": 5},
        "SmaCross": {"class": "SmaCross", "fast": 2, "slow": 5, "band": 0.001},
        "Macd": {"class": "Macd", "fast": 2, "slow": 4, "smooth": 3},
        "TimeSeriesMomentum": {"class": "TimeSeriesMomentum", "lookback": 4, "span": 5},
        "CtaMomentum": {"class": "CtaMomentum", "short": 4, "long": 8, "speed": 0.2},
        "ChannelBreakout": {"class": "ChannelBreakout", "entry": 4, "leave": 2},
        "KeltnerBreakout": {"class": "KeltnerBreakout", "length": 4, "width": 0.5},
        "VolatilityBreakout": {"class": "VolatilityBreakout", "length": 3, "width": 1.0, "hold": 2},
        "BollingerReversion": {"class": "BollingerReversion", "length": 5, "entry": 1.0},
        "ZScoreReversion": {"class": "ZScoreReversion", "length": 5},
        "RsiReversion": {"class": "RsiReversion", "length": 3},
        "StochasticReversion": {"class": "StochasticReversion", "length": 4},
        "ShortTermReversal": {"class": "ShortTermReversal", "lookback": 2, "span": 4},
        "InternalBarStrength": {"class": "InternalBarStrength"},
        "GapReversal": {"class": "GapReversal", "span": 4},
        "OvernightMomentum": {"class": "OvernightMomentum", "span": 4},
        "TurnOfMonth": {"class": "TurnOfMonth"},
        "Seasonality": {"class": "Seasonality", "minimum": 3},
        "VolatilityTarget": {"class": "VolatilityTarget", "span": 3},
        "VolatilityManaged": {"class": "VolatilityManaged", "span": 3, "minimum": 6},
        "VwapReversion": {"class": "VwapReversion", "length": 3, "span": 4},
        "OrderFlowImbalance": {"class": "OrderFlowImbalance", "span": 4, "scale": 4},
        "SignedJump": {"class": "SignedJump", "span": 3},
        "PairReversion": {"class": "PairReversion", "partners": PARTNERS, "length": 5, "entry": 1.0},
        "RelativeMomentum": {"class": "RelativeMomentum", "lookback": 4, "span": 4},
        "RelativeReversal": {"class": "RelativeReversal", "lookback": 2, "span": 4},
        "ForecastVolatility": {"class": "ForecastVolatility", "span": 3},
        "ForecastReturn": {"class": "ForecastReturn"},
        "ForecastConsensus": {"class": "ForecastConsensus", "models": ["ewma", "lstm"]},
        "SentimentLevel": {"class": "SentimentLevel"},
        "SentimentSurprise": {"class": "SentimentSurprise", "span": 3},
        "RegimeExposure": {"class": "RegimeExposure", "aversion": 2.0},
        "RegimeSwitch": {"class": "RegimeSwitch", "fast": 2, "slow": 5, "span": 4},
        "VolatilityRegime": {"class": "VolatilityRegime", "fast": 2, "slow": 6},
        "FearGauge": {"class": "FearGauge", "span": 3, "entry": 0.5},
    }
)
EVERY = [pytest.param(strategy, id=f"{name}-short") for name, strategy in SHORT.items()]
DEFAULTS = [pytest.param(strategy, id=name) for name, strategy in registry.all().items()]
PRICES = ("open", "high", "low", "close", "vwap", "spread")
DAY = 86_400_000_000_000


@dataclass(frozen=True)
class Bars:
    """Bars whose every case a strategy may meet: gaps, missing highs, flat stretches, late starts, odd forecasts."""

    seed: int
    instruments: int
    length: int

    def panel(self) -> BarPanel:
        rng = np.random.default_rng(self.seed)
        shape = (self.length, self.instruments)
        moves = rng.standard_t(3, shape) * 10 ** rng.uniform(-4, -1, self.instruments)
        moves[rng.random(shape) < 0.2] = 0.0
        close = 10 ** rng.uniform(-3, 6, self.instruments) * np.exp(np.clip(moves, -0.5, 0.5).cumsum(axis=0))
        values = {name: np.full(shape, np.nan) for name in FIELDS}
        values |= {"open": np.roll(close, 1, axis=0) * (1 + rng.choice([0, 0.01], shape, p=[0.1, 0.9]) * moves)}
        values |= {"high": close * (1 + rng.exponential(0.01, shape)), "low": close * (1 - rng.uniform(0, 0.01, shape))}
        values |= {
            "vwap": close * (1 + rng.normal(0, 1e-3, shape)),
            "volume": rng.integers(0, 1000, shape).astype(float),
        }
        for name in ("semivariance_minus", "semivariance_plus"):
            values[name] = rng.exponential(1e-4, shape)
        for name in ("open", "high", "low", "vwap", "volume", "semivariance_plus"):
            values[name][rng.random(shape) < 0.1] = np.nan
        extra = {name: drawn(rng, shape) for name, drawn in EXTRAS.items()}
        for column in extra.values():
            column[rng.random(shape) < rng.choice([0.0, 0.3])] = np.nan
        extra["forecast.log_har.variance"][rng.random(shape) < 0.05] = 0.0
        close[rng.random(shape) < rng.choice([0.0, 0.1, 0.5])] = np.nan
        close[: rng.integers(0, 5), : self.instruments // 2] = np.nan
        names = tuple(f"I{number:02d}" for number in range(self.instruments))
        times = (19_000 + np.arange(self.length)) * DAY
        panel, _ = with_others(SHORT.values(), BarPanel(names, times, values | {"close": close}, extra))
        return panel

    def __getitem__(self, times: slice) -> list[Bar]:
        return list(self.panel())[times]


EXTRAS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
    "forecast.log_har.variance": lambda rng, shape: rng.exponential(1e-4, shape),
    "forecast.ewma.return": lambda rng, shape: rng.normal(0, 1e-3, shape),
    "forecast.ewma.return.sd": lambda rng, shape: rng.exponential(1e-2, shape),
    "forecast.lstm.return": lambda rng, shape: rng.normal(0, 1e-3, shape),
    "forecast.lstm.return.sd": lambda rng, shape: rng.exponential(1e-2, shape),
    "sentiment.score": lambda rng, shape: rng.uniform(-1, 1, shape),
    "regime.stressed": lambda rng, shape: rng.random(shape),
    "index.VIX": lambda rng, shape: np.repeat(rng.uniform(10, 40, (shape[0], 1)), shape[1], axis=1),
}


def bar_of(time: int, close: Array, high: Array | None = None, low: Array | None = None) -> Bar:
    values = dict.fromkeys(FIELDS, close) | {"volume": np.ones(len(close)), "trades": np.ones(len(close))}
    values["high"] = close if high is None else high
    values["low"] = close if low is None else low
    extra = {name: np.full(len(close), 0.5) for name in EXTRAS}
    return Bar(time * DAY, **values, extra=extra, instruments=tuple(f"I{number:02d}" for number in range(len(close))))


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
few = settings(max_examples=5, deadline=None)


def test_the_short_ones_are_all_of_them() -> None:
    assert SHORT.keys() == registry.all().keys()


@every_strategy
@few
@given(bars=paths, cut=st.integers(1, 59))
def test_the_future_never_changes_the_past(strategy: Strategy, bars: Bars, cut: int) -> None:
    _, whole = run(strategy, bars[:])
    _, part = run(strategy, bars[:cut])
    np.testing.assert_array_equal(whole[:cut], part)


@pytest.mark.parametrize("strategy", EVERY + DEFAULTS)
@few
@given(seed=st.integers(0, 2**32), instruments=st.integers(1, 5), long=st.booleans())
def test_a_signal_over_the_panel_is_that_of_the_steps(
    strategy: Strategy, seed: int, instruments: int, long: bool
) -> None:
    panel = Bars(seed, instruments, 250 if long else 50).panel()
    _, stepped = run(strategy, list(panel))
    np.testing.assert_allclose(swept(strategy, panel), stepped, rtol=0, atol=1e-9)


@every_strategy
def test_every_case_is_met(strategy: Strategy) -> None:
    """Or the other tests of this file would hold of nothing."""
    _, signals = run(strategy, Bars(seed=3, instruments=20, length=60)[:])
    one_sided = {
        "BuyAndHold",
        "TurnOfMonth",
        "VolatilityTarget",
        "VolatilityManaged",
        "ForecastVolatility",
        "FearGauge",
    }
    name = type(strategy).__name__
    assert (signals > 0).any() or name == "Flat"
    assert (signals < 0).any() == (name not in one_sided | {"Flat"})


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


@every_strategy
@pytest.mark.parametrize("buckets", [7, 64])
def test_the_bits_do_not_depend_on_the_buckets(strategy: Strategy, buckets: int) -> None:
    bars = Bars(seed=5, instruments=64, length=30)[:]
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
    missing = bar_of(19_000 + bars.length, close, high=close + 2, low=close - 2)
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


@every_strategy
@few
@given(bars=paths, power=st.integers(-6, 6))
def test_the_currency_unit_does_not_matter(strategy: Strategy, bars: Bars, power: int) -> None:
    panel = bars.panel()
    values = {name: each * 2.0**power if name in PRICES else each for name, each in panel.values.items()}
    scaled, _ = with_others(SHORT.values(), BarPanel(panel.instruments, panel.times, values, panel.extra))
    np.testing.assert_array_equal(run(strategy, list(panel))[1], run(strategy, list(scaled))[1])


@pytest.mark.parametrize("strategy", EVERY + DEFAULTS)
def test_a_price_that_never_moves_raises_nothing(strategy: Strategy) -> None:
    _, signals = run(strategy, [bar_of(19_000 + time, np.array([100.0])) for time in range(300)])
    by_date_or_extras = (
        "BuyAndHold",
        "Random",
        "TurnOfMonth",
        "Forecast",
        "Sentiment",
        "RegimeExposure",
        "RegimeSwitch",
    )
    assert type(strategy).__name__.startswith(by_date_or_extras) or (signals == 0).all()


@pytest.mark.parametrize("strategy", EVERY + DEFAULTS)
def test_bars_without_extras_or_volume_raise_nothing(strategy: Strategy) -> None:
    panel = Bars(seed=1, instruments=3, length=300).panel()
    values = {
        name: panel.values["close"] if name in ("open", "high", "low", "close") else each * np.nan
        for name, each in panel.values.items()
    }
    bare = BarPanel(panel.instruments, panel.times, values)
    _, signals = run(strategy, list(bare))
    assert np.isfinite(signals).all()
    np.testing.assert_allclose(swept(strategy, bare), signals, rtol=0, atol=1e-9)


@few
@given(bars=paths, cut=st.integers(1, 59), order=st.randoms(use_true_random=False))
def test_what_is_known_of_others_depends_on_neither_batches_nor_order(bars: Bars, cut: int, order: Random) -> None:
    panel = bars.panel()
    cut = min(cut, bars.length - 1)
    close = panel.values["close"]
    first, owed = with_others(SHORT.values(), part(panel, slice(0, cut)))
    last = np.array(
        [column[np.isfinite(column)][-1] if np.isfinite(column).any() else np.nan for column in close[:cut].T]
    )
    second, _ = with_others(SHORT.values(), part(panel, slice(cut, None)), last, owed)
    shuffled = order.sample(range(bars.instruments), bars.instruments)
    mixed, _ = with_others(SHORT.values(), part(panel, slice(None), shuffled))
    for name, whole in panel.extra.items():
        np.testing.assert_array_equal(whole, np.concatenate([first.extra[name], second.extra[name]]), err_msg=name)
        np.testing.assert_array_equal(whole[:, shuffled], mixed.extra[name], err_msg=name)


def part(panel: BarPanel, rows: slice, columns: list[int] | slice = slice(None)) -> BarPanel:
    """Some bars, with the extras of other origin than `with_others`."""
    names = np.array(panel.instruments)[columns]
    values, extra = (
        {name: each[rows][:, columns] for name, each in arrays.items()} for arrays in (panel.values, panel.extra)
    )
    return BarPanel(tuple(names), panel.times[rows], values, {name: extra[name] for name in EXTRAS})
