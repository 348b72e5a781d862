"""One recurrent network for all series: it learns in torch and forecasts in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qts.forecast.base import CannotFit
from qts.forecast.point.base import Fit, Panel, Predictive
from qts.forecast.point.lstm_train import Windows, train
from qts.market.bar import Array, IntArray, State

_DECAY = 0.94  # of the mean absolute change, RiskMetrics' for daily data
_CLIP = 8.0  # mean absolute changes; what lies beyond says no more than that
_FEWEST_WINDOWS = 200
_FLOOR = 1e-9  # of a series' magnitude
_WEIGHT = "shared.weight."


@dataclass(frozen=True)
class Lstm:
    """A long short-term memory over the last changes of a series, with a Student t distribution for each step ahead.

    Input is a window of changes, output for step h the location and scale of y(t+h) - y(t) over sqrt(h); both in units
    of the series' exponentially weighted mean absolute change at t, so that one network serves series of any size and
    volatility. The last layer starts at zero, which is the random walk, and training stops when the most recent tenth
    of the windows is forecast worse: data that hold nothing leave a random walk. A direct forecast of every step, as
    in R. Wen and others, "A multi-horizon quantile recurrent forecaster" (2017); the likelihood head of D. Salinas and
    others, "DeepAR", International Journal of Forecasting 36 (2020), with Student's t.

    Weights are plain arrays of the state; no pickle, and torch is needed for training only.
    """

    name: ClassVar[str] = "lstm"

    lags: int = 32  # changes in a window
    hidden: int = 24  # units
    epochs: int = 12  # at most
    seed: int = 0

    def fit(self, panel: Panel, horizon: int) -> Fit:
        """See `PointModel.fit`; a panel that is too short to learn from gets random walks."""
        columns = [panel.column(n) for n in range(len(panel.names))]
        reason = ""
        try:
            weights = train(self._windows(columns, horizon), self.hidden, self.epochs, self.seed)
        except CannotFit as cannot:
            reason = f"lstm: {cannot}"
            weights = _random_walk(self.hidden, horizon)
        state: State = {f"{_WEIGHT}{name}": value for name, value in weights.items()}
        state |= _start(len(columns), self.lags, _size(columns))
        for row, at in zip(panel.values, panel.times, strict=True):
            state = self.update(state, row, at)
        return Fit(state, (reason,) * len(columns))

    def update(self, state: State, values: Array, times: IntArray) -> State:  # knows no calendar
        """See `PointModel.update`."""
        known, seen = state["known"], np.isfinite(values)
        if (known & ~seen).any():
            values = np.where(seen, values, self.forecast(state, 1).mean[:, 0])
        moved = known & np.isfinite(values)
        change = np.where(moved, values - state["last"], 0.0)
        count = state["count"] + (moved & seen)
        weight = np.maximum(1 - _DECAY, 1 / np.maximum(count, 1))
        unit = np.where(moved & seen, state["unit"] + weight * (np.abs(change) - state["unit"]), state["unit"])
        window = np.concatenate([state["window"][:, 1:], change[:, None]], axis=1)
        return {
            **state,
            "window": np.where(moved[:, None], window, state["window"]),
            "last": np.where(np.isfinite(values), values, state["last"]),
            "unit": unit,
            "count": count,
            "known": known | seen,
        }

    def forecast(self, state: State, horizon: int) -> Predictive:
        """See `PointModel.forecast`. Steps beyond those that were learnt repeat the last one's location and scale."""
        unit = np.maximum(state["unit"], state["floor"])[:, None]
        weights = {key.removeprefix(_WEIGHT): value for key, value in state.items() if key.startswith(_WEIGHT)}
        location, scale, df = network(weights, np.clip(state["window"] / unit, -_CLIP, _CLIP))
        step = np.minimum(np.arange(horizon), location.shape[1] - 1)
        width = unit * np.sqrt(np.arange(1, horizon + 1))
        mean = state["last"][:, None] + width * location[:, step]
        mean = np.where(state["known"][:, None], mean, np.nan)
        return Predictive(mean, width * scale[:, step] * np.sqrt(df / (df - 2)), np.full(mean.shape, df))

    def _windows(self, columns: list[Array], horizon: int) -> Windows:
        """All windows of the panel, in the order of series and time."""
        inputs, targets, recency = [], [], []
        for values in columns:
            changes = np.diff(values)
            unit = _units(changes)
            ends = np.arange(self.lags, len(changes) - horizon + 1)
            ends = ends[unit[ends - 1] > _FLOOR * np.abs(values).max(initial=0.0)] if len(ends) else ends
            if not len(ends):
                continue
            scale = unit[ends - 1][:, None]  # known after the change before
            inputs.append(changes[ends[:, None] + np.arange(-self.lags, 0)] / scale)
            ahead = np.arange(1, horizon + 1)
            targets.append((values[ends[:, None] + ahead] - values[ends][:, None]) / (scale * np.sqrt(ahead)))
            recency.append((ends + 1) / len(changes))
        if sum(map(len, inputs)) < _FEWEST_WINDOWS:
            raise CannotFit(f"{sum(map(len, inputs))} windows of {self.lags} changes, {_FEWEST_WINDOWS} needed")
        joined = np.clip(np.concatenate(inputs), -_CLIP, _CLIP)
        return Windows(joined, np.clip(np.concatenate(targets), -50, 50), np.concatenate(recency))


def network(weights: State, inputs: Array) -> tuple[Array, Array, float]:
    """The network's output in numpy, each row with the same bits whatever the others are.

    Args:
        weights: the state_dict of `lstm_train.Network`.
        inputs: shape (N, lags).

    Returns:
        Location and scale, shape (N, H) each, and the degrees of freedom.
    """
    rows, units = len(inputs), weights["lstm.weight_hh_l0"].shape[1]
    entry, recurrent = weights["lstm.weight_ih_l0"][:, 0], weights["lstm.weight_hh_l0"]
    bias = weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
    hidden, cell = np.zeros((rows, units)), np.zeros((rows, units))
    for t in range(inputs.shape[1]):
        gates = inputs[:, t, None] * entry + bias + np.einsum("nh,gh->ng", hidden, recurrent)
        enter, forget, new, leave = np.split(gates, 4, axis=1)
        cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(new)
        hidden = _sigmoid(leave) * np.tanh(cell)
    found = np.einsum("nh,gh->ng", hidden, weights["head.weight"]) + weights["head.bias"]
    location, raw = np.split(found, 2, axis=1)
    return location, _softplus(raw) + 1e-3, 2.1 + float(_softplus(weights["tail"]))


def _random_walk(hidden: int, horizon: int) -> State:
    """Weights of a network that forecasts no change, with the spread of normal changes."""
    head = np.concatenate([np.zeros(horizon), np.full(horizon, 0.92)])  # softplus(.92) = 1.25 = sd / mean |change|
    return {
        "lstm.weight_ih_l0": np.zeros((4 * hidden, 1)),
        "lstm.weight_hh_l0": np.zeros((4 * hidden, hidden)),
        "lstm.bias_ih_l0": np.zeros(4 * hidden),
        "lstm.bias_hh_l0": np.zeros(4 * hidden),
        "head.weight": np.zeros((2 * horizon, hidden)),
        "head.bias": head,
        "tail": np.array(1e6),  # degrees of freedom: a normal
    }


def _start(series: int, lags: int, size: Array) -> State:
    return {
        "window": np.zeros((series, lags)),
        "last": np.zeros(series),
        "unit": np.zeros(series),
        "count": np.zeros(series, np.int64),
        "known": np.zeros(series, np.bool_),
        "floor": np.maximum(_FLOOR * size, np.finfo(np.float64).tiny ** 0.5),
    }


def _size(columns: list[Array]) -> Array:
    return np.array([np.abs(values).max(initial=0.0) for values in columns])


def _units(changes: Array) -> Array:
    """The exponentially weighted mean absolute change after each change, as `Lstm.update` follows it."""
    found, unit = np.empty(len(changes)), 0.0
    for t, size in enumerate(np.abs(changes)):
        unit += max(1 - _DECAY, 1 / (t + 1)) * (size - unit)
        found[t] = unit
    return found


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def _softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0.0, x))
