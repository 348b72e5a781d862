"""Model versions on a machine that has MLflow and not this package's checkout: each brings its own code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qts.forecast.history import History
from qts.forecast.registry import build
from qts.market.bar import Array
from qts.mlops.bundle import Bundle
from qts.mlops.regimes import RegimeBundle
from qts.mlops.tracking import prepare
from qts.regime.panel import fit_returns

_DAY = 86_400_000_000_000
_SCRIPT = """
import sys
import mlflow
for place in sys.argv[1:]:
    model = mlflow.pyfunc.load_model(place)
    assert len(model.predict(model.input_example)) > 0, place
import qts
assert qts.__file__.startswith(sys.argv[1]), qts.__file__
"""


def returns() -> Array:
    """Of one instrument whose volatility is 1% or 4% a day, shape (400,)."""
    return np.random.default_rng(2).normal(size=400) * np.where(np.arange(400) // 100 % 2, 0.04, 0.01)


def forecast_bundle() -> Bundle:
    close = 100 * np.exp(np.cumsum(returns()))
    rows, times = np.zeros(400, np.int64), np.arange(400) * _DAY
    history = History.pack(["A"], rows, times, close, np.full(400, np.nan), _DAY)
    return Bundle("ewma", _DAY, {"A": build(["ewma"])["ewma"].fit(history)[0]})


def regime_bundle() -> Bundle:
    return RegimeBundle("hmm", _DAY, {"A": fit_returns(returns(), 2, starts=1)})


@pytest.mark.parametrize("first", ["forecast", pytest.param("regime", marks=pytest.mark.slow)])
def test_models_of_two_kinds_load_in_one_process(first: str, tmp_path: Path) -> None:
    prepare()
    places = {name: tmp_path / name / "model" for name in ("forecast", "regime")}
    for place, bundle in zip(places.values(), (forecast_bundle(), regime_bundle()), strict=True):
        place.parent.mkdir()
        bundle.save(place, "a-run")
    order = sorted(places, key=lambda name: name != first)
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONWARNINGS"}}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *(str(places[name]) for name in order)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
