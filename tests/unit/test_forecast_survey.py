"""What came between two plans of the forecast job, without Spark."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from qts.pipeline import forecast_survey
from qts.pipeline.batches import BatchLog
from qts.pipeline.forecast_survey import Survey, new_bars
from qts.pipeline.history import pinned
from qts.store.ledger import Ledger

_DAY = 86_400_000_000  # microseconds


def _bars(*rows: tuple[str, int, float], interval: str = "1d") -> pa.Table:
    """Bars of (instrument, day, close)."""
    return pa.table(
        {
            "instrument": [name for name, _, _ in rows],
            "interval": [interval] * len(rows),
            "bar_time": [pd.Timestamp(day * _DAY, unit="us", tz="UTC") for _, day, _ in rows],
            "close": [close for *_, close in rows],
            "provenance": ["real"] * len(rows),
        }
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    found = Ledger(tmp_path)
    found.append("bars_history", _bars(("A", 1, 10.0), ("B", 1, 20.0), ("A", 2, 11.0)))
    found.create("batches")
    return found


_SURVEY = Survey({"A": 2, "B": 1}, {"A": 2 * _DAY, "B": _DAY}, {"A": 11.0, "B": 20.0}, _DAY, ("real",))


def _new(ledger: Ledger, before: dict[str, int]) -> list[tuple[str, int, float]] | None:
    found = new_bars(ledger, before, pinned(ledger), "1d", _SURVEY)
    if found is None:
        return None
    return [(row["instrument"], row["at"] // _DAY, row["close"]) for row in found.to_pylist()]


def test_only_usable_later_bars_of_new_files_are_taken_up(ledger: Ledger) -> None:
    before = pinned(ledger)
    assert _new(ledger, before) == []
    ledger.append("bars_history", _bars(("B", 3, 22.0), ("B", 2, 21.0), ("A", 2, 99.0), ("A", 3, float("nan"))))
    ledger.append("bars_history", _bars(("C", 1, 5.0), ("A", 4, -1.0)))
    ledger.append("bars_history", _bars(("A", 9, 1.0), interval="1h"))
    expected = [("B", 2, 21.0), ("B", 3, 22.0), ("C", 1, 5.0)]
    assert _new(ledger, before) == expected
    ledger.open("bars_history").optimize.compact()  # rewrites old and new rows into files of their own
    assert _new(ledger, before) == expected


def test_a_streamed_batch_counts_when_it_is_done_and_before_the_history(ledger: Ledger) -> None:
    log = BatchLog(ledger, "trade", "stream")
    log.append("bars", 0, _bars(("A", 3, 12.0), ("B", 2, 21.0)))
    before = pinned(ledger)
    assert _new(ledger, before) == []
    log.done(0, {})  # in no version of the table `bars` itself
    ledger.append("bars_history", _bars(("A", 3, 77.0), ("A", 4, 13.0)))
    assert _new(ledger, before) == [("A", 3, 12.0), ("A", 4, 13.0), ("B", 2, 21.0)]
    log.append("bars", 1, _bars(("A", 5, 14.0)))
    between = pinned(ledger)
    log.done(1, {})
    assert _new(ledger, between) == [("A", 5, 14.0)]


def test_too_many_bars_and_versions_that_are_gone_are_left_to_spark(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pinned(ledger)
    ledger.append("bars_history", _bars(("A", 3, 12.0), ("A", 4, 13.0)))
    monkeypatch.setattr(forecast_survey, "MOST_NEW", 1)
    assert _new(ledger, before) is None
    monkeypatch.undo()
    ledger.open("bars_history").create_checkpoint()
    for file in (ledger.path("bars_history") / "_delta_log").glob("*.json"):
        if int(file.stem) <= before["bars_history"]:
            file.unlink()
    assert _new(Ledger(ledger.root), before) is None


def test_a_survey_grows_by_its_new_bars_and_is_text() -> None:
    rows = pa.table({"instrument": ["A", "A", "C"], "at": [3 * _DAY, 4 * _DAY, 0], "close": [12.0, 13.0, 5.0]})
    grown = _SURVEY.after(rows.append_column("provenance", pa.array(["real", "simulated_path", None])))
    assert grown.bars == {"A": 4, "B": 1, "C": 1}
    assert grown.last == {"A": 4 * _DAY, "B": _DAY, "C": 0}
    assert grown.close == {"A": 13.0, "B": 20.0, "C": 5.0}
    assert (grown.first, grown.provenance) == (0, ("real", "simulated_path"))
    assert Survey.from_json(grown.to_json()) == grown
