"""Training on its own, what a run keeps, and forecasting while the registry is down."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from qts.mlops.registry import Registry
from qts.mlops.tracking import Tracking
from qts.pipeline import forecast, train
from qts.settings import Forecast, Settings
from qts.store.ledger import Ledger

_MODELS = ("ewma", "arima")


def _bars(first: int, last: int) -> pa.Table:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.01, (3, 400)), axis=1))
    close[2] = 7.0  # never moves
    rows = [
        {
            "instrument": name,
            "interval": "1d",
            "bar_time": pd.Timestamp("2015-01-01", tz="UTC") + pd.Timedelta(days=day),
            "close": close[number, day],
            "provenance": "real",
        }
        for number, name in enumerate(("IRON", "TIN", "STILL"))
        for day in range(first, last)
    ]
    return pa.Table.from_pylist(rows)


@pytest.fixture(scope="module")
def settings(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = Settings(workdir=tmp_path_factory.mktemp("train"), forecast=Forecast(models=_MODELS, buckets=2))
    Ledger(made.tables).append("bars_history", _bars(0, 160))
    return made


def test_training_registers_and_forecasting_serves(settings: Settings) -> None:
    trained = train.run(settings)
    assert trained["mlflow_runs"] == 2
    assert trained["forecasts"] == 0
    served = forecast.run(settings)
    assert served["mlflow_runs"] == 0  # the champions of the train job
    assert {found["version"] for found in served["models"].values()} == {"1"}
    rows = Ledger(settings.tables).read("forecasts").to_pandas()
    assert set(rows["model"]) == set(_MODELS)
    assert set(rows.loc[rows["model"] == "arima", "target"]) == {"return"}
    assert np.isfinite(rows.select_dtypes("float")).all(axis=None)
    assert (rows["lower_95"] <= rows["lower_80"]).all()

    tracking = Tracking(settings.tracking_uri, "qts")
    registry = Registry(tracking)
    assert train.run(settings)["mlflow_runs"] == 2  # on demand, however few bars came since
    aliases = registry.aliases("arima")
    assert "2" in aliases.values()
    assert forecast.run(settings)["forecasts"] == 0  # no new bars

    (run,) = tracking.client.search_runs([tracking.experiment_id], "params.model = 'arima'")[1:]
    assert run.data.params["version_of_bars_history"] == "1"
    assert "return.coverage_80" in run.data.metrics
    assert any(name.startswith("within_bucket.") and name.endswith(".return.rmse") for name in run.data.metrics)
    names = {file.path for file in tracking.client.list_artifacts(run.info.run_id)}
    assert {"accuracy.csv", "calibration.svg", "model"} <= names
    folder = tracking.client.download_artifacts(run.info.run_id, "accuracy.csv")
    table = pd.read_csv(io.StringIO(Path(folder).read_text())).set_index("instrument")
    assert table.loc["IRON", "method"] == "arima"
    assert table.loc["STILL", "fallback"] == "arima: the series never moves"


@pytest.mark.slow
def test_the_network_and_the_ensemble_go_from_training_to_forecasts(spark: SparkSession, tmp_path: Path) -> None:
    models = ("lstm", "ensemble")
    made = Settings(workdir=tmp_path, forecast=Forecast(models=models, buckets=2))
    ledger = Ledger(made.tables)
    ledger.append("bars_history", _bars(0, 390))
    trained = train.run(made)
    assert trained["models"]["lstm"]["methods"] == {"lstm": 3}
    assert trained["models"]["ensemble"]["methods"] == {"ensemble": 3}
    job = forecast.Job(made)
    assert job.next_batch()["mlflow_runs"] == 0
    served = []
    for day in range(390, 393):
        ledger.append("bars_history", _bars(day, day + 1))
        served.append(job.next_batch()["forecasts"])
    assert served == [3 * len(models)] * 3
    rows = ledger.read("forecasts").to_pandas()
    assert set(rows["model"]) == set(models)
    assert set(rows["version"]) == {"1"}
    assert not rows.duplicated(["instrument", "target", "made_at", "model"]).any()
    assert np.isfinite(rows.select_dtypes("float")).all(axis=None)
    lively = rows[rows["instrument"] != "STILL"]
    actual = lively.merge(_returns(), on=["instrument", "target_time"])
    inside = (actual["lower_95"] <= actual["actual"]) & (actual["actual"] <= actual["upper_95"])
    assert inside.groupby(actual["model"]).mean().between(0.9, 0.99).all()


def _returns() -> pd.DataFrame:
    bars = _bars(0, 393).to_pandas().sort_values(["instrument", "bar_time"])
    bars["actual"] = np.log(bars["close"]).groupby(bars["instrument"]).diff()
    return bars.rename(columns={"bar_time": "target_time"})[["instrument", "target_time", "actual"]]
