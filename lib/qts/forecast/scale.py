"""Forecasters of scale: each says how large the next variance and the next squared return are, from the past alone.

What surrounds that number is the same for all of them. With c the scale of the next variance v and s that of the next
squared return, the scores log(v / c) and r / sqrt(s) give the intervals: adaptive conformal inference starts from the
scores of the training window and learns from every bar after it. No distribution is assumed, and the coverage holds
where the market changes. The quantiles of the training window alone, which rows inside it still get, held 88% instead
of 95% of the Dow Jones' variances in the second half of 2000 to 2018.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from qts.forecast.bands import online_bands
from qts.forecast.base import PROBABILITIES, UNFITTED, CannotFit, Forecast, Params
from qts.forecast.history import History
from qts.market.bar import Array, IntArray


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
    def scales(self, params: Sequence[Params], history: History) -> tuple[Array, Array]:
        """Scale of the next bar's variance and of its squared return, each of shape (T, N), from rows up to t only."""

    def fit(self, history: History) -> list[Params]:
        """Parameters of each instrument, see `Forecaster.fit`."""
        return [self._fit_or_fall_back(history.columns([n])) for n in range(len(history.instruments))]

    def forecast(self, params: Sequence[Params], history: History) -> dict[str, Forecast]:
        """Forecasts by target, see `Forecaster.forecast`; each instrument by the method that was fitted to it."""
        found = {target: Forecast.empty(history.returns.shape) for target in self.targets}
        methods = self._methods()
        for method in sorted({p["method"] for p in params} - {UNFITTED}):
            columns = [n for n, p in enumerate(params) if p["method"] == method]
            part = history.columns(columns)
            own = [params[n] for n in columns]
            variance, squared = methods[method].scales(own, part)
            trained = _trained_bars(own, part)
            found["variance"].put(columns, _of_variance(own, variance, part.variance, trained))
            found["return"].put(columns, _of_return(own, squared, part.returns, trained))
        return found

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
        c, s = self.scales([params], history)
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


def _of_variance(params: Sequence[Params], scale: Array, variance: Array, trained: IntArray) -> Forecast:
    fitted = [p["variance"] for p in params]
    bands = online_bands(np.log(variance / _before(scale)), trained)
    quantiles = (np.where(np.isnan(b), q, np.exp(b)) for b, q in zip(bands, _each_quantile(fitted), strict=True))
    return Forecast(scale * _each(fitted, "level"), scale * _each(fitted, "sd"), *(scale * q for q in quantiles))


def _of_return(params: Sequence[Params], squared: Array, returns: Array, trained: IntArray) -> Forecast:
    fitted = [p["return"] for p in params]
    sd = np.sqrt(squared)
    mean = np.where(np.isnan(sd), np.nan, 0.0)
    bands = online_bands(returns / _before(sd), trained)
    quantiles = (np.where(np.isnan(b), q, b) for b, q in zip(bands, _each_quantile(fitted), strict=True))
    return Forecast(mean, sd * _each(fitted, "sd"), *(sd * q for q in quantiles))


def _before(values: Array) -> Array:
    """What was said a bar earlier, shape as given."""
    return np.concatenate([np.full((min(1, len(values)), values.shape[1]), np.nan), values[:-1]])


def _each(fitted: Sequence[Mapping[str, Any]], name: str) -> Array:
    return np.array([f[name] for f in fitted], np.float64)


def _each_quantile(fitted: Sequence[Mapping[str, Any]]) -> list[Array]:
    return [np.array([f["quantiles"][i] for f in fitted], np.float64) for i in range(len(PROBABILITIES))]
