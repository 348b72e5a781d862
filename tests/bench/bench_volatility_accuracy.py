"""The next day's variance of the S&P 500 and the NASDAQ: the chosen model against the random walk and EWMA.

Garman and Klass's variance (1980) of daily prices of 1999 to 2018, which come with the package arch. Models are fitted
from 1999, one is chosen by QLIKE on 2003 to 2006, all are judged on 2007 to 2018; intervals are those of the
stationary bootstrap (Politis and Romano, 1994) with blocks of 22 days.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from arch.data import nasdaq, sp500
from harness import options, publish, record_of

from qts.forecast.volatility.evaluation import Evaluation, evaluate
from qts.forecast.volatility.models import build
from qts.forecast.volatility.table import Columns, read_days

_DRAWS = 1000  # of the bootstrap
_SOURCES = {"sp500": sp500, "nasdaq": nasdaq}


def main() -> None:
    given = options(__doc__)
    found = {name: _evaluated(name) for name in _SOURCES}
    for name, result in found.items():
        best = result.figures[result.chosen]
        details = {
            "t on QLIKE": best["dm_qlike_t_vs_random_walk"],
            "t on squared errors": best["dm_se_t_vs_random_walk"],
            "cut against EWMA": best["rmse_cut_vs_ewma"],
            "cut against EWMA, low": best["rmse_cut_vs_ewma_interval"][0],
            "cut against EWMA, high": best["rmse_cut_vs_ewma_interval"][1],
            "t on QLIKE against EWMA": best["dm_qlike_t_vs_ewma"],
            "t on squared errors against EWMA": best["dm_se_t_vs_ewma"],
            "cut of EWMA itself": result.figures["ewma"]["rmse_cut_vs_random_walk"],
            "days": len(result.variance),
        }
        interval = best["rmse_cut_vs_random_walk_interval"]
        cut = best["rmse_cut_vs_random_walk"]
        claim = f"volatility_cut_{name}"
        publish(record_of(claim, interval, value=cut, source="real", details=details, repetitions=_DRAWS), given)
    worst = {name: result.figures[result.chosen]["coverage90_worst250"] for name, result in found.items()}
    details = {
        f"{name}, {figure}": float(result.figures[result.chosen][figure])
        for name, result in found.items()
        for figure in ("coverage90", "winkler", "winkler_static", "widest_interval")
    }
    publish(
        record_of("volatility_worst_coverage", list(worst.values()), value=min(worst.values()), source="real",
                  details=details),
        given,
    )  # fmt: skip


def _evaluated(name: str) -> Evaluation:
    data = _SOURCES[name].load().dropna()
    opened, high, low, close = (data[column].to_numpy(np.float64) for column in ("Open", "High", "Low", "Close"))
    variance = 0.5 * np.log(high / low) ** 2 - (2 * np.log(2) - 1) * np.log(close / opened) ** 2
    days = read_days(
        pd.DataFrame({"day": data.index, "rv": variance, "close": close}), Columns("day", "rv", close="close")
    )
    return evaluate(days.measures, build(), sum(date < "2007" for date in days.dates))


if __name__ == "__main__":
    main()
