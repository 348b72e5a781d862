"""Twelve volatility models and their combination for 1,000 instruments and 2,500 days, refitted every 22 days.

The subject forecasts every day of every instrument with every model, on two processes, half of the instruments each.
The peer is the plain way for one model of either kind: per series and refit, statsmodels' OLS for log-HAR on all days
so far, and arch for GARCH; a few series of it, for it is too slow for all. Both are CPU seconds, for other programs on
the machine stretch the wall time; the figure is that of the slower process. The ratio sets the seconds per series of
all thirteen here beside those of the peer's two.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import statsmodels.api as sm
from arch import arch_model
from harness import options, publish, record_of, seconds_of

from qts.forecast.volatility.measures import Measures, means
from qts.forecast.volatility.models import build, combine, forecasts

_REFIT = 22
_PROCESSES = 2
_FEWEST = 100


def main() -> None:
    given = options(__doc__, {"instruments": (1000, 20), "days": (2500, 600), "peers": (4, 1)})
    measures = _market(given.instruments, given.days)
    parts = [_columns(measures, slice(k, None, _PROCESSES)) for k in range(_PROCESSES)]
    with ProcessPoolExecutor(_PROCESSES) as pool:
        found = list(pool.map(_all_models, parts))
    ours = [seconds for seconds, _ in found]
    peers = [_columns(measures, slice(n, n + 1)) for n in range(given.peers)]
    theirs = seconds_of(lambda: [_plain(peer) for peer in peers]) / given.peers
    models = len(build()) + 1
    details = {
        "plain loop over series, two models, s a series": theirs,
        "all models here, s a series": sum(ours) / given.instruments,
        "ratio to the plain loop": sum(ours) / given.instruments / theirs,
        "models": models,
        "share of days with a forecast": sum(days for _, days in found) / (models * given.instruments * given.days),
    }
    publish(record_of("volatility_panel", ours, value=max(ours), source="simulated", details=details), given)


def _market(instruments: int, days: int) -> Measures:
    """Stochastic volatility with leverage: falls raise the next log variance."""
    rng = np.random.default_rng(0)
    shocks, leverage = rng.normal(size=(2, days, instruments))
    log = np.zeros((days, instruments))
    for t in range(1, days):
        log[t] = 0.97 * log[t - 1] + 0.2 * (0.8 * shocks[t] - 0.6 * leverage[t - 1])
    true = 1e-4 * np.exp(log)
    variance = true * rng.gamma(20, 1 / 20, true.shape)
    share = rng.beta(10, 10, true.shape)
    return Measures(variance, np.sqrt(true) * leverage, share * variance, (1 - share) * variance, 1.2 * variance**2)


def _columns(measures: Measures, index: slice) -> Measures:
    names = ("variance", "returns", "rs_minus", "rs_plus", "quarticity")
    return Measures(*(np.ascontiguousarray(measures.get(name)[:, index]) for name in names))


def _all_models(measures: Measures) -> tuple[float, int]:
    """CPU seconds, and days with a forecast over all models and instruments."""
    began = time.process_time()
    found = forecasts(build(), measures, np.arange(0, len(measures.variance), _REFIT))
    found["combination"] = combine(found)
    taken = time.process_time() - began
    return taken, int(sum(np.isfinite(forecast).sum() for forecast in found.values()))


def _plain(measures: Measures) -> None:
    variance, returns = measures.variance[:, 0], 100 * measures.get("returns")[:, 0]
    features = np.log(np.column_stack(means(measures.variance)))
    for row in range(_FEWEST, len(variance), _REFIT):
        x, y = sm.add_constant(features[21:row]), np.log(variance[22 : row + 1])
        sm.OLS(y, x).fit().predict(sm.add_constant(features[row : row + _REFIT], has_constant="add"))
        fitted = arch_model(returns[: row + 1], mean="Zero").fit(disp="off", show_warning=False)
        fitted.forecast(horizon=1)


if __name__ == "__main__":
    main()
