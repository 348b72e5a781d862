from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qts.errors import ModelRefused, ModelUnavailable
from qts.mlops.bundle import Bundle, PyFunc
from qts.mlops.cache import ChampionCache
from qts.mlops.registry import CHAMPION, Registry
from qts.mlops.tracking import Tracking

_DAY = 86_400_000_000_000
_PARAMS = {
    "method": "naive",
    "fallback": "",
    "trained_until": 0,
    "bars": 20,
    "variance": {"level": 1.0, "sd": 0.5, "quantiles": [0.5, 2.0, 0.2, 4.0]},
    "return": {"sd": 1.0, "quantiles": [-1.3, 1.3, -2.0, 2.0]},
}


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracking(f"sqlite:///{folder}/made/mlflow.db", "qts", folder / "mlartifacts")


def test_versions_and_aliases(tracking: Tracking) -> None:
    registry = Registry(tracking)
    with pytest.raises(ModelUnavailable, match="Run `qts forecast --once`"):
        registry.load_alias("naive")
    run = tracking.run("forecast naive", "key:1", {"a": "b"})
    assert tracking.run("forecast naive", "key:1").info.run_id == run.info.run_id
    first = Bundle("naive", _DAY, {"A": _PARAMS})
    version = registry.register(first, run.info.run_id, "1", {"qts.promoted": "true"})
    assert registry.register(first, run.info.run_id, "1", {}) == version == "1"
    found = registry.find("naive", "1")
    assert found is not None
    assert found[0] == "1"
    assert {"qts.promoted": "true", "qts.key": "1"}.items() <= found[1].items()
    assert registry.find("naive", "2") is None
    registry.set_alias("naive", CHAMPION, version)
    assert registry.load_alias("naive") == ("1", first)
    held = registry.load("naive", "1")
    assert registry.load("naive", "1") is held  # read once

    other = Bundle("naive", _DAY, {"A": _PARAMS, "B": _PARAMS})
    registry.register(other, run.info.run_id, "2", {})
    assert registry.load_alias("naive")[1] is held
    registry.set_alias("naive", CHAMPION, "2")
    assert registry.load_alias("naive") == ("2", other)  # the alias moved
    registry.drop_alias("naive", CHAMPION)
    assert registry.aliases("naive") == {}
    with pytest.raises(ModelUnavailable, match="99"):
        registry.load("naive", "99")


def test_a_registered_name_is_valid_for_any_experiment() -> None:
    assert Registry(Tracking("databricks://x", "/Users/me@x.org/qts")).registered_name("log_har") == (
        "Users-me-x-org-qts-forecast-log_har"
    )


def test_many_metrics_in_few_requests(tracking: Tracking) -> None:
    run_id = tracking.run("many", "many").info.run_id
    tracking.log(
        run_id, metrics={f"m{n}": n for n in range(1500)}, params={f"p{n}": "x" * 9000 for n in range(150)}, step=3
    )
    tracking.finish(run_id)
    run = tracking.client.get_run(run_id)
    assert len(run.data.metrics) == 1500
    assert len(run.data.params) == 150
    assert run.info.status == "FINISHED"


def test_files_stay_beside_the_database(tracking: Tracking, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    run = tracking.run("place", "place")
    tracking.client.log_text(run.info.run_id, "x", "x.txt")
    assert not list(tmp_path.iterdir())
    assert tracking.artifacts is not None
    assert list(tracking.artifacts.rglob("x.txt"))


def _registered(folder: Path, cache: ChampionCache | None = None) -> Registry:
    registry = Registry(Tracking(f"sqlite:///{folder}/mlflow.db", "qts", folder / "mlartifacts"), cache=cache)
    run = registry.tracking.run("forecast naive", "key")
    registry.register(Bundle("naive", _DAY, {"A": _PARAMS}), run.info.run_id, "1", {})
    registry.set_alias("naive", CHAMPION, "1")
    return registry


def test_a_file_that_was_tampered_with_is_refused_and_a_registry_that_is_down_is_stood_in_for(tmp_path: Path) -> None:
    cache = ChampionCache(tmp_path / "champions")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    before = _registered(tmp_path, cache)
    assert before.champions(["naive", "log_har"]) == ({"naive": "1", "log_har": None}, "")
    bundle = before.load("naive", "1")

    (file,) = (tmp_path / "mlartifacts").rglob("parameters.json")
    honest = file.read_text()
    file.write_text(honest.replace("0.5", "0.7"))
    with pytest.raises(ModelRefused, match=r"version 1 is not the one that was registered: its SHA-256"):
        Registry(Tracking(uri, "qts"), cache=cache).load("naive", "1")
    file.write_text(honest)
    assert Registry(Tracking(uri, "qts")).load("naive", "1") == bundle

    unreachable = f"sqlite:///{file}/mlflow.db"  # below a file, where no folder can be
    down = Registry(Tracking(unreachable, "qts"), cache=cache)
    versions, reason = down.champions(["naive", "log_har"])
    assert versions == {"naive": "1", "log_har": None}
    assert "mlflow.db failed" in reason
    assert down.load("naive", "1") == bundle
    with pytest.raises(ModelUnavailable):
        down.load("naive", "2")
    with pytest.raises(ModelUnavailable):
        down.champions(["log_har"])
    (kept,) = (tmp_path / "champions").rglob("1-*.json")
    kept.write_text(kept.read_text().replace("0.5", "0.7"))
    with pytest.raises(ModelUnavailable):
        Registry(Tracking(unreachable, "qts"), cache=cache).load("naive", "1")


def test_the_cache_keeps_the_champion_and_the_newest_version(tmp_path: Path) -> None:
    cache = ChampionCache(tmp_path / "made" / "here")
    assert cache.champions() == {}
    assert cache.load("m", "1") is None
    bundle = Bundle("naive", _DAY, {"A": _PARAMS})
    for version in ("1", "2", "3"):
        cache.keep("m", version, bundle)
        if version == "2":
            cache.name_champions({"m": "2"})
    assert cache.load("m", "1") is None
    assert cache.load("m", "2") == cache.load("m", "3") == bundle  # the champion, and the newest


def test_what_instruments_share_is_written_once(tmp_path: Path) -> None:
    parameters = {name: {**_PARAMS, "state": name, "shared": "x" * 500} for name in ("A", "B", "C")}
    bundle = Bundle("lstm", _DAY, {**parameters, "SHORT": _PARAMS})
    file = tmp_path / "parameters.json"
    file.write_text(bundle.to_json())
    assert len(file.read_text()) < 1600
    assert Bundle.read(file) == bundle


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "mlruns"])
def test_the_file_store_is_refused(uri: str) -> None:
    with pytest.raises(ModelUnavailable, match="file stores are not used"):
        Tracking(uri, "qts")


def test_a_store_that_is_down_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelUnavailable, match=r"sqlite:///.*file/mlflow\.db failed"):
        _ = Tracking(f"sqlite:///{tmp_path}/file/mlflow.db", "qts").experiment_id


def test_a_bundle_forecasts_the_instruments_it_knows(tmp_path: Path) -> None:
    file = tmp_path / "parameters.json"
    file.write_text(Bundle("naive", _DAY, {"A": _PARAMS}).to_json())
    bundle = Bundle.read(file)
    assert bundle.methods() == {"naive": 1}
    bars = pd.DataFrame(
        {
            "instrument": ["A", "A", "B", "B"],
            "bar_time": pd.to_datetime(["2020-01-01", "2020-01-02"] * 2),
            "close": [1.0, 1.1, 1.0, 1.1],
            "realised_variance": [1e-4, 2e-4] * 2,
        }
    )
    found = PyFunc(bundle).predict(bars)
    assert found["instrument"].unique().tolist() == ["A"]
    variance = found.query("target == 'variance'").iloc[0]
    assert (variance["mean"], variance["lower_80"], variance["upper_95"]) == pytest.approx((2e-4, 1e-4, 8e-4))
    assert variance["bar_time"] == pd.Timestamp("2020-01-02")


def test_a_bundle_passes_the_measures_on_that_its_model_uses() -> None:
    rng = np.random.default_rng(0)
    variance = 1e-4 * np.exp(0.3 * rng.normal(size=40))
    bars = pd.DataFrame(
        {
            "instrument": "A",
            "bar_time": pd.date_range("2020-01-01", periods=40),
            "close": 50 * np.exp(np.cumsum(np.sqrt(variance) * rng.normal(size=40))),
            "realised_variance": variance,
            "semivariance_minus": 0.9 * variance,
            "semivariance_plus": 0.1 * variance,
        }
    )
    figures = {"sd": 1.0, "level": 1.0, "quantiles": [0.5, 2.0, 0.3, 3.0]}
    parameters = {
        "method": "log_har_rs",
        "fallback": "",
        "trained_until": 2**62,
        "bars": 0,
        "beta": [-2.0, 0.3, 0.1, 0.2, 0.2],
        "variance": figures,
        "return": figures,
    }
    model = PyFunc(Bundle("log_har_rs", _DAY, {"A": parameters}))
    whole, without = (
        model.predict(table).query("target == 'variance'")["mean"].to_numpy()
        for table in (bars, bars.drop(columns=["semivariance_minus"]))
    )
    assert len(whole) == 39 - 21
    assert whole / without == pytest.approx(1.8**0.3)  # a neutral share is a half, and the coefficient .3
