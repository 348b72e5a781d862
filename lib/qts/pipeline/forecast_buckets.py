"""What runs on the workers: one task holds one bucket of many instruments and works on all of them at once.

A bucket's rows are bars and, in the same rows, parameters: one shuffle brings both to the same place, and the
parameters of many thousand instruments need not travel to every task.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from qts.forecast.base import UNFITTED, Forecast, Forecaster, Params
from qts.forecast.history import FURTHER, History
from qts.forecast.registry import build
from qts.forecast.scores import Score
from qts.market.bar import IntArray
from qts.store.columns import arrays_bytes

#: A bar has no `model`; a row of parameters has no bar.
INPUT = (
    "instrument string, at long, close double, realised_variance double, semivariance_minus double, "
    "semivariance_plus double, quarticity double, model string, params string"
)
FITTED = "instrument string, model string, params string, scores string"
FORECASTS = (
    "instrument string, target string, made_at long, target_time long, horizon long, model string, version string, "
    "mean double, sd double, lower_80 double, upper_80 double, lower_95 double, upper_95 double"
)
#: Forecasts, and for each model and bucket a row with nothing but its state.
SCORED = f"{FORECASTS}, state binary"

#: Whether all instruments are fitted anew, or only those that have no parameters yet.
Mode = Literal["all", "missing"]

#: What every model is shown beside: a random walk and RiskMetrics' average.
BASELINES = ("naive", "ewma")

_MICRO = 1000  # nanoseconds


@dataclass(frozen=True)
class FitBucket:
    """Fits models to the first part of each series and scores them on the rest.

    So are, on the same bars, the parameters that they would replace, and the baselines.

    Attributes:
        interval: length of a bar, nanoseconds.
        modes: models to fit.
        fraction: share of each series that is fitted to.
        min_history: an instrument with fewer bars is left alone.
    """

    interval: int
    modes: Mapping[str, Mode]
    fraction: float
    min_history: int

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        history, known = _assemble(batches, self.interval)
        long_enough = history.length + 1 >= self.min_history  # the first bar went into the first return
        baselines: dict[str, dict[str, Forecast]] = {}
        for name, model in build(self.modes).items():
            held = known.get(name, {})
            columns = [
                n
                for n, instrument in enumerate(history.instruments)
                if long_enough[n] and (self.modes[name] == "all" or instrument not in held)
            ]
            if columns:
                if not baselines:
                    baselines = {
                        b: m.run(m.fit(self._training(history)), history)[0] for b, m in build(BASELINES).items()
                    }
                part = history.columns(columns)
                beside = {
                    other: {target: _part(forecast, columns, len(part.times)) for target, forecast in forecasts.items()}
                    for other, forecasts in baselines.items()
                    if other != name
                }
                yield self._fit(model, part, held, beside)

    def _training(self, history: History) -> History:
        return history.first((history.length * self.fraction).astype(np.int64))

    def _fit(
        self,
        model: Forecaster,
        history: History,
        held: Mapping[str, Params],
        baselines: Mapping[str, Mapping[str, Forecast]],
    ) -> pa.RecordBatch:
        params = model.fit(self._training(history))
        for fitted, length in zip(params, history.length, strict=True):
            fitted["seen"] = int(length)
        until = np.array([p["trained_until"] for p in params], np.int64)
        nothing: Params = {"method": UNFITTED}
        replaced = [held.get(instrument, nothing) for instrument in history.instruments]
        told = model.run(params, history)[0]
        new, old = _scores(told, told, history, until), None
        if any(instrument in held for instrument in history.instruments):
            replacing = model.run(replaced, history)[0]
            old = _scores(replacing, replacing, history, until)
        beside = {name: _scores(forecasts, told, history, until) for name, forecasts in baselines.items()}
        scores = [
            {
                "new": new[n],
                "old": old[n] if old is not None and instrument in held else None,
                **{name: found[n] for name, found in beside.items()},
            }
            for n, instrument in enumerate(history.instruments)
        ]
        return pa.RecordBatch.from_pydict(
            {
                "instrument": list(history.instruments),
                "model": [model.name] * len(params),
                "params": [json.dumps(p, allow_nan=False) for p in params],
                "scores": [json.dumps(s) for s in scores],
            }
        )


@dataclass(frozen=True)
class ScoreBucket:
    """Forecasts after every bar that lies behind the training window and behind what was forecast before.

    Attributes:
        interval: length of a bar, nanoseconds.
        versions: the version of each model whose parameters are among the rows; each set of parameters says as
            `after` which bar, in nanoseconds, was the last to be left out.
        states: whether the states after the last bars are handed over, too (rows of `SCORED`, not of `FORECASTS`).
    """

    interval: int
    versions: Mapping[str, str]
    states: bool = False

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        history, known = _assemble(batches, self.interval)
        for name, model in build(self.versions).items():
            held = known.get(name, {})
            columns = [n for n, instrument in enumerate(history.instruments) if instrument in held]
            if columns:
                part = history.columns(columns)
                params = [held[instrument] for instrument in part.instruments]
                forecasts, state = model.run(params, part)
                after = np.array([p["after"] for p in params], np.int64)
                for rows in forecast_rows(name, self.versions[name], forecasts, part, after, self.interval):
                    yield self._with_state(rows, None) if self.states else rows
                if self.states:
                    held_by = {**state, "names": np.array(part.instruments, dtype=str)}
                    yield self._with_state(_nothing_of(name), arrays_bytes(held_by))

    def _with_state(self, rows: pa.RecordBatch, state: bytes | None) -> pa.RecordBatch:
        return rows.append_column("state", pa.array([state] * rows.num_rows, pa.binary()))


def forecast_rows(
    model: str, version: str, forecasts: Mapping[str, Forecast], history: History, after: IntArray, interval: int
) -> Iterator[pa.RecordBatch]:
    """Rows of the table `forecasts`, one batch a target, of the bars behind `after` (nanoseconds, shape (N,))."""
    names = np.array(history.instruments, dtype=object)
    for target, forecast in forecasts.items():
        figures = vars(forecast)
        known = np.logical_and.reduce([np.isfinite(values) for values in figures.values()])
        row, column = np.nonzero(known & history.inside & (history.times > after))
        made_at = history.times[row, column]
        yield pa.RecordBatch.from_pydict(
            {
                "instrument": pa.array(names[column], pa.string()),
                "target": pa.array([target] * len(row), pa.string()),
                "made_at": made_at // _MICRO,
                "target_time": (made_at + interval) // _MICRO,
                "horizon": np.ones(len(row), np.int64),
                "model": pa.array([model] * len(row), pa.string()),
                "version": pa.array([version] * len(row), pa.string()),
                **{name: values[row, column] for name, values in figures.items()},
            }
        )


def _nothing_of(model: str) -> pa.RecordBatch:
    """A row without a forecast."""
    texts = {"instrument": None, "target": None, "made_at": None, "target_time": None, "horizon": None}
    row = {**texts, "model": model, "version": None, **dict.fromkeys(f.name for f in fields(Forecast))}
    kinds = dict.fromkeys(("made_at", "target_time", "horizon"), pa.int64())
    kinds |= dict.fromkeys(("instrument", "target", "model", "version"), pa.string())
    return pa.RecordBatch.from_arrays(
        [pa.array([value], kinds.get(key, pa.float64())) for key, value in row.items()], names=list(row)
    )


def _assemble(batches: Iterator[pa.RecordBatch], interval: int) -> tuple[History, dict[str, dict[str, Params]]]:
    """A bucket's history, and its parameters by model and instrument. Spark hands a bucket over in several batches."""
    rows = pa.Table.from_batches(list(batches) or [pa.RecordBatch.from_pylist([], _ARROW)]).combine_chunks()
    known: dict[str, dict[str, Params]] = {}
    for row in rows.filter(rows["model"].is_valid()).select(["instrument", "model", "params"]).to_pylist():
        known.setdefault(row["model"], {})[row["instrument"]] = json.loads(row["params"])
    bars = rows.filter(rows["model"].is_null())
    encoded = bars["instrument"].combine_chunks().dictionary_encode()
    history = History.pack(
        encoded.dictionary.to_pylist(),
        encoded.indices.to_numpy(zero_copy_only=False),
        bars["at"].to_numpy() * _MICRO,
        bars["close"].to_numpy(),
        bars["realised_variance"].to_numpy(),
        interval,
        **{name: bars[name].to_numpy() for name in FURTHER},
    )
    return history, known


def _part(forecast: Forecast, columns: Sequence[int], rows: int) -> Forecast:
    """The first forecasts of some instruments."""
    return Forecast(*(getattr(forecast, field.name)[:rows, list(columns)] for field in fields(Forecast)))


def _scores(
    forecasts: Mapping[str, Forecast], like: Mapping[str, Forecast], history: History, until: IntArray
) -> list[dict[str, Any]]:
    """For each instrument its scores by target, of forecasts made after `until` at bars where `like` has one, too."""
    later = history.inside & (history.times > until)
    found: list[dict[str, Any]] = [{} for _ in history.instruments]
    for target, other in like.items():
        forecast, actual, chosen = forecasts[target], history.outcome(target), later & np.isfinite(other.mean)
        for n, scores in enumerate(found):
            scores[target] = astuple(Score.of(target, forecast.column(n), actual[:, n], chosen[:, n]))
    return found


_ARROW = pa.schema(
    [
        ("instrument", pa.string()),
        ("at", pa.int64()),
        ("close", pa.float64()),
        ("realised_variance", pa.float64()),
        *((name, pa.float64()) for name in FURTHER),
        ("model", pa.string()),
        ("params", pa.string()),
    ]
)
