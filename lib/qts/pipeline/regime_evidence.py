"""What a run of the regime models shows beside its figures: a table by instrument, and whether the densities hold."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from qts.mlops.bundle import Bundle
from qts.regime.model import Regimes, state_names
from qts.regime.panel import NAMES, UNFITTED

#: One fitted instrument: instrument, bucket, and scores of the new parameters, as `new` (`qts.regime.panel.scores`).
Row = Mapping[str, Any]

_MEANS = ("log_score", "normal", "inside_80", "inside_95")


def metrics(scores: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Figures out of sample: the log density of a bar, what it gains on one normal distribution, and coverage."""
    bars = sum(score["n"] for score in scores)
    if not bars:
        return {}
    mean = {name: sum(score[name] for score in scores) / bars for name in _MEANS}
    return {
        "n": bars,
        "log_density": mean["log_score"],
        "gain_over_normal": mean["log_score"] - mean["normal"],
        "coverage_80": mean["inside_80"],
        "coverage_95": mean["inside_95"],
    }


def accuracy(bundle: Bundle, rows: Sequence[Row]) -> pd.DataFrame:
    """A row per instrument fitted now; what got a simpler model says why.

    Columns: instrument, bucket, method, states, fallback, the figures of `metrics`, and of each state its sd a bar and
    the bars that it is expected to last (`calm_sd`, `calm_duration`, ...).
    """
    found = []
    for row in rows:
        params = bundle.parameters[row["instrument"]]
        told = {"instrument": row["instrument"], "bucket": row["bucket"], "method": params["method"]}
        model = None if params["method"] == UNFITTED else Regimes.of_params(params)
        told |= {"states": 0 if model is None else model.states, "fallback": params["fallback"]}
        told |= metrics([row["scores"]["new"]])
        if model is not None:
            for k, name in enumerate(state_names(model.states)):
                told |= {f"{name}_sd": model.sd[k], f"{name}_duration": model.expected_duration[k]}
        found.append(told)
    return pd.DataFrame(found)


def calibration_plot(table: pd.DataFrame, rows: Sequence[Row], title: str) -> bytes:
    """Left, where bars fell in the distributions that were foretold; right, the states of each instrument; as svg.

    If the densities hold, the probability integral transforms of the bars are uniform (F. Diebold, T. Gunther and A.
    Tay, "Evaluating density forecasts", International Economic Review 39, 1998): a hump in the middle says too wide, in
    the outer bins too narrow, to one side biased.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    counts = np.sum([row["scores"]["new"]["pit"] for row in rows], axis=0) if rows else np.zeros(10)
    total, bins = counts.sum(), len(counts)
    share = counts / total if total else counts
    left.bar((np.arange(bins) + 0.5) / bins, share, width=0.9 / bins, color="tab:blue")
    left.axhline(1 / bins, color="black", label="if the densities hold")
    left.set(title=f"{title}: {int(total):,} bars out of sample", xlabel="probability integral transform")
    left.set(ylabel="share of bars", xlim=(0, 1))
    left.legend(loc="lower center")
    for name, colour in zip(NAMES, ("tab:green", "tab:orange", "tab:red"), strict=True):
        # A model of one state stays in it for ever.
        own = table[np.isfinite(table[f"{name}_duration"])] if f"{name}_sd" in table else table[:0]
        if len(own):
            right.scatter(own[f"{name}_duration"], 100 * own[f"{name}_sd"], s=12, color=colour, label=name)
            right.set(xscale="log", yscale="log")
            right.xaxis.set_major_formatter("{x:g}")
            right.yaxis.set_major_formatter("{x:g}")
            right.legend()
    right.set(title="states, a dot an instrument", xlabel="expected duration, bars", ylabel="sd of a bar's return, %")
    sink = io.BytesIO()
    figure.savefig(sink, format="svg", metadata={"Date": None})
    return sink.getvalue()
