"""A registry that is down, cannot be written or holds a bad file: the last good models serve, and an alert says so."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from qts import cli
from qts.errors import ModelUnavailable
from qts.mlops.registry import CHALLENGER, CHAMPION, Registry
from qts.mlops.tracking import Tracking
from qts.pipeline import alerts, forecast, monitor, regimes, train
from qts.pipeline.training import Verdict
from qts.settings import Forecast, Mlflow, Regime, Settings
from qts.store.ledger import Ledger

pytestmark = pytest.mark.usefixtures("spark")
_NAMES = ("IRON", "TIN")


def add_bars(settings: Settings, first: int, last: int) -> None:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.01, (2, 400)), axis=1))
    rows = [
        {
            "instrument": name,
            "interval": "1d",
            "bar_time": pd.Timestamp("2015-01-01", tz="UTC") + pd.Timedelta(days=day),
            "close": close[number, day],
        }
        for number, name in enumerate(_NAMES)
        for day in range(first, last)
    ]
    Ledger(settings.tables).append("bars_history", pa.Table.from_pylist(rows))


def settings_of(workdir: Path, **changes: Any) -> Settings:
    regime = Regime(states=1, min_history=100, starts=1, buckets=1, **changes)
    return Settings(workdir=workdir, forecast=Forecast(models=("ewma",), buckets=1, **changes), regime=regime)


def told(settings: Settings, job: str) -> list[tuple[int, str, str, bool]]:
    """Batch, code and severity of every alert of a job, and whether it was cleared."""
    ledger = Ledger(settings.tables)
    over = set(ledger.read("alert_events")["alert_id"].to_pylist())
    rows = ledger.read("alerts").to_pandas().query("job == @job").sort_values(["batch_id", "code"])
    columns = ("batch_id", "code", "severity", "alert_id")
    return [
        (n, code, severity, name in over) for n, code, severity, name in zip(*(rows[c] for c in columns), strict=True)
    ]


@contextmanager
def broken(settings: Settings) -> Iterator[None]:
    """The database is no database meanwhile."""
    file = settings.workdir / "mlflow.db"
    whole = file.read_bytes() if file.exists() else None
    file.write_bytes(b"no database" * 100)
    yield
    if whole is None:
        file.unlink()
    else:
        file.write_bytes(whole)


@contextmanager
def read_only(settings: Settings) -> Iterator[None]:
    """A trigger refuses every new run and version, as the database of a read-only disk would."""
    import sqlite3

    refuse = "CREATE TRIGGER no_{0} BEFORE INSERT ON {0} BEGIN SELECT RAISE(ABORT, 'read-only'); END"
    for command in (refuse, "DROP TRIGGER no_{0}"):
        with sqlite3.connect(settings.workdir / "mlflow.db") as database:
            for table in ("runs", "model_versions"):
                database.execute(command.format(table))
        if command is refuse:
            yield


JOBS = {
    "forecast": (forecast.run, "forecasts", "qts-forecast-ewma"),
    "regime": (regimes.run, "regimes", "qts-regime-hmm"),
}


@pytest.mark.parametrize("job", ["forecast", pytest.param("regime", marks=pytest.mark.slow)])
def test_a_registry_that_is_down_stops_nothing_that_has_begun(
    job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run, table, _ = JOBS[job]
    settings = settings_of(tmp_path)
    add_bars(settings, 0, 160)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        nobody = Mlflow(tracking_uri=f"http://127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(ModelUnavailable, match="Connection refused"):
            run(settings.model_copy(update={"mlflow": nobody}))  # no champion was ever here
    assert told(settings, job) == [(0, "registry_down", "error", False)]
    assert run(settings)["alerts"] == []
    assert told(settings, job) == [(0, "registry_down", "error", True)]

    rows = Ledger(settings.tables).read(table).num_rows
    with broken(settings):
        for day in (160, 161):
            add_bars(settings, day, day + 1)
            summary = run(settings)
            assert [alert["code"] for alert in summary["alerts"]] == ["registry_down"]
            assert "not a database" in summary["alerts"][0]["message"]
        assert run(settings)["batch"] == 2  # no new bar, no new batch
    assert told(settings, job)[1:] == [(1, "registry_down", "warning", False)]  # one, not one a batch
    each = 2 * (2 if job == "forecast" else 1)
    assert Ledger(settings.tables).read(table).num_rows == rows + 2 * each
    assert run(settings)["alerts"] == []  # nor is one needed for the alert to end
    assert told(settings, job)[1:] == [(1, "registry_down", "warning", True)]
    assert run(settings)["batch"] == 3
    add_bars(settings, 162, 163)
    assert run(settings)["alerts"] == []
    assert Ledger(settings.tables).read(table).num_rows == rows + 3 * each


@pytest.mark.parametrize("job", ["regime", pytest.param("forecast", marks=pytest.mark.slow)])
def test_a_fit_that_cannot_be_registered_waits_while_the_champion_goes_on(job: str, tmp_path: Path) -> None:
    run, table, model = JOBS[job]
    settings = settings_of(tmp_path, refit_every=20)
    add_bars(settings, 0, 160)
    run(settings)
    add_bars(settings, 160, 185)
    with read_only(settings):
        summary = run(settings)
        assert [alert["code"] for alert in summary["alerts"]] == ["registry_down"]
        assert "read-only" in summary["alerts"][0]["message"]
        assert summary["mlflow_runs"] == 0
    rows = Ledger(settings.tables).read(table).to_pandas()
    assert rows["version"].unique().tolist() == ["1"]
    assert rows["batch_id"].max() == 1
    after = run(settings)  # what waited is done without a new bar
    assert (after["mlflow_runs"], after["alerts"]) == (1, [])
    registered = Tracking(settings.tracking_uri, "qts").client.get_registered_model(model)
    assert 2 in map(int, registered.aliases.values())


@pytest.mark.parametrize("job", JOBS)
def test_a_champion_that_was_tampered_with_is_refused_and_the_last_good_one_serves(job: str, tmp_path: Path) -> None:
    run, table, model = JOBS[job]
    settings = settings_of(tmp_path)
    add_bars(settings, 0, 160)
    run(settings)
    client = Tracking(settings.tracking_uri, "qts").client
    (file,) = (settings.workdir / "mlartifacts").rglob("parameters.json")
    honest = file.read_bytes()
    rows = Ledger(settings.tables).read(table).num_rows
    # Another version becomes the champion, and its file is not what was registered.
    first = client.get_model_version(model, "1")
    client.create_model_version(model, first.source, tags={"qts.sha256": "0" * 64})
    client.set_registered_model_alias(model, CHAMPION, "2")
    for day in (160, 161):
        add_bars(settings, day, day + 1)
        summary = run(settings)
        assert [alert["code"] for alert in summary["alerts"]] == ["model_refused"]
        assert "version 2 is not the one that was registered" in summary["alerts"][0]["message"]
    assert told(settings, job) == [(1, "model_refused", "error", False)]
    found = Ledger(settings.tables).read(table).to_pandas()
    assert len(found) > rows
    assert set(found["version"]) == {"1"}
    # The good one's own file, too: this machine has a copy.
    client.set_registered_model_alias(model, CHAMPION, "1")
    file.write_bytes(honest[:-2] + b" }")
    add_bars(settings, 162, 163)
    assert "version 1 is not the one" in run(settings)["alerts"][0]["message"]
    file.write_bytes(honest)
    add_bars(settings, 163, 164)
    assert run(settings)["alerts"] == []
    assert told(settings, job) == [(1, "model_refused", "error", True)]


def test_without_a_copy_it_is_refused_in_one_line_and_training_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(tmp_path)
    add_bars(settings, 0, 160)
    train.run(settings)
    for file in [*tmp_path.rglob("mlartifacts/**/parameters.json"), *tmp_path.glob("champions/**/1-*.json")]:
        file.write_text(file.read_text().replace("0.94", "0.49"))
    monkeypatch.setenv("QTS_FORECAST__MODELS", '["ewma"]')
    assert cli.main(["forecast", "--once", "--json", "--workdir", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = [line for line in said.err.splitlines() if line.startswith("qts:")]
    assert "is not the one that was registered" in line
    assert told(settings, "forecast") == [(0, "model_refused", "error", False)]
    assert train.run(settings)["models"]["ewma"]["version"] == "2"
    assert forecast.run(settings)["forecasts"] > 0
    assert told(settings, "forecast") == [(0, "model_refused", "error", True)]


def test_scores_are_kept_while_mlflow_is_down(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    add_bars(settings, 0, 160)
    forecast.run(settings)
    with broken(settings):
        down = monitor.run(settings)
    assert down["scored"] > 0
    assert [alert["code"] for alert in down["alerts"]] == ["registry_down"]
    assert Ledger(settings.tables).read("forecast_scores").num_rows == down["scored"]
    add_bars(settings, 160, 161)
    up = monitor.run(settings)
    assert up["alerts"] == []
    tracking = Tracking(settings.tracking_uri, "qts")
    (logged,) = tracking.client.search_runs([tracking.experiment_id], "tags.`qts.job` = 'monitor'")
    assert logged.data.metrics["return.n"] == (down["scored"] + up["scored"]) / 2
    assert told(settings, "monitor") == [(0, "registry_down", "warning", True)]


class StoppedError(Exception):
    """Somebody stopped the job."""


def test_a_running_job_waits_for_the_registry_and_a_first_start_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(tmp_path)
    add_bars(settings, 0, 160)

    def stop(_: float) -> None:
        raise StoppedError

    monkeypatch.setattr(alerts, "time", SimpleNamespace(sleep=stop))
    with broken(settings), pytest.raises(ModelUnavailable):
        forecast.run(settings, once=False, train=True)
    with pytest.raises(StoppedError):
        forecast.run(settings, once=False, train=True)
    add_bars(settings, 160, 165)
    with broken(settings), pytest.raises(StoppedError):
        forecast.run(settings, once=False, train=True)  # tried, and was stopped while it waited
    assert told(settings, "train") == [
        (0, "registry_down", "error", True),
        (1, "registry_down", "error", False),
    ]
    with pytest.raises(StoppedError):
        forecast.run(settings, once=False, train=True)
    assert told(settings, "train")[1] == (1, "registry_down", "error", True)


def test_a_refit_that_loses_is_not_repeated_bar_by_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path, refit_every=20)
    add_bars(settings, 0, 160)
    forecast.run(settings)
    monkeypatch.setattr("qts.pipeline.forecast_versions._compared", lambda *_: Verdict(False, "it is worse"))
    runs = []
    for first, last in ((160, 180), (180, 181), (181, 199), (199, 200), (200, 201)):
        add_bars(settings, first, last)
        runs.append(forecast.run(settings)["mlflow_runs"])
    assert runs == [1, 0, 0, 1, 0]
    assert Registry(Tracking(settings.tracking_uri, "qts")).aliases("ewma") == {CHAMPION: "1", CHALLENGER: "3"}


def test_a_model_of_other_bars_does_not_serve(spark: SparkSession, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    add_bars(settings, 0, 160)
    ledger = Ledger(settings.tables)
    days = ledger.read("bars_history").to_pandas()
    begin = days["bar_time"].min()
    hours = days.assign(interval="1h", bar_time=begin + (days["bar_time"] - begin) / 24)
    ledger.append("bars_history", pa.Table.from_pandas(hours, preserve_index=False))
    for run in (forecast.run, regimes.run):
        run(settings)
        hourly = settings.model_copy(update={"bars": settings.bars.model_copy(update={"decision": "1h"})})
        summary = run(hourly)
        assert summary["mlflow_runs"] == 1
    made = ledger.read("forecasts").to_pandas().query("version == '2'")
    assert len(made) == 2 * 2 * (159 - 79)
    assert ((made["target_time"] - made["made_at"]) == pd.Timedelta(hours=1)).all()
    found = ledger.read("regimes").to_pandas()
    assert found.groupby("version")["interval"].unique().map(list).to_dict() == {"1": ["1d"], "2": ["1h"]}
    assert json.dumps(sorted(found["interval"].value_counts().to_dict().values())) == "[160, 160]"
