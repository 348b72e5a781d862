"""The ledger: rows once a transaction, none of an unfinished batch, and errors that say what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from hypothesis import given
from hypothesis import strategies as st

import qts
from qts.errors import StoreError
from qts.store.ledger import Ledger, conform, only_done
from qts.store.tables import TABLES, Table, table

AT = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "tables")


def controls(*ids: str | None, **columns: Any) -> pa.Table:
    count = len(ids)
    rows = {name: ["x"] * count for name in ("action", "scope", "reason", "actor")}
    return pa.table({"control_id": list(ids), "at": [AT] * count, **rows, **columns})


def signals(*values: float, batch: int | None, checkpoint: str | None = "c") -> pa.Table:
    count = len(values)
    return pa.table(
        {
            "bar_time": [AT] * count,
            "instrument": [f"I{value}" for value in values],
            "strategy": ["s"] * count,
            "signal": list(values),
            "checkpoint_id": pa.array([checkpoint] * count, pa.string()),
            "batch_id": pa.array([batch] * count, pa.int64()),
        }
    )


def end(ledger: Ledger, batch: int, phase: str = "done", checkpoint: str = "c") -> None:
    row = {"job": "t", "checkpoint_id": checkpoint, "batch_id": batch, "phase": phase, "at": AT, "payload": "{}"}
    ledger.append("batches", pa.table({name: [value] for name, value in row.items()}))


def read(ledger: Ledger, **options: Any) -> list[float]:
    return ledger.read("signals", columns=("signal",), **options)["signal"].to_pylist()


def test_a_transaction_is_written_once(ledger):
    assert ledger.append("controls", controls("a"), transaction=("app", 3))
    for version in (3, 2, 0):
        assert not ledger.append("controls", controls("b"), transaction=("app", version))
    assert ledger.append("controls", controls("c"), transaction=("app", 4))
    assert ledger.append("controls", controls("d"), transaction=("other", 0))
    assert ledger.append("controls", controls("e"))
    assert sorted(ledger.read("controls")["control_id"].to_pylist()) == ["a", "c", "d", "e"]


@given(versions=st.lists(st.integers(0, 5), min_size=1, max_size=8), cut=st.integers(0, 8))
def test_whatever_is_replayed_and_by_whichever_process_no_row_is_there_twice(versions, cut, tmp_path_factory):
    root = tmp_path_factory.mktemp("tables")
    written: list[int] = []
    ledger = Ledger(root)
    for number, version in enumerate(versions):
        ledger = Ledger(root) if number == cut else ledger  # a restart
        fresh = version > max(written, default=-1)
        assert ledger.append("controls", controls(f"{version}"), transaction=("app", version)) == fresh
        written += [version] if fresh else []
        assert ledger.transaction("controls", "app") == max(written)
    assert sorted(ledger.read("controls")["control_id"].to_pylist()) == sorted(map(str, written))


def test_a_table_that_is_not_there_is_empty_and_at_no_version(ledger):
    assert not ledger.exists("signals")
    assert ledger.version("signals") == ledger.transaction("signals", "app") == -1
    rows = ledger.read("signals")
    assert rows.num_rows == 0
    assert rows.schema == table("signals").schema
    assert not ledger.exists("signals")


def test_no_rows_are_no_commit(ledger):
    ledger.create("controls")
    assert not ledger.append("controls", controls("a").slice(0, 0), transaction=("app", 1))
    assert ledger.version("controls") == 0
    assert ledger.transaction("controls", "app") == -1


def test_making_a_table_again_leaves_it_as_it_is(ledger):
    ledger.append("controls", controls("a"))
    ledger.create("controls")
    assert ledger.read("controls").num_rows == 1


def test_versions_are_as_they_were(ledger):
    ledger.append("controls", controls("a"))
    first = ledger.version("controls")
    ledger.append("controls", controls("b"))
    assert ledger.version("controls") == first + 1
    assert ledger.read("controls", version=first)["control_id"].to_pylist() == ["a"]


def test_what_another_writer_commits_is_seen(ledger):
    other = Ledger(ledger.root)
    assert ledger.version("controls") == -1
    other.append("controls", controls("a"), transaction=("app", 7))
    assert ledger.transaction("controls", "app") == 7
    assert not ledger.append("controls", controls("b"), transaction=("app", 7))
    ledger.append("controls", controls("c"))
    other.append("controls", controls("d"))
    assert ledger.version("controls") == other.version("controls")
    assert sorted(ledger.read("controls")["control_id"].to_pylist()) == ["a", "c", "d"]


def test_readers_see_done_batches_only(ledger):
    ledger.append("signals", signals(0, 0.5, batch=0))
    ledger.append("signals", signals(1, batch=1))
    ledger.append("signals", signals(0.1, batch=0, checkpoint="other"))
    ledger.append("signals", signals(9, batch=None, checkpoint=None))  # of no batch
    assert read(ledger) == [9]
    end(ledger, 0, phase="plan")
    assert read(ledger) == [9]
    end(ledger, 0)
    assert sorted(read(ledger)) == [0, 0.5, 9]
    end(ledger, 1)
    end(ledger, 1)  # a done row twice does not double rows
    assert sorted(read(ledger)) == [0, 0.5, 1, 9]
    assert sorted(read(ledger, done_only=False)) == [0, 0.1, 0.5, 1, 9]


def test_a_pinned_version_hides_what_was_not_done_then(ledger):
    ledger.append("signals", signals(0, batch=0))
    end(ledger, 0)
    ledger.append("signals", signals(1, batch=1))
    version, done_at = ledger.version("signals"), ledger.version("batches")
    assert read(ledger, version=version, done_at=done_at) == [0]
    end(ledger, 1)
    assert read(ledger, version=version, done_at=done_at) == [0]
    assert sorted(read(ledger, version=version)) == [0, 1]
    assert read(ledger, version=version, done_at=-1) == []


def test_columns_and_filters_work_without_the_batch_columns(ledger):
    ledger.append("signals", signals(0, 0.5, 1, batch=0))
    end(ledger, 0)
    rows = ledger.read("signals", columns=("signal", "instrument"), where=pc.field("signal") > 0.2)
    assert rows.schema.names == ["signal", "instrument"]
    assert sorted(rows["signal"].to_pylist()) == [0.5, 1]


@given(
    batches=st.lists(st.tuples(st.sampled_from(["a", "b"]), st.one_of(st.none(), st.integers(0, 3))), max_size=20),
    done=st.sets(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3))),
)
def test_done_rows_keep_their_order(batches, done):
    def keys(pairs: Sequence[tuple[str, int | None]]) -> dict[str, pa.Array]:
        return {
            "checkpoint_id": pa.array([pair[0] for pair in pairs], pa.string()),
            "batch_id": pa.array([pair[1] for pair in pairs], pa.int64()),
        }

    rows = pa.table({**keys(batches), "row": pa.array(range(len(batches)), pa.int64())})
    got = only_done(rows, pa.table(keys(sorted(done))))["row"].to_pylist()
    assert got == [row for row, pair in enumerate(batches) if pair[1] is None or pair in done]


def test_rows_are_brought_into_the_declared_form():
    rows = conform(
        pa.table({"signal": pa.array([1], pa.int32()), "strategy": ["s"], "instrument": ["A"], "bar_time": [AT]}),
        table("signals"),
    )
    assert rows.schema == table("signals").schema
    assert rows["batch_id"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (controls("a").drop_columns("reason"), r"'controls'.*lack \['reason'\]"),
        (controls("a", colour=["red"]), r"unknown columns \['colour'\]"),
        (controls("a", at=["yesterday"]), "do not fit its schema"),
        (controls("a", at=[1.5]), "do not fit its schema"),
        (controls("a", None), r"nulls in \['control_id'\]"),
    ],
    ids=["missing column", "unknown column", "text for a time", "number for a time", "null"],
)
def test_rows_that_do_not_fit_are_refused_and_nothing_is_written(rows, match, ledger):
    with pytest.raises(StoreError, match=match):
        ledger.append("controls", rows, transaction=("app", 0))
    assert ledger.transaction("controls", "app") == -1
    assert ledger.read("controls").num_rows == 0


def test_a_fraction_does_not_become_a_whole_number_in_silence():
    with pytest.raises(StoreError, match="do not fit"):
        conform(signals(1, batch=0).set_column(5, "batch_id", pa.array([0.5])), table("signals"))


def test_tables_with_checks_are_left_to_their_job(ledger):
    with pytest.raises(StoreError, match="only its own job writes it"):
        ledger.append("ticks", pa.table({"instrument": ["A"]}))


def test_a_wrong_name_gets_the_nearest_one(ledger):
    with pytest.raises(StoreError, match="Did you mean 'signals'"):
        ledger.read("signal")


def test_a_table_or_version_that_is_not_there_cannot_be_opened(ledger):
    with pytest.raises(StoreError, match="qts demo"):
        ledger.open("controls")
    with pytest.raises(StoreError, match="qts demo"):
        ledger.read("controls", version=0)
    ledger.append("controls", controls("a"))
    with pytest.raises(StoreError, match="at version 99"):
        ledger.read("controls", version=99)


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    ledger = Ledger(tmp_path / "file")
    with pytest.raises(StoreError, match="--workdir"):
        ledger.create("controls")
    with pytest.raises(StoreError, match="--workdir"):
        ledger.append("controls", controls("a"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_table_is_an_error_that_says_so(ledger):
    ledger.append("controls", controls("a"))
    folders = [ledger.path("controls"), ledger.path("controls") / "_delta_log"]
    for folder in folders:
        folder.chmod(0o555)
    try:
        with pytest.raises(StoreError, match="write access"):
            ledger.append("controls", controls("b"))
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert ledger.read("controls")["control_id"].to_pylist() == ["a"]


def test_arrow_opens_files_without_python(ledger, monkeypatch):
    def refused(*_: object) -> None:
        raise AssertionError("called from a thread of Arrow's, which may outlive the interpreter")

    monkeypatch.setattr(DeltaStorageHandler, "open_input_file", refused)
    ledger.append("controls", controls("a"))
    assert ledger.read("controls")["control_id"].to_pylist() == ["a"]
    ledger.append("controls", controls("b"))
    added = ledger.added("controls", 1, 2, ["control_id"], pc.field("action") == "x", 10)
    assert added["control_id"].to_pylist() == ["b"]


@pytest.mark.parametrize("most", [10, 1])
def test_rows_that_were_added_and_vacuumed_since_are_an_error_that_says_so(ledger, most):
    ledger.append("controls", controls("a"))
    ledger.append("controls", controls("b"))
    for file in ledger.path("controls").glob("*.parquet"):
        file.unlink()
    for before in (-1, 1):
        with pytest.raises(StoreError, match=r"Version 2 of table 'controls' .* lacks files: .*longer retention"):
            ledger.added("controls", before, 2, ["control_id"], pc.field("action") == "x", most)


@pytest.mark.slow
def test_a_process_that_reads_last_of_all_ends_well(ledger):
    for n in range(12):
        ledger.append("controls", controls(*(f"{n}-{k}" for k in range(5000))))
    code = f"from qts.store.ledger import Ledger; Ledger({str(ledger.root)!r}).read('controls', columns=['control_id'])"
    path = str(Path(qts.__file__).parents[1])
    for _ in range(60):  # 6 of 80 aborted while Arrow's threads still closed files through Python
        subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.parametrize("declared", TABLES.values(), ids=lambda declared: declared.name)
def test_every_table_is_made_as_it_is_declared(declared: Table, ledger):
    ledger.create(declared.name)
    assert pa.schema(DeltaTable(str(ledger.path(declared.name))).schema().to_arrow()).names == declared.schema.names
    assert {"checkpoint_id", "batch_id"} <= set(declared.schema.names) or not declared.batched
    assert set(declared.key) <= set(declared.schema.names)
    assert set(declared.replayed) <= set(declared.schema.names)
