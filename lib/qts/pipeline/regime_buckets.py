"""What the regime job runs on the workers: one task fits or filters one bucket of many instruments.

As in `forecast_buckets`, a bucket's rows are bars and, among them, parameters: one shuffle brings both together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from qts.market.bar import Array, IntArray
from qts.market.returns import log_return
from qts.regime.panel import NAMES, UNFITTED, Panel, Params, fit_returns, scores

INPUT = "instrument string, at long, close double, params string"
FITTED = "instrument string, params string, scores string"
#: Rows with `at` are regimes after a bar; one row an instrument, with `standing`, says where its filter stands then.
FILTERED = (
    "instrument string, at long, version string, calm double, normal double, stressed double, regime string, "
    "volatility double, log_density double, standing string"
)

_MICRO = 1000  # nanoseconds


@dataclass(frozen=True)
class FitBucket:
    """Fits the first part of each series, and scores it and the parameters it would replace on the rest.

    Attributes:
        only_missing: whether to leave out instruments whose parameters are among the rows.
        fraction: share of each series that is fitted to.
        min_history: an instrument with fewer bars is left alone.
        states: number of regimes; None: by BIC.
        starts: random starts of the search.
    """

    only_missing: bool
    fraction: float
    min_history: int
    states: int | None
    starts: int

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        history, held = _assemble(batches)
        columns = [
            n
            for n, (name, length) in enumerate(zip(history.instruments, history.length.tolist(), strict=True))
            if length + 1 >= self.min_history and not (self.only_missing and name in held)
        ]
        rows = self._fit(history.columns(columns), held) if columns else []
        schema = pa.schema([(name, pa.string()) for name in ("instrument", "params", "scores")])
        yield pa.RecordBatch.from_pylist(rows, schema)

    def _fit(self, history: Returns, held: Mapping[str, Params]) -> list[dict[str, str]]:
        first = [int(length * self.fraction) for length in history.length.tolist()]
        params = [
            fit_returns(history.values[:bars, n], self.states, self.starts)
            | {"trained_until": int(history.times[bars - 1, n]), "bars": bars, "seen": int(history.length[n])}
            for n, bars in enumerate(first)
        ]
        # Parameters that have seen bars which new ones have not cannot be compared with them.
        nothing: Params = {"method": UNFITTED, "bars": 0}
        replaced = [held.get(name, nothing) for name in history.instruments]
        fair = [
            name in held and p["bars"] <= bars
            for name, p, bars in zip(history.instruments, replaced, first, strict=True)
        ]
        new, old = scores(params, history.values, first), scores(replaced, history.values, first)
        return [
            {
                "instrument": name,
                "params": json.dumps(params[n], allow_nan=False),
                "scores": json.dumps({"new": new[n], "old": old[n] if fair[n] else None}),
            }
            for n, name in enumerate(history.instruments)
        ]


@dataclass(frozen=True)
class FilterBucket:
    """Filters every bar that came since an instrument's filter stood still.

    Parameters among the rows say as `after` which bar (nanoseconds) was the last to be left out of the table, and where
    the filter goes on, as `standing`, its state with the bar (`mark`, nanoseconds) and the close that it stands at.

    Attributes:
        version: of the parameters.
    """

    version: str

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        history, held = _assemble(batches)
        served = {name for name, params in held.items() if params["method"] != UNFITTED}
        columns = [n for n, name in enumerate(history.instruments) if name in served]
        if columns:
            part = history.columns(columns)
            yield from self._rows(part, [held[name] for name in part.instruments])

    def _rows(self, history: Returns, params: list[Params]) -> Iterator[pa.RecordBatch]:
        panel = Panel.of(params)
        state, found = panel.filter.run(history.values, panel.state([p.get("standing") for p in params]))
        named = panel.named(found)
        figures = np.stack([named[name] for name in NAMES])
        best = np.array(NAMES, dtype=object)[figures.argmax(axis=0)]
        volatility = panel.filter.next_sd(found.probability)
        after = np.array([p["after"] for p in params], np.int64)
        row, column = np.nonzero(history.inside & (history.times > after))
        names = np.array(history.instruments, dtype=object)
        count = len(row)
        yield pa.RecordBatch.from_pydict(
            {
                "instrument": pa.array(names[column], pa.string()),
                "at": history.times[row, column] // _MICRO,
                "version": pa.array([self.version] * count, pa.string()),
                **{name: named[name][row, column] for name in NAMES},
                "regime": pa.array(best[row, column], pa.string()),
                "volatility": volatility[row, column],
                "log_density": found.log_density[row, column],
                "standing": pa.nulls(count, pa.string()),
            }
        )
        yield self._standing(history, panel.standing(state))

    def _standing(self, history: Returns, kept: list[Params]) -> pa.RecordBatch:
        told = [
            json.dumps({**state, "mark": int(history.times[length - 1, n]), "close": float(history.last[n])})
            for n, (state, length) in enumerate(zip(kept, history.length.tolist(), strict=True))
            if length
        ]
        count, names = len(told), [n for n, length in zip(history.instruments, history.length, strict=True) if length]
        return pa.RecordBatch.from_pydict(
            {
                "instrument": pa.array(names, pa.string()),
                "at": pa.nulls(count, pa.int64()),
                "version": pa.array([self.version] * count, pa.string()),
                **{name: pa.nulls(count, pa.float64()) for name in NAMES},
                "regime": pa.nulls(count, pa.string()),
                **{name: pa.nulls(count, pa.float64()) for name in ("volatility", "log_density")},
                "standing": pa.array(told, pa.string()),
            }
        )


@dataclass(frozen=True)
class Returns:
    """Log returns of `N` instruments, every column packed from row 0: row t is the instrument's own t-th.

    Attributes:
        instruments: names, sorted.
        times: bar ends, nanoseconds, shape (T, N); 0 below a column's end.
        values: shape (T, N); NaN below a column's end.
        length: shape (N,).
        last: the newest close, shape (N,).
    """

    instruments: tuple[str, ...]
    times: IntArray
    values: Array
    length: IntArray
    last: Array

    @classmethod
    def pack(cls, names: Sequence[str], times: IntArray, close: Array) -> Returns:
        """From rows in any order; those without a finite, positive close are missing bars."""
        good = np.isfinite(close) & (close > 0)
        instruments, code = np.unique(np.array(names, dtype=object)[good], return_inverse=True)
        order = np.lexsort((times[good], code))
        code, at, close = code[order], times[good][order], close[good][order]
        count = np.bincount(code, minlength=len(instruments)).astype(np.int64)
        row = np.arange(len(code)) - np.repeat(np.cumsum(count) - count, count) - 1
        keep = row >= 0  # an instrument's first close has no return
        shape = (int(count.max(initial=1)) - 1, len(instruments))
        packed, values, last = np.zeros(shape, np.int64), np.full(shape, np.nan), np.zeros(len(instruments))
        packed[row[keep], code[keep]] = at[keep]
        values[row[keep], code[keep]] = log_return(np.roll(close, 1), close)[keep]
        last[code] = close  # of several rows the last one counts: the newest
        return cls(tuple(instruments.tolist()), packed, values, count - 1, last)

    def columns(self, index: Sequence[int]) -> Returns:
        """Some instruments only."""
        picked = np.asarray(index, np.int64)
        names = tuple(self.instruments[n] for n in index)
        return Returns(names, self.times[:, picked], self.values[:, picked], self.length[picked], self.last[picked])

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Where a column has a return, shape (T, N)."""
        return np.asarray(np.arange(len(self.times))[:, None] < self.length)


def _assemble(batches: Iterator[pa.RecordBatch]) -> tuple[Returns, dict[str, Params]]:
    """A bucket's returns, and parameters by instrument. A filter that goes on starts from the close it stands at."""
    rows = pa.Table.from_batches(list(batches) or [pa.RecordBatch.from_pylist([], _ARROW)]).combine_chunks()
    held: dict[str, Params] = {
        row["instrument"]: json.loads(row["params"])
        for row in rows.filter(rows["params"].is_valid()).select(["instrument", "params"]).to_pylist()
    }
    bars = rows.filter(rows["params"].is_null())
    standing = [(name, params["standing"]) for name, params in held.items() if params.get("standing")]
    names = [*bars["instrument"].to_pylist(), *(name for name, _ in standing)]
    times = np.concatenate([bars["at"].to_numpy() * _MICRO, np.array([s["mark"] for _, s in standing], np.int64)])
    close = np.concatenate([bars["close"].to_numpy(), np.array([s["close"] for _, s in standing], np.float64)])
    return Returns.pack(names, times.astype(np.int64), close), held


_ARROW = pa.schema([("instrument", pa.string()), ("at", pa.int64()), ("close", pa.float64()), ("params", pa.string())])
