"""What recursions carry from bar to bar: with it a new bar costs a step, not a pass over the whole past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.signal import lfilter

from qts.market.bar import Array, IntArray, State

#: Bars behind the newest that windows reach back to, the newest included: the month of a HAR.
KEPT = 22
#: Bars whose mean an exponential average starts from.
START = 20


@dataclass(frozen=True)
class Memory:
    """Recursions over rows of many columns that may go on where earlier rows broke off.

    A model asks for its recursive features here, each under a name of its own. Over a whole history they begin with
    it; where the rows are the last `KEPT` that were seen and new ones behind them, they go on from what was `carried`
    of the row before. Both ways take the same steps in the same order, so they give the same bits.

    Attributes:
        length: rows of each column, shape (N,).
        carried: by name the values of the row before the first, first axis N; None for a whole history.
        after: filled by the recursions: what to carry on to the last `KEPT` rows and those to come; NaN for a column
            that has no row before them, or no value there yet.
    """

    length: IntArray
    carried: Mapping[str, Array] | None = None
    after: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def whole(cls, values: Array) -> Memory:
        """Of columns that all begin in row 0 and end in the last row, shape (T, N)."""
        return cls(np.full(values.shape[1], len(values), np.int64))

    def before(self, name: str) -> Array | None:
        """The carried value, None at the beginning of a history."""
        return None if self.carried is None else self.carried[name]

    def keep(self, name: str, values: Array) -> Array:
        """Remembers what a recursion's rows, shape (T, N, ...), leave for those to come; returns them."""
        row = self.length - 1 - KEPT
        column = np.arange(len(row))
        before = self.before(name)
        earlier = np.full(values.shape[1:], np.nan) if before is None else before
        inside = (row >= 0).reshape(-1, *(1,) * (values.ndim - 2))
        picked = values[np.maximum(row, 0), column] if len(values) else earlier
        self.after[name] = np.where(inside, picked, earlier)
        return values

    def count(self, rows: int) -> Array:
        """How many rows there were up to each row, shape (rows, N)."""
        before = self.before("count")
        first = np.zeros(len(self.length)) if before is None else before
        return self.keep("count", first + np.arange(1.0, rows + 1)[:, None])

    def total(self, name: str, values: Array) -> Array:
        """Cumulated sums, shape (T, N); a NaN adds nothing."""
        return self.keep(name, self._joined(name, np.where(np.isnan(values), 0.0, values), np.add))

    def lowest(self, name: str, values: Array) -> Array:
        """The least value so far, shape (T, N)."""
        return self.keep(name, self._joined(name, values, np.fmin))

    def highest(self, name: str, values: Array) -> Array:
        """The largest value so far, shape (T, N)."""
        return self.keep(name, self._joined(name, values, np.fmax))

    def _joined(self, name: str, values: Array, step: np.ufunc) -> Array:
        before = self.before(name)
        if before is None:
            return np.asarray(step.accumulate(values, axis=0))
        return np.asarray(step.accumulate(np.concatenate([before[None], values]), axis=0)[1:])

    def decayed(self, name: str, values: Array, decay: Array) -> Array:
        """S(t) = decay S(t-1) + x(t), from S(-1) = 0, of values that look back at the row before.

        It goes on from the last row that was seen, for the values of rows that are kept for windows alone cannot be
        known again.

        Args:
            values: x, shape (T, N, K).
            decay: of each column, shape (N,).

        Returns:
            Shape (T, N, K); what was carried in rows that had been seen.
        """
        before, found = self.before(name), np.empty_like(values)
        seen = 0 if before is None else KEPT
        held = np.zeros(values.shape[1:]) if before is None else before
        found[:seen] = held
        for n, weight in enumerate(decay):
            start = (weight * held[n])[None]
            found[seen:, n], _ = lfilter([1.0], [1.0, -weight], values[seen:, n], axis=0, zi=start)
        last = np.maximum(self.length - 1, 0)
        self.after[name] = found[last, np.arange(len(last))] if len(found) else held
        return found

    def exponential(self, name: str, values: Array, decay: Array) -> Array:
        """s(t+1) = decay s(t) + (1 - decay) x(t+1) along axis 0, started from the mean of the first 20 rows.

        Args:
            values: x, shape (T, N).
            decay: of each column, shape (N,).

        Returns:
            Shape (T, N), NaN before row 19 of a whole history.

        Column by column: a decay may be an instrument's own, and the filter's bits then depend on that column alone.
        """
        found, before = np.full(values.shape, np.nan), self.before(name)
        for n, weight in enumerate(decay):
            column = np.ascontiguousarray(values[:, n])
            if before is not None:
                found[:, n] = _filtered(weight, column, before[n])
            elif len(column) >= START:
                start = np.cumsum(column[:START])[-1] / START
                found[START - 1, n], found[START:, n] = start, _filtered(weight, column[START:], start)
        return self.keep(name, found)


def exponential_average(values: Array, decay: Array) -> Array:
    """`Memory.exponential` over a whole history."""
    return Memory.whole(values).exponential("", values, decay)


def _filtered(weight: float, values: Array, start: float) -> Array:
    found, _ = lfilter([1 - weight], [1, -weight], values, zi=[weight * start])
    return np.asarray(found)


def part_of(state: State, prefix: str) -> State:
    """The arrays of a state whose names begin so, without the prefix."""
    return {key.removeprefix(prefix): values for key, values in state.items() if key.startswith(prefix)}


def replaced(whole: Any, columns: Sequence[int], part: Any, all_of_them: Sequence[Any]) -> Any:
    """A state's array with the rows of some instruments replaced; blank rows where there was no array."""
    if whole is None:
        blank = np.nan if part.dtype.kind == "f" else 0
        found = np.full((len(all_of_them), *part.shape[1:]), blank, part.dtype)
    else:
        found = whole.copy()
    found[list(columns)] = part
    return found
