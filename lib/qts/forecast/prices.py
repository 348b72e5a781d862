"""Forecasters of levels in the forecast job: of log prices, so that what they say is the mean of the next return."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qts.errors import DataError
from qts.forecast.base import UNFITTED, Forecast, Params
from qts.forecast.conformal import AdaptiveConformal
from qts.forecast.history import History
from qts.forecast.memory import part_of, replaced
from qts.forecast.point import registry
from qts.forecast.point.base import COVERAGES, Panel, PointModel, Predictive, load, rows_of, save
from qts.market.bar import Array, IntArray, State

_FEWEST = 10  # bars
_CONFORMAL = AdaptiveConformal(COVERAGES, gamma=0.02, window=250)
#: Models of `qts.forecast.point` by the names they have in conf; `ewma` and `naive` are volatility models there.
_NAMES = {
    "drift": "drift",
    "smoothing": "ewma",
    "local_level": "local_level",
    "local_trend": "local_trend",
    "theta": "theta",
    "damped": "damped",
    "arima": "arima",
    "prophet": "prophet",
    "lstm": "lstm",
    "ensemble": "ensemble",
}


class PriceForecaster:
    """A model of levels, fitted to the log price of each instrument; target `return`, the next log return.

    Between two fits its state steps through the bars, and adaptive conformal inference calibrates the intervals from
    the errors it made since training; until there are enough of them they are the model's own quantiles.

    Attributes:
        joint: whether all instruments have to be fitted together, for their parameters are shared.
    """

    targets: tuple[str, ...] = ("return",)

    def __init__(self, name: str, build: Callable[[], PointModel]) -> None:
        self.name = name
        self.joint = name == "lstm"
        self._build = build

    def fit(self, history: History) -> list[Params]:
        """See `Forecaster.fit`. The state is a record of plain numbers, its bytes as base64 text, so it is exact."""
        long_enough = [n for n, bars in enumerate(history.length) if bars >= _FEWEST]
        found = [self._unfitted(history, n) for n in range(len(history.instruments))]
        if not long_enough:
            return found
        levels = [history.returns[: history.length[n], n].cumsum() for n in long_enough]
        times = [history.times[: history.length[n], n] for n in long_enough]
        names = [history.instruments[n] for n in long_enough]
        fit = self._build().fit(Panel.of(names, levels, times, [1] * len(names), calendar=True), 1)
        shared = {key: value for key, value in fit.state.items() if key.startswith("shared.")}
        own = _records({key: value for key, value in fit.state.items() if key not in shared})
        for i, n in enumerate(long_enough):
            reason = fit.fallback[i]
            found[n] |= {
                "method": "naive" if reason else self.name,
                "fallback": reason,
                "level": float(levels[i][-1]),
                "layout": json.dumps(own.dtype.descr),
                "state": _text(own[i].tobytes()),
                **({"shared": _text(save(shared))} if shared else {}),
            }
        return found

    def run(
        self, params: Sequence[Params], history: History, state: State | None = None
    ) -> tuple[dict[str, Forecast], State]:
        """See `Forecaster.run`; nothing for the bars of the training window but its last."""
        found = Forecast.empty(history.returns.shape)
        after: State = {"ready": np.ones(len(params), np.bool_)} if state is None else dict(state)
        columns = [n for n, p in enumerate(params) if p["method"] != UNFITTED]
        if columns:
            part, own = history.columns(columns), [params[n] for n in columns]
            if state is None:
                forecast, held = self._from_training(own, part)
            else:
                first = np.zeros(len(columns), np.int64)
                forecast, held = self._onward(rows_of(state, columns), part, first)
            found.put(columns, forecast)
            for key, values in held.items():
                after[key] = values if key.startswith("shared.") else replaced(after.get(key), columns, values, params)
        return {"return": found}, after

    def _from_training(self, params: Sequence[Params], history: History) -> tuple[Forecast, State]:
        until = np.array([p["trained_until"] for p in params], np.int64)
        trained = (history.inside & (history.times <= until)).sum(axis=0)
        level, every = np.cumsum(history.returns, axis=0), np.arange(len(params))
        total = np.where(trained > 0, level[np.maximum(trained - 1, 0), every], 0.0) if len(level) else 0.0 * trained
        # A history that ends inside the training window has no bar to which the state belongs.
        reached = (history.times >= until).any(axis=0) | (trained < history.length)
        own = _joined(params)
        self._refuse_other_layouts(own)
        state: State = {
            **{key if key.startswith("shared.") else f"model.{key}": v for key, v in own.items()},
            **{f"conformal.{key}": v for key, v in _CONFORMAL.start(len(params)).items()},
            # The log price is counted as in training: equal at the last bar that the model was fitted to.
            "total": total,
            "anchor": total,
            "level": np.array([p["level"] for p in params]),
            "ready": reached,
        }
        found, after = self._onward(state, history, trained)
        here = np.flatnonzero(reached & (trained > 0))
        for name, values in _figures(state, self._said(state)).items():
            getattr(found, name)[trained[here] - 1, here] = values[here]
        return found, after

    def _refuse_other_layouts(self, own: State) -> None:
        """Refuses states of another version of this model, which would have other arrays."""
        nothing = Panel.of(("",), [np.zeros(3)], [np.arange(3)], [1])
        if lacking := self._build().fit(nothing, 1).state.keys() - own.keys():
            raise DataError(
                f"A model version of {self.name} has no {', '.join(sorted(lacking))}: it was made by another version "
                "of QTS. Fit a new one with `qts train --once`."
            )

    def _onward(self, state: State, history: History, first: IntArray) -> tuple[Forecast, State]:
        """Forecasts after each bar from row `first` of each column on, and the state at the end."""
        found, every = Forecast.empty(history.returns.shape), np.arange(len(first))
        said = self._said(state)
        for i in range(int((history.length - first).max(initial=0))):
            inside = first + i < history.length
            row = np.where(inside, first + i, 0)
            state = self._step(state, said, history.returns[row, every], history.times[row, every], inside)
            here, said = np.flatnonzero(inside), self._said(state)
            for name, values in _figures(state, said).items():
                getattr(found, name)[row[here], here] = values[here]
        return found, state

    def _said(self, state: State) -> _Said:
        """What is said of the next level."""
        return _Said(self._build().forecast(_own(state), 1), _CONFORMAL.interval(_conformal(state)))

    def _step(self, state: State, said: _Said, change: Array, at: IntArray, inside: Any) -> State:
        """The state after one more bar of the columns that have one.

        Args:
            said: of that bar, before it came.
        """
        own, total = _own(state), state["total"] + np.where(inside, change, 0.0)
        value = np.where(inside, total - state["anchor"] + state["level"], np.nan)
        score = (value - said.level.mean[:, 0]) / said.level.sd[:, 0]
        conformal = _CONFORMAL.update(_conformal(state), score, said.bounds)
        stepped = self._build().update(own, value, np.where(inside, at, 0))
        if not inside.all():
            stepped = {key: _where(key, inside, values, own[key]) for key, values in stepped.items()}
        return {
            **state,
            **{key if key.startswith("shared.") else f"model.{key}": v for key, v in stepped.items()},
            **{f"conformal.{key}": v for key, v in conformal.items()},
            "total": total,
        }

    def _unfitted(self, history: History, n: int) -> Params:
        bars = int(history.length[n])
        return {
            "method": UNFITTED,
            "fallback": f"{self.name}: {bars} bars, {_FEWEST} needed",
            "trained_until": int(history.times[bars - 1, n]) if bars else 0,
            "bars": bars,
        }


def price_forecasters() -> dict[str, Callable[[], PriceForecaster]]:
    """What makes each of them, by name."""

    def maker(name: str, model: str) -> Callable[[], PriceForecaster]:
        return lambda: PriceForecaster(name, lambda: registry.build([model])[model])

    return {name: maker(name, model) for name, model in _NAMES.items()}


class _Said(NamedTuple):
    """The distribution of the next level, and the bounds of its score."""

    level: Predictive
    bounds: tuple[Array, Array]


def _figures(state: State, said: _Said) -> dict[str, Array]:
    """The next return's distribution: that of the next level, less the level now."""
    level = state["total"] - state["anchor"] + state["level"]
    mean, sd = said.level.mean[:, 0] - level, said.level.sd[:, 0]
    found = {"mean": mean, "sd": sd}
    for side, at, tail in (("lower", said.bounds[0], -1), ("upper", said.bounds[1], 1)):
        for i, coverage in enumerate(COVERAGES):
            calibrated = mean + sd * at[:, i]
            if np.isnan(calibrated).any():  # too few errors yet
                own = said.level.quantile((1 + tail * coverage) / 2)[:, 0] - level
                calibrated = np.where(np.isnan(at[:, i]), own, calibrated)
            found[f"{side}_{100 * coverage:.0f}"] = calibrated
    return found


def _own(state: State) -> State:
    """The model's part of a state."""
    shared = {key: values for key, values in state.items() if key.startswith("shared.")}
    return shared | part_of(state, "model.")


def _conformal(state: State) -> State:
    return part_of(state, "conformal.")


def _where(key: str, inside: Any, new: Any, old: Any) -> Any:
    """The new rows of the columns inside; what is shared is new for all."""
    if key.startswith("shared."):
        return new
    return np.where(inside.reshape(-1, *(1,) * (new.ndim - 1)), new, old)


def _joined(params: Sequence[Params]) -> State:
    """One state of all instruments."""
    fields = [tuple(tuple(part) if isinstance(part, list) else part for part in f) for f in json.loads(_layout(params))]
    records = np.frombuffer(b"".join(base64.b64decode(p["state"]) for p in params), np.dtype(fields))
    state: State = {str(key): np.ascontiguousarray(records[key]) for key in records.dtype.names or ()}
    shared = next((p["shared"] for p in params if "shared" in p), None)
    return state | (load(base64.b64decode(shared)) if shared is not None else {})


def _layout(params: Sequence[Params]) -> str:
    """The one layout that all records have."""
    layouts = {p["layout"] for p in params}
    if len(layouts) != 1:
        raise DataError(
            f"A model version holds states of {len(layouts)} layouts; expected one. It was made by several versions of "
            "QTS: fit a new one with `qts train --once`."
        )
    return str(layouts.pop())


def _records(state: State) -> npt.NDArray[Any]:
    """One record a series: a thousand of them are read at once, where as many npz files would take seconds."""
    keys = sorted(state)
    found = np.zeros(len(state[keys[0]]), [(key, state[key].dtype.str, state[key].shape[1:]) for key in keys])
    for key in keys:
        found[key] = state[key]
    return found


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
