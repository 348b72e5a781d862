"""What a training run shows beside its figures: an accuracy table, instrument by instrument, and a calibration plot."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from qts.forecast.scores import Score
from qts.mlops.bundle import Bundle

#: One fitted instrument: instrument, bucket, and scores (of the new parameters by target, as `new`).
Row = Mapping[str, Any]

_WHAT = ("instrument", "bucket", "target", "method", "fallback")
_LEVELS = {"coverage_80": 0.80, "coverage_95": 0.95}


def accuracy(bundle: Bundle, rows: Sequence[Row]) -> pd.DataFrame:
    """Figures out of sample, a row per instrument and target; what fell back to a simpler model says why.

    Columns: instrument, bucket, target, method, fallback, n, rmse, the loss, coverage_80, coverage_95.
    """
    found = []
    for row in rows:
        params = bundle.parameters[row["instrument"]]
        for target, sums in row["scores"]["new"].items():
            what = (row["instrument"], row["bucket"], target, params["method"], params["fallback"])
            figures = {key.split(".", 1)[1]: value for key, value in Score(*sums).metrics(target).items()}
            found.append({**dict(zip(_WHAT, what, strict=True)), **figures})
    return pd.DataFrame(found, columns=None if found else [*_WHAT, "n", "rmse", *_LEVELS])


def calibration_plot(table: pd.DataFrame, title: str) -> bytes:
    """By how much each instrument's coverage is off, as svg.

    The grey band holds 95% of the instruments if their intervals are right and misses independent, at the median number
    of forecasts an instrument: what lies outside is more than chance. Intervals that learn from misses come closer.
    """
    from matplotlib.figure import Figure

    targets = list(table["target"].unique()) if len(table) else []
    figure = Figure(figsize=(4.5 * max(len(targets), 1), 4), layout="constrained")
    every = figure.subplots(1, max(len(targets), 1), squeeze=False)[0]
    for axes, target in zip(every, targets, strict=False):
        own = table[table["target"] == target]
        own = own.dropna(subset=["n"]) if "n" in own else own.iloc[:0].reindex(columns=[*own.columns, "n", *_LEVELS])
        furthest = 2.0
        for at, (name, nominal) in enumerate(_LEVELS.items()):
            off = 100 * (own[name] - nominal).to_numpy(np.float64)
            spread = at + (np.arange(len(own)) % 21 - 10) / 40  # beside one another
            axes.scatter(spread, off, s=10, alpha=0.6, color="tab:blue", label=None if at else "an instrument")
            if len(own):
                chance = 196 * np.sqrt(nominal * (1 - nominal) / own["n"].median())
                band = None if at else "95% of instruments, by chance"
                axes.fill_between([at - 0.4, at + 0.4], -chance, chance, color="0.85", zorder=0, label=band)
                mean = np.average(off, weights=own["n"])
                axes.scatter([at], [mean], marker="D", color="tab:red", label=None if at else "all forecasts")
                furthest = max(furthest, 1.1 * chance, 1.1 * float(np.abs(off).max()))
        axes.axhline(0, color="black", linewidth=1)
        axes.set_xticks(range(len(_LEVELS)), [f"{100 * level:.0f}%" for level in _LEVELS.values()])
        axes.set(title=f"{title}: {target}, {int(own['n'].sum()):,} forecasts", xlabel="nominal coverage")
        axes.set(ylabel="coverage less nominal, percentage points", ylim=(-furthest, furthest), xlim=(-0.5, 1.5))
    if targets:
        figure.legend(*every[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    sink = io.BytesIO()
    figure.savefig(sink, format="svg", metadata={"Date": None})
    return sink.getvalue()
