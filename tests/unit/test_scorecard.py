"""Claims, records and what joins them; and that the benchmarks' records are of that form."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from qts import cli
from qts.errors import ConfigError, DataError
from qts.mlops.scorecard import Record, read_claims, read_records, records_folder, scorecard

BENCH = Path(__file__).resolve().parents[1] / "bench"
CONF = BENCH.parents[1] / "conf"
CLAIM = {
    "id": "speed",
    "claim": "it is quick",
    "target": 2.0,
    "better": "lower",
    "unit": "times",
    "source": "simulated",
    "command": "python speed.py",
}
RECORD = {
    "claim": "speed",
    "value": 1.5,
    "interval": [1.4, 1.7],
    "repetitions": 5,
    "unit": "times",
    "source": "replayed",
    "command": "python speed.py --rows 3",
    "date": "2026-01-02T03:04:05Z",
    "cores": 2,
    "versions": {"qts": "0.1"},
}


@pytest.fixture
def harness(monkeypatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_harness", BENCH / "harness.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_harness", module)
    spec.loader.exec_module(module)
    return module


def scored(folder: Path, claims: list[Any], *records: dict[str, Any]) -> dict[str, Any]:
    (folder / "records").mkdir()
    (folder / "claims.yml").write_text(json.dumps({"claims": claims}))
    for record in records:
        (folder / "records" / f"{record['claim']}.json").write_text(json.dumps(record))
    return scorecard(claims=folder / "claims.yml", records=folder / "records")


def test_a_claim_is_joined_with_its_record(tmp_path):
    result = scored(tmp_path, [CLAIM], RECORD)
    assert result["claims"] == [
        CLAIM | RECORD | {"date": "2026-01-02T03:04:05+00:00", "details": {}, "met": "yes", "claim": CLAIM["claim"]}
    ]
    assert (result["met"], result["missed"], result["not_recorded"], result["unclaimed"]) == (1, 0, 0, [])


def test_a_claim_without_record_says_so(tmp_path):
    result = scored(tmp_path, [CLAIM])
    assert (result["claims"][0]["met"], result["claims"][0]["value"]) == ("not recorded", None)
    assert (result["met"], result["missed"], result["not_recorded"]) == (0, 0, 1)


@pytest.mark.parametrize(
    ("better", "value", "met"),
    [("lower", 2.0, "yes"), ("lower", 2.001, "no"), ("higher", 2.0, "yes"), ("higher", 1.999, "no")],
)
def test_the_target_itself_is_met(tmp_path, better, value, met):
    result = scored(tmp_path, [CLAIM | {"better": better}], RECORD | {"value": value, "interval": [value, value]})
    assert result["claims"][0]["met"] == met


def test_records_that_belong_to_no_claim_are_named(tmp_path):
    assert scored(tmp_path, [CLAIM], RECORD | {"claim": "other"})["unclaimed"] == ["other"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": 9.0}, "lies outside its interval"),
        ({"value": float("nan")}, "value"),
        ({"source": "synthetic"}, "'real', 'replayed' or 'simulated'"),
        ({"date": "2026-01-02T03:04:05"}, "timezone"),
        ({"colour": "red"}, "colour"),
        ({"unit": "s"}, "is in 's', the claim in 'times'"),
    ],
)
def test_a_record_that_is_wrong_is_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        scored(tmp_path, [CLAIM], RECORD | change)


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read"), (json.dumps(RECORD), "expected file name")])
def test_a_file_that_is_no_record_is_named(tmp_path, text, message):
    (tmp_path / "wrong.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_records(tmp_path)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ([CLAIM, CLAIM], "two claims are called speed"),
        ([CLAIM | {"better": "bigger"}], r"claims\[0\] better"),
        ([{"id": "speed"}], "Field required"),
        ("none", "has no list"),
    ],
)
def test_claims_that_are_wrong_are_refused(tmp_path, claims, message):
    with pytest.raises(ConfigError, match=message):
        scored(tmp_path, claims)


def test_what_comes_with_qts_is_sound():
    claims = {claim.id: claim for claim in read_claims(CONF / "claims.yml")}
    assert set(read_records(records_folder())) <= set(claims)
    for claim in claims.values():
        script = claim.command.split()[1]
        assert (BENCH.parents[1] / script).is_file(), f"{claim.id} names {script}"


def test_the_command_prints_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["scorecard", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {row["met"] for row in result["claims"]} <= {"yes", "no", "not recorded"}


def test_both_sides_of_a_comparison_run_equally_often_and_in_turns(harness):
    calls, ticks = [], iter(range(100))
    measured = harness.alternate(
        lambda: calls.append("a"), lambda: calls.append("b"), repetitions=2, warm_ups=1, clock=lambda: next(ticks)
    )
    assert calls == ["b", "a", "b", "a", "a", "b"]
    assert measured.ratios == [1.0, 1.0]


def test_a_quantile_lies_in_its_interval(harness):
    value, low, high = harness.quantile_interval([1.0, 2.0, 3.0, 4.0, 10.0], 0.95)
    assert low <= value <= high == 10.0


@pytest.mark.parametrize("quick", [False, True])
def test_the_record_of_a_run_is_one_that_the_scorecard_reads(harness, tmp_path, monkeypatch, capsys, quick):
    monkeypatch.setattr(sys, "argv", [os.fspath(BENCH / "bench_bars.py"), "--rows", "7"])
    record = harness.record_of("bars_ratio", [1.9, 1.7, 1.8], source="simulated", details={"native, s": 2.0})
    harness.publish(record, Namespace(quick=quick, json=False), tmp_path)
    shown = capsys.readouterr().out
    assert shown.startswith("bars_ratio: 1.8 times [1.7, 1.9] over 3, target <= 2: met (simulated data")
    assert shown.count("\n") == 1
    assert read_records(tmp_path) == ({} if quick else {"bars_ratio": record})
    assert record.command == "python tests/bench/bench_bars.py --rows 7"
    assert record.date <= datetime.now(UTC)


def test_json_is_one_line_that_reads_back(harness, tmp_path, capsys):
    record = harness.record_of("bars_ratio", [2.5], source="simulated")
    harness.publish(record, Namespace(quick=True, json=True), tmp_path)
    assert Record.model_validate_json(capsys.readouterr().out) == record
