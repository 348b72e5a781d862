"""The train job: fits every configured forecaster now and registers its version; the forecast job serves by alias."""

from __future__ import annotations

from typing import Any

from qts.pipeline import forecast
from qts.settings import Settings


def run(settings: Settings, *, once: bool = True) -> dict[str, Any]:
    """One MLflow run and one model version for every configured forecaster.

    A version that forecasts no worse than the champion, on bars that neither was fitted to, becomes the champion; any
    other the challenger.

    Args:
        once: fit all of them now; else fit those that are due (`forecast.refit_every`) whenever there are new bars.

    Returns:
        models (version, methods, figures out of sample), instruments, bars, provenance, mlflow_runs, batch.

    Raises:
        MissingInput: there are no bars of the decision interval.
        ModelUnavailable: MLflow cannot be reached.
        ConfigError: a model's name is unknown.
    """
    return forecast.run(settings, once=once, train=True)
