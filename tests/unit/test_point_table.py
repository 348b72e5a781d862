"""Long tables as people keep them: names of columns, forms of times, what cannot be told apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from qts.errors import DataError
from qts.forecast.point.series import read_long

_MONTHS = pd.date_range("1998-01-01", periods=48, freq="MS")


def _told(times: object, **more: object) -> pd.DataFrame:
    return pd.DataFrame({"series": "a", "timestamp": times, "y": np.arange(48.0), **more})


@pytest.mark.parametrize(
    "form",
    [
        lambda t: t.strftime("%d.%m.%Y"),
        lambda t: t.strftime("%d/%m/%Y"),  # only firsts, of all months of several years
        lambda t: t.strftime("%m/%d/%Y"),
        lambda t: t.strftime("%b %Y"),
        lambda t: t.strftime("%YM%m"),
        lambda t: t.strftime("%Y-%m"),
        lambda t: t.strftime("%Y%m%d").astype(int),
        lambda t: t.strftime("%Y%m%d"),
        lambda t: t.astype("int64") // 10**9,
        lambda t: t.astype("int64") // 10**6,
        lambda t: t.astype("int64"),
    ],
)
def test_months_in_many_forms(form: Callable[[pd.DatetimeIndex], pd.Index]) -> None:
    (one,) = read_long(_told(form(_MONTHS))).series
    assert one.season == 12
    np.testing.assert_array_equal(one.times, _MONTHS.astype("int64"))


@pytest.mark.parametrize("form", ["{y}Q{q}", "{y}-Q{q}", "Q{q} {y}", "Q{q}/{y}"])
def test_quarters_in_many_forms(form: str) -> None:
    quarters = pd.period_range("2001Q1", periods=48, freq="Q")
    (one,) = read_long(_told([form.format(y=p.year, q=p.quarter) for p in quarters])).series
    assert one.season == 4
    np.testing.assert_array_equal(one.times, quarters.to_timestamp().astype("int64"))


@pytest.mark.parametrize(
    ("times", "season"),
    [
        (range(1950, 1998), 1),  # years
        (pd.date_range("2001-01-01", periods=48, freq="W"), -52),
        (pd.date_range("2001-01-01", periods=48), -7),
        (pd.bdate_range("2001-01-01", periods=48), -5),
        (pd.date_range("2001-01-01", periods=48, freq="30min"), -48),
        (pd.date_range("2001-01-01", periods=48, freq="7min"), 0),
    ],
)
def test_seasons_that_there_may_be(times: object, season: int) -> None:
    (one,) = read_long(_told(times)).series
    assert (one.season, one.scaled_by) == (season, 1)


def test_whole_numbers_of_t_are_rows_and_no_years() -> None:
    (one,) = read_long(_told(range(1950, 1998)).rename(columns={"timestamp": "t"})).series
    assert (one.season, one.calendar, one.times[0]) == (0, False, 1950)


def test_columns_are_known_in_any_case_and_by_common_names() -> None:
    wanted = read_long(_told(_MONTHS)).series[0]
    for names in (("SERIES", "Timestamp", "Y"), ("ticker", "Date", "Close"), ("unique_id", "ds", "y")):
        renamed = _told(_MONTHS).rename(columns=dict(zip(("series", "timestamp", "y"), names, strict=True)))
        (one,) = read_long(renamed[list(reversed(names))]).series
        assert (one.name, one.season) == (wanted.name, wanted.season)
        np.testing.assert_array_equal(one.values, wanted.values)


def test_series_that_cannot_be_told_apart_are_not_made_one() -> None:
    two = pd.concat([_told(_MONTHS, shop="a"), _told(_MONTHS, shop="b")]).drop(columns="series")
    with pytest.raises(DataError, match=r"48 of 96 rows repeat a time .* the file has 'timestamp', 'y', 'shop'"):
        read_long(two)


@pytest.mark.parametrize(
    ("column", "given", "message"),
    [
        ("y", "x", "Column 'y' holds no finite number below 1e\\+150 in 48 rows: the first is 'x'"),
        ("y", 1e200, "the first is 1e\\+200"),
        ("y", None, "all are empty"),
        ("timestamp", "soon", "Column 'timestamp' holds no time in 48 rows: the first is 'soon'"),
    ],
)
def test_a_column_without_one_usable_cell_is_named(column: str, given: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_long(_told(_MONTHS).assign(**{column: given}))
