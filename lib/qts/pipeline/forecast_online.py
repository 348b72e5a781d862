"""The forecasters between two fits: their states step through new bars, and stand in the table `state`.

A snapshot every few batches and, in between, the bars that each batch stepped through: a restart loads the snapshot and
steps again. The steps are the same whatever the cuts, so it ends at the same bits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from qts.errors import ModelUnavailable
from qts.forecast.base import Params
from qts.forecast.history import FURTHER, History
from qts.forecast.registry import build
from qts.market.bar import State
from qts.mlops.bundle import Bundle
from qts.pipeline.batches import BatchLog
from qts.pipeline.forecast_buckets import forecast_rows
from qts.pipeline.forecast_survey import Survey
from qts.store.columns import arrays_bytes, arrays_of, table_bytes, table_of

#: Batches between two snapshots. A snapshot of 1,000 instruments takes some megabytes a model, a bar of them 50 kB.
_EVERY = 20
_MICRO = 1000  # nanoseconds
_STATE = "state/"


@dataclass(frozen=True)
class Online:
    """Where every model stands after a batch.

    Attributes:
        versions: of the models.
        names: instruments of each model, in the order of its state's first axis.
        states: see `Forecaster.run`.
    """

    versions: Mapping[str, str]
    names: Mapping[str, tuple[str, ...]]
    states: Mapping[str, State]

    @classmethod
    def of(cls, versions: Mapping[str, str], packed: Iterable[tuple[str, bytes]]) -> Online | None:
        """From the states of buckets, as `ScoreBucket` hands them over; None where one cannot go on from here."""
        parts: dict[str, list[State]] = {model: [] for model in versions}
        for model, data in packed:
            parts[model].append(arrays_of(data))
        states = {model: _joined(found) for model, found in parts.items() if found}
        if not all(state["ready"].all() for state in states.values()):
            return None
        return cls(dict(versions), {model: tuple(s.pop("names").tolist()) for model, s in states.items()}, states)

    def advance(
        self, bundles: Mapping[str, Bundle], survey: Survey, new: pa.Table, interval: int
    ) -> tuple[Online, pa.Table]:
        """The states after new bars, and the forecasts made at them.

        Args:
            bundles: of these versions.
            survey: before the new bars.
            new: what `new_bars` found.
            interval: length of a bar, nanoseconds.

        Returns:
            Also the rows of the table `forecasts`.
        """
        history = following(survey, new, interval)
        place = {name: n for n, name in enumerate(history.instruments)}
        states: dict[str, State] = {}
        rows: list[pa.RecordBatch] = []
        for model, forecaster in build(self.versions).items():
            names = self.names.get(model, ())
            if not names:
                continue
            part = history.columns([place[name] for name in names])
            params: list[Params] = [bundles[model].parameters[name] for name in names]
            forecasts, states[model] = forecaster.run(params, part, self.states[model])
            nothing = np.zeros(len(names), np.int64)
            rows += forecast_rows(model, self.versions[model], forecasts, part, nothing, interval)
        return Online(self.versions, self.names, states), pa.Table.from_batches(rows)

    def parts(self) -> dict[str, bytes]:
        """For `BatchLog.save_state`."""
        return {
            f"{_STATE}{model}": arrays_bytes({**state, "names": np.array(self.names[model], dtype=str)})
            for model, state in self.states.items()
        }


@dataclass(frozen=True)
class Position:
    """The state of the job after a batch.

    Attributes:
        survey: of all bars so far.
        marks: by model and instrument the last bar that was forecast after, microseconds.
        online: None where the next batch has to read the history: it was too long, or too short, to step from.
        snapshot: the batch whose state parts hold `online` as a whole.
    """

    survey: Survey
    marks: Mapping[str, Mapping[str, int]]
    online: Online | None
    snapshot: int

    def save(
        self, log: BatchLog, number: int, new: pa.Table | None, tried: Mapping[str, Mapping[str, int]]
    ) -> Position:
        """Keeps the position after a batch: as a whole, or as the bars that lead to it from the one before.

        Args:
            new: the bars that the batch stepped through; None where it read the history.
            tried: kept with it, see `Start`.

        Returns:
            The position with the snapshot that leads to it.
        """
        whole = new is None or number - self.snapshot >= _EVERY
        snapshot = number if whole else self.snapshot
        parts = {"survey": self.survey.to_json(), "marks": json.dumps(self.marks, sort_keys=True).encode()}
        parts |= tried_part(tried)
        if self.online is not None:
            parts["online"] = json.dumps({"snapshot": snapshot, "versions": dict(self.online.versions)}).encode()
            parts |= self.online.parts() if new is None or whole else {}
        if new is not None:
            parts["bars"] = table_bytes(new, "zstd")
        log.save_state(number, parts)
        return Position(self.survey, self.marks, self.online, snapshot)

    @classmethod
    def load(cls, log: BatchLog, number: int, bundles: Any, interval: int) -> Position | None:
        """The position after a batch; None where none was kept.

        Args:
            bundles: called with model and version.
        """
        last = log.load_state(number)
        if "survey" not in last:
            return None
        survey, marks = Survey.from_json(last["survey"]), json.loads(last["marks"])
        if "online" not in last:
            return cls(survey, marks, None, number)
        told = json.loads(last["online"])
        try:
            used = {model: bundles(model, version) for model, version in told["versions"].items()}
        except ModelUnavailable:  # somebody deleted a version: the next batch reads the history, with the champions
            return cls(survey, marks, None, number)
        whole = log.load_state(told["snapshot"])
        found = Online.of(
            told["versions"], ((k.removeprefix(_STATE), v) for k, v in whole.items() if k.startswith(_STATE))
        )
        before = Survey.from_json(whole["survey"])
        for batch in range(told["snapshot"] + 1, number + 1):
            new = table_of(log.load_state(batch)["bars"])
            if found is not None:
                found, _ = found.advance(used, before, new, interval)
            before = before.after(new)
        return cls(survey, marks, found, told["snapshot"])


def tried_part(tried: Mapping[str, Mapping[str, int]]) -> dict[str, bytes]:
    """`Start.tried` as a part of the state."""
    return {"tried": json.dumps(tried, sort_keys=True, default=dict).encode()}


def tried_of(state: Mapping[str, bytes]) -> dict[str, dict[str, int]]:
    """What `tried_part` kept."""
    return dict(json.loads(state.get("tried", b"{}")))


def following(survey: Survey, new: pa.Table, interval: int) -> History:
    """New bars of all instruments that were ever seen, each instrument's behind its last one before them.

    Args:
        survey: before the new bars.
    """
    names = sorted({*survey.last, *new["instrument"].unique().to_pylist()})
    place = {name: n for n, name in enumerate(names)}
    old = list(survey.last)
    nothing = np.full(len(old), np.nan)
    code = [*(place[name] for name in old), *(place[name] for name in new["instrument"].to_pylist())]

    def joined(before: Any, column: str) -> Any:
        return np.concatenate([before, new[column].to_numpy()])

    return History.pack(
        names,
        np.array(code, np.int64),
        joined(np.array([survey.last[name] for name in old], np.int64), "at") * _MICRO,
        joined(np.array([survey.close[name] for name in old], np.float64), "close"),
        joined(nothing, "realised_variance"),
        interval,
        **{name: joined(nothing, name) for name in FURTHER},
    )


def _joined(parts: list[State]) -> State:
    """The states of buckets as one, in the order of the names."""
    order = np.argsort(np.concatenate([part["names"] for part in parts]), kind="stable")
    every: State = {key: values for part in parts for key, values in part.items()}
    return {key: v if key.startswith("shared.") else _like(parts, key)[order] for key, v in every.items()}


def _like(parts: list[State], key: str) -> Any:
    """One array of all parts; a bucket where nobody uses it has blanks."""
    shape = next(part[key] for part in parts if key in part)
    blank = np.nan if shape.dtype.kind == "f" else 0
    return np.concatenate(
        [
            part[key] if key in part else np.full((len(part["names"]), *shape.shape[1:]), blank, shape.dtype)
            for part in parts
        ]
    )
