from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import SparkSession

from qts.errors import ConfigError, MissingInput, ModelUnavailable
from qts.mlops.registry import Registry
from qts.mlops.tracking import Tracking
from qts.pipeline import forecast, forecast_online, forecast_survey
from qts.pipeline.batches import BatchLog
from qts.pipeline.training import Verdict
from qts.settings import Forecast, Mlflow, Settings
from qts.store.ledger import Ledger

_DAY = 86_400_000_000_000
_KEY = ["instrument", "target", "made_at", "horizon", "model"]


def _bars(bars: int, *, seed: int = 3, first: int = 0) -> pa.Table:
    """Bars `first` to `bars` of two lively series, one that never moves, one with gaps and one that is too short."""
    shocks = np.random.default_rng(seed).normal(size=(3, 1000, 5))
    level = 0.01 * np.exp(
        np.cumsum(0.1 * shocks[0], axis=0) - np.cumsum(0.02 * shocks[1], axis=0).mean(axis=1)[:, None]
    )
    close = 100 * np.exp(np.cumsum(np.clip(level, 0.002, 0.05) * shocks[2], axis=0))
    variance = np.clip(level, 0.002, 0.05) ** 2 * np.exp(0.3 * shocks[1])
    close[:, 2], variance[:, 2] = 50.0, np.nan
    close[40:90, 3] = np.nan
    variance[:, 3] = np.nan
    close[20:, 4] = np.nan
    rows = [
        {
            "instrument": name,
            "interval": "1d",
            "bar_time": pd.Timestamp((1 + t) * _DAY + 10_957 * _DAY, tz="UTC"),
            **dict.fromkeys(("open", "high", "low", "close"), close[t, n]),
            "realised_variance": variance[t, n],
            "provenance": "simulated_path" if n < 2 else "real",
        }
        for n, name in enumerate(("A'; DROP", "B", "CALM", "GAPS", "SHORT"))
        for t in range(first, bars)
        if np.isfinite(close[t, n]) or name == "GAPS"
    ]
    return pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False)


def _settings(workdir: Path, **changes: Any) -> Settings:
    own = {"models": ("naive", "ewma", "log_har"), "buckets": 3, **changes}
    return Settings(workdir=workdir, forecast=Forecast(**own))


def _read(settings: Settings) -> pd.DataFrame:
    rows: pd.DataFrame = Ledger(settings.tables).read("forecasts").to_pandas()
    return rows.sort_values([*_KEY, "version"], ignore_index=True)


@pytest.fixture(scope="module")
def first(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, Any]]:
    settings = _settings(tmp_path_factory.mktemp("forecast"))
    Ledger(settings.tables).append("bars_history", _bars(240))
    return settings, forecast.run(settings)


def test_every_later_bar_is_forecast_once(first: tuple[Settings, dict[str, Any]]) -> None:
    settings, summary = first
    rows = _read(settings)
    assert summary["forecasts"] == len(rows) > 0
    assert summary["mlflow_runs"] == 3
    assert summary["provenance"] == ["real", "simulated_path"]
    assert not rows.duplicated(_KEY).any()
    assert set(rows["instrument"]) == {"A'; DROP", "B", "CALM", "GAPS"}
    assert set(rows["model"]) == {"naive", "ewma", "log_har"}
    assert np.isfinite(rows.select_dtypes("float")).all(axis=None)
    # 240 bars, the first spent on a return, half of the rest for training.
    live = rows[(rows["instrument"] == "B") & (rows["model"] == "log_har") & (rows["target"] == "variance")]
    assert len(live) == 239 - 119
    assert (rows["lower_95"] <= rows["lower_80"]).all()
    assert (rows["upper_80"] <= rows["upper_95"]).all()


def test_no_forecast_lies_in_the_training_window(first: tuple[Settings, dict[str, Any]]) -> None:
    settings, _ = first
    registry = Registry(Tracking(settings.tracking_uri, "qts"))
    rows = _read(settings)
    for model, own in rows.groupby("model"):
        version, bundle = registry.load_alias(str(model))
        assert set(own["version"]) == {version}
        for name, made_at in own.groupby("instrument")["made_at"].min().items():
            assert made_at.value > bundle.parameters[str(name)]["trained_until"]


def test_a_series_that_does_not_fit_gets_a_simpler_model_and_the_run_says_so(
    first: tuple[Settings, dict[str, Any]],
) -> None:
    settings, summary = first
    tracking = Tracking(settings.tracking_uri, "qts")
    bundle = Registry(tracking).load_alias("log_har")[1]
    assert bundle.parameters["B"]["method"] == "log_har"
    assert bundle.parameters["CALM"]["method"] == "ewma"
    assert "constant" in bundle.parameters["CALM"]["fallback"]
    assert summary["models"]["log_har"]["methods"]["log_har"] >= 2
    runs = tracking.client.search_runs([tracking.experiment_id], "params.model = 'log_har'")
    assert len(runs) == 1
    assert "CALM" in json.loads(runs[0].data.params["fallback_reasons"])
    assert runs[0].data.params["version_of_bars_history"] == "1"
    assert runs[0].data.tags["qts.provenance"] == "real,simulated_path"
    assert 0 < runs[0].data.metrics["variance.qlike"] < 5
    assert runs[0].info.status == "FINISHED"


def test_no_pickle_is_written(first: tuple[Settings, dict[str, Any]]) -> None:
    files = [file for file in (first[0].workdir / "mlartifacts").rglob("*") if file.is_file()]
    assert {"parameters.json", "MLmodel", "har.py"} <= {file.name for file in files}
    assert not [file for file in files if file.suffix in {".pkl", ".pickle", ".joblib"}]


def test_the_pyfunc_loads_without_this_package_and_agrees(
    first: tuple[Settings, dict[str, Any]], tmp_path: Path
) -> None:
    settings, _ = first
    bars = Ledger(settings.tables).read("bars_history").to_pandas()
    bars["bar_time"] = bars["bar_time"].dt.tz_localize(None)
    bars[["instrument", "bar_time", "close", "realised_variance"]].to_parquet(tmp_path / "bars.parquet")
    script = f"""
import mlflow, pandas as pd
mlflow.set_tracking_uri({settings.tracking_uri!r})
model = mlflow.pyfunc.load_model("models:/qts-forecast-log_har@champion")
model.predict(pd.read_parquet("bars.parquet")).to_parquet("out.parquet")
"""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONWARNINGS"}
    } | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True, capture_output=True)
    theirs = pd.read_parquet(tmp_path / "out.parquet").rename(columns={"bar_time": "made_at"})
    theirs["made_at"] = theirs["made_at"].dt.tz_localize("UTC")
    ours = _read(settings).query("model == 'log_har'")
    both = ours.merge(theirs, on=["instrument", "target", "made_at"], suffixes=("", "_theirs"))
    assert len(both) == len(ours)
    for name in ("mean", "sd", "lower_80", "upper_95"):
        np.testing.assert_array_equal(both[name], both[f"{name}_theirs"])


def test_a_second_run_appends_nothing_and_new_bars_only_themselves(
    first: tuple[Settings, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(first[0].workdir, tmp_path / "copy")  # for others read the first one after
    settings, summary = _settings(tmp_path / "copy"), first[1]
    before = _read(settings)
    again = forecast.run(settings)
    assert again["forecasts"] == again["mlflow_runs"] == 0
    assert again["batch"] == summary["batch"]
    pd.testing.assert_frame_equal(_read(settings), before)

    # The new bars come from the stream this time; one of them is in the history too.
    ledger = Ledger(settings.tables)
    log = BatchLog(ledger, "trade", "stream")
    log.append("bars", 0, _bars(243, first=239))
    hidden = forecast.run(settings)
    assert hidden["forecasts"] == 0  # the batch of the new bars is not done
    log.done(0, {})
    grown = forecast.run(settings)
    after = _read(settings)
    new = after[after["made_at"] > before["made_at"].max()]
    assert grown["forecasts"] == len(new) == len(after) - len(before) == 3 * 4 * 3 * 2
    assert grown["mlflow_runs"] == 0
    pd.testing.assert_frame_equal(after[after["made_at"] <= before["made_at"].max()].reset_index(drop=True), before)


def test_stepping_through_bars_gives_the_bits_of_reading_the_history(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped, read = tmp_path / "stepped", tmp_path / "read"
    settings = _settings(stepped, models=("naive", "log_har", "har_leverage", "arima"))
    Ledger(settings.tables).append("bars_history", _bars(240))
    forecast.run(settings)
    shutil.copytree(stepped, read)
    monkeypatch.setattr(forecast_online, "_EVERY", 2)  # snapshots in between, and bars to step through again
    with monkeypatch.context() as patch:
        # Neither what came in a stream nor what came late or twice needs Spark.
        patch.setattr(forecast, "spark_session", lambda _: pytest.fail("read the history"))
        log = BatchLog(Ledger(settings.tables), "trade", "stream")
        job = forecast.Job(settings)
        for number, bar in enumerate(range(240, 247)):
            if number % 3:
                log.append("bars", number, _bars(bar + 1, first=bar - 1))
                log.done(number, {})
            else:
                Ledger(settings.tables).append("bars_history", _bars(bar + 1, first=bar))
            if number == 4:
                job = forecast.Job(settings)  # a restart
            assert job.next_batch()["forecasts"] == 4 * 7
    other = _settings(read, models=settings.forecast.models, buckets=2)
    Ledger(other.tables).append("bars_history", _bars(247, first=240))
    monkeypatch.setattr(forecast_survey, "MOST_NEW", 0)
    assert forecast.run(other)["forecasts"] == 7 * 4 * 7
    kept = [
        _read(which).query("batch_id > 0").drop(columns=["checkpoint_id", "batch_id"]) for which in (settings, other)
    ]
    pd.testing.assert_frame_equal(*(rows.reset_index(drop=True) for rows in kept))


@pytest.mark.parametrize("broken", ["make", pytest.param("save_state", marks=pytest.mark.slow), "done"])
def test_a_crash_at_any_step_leaves_the_same_rows(
    spark: SparkSession,
    first: tuple[Settings, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
) -> None:
    from qts.pipeline.forecast_versions import Versions

    undisturbed = _read(first[0]).query("batch_id == 0").drop(columns=["checkpoint_id"])
    settings = _settings(tmp_path, buckets=7)
    ledger = Ledger(settings.tables)
    ledger.append("bars_history", _bars(240))
    owner: Any = Versions if broken == "make" else BatchLog
    whole = getattr(owner, broken)
    calls = []

    def breaks(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if broken == "make":
            made = whole(*args, **kwargs)  # dies between two models
            if len(calls) < 2:
                return made
        raise RuntimeError("killed")

    monkeypatch.setattr(owner, broken, breaks)
    with pytest.raises(RuntimeError, match="killed"):
        forecast.run(settings)
    assert ledger.read("forecasts").num_rows == 0  # not done, so nobody sees them
    monkeypatch.undo()
    # What comes in between does not change the batch that was planned.
    ledger.append("bars_history", _bars(245, first=240))
    forecast.run(settings)
    pd.testing.assert_frame_equal(_read(settings).drop(columns=["checkpoint_id"]), undisturbed.reset_index(drop=True))
    versions = Registry(Tracking(settings.tracking_uri, "qts")).aliases("log_har")
    assert versions == {"champion": "1"}


def test_new_instruments_join_and_a_worse_refit_stays_challenger(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(tmp_path, models=("ewma",), refit_every=50)
    ledger = Ledger(settings.tables)
    bars = _bars(200)
    known = pc.is_in(bars["instrument"], pa.array(["A'; DROP", "B"]))
    ledger.append("bars_history", bars.filter(known))
    assert forecast.run(settings)["instruments"] == 2
    ledger.append("bars_history", bars.filter(pc.invert(known)))
    joined = forecast.run(settings)
    assert joined["models"]["ewma"]["version"] == "2"
    registry = Registry(Tracking(settings.tracking_uri, "qts"))
    old, new = (registry.load("ewma", version).parameters for version in ("1", "2"))
    assert set(new) - set(old) == {"CALM", "GAPS"}
    assert all(new[name] == old[name] for name in old)

    monkeypatch.setattr("qts.pipeline.forecast_versions._compared", lambda *_: Verdict(False, "it is worse"))
    ledger.append("bars_history", _bars(260, first=200))
    refitted = forecast.run(settings)
    assert refitted["models"]["ewma"]["version"] == "2"
    assert refitted["mlflow_runs"] == 1
    assert registry.aliases("ewma") == {"champion": "2", "challenger": "3"}
    assert set(_read(settings)["version"]) == {"1", "2"}
    assert not _read(settings).duplicated(_KEY).any()


def test_bad_bars_cost_nobody_a_forecast(spark: SparkSession, tmp_path: Path) -> None:
    """Times twice and in disorder, variances below zero, runs without a price, three bars, a price that never moves."""
    good = _bars(200).to_pandas()
    negative = good["bar_time"].dt.day % 5 == 0
    clean = good.assign(realised_variance=good["realised_variance"].mask(negative))
    messy = good.assign(realised_variance=good["realised_variance"].mask(negative, -1e-4))
    few = good[good["instrument"] == "B"].head(3).assign(instrument="FEW")
    messy = pd.concat([messy, messy[negative], few])[::-1]
    kept = {}
    for name, rows in (("clean", clean), ("messy", messy)):
        settings = _settings(tmp_path / name, models=("ewma", "log_har", "har_rls", "drift"))
        ledger = Ledger(settings.tables)
        ledger.append("bars_history", pa.Table.from_pandas(rows, preserve_index=False))
        summary = forecast.run(settings)
        assert summary["models"]["log_har"]["methods"]["log_har"] >= 2
        ledger.append("bars_history", _bars(202, first=199))  # the newest bar comes again, with the next two
        grown = forecast.run(settings)
        assert grown["forecasts"] == 2 * 4 * (3 * 2 + 1)
        kept[name] = _read(settings).drop(columns=["checkpoint_id"])
    pd.testing.assert_frame_equal(kept["messy"], kept["clean"])
    assert set(kept["messy"]["instrument"]) == {"A'; DROP", "B", "CALM", "GAPS"}
    assert not kept["messy"].duplicated(_KEY).any()


def test_clear_errors(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="There are no 1d bars"):
        forecast.run(_settings(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="Did you mean 'har'"):
        forecast.run(_settings(tmp_path / "unknown", models=("harr",)))
    (tmp_path / "file").write_text("no folder")
    down = Settings(workdir=tmp_path / "down", mlflow=Mlflow(tracking_uri=f"sqlite:///{tmp_path}/file/mlflow.db"))
    Ledger(down.tables).append("bars_history", _bars(80))
    with pytest.raises(ModelUnavailable, match=r"Check mlflow\.tracking_uri"):
        forecast.run(down)
    up = down.model_copy(update={"mlflow": Mlflow()})
    assert forecast.run(up)["forecasts"] > 0  # nothing was lost
