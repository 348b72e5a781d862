"""Controls: what every strategy must be compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qts.bandit.draws import hashed, word
from qts.strategy.base import Array, Bar, State, good_close, read, require


@dataclass(frozen=True)
class Flat:
    """No position, ever: the arm that a bandit takes when nothing else pays."""

    def start(self, instruments: int) -> State:
        return {}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        return state, np.zeros(len(bar.close))


@dataclass(frozen=True)
class BuyAndHold:
    """Long from the first bar on."""

    def start(self, instruments: int) -> State:
        return {"position": np.zeros(instruments)}

    def step(self, state: State, bar: Bar) -> tuple[State, Array]:
        position = np.where(np.isnan(good_close(bar)), read(state, "position"), 1.0)
        return {"position": position}, position.copy()


@dataclass(frozen=True)
class Random:
    """A fair coin between long and short, thrown anew every `hold` bars: what luck alone earns, and what it costs.

    The coin is a hash of the seed, the bar's time and the close, so that a replay throws the same, no generator is kept
    and instruments, which a strategy knows by their prices only, differ. A hash says nothing about the next price.

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
        close = good_close(bar)
        seen, bars = ~np.isnan(close), read(state, "bars")
        prices: npt.NDArray[np.uint64] = np.ascontiguousarray(close).view(np.uint64)
        key = hashed(word(self.seed), word(bar.time), prices)
        coin = np.where(key >> np.uint64(63), 1.0, -1.0)
        position = np.where(seen & (bars % self.hold == 0), coin, read(state, "position"))
        return {"bars": bars + seen, "position": position}, position.copy()
