"""Alerts open when something goes wrong, once, and end by themselves, whatever is restarted and replayed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.errors import ModelRefused, ModelUnavailable
from qts.mlops.registry import Served
from qts.pipeline import alerts
from qts.pipeline.alerts import MODEL_REFUSED, REGISTRY_DOWN, Alert, Alerts, about_models, batches
from qts.pipeline.batches import BatchLog
from qts.store.ledger import Ledger

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
CODES = (REGISTRY_DOWN, MODEL_REFUSED)


def log_of(folder: Path, checkpoint: str = "one") -> BatchLog:
    return BatchLog(Ledger(folder), "forecast", checkpoint)


def rows(folder: Path) -> list[tuple[int, str, str]]:
    """Batch, code, and `raised` or what became of it."""
    ledger = Ledger(folder)
    raised = [(row["batch_id"], row["code"], "raised") for row in ledger.read("alerts").to_pylist()]
    events = [(row["batch_id"], row["code"], row["event"]) for row in ledger.read("alert_events").to_pylist()]
    return sorted(raised + events)


@given(
    wrong=st.lists(st.sets(st.sampled_from(CODES)), min_size=1, max_size=6),
    repeated=st.sets(st.integers(0, 5)),
    restarted=st.sets(st.integers(0, 5)),
)
@settings(max_examples=25, deadline=None)
def test_an_alert_begins_and_ends_once(wrong, repeated, restarted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    job, other = Alerts(log_of(folder)), Alerts(log_of(folder, "another job"))
    other.raise_(0, NOON, Alert(REGISTRY_DOWN, "warning", "Of another job."))
    for batch, codes in enumerate(wrong):
        found = [Alert(code, "warning", f"{code} at {batch}.") for code in sorted(codes)]
        for _ in range(1 + (batch in repeated)):  # killed before its done row, and replayed
            if batch in restarted:
                job = Alerts(log_of(folder))
            told = job.settle(batch, NOON + timedelta(hours=batch), found)
            assert [alert["code"] for alert in told] == sorted(codes)
        assert job.any_open is bool(codes)
    changes = [(b, then, now) for b, (then, now) in enumerate(pairwise([set(), *wrong]))]
    expected = [(b, code, "raised") for b, then, now in changes for code in now - then]
    expected += [(b, code, "cleared") for b, then, now in changes for code in then - now]
    assert rows(folder) == sorted([*expected, (0, REGISTRY_DOWN, "raised")])


def test_what_is_wrong_with_models():
    assert about_models(Served({"ewma": "1"}), "Waiting.") == []
    down = about_models(Served({"ewma": "1"}, "No answer."), "Waiting.")
    assert down == [Alert(REGISTRY_DOWN, "warning", "No answer. Waiting.")]
    refused = about_models(Served({"ewma": "1", "naive": None}, "", {"ewma": "Bad.", "naive": "Worse."}), "Waiting.")
    assert refused == [Alert(MODEL_REFUSED, "error", "Bad. Worse. Waiting.")]


class StoppedError(Exception):
    """Somebody stopped the job."""


@pytest.mark.parametrize(("error", "code"), [(ModelUnavailable, REGISTRY_DOWN), (ModelRefused, MODEL_REFUSED)])
def test_only_a_job_that_has_begun_waits(error, code, tmp_path, monkeypatch):
    log = log_of(tmp_path)
    job, pauses = Alerts(log), []

    def next_batch():
        if len(pauses) == 3:
            raise StoppedError
        raise error("It does not answer.")

    # The job's own clock: with everybody's, pauses of other threads counted too, and the loop above never ended.
    monkeypatch.setattr(alerts, "time", SimpleNamespace(sleep=pauses.append))
    with pytest.raises(error):
        batches(next_batch, job, once=False, trigger=2_000_000_000)  # never ended a batch
    assert pauses == []
    log.plan(0, dict)
    log.done(0, {})
    with pytest.raises(StoppedError):
        batches(next_batch, job, once=False, trigger=2_000_000_000)
    assert pauses == [2.0] * 3
    with pytest.raises(StoppedError):
        batches(next_batch, job, once=True, trigger=1)
    assert rows(tmp_path) == [(0, code, "raised")]
