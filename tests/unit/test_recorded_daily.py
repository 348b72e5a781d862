"""Daily bars of a user's own file, as the replay source reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qts.errors import DataError
from qts.market.mapping import Mapping
from qts.pipeline.sources.recorded import record

DAYS = pd.bdate_range("2020-01-01", periods=30)
MAPPING = Mapping.of({"kind": "daily", "columns": {"event_time": "day", "instrument": "sym", "close": "px"}})


def write(folder: Path, days: object, ending: str) -> str:
    table = pd.DataFrame({"day": days, "sym": "X", "px": np.arange(100.0, 130.0)})
    path = folder / f"bars.{ending}"
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    return str(path)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize(
    "days",
    [
        DAYS,
        DAYS.date,
        DAYS.strftime("%d/%m/%Y"),
        DAYS.strftime("%Y%m%d").astype(int),
        DAYS.tz_localize("UTC"),
        [f"{day:%Y-%m-%d} 00:00:00{'-05:00' if row < 15 else '-04:00'}" for row, day in enumerate(DAYS)],
    ],
    ids=["times", "dates", "day first", "numbers", "UTC", "New York, winter and summer"],
)
def test_dates_in_any_form(days: object, ending: str, tmp_path: Path) -> None:
    recording = record(path=write(tmp_path, days, ending), mapping=MAPPING)
    found = recording.time.astype("datetime64[ns]").astype("datetime64[D]")
    np.testing.assert_array_equal(found, DAYS.to_numpy("datetime64[D]"))


def test_a_bar_without_a_date_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 daily bars have no date in 'day'"):
        record(path=write(tmp_path, [None, *DAYS[1:].strftime("%Y-%m-%d")], "csv"), mapping=MAPPING)
