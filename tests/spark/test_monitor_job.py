from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from qts.errors import StoreError
from qts.forecast.history import History, variance_floor
from qts.forecast.scores import log_score, qlike
from qts.mlops.tracking import Tracking
from qts.pipeline import listener as health
from qts.pipeline import monitor
from qts.pipeline.batches import BatchLog
from qts.settings import Settings
from qts.store.ledger import Ledger

_DAY = 86_400_000_000_000


def _times(days: list[int]) -> pd.DatetimeIndex:
    return pd.to_datetime([day * _DAY for day in days], utc=True)


def _bars(close: dict[str, list[float]], days: list[int], variance: float = np.nan) -> pa.Table:
    frames = [
        pd.DataFrame(
            {
                "instrument": name,
                "interval": "1d",
                "bar_time": _times(days),
                "close": np.array(prices, float),
                "realised_variance": variance,
                "provenance": "simulated_path" if np.isfinite(variance) else "real",
            }
        )
        for name, prices in close.items()
    ]
    return pa.Table.from_pandas(pd.concat(frames), preserve_index=False)


def _forecasts(days: list[int], mean: float, target: str = "variance") -> pa.Table:
    made_at = _times(days)
    return pa.Table.from_pandas(
        pd.DataFrame(
            {
                "instrument": "A",
                "target": target,
                "made_at": made_at,
                "target_time": made_at + pd.Timedelta(days=1),
                "horizon": 1,
                "model": "log_har",
                "version": "1",
                "mean": mean,
                "sd": 0.02,
                "lower_80": mean / 2 - 1e-9,
                "upper_80": mean * 2,
                "lower_95": mean / 9 - 1,
                "upper_95": mean * 9 + 1,
            }
        ),
        preserve_index=False,
    )


@pytest.fixture
def workdir(tmp_path: Path) -> Settings:
    """Bars on a Thursday, a Friday, a Monday and a Tuesday; forecasts after each, the last of them open."""
    settings = Settings(workdir=tmp_path)
    ledger = Ledger(settings.tables)
    ledger.append("bars_history", _bars({"A": [100, 101, 101, 99], "B": [5, 6, 7, 8]}, [1, 2, 5, 6]))
    log = BatchLog(ledger, "forecast", "f")
    rows = pa.concat_tables([_forecasts([1, 2, 5, 6], 1e-4), _forecasts([1, 2, 5, 6], 0.0, "return")])
    log.append("forecasts", 0, rows)
    log.done(0, {})
    log.append("forecasts", 1, _forecasts([1], 9e-4))  # of a batch that never ended
    return settings


def test_matured_forecasts_are_scored_once(spark: SparkSession, workdir: Settings) -> None:
    summary = monitor.run(workdir)
    ledger = Ledger(workdir.tables)
    rows = ledger.read("forecast_scores").to_pandas().sort_values(["target", "made_at"], ignore_index=True)
    assert summary["scored"] == len(rows) == 6
    returns = np.log([101 / 100, 101 / 101, 99 / 101])
    np.testing.assert_allclose(rows["actual"][:3], returns, atol=1e-15)
    np.testing.assert_allclose(rows["loss"][:3], log_score(returns, np.zeros(3), np.full(3, 0.02)))
    variance = np.maximum(returns**2, variance_floor(_DAY))
    np.testing.assert_allclose(rows["actual"][3:], variance)
    np.testing.assert_allclose(rows["loss"][3:], qlike(variance, np.full(3, 1e-4)))
    assert rows["inside_80"][3:].tolist() == [True, False, False]
    # Friday's forecast is about Monday's bar, whatever its nominal target time says.
    assert (rows["target_time"][1] - rows["made_at"][1]).days == 3
    assert summary["provenance"] == ["real"]
    assert summary["models"]["log_har"]["variance.n"] == 3
    assert summary["models"]["log_har"]["variance.qlike"] == pytest.approx(rows["loss"][3:].mean())

    again = monitor.run(workdir)
    assert again["scored"] == 0
    assert again["models"] == summary["models"]
    ledger.append("bars_history", _bars({"A": [98]}, [7], 5e-4))
    grown = monitor.run(workdir)
    assert grown["scored"] == 2
    assert grown["provenance"] == ["real", "simulated_path"]
    assert grown["models"]["log_har"]["variance.n"] == 4
    scored = ledger.read("forecast_scores").to_pandas()
    assert not scored.duplicated(["instrument", "target", "made_at", "model", "version"]).any()
    assert scored.query("target == 'variance'")["actual"].max() == 5e-4

    tracking = Tracking(workdir.tracking_uri, "qts")
    (run,) = tracking.client.search_runs([tracking.experiment_id], "tags.`qts.job` = 'monitor'")
    assert run.data.tags["qts.provenance"] == "real,simulated_path"
    assert "forecast_scores" in run.data.tags["mlflow.note.content"]
    assert run.info.status == "FINISHED"
    steps = [metric.step for metric in tracking.client.get_metric_history(run.info.run_id, "variance.rmse")]
    assert steps == [0, 1]


def test_a_crash_before_the_end_scores_nothing_twice(
    spark: SparkSession, workdir: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(BatchLog, "done", killed)
    with pytest.raises(RuntimeError, match="killed"):
        monitor.run(workdir)
    monkeypatch.undo()
    assert monitor.run(workdir)["scored"] == 6
    assert Ledger(workdir.tables).read("forecast_scores").num_rows == 6


def test_outcomes_are_what_forecasters_are_fitted_to(spark: SparkSession) -> None:
    rng = np.random.default_rng(1)
    close = np.exp(np.cumsum(rng.normal(0, 0.01, 50))).tolist()
    close[7] = close[6]
    close[20], close[30] = float("nan"), -1.0
    table = _bars({"A": close}, list(range(50)))
    variance = rng.uniform(1e-5, 1e-3, 50)
    variance[10:20], variance[21] = np.nan, 0.0
    table = table.set_column(table.schema.get_field_index("realised_variance"), "realised_variance", pa.array(variance))
    found = monitor.outcomes(spark.createDataFrame(table), _DAY).toPandas().sort_values("made_at")
    times = np.arange(50) * _DAY
    history = History.pack(["A"], np.zeros(50, np.int64), times, np.array(close), variance, _DAY)
    for target, values in (("return", history.returns), ("variance", history.variance)):
        own = found[found["target"] == target]
        np.testing.assert_allclose(own["actual"], values[:, 0], rtol=1e-9, atol=1e-15)


def test_nothing_to_score(spark: SparkSession, tmp_path: Path) -> None:
    summary = monitor.run(Settings(workdir=tmp_path))
    assert (summary["scored"], summary["models"], summary["health"]) == (0, {}, {})


def test_batches_of_a_query_reach_pipeline_health(spark: SparkSession, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "tables")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("1\n2\n3\n")
    stream = spark.readStream.schema("n int").csv(str(tmp_path / "in"))
    own = stream.writeStream.foreachBatch(lambda rows, _: rows.count()).trigger(availableNow=True)
    other = stream.writeStream.queryName("trade").foreachBatch(lambda rows, _: rows.count()).trigger(availableNow=True)
    with health.noting(spark, ledger, "ingest"):
        for name, query in (("own", own), ("other", other)):
            query.option("checkpointLocation", str(tmp_path / name)).start().awaitTermination()
    rows = ledger.read("pipeline_health").to_pylist()
    assert [(row["job"], row["spark_batch"], row["rows_in"]) for row in rows] == [("ingest", 0, 3)]
    detail = json.loads(rows[0]["detail"])
    assert detail["phases_ms"]["addBatch"] >= 0
    assert rows[0]["duration_ms"] > 0


def test_a_table_that_cannot_be_written_does_not_reach_the_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(Ledger, "append", refuses)
    monkeypatch.setattr(health, "health_row", lambda job, progress: {"job": job})
    listener = health.HealthListener(Ledger(tmp_path), "ingest")

    class Event:
        class progress:  # noqa: N801
            name, runId, batchId = "ingest", "r", 0  # noqa: N815

    listener.onQueryProgress(Event())  # type: ignore[arg-type]
    listener.onQueryProgress(object())  # type: ignore[arg-type]
    listener.close()
    assert "could not be written" in caplog.text
    assert "were lost" in caplog.text
