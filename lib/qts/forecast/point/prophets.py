"""Prophet: fitted by its library, served from its parameters."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from qts.forecast.base import CannotFit
from qts.forecast.point.base import Fit, Panel, Predictive, put_rows
from qts.forecast.point.calendar import SLOTS, next_times, steps_of
from qts.forecast.point.simple import Naive
from qts.forecast.point.spread import Spread, next_errors, size_of, start_spread, step_spread
from qts.market.bar import Array, IntArray, State

_DAY = 86_400_000_000_000
_FEWEST = 12  # values
_POINTS = 25  # changepoints, Prophet's default
#: Seasons by name: days, Fourier order; Prophet's defaults. `own` is a season of a given number of periods.
_SEASONS = {"yearly": (365.25, 10), "weekly": (7.0, 3), "daily": (1.0, 4), "own": (0.0, 5)}


class Prophet:
    """A piecewise linear trend plus seasons, by maximum a posteriori.

    Seasons are those that Prophet finds in the calendar; for series on whole numbers, the season that is given. It has
    no memory of its last errors: between two fits only the spread of the one-step errors is updated. The next times
    are those of the past's pattern, for on a Saturday that never came the weekly season is anything. The further ahead,
    the less sure: the slope will bend as often and as much as it has. A series that it cannot fit is a random walk.

    Source: S. Taylor and B. Letham, "Forecasting at scale", The American Statistician 72 (2018); of the trend's
    uncertainty, section 3.1.4, the standard deviation in closed form.
    """

    name: ClassVar[str] = "prophet"

    def fit(self, panel: Panel, horizon: int) -> Fit:
        """See `PointModel.fit`."""
        series = len(panel.names)
        simpler = Naive().fit(panel, horizon)
        state: State = {**{f"naive.{key}": value for key, value in simpler.state.items()}, **_blank(series)}
        reasons, errors = [], np.full(panel.values.shape, np.nan)
        for n in range(series):
            try:
                values = int(np.isfinite(panel.values[:, n]).sum())
                if values < _FEWEST:
                    raise CannotFit(f"{values} values, {_FEWEST} needed")
                own = _fitted(panel, n)
                state, errors[:, n] = put_rows(state, [n], own), _errors(panel, n, own, horizon)
                reasons.append("")
            except CannotFit as reason:
                reasons.append(f"prophet: {reason}")
        spread = Spread.choose(errors, size_of(panel.values))
        return Fit({**state, **start_spread(spread)}, tuple(reasons))

    def update(self, state: State, values: Array, times: IntArray) -> State:
        """See `PointModel.update`."""
        naive = Naive().update(_naive(state), values, times)
        after = step_spread(state, values - _level(state, times[:, None])[:, 0])
        return {**after, **{f"naive.{key}": value for key, value in naive.items()}, "at": times.astype(np.int64)}

    def forecast(self, state: State, horizon: int) -> Predictive:
        """See `PointModel.forecast`."""
        naive = Naive().forecast(_naive(state), horizon)
        times = next_times(state["at"], state["step"], state["open"], horizon)
        mean, fitted, (sd, df) = _level(state, times), state["fitted"][:, None], next_errors(state, 1)
        sd = np.hypot(sd, _trend_sd(state, times))
        return Predictive(
            np.where(fitted, mean, naive.mean), np.where(fitted, sd, naive.sd), np.where(fitted, df, naive.df)
        )


def _blank(series: int) -> State:
    features = sum(2 * order for _, order in _SEASONS.values())
    return {
        "fitted": np.zeros(series, np.bool_),
        "at": np.zeros(series, np.int64),  # time of the last row
        "step": np.ones(series, np.int64),
        "open": np.ones((series, SLOTS), np.bool_),  # the quarters of an hour of a week that have values
        "begin": np.zeros(series, np.int64),
        "span": np.ones(series),  # of the training window, nanoseconds
        "day": np.ones(series),  # nanoseconds, or periods that stand for a day
        "own": np.ones(series),  # days of the season `own`
        "size": np.ones(series),
        "trend": np.zeros((series, 2)),  # slope and offset
        "bends": np.zeros((series, _POINTS)),
        "bend_at": np.full((series, _POINTS), np.inf),
        "beta": np.zeros((series, features)),
    }


def _fitted(panel: Panel, n: int) -> State:
    """Parameters of one series, as arrays of one row."""
    known = np.isfinite(panel.values[:, n])
    y, times = panel.values[known, n], panel.times[known, n]
    if np.ptp(y) == 0:
        raise CannotFit("the series never moves")
    day = _DAY if panel.calendar else 1
    stamps = pd.to_datetime(times if panel.calendar else times * _DAY)
    model = _library(panel.calendar, int(panel.season[n]), pd.DataFrame({"ds": stamps, "y": y}))
    blank = _blank(1)
    found = {name: np.asarray(value, np.float64).reshape(-1) for name, value in model.params.items()}
    bends = len(found["delta"])
    blank["trend"][0] = found["k"][0], found["m"][0]
    blank["bends"][0, :bends] = found["delta"]
    blank["bend_at"][0, :bends] = model.changepoints_t
    place, column = 0, 0
    for name, (_, order) in _SEASONS.items():
        if name in model.seasonalities:
            blank["beta"][0, column : column + 2 * order] = found["beta"][place : place + 2 * order]
            place += 2 * order
        column += 2 * order
    last, (step, open_slots) = len(panel.times) - 1, steps_of(times, calendar=panel.calendar)
    return {
        **blank,
        "fitted": np.ones(1, np.bool_),
        "at": panel.times[last, [n]],
        "step": np.array([step]),
        "open": open_slots[None],
        "begin": times[:1],
        "span": np.array([float(times[-1] - times[0])]),
        "day": np.array([float(day)]),
        "own": np.array([float(max(panel.season[n], 1))]),
        "size": np.array([float(model.y_scale)]),
    }


def _errors(panel: Panel, n: int, own: State, horizon: int) -> Array:
    """Errors of the last values, by a fit to those before: by its own fit a curve so free looks far better than it is.

    On 30 real series of months 95% intervals by the errors inside the fit held .66 of the next 18 values; by these .93.

    Args:
        own: the fit to all values, by which a series is judged that does not move before its last values.

    Returns:
        Shape (T,); NaN where there is none.
    """
    rows = np.flatnonzero(np.isfinite(panel.values[:, n]))
    last = min(max(horizon, len(rows) // 20, 5), len(rows) // 3)
    cut = int(rows[-last])
    try:
        before = _fitted(replace(panel, values=panel.values[:cut], times=panel.times[:cut]), n)
    except CannotFit:
        before, cut = own, 0
    errors = panel.values[:, n] - _level(before, panel.times[None, :, n])[0]
    errors[:cut] = np.nan
    return np.asarray(errors)


def _library(calendar: bool, season: int, rows: pd.DataFrame) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own use of pandas
        import prophet

        for name in ("prophet", "cmdstanpy"):  # both tell of every fit
            logging.getLogger(name).setLevel(logging.ERROR)
        wanted: Any = "auto" if calendar else False
        model = prophet.Prophet(
            uncertainty_samples=0, yearly_seasonality=wanted, weekly_seasonality=wanted, daily_seasonality=wanted
        )
        if not calendar and season > 1:
            order = _SEASONS["own"][1]
            model.add_seasonality("own", period=float(season), fourier_order=order)
        try:
            return model.fit(rows, seed=0)
        except (RuntimeError, ValueError, OSError) as error:
            raise CannotFit(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _level(state: State, times: IntArray) -> Array:
    """Trend plus seasons at given times, shape (N, H); NaN for a series that was not fitted."""
    t = (times - state["begin"][:, None]) / state["span"][:, None]
    passed = t[:, :, None] >= state["bend_at"][:, None, :]
    bends = state["bends"][:, None, :] * passed
    at = np.where(np.isfinite(state["bend_at"]), state["bend_at"], 0.0)[:, None, :]
    slope, offset = state["trend"][:, :1] + bends.sum(axis=2), state["trend"][:, 1:] - (bends * at).sum(axis=2)
    days = times / state["day"][:, None]
    season, column = np.zeros(t.shape), 0
    for name, (period, order) in _SEASONS.items():
        length = state["own"][:, None] if name == "own" else period
        for k in range(1, order + 1):
            angle = 2 * np.pi * k * days / length
            season += state["beta"][:, column, None] * np.sin(angle)
            season += state["beta"][:, column + 1, None] * np.cos(angle)
            column += 2
    found = (slope * t + offset + season) * state["size"][:, None]
    return np.asarray(np.where(state["fitted"][:, None], found, np.nan))


def _trend_sd(state: State, times: IntArray) -> Array:
    """Standard deviation of what bends yet to come do to the trend between the last row and given times, shape (N, H).

    Prophet draws them: S bends in a window as long as that of training, at times of a Poisson process, their sizes from
    a Laplace law whose scale b is the mean size of those found. A bend of size x at time s moves the trend at t by
    x (t - s), so its variance is the integral of S 2 b^2 (t - s)^2, which is 2 S b^2 t^3 / 3. Prophet counts t from the
    end of training; what came since then is in the spread of the one-step errors.
    """
    t = (times - state["at"][:, None]) / state["span"][:, None]
    bends = np.isfinite(state["bend_at"]).sum(axis=1)
    scale = np.abs(state["bends"]).sum(axis=1) / np.maximum(bends, 1)
    return np.asarray(np.sqrt(2 * bends[:, None] * t**3 / 3) * (scale * state["size"])[:, None])


def _naive(state: State) -> State:
    return {key.removeprefix("naive."): value for key, value in state.items() if key.startswith("naive.")}
