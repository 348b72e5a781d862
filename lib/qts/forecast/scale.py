"""Forecasters of scale: each says how large the next variance and the next squared return are, from the past alone.

What surrounds that number is the same for all of them. With c the scale of the next variance v and s that of the next
squared return, the scores log(v / c) and r / sqrt(s) give the intervals: adaptive conformal inference starts from the
scores of the training window and learns from every bar after it. No distribution is assumed, and the coverage holds
where the market changes. The quantiles of the training window alone, which rows inside it still get, held 88% instead
of 95% of the Dow Jones' variances in the second half of 2000 to 2018.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from qts.forecast.bands import Bands, next_bands, online_bands
from qts.forecast.base import PROBABILITIES, UNFITTED, CannotFit, Forecast, Params
from qts.forecast.history import History
from qts.forecast.memory import KEPT, START, Memory, part_of, replaced
from qts.market.bar import Array, IntArray, State


class ScaleForecaster(ABC):
    """Base of the naive, EWMA and HAR forecasters.

    A subclass gives its scales; `simpler` takes over a series that it cannot fit.
    """

    name: ClassVar[str]
    targets: ClassVar[tuple[str, ...]] = ("return", "variance")
    joint: ClassVar[bool] = False
    #: The model that takes over a series which this one cannot fit.
    simpler: ClassVar[type[ScaleForecaster] | None] = None
    #: Whether the scales are multiplied by their mean ratio in training, to be unbiased there.
    rescaled: ClassVar[bool] = False
    #: Forecasts with a known outcome that the intervals need.
    fewest: ClassVar[int] = 10

    def coefficients(self, history: History) -> dict[str, Any]:
        """What the scales need beyond the data, from the training bars of one instrument.

        Raises:
            CannotFit: the series does not carry this model.
        """
        return {}

    @abstractmethod
    def scales(self, params: Sequence[Params], history: History, memory: Memory) -> tuple[Array, Array]:
        """Scale of the next bar's variance and of its squared return, each of shape (T, N), from rows up to t only.

        Args:
            memory: does all that looks back further than `memory.KEPT` bars.
        """

    def fit(self, history: History) -> list[Params]:
        """Parameters of each instrument, see `Forecaster.fit`."""
        return [self._fit_or_fall_back(history.columns([n])) for n in range(len(history.instruments))]

    def run(
        self, params: Sequence[Params], history: History, state: State | None = None
    ) -> tuple[dict[str, Forecast], State]:
        """See `Forecaster.run`; each instrument by the method that was fitted to it."""
        found = {target: Forecast.empty(history.returns.shape) for target in self.targets}
        after: State = {"ready": np.ones(len(params), np.bool_)} if state is None else dict(state)
        methods = self._methods()
        for method in sorted({p["method"] for p in params} - {UNFITTED}):
            columns = [n for n, p in enumerate(params) if p["method"] == method]
            part, own = history.columns(columns), [params[n] for n in columns]
            before = None if state is None else {key: values[columns] for key, values in state.items()}
            forecasts, held = methods[method]._run(own, part, before)
            for target, forecast in forecasts.items():
                found[target].put(columns, forecast)
            for key, values in held.items():
                after[key] = replaced(after.get(key), columns, values, params)
        return found, after

    def _run(
        self, params: Sequence[Params], history: History, state: State | None
    ) -> tuple[dict[str, Forecast], State]:
        """Forecasts and state of instruments that all got this method."""
        if state is None:
            trained, whole = _trained_bars(params, history), history
            memory, seen = Memory(history.length), 0
            ready = (history.length >= KEPT + START) & (trained <= history.length)
        else:
            whole, seen = history.behind(part_of(state, "tail.")), KEPT
            memory, ready = Memory(whole.length, part_of(state, "carried.")), state["ready"]
        found: dict[str, Forecast] = {}
        after: State = {"ready": ready}
        for target, scale in zip(("variance", "return"), self.scales(params, whole, memory), strict=True):
            scores = _SCORES[target](whole, scale)[seen:]
            if state is None:
                bands, conformal = online_bands(scores, trained)
            else:
                bands, conformal = next_bands(scores, part_of(state, f"{target}."))
            found[target] = _FORECASTS[target]([p[target] for p in params], scale[seen:], bands)
            after |= {f"{target}.{key}": values for key, values in conformal.items()}
        after |= {f"carried.{key}": values for key, values in memory.after.items()}
        return found, after | {f"tail.{key}": values for key, values in whole.tail(KEPT).items()}

    def _methods(self) -> dict[str, ScaleForecaster]:
        chain: list[ScaleForecaster] = [self]
        while chain[-1].simpler is not None:
            chain.append(chain[-1].simpler())
        return {model.name: model for model in chain}

    def _fit_or_fall_back(self, history: History) -> Params:
        reasons = []
        seen = {"trained_until": int(history.times[-1, 0]) if len(history.times) else 0, "bars": int(history.length[0])}
        for model in self._methods().values():
            try:
                fitted = model._fit_one(history)
            except CannotFit as reason:
                reasons.append(f"{model.name}: {reason}")
            else:
                return {"method": model.name, "fallback": "; ".join(reasons), **seen, **fitted}
        return {"method": UNFITTED, "fallback": "; ".join(reasons), **seen}

    def _fit_one(self, history: History) -> Params:
        params = self.coefficients(history)
        c, s = self.scales([params], history, Memory(history.length))
        v, r = history.next_bar(history.variance), history.next_bar(history.returns)
        known = np.isfinite(c) & np.isfinite(s) & np.isfinite(v) & np.isfinite(r)
        if known.sum() < self.fewest:
            raise CannotFit(f"{known.sum()} forecasts in training, {self.fewest} needed for intervals")
        with np.errstate(over="ignore", invalid="ignore"):
            self._calibrate(params, c[known], s[known], v[known], r[known], history.floor)
        if not _finite(params):
            raise CannotFit("its figures are too large to square")
        return params

    def _calibrate(self, params: Params, c: Array, s: Array, v: Array, r: Array, floor: float) -> None:
        ratio, z = v / c, r / np.sqrt(s)
        level = float(ratio.mean()) if self.rescaled else 1.0
        params["variance"] = {
            "level": level,
            # In proportion to the scale, and right on average over the training window. The spread of the ratios
            # themselves would be ruled by the few bars that hardly moved. A price that never moved in training still
            # may: its variance is known no better than to the floor.
            "sd": max(float(np.sqrt(np.square(v - level * c).sum() / np.square(c).sum())), floor / float(c.mean())),
            "quantiles": _quantiles(ratio),
        }
        params["return"] = {
            # A close that never moved in training still may: its squared return counts as the floor.
            "sd": float(np.sqrt(max(np.square(z).mean(), floor / s.mean()))) if self.rescaled else 1.0,
            "quantiles": _quantiles(z),
        }


def _finite(params: Params) -> bool:
    figures = [params["variance"], params["return"]]
    return bool(
        np.isfinite([number for f in figures for number in (f.get("level", 0), f["sd"], *f["quantiles"])]).all()
    )


def _quantiles(sample: Array) -> list[float]:
    return [float(q) for q in np.quantile(sample, PROBABILITIES)]


def _trained_bars(params: Sequence[Params], history: History) -> IntArray:
    """Bars that each model was fitted to; more than there are where the history ends before its training window did."""
    until = np.array([p["trained_until"] for p in params], np.int64)
    bars = (history.inside & (history.times <= until)).sum(axis=0)
    reached = (history.times >= until).any(axis=0)
    return np.asarray(np.where(reached, bars, len(history.times) + 1), np.int64)


def _of_variance(fitted: Sequence[Mapping[str, Any]], scale: Array, bands: Bands) -> Forecast:
    quantiles = (np.where(np.isnan(b), q, np.exp(b)) for b, q in zip(bands, _each_quantile(fitted), strict=True))
    return Forecast(scale * _each(fitted, "level"), scale * _each(fitted, "sd"), *(scale * q for q in quantiles))


def _of_return(fitted: Sequence[Mapping[str, Any]], squared: Array, bands: Bands) -> Forecast:
    sd = np.sqrt(squared)
    mean = np.where(np.isnan(sd), np.nan, 0.0)
    quantiles = (np.where(np.isnan(b), q, b) for b, q in zip(bands, _each_quantile(fitted), strict=True))
    return Forecast(mean, sd * _each(fitted, "sd"), *(sd * q for q in quantiles))


#: By target: the scores of what came, given what was said a bar earlier, and the forecast from a scale and bounds.
_SCORES: Mapping[str, Callable[[History, Array], Array]] = {
    "variance": lambda history, scale: np.log(history.variance / _before(scale)),
    "return": lambda history, squared: history.returns / _before(np.sqrt(squared)),
}
_FORECASTS: Mapping[str, Callable[[Sequence[Mapping[str, Any]], Array, Bands], Forecast]] = {
    "variance": _of_variance,
    "return": _of_return,
}


def _before(values: Array) -> Array:
    """What was said a bar earlier, shape as given."""
    return np.concatenate([np.full((min(1, len(values)), values.shape[1]), np.nan), values[:-1]])


def _each(fitted: Sequence[Mapping[str, Any]], name: str) -> Array:
    return np.array([f[name] for f in fitted], np.float64)


def _each_quantile(fitted: Sequence[Mapping[str, Any]]) -> list[Array]:
    return [np.array([f["quantiles"][i] for f in fitted], np.float64) for i in range(len(PROBABILITIES))]
