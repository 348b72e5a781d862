"""The regime job: rows after training only, the same bits however bars are cut into batches, exactly once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from qts.errors import MissingInput
from qts.market.returns import log_return
from qts.mlops.regimes import RegimeBundle
from qts.mlops.registry import Registry
from qts.mlops.tracking import Tracking
from qts.pipeline import regimes
from qts.pipeline.batches import BatchLog
from qts.regime.forward import filter_series
from qts.regime.model import Regimes
from qts.settings import Regime, Settings
from qts.store.ledger import Ledger

pytestmark = pytest.mark.usefixtures("spark")
_KEY = ["instrument", "bar_time", "version"]


def closes(bars: int) -> dict[str, np.ndarray]:
    """Three lively series with calm and wild stretches, one that never moves, one that is too short."""
    rng = np.random.default_rng(3)
    wild = (np.arange(600) // 40) % 2 == 1
    found = {name: 100 * np.exp(np.cumsum(np.where(wild, 0.03, 0.005) * rng.normal(size=600))) for name in "ABC"}
    return {
        name: values[:bars] for name, values in {**found, "STILL": np.full(600, 9.0), "NEW": found["A"][:20]}.items()
    }


def bars(first: int, last: int) -> pa.Table:
    rows = [
        {
            "instrument": name,
            "interval": "1d",
            "bar_time": pd.Timestamp("2015-01-01", tz="UTC") + pd.Timedelta(days=day),
            "close": float(values[day]),
        }
        for name, values in closes(last).items()
        for day in range(first, min(last, len(values)))
    ]
    return pa.Table.from_pylist(rows)


def settings_of(workdir: Path, **changes: Any) -> Settings:
    conf = {"states": 2, "min_history": 100, "starts": 2, "buckets": 2, "refit_every": 10_000}
    return Settings(workdir=workdir, regime=Regime(**{**conf, **changes}))


def read(settings: Settings) -> pd.DataFrame:
    rows: pd.DataFrame = Ledger(settings.tables).read("regimes").to_pandas()
    return rows.drop(columns=["checkpoint_id", "batch_id"]).sort_values(_KEY, ignore_index=True)


@pytest.fixture(scope="module")
def cut(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, list[dict[str, Any]]]:
    """Four batches: 300 bars, one more, none, 40 more."""
    settings = settings_of(tmp_path_factory.mktemp("cut"))
    ledger, told = Ledger(settings.tables), []
    for first, last in ((0, 300), (300, 301), (0, 0), (301, 341)):
        if last:
            ledger.append("bars_history", bars(first, last))
        told.append(regimes.run(settings))
    return settings, told


def test_every_bar_after_training_has_its_regime_once(cut) -> None:
    settings, told = cut
    rows = read(settings)
    assert not rows.duplicated(_KEY).any()
    assert set(rows["instrument"]) == {"A", "B", "C"}
    assert [batch["regimes"] for batch in told] == [3 * (299 - 149), 3, 0, 120]
    assert [batch["mlflow_runs"] for batch in told] == [1, 0, 0, 0]
    np.testing.assert_allclose(rows[["calm", "normal", "stressed"]].sum(axis=1), 1)
    assert (rows["normal"] == 0).all()
    assert set(rows["regime"]) == {"calm", "stressed"}
    wild = ((rows["bar_time"].dt.dayofyear - 1 + 365 * (rows["bar_time"].dt.year - 2015)) // 40) % 2 == 1
    assert ((rows["regime"] == "stressed") == wild).mean() > 0.85


def test_it_is_the_forward_filter_of_the_registered_parameters(cut) -> None:
    settings, _ = cut
    registry = Registry(Tracking(settings.tracking_uri, "qts"), "regime", RegimeBundle)
    version, bundle = registry.load_alias("hmm")
    assert bundle.parameters["STILL"]["method"] == "none"
    assert "does not move" in bundle.parameters["STILL"]["fallback"]
    assert "NEW" not in bundle.parameters
    rows = read(settings)
    assert set(rows["version"]) == {version}
    for name in "ABC":
        own, close = rows[rows["instrument"] == name], closes(341)[name]
        found = filter_series(Regimes.of_params(bundle.parameters[name]), log_return(close[:-1], close[1:]))
        np.testing.assert_array_equal(own["calm"], found.probability[-len(own) :, 0])
        np.testing.assert_array_equal(own["log_density"], found.log_density[-len(own) :])
        assert own["bar_time"].min().value > bundle.parameters[name]["trained_until"]
        assert own.loc[own["regime"] == "stressed", "volatility"].mean() > 2 * own["volatility"].min()


def test_the_run_shows_what_it_was_and_the_pyfunc_agrees(cut, monkeypatch) -> None:
    import mlflow

    monkeypatch.setattr(sys, "path", list(sys.path))  # which `load_model` puts the model's own code in front of
    settings, told = cut
    tracking = Tracking(settings.tracking_uri, "qts")
    run = tracking.client.search_runs([tracking.experiment_id], "tags.`qts.job` = 'regime'")[0]
    assert run.info.status == "FINISHED"
    assert run.data.params["unfitted"] == "1"
    assert "STILL" in json.loads(run.data.params["fallback_reasons"])
    assert run.data.metrics["gain_over_normal"] > 0.1
    assert told[0]["metrics"]["gain_over_normal"] == pytest.approx(run.data.metrics["gain_over_normal"])
    place = tracking.client.get_model_version_download_uri("qts-regime-hmm", "1")
    model = mlflow.pyfunc.load_model(place)
    given = bars(0, 341).to_pandas()[["instrument", "bar_time", "close"]]
    given["bar_time"] = given["bar_time"].dt.tz_localize(None)
    theirs = model.predict(given)
    assert set(theirs["instrument"]) == {"A", "B", "C"}
    both = read(settings).assign(bar_time=lambda rows: rows["bar_time"].dt.tz_localize(None).astype("datetime64[ns]"))
    both = both.merge(theirs, on=["instrument", "bar_time"], suffixes=("", "_theirs"))
    assert len(both) == len(read(settings))
    np.testing.assert_array_equal(both["stressed"], both["stressed_theirs"])


def test_buckets_change_no_bit(cut, tmp_path) -> None:
    """The same batches in one bucket; MLflow's version is fitted anew from the same bars."""
    settings = settings_of(tmp_path, buckets=1)
    ledger = Ledger(settings.tables)
    for first, last in ((0, 300), (300, 341)):
        ledger.append("bars_history", bars(first, last))
        regimes.run(settings)
    pd.testing.assert_frame_equal(read(settings), read(cut[0]), check_exact=True)


class KilledError(Exception):
    """The process ended here."""


@pytest.mark.parametrize(
    "place", ["save_state", *(pytest.param(p, marks=pytest.mark.slow) for p in ("append", "done"))]
)
def test_a_batch_that_was_killed_is_repeated_exactly(place, cut, tmp_path, monkeypatch) -> None:
    settings = settings_of(tmp_path)
    ledger = Ledger(settings.tables)
    ledger.append("bars_history", bars(0, 300))
    original = getattr(BatchLog, place)

    def killed(*arguments: Any, **keywords: Any) -> None:
        original(*arguments, **keywords)
        raise KilledError

    for number, (first, last) in enumerate(((0, 0), (300, 341))):
        if number:
            ledger.append("bars_history", bars(first, last))
        with monkeypatch.context() as patched:
            patched.setattr(BatchLog, place, killed)
            with pytest.raises(KilledError):
                regimes.run(settings)
        regimes.run(settings)
    pd.testing.assert_frame_equal(read(settings), read(cut[0]), check_exact=True)
    tracking = Tracking(settings.tracking_uri, "qts")
    assert len(tracking.client.search_model_versions("name = 'qts-regime-hmm'")) == 1


def test_a_refit_takes_over_or_stands_by_and_is_not_repeated(tmp_path) -> None:
    settings = settings_of(tmp_path, refit_every=100)
    ledger = Ledger(settings.tables)
    ledger.append("bars_history", bars(0, 300))
    assert regimes.run(settings)["fitted"] == 4
    ledger.append("bars_history", bars(300, 420))
    second = regimes.run(settings)
    assert second["fitted"] == 4
    ledger.append("bars_history", bars(420, 425))
    third = regimes.run(settings)
    assert third["fitted"] == 0
    assert third["regimes"] == 15
    rows = read(settings)
    assert not rows.duplicated(["instrument", "bar_time"]).any()
    aliases = Registry(Tracking(settings.tracking_uri, "qts"), "regime", RegimeBundle).aliases("hmm")
    assert aliases in ({"champion": "2"}, {"champion": "1", "challenger": "2"})
    assert set(rows.loc[rows["bar_time"] >= "2016-02-26", "version"]) == {aliases["champion"]}


def test_no_bars_no_regimes(tmp_path) -> None:
    with pytest.raises(MissingInput, match="There are no 1d bars"):
        regimes.run(settings_of(tmp_path))
    settings = settings_of(tmp_path)
    Ledger(settings.tables).append("bars_history", bars(0, 60))
    told = regimes.run(settings)
    assert (told["regimes"], told["version"], told["fitted"]) == (0, None, 0)
