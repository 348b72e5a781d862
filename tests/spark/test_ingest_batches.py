"""Batches of one source: the book's verdicts wherever they are cut, and nothing twice when they come again."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from qts.errors import QualityGateFailed
from qts.pipeline import validate
from qts.pipeline.batches import BatchLog
from qts.pipeline.expectations import Rule, Suite
from qts.pipeline.landing import Lander
from qts.pipeline.marks import _all_differ

from .ingest_help import GATE, LIMITS, SECOND, T0, Book, candidates, lander, positions, reasons, row

HOUR = 3600 * SECOND


def messy(seed: int, count: int = 400):
    """Rows of three instruments in two partitions with everything that goes wrong, most of them good."""
    rng = np.random.default_rng(seed)
    rows = []
    for offset in range(count):
        name = ["A", "B", "C D"][rng.integers(3)]
        part = "p" if rng.random() < 0.7 else "q"
        price = 100.0 * math.exp(rng.normal(0, 0.01))
        given = {
            "instrument": name,
            "price": price,
            "source_partition": part,
            "lateness_domain": part,
            "venue": [None, "X"][rng.integers(2)],
            "event_ns": T0 + offset * 2 * SECOND + int(rng.integers(0, 3 * SECOND)),
        }
        if rng.random() < 0.3:
            given |= {"kind": "quote", "price": None, "size": None, "bid": price, "ask": price * 1.001, "bid_size": 0.0}
        if rng.random() < 0.5:
            given["vendor_id"] = f"v{offset}"
        flaw = rng.integers(0, 40)
        flaws = {
            0: {"price": math.nan},
            1: {"price": math.inf},
            2: {"price": -5.0},
            3: {"price": 0.0, "size": -1.0},
            4: {"size": math.nan},
            5: {"instrument": "../../etc/passwd"},
            6: {"instrument": "A'; DROP TABLE ticks; --"},
            7: {"instrument": None},
            8: {"instrument": "  "},
            9: {"event_ns": None, "parse_errors": ["bad_time"]},
            10: {"event_ns": None},
            11: {"event_ns": T0 + 10**9 * SECOND},
            12: {"event_ns": T0 + offset * 2 * SECOND - 300 * SECOND},
            13: {"event_ns": T0 + offset * 2 * SECOND - 9 * SECOND},
            14: {"price": 900.0},
            15: {"kind": "quote", "price": None, "bid": 101.0, "ask": 99.0},
            16: {"kind": "quote", "price": None, "bid": 99.0, "ask": None},
            17: {"flagged": True},
            18: {"price": 950.0, "event_ns": T0 + offset * 2 * SECOND - 300 * SECOND},
        }
        rows.append(row(offset, **(given | flaws.get(int(flaw), {}))))
        if rng.random() < 0.1:
            again = dict(rows[rng.integers(len(rows))])  # redelivered, under a place of its own
            rows.append(again | {"source_offset": 10_000 + offset, "source_partition": part, "lateness_domain": part})
    # Places rise within a partition, and p comes before q, as whole files do.
    for part in ("p", "q"):
        for place, given in enumerate(r for r in rows if r["source_partition"] == part):
            given["source_offset"] = place
    return sorted(rows, key=lambda r: (r["source_partition"], r["source_offset"]))


@pytest.mark.parametrize(
    ("cuts", "small", "about"), [(1, 50_000, 1), (3, 50_000, 1), (10, 50_000, None), (1, 0, 1), (3, 0, 1)]
)
def test_a_messy_stream_is_judged_by_the_book_wherever_it_is_cut(spark, tmp_path, monkeypatch, cuts, small, about):
    """Cut or whole, in this process or by Spark; of unknown size, first by Spark and then here."""
    monkeypatch.setattr(validate, "SMALL", small)
    rows = messy(seed=5, count=300)
    book = Book(LIMITS)
    now = int(datetime.now(UTC).timestamp()) * SECOND
    expected = {(r["source_partition"], r["source_offset"]): book.judge(r, now) for r in rows}
    land = lander(spark, tmp_path, about=about)
    for batch, part in enumerate(np.array_split(np.arange(len(rows)), cuts)):
        land(candidates(spark, [rows[i] for i in part]), batch)
    assert positions(land.ledger, "ticks") == sorted(place for place, codes in expected.items() if not codes)
    got = {place: sorted(codes) for place, codes in reasons(land.ledger).items()}
    assert got == {place: sorted(codes) for place, codes in expected.items() if codes}
    found = {code for codes in expected.values() for code in codes}
    assert {"late", "price_jump", "duplicate", "quote_crossed", "unsafe_instrument", "price_not_finite"} <= found
    totals = [land.log.summaries()[i] for i in range(cuts)]
    for summary in totals:
        assert summary["in"] == summary["accepted"] + summary["quarantined"] + summary["duplicates"]
    assert sum(s["in"] for s in totals) == len(rows)
    assert sum(s["duplicates"] for s in totals) == sum(codes == ["duplicate"] for codes in expected.values())
    assert land.ledger.read("instruments")["instrument"].to_pylist() == ["A", "B", "C D"] or cuts > 1


def test_orderly_rows_need_neither_fold_nor_quarantine(spark, tmp_path):
    land = lander(spark, tmp_path)
    land(candidates(spark, [row(offset, price=100.0 + offset % 7) for offset in range(200)]), 0)
    assert len(positions(land.ledger, "ticks")) == 200
    assert land.log.summaries() == [
        {
            "source": "feed",
            "table": "ticks",
            "in": 200,
            "accepted": 200,
            "quarantined": 0,
            "duplicates": 0,
            "reasons": {},
        }
    ]
    instruments = land.ledger.read("instruments").to_pylist()
    assert [(i["instrument"], i["price_from"], i["lot_size"]) for i in instruments] == [("A", "trade", 1.0)]


def test_a_batch_that_comes_again_changes_nothing(spark, tmp_path):
    rows = candidates(spark, messy(seed=2, count=80))
    land = lander(spark, tmp_path)
    land(rows, 0)
    before = {name: land.ledger.version(name) for name in ("ticks", "quarantine", "batches", "state", "instruments")}
    land(rows, 0)
    lander(spark, tmp_path)(rows, 0)
    assert before == {name: land.ledger.version(name) for name in before}


@pytest.mark.parametrize("at", ["save_state", "done"])
def test_a_crash_before_the_end_is_replayed_from_the_plan(spark, tmp_path, monkeypatch, at):
    rows = candidates(spark, messy(seed=3, count=80))
    land = lander(spark, tmp_path)
    whole = lander(spark, tmp_path / "undisturbed")
    whole(rows, 0)
    with monkeypatch.context() as patch:
        patch.setattr(BatchLog, at, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            land(rows, 0)
    assert positions(land.ledger, "ticks") == []  # not done, so not to be seen
    again = lander(spark, tmp_path)
    again(rows, 0)
    assert positions(again.ledger, "ticks") == positions(whole.ledger, "ticks")
    assert reasons(again.ledger) == reasons(whole.ledger)
    assert again.log.summaries() == whole.log.summaries()


def test_a_replay_keeps_the_limits_and_the_clock_of_its_plan(spark, tmp_path, monkeypatch):
    rows = candidates(spark, [row(0), row(1, instrument="B"), row(2, price=120.0)])
    land = lander(spark, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Lander, "_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            land(rows, 0)
    stricter = lander(spark, tmp_path, instruments=("A",))
    stricter(rows, 0)
    assert len(positions(land.ledger, "ticks")) == 3
    stricter(candidates(spark, [row(3), row(4, instrument="B")]), 1)
    assert reasons(stricter.ledger) == {("p", 4): ["unknown_instrument"]}


def test_a_place_that_was_read_before_is_a_duplicate(spark, tmp_path):
    land = lander(spark, tmp_path)
    land(candidates(spark, [row(offset) for offset in range(5)]), 0)
    grown = [row(offset, price=-1.0 if offset == 3 else 100.0) for offset in range(7)]
    land(candidates(spark, grown), 1)
    assert positions(land.ledger, "ticks") == [("p", offset) for offset in range(7)]
    assert reasons(land.ledger)["p", 3] == ["price_not_positive", "duplicate"]
    assert land.log.summaries()[1] | {"reasons": None} == {
        "source": "feed",
        "table": "ticks",
        "in": 7,
        "accepted": 2,
        "quarantined": 1,
        "duplicates": 4,
        "reasons": None,
    }


@pytest.mark.parametrize("small", [50_000, 0])
def test_a_vendors_id_comes_once_though_its_file_comes_twice(spark, tmp_path, monkeypatch, small):
    land = lander(spark, tmp_path)
    rows = [row(offset, vendor_id=str(offset), lateness_domain="p") for offset in range(50)]
    monkeypatch.setattr(validate, "SMALL", small)
    land(candidates(spark, rows), 0)
    copy = [r | {"source_partition": "copy of p", "lateness_domain": "copy of p"} for r in rows]
    land(candidates(spark, copy), 1)
    assert land.log.summaries()[1]["duplicates"] == 50
    assert len(positions(land.ledger, "ticks")) == 50
    # Many venues count from one each day: the same id at another time is another trade.
    land(candidates(spark, [row(60 + o, vendor_id=str(o), lateness_domain="p") for o in range(50)]), 2)
    assert land.log.summaries()[2]["accepted"] == 50


@pytest.mark.parametrize(
    ("given", "proven"),
    [
        ([("A", "1", 0), ("A", "2", 0), ("A", "-1", 0), ("A", "64", 0), ("A", "65", 0)], True),
        ([("A", "1", 0), ("B", "1", 0), ("A", "1", 3601)], True),
        ([("A", "1", 0), ("A", "2", 1), ("A", "1", 2)], False),
        ([("A", "7", 0), ("A", "007", 0)], False),
        ([("A", "1", 0), ("A", "x1", 0)], False),
        ([("A", str(2**63), 0)], False),
    ],
)
def test_numbered_ids_are_proven_to_differ_without_comparing_them(spark, given, proven):
    rows = [
        row(offset, instrument=name, vendor_id=number, event_ns=T0 // HOUR * HOUR + second * SECOND)
        for offset, (name, number, second) in enumerate(given)
    ]
    assert _all_differ(candidates(spark, rows)) is proven


def test_a_stop_leaves_only_its_result_and_a_changed_suite_goes_on(spark, tmp_path):
    def suite(top):
        arguments = {"column": "quarantined_share", "max_value": top}
        return Suite("ticks", (Rule("expect_column_values_to_be_between", "batch", "stop", arguments),), "ticks.yml")

    rows = candidates(spark, [row(0), row(1, price=-1.0)])
    with pytest.raises(QualityGateFailed, match=r"Batch 0 of source 'feed' fails .*quarantined_share 0\.5"):
        lander(spark, tmp_path, suite=suite(0.2))(rows, 0)
    land = lander(spark, tmp_path, suite=suite(0.6))
    assert not land.ledger.exists("quarantine")
    assert land.ledger.read("ticks", done_only=False).num_rows == 0
    with pytest.raises(QualityGateFailed):
        lander(spark, tmp_path, suite=suite(0.2))(rows, 0)
    land(rows, 0)
    assert len(positions(land.ledger, "ticks")) == 1
    kept = land.ledger.read("quality_results").to_pylist()
    assert {r["suite"]: r["success"] for r in kept} == {suite(0.2).name: False, suite(0.6).name: True}
    assert len(kept) == 2


def test_the_gate_is_no_part_of_what_is_written(spark, tmp_path):
    land = lander(spark, tmp_path, suite=GATE)
    land(candidates(spark, []), 0)
    assert land.log.summaries()[0]["in"] == 0
    assert land.log.last_done() == 0
