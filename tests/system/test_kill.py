"""Exactly once: the running pipeline is killed anywhere, started again, and every table is as if nothing had happened.

Killed at 20 random moments, and at every step of a batch after which a restart has to know what is there already. A
sample of it that takes a minute or two is in test_kill_sample.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from compare import account, assert_same, contents
from kills import kill_and_restart, random_moments
from processes import STAGES, Moment, Pipeline, qts
from small_market import add_control, prepare, settings_of
from undisturbed import Undisturbed, assert_undisturbed

from qts.mlops.registry import CHAMPION, Registry
from qts.mlops.tracking import Tracking
from qts.settings import Settings
from qts.store.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.system]

RANDOM, ROUNDS, EXACT_ROUNDS = 20, 4, 2

#: After each of these a restart finds some of a batch's writes done and others not.
EXACT = (
    Moment("ingest: after append instruments", exact=True),
    Moment("ingest: before commit ticks", exact=True),
    Moment("ingest: after commit ticks", exact=True),
    Moment("ingest: after commit quarantine", exact=True),
    Moment("ingest: after done", exact=True),
    Moment("forecast: after register", nth=2, exact=True),
    Moment("forecast: after append forecasts", exact=True),
    Moment("forecast: before state", exact=True),
    Moment("forecast: after alias", exact=True),
    Moment("regime: after plan", exact=True),
    Moment("regime: after append regimes", exact=True),
    Moment("sentiment: after write sentiment", exact=True),
    Moment("trade: after append fills", exact=True),
    Moment("trade: before state", exact=True),
    Moment("monitor: after write forecast_scores", exact=True),
)


def in_rounds(moments: Sequence[Moment], rounds: int) -> list[list[Moment]]:
    """Dealt out evenly, each round in the order of stages."""
    by_stage = sorted(moments, key=lambda moment: STAGES.index(moment.stage))
    return [by_stage[number::rounds] for number in range(rounds)]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_killed_at_random_moments(number, tmp_path, undisturbed, record_property):
    drawn = in_rounds(random_moments(undisturbed.steps, RANDOM), ROUNDS)[number]
    record_property("kills", killed_and_compared(drawn, tmp_path, undisturbed, everything=number == 0))


@pytest.mark.parametrize("number", range(EXACT_ROUNDS))
def test_killed_between_two_writes_of_a_batch(number, tmp_path, undisturbed, record_property):
    moments = in_rounds(EXACT, EXACT_ROUNDS)[number]
    record_property("kills", killed_and_compared(moments, tmp_path, undisturbed))


def killed_and_compared(
    moments: Sequence[Moment], folder: Path, undisturbed: Undisturbed, *, everything: bool = False
) -> list[str]:
    """Kills a run in a folder at the moments, and compares what it has become. Returns where the kills hit."""
    conf = prepare(undisturbed.market, folder)
    hits = kill_and_restart(conf, moments, everything=everything)
    print(*hits, sep="\n")
    assert_undisturbed(settings_of(conf), undisturbed)
    return hits


def poison(settings: Settings) -> None:
    """What a batch that was planned before must not see: a moved alias, other forecasts, a manual halt."""
    registry = Registry(Tracking(settings.tracking_uri, settings.mlflow.experiment))
    version, bundle = registry.load_alias("log_har")
    run = registry.tracking.run("other", "other")
    doubled = {name: {**params, "other": True} for name, params in bundle.parameters.items()}
    other = type(bundle)(bundle.model, bundle.interval, doubled)
    newer = registry.register(other, run.info.run_id, "other", {})
    assert newer != version
    registry.set_alias("log_har", CHAMPION, newer)
    ledger = Ledger(settings.tables)
    rows = ledger.read("forecasts")
    place = {name: rows.schema.get_field_index(name) for name in ("mean", "version", "checkpoint_id", "batch_id")}
    rows = rows.set_column(place["mean"], "mean", pc.multiply(rows["mean"], 50.0))
    rows = rows.set_column(place["version"], "version", pa.array([newer] * rows.num_rows))
    ledger.append("forecasts", rows.drop_columns(["checkpoint_id", "batch_id"]))
    add_control(settings, "halt", "*")


def test_nothing_that_comes_between_kill_and_restart_changes_a_planned_batch(tmp_path, undisturbed):
    conf = prepare(undisturbed.market, tmp_path)
    settings = settings_of(conf)
    shutil.rmtree(settings.workdir)
    shutil.copytree(undisturbed.landed, settings.workdir)
    with Pipeline(conf, ("trade",), "trade: after plan", files=1000) as pipeline:
        assert pipeline.until(Moment("trade: after plan", exact=True))
        second = qts("trade", "--once", "--config", str(conf), cwd=tmp_path)
        pipeline.kill()
    assert second.returncode == 2
    assert second.stdout == ""
    assert len(second.stderr.splitlines()) == 1
    assert second.stderr.startswith("qts: Another process runs on checkpoint")
    poison(settings)
    # The batch after the planned one sees what has come, and acts on it: what is asked here ends before it.
    with Pipeline(conf, ("trade",), "trade: after done", files=1000) as pipeline:
        assert pipeline.until(Moment("trade: after done", exact=True)), pipeline.stderr[-4000:]
        pipeline.kill()
    expected, found = contents(undisturbed.settings), contents(settings)
    written = ("bars", "signals", "decisions", "rewards", "orders", "order_events", "fills", "journal", "positions")
    assert_same(found, {name: expected[name] for name in (*written, "portfolio", "risk_events")})
    assert account(settings) == account(undisturbed.settings)
