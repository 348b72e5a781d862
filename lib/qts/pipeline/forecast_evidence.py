"""What a training run shows beside its figures: an accuracy table, instrument by instrument, and a calibration plot."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

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


def by_bucket(rows: Sequence[Row]) -> dict[str, float]:
    """Metrics of each bucket by name, `bucket.3.variance.rmse`."""
    found: dict[str, float] = {}
    for bucket in sorted({row["bucket"] for row in rows}):
        scores = [row["scores"]["new"] for row in rows if row["bucket"] == bucket]
        for target in scores[0]:
            total = sum((Score(*score[target]) for score in scores), Score())
            found |= {f"bucket.{bucket}.{name}": value for name, value in total.metrics(target).items()}
    return found


def calibration_plot(table: pd.DataFrame, title: str) -> bytes:
    """Each instrument's coverage beside the nominal one, as svg."""
    from matplotlib.figure import Figure

    targets = list(table["target"].unique()) if len(table) else []
    figure = Figure(figsize=(4.5 * max(len(targets), 1), 4), layout="constrained")
    for i, target in enumerate(targets):
        axes = figure.add_subplot(1, len(targets), i + 1)
        own = table[table["target"] == target]
        own = own.dropna(subset=["n"]) if "n" in own else own.iloc[:0].reindex(columns=[*own.columns, "n", *_LEVELS])
        for at, (name, nominal) in enumerate(_LEVELS.items()):
            axes.hlines(nominal, at - 0.4, at + 0.4, color="black")
            spread = (own.index.to_numpy() % 21 - 10) / 40  # beside one another
            axes.scatter(at + spread, own[name], s=8, alpha=0.5)
            mean = (own[name] * own["n"]).sum() / own["n"].sum() if len(own) else float("nan")
            axes.scatter([at], [mean], marker="D", color="tab:red", label="all forecasts" if not at else None)
        axes.set_xticks(range(len(_LEVELS)), [f"{100 * level:.0f}%" for level in _LEVELS.values()])
        axes.set(title=f"{title}: {target}", xlabel="nominal coverage", ylabel="share inside, a dot an instrument")
        axes.set_ylim(0, 1.02)
        axes.legend(loc="lower right")
    sink = io.BytesIO()
    figure.savefig(sink, format="svg", metadata={"Date": None})
    return sink.getvalue()
