"""Row rules: every flaw has its code, every code is kept, and a good row has none."""

from __future__ import annotations

import math

import pytest
from chispa import assert_df_equality
from pyspark.sql import functions as F

from qts.market.quality import REASONS
from qts.pipeline.rules import all_safe, headline_rules, index_rules, tick_rules, with_reasons

from .ingest_help import LIMITS, SECOND, T0, candidates, row

NOW = T0 + 100 * SECOND
QUOTE = {"kind": "quote", "price": None, "size": None, "bid": 99.0, "ask": 101.0}

CASES = [
    ({}, []),
    ({"size": None}, []),
    ({"instrument": "BRK.B"}, []),
    ({"instrument": "^GSPC"}, []),
    ({"event_ns": None}, ["missing_time"]),
    ({"event_ns": None, "parse_errors": ["bad_time"]}, ["bad_time"]),
    ({"event_ns": -SECOND}, ["implausible_time"]),
    ({"event_ns": NOW + 5 * SECOND}, []),
    ({"event_ns": NOW + 5 * SECOND + 1}, ["implausible_time"]),
    ({"instrument": None}, ["missing_instrument"]),
    ({"instrument": "  "}, ["missing_instrument"]),
    ({"instrument": "../A"}, ["unsafe_instrument"]),
    ({"instrument": "A..B"}, ["unsafe_instrument"]),
    ({"instrument": "A\\B"}, ["unsafe_instrument"]),
    ({"instrument": "A'; DROP TABLE x; --"}, ["unsafe_instrument"]),
    ({"instrument": "A\x00"}, ["unsafe_instrument"]),
    ({"instrument": "A\n"}, ["unsafe_instrument"]),
    ({"instrument": "A" * 65}, ["unsafe_instrument"]),
    ({"kind": "rumour"}, ["unknown_kind"]),
    ({"kind": None}, ["unknown_kind"]),
    ({"price": None}, ["price_not_finite"]),
    ({"price": math.nan}, ["price_not_finite"]),
    ({"price": math.inf}, ["price_not_finite"]),
    ({"price": -math.inf}, ["price_not_finite", "price_not_positive"]),
    ({"price": 0.0}, ["price_not_positive"]),
    ({"price": 5e-324}, []),
    ({"size": math.nan}, ["size_not_finite"]),
    ({"size": 0.0}, ["size_not_positive"]),
    ({"price": -1.0, "size": -1.0, "flagged": True}, ["price_not_positive", "size_not_positive", "flagged"]),
    ({"parse_errors": ["bad_number"], "price": None}, ["bad_number", "price_not_finite"]),
    ({"parse_errors": ["unparseable_record"], "price": None, "event_ns": None}, ["unparseable_record"]),
    ({"parse_errors": ["unreadable_file"], "instrument": None, "event_ns": None}, ["unreadable_file"]),
    (QUOTE, []),
    (QUOTE | {"bid": 101.0}, []),
    (QUOTE | {"bid_size": 0.0, "ask_size": None}, []),
    (QUOTE | {"bid_size": -1.0}, ["size_not_positive"]),
    (QUOTE | {"ask_size": math.inf}, ["size_not_finite"]),
    (QUOTE | {"bid": 102.0}, ["quote_crossed"]),
    (QUOTE | {"bid": None}, ["price_not_finite"]),
    (QUOTE | {"bid": math.nan}, ["price_not_finite"]),
    (QUOTE | {"bid": 0.0}, ["price_not_positive"]),
]


def judged(spark, rows, landing):
    """Places with reasons, and whether the row is sound."""
    frame = with_reasons(candidates(spark, rows), landing.rules)
    return frame.select("source_offset", "reasons", landing.sound.alias("sound"))


def test_every_flaw_has_its_code(spark):
    rows = [row(offset, **({"event_ns": T0} | given)) for offset, (given, _) in enumerate(CASES)]
    expected = [(offset, codes, not codes) for offset, (_, codes) in enumerate(CASES)]
    wanted = spark.createDataFrame(expected, "source_offset long, reasons array<string>, sound boolean")
    assert_df_equality(judged(spark, rows, tick_rules(LIMITS, NOW)), wanted, ignore_nullable=True)
    assert {code for _, codes, _ in expected for code in codes} <= set(REASONS)


def test_a_trade_without_size_is_broken_where_the_source_gives_sizes(spark):
    rows = [row(0, size=None), row(1, **QUOTE), row(2)]
    got = judged(spark, rows, tick_rules(LIMITS, NOW, sized=True)).collect()
    assert [r["reasons"] for r in got] == [["size_not_finite"], [], []]


def test_only_listed_instruments_pass(spark):
    rows = [row(0), row(1, instrument="B"), row(2, instrument="B;"), row(3, instrument=None)]
    got = judged(spark, rows, tick_rules(LIMITS, NOW, ["A"])).collect()
    assert [r["reasons"] for r in got] == [
        [],
        ["unknown_instrument"],
        ["unsafe_instrument", "unknown_instrument"],
        ["missing_instrument"],
    ]


@pytest.mark.parametrize(("value", "codes"), [(-37.63, []), (0.0, []), (None, ["value_not_finite"])])
def test_an_index_may_have_any_finite_value(spark, value, codes):
    rows = [row(0, kind="index", instrument="WTI", price=value, size=None)]
    assert judged(spark, rows, index_rules(LIMITS, NOW)).first()["reasons"] == codes


def test_a_headline_needs_a_text_but_no_instrument(spark):
    rows = [
        row(0, kind="headline", text="Oil falls", instrument=None, price=None),
        row(1, kind="headline", text=" ", instrument="A", price=None),
        row(2, kind="headline", text="x", instrument="a/b", price=None),
    ]
    got = judged(spark, rows, headline_rules(LIMITS, NOW)).collect()
    assert [r["reasons"] for r in got] == [[], ["missing_text"], ["unsafe_instrument"]]


def test_untimed_rows_are_those_without_time_or_instrument(spark):
    untimed = {"missing_time", "bad_time", "implausible_time", "missing_instrument", "unsafe_instrument"}
    untimed |= {"unparseable_record", "unreadable_file"}
    rows = [row(offset, **({"event_ns": T0} | given)) for offset, (given, _) in enumerate(CASES)]
    landing = tick_rules(LIMITS, NOW)
    got = candidates(spark, rows).select(landing.timed.alias("timed"), F.col("source_offset")).collect()
    assert [r["timed"] for r in got] == [not untimed & set(codes) for _, codes in CASES]


def test_where_names_are_safe_and_no_time_lies_ahead_a_glance_says_what_the_rules_say(spark):
    landing = tick_rules(LIMITS, NOW)
    trusting = landing.trusting
    rows = [row(offset, **({"event_ns": T0} | given)) for offset, (given, _) in enumerate(CASES)]
    both = candidates(spark, rows).select(
        "instrument",
        "event_ns",
        *[side.timed.alias(f"timed{number}") for number, side in enumerate((landing, trusting))],
        *[side.sound.alias(f"sound{number}") for number, side in enumerate((landing, trusting))],
    )
    for found in both.collect():
        timed = found["timed1"]
        if timed and landing.holds([found["instrument"]], found["event_ns"]):
            assert (found["timed0"], found["sound0"]) == (timed, found["sound1"])
        else:
            assert not found["timed0"]
    assert landing.holds([], NOW + 5 * SECOND)
    assert not landing.holds([], NOW + 5 * SECOND + 1)
    assert landing.until(NOW).latest == NOW
    unsafe = [given["instrument"] for given, codes in CASES if codes == ["unsafe_instrument"]]
    assert unsafe
    assert not any(all_safe([name]) for name in unsafe)
    assert all_safe(["BRK.B", "^GSPC", "C D", "", "A" * 64])
