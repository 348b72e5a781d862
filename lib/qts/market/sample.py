"""Real market data that comes inside installed packages: no network, no download.

The files are opened in place, for importing arch or skfolio as a whole takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from qts.errors import ConfigError, DataError, SetupError, did_you_mean
from qts.market.bar import Array, IntArray
from qts.market.paths import Prints, daily_closes, daily_paths

_DAY = 86_400_000_000_000


@dataclass(frozen=True)
class Daily:
    """Daily bars in long form, `D` rows ordered by (day, instrument).

    Attributes:
        day: midnight UTC, nanoseconds, shape (D,).
        instrument: names, shape (D,).
        close: shape (D,).
        open, high, low: shape (D,); None where only closes are known.
        volume: units traded, shape (D,); None where unknown.
    """

    day: IntArray
    instrument: npt.NDArray[np.object_]
    close: Array
    open: Array | None = None
    high: Array | None = None
    low: Array | None = None
    volume: Array | None = None

    def prints(self) -> Prints:
        """The prints of these days, see `qts.market.paths`."""
        if self.open is None or self.high is None or self.low is None:
            return daily_closes(self.day, self.instrument, self.close)
        return daily_paths(self.day, self.instrument, self.open, self.high, self.low, self.close, self.volume)


@dataclass(frozen=True)
class Dataset:
    """One packaged data set.

    Attributes:
        into: the table that its records belong to.
        origin: where it comes from, for summaries.
        load: reads it.
    """

    into: str
    origin: str
    load: Callable[[], Daily]


def dataset(name: str) -> Dataset:
    """A packaged data set by name.

    Raises:
        ConfigError: no such data set; the message names the nearest.
    """
    try:
        return DATASETS[name]
    except KeyError:
        known = f" Known are {', '.join(DATASETS)}."
        raise ConfigError(f"There is no packaged data set {name!r}.{did_you_mean(name, DATASETS) or known}") from None


def check_ohlc(bars: Daily, name: str) -> Daily:
    """The bars themselves, if every one is possible: finite, positive, low <= open and close <= high.

    Raises:
        DataError: names the first impossible bar, and how many there are.
    """
    prices = [series for series in (bars.open, bars.high, bars.low, bars.close) if series is not None]
    good = np.logical_and.reduce([np.isfinite(series) & (series > 0) for series in prices])
    if bars.open is not None and bars.high is not None and bars.low is not None:
        for inner in (bars.open, bars.close):
            good &= (bars.low <= inner) & (inner <= bars.high)
    if not good.all():
        first = int(np.flatnonzero(~good)[0])
        shown = ", ".join(
            f"{field} {series[first]:g}"
            for field in ("open", "high", "low", "close")
            if (series := getattr(bars, field)) is not None
        )
        raise DataError(
            f"{name} has {int((~good).sum())} impossible daily bars; the first is {bars.instrument[first]} on "
            f"{pd.Timestamp(int(bars.day[first])).date()} with {shown}. Expected positive prices with "
            "low <= open, close <= high: correct or remove these rows."
        )
    return bars


def sp500_nasdaq() -> Daily:
    """S&P 500 and NASDAQ Composite, daily OHLC and volume, 1999 to 2018 (`arch.data`, from Yahoo Finance)."""
    frames = []
    for name, folder in (("SP500", "sp500"), ("NASDAQ", "nasdaq")):
        frames.append(_csv("arch", f"data/{folder}/{folder}.csv.gz").assign(instrument=name))
    frame = pd.concat(frames)
    frame = frame.assign(day=_days(frame["Date"], "%m/%d/%Y")).sort_values(["day", "instrument"], kind="stable")
    bars = Daily(
        frame["day"].to_numpy(np.int64),
        frame["instrument"].to_numpy(object),
        # The close, not the adjusted one: the other three prices are not adjusted.
        *(_numbers(frame[column]) for column in ("Close", "Open", "High", "Low", "Volume")),
    )
    return check_ohlc(bars, "arch.data sp500 and nasdaq")


def vix_wti() -> Daily:
    """VIX (2014 to 2018) and WTI crude oil (1986 to 2019) daily closes (`arch.data`, from CBOE and FRED)."""
    parts = {"VIX": ("data/vix/vix.csv.gz", "vix"), "WTI": ("data/wti/wti.csv.gz", "DCOILWTICO")}
    series = {}
    for name, (path, column) in parts.items():
        frame = _csv("arch", path)
        series[name] = pd.Series(
            pd.to_numeric(frame[column], errors="coerce").to_numpy(), index=_days(frame["Date"], "%m/%d/%Y")
        )
    return check_ohlc(_closes(series), "arch.data vix and wti")


def stocks20() -> Daily:
    """20 large US stocks that survived, adjusted daily closes 1990 to 2022 (`skfolio.datasets`)."""
    frame = _csv("skfolio", "datasets/data/sp500_dataset.csv.gz")
    days = _days(frame["Date"], "%Y-%m-%d")
    closes = {name: pd.Series(_numbers(frame[name]), index=days) for name in frame.columns if name != "Date"}
    return check_ohlc(_closes(closes), "skfolio.datasets sp500")


DATASETS: Mapping[str, Dataset] = {
    "sp500_nasdaq": Dataset("ticks", "S&P 500 and NASDAQ daily bars 1999-2018, arch.data", sp500_nasdaq),
    "stocks20": Dataset("ticks", "20 US stocks, adjusted daily closes 1990-2022, skfolio.datasets", stocks20),
    "vix_wti": Dataset("indices", "VIX and WTI daily closes, arch.data", vix_wti),
}


def _closes(series: Mapping[str, pd.Series]) -> Daily:
    """Long form of several series of closes; days without a figure (WTI's holidays) have no row."""
    frame = pd.concat(
        [part.dropna().rename("close").to_frame().assign(instrument=name) for name, part in series.items()]
    )
    frame = frame.rename_axis("day").reset_index().sort_values(["day", "instrument"], kind="stable")
    return Daily(frame["day"].to_numpy(np.int64), frame["instrument"].to_numpy(object), _numbers(frame["close"]))


def _days(dates: pd.Series, pattern: str) -> IntArray:
    return np.asarray(pd.to_datetime(dates, format=pattern).to_numpy("datetime64[D]").astype(np.int64) * _DAY)


def _numbers(column: pd.Series) -> Array:
    return np.asarray(column.to_numpy(np.float64))


def _csv(package: str, path: str) -> pd.DataFrame:
    spec = find_spec(package)
    roots: Sequence[str] = (spec.submodule_search_locations or ()) if spec is not None else ()
    for root in roots:
        if (file := Path(root, path)).is_file():
            return pd.read_csv(file)
    raise SetupError(f"Package {package} with its {path} is not installed. Install QTS with its requirements again.")
