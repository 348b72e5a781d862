"""A sample of test_kill.py that is quick enough for every change: ticks to orders, killed twice."""

from __future__ import annotations

from pathlib import Path

from compare import sums
from kills import kill_and_restart, random_moments
from processes import Moment
from small_market import prepare, settings_of
from undisturbed import assert_undisturbed, run_undisturbed

STAGES = ("ingest", "trade")


def test_a_killed_pipeline_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = run_undisturbed(tmp_path / "undisturbed", STAGES)
    told = sums(whole.settings)
    for source, records in whole.market.records.items():
        assert records in (None, told[source]["in"]), source
    assert told["prints"]["duplicates"] > 0
    assert told["prints"]["quarantined"] > 10
    conf = prepare(whole.market, tmp_path / "killed")
    moments = [random_moments(whole.steps, 1, STAGES)[0], Moment("trade: after append fills", nth=2, exact=True)]
    print(*kill_and_restart(conf, moments, everything=False, stages=STAGES), sep="\n")
    assert_undisturbed(settings_of(conf), whole)
