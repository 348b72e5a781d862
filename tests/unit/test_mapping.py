"""Mappings: what they accept, and that a mistake is answered with the nearest right word."""

from __future__ import annotations

from pathlib import Path

import pytest

from qts.errors import ConfigError, MissingInput, UnknownColumn
from qts.market.mapping import Mapping

MAPPINGS = Path(__file__).resolve().parents[2] / "conf/mappings"
QUOTE = {"event_time": "ts", "instrument": "symbol", "bid": "Bid", "ask": "ask"}


def quote(**keys):
    return Mapping.of({"kind": "quote", "columns": QUOTE} | keys, name="fx.yml")


@pytest.mark.parametrize("file", sorted(MAPPINGS.glob("*.yml")), ids=lambda file: file.stem)
def test_every_mapping_that_comes_with_qts_loads(file):
    mapping = Mapping.load(file)
    assert mapping.name == file.name
    mapping.check_columns([*mapping.used_columns, "more"], "own data")


def test_a_column_that_is_not_there():
    with pytest.raises(UnknownColumn) as caught:
        quote(columns=QUOTE | {"instrument": "ts"}).check_columns(["ts", "bid", "ask"], "quotes.parquet")
    assert str(caught.value) == (
        "mapping fx.yml names 'Bid' but quotes.parquet has 'ask', 'bid', 'ts'. Did you mean 'bid'?"
    )


def test_other_words_for_the_vendors_id():
    named = {"event_time": "ts", "instrument": "sym", "price": "px"}
    assert Mapping.of({"kind": "trade", "columns": named | {"trade_id": "no"}}).columns == named | {"vendor_id": "no"}
    with pytest.raises(ConfigError, match="name one of ours twice"):
        Mapping.of({"kind": "trade", "columns": named | {"trade_id": "no", "vendor_id": "no"}})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"colums": {}}, "unknown key 'colums'. Did you mean 'columns'?"),
        ({"kind": "qoute"}, "expected 'trade', 'quote', 'index', 'headline' or 'daily', not 'qoute'"),
        ({"timezone": "Europe/Pariss"}, "'Europe/Pariss' is no time zone"),
        ({"columns": QUOTE | {"bidd": "b"}}, "columns name 'bidd', which a quote does not have. Did you mean 'bid'?"),
        ({"columns": {"event_time": "ts", "instrument": "i", "bid": "b"}}, "a quote needs ask in columns or constants"),
        ({"constants": {"ask": 3}}, "ask stand in columns and in constants"),
        ({"constants": {"venue": 3}}, "constant venue is 3.0; expected text"),
        ({"constants": {"bid_size": "many"}}, "constant bid_size is 'many'; expected a number"),
        ({"constants": {"event_time": "now"}}, "constants name 'event_time'"),
        ({"wide": True}, "wide: one column an instrument is for trade, index, daily, not for a quote"),
        ({"side": {"column": "s"}}, "side is for trades"),
        ({"unit": "ms", "time_format": "yyyy"}, "unit is for times that are numbers"),
        ({"unit": "min"}, "expected 's', 'ms', 'us' or 'ns', not 'min'"),
        ({"time_of_day": "25:00"}, "'25:00' is no time of day"),
        ({"flag": {"column": "f", "valu": 1}}, "unknown key 'valu'. Did you mean 'value'?"),
    ],
)
def test_mistakes_are_named(keys, message):
    with pytest.raises(ConfigError) as caught:
        quote(**keys)
    assert message in str(caught.value)
    assert "fx.yml" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingInput, match=r"none\.yml"):
        Mapping.load(tmp_path / "none.yml")


@pytest.mark.parametrize("text", ["16:00", '"16:00"', "'16:00:00'", "57600"])
def test_yaml_reads_an_unquoted_time_of_day_as_a_number(tmp_path, text):
    file = tmp_path / "m.yml"
    file.write_text(f"kind: trade\nwide: true\ntime_of_day: {text}\ncolumns: {{event_time: Date}}\n")
    assert Mapping.load(file).time_of_day == "16:00:00"


def test_yaml_booleans_and_numbers_are_compared_as_text(tmp_path):
    file = tmp_path / "m.yml"
    file.write_text(
        "kind: trade\ncolumns: {event_time: ts, instrument: i, price: p}\n"
        "side: {column: maker, values: {true: sell, false: buy}}\nflag: {column: f, value: [1, true]}\n"
    )
    mapping = Mapping.load(file)
    assert mapping.side is not None
    assert mapping.flag is not None
    assert mapping.side.values == {"true": "sell", "false": "buy"}
    assert mapping.flag.value == ("1", "true")
    assert mapping.used_columns == ("ts", "i", "p", "maker", "f")


def test_cells_of_a_wide_file():
    wide = Mapping.of({"kind": "trade", "wide": True, "columns": {"event_time": "Date"}})
    assert wide.cells(["Date", "B", "A"]) == ("B", "A")
    some = Mapping.of({"kind": "trade", "wide": True, "columns": {"event_time": "Date"}, "instruments": ["A"]})
    assert some.cells(["Date", "B", "A"]) == ("A",)
    with pytest.raises(UnknownColumn, match="expects a column for 'A'"):
        some.cells(["Date", "B"])
    with pytest.raises(UnknownColumn, match="no column is left"):
        wide.cells(["Date"])


@pytest.mark.parametrize(
    ("keys", "absent"),
    [
        ({}, {"price", "size", "side", "bid_size", "ask_size", "venue", "vendor_id"}),
        ({"constants": {"venue": "X"}}, {"price", "size", "side", "bid_size", "ask_size", "vendor_id"}),
        (
            {"kind": "trade", "columns": {"event_time": "t", "instrument": "i", "price": "p"}, "side": {"column": "s"}},
            {"size", "bid", "bid_size", "ask", "ask_size", "venue", "vendor_id"},
        ),
        (
            {"kind": "trade", "columns": {"event_time": "t"}, "wide": True},
            {"size", "side", "bid", "bid_size", "ask", "ask_size", "venue", "vendor_id"},
        ),
    ],
)
def test_what_no_record_can_have_is_known(keys, absent):
    assert quote(**keys).absent == absent
