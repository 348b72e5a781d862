"""Manual overrides: the rows of the `controls` table folded into what holds now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qts.errors import DataError, did_you_mean

StateArray = npt.NDArray[np.int8]

#: Trading states, the stricter the higher: all orders, only orders that reduce a position, no orders.
STATES = ("active", "reducing", "halted")
ACTIVE, REDUCING, HALTED = range(3)

#: What an action does: the trading state that it sets, and whether positions are closed.
ACTIONS = {
    "halt": (HALTED, False),
    "reduce": (REDUCING, False),
    "flatten": (REDUCING, True),
    "resume": (ACTIVE, False),
}


@dataclass(frozen=True)
class Controls:
    """What holds after all rows of the control log.

    Attributes:
        state: the account's trading state, from the last action on scope '*'.
        states: trading state by instrument, codes of `STATES`, shape (N,).
        flattened: instruments whose position is to be closed, shape (N,).
        resumes: how many times the account was resumed; a tripped breaker holds until this has grown since its trip.
    """

    state: str
    states: StateArray
    flattened: npt.NDArray[np.bool_]
    resumes: int = 0

    @property
    def halted_instruments(self) -> npt.NDArray[np.bool_]:
        """Instruments that may not trade at all, shape (N,)."""
        halted: npt.NDArray[np.bool_] = self.states == HALTED
        return halted

    @property
    def flatten(self) -> bool:
        """Whether any position is to be closed."""
        return bool(self.flattened.any())


def none(instruments: int) -> Controls:
    """The controls of an empty log: all active."""
    return Controls("active", np.zeros(instruments, dtype=np.int8), np.zeros(instruments, dtype=bool))


def fold(rows: Iterable[Mapping[str, Any]], instruments: Sequence[str]) -> Controls:
    """The controls in force after all rows, taken in (at, control_id) order: the later row wins.

    An action on scope '*' sets the account and every instrument; one on an instrument sets that one, so that a halted
    account with one resumed instrument trades that instrument. A scope that is not in `instruments` changes nothing.

    Args:
        rows: of the `controls` table (`table.to_pylist()`): action, scope, at, control_id.
        instruments: names in array order.

    Raises:
        DataError: an action that does not exist.
    """
    account, resumes = ACTIVE, 0
    states = np.zeros(len(instruments), dtype=np.int8)
    flattened = np.zeros(len(instruments), dtype=bool)
    position = {name: index for index, name in enumerate(instruments)}
    for row in sorted(rows, key=lambda row: (row["at"], row["control_id"])):
        action, scope = row["action"], row["scope"]
        if action not in ACTIONS:
            raise DataError(
                f"Control {row['control_id']!r} has action {action!r}; known are {', '.join(ACTIONS)}."
                f"{did_you_mean(str(action), ACTIONS)}"
            )
        state, flatten = ACTIONS[action]
        if scope == "*":
            account, resumes = state, resumes + (action == "resume")
            states[:], flattened[:] = state, flatten
        elif scope in position:
            states[position[scope]], flattened[position[scope]] = state, flatten
    return Controls(STATES[account], states, flattened, resumes)
