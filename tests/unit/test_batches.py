"""Plans are kept before work is done, states come back, and nobody else runs on the same checkpoint."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pytest

from qts.errors import CheckpointInUse, StoreError
from qts.pipeline.batches import BatchLog, checkpoint_id, lock
from qts.store.ledger import Ledger


@pytest.fixture
def log(tmp_path: Path) -> BatchLog:
    return BatchLog(Ledger(tmp_path / "tables"), "trade", "c1")


def restarted(log: BatchLog) -> BatchLog:
    return BatchLog(Ledger(log.ledger.root), log.job, log.checkpoint)


def never() -> NoReturn:
    raise AssertionError("a stored plan is not made again")


def keys_of(value: Any) -> Any:
    """All keys of nested mappings, in order."""
    return [(key, keys_of(inner)) for key, inner in value.items()] if isinstance(value, dict) else None


def test_a_plan_is_kept_and_comes_back_as_it_was(log):
    wanted = {"config": {"strategies": {"zeta": {"b": 1, "a": 2}, "alpha": {}}, "x": 0.1}, "versions": {"v": -1}}
    plan = log.plan(0, lambda: wanted)
    assert plan.pop("now").endswith("+00:00")
    assert plan == wanted
    for again in (log.plan(0, never), restarted(log).plan(0, never), log.stored_plan(0)):
        again.pop("now")
        assert keys_of(again) == keys_of(wanted)  # the order of strategies is the order of the bandits' arms
        assert again == wanted


def test_the_first_run_gets_what_a_replay_will_read(log):
    plan = log.plan(0, lambda: {"names": ("a", "b"), 1: 2})
    assert plan["names"] == ["a", "b"]
    assert plan["1"] == 2
    assert restarted(log).plan(0, never) == plan


def test_every_batch_has_a_plan_of_its_own(log):
    for batch in range(3):
        log.plan(batch, lambda batch=batch: {"batch": batch})
        log.done(batch, {})
    assert [restarted(log).plan(batch, never)["batch"] for batch in range(3)] == [0, 1, 2]


def test_what_was_not_planned_cannot_be_read(log):
    with pytest.raises(StoreError, match="Batch 4 of checkpoint c1 has no plan"):
        log.stored_plan(4)


def test_a_plan_that_cannot_be_made_leaves_nothing(log):
    with pytest.raises(AssertionError):
        log.plan(0, never)
    with pytest.raises(StoreError):
        log.stored_plan(0)
    assert log.plan(0, lambda: {"a": 1})["a"] == 1


def test_checkpoints_do_not_see_each_other(log):
    other = BatchLog(log.ledger, "trade", "c2")
    log.plan(0, lambda: {"mine": 1})
    log.done(0, {"rows": 1})
    log.save_state(0, {"part": b"mine"})
    assert other.last_done() == -1
    assert not other.is_done(0)
    assert other.load_state(0) == {}
    assert other.summaries() == []
    assert "mine" not in other.plan(0, dict)


def test_done_batches_are_done_for_ever(log):
    assert log.last_done() == -1
    for batch in range(12):  # two digits: numbers, not text, are in order
        log.plan(batch, dict)
        assert not log.is_done(batch)
        log.done(batch, {"rows": batch})
        assert log.is_done(batch)
    again = restarted(log)
    assert again.last_done() == 11
    assert [summary["rows"] for summary in again.summaries()] == list(range(12))
    log.done(11, {"rows": 99})
    assert again.summaries()[-1] == {"rows": 11}


def test_state_comes_back_part_by_part(log):
    log.save_state(0, {"a": b"\x00\xff", "b": b""})
    log.save_state(1, {"a": b"new"})
    assert log.load_state(1) == {"a": b"new"}
    assert log.load_state(0) == {"a": b"\x00\xff", "b": b""}
    again = restarted(log)
    assert again.load_state(1) == {"a": b"new"}
    assert again.load_state(0) == {"a": b"\x00\xff", "b": b""}
    assert again.load_state(-1) == {}


def test_a_state_that_is_changed_by_its_reader_is_not_changed_for_others(log):
    log.save_state(0, {"a": b"1"})
    log.load_state(0)["a"] = b"2"
    assert log.load_state(0) == {"a": b"1"}


def rows(*values: str) -> pa.Table:
    columns = {"bar_time": pa.array([0] * len(values), pa.timestamp("us", tz="UTC")), "instrument": list(values)}
    return pa.table({**columns, "strategy": ["s"] * len(values), "signal": [0.0] * len(values)})


@pytest.mark.parametrize("crash", ["plan", "signals", "state", "done"])
def test_a_batch_that_died_half_way_ends_as_if_nothing_had_happened(crash, log):
    """Steps of a batch, cut after one of them, then all of them again in another process."""

    def batch(log: BatchLog, until: str | None = None) -> None:
        made = log.plan(0, lambda: {"value": "first" if until else "second"})["value"]
        if until != "plan":
            log.append("signals", 0, rows(made, "x"))
            if until != "signals":
                log.save_state(0, {"seen": made.encode()})
                if until != "state":
                    log.done(0, {"value": made})

    batch(log, crash)
    again = restarted(log)
    visible = again.ledger.read("signals", columns=("instrument",))["instrument"].to_pylist()
    assert sorted(visible) == (["first", "x"] if crash == "done" else [])
    assert again.is_done(0) == (crash == "done")
    batch(again)
    assert sorted(again.ledger.read("signals")["instrument"].to_pylist()) == ["first", "x"]
    assert restarted(log).load_state(0) == {"seen": b"first"}
    assert again.summaries() == [{"value": "first"}]


def test_the_rows_of_a_batch_carry_its_name(log):
    log.append("signals", 5, rows("A"))
    stamped = log.ledger.read("signals", done_only=False).to_pylist()[0]
    assert (stamped["checkpoint_id"], stamped["batch_id"]) == ("c1", 5)
    assert log.ledger.transaction("signals", "c1") == 5


def test_a_checkpoint_keeps_its_identity_and_a_new_one_gets_another(tmp_path):
    first = checkpoint_id(tmp_path / "a")
    assert first == checkpoint_id(tmp_path / "a")
    assert first != checkpoint_id(tmp_path / "b")
    (tmp_path / "a" / "qts-id").unlink()
    assert checkpoint_id(tmp_path / "a") != first


LOCKING = """
import sys
from pathlib import Path
from qts.errors import CheckpointInUse
from qts.pipeline.batches import lock
try:
    with lock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
except CheckpointInUse as error:
    print(error)
    raise SystemExit(error.exit_code)
"""


def test_a_second_process_cannot_run_on_the_same_checkpoint(tmp_path):
    command = [sys.executable, "-c", LOCKING, str(tmp_path / "checkpoint")]
    lib = str(Path(__file__).resolve().parents[2] / "lib")
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": lib}
    with subprocess.Popen(command, env=environment, **pipes) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(CheckpointInUse, match="Another process runs on checkpoint"), lock(tmp_path / "checkpoint"):
            pass
        with lock(tmp_path / "another"):
            pass
        first.kill()  # a process that dies leaves no lock behind
    with lock(tmp_path / "checkpoint"):
        second = subprocess.run(command, env=environment, input="\n", capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "--workdir" in second.stdout


def test_a_checkpoint_that_cannot_be_written_is_an_error_that_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"), lock(tmp_path / "file"):
        pass
