"""A forecast batch that was planned works with the champion of its plan, wherever the alias points by then."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from qts.mlops.registry import CHAMPION, Registry
from qts.mlops.tracking import Tracking
from qts.pipeline import forecast, forecast_batch
from qts.settings import Forecast, Settings
from qts.store.ledger import Ledger


def bars(first: int, last: int) -> pa.Table:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.01, (2, last)), axis=1))
    rows = [
        {
            "instrument": name,
            "interval": "1d",
            "bar_time": pd.Timestamp("2015-01-01", tz="UTC") + pd.Timedelta(days=day),
            "close": close[number, day],
        }
        for number, name in enumerate(("IRON", "TIN"))
        for day in range(first, last)
    ]
    return pa.Table.from_pylist(rows)


def move_alias(settings: Settings) -> None:
    """Another version, which would forecast something else, becomes the champion."""
    registry = Registry(Tracking(settings.tracking_uri, settings.mlflow.experiment))
    _, bundle = registry.load_alias("ewma")
    other = {name: {**params, "decay": 0.5} for name, params in bundle.parameters.items()}
    run = registry.tracking.run("other", "other")
    version = registry.register(type(bundle)(bundle.model, bundle.interval, other), run.info.run_id, "other", {})
    registry.set_alias("ewma", CHAMPION, version)


def forecasts(settings: Settings) -> list[str]:
    rows = Ledger(settings.tables).read("forecasts").drop_columns(["checkpoint_id", "batch_id"]).to_pylist()
    return sorted(repr(row) for row in rows)


def test_an_alias_that_moved_changes_nothing(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, killed, moved = (
        Settings(workdir=tmp_path / name, forecast=Forecast(models=("ewma",), buckets=2))
        for name in ("plain", "killed", "moved")
    )
    Ledger(plain.tables).append("bars_history", bars(0, 100))
    forecast.run(plain)
    Ledger(plain.tables).append("bars_history", bars(100, 106))
    for other in (killed, moved):
        shutil.copytree(plain.workdir, other.workdir)
    forecast.run(plain)
    with monkeypatch.context() as patch:
        patch.setattr(forecast_batch.Batch, "_append", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            forecast.run(killed)
    move_alias(killed)
    forecast.run(killed)
    assert forecasts(killed) == forecasts(plain)
    move_alias(moved)  # before the plan is made it counts
    forecast.run(moved)
    assert forecasts(moved) != forecasts(plain)
