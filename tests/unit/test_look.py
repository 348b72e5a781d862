"""The one pass over a batch: figures of every group of rows, the same wherever rows are cut, and sound rows staged."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.pipeline import look
from qts.pipeline.look import KEYS, Look, merged
from qts.store.columns import table_of
from qts.store.ledger import Ledger
from qts.store.staging import Staging

ROLES = (
    "timed",
    "sound",
    "identified",
    "price",
    "partition",
    "place",
    "instrument",
    "kind",
    "time",
    "domain",
    "arrived",
)
SCHEMA = pa.schema(
    {
        **dict.fromkeys(("timed", "sound", "identified"), pa.bool_()),
        "price": pa.float64(),
        "partition": pa.string(),
        "place": pa.int64(),
        "instrument": pa.string(),
        "kind": pa.string(),
        "time": pa.int64(),
        "domain": pa.string(),
        "arrived": pa.timestamp("us", tz="UTC"),
    }
)
LOOK = Look({role: role for role in ROLES}, ())

ROW = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["sound", "sound", "sound", "broken", "untimed"]),
        "identified": st.booleans(),
        "price": st.floats(1, 2),
        "partition": st.sampled_from(["p", "q"]),
        "instrument": st.sampled_from(["A", "B"]),
        "kind": st.sampled_from(["trade", "quote", None]),
        "time": st.integers(-5, 5),
    }
)


def full(place, given):
    """A row as the look sees it. What is not sound may lack anything."""
    state = given["state"]
    row = {name: given[name] for name in ("identified", "price", "partition", "instrument", "kind", "time")}
    row |= {"timed": state != "untimed", "sound": state == "sound", "place": place}
    row |= {"domain": f"d:{given['partition']}", "arrived": None if given["partition"] == "p" else 7}
    return row if state != "untimed" else row | {"instrument": None, "time": None, "price": None}


def by_hand(rows):
    """The figures of each group, row by row."""
    groups = {}
    for row in rows:
        timed = row["timed"]
        who = (row["instrument"], row["kind"] or "unknown") if timed else (None, None)
        groups.setdefault((row["domain"], row["arrived"], row["partition"], *who), []).append(row)
    found = {}
    for key, members in groups.items():
        sound = [row for row in members if row["sound"]]
        times = [row["time"] for row in members if row["timed"]]
        last = max(sound, key=lambda row: row["place"], default=None)
        found[key] = (
            len(members),
            len(sound),
            sum(row["identified"] for row in sound),
            min(row["place"] for row in members),
            max(row["place"] for row in members),
            min(times, default=None),
            max(times, default=None),
            min((row["price"] for row in sound), default=None),
            max((row["price"] for row in sound), default=None),
            *((last["place"], last["price"], last["time"]) if last else (None, None, None)),
        )
    return found


def plain(value):
    return None if value is None or value != value or str(value) in ("<NA>", "NaT") else value


def looked(found):
    rows = {}
    for record in found.pieces.to_dict("records"):
        values = [plain(value) for value in record.values()]
        arrived = None if values[1] is None else values[1].value // 1000
        rows[(values[0], arrived, *values[2:5])] = tuple(values[5:])
    return rows


@given(rows=st.lists(ROW, max_size=40), chunk=st.integers(1, 50), batch=st.integers(1, 50), data=st.data())
@settings(max_examples=150, deadline=None)
def test_figures_are_those_of_the_rows_wherever_they_are_cut(rows, chunk, batch, data):
    rows = data.draw(st.permutations([full(place, given) for place, given in enumerate(rows)]))
    table = pa.Table.from_pylist(rows, SCHEMA)
    cut = pa.Table.from_batches(table.to_batches(max_chunksize=batch), SCHEMA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(look, "_CHUNK", chunk)
        patch.setattr(look, "_PIECES", chunk)
        patch.setattr(look, "_MANY", chunk)
        found = LOOK.here(cut)
    assert looked(found) == by_hand(rows)


def test_tasks_findings_are_put_together():
    rows = [full(place, {**dict.fromkeys(("identified",), True), **more}) for place, more in enumerate(MORE)]
    tasks = [pa.Table.from_pylist(part, SCHEMA) for part in (rows[:2], rows[2:])]
    packed = [row for task in tasks for part in LOOK(iter(task.to_batches())) for row in part.to_pylist()]
    pieces = pa.concat_tables([table_of(row["pieces"]) for row in packed])
    assert pieces.num_rows == 2
    assert len(merged(pieces)) == 1
    assert looked(look.Found(merged(pieces), None)) == by_hand(rows)
    assert list(merged(pieces).columns[:5]) == list(KEYS)


MORE = [
    {"state": "sound", "price": price, "partition": "p", "instrument": "A", "kind": "trade", "time": place}
    for place, price in enumerate([1.0, 3.0, 2.0])
]


def test_sound_rows_are_staged_and_others_are_not(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.create("headlines")
    staging = Staging(str(ledger.path("headlines")), "headlines", {"checkpoint_id": "c", "batch_id": 3})
    moments = [pa.scalar(second * 1_000_000, pa.timestamp("us", tz="UTC")) for second in range(3)]
    rows = pa.Table.from_pylist([full(p, {"identified": False, **more}) for p, more in enumerate(MORE)], SCHEMA)
    rows = rows.set_column(1, "sound", pa.array([True, False, True]))
    rows = rows.append_column("event_time", pa.array([m.as_py() for m in moments], pa.timestamp("us", tz="UTC")))
    rows = rows.append_column("text", pa.array(["a", "b", "c"]))
    look_and_write = Look({role: role for role in ROLES}, ("event_time", "text", "instrument"), staging)
    found = look_and_write.here(rows)
    assert [file.rows for file in found.files] == [2]
    assert ledger.read("headlines", done_only=False).num_rows == 0
    assert ledger.commit("headlines", found.files, transaction=("c", 3))
    kept = ledger.read("headlines", done_only=False).to_pylist()
    assert [(row["text"], row["instrument"], row["batch_id"], row["source"]) for row in kept] == [
        ("a", "A", 3, None),
        ("c", "A", 3, None),
    ]
    assert not math.isnan(found.pieces["high"].max())
