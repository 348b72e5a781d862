"""What MLflow shows of a model and its versions: descriptions, made once, that say what served, why, and how well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from qts.forecast.about import ABOUT
from qts.forecast.history import FURTHER
from qts.forecast.registry import names
from qts.mlops.bundle import Bundle
from qts.mlops.registry import CHALLENGER, CHAMPION, Registry
from qts.mlops.tracking import Tracking
from qts.pipeline import forecast_versions, regime_versions
from qts.pipeline.forecast_buckets import FitBucket
from qts.pipeline.forecast_survey import Survey
from qts.store.ledger import Ledger

_DAY = 86_400_000_000_000
_BARS = 240


def market(seed: int = 3) -> pa.RecordBatch:
    """Bars of three instruments, and none of whose parameters."""
    rng = np.random.default_rng(seed)
    variance = 1e-4 * np.exp(np.cumsum(rng.normal(0, 0.2, (3, _BARS)), axis=1))
    close = 50 * np.exp(np.cumsum(np.sqrt(variance) * rng.normal(size=(3, _BARS)), axis=1))
    return pa.RecordBatch.from_pydict(
        {
            "instrument": np.repeat(["A", "B", "C"], _BARS),
            "at": np.tile(np.arange(_BARS) * _DAY // 1000, 3),
            "close": close.ravel(),
            "realised_variance": variance.ravel(),
            **{name: np.full(3 * _BARS, np.nan) for name in FURTHER},
            "model": pa.nulls(3 * _BARS, pa.string()),
            "params": pa.nulls(3 * _BARS, pa.string()),
        }
    )


def fits(*models: str, held: dict[str, dict[str, Any]] | None = None, seed: int = 3) -> dict[str, list[dict[str, Any]]]:
    """What the workers hand back, by model."""
    bars = market(seed)
    rows = [
        {"instrument": name, "model": model, "params": json.dumps(params)}
        for model, by_name in (held or {}).items()
        for name, params in by_name.items()
    ]
    beside = [pa.RecordBatch.from_pylist(rows, bars.schema)] if rows else []
    found: dict[str, list[dict[str, Any]]] = {}
    for batch in FitBucket(_DAY, dict.fromkeys(models, "all"), 0.5, 60)(iter([bars, *beside])):
        for row in batch.to_pylist():
            row |= {"bucket": 0, "scores": json.loads(row["scores"])}
            found.setdefault(row["model"], []).append(row)
    return found


def bundle_of(model: str, rows: list[dict[str, Any]]) -> Bundle:
    return Bundle(model, _DAY, {row["instrument"]: json.loads(row["params"]) for row in rows})


def plan_of(champion: str | None, *models: str) -> dict[str, Any]:
    return {
        "tables": {"bars": -1, "bars_history": 4, "batches": 9},
        "interval": "1d",
        "config": {"models": list(models), "buckets": 1},
        "champions": dict.fromkeys(models, champion),
        "champion": champion,
        "now": "2020-05-01T12:00:00+00:00",
        "code": "0.1.0",
    }


@pytest.fixture(scope="module")
def survey() -> Survey:
    last = (_BARS - 1) * _DAY // 1000
    return Survey(dict.fromkeys("ABC", _BARS), dict.fromkeys("ABC", last), dict.fromkeys("ABC", 1.0), 0, ("real",))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("pages")
    return Registry(Tracking(f"sqlite:///{folder}/mlflow.db", "qts", folder / "mlartifacts"))


def versions(registry: Registry, batch: int, folder: Path) -> forecast_versions.Versions:
    return forecast_versions.Versions(registry, batch, f"checkpoint:{batch}", Ledger(folder / "tables"))


def test_every_forecaster_says_what_it_is() -> None:
    assert set(ABOUT) == set(names())
    for name in names():
        card = Bundle(name, _DAY, {}).card(f"qts-forecast-{name}")
        assert len(card) < 5000
        assert ABOUT[name] in card
        assert f'load_model("models:/qts-forecast-{name}@champion")' in card


def test_baselines_are_scored_on_the_bars_of_the_model() -> None:
    found = fits("naive", "ewma", "log_har", "drift")
    assert {name: set(rows[0]["scores"]) for name, rows in found.items()} == {
        "naive": {"new", "old", "ewma"},
        "ewma": {"new", "old", "naive"},
        "log_har": {"new", "old", "naive", "ewma"},
        "drift": {"new", "old", "naive", "ewma"},
    }
    for row, naive in zip(found["log_har"], found["naive"], strict=True):
        assert row["scores"]["naive"] == naive["scores"]["new"]
    for row in found["drift"]:
        assert set(row["scores"]["ewma"]) == {"return"}
        assert row["scores"]["ewma"]["return"][0] == row["scores"]["new"]["return"][0]


def test_a_version_says_why_it_serves_and_a_replay_says_it_once(
    registry: Registry, survey: Survey, tmp_path: Path
) -> None:
    client = registry.tracking.client
    found = fits("log_har", "naive")
    rows = found["log_har"]
    bundle, plan = bundle_of("log_har", rows), plan_of(None, "log_har")
    made = [versions(registry, 0, tmp_path).make(bundle, rows, False, plan, survey) for _ in range(2)]
    assert made[0] == made[1]
    assert versions(registry, 0, tmp_path).made("log_har") == made[0]
    name = registry.registered_name("log_har")
    (version,) = client.search_model_versions(f"name = '{name}'")
    text = version.description
    assert text.startswith("**Became the champion**: there was no champion before it.")
    assert "720 bars from 1970-01-01 on, real; read from bars_history at version 4." in text
    assert "| out of sample | this version | naive | ewma |" in text
    qlike = made[0].metrics["variance.qlike"]
    assert f"| variance.qlike | {qlike:.5g} |" in text
    assert client.get_registered_model(name).description == bundle.card(name)
    assert client.get_registered_model(name).tags["qts.model"] == "log_har"

    run = client.get_run(version.run_id)
    assert text in run.data.tags["mlflow.note.content"]
    assert run.data.tags["qts.promoted"] == "true"
    assert run.data.params["version_of_bars"] == "none"
    bars, loss = np.sum([row["scores"]["new"]["variance"] for row in found["naive"]], axis=0)[[0, 2]]
    assert run.data.metrics["versus_naive.variance.qlike"] == pytest.approx(loss / bars)
    figures = [name for name in sorted(run.data.metrics) if "qlike" in name]  # in the order of the charts
    assert figures == [
        "variance.qlike",
        "versus_ewma.variance.qlike",
        "versus_naive.variance.qlike",
        "within_bucket.000.variance.qlike",
    ]
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.name == "bars_history"
    assert json.loads(data.dataset.source)["path"] == str(tmp_path / "tables" / "bars_history")
    assert run.info.start_time == pd.Timestamp(plan["now"]).value // 10**6
    assert json.loads(run.data.tags["mlflow.log-model.history"])[0]["artifact_path"] == "model"

    client.update_registered_model(name, "Mine.")
    better = versions(registry, 1, tmp_path).make(bundle, rows, False, plan, survey)
    assert (better.version, client.get_registered_model(name).description) == ("2", "Mine.")
    client.update_registered_model(name, "")  # of the time when there were none
    versions(registry, 2, tmp_path).make(bundle, rows, False, plan, survey)
    assert client.get_registered_model(name).description == bundle.card(name)


@pytest.mark.parametrize("better", [False, True])
def test_a_version_is_set_beside_the_champion(registry: Registry, survey: Survey, tmp_path: Path, better: bool) -> None:
    held = {"ewma": bundle_of("ewma", fits("ewma")["ewma"]).parameters}
    rows = fits("ewma", held={name: dict(p) for name, p in held.items()})["ewma"]
    for row in rows:  # QLIKE, summed
        row["scores"]["old"]["variance"][2] = row["scores"]["new"]["variance"][2] * (2.0 if better else 0.5)
    makers = versions(registry, 10 + better, tmp_path)
    made = makers.make(bundle_of("ewma", rows), rows, True, plan_of("7", "ewma"), survey)
    assert made.promoted is better
    makers.name("ewma", made)
    assert registry.aliases("ewma")[CHAMPION if better else CHALLENGER] == made.version
    text = registry.tracking.client.get_model_version(registry.registered_name("ewma"), made.version).description
    ours = made.metrics["variance.qlike"]
    theirs = ours * (2.0 if better else 0.5)
    verdict = "**Became the champion**" if better else "**Did not become the champion, is the challenger**"
    word = "no worse" if better else "worse"
    assert text.startswith(f"{verdict}: its variance.qlike of {ours:.6g} is {word} than the {theirs:.6g} of version 7")
    assert "| out of sample | this version | version 7 | naive |" in text
    assert f"| variance.qlike | {ours:.5g} | {theirs:.5g} |" in text


def test_more_instruments_are_said_to_be_more(registry: Registry, survey: Survey, tmp_path: Path) -> None:
    rows = fits("naive")["naive"]
    maker = versions(registry, 20, tmp_path)
    made = maker.make(bundle_of("naive", rows), rows[:1], False, plan_of("3", "naive"), survey)
    text = registry.tracking.client.get_model_version(registry.registered_name("naive"), made.version).description
    assert "it is version 3 with 1 more instrument; all others are as they were." in text


def test_regimes_are_compared_by_the_density_of_the_same_bars() -> None:
    def score(log_score: float, n: int = 10) -> dict[str, Any]:
        return {"n": n, "log_score": log_score, "normal": 0.0, "inside_80": 8, "inside_95": 9}

    judged = regime_versions._compared([(score(31.0), score(30.0))], "2")
    assert judged.promoted
    assert judged.reason.startswith("its log density a bar of 3.1 is no worse than the 3 of version 2")
    assert not regime_versions._compared([(score(29.0), score(30.0))], "2").promoted
    assert regime_versions._compared([], "2").promoted
