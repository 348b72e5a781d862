"""Controls: what every strategy must be compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qts.bandit.draws import Words, codes, hashed, word
from qts.errors import DataError
from qts.market.bar import BarPanel
from qts.strategy.base import Array, Bar, State, good_close, read, require
from qts.strategy.sweep import Swept


@dataclass(frozen=True)
class Flat(Swept):
    """No position, ever: the arm that a bandit takes when nothing else pays."""

    def start(self, instruments: int) -> State:
        return {}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        return state, np.zeros(len(bar.close))

    def along(self, bars: BarPanel) -> Array:
        return np.zeros(bars.values["close"].shape)


@dataclass(frozen=True)
class BuyAndHold(Swept):
    """Long from the first bar on."""

    def start(self, instruments: int) -> State:
        return {"position": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        position = np.where(np.isnan(good_close(bar)), read(state, "position"), 1.0)
        return {"position": position}, position.copy()

    def along(self, bars: BarPanel) -> Array:
        return np.ones(bars.values["close"].shape)


@dataclass(frozen=True)
class Random(Swept):
    """A fair coin between long and short, thrown anew every `hold` bars: what luck alone earns, and what it costs.

    The coin is a hash of the seed, the bar's time and the instrument's name, so that a replay throws the same and no
    generator is kept.

    Attributes:
        seed: another one throws other coins.
        hold: bars between two throws.
    """

    seed: int = 0
    hold: int = 5

    def __post_init__(self) -> None:
        require(self.hold >= 1, self, "hold >= 1")

    def start(self, instruments: int) -> State:
        return {"bars": np.zeros(instruments), "position": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        seen, bars = ~np.isnan(good_close(bar)), read(state, "bars")
        coin = self._coins(word(bar.time), bar.instruments, len(seen))
        position = np.where(seen & (bars % self.hold == 0), coin, read(state, "position"))
        return {"bars": bars + seen, "position": position}, position.copy()

    def along(self, bars: BarPanel) -> Array:
        thrown = np.arange(len(bars)) // self.hold * self.hold
        times = bars.times[thrown].astype(np.uint64)[:, None]
        return self._coins(times, bars.instruments, len(bars.instruments))

    def _coins(self, times: Words, names: tuple[str, ...], count: int) -> Array:
        if len(names) != count:
            raise DataError(f"{self!r} throws a coin by instrument name, but got {len(names)} names for {count} rows.")
        key = hashed(word(self.seed), times, codes(names))
        return np.where(key >> np.uint64(63), 1.0, -1.0)
