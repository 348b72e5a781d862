"""What a decision step writes down: columns of arrays per table, joined once per batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class Recorder:
    """Collects rows for the ledger tables while bar times are decided one after another.

    >>> record = Recorder()
    >>> record.add("signals", 2, bar_time=7, instrument=np.array(["A", "B"]), signal=np.array([1.0, -1.0]))
    >>> record.columns("signals")["bar_time"]
    array([7, 7])
    """

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[int, dict[str, Any]]]] = {}

    def add(self, table: str, rows: int, **columns: Any) -> None:
        """Adds `rows` rows; an array or list of that length is a column, anything else is repeated."""
        if rows:
            self._parts.setdefault(table, []).append((rows, columns))

    def see(self, what: str, **details: Any) -> None:
        """Told of intermediate figures that no table keeps; ignored here. `qts explain` listens by overriding it."""

    def tables(self) -> list[str]:
        """Names of the tables that have rows."""
        return list(self._parts)

    def columns(self, table: str) -> dict[str, npt.NDArray[Any]]:
        """All rows of one table, column by column, in the order they were added.

        Raises:
            ValueError: parts of the table have different columns, or a column has another length than its part.
        """
        parts = self._parts.get(table, [])
        names = {tuple(sorted(columns)) for _, columns in parts}
        if len(names) > 1:
            raise ValueError(f"Rows for {table!r} come with different columns: {sorted(names)}.")
        return {
            name: np.concatenate([_column(columns[name], rows, f"{table}.{name}") for rows, columns in parts])
            for name in (parts[0][1] if parts else ())
        }


def _column(value: Any, rows: int, name: str) -> npt.NDArray[Any]:
    if isinstance(value, (np.ndarray, list)):
        if len(value) != rows:
            raise ValueError(f"{name} has {len(value)} values for {rows} rows.")
        if isinstance(value, list):
            boxed = np.empty(rows, dtype=object)
            for row, item in enumerate(value):  # not boxed[:] = value, which takes equally long lists for a matrix
                boxed[row] = item
            return boxed
        if value.dtype.kind in "US":
            return value.astype(object)
        return value
    if isinstance(value, (bool, int, float, np.number, np.bool_)):
        return np.full(rows, value)
    boxed = np.empty(rows, dtype=object)
    boxed[:] = [value] * rows
    return boxed
