"""Training the LSTM on a panel of daily series, on CPU, in seconds; its error beside no change on later days."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from harness import options, publish, record_of, seconds_of
from scipy.signal import lfilter

from qts.forecast.point.base import Panel
from qts.forecast.point.lstm import Lstm

AHEAD = 5


def main() -> None:
    given = options(__doc__, {"instruments": (50, 4), "days": (2500, 300)})
    shocks = np.random.default_rng(2).normal(0, 0.01, (given.days, given.instruments))
    values = lfilter([1], [1, -0.1], shocks, axis=0).cumsum(axis=0)  # a little momentum
    train = given.days - given.days // 10
    times = np.arange(given.days)[:, None] * np.ones(given.instruments, np.int64)
    names = tuple(f"S{n}" for n in range(given.instruments))
    panel = Panel(names, values[:train], times[:train], np.ones(given.instruments, np.int64))
    model = Lstm()
    fits = []
    taken = seconds_of(lambda: fits.append(model.fit(panel, AHEAD)), clock=perf_counter)
    state, errors = fits[0].state, []
    for t in range(train, given.days):
        mean = model.forecast(state, 1).mean[:, 0]
        errors.append((np.square(mean - values[t]), np.square(values[t - 1] - values[t])))
        state = model.update(state, values[t], times[t])
    ours, naive = np.mean(errors, axis=(0, 2))
    details = {"RMSE over no change, momentum of .1": float(np.sqrt(ours / naive))}
    publish(record_of("lstm_training", [taken], source="simulated", details=details), given)


if __name__ == "__main__":
    main()
