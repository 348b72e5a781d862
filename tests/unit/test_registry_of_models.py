from __future__ import annotations

import base64
import json
import math
import re
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qts.errors import ModelRefused, ModelUnavailable
from qts.forecast.history import History
from qts.forecast.registry import build
from qts.mlops.bundle import Bundle, PyFunc
from qts.mlops.cache import ChampionCache
from qts.mlops.regimes import PyFunc as RegimePyFunc
from qts.mlops.regimes import RegimeBundle
from qts.mlops.registry import CHAMPION, Registry, Served
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


@pytest.fixture
def folder(tracking: Tracking, tmp_path: Path) -> Path:
    """A folder with a database of its own; to make one takes MLflow a second, to copy one nothing."""
    assert tracking.experiment_id
    assert tracking.artifacts is not None
    shutil.copy(tracking.artifacts.parent / "made" / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that refuses connections: its port is held, so that nobody else takes it, and nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


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


def test_a_run_names_its_source_and_an_experiment_its_kind(tracking: Tracking) -> None:
    run = tracking.client.get_run(
        tracking.run("forecast naive", "source", {"qts.job": "forecast", "mlflow.user": "me"}, 86_400_000).info.run_id
    )
    assert run.info.start_time == 86_400_000
    assert run.data.tags["mlflow.source.name"] == "qts forecast"
    assert run.data.tags["mlflow.user"] == "me"
    tags = tracking.client.get_experiment(tracking.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    for name in ("forecast", "regime", "monitor", "backtest"):
        assert f"'{name}'" in tags["mlflow.note.content"]
    assert tracking.client.search_runs([tracking.experiment_id], "tags.\"qts.job\" = 'forecast'")  # as it says there


def test_the_tables_that_a_run_read_are_its_data_sets(tracking: Tracking) -> None:
    run_id = tracking.run("data", "data").info.run_id
    for _ in range(2):  # a replay
        tracking.read(run_id, {"bars": ("/tables/bars", 0), "bars_history": ("/tables/bars_history", 7)})
    found = {each.dataset.name: each.dataset for each in tracking.client.get_run(run_id).inputs.dataset_inputs}
    assert found.keys() == {"bars", "bars_history"}
    assert json.loads(found["bars_history"].source) == {"path": "/tables/bars_history", "delta_table_version": 7}
    assert found["bars_history"].digest.startswith("v7-")


def test_a_run_may_fail_and_go_on(tracking: Tracking) -> None:
    run_id = tracking.run("failed", "failed").info.run_id
    tracking.finish(run_id, failed=True)
    assert tracking.client.get_run(run_id).info.status == "FAILED"
    tracking.log(run_id, metrics={"m": 1.0})
    tracking.finish(run_id)
    assert tracking.client.get_run(run_id).info.status == "FINISHED"


def test_files_stay_beside_the_database(tracking: Tracking, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    run = tracking.run("place", "place")
    tracking.client.log_text(run.info.run_id, "x", "x.txt")
    assert not list(tmp_path.iterdir())
    assert tracking.artifacts is not None
    assert list(tracking.artifacts.rglob("x.txt"))


def _version(registry: Registry, number: int, level: float) -> Bundle:
    """Registers a version and makes it the champion."""
    params = {**_PARAMS, "variance": {**_PARAMS["variance"], "level": level}}
    bundle = Bundle("naive", _DAY, {"A": params})
    run = registry.tracking.run("forecast naive", "key")
    version = registry.register(bundle, run.info.run_id, str(number), {})
    assert version == str(number)
    registry.tracking.client.set_registered_model_alias("own-forecast-naive", CHAMPION, version)
    return bundle


def _file_of(folder: Path, level: float) -> Path:
    (file,) = (f for f in (folder / "mlartifacts").rglob("parameters.json") if f'"level": {level}' in f.read_text())
    return file


def test_what_serves_while_the_champion_is_not_to_be_had(folder: Path) -> None:
    uri = f"sqlite:///{folder}/mlflow.db"
    cache = ChampionCache(folder / "champions")

    def registry(uri: str = uri, cache: ChampionCache | None = cache) -> Registry:
        return Registry(Tracking(uri, "own", folder / "mlartifacts"), cache=cache, patience=0)

    running = registry()
    first = _version(running, 1, 1.25)
    assert running.serve(["naive", "log_har"]) == Served({"naive": "1", "log_har": None})

    file = _file_of(folder, 1.25)
    honest = file.read_bytes()
    file.write_bytes(honest.replace(b"1.25", b"1.75"))
    refusal = r"version 1 is not the one that was registered: its SHA-256"
    with pytest.raises(ModelRefused, match=refusal):
        registry(cache=None).load("naive", "1")
    nothing = registry(cache=None).serve(["naive"])
    assert nothing.versions == {"naive": None}
    with pytest.raises(ModelRefused, match=refusal):
        nothing.check()
    copied = registry().serve(["naive"])  # this machine has a copy of it
    assert copied.versions == {"naive": "1"}
    assert "its SHA-256" in copied.refused["naive"]
    restarted = registry()
    assert restarted.load("naive", "1") == first
    file.write_bytes(honest)
    assert restarted.serve(["naive"]).refused == {}  # and noticed that the file is whole again

    _version(registry(), 2, 2.25)
    newer = _file_of(folder, 2.25)
    newer.write_bytes(newer.read_bytes()[:-1])
    for served in (registry().serve(["naive"]), running.serve(["naive"]), running.serve(["naive"])):
        assert served.versions == {"naive": "1"}  # the champion never was good here
        assert "version 2" in served.refused["naive"]
    shutil.rmtree(newer.parent)  # not tampered with, gone
    assert "parameters.json" in registry().serve(["naive"]).refused["naive"]
    assert running.load("naive", "1") == first


def test_a_registry_that_is_down_is_stood_in_for(folder: Path, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    cache = ChampionCache(folder / "champions")
    up = Registry(Tracking(f"sqlite:///{folder}/mlflow.db", "own", folder / "mlartifacts"), cache=cache)
    bundle = _version(up, 1, 1.25)
    up.serve(["naive", "log_har"])
    down = Registry(Tracking(nobody, "own"), cache=cache)
    served = down.serve(["naive", "log_har"])
    assert served.versions == {"naive": "1", "log_har": None}
    assert re.search(r"MLflow at http\S+ failed: .*Connection refused\. Check mlflow", served.down)
    assert served.refused == {}
    assert down.load("naive", "1") == bundle
    with pytest.raises(ModelUnavailable):
        down.load("naive", "2")
    with pytest.raises(ModelUnavailable, match="Connection refused"):
        down.serve(["log_har"]).check()
    (kept,) = (folder / "champions").rglob("1-*.json")
    kept.write_text(kept.read_text().replace("1.25", "1.75"))
    with pytest.raises(ModelUnavailable):
        Registry(Tracking(nobody, "own"), cache=cache).load("naive", "1")


def test_a_registry_that_is_down_is_not_asked_by_every_batch(folder: Path) -> None:
    cache = ChampionCache(folder / "champions")
    tracking = Tracking(f"sqlite:///{folder}/mlflow.db", "own", folder / "mlartifacts")
    registry = Registry(tracking, cache=cache, patience=math.inf)
    _version(registry, 1, 1.25)
    registry.serve(["naive"])
    database = folder / "mlflow.db"
    whole = database.read_bytes()
    database.write_bytes(b"no database" * 100)
    assert "not a database" in registry.serve(["naive"]).down
    database.write_bytes(whole)
    assert "not a database" in registry.serve(["naive"]).down  # as it was a moment ago
    registry.patience = 0
    assert registry.serve(["naive"]) == Served({"naive": "1"})


_STATE = base64.b64encode(np.linspace(0, 1, 20).tobytes()).decode()
_HMM = {"method": "hmm", "fallback": "", "mean": [0.0], "sd": [0.01], "transition": [[1.0]], "start": [1.0], "ar": []}


@pytest.mark.parametrize(
    ("bundle", "kind"),
    [
        (Bundle("log_har", _DAY, {"A": {**_PARAMS, "beta": [0.1, 0.2]}}), "forecast"),
        (Bundle("arima", _DAY, {"A": {"method": "arima", "state": _STATE, "layout": "[]"}}), "forecast"),
        (Bundle("lstm", _DAY, {n: {"method": "lstm", "state": _STATE, "shared": _STATE} for n in "AB"}), "forecast"),
        (RegimeBundle("hmm", _DAY, {"A": _HMM}), "regime"),
    ],
    ids=["numbers", "a price model's state", "a network's weights", "a regime model"],
)
def test_one_bit_of_a_models_file_is_enough(tracking: Tracking, bundle: Bundle, kind: str) -> None:
    registry = Registry(tracking, kind, type(bundle))
    run = tracking.run(f"bits {bundle.model}", f"bits {bundle.model}").info.run_id
    version = registry.register(bundle, run, "1", {})
    assert registry.load(bundle.model, version) == bundle
    assert tracking.artifacts is not None
    (file,) = (tracking.artifacts / run).rglob("parameters.json")
    honest = file.read_bytes()
    rng = np.random.default_rng(0)
    for place, bit in zip(rng.integers(len(honest), size=8), rng.integers(8, size=8), strict=True):
        flipped = bytearray(honest)
        flipped[place] ^= 1 << bit
        file.write_bytes(bytes(flipped))
        with pytest.raises(ModelRefused, match=r"not the one that was registered"):
            Registry(tracking, kind, type(bundle)).load(bundle.model, version)


def test_the_cache_keeps_the_champion_and_the_newest_version(tmp_path: Path) -> None:
    cache = ChampionCache(tmp_path / "made" / "here")
    assert cache.champion("m") is None
    assert cache.load("m", "1") is None
    bundle = Bundle("naive", _DAY, {"A": _PARAMS})
    for version in ("1", "2", "3"):
        cache.keep("m", version, bundle)
        if version == "2":
            cache.name_champion("m", "2")
            cache.name_champion("other", "1")
    assert cache.load("m", "1") is None
    assert cache.load("m", "2") == cache.load("m", "3") == bundle  # the champion, and the newest
    assert (cache.champion("m"), cache.champion("other")) == ("2", "1")
    again = Bundle("naive", _DAY, {"B": _PARAMS})
    cache.keep("m", "2", again)  # of a registry that was made anew, and counts from 1
    assert cache.load("m", "2") == again


def test_jobs_share_the_cache(tmp_path: Path) -> None:
    """Four threads keep, name, load and clean up the same model; none fails, and no reader sees half a file."""
    cache, bundle = ChampionCache(tmp_path), Bundle("naive", _DAY, dict.fromkeys(map(str, range(50)), _PARAMS))

    def work(seed: int) -> set[bool]:
        seen = set()
        for version in np.random.default_rng(seed).integers(1, 6, size=40).astype(str):
            cache.keep("m", version, bundle)
            cache.name_champion("m", version)
            seen.add(cache.load("m", version) in (bundle, None))
            seen.add(cache.champion("m") in set("12345"))
        return seen

    with ThreadPoolExecutor(4) as pool:
        assert set().union(*pool.map(work, range(4))) == {True}
    assert not list(tmp_path.rglob(".*"))


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


@pytest.mark.parametrize("name", ["naive", "ewma", "log_har", "har_rls", "har_leverage", "arima", "drift", "smoothing"])
def test_the_input_example_of_a_model_gets_forecasts(name: str) -> None:
    rng = np.random.default_rng(2)
    rows = 200
    history = History.pack(
        ["A", "SHORT"],
        np.repeat([0, 1], [rows, 3]),
        np.append(np.arange(rows), [0, 1, 2]) * _DAY,
        100 * np.exp(np.cumsum(0.01 * rng.normal(size=rows + 3))),
        1e-4 * np.exp(0.3 * rng.normal(size=rows + 3)),
        _DAY,
    )
    model = build([name])[name]
    bundle = Bundle(name, _DAY, dict(zip(history.instruments, model.fit(history), strict=True)))
    example = bundle.example()
    told = PyFunc(bundle).predict(example)
    assert set(told["target"]) == set(model.targets)
    assert told["bar_time"].max() == example["bar_time"].max()
    assert np.isfinite(told.select_dtypes("float")).all(axis=None)


def test_the_input_example_of_a_regime_model_gets_regimes() -> None:
    bundle = RegimeBundle("hmm", _DAY, {"A": _HMM, "NEW": {"method": "none", "fallback": "short"}})
    assert len(RegimePyFunc(bundle).predict(bundle.example())) == len(bundle.example()) - 1


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
