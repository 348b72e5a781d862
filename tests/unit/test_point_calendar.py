from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qts.forecast.point.base import Panel
from qts.forecast.point.calendar import SLOTS, next_times, steps_of
from qts.forecast.point.prophets import Prophet


def _sessions(days: int, minutes: int) -> pd.DatetimeIndex:
    """Bars of a market from 9:30 to 16:00."""
    opens = pd.bdate_range("2024-01-02", periods=days)
    ends = pd.timedelta_range("9h30min", "16h", freq=f"{minutes}min")
    return pd.DatetimeIndex([day + end for day in opens for end in ends])


@pytest.mark.parametrize(
    ("times", "tolerance"),
    [
        (pd.bdate_range("2024-01-01", periods=60), "0h"),
        (pd.bdate_range("2024-01-01", periods=60) + pd.Timedelta("16h"), "0h"),
        (pd.date_range("2024-01-01", periods=60, freq="D"), "0h"),
        (pd.date_range("2024-01-01", periods=600, freq="h"), "0h"),
        (pd.date_range("2024-01-05", periods=60, freq="7D"), "0h"),
        (pd.date_range("2020-01-31", periods=60, freq="ME"), "50h"),
        (pd.date_range("2000-01-01", periods=40, freq="QS"), "80h"),
        (_sessions(25, 30), "0h"),
    ],
    ids=["weekdays", "weekdays' closes", "all days", "hours", "weeks", "months", "quarters", "sessions"],
)
def test_the_next_times_are_those_that_come(times: pd.DatetimeIndex, tolerance: str) -> None:
    """A calendar is learnt from all but the last 12 times, which are then foretold, from each row in turn too."""
    at = times.as_unit("ns").asi8
    step, open_slots = steps_of(at[:-12], calendar=True)
    found = next_times(at[-13:-12], np.array([step]), open_slots[None], 12)[0]
    assert np.abs(found - at[-12:]).max() <= pd.Timedelta(tolerance).value
    one_by_one = next_times(at[-13:-1], np.full(12, step), np.tile(open_slots, (12, 1)), 1)[:, 0]
    assert np.abs(one_by_one - at[-12:]).max() <= pd.Timedelta(tolerance).value


def test_one_odd_saturday_opens_no_market() -> None:
    days = pd.bdate_range("2020-01-01", periods=600).union([pd.Timestamp("2021-03-06")])
    step, open_slots = steps_of(days.as_unit("ns").asi8, calendar=True)
    friday = np.array([pd.Timestamp("2022-06-03").value])
    assert pd.Timestamp(next_times(friday, np.array([step]), open_slots[None], 1)[0, 0]) == pd.Timestamp("2022-06-06")


def test_a_short_series_and_whole_numbers_have_no_closed_hours() -> None:
    hours = pd.date_range("2024-01-01 09:00", periods=12, freq="h").as_unit("ns").asi8
    assert steps_of(hours, calendar=True)[1].all()
    step, open_slots = steps_of(np.array([0, 2, 4, 8]), calendar=False)
    assert step == 2
    assert open_slots.all()


@given(
    slots=st.sets(st.integers(0, SLOTS - 1), min_size=1, max_size=20),
    step=st.integers(1, 10**15),
    last=st.integers(0, 2 * 10**18),
)
def test_times_increase_and_fall_into_open_slots(slots: set[int], step: int, last: int) -> None:
    open_slots = np.zeros((1, SLOTS), np.bool_)
    open_slots[0, sorted(slots)] = True
    found = next_times(np.array([last]), np.array([step]), open_slots, 5)[0]
    assert (np.diff(found, prepend=last) >= step).all()
    assert open_slots[0, found // 900_000_000_000 % SLOTS].all()


def test_prophet_forecasts_mondays_on_friday() -> None:
    """Weekday effects of 0 to 4: a Saturday's season, which no row ever taught, would be off by about 2."""
    days = pd.bdate_range("2020-01-01", periods=300)
    values = 100 + days.dayofweek.to_numpy(np.float64) + 0.1 * np.random.default_rng(0).normal(size=300)
    times = days.as_unit("ns").asi8
    cut = int(np.flatnonzero(days.dayofweek == 0)[-2])
    panel = Panel(("a",), values[:cut, None], times[:cut, None], np.zeros(1, np.int64), calendar=True)
    model = Prophet()
    found = model.forecast(model.fit(panel, 5).state, 5).mean[0]
    np.testing.assert_allclose(found, values[cut : cut + 5], atol=0.5)
