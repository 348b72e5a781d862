"""Where the forecasters stand is kept and found again, without Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from qts.errors import ModelUnavailable
from qts.forecast.history import FURTHER, History
from qts.forecast.registry import build
from qts.mlops.bundle import Bundle
from qts.pipeline import forecast_online
from qts.pipeline.batches import BatchLog
from qts.pipeline.forecast_online import Online, Position
from qts.pipeline.forecast_survey import Survey
from qts.store.columns import arrays_bytes
from qts.store.ledger import Ledger

_DAY = 86_400_000_000_000
_NAMES = ("A", "B", "C")
_MODELS = ("log_har", "har_rls", "arima")
_CLOSE = 100 * np.exp(np.cumsum(0.01 * np.random.default_rng(6).normal(size=(220, 3)), axis=0))


def _history(columns: list[int], bars: int) -> History:
    at, code = np.meshgrid(np.arange(bars) * _DAY, np.arange(len(columns)), indexing="ij")
    close, unknown = _CLOSE[:bars, columns].ravel(), np.full(bars * len(columns), np.nan)
    names, further = [_NAMES[n] for n in columns], dict.fromkeys(FURTHER, unknown)
    return History.pack(names, code.ravel(), at.ravel(), close, unknown, _DAY, **further)


def _bars(day: int, instruments: int) -> pa.Table:
    """The first instruments' bars of a day."""
    unknown = np.full(instruments, np.nan)
    return pa.table(
        {
            "instrument": _NAMES[:instruments],
            "at": np.full(instruments, day * _DAY // 1000),
            "close": _CLOSE[day, :instruments],
            "realised_variance": unknown,
            **dict.fromkeys(FURTHER, unknown),
            "provenance": ["simulated"] * instruments,
        }
    )


@pytest.fixture(scope="module")
def begun() -> tuple[dict[str, Bundle], Position]:
    """Fitted to 170 bars of two buckets, with the state after 200."""
    bundles, packed = {}, []
    for name, model in build(_MODELS).items():
        parameters: dict[str, Any] = {}
        for columns in ([2, 0], [1]):
            whole = _history(columns, 200)
            params = model.fit(whole.first(np.full(len(columns), 170)))
            parameters |= dict(zip(whole.instruments, params, strict=True))
            _, state = model.run(params, whole)
            packed.append((name, arrays_bytes({**state, "names": np.array(whole.instruments)})))
        bundles[name] = Bundle(name, _DAY, parameters)
    last = dict.fromkeys(_NAMES, 199 * _DAY // 1000)
    survey = Survey(dict.fromkeys(_NAMES, 200), last, dict(zip(_NAMES, _CLOSE[199], strict=True)), 0, ("simulated",))
    online = Online.of(dict.fromkeys(_MODELS, "1"), packed)
    assert online is not None
    return bundles, Position(survey, {}, online, 0)


def test_a_restart_between_snapshots_finds_the_same_bits(
    begun: tuple[dict[str, Bundle], Position], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast_online, "_EVERY", 3)
    bundles, position = begun
    log = BatchLog(Ledger(tmp_path), "forecast", "one")
    position = position.save(log, 0, None, {})
    for batch in range(1, 9):
        new = _bars(199 + batch, 3 if batch % 2 else 2)  # the third instrument is away now and then
        assert position.online is not None
        online, rows = position.online.advance(bundles, position.survey, new, _DAY)
        assert rows.num_rows == new.num_rows * 5  # two targets of two models, one of the third
        position = Position(position.survey.after(new), {}, online, position.snapshot).save(log, batch, new, {})
        assert position.snapshot == batch // 3 * 3
        again = Position.load(BatchLog(log.ledger, "forecast", "one"), batch, lambda model, _: bundles[model], _DAY)
        assert again is not None
        assert again.online is not None
        assert (again.survey, again.snapshot) == (position.survey, position.snapshot)
        for model, state in online.states.items():
            assert again.online.names[model] == _NAMES
            for key, values in state.items():
                np.testing.assert_array_equal(again.online.states[model][key], values)


def test_a_version_that_is_gone_or_a_series_that_is_too_short_leads_back_to_the_history(
    begun: tuple[dict[str, Bundle], Position], tmp_path: Path
) -> None:
    log = BatchLog(Ledger(tmp_path), "forecast", "one")
    begun[1].save(log, 0, None, {})

    def gone(model: str, version: str) -> Bundle:
        raise ModelUnavailable(f"There is no version {version} of {model}.")

    found = Position.load(log, 0, gone, _DAY)
    assert found is not None
    assert found.online is None
    assert found.survey == begun[1].survey
    assert Position.load(log, 1, gone, _DAY) is None
    young = arrays_bytes({"ready": np.array([True, False]), "names": np.array(["A", "B"])})
    assert Online.of({"ewma": "1"}, [("ewma", young)]) is None
