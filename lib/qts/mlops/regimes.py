"""A regime model's version in MLflow: parameters of all instruments as JSON, served by the forward filter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from qts.market.returns import log_return
from qts.mlops.bundle import USE, Bundle
from qts.regime.panel import NAMES, UNFITTED, Panel

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

_ABOUT = (
    "Regimes of each instrument's log returns: probabilities of the states calm, normal and stressed after every bar, "
    "without look-ahead. A version holds the parameters of all instruments.\n\n**hmm**: a hidden Markov model of "
    "normal returns, one to three states (by BIC, unless conf sets them) named by their volatility, fitted by EM from "
    'several starts and served by the forward filter. Sources: L. Rabiner, "A tutorial on hidden Markov models", '
    'Proceedings of the IEEE 77, 1989, section III; J. Hamilton, "A new approach to the economic analysis of '
    'nonstationary time series and the business cycle", Econometrica 57, 1989.'
)


@dataclass(frozen=True)
class RegimeBundle(Bundle):
    """Parameters of `qts.regime.panel.fit_returns` for every instrument."""

    job: ClassVar[str] = "qts regime run --once"
    loader: ClassVar[str] = __name__

    def signature(self) -> ModelSignature:
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, DataType, Schema

        text, time, number = DataType.string, DataType.datetime, DataType.double
        given = {"instrument": text, "bar_time": time, "close": number}
        told = {"instrument": text, "bar_time": time, **dict.fromkeys((*NAMES, "volatility"), number)}
        inputs, outputs = (Schema([ColSpec(kind, name) for name, kind in part.items()]) for part in (given, told))
        return ModelSignature(inputs, outputs)

    def card(self, name: str) -> str:
        use = USE.format(
            name=name,
            gives="a row for every bar of an instrument but its first",
            when="Probabilities are of a row and those before it; `volatility` is the sd of the next log return.",
        )
        return f"{_ABOUT}\n\n{use}"

    def example(self) -> pd.DataFrame:
        return super().example()[["instrument", "bar_time", "close"]]


class PyFunc:
    """What `mlflow.pyfunc.load_model` gives: regimes for a table of bars."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Filtered regimes after each bar but an instrument's first, from the first bar given on.

        Args:
            bars: columns instrument, bar_time, close, in any order of rows. Instruments that the version does not know,
                or could not fit, are left out; so are bars without a positive close, as in the job: the next return
                counts from the last known close.

        Returns:
            instrument, bar_time, calm, normal, stressed, volatility.
        """
        parts = []
        prices = bars["close"].to_numpy(np.float64)
        known = bars[np.isfinite(prices) & (prices > 0)]
        for name, own in known.sort_values("bar_time", kind="stable").groupby("instrument", sort=True):
            params = self.bundle.parameters.get(str(name), {"method": UNFITTED})
            if params["method"] == UNFITTED or len(own) < 2:
                continue
            panel, close = Panel.of([params]), own["close"].to_numpy(np.float64)
            _, found = panel.filter.run(log_return(close[:-1], close[1:])[:, None])
            told = {state: values[:, 0] for state, values in panel.named(found).items()}
            told["volatility"] = panel.filter.next_sd(found.probability)[:, 0]
            parts.append(own[["instrument", "bar_time"]].iloc[1:].assign(**told))
        columns = ["instrument", "bar_time", *NAMES, "volatility"]
        return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _load_pyfunc(path: str) -> PyFunc:
    """MLflow's entry point of a loader module."""
    return PyFunc(RegimeBundle.read(Path(path)))
