"""How well regimes forecast the next day's return: predictive log density beside a normal with an EWMA variance.

The demo's 22 daily series (real closes, from 2006 on). Models are fitted to the first half of each series, where BIC
chooses how many states; every later day is judged by the density that the filter gave it the day before.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from harness import options, publish, record_of

from qts.forecast.comparison import bootstrap_interval, diebold_mariano
from qts.forecast.memory import exponential_average
from qts.market.sample import dataset
from qts.regime.forward import filter_series
from qts.regime.model import Regimes
from qts.regime.panel import fit_returns

SINCE = pd.Timestamp("2006-01-01").value
DECAY = 0.94  # RiskMetrics (1996), for daily data
DRAWS = 1000


def main() -> None:
    given = options(__doc__, {"series": (22, 2)})
    gains, states = {}, []
    for name, close in list(closes().items())[: given.series]:
        gain, count = gained(np.diff(np.log(close.to_numpy())))
        gains[name] = pd.Series(gain, index=close.index[-len(gain) :])
        states.append(count)
    by_day = pd.DataFrame(gains).mean(axis=1).dropna()  # series move together: one figure a day
    low, high = bootstrap_interval(lambda drawn: float(np.mean(drawn)), by_day.to_numpy(), draws=DRAWS)
    details = {
        "series": len(gains),
        "days": len(by_day),
        "series above EWMA": sum(float(gain.mean()) > 0 for gain in gains.values()),
        "mean number of states": float(np.mean(states)),
        "t": diebold_mariano(by_day.to_numpy(), np.zeros(len(by_day))).t,
    }
    record = record_of(
        "regime_density", [low, high], value=float(by_day.mean()), source="real", details=details, repetitions=DRAWS
    )
    publish(record, given)


def closes() -> dict[str, pd.Series]:
    """Closes by series, by day."""
    found = {}
    for source in ("sp500_nasdaq", "stocks20"):
        days = dataset(source).load()
        frame = pd.DataFrame({"day": days.day, "name": days.instrument, "close": days.close})
        for name, own in frame[frame["day"] >= SINCE].groupby("name"):
            found[str(name)] = own.set_index("day")["close"]
    return found


def gained(returns: np.ndarray) -> tuple[np.ndarray, int]:
    """Log density of the regimes less that of the normal, of each return of the second half; and how many states."""
    half = len(returns) // 2
    regimes = Regimes.of_params(fit_returns(returns[:half], None, starts=2))
    variance = exponential_average(returns[:, None] ** 2, np.array([DECAY]))[:-1, 0]
    normal = -0.5 * (np.log(2 * np.pi * variance) + returns[1:] ** 2 / variance)
    return (filter_series(regimes, returns).log_density[1:] - normal)[half - 1 :], regimes.states


if __name__ == "__main__":
    main()
