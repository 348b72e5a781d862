"""The gate on hand-made aggregates: results, stops, and suites that cannot be right."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from qts.conf import conf_file
from qts.errors import ConfigError, QualityGateFailed
from qts.pipeline.expectations import Suite, result_rows, stop_on_failure
from qts.store.ledger import conform
from qts.store.tables import table


def frames(quarantined_share=0.0, sound_share=(1.0, 1.0)):
    batch = {"rows": 10, "accepted": 10, "quarantined": 0, "duplicates": 0, "duplicate_share": 0.0, "instruments": 2}
    count = len(sound_share)
    instruments = {
        "instrument": [f"I{i}" for i in range(count)],
        "kind": ["trade"] * count,
        "rows": [5] * count,
        "sound": [5] * count,
        "sound_share": list(sound_share),
        "low": [1.0] * count,
        "high": [2.0] * count,
    }
    return {
        "batch": pd.DataFrame([batch | {"quarantined_share": quarantined_share}]),
        "instruments": pd.DataFrame(instruments),
    }


@pytest.mark.parametrize("name", ["ticks", "indices", "headlines"])
def test_the_suites_that_come_along_pass_a_good_batch(name):
    suite = Suite.load(conf_file(f"expectations/{name}.yml"), name, "stop")
    results = suite.check(frames())
    assert results
    assert all(result.success for result in results)
    stop_on_failure(suite, results, "s", 0)


def test_a_failure_is_kept_and_only_stop_stops():
    path = conf_file("expectations/ticks.yml")
    bad = frames(quarantined_share=0.75)
    warns, stops = (Suite.load(path, "ticks", action) for action in ("warn", "stop"))
    stop_on_failure(warns, warns.check(bad), "feed", 3)
    results = stops.check(bad)
    assert [result.success for result in results] == [False, True, True, True]
    with pytest.raises(QualityGateFailed, match=r"Batch 3 of source 'feed'.*quarantined_share, max_value=0.2.*0\.75"):
        stop_on_failure(stops, results, "feed", 3)
    rows = result_rows(stops, results, datetime(2024, 1, 1, tzinfo=UTC))
    assert conform(rows, table("quality_results")).num_rows == 4
    assert warns.name != stops.name


def test_an_empty_batch_of_instruments_fails_nothing():
    suite = Suite.load(conf_file("expectations/ticks.yml"), "ticks", "stop")
    assert all(result.success for result in suite.check(frames(sound_share=())))


def test_no_file_expects_nothing(tmp_path):
    assert Suite.load(tmp_path / "none.yml", "ticks", "stop").check(frames()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: []", r"keys \['rules'\]"),
        ("expectations: [{over: batch}]", "with `expect"),
        ("expectations: [{expect: e, over: rows}]", "over is 'rows'"),
        ("expectations: [{expect: e, action: halt}]", "action is 'halt'"),
        ("expectations: [{expect: expect_column_values_to_be_betwen, column: rows}]", "Did you mean"),
        ("expectations: [{expect: expect_column_values_to_be_between, column: row}]", "Did you mean 'rows'"),
        ("expectations: [{expect: expect_column_values_to_be_between, column: rows, top: 3}]", "is not what"),
    ],
)
def test_a_wrong_suite_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "suite.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        Suite.load(path, "ticks", "warn").check(frames())
