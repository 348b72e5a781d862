"""Files that are written and not committed: nobody sees them, a commit shows all at once, and once."""

from __future__ import annotations

import datetime
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pyarrow as pa
import pytest

from qts.errors import StoreError
from qts.store.ledger import Ledger
from qts.store.staging import Staging
from qts.store.tables import table

AT = datetime.datetime(2024, 3, 1, 10, 0, 0, 123456, tzinfo=datetime.UTC)


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "tables")
    ledger.create("ticks")
    return ledger


def staging(ledger, batch=0):
    stamps = {"ingest_time": AT, "checkpoint_id": "c", "batch_id": batch}
    return Staging(str(ledger.path("ticks")), "ticks", stamps)


def ticks(*names, **columns):
    count = len(names)
    given = {
        "event_time": [AT + datetime.timedelta(seconds=second) for second in range(count)],
        "event_ns": range(count),
        "instrument": list(names),
        "kind": ["trade"] * count,
        "price": [1.0] * count,
    }
    types = {name: table("ticks").schema.field(name).type for name in given | columns}
    return pa.table({name: pa.array(values, types[name]) for name, values in (given | columns).items()})


def test_a_commit_shows_all_files_at_once_and_only_once(ledger):
    files = [*staging(ledger).write(ticks("A", "B")), *staging(ledger).write(ticks("C"))]
    assert ledger.read("ticks", done_only=False).num_rows == 0
    assert ledger.commit("ticks", files, transaction=("c", 0)) is True
    rows = ledger.read("ticks", done_only=False).to_pylist()
    assert sorted(row["instrument"] for row in rows) == ["A", "B", "C"]
    assert {(row["checkpoint_id"], row["batch_id"], row["ingest_time"], row["bid"]) for row in rows} == {
        ("c", 0, AT, None)
    }
    again = staging(ledger).write(ticks("A", "B"))
    assert ledger.commit("ticks", again, transaction=("c", 0)) is False
    assert Ledger(ledger.root).read("ticks", done_only=False).num_rows == 3
    staging(ledger).discard(again)
    assert {path.name for path in ledger.path("ticks").glob("*.parquet")} == {file.path for file in files}


def test_sources_commit_beside_each_other_and_none_is_lost(ledger):
    """Each source has a thread and a ledger of its own; all go on from whatever version the others have made."""

    def land(application):
        own = Ledger(ledger.root)
        return [own.commit("ticks", staging(own).write(ticks("A")), transaction=(application, b)) for b in range(10)]

    with ThreadPoolExecutor(4) as pool:
        assert all(all(done) for done in pool.map(land, "abcd"))
    assert ledger.read("ticks", done_only=False).num_rows == 40
    assert {ledger.transaction("ticks", application) for application in "abcd"} == {9}


def test_however_many_commit_at_once_none_is_refused(ledger):
    """One of 24 may find its version taken 23 times over; delta-rs of itself gives up after 15."""
    begin = Barrier(24)

    def land(application):
        own = Ledger(ledger.root)
        files = staging(own).write(ticks("A"))
        begin.wait()
        return own.commit("ticks", files, transaction=(application, 0))

    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(land, map(str, range(24))))
    assert ledger.read("ticks", done_only=False).num_rows == 24


def test_the_log_knows_in_which_span_of_time_a_file_lies(ledger):
    files = staging(ledger).write(ticks("B", "A"))
    assert json.loads(files[0].stats) == {
        "numRecords": 2,
        "minValues": {"event_time": "2024-03-01T10:00:00.123456Z", "instrument": "A"},
        "maxValues": {"event_time": "2024-03-01T10:00:01.123456Z", "instrument": "B"},
        "nullCount": {"event_time": 0, "instrument": 0},
    }
    ledger.commit("ticks", files, transaction=("c", 0))
    known = pa.table(ledger.open("ticks").get_add_actions(flatten=True)).to_pylist()[0]
    assert (known["num_records"], known["min.instrument"], known["max.instrument"]) == (2, "A", "B")
    assert known["max.event_time"].replace(tzinfo=datetime.UTC) == AT + datetime.timedelta(seconds=1)


def test_no_rows_make_no_file(ledger):
    assert staging(ledger).write(ticks()) == []
    assert ledger.commit("ticks", [], transaction=("c", 0)) is False
    assert list(ledger.path("ticks").glob("*.parquet")) == []


@pytest.mark.parametrize(
    ("rows", "told"),
    [(ticks("A", kind=[None]), r"nulls in \['kind'\]"), (ticks("A").drop(["event_ns"]), "lack 'event_ns'")],
)
def test_rows_that_lack_what_the_table_requires_leave_no_file(ledger, rows, told):
    with pytest.raises(StoreError, match=told):
        staging(ledger).write(rows)
    assert list(ledger.path("ticks").glob("*.parquet")) == []


def test_a_folder_that_refuses_is_named_with_what_to_do(tmp_path):
    gone = Staging(str(tmp_path / "tables" / "ticks"), "ticks", {})
    with pytest.raises(StoreError, match=r"Table 'ticks' in .*tables cannot be written: .* the batch will be replayed"):
        gone.write(ticks("A"))
