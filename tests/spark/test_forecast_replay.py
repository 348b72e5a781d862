"""What may have changed when a job starts again: its models, the registry, how far the batch before had come."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession
from test_registry_outage import add_bars, settings_of

from qts.mlops.registry import CHAMPION, Registry
from qts.mlops.tracking import Tracking
from qts.pipeline import forecast, forecast_batch, regimes
from qts.pipeline.batches import BatchLog
from qts.settings import Forecast, Settings
from qts.store.ledger import Ledger

pytestmark = pytest.mark.usefixtures("spark")


def with_models(settings: Settings, *models: str) -> Settings:
    return settings.model_copy(update={"forecast": Forecast(models=models, buckets=1)})


def read(settings: Settings) -> pd.DataFrame:
    rows: pd.DataFrame = Ledger(settings.tables).read("forecasts").to_pandas()
    return rows


class KilledError(Exception):
    """The process ended here."""


def killed(*_: object, **__: object) -> None:
    raise KilledError


def test_models_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path)
    both = ("ewma", "naive")
    for number, models in enumerate((("ewma",), both, ("naive",), both, both)):
        add_bars(settings, 160 * (number > 0) + 2 * (number - 1) * (number > 0), 160 + 2 * number)
        if number == 3:  # the batch was planned by the list before, and killed
            with monkeypatch.context() as patch:
                patch.setattr(forecast_batch.Batch, "_append", killed)
                with pytest.raises(KilledError):
                    forecast.run(with_models(settings, "naive"))
        told = forecast.run(with_models(settings, *models))
        assert set(told["models"]) == ({"naive"} if number == 3 else set(models))
    rows = read(settings)
    assert not rows.duplicated(["instrument", "target", "made_at", "model"]).any()
    # Every bar after training, those of the time without the model, too.
    begun = rows.groupby(["model", "instrument", "target"])["made_at"].agg(["min", "max", "count"])
    days = (begun["max"] - begun["min"]).dt.days + 1
    assert (days == begun["count"]).all()
    assert begun["max"].nunique() == 1
    assert len(begun) == 2 * 2 * 2


@pytest.mark.parametrize("job", ["forecast", "regime"])
def test_a_version_that_a_plan_names_may_be_gone_for_good(
    job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(tmp_path)
    run, model = (forecast.run, "ewma") if job == "forecast" else (regimes.run, "hmm")
    add_bars(settings, 0, 160)
    run(settings)
    add_bars(settings, 160, 162)
    with monkeypatch.context() as patch:
        patch.setattr(BatchLog, "append", killed)
        with pytest.raises(KilledError):
            run(settings)
    tracking = Tracking(settings.tracking_uri, "qts")
    tracking.client.delete_model_version(f"qts-{job}-{model}", "1")
    shutil.rmtree(settings.workdir / "champions")
    summary = run(settings)  # fits anew
    assert summary["mlflow_runs"] == 1
    assert summary["alerts"] == []
    assert Registry(tracking, job).aliases(model) == {CHAMPION: "2"}
    rows = Ledger(settings.tables).read(f"{job}s").to_pandas()
    assert rows.query("batch_id == 1")["version"].unique().tolist() == ["2"]
    key = ["instrument", "target", "made_at"] if job == "forecast" else ["instrument", "bar_time"]
    assert not rows.duplicated(key).any()


def test_a_registry_that_goes_down_before_the_alias_is_moved(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch has written by its new version: it waits, and ends as if nothing had happened."""
    from qts.errors import ModelUnavailable

    settings = settings_of(tmp_path)
    add_bars(settings, 0, 160)

    def down(*_: object) -> None:
        raise ModelUnavailable("MLflow is down.")

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "set_alias", down)
        with pytest.raises(ModelUnavailable):
            forecast.run(settings)
        with monkeypatch.context() as deeper:
            deeper.setattr(Registry, "find", down)
            with pytest.raises(ModelUnavailable):
                forecast.run(settings)
    assert Ledger(settings.tables).read("forecasts").num_rows == 0
    assert forecast.run(settings)["mlflow_runs"] == 1
    assert set(read(settings)["version"]) == {"1"}
    assert Registry(Tracking(settings.tracking_uri, "qts")).aliases("ewma") == {CHAMPION: "1"}
