"""ARIMA with order choice beside statsforecast's AutoARIMA: series a second on one core, and errors out of sample.

Beside them statsmodels' own fast estimators, which choose no order: one fit each, at the order that ours has chosen.

Both choose p and q up to 5 and d up to 2 by AICc, without seasons. The series are ARMA processes of low order, half of
them integrated; the last 12 of their points are forecast.
"""

from __future__ import annotations

import time
import warnings

import numpy as np
from harness import alternate, options, publish, record_of
from scipy.signal import lfilter
from threadpoolctl import threadpool_limits

from qts.forecast.point.arima import Arima
from qts.forecast.point.base import Panel
from qts.forecast.point.orders import choose

AHEAD = 12
LAWS = (([1], [1, -0.5, 0.3]), ([1, 0.6], [1]), ([1, 0.4], [1, -0.7]), ([1], [1]))  # moving average, autoregression


def main() -> None:
    given = options(__doc__, {"series": (40, 4), "points": (500, 120), "repetitions": (3, 1)})
    series = made_up(given.series, given.points + AHEAD)
    past, future = series[:, : given.points], series[:, given.points :]
    # One core: threads of BLAS that wait for the next tiny matrix would count as CPU time.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # the peer warns where its search does not converge
        from statsforecast.models import AutoARIMA

        theirs: list[np.ndarray] = []

        def peer() -> None:
            theirs[:] = [AutoARIMA(season_length=1).forecast(y, AHEAD)["mean"] for y in past]

        taken = alternate(
            lambda: [choose(y) for y in past],
            peer,
            repetitions=given.repetitions,
            warm_ups=0,
            clock=time.process_time,
        )
    ours = forecasts(past)
    by_theirs = fits_of_statsmodels(past)
    publish(
        record_of(
            "arima_speed",
            [1 / ratio for ratio in taken.ratios],
            source="simulated",
            details={
                "ours, series/s": given.series / min(taken.subject),
                "theirs, series/s": given.series / min(taken.peer),
                **{f"statsmodels' {name} at the order we chose, series/s": rate for name, rate in by_theirs.items()},
            },
        ),
        given,
    )
    errors = [np.square(found - future).mean(axis=1) for found in (ours, np.array(theirs))]
    scale = np.square(np.diff(past, axis=1)).mean(axis=1)  # so that every series counts alike
    ratio = float(np.sqrt(np.mean(errors[0] / scale) / np.mean(errors[1] / scale)))
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(scale), (2000, len(scale)))
    spread = np.sqrt((errors[0] / scale)[drawn].mean(axis=1) / (errors[1] / scale)[drawn].mean(axis=1))
    low, high = np.quantile(spread, [0.025, 0.975])
    publish(
        record_of(
            "arima_accuracy", [float(low), float(high)], value=ratio, source="simulated", repetitions=given.series
        ),
        given,
    )


def made_up(count: int, points: int) -> np.ndarray:
    """Series of shape (count, points)."""
    rng = np.random.default_rng(11)
    found = np.empty((count, points))
    for n in range(count):
        ma, ar = LAWS[n % len(LAWS)]
        y = lfilter(ma, ar, rng.normal(size=points + 300))[300:]
        found[n] = y.cumsum() if n // len(LAWS) % 2 else y
    return found


def fits_of_statsmodels(past: np.ndarray) -> dict[str, float]:
    """Series a second that its fastest estimators fit when they are told the order: ours has to find that, too."""
    from statsmodels.tsa.arima.estimators.hannan_rissanen import hannan_rissanen
    from statsmodels.tsa.arima.estimators.innovations import innovations_mle

    chosen = [choose(y) for y in past]
    differenced = [np.diff(y, found.differences) for y, found in zip(past, chosen, strict=True)]
    orders = [(len(found.phi), len(found.theta)) for found in chosen]
    both = [(y, p, q) for y, (p, q) in zip(differenced, orders, strict=True) if p + q]
    rates = {}
    for name, fit in (
        ("innovations MLE", lambda y, p, q: innovations_mle(y, order=(p, 0, q), demean=True)),
        ("Hannan-Rissanen", lambda y, p, q: hannan_rissanen(y, ar_order=p, ma_order=q, demean=True)),
    ):
        began = time.process_time()
        for y, p, q in both:
            fit(y, p, q)
        rates[name] = len(both) / (time.process_time() - began)
    return rates


def forecasts(past: np.ndarray) -> np.ndarray:
    """Means of the next points, shape (series, AHEAD)."""
    count, points = past.shape
    times = np.arange(points)[:, None] * np.ones(count, np.int64)
    panel = Panel(tuple(f"S{n}" for n in range(count)), past.T, times, np.ones(count, np.int64))
    arima = Arima()
    return arima.forecast(arima.fit(panel, AHEAD).state, AHEAD).mean


if __name__ == "__main__":
    main()
