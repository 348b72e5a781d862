"""A small market as a ticks table, and everything that trading it wrote, for comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from deltalake import DeltaTable, write_deltalake
from pyspark.sql.streaming.readwriter import DataStreamReader

from qts.pipeline import trade
from qts.settings import Settings
from qts.store.ledger import Ledger, conform
from qts.store.tables import TABLES, table

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
START = 16_436 * DAY  # 2015-01-01
DAYS = 40
NAMES = ("CARBON", "EURUSD", "IRON", "TIN")
WRITTEN = sorted(name for name, declared in TABLES.items() if declared.writer == "trade")

STRATEGIES = {
    "buy_and_hold": {"class": "BuyAndHold"},
    "ewma_cross": {"class": "EwmaCross", "fast": 3, "slow": 6},
    "momentum": {"class": "TimeSeriesMomentum", "lookback": 8, "span": 6},
    "breakout": {"class": "ChannelBreakout", "entry": 5, "leave": 3},
    "bollinger": {"class": "BollingerReversion", "length": 5, "entry": 1.0},
    "forecast": {"class": "ForecastVolatility", "model": "log_har", "target": 0.01, "span": 5},
}


def market() -> pd.DataFrame:
    """Ticks of four instruments over 40 days, in time order.

    CARBON trades four times a day, reported by two sources. EURUSD has quotes only, and bars of mid quotes. IRON has
    trades and quotes, and a minute of a trade each second. TIN misses every third day, and its prints are simulated
    from day 20 on.
    """
    random = np.random.default_rng(5)
    rows: list[dict[str, Any]] = []

    def prices(count: int) -> list[float]:
        return [float(price) for price in 100 * np.exp(np.cumsum(random.normal(0, 0.008, count)))]

    def tick(ns: int, name: str, price: float, source: str, *, quote: bool = False, path: bool = False) -> None:
        half = 0.01 * price * random.random()
        rows.append(
            {
                "event_ns": ns,
                "instrument": name,
                "kind": "quote" if quote else "trade",
                "price": None if quote else price,
                "size": None if quote else float(random.integers(1_000, 1_000_000)) / 7,
                "bid": price - half if quote else None,
                "ask": price + half if quote else None,
                "source": source,
                "provenance": "simulated_path" if path else "real",
            }
        )

    times = [START + day * DAY + (14 + 2 * print_) * 3600 * SECOND for day in range(DAYS) for print_ in range(4)]
    for number, (ns, price) in enumerate(zip(times, prices(len(times)), strict=True)):
        tick(ns, "CARBON", price, "north" if number % 3 else "south")
        if number % 3 == 1:  # an equal time from the other source
            tick(ns, "CARBON", price * 1.0001, "south")
    for ns, price in zip(times, prices(len(times)), strict=True):
        tick(ns + 17, "EURUSD", price / 100, "fx", quote=True)
    for ns, price in zip(times, prices(len(times)), strict=True):
        tick(ns - 5, "IRON", price, "north", quote=True)
        tick(ns + 3, "IRON", price, "north")
    for second, price in enumerate(prices(60)):
        tick(START + 10 * DAY + 12 * 3600 * SECOND + second * SECOND + second, "IRON", price, "north")
    for number, (ns, price) in enumerate(zip(times, prices(len(times)), strict=True)):
        if number // 4 % 3:
            tick(ns, "TIN", price, "south", path=number >= 80)
    ticks = pd.DataFrame(rows).sort_values(["event_ns", "source", "instrument"], kind="stable", ignore_index=True)
    ticks["event_time"] = pd.to_datetime(ticks["event_ns"] // 1000, unit="us", utc=True)
    ticks["source_partition"] = "0"
    ticks["source_offset"] = ticks.groupby("source").cumcount()
    return ticks


def settings_for(workdir: Path, **trade_keys: Any) -> Settings:
    """Settings with short strategies, daily decisions, and the defaults of everything else."""
    strategies = workdir / "strategies.yml"
    if not strategies.exists():
        workdir.mkdir(parents=True, exist_ok=True)
        strategies.write_text(yaml.safe_dump({"strategies": STRATEGIES}, sort_keys=False))
    bars = trade_keys.pop("bars", {"intervals": ["1s", "1h", "1d"]})
    ingest = trade_keys.pop("ingest", {})
    return Settings(workdir=workdir, strategies=strategies, bars=bars, ingest=ingest, trade=trade_keys)


def commit(root: Path, ticks: pd.DataFrame) -> None:
    """Appends ticks to the ticks table in one file and commit, in the given order of rows."""
    rows = conform(pa.Table.from_pandas(ticks, preserve_index=False), table("ticks"))
    write_deltalake(root / "ticks", rows, mode="append")


def instruments(root: Path, names: Sequence[str] = NAMES) -> None:
    """The reference rows of the market's instruments."""
    rows = pa.table(
        {
            "instrument": list(names),
            "currency": ["USD"] * len(names),
            "multiplier": [1.0] * len(names),
            "inverse": [False] * len(names),
            "lot_size": [1.0] * len(names),
            "tick_size": [0.0001] * len(names),
            "price_from": ["quote" if name == "EURUSD" else "trade" for name in names],
            "tradable": [True] * len(names),
        }
    )
    Ledger(root).append("instruments", rows)


def control(root: Path, action: str, scope: str = "*", number: int = 0) -> None:
    """A manual override."""
    at = pd.Timestamp(f"2015-01-01T00:00:{number:02d}Z").to_pydatetime()
    row = {"control_id": str(number), "at": at, "action": action, "scope": scope, "reason": "test", "actor": "test"}
    Ledger(root).append("controls", pa.Table.from_pylist([row], schema=table("controls").schema))


def forecasts() -> pa.Table:
    """A variance forecast for every day and instrument."""
    random = np.random.default_rng(6)
    made = [pd.Timestamp(START + (day + 1) * DAY, unit="ns", tz="UTC") for day in range(DAYS)]
    rows = [
        {
            "instrument": name,
            "target": "variance",
            "made_at": at.to_pydatetime(),
            "target_time": (at + pd.Timedelta(days=1)).to_pydatetime(),
            "horizon": 1,
            "model": "log_har",
            "version": "1",
            "mean": float(1e-4 * (0.5 + random.random())),
            "sd": 1e-5,
            **dict.fromkeys(("lower_80", "upper_80", "lower_95", "upper_95"), 0.0),
        }
        for at in made
        for name in NAMES
    ]
    return pa.Table.from_pylist(rows, schema=table("forecasts").schema)


def side_tables(root: Path) -> None:
    """Everything that the decisions read beside the ticks."""
    ledger = Ledger(root)
    instruments(root)
    control(root, "reduce", "TIN", 1)
    ledger.append("forecasts", forecasts())
    times = [pd.Timestamp(START + day * DAY, unit="ns", tz="UTC").to_pydatetime() for day in range(DAYS)]
    values = {"event_time": times, "index_name": ["VIX"] * DAYS, "value": [15.0 + day % 7 for day in range(DAYS)]}
    ledger.append("indices", pa.table(values))


def workplace(workdir: Path, parts: Sequence[pd.DataFrame], **trade_keys: Any) -> Settings:
    """A workdir whose ticks table got one commit per part."""
    settings = settings_for(workdir, **trade_keys)
    side_tables(settings.tables)
    DeltaTable.create(settings.tables / "ticks", schema=table("ticks").schema)
    for part in parts:
        commit(settings.tables, part)
    return settings


def by_time(ticks: pd.DataFrame, parts: int) -> list[pd.DataFrame]:
    """The ticks in time order, cut where days end."""
    day = (ticks["event_ns"] - START) // DAY
    return [ticks[day * parts // DAYS == part] for part in range(parts)]


@contextmanager
def files_per_trigger(count: int) -> Iterator[None]:
    """Streams of Delta tables take at most `count` files a batch."""
    plain = DataStreamReader.format

    def limited(self: DataStreamReader, source: str) -> DataStreamReader:
        reader = plain(self, source)
        return reader.option("maxFilesPerTrigger", count) if source == "delta" else reader

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataStreamReader, "format", limited)
        yield


def run_once(settings: Settings, files: int = 1000) -> dict[str, Any]:
    """Trades on all that the ticks table holds, so many files a batch."""
    with files_per_trigger(files):
        return trade.run(settings, once=True)


def rows_of(ledger: Ledger, name: str) -> pa.Table:
    """A table's rows of done batches without what a replay may change, in the order of its key."""
    declared = table(name)
    columns = [column for column in declared.schema.names if column not in declared.replayed]
    return ledger.read(name, columns=columns).sort_by([(key, "ascending") for key in declared.key])


def contents(settings: Settings) -> dict[str, list[str]]:
    """Every row that trading wrote, as text, so that NaN equals NaN and no bit is lost."""
    ledger = Ledger(settings.tables)
    return {name: [repr(row) for row in rows_of(ledger, name).to_pylist()] for name in WRITTEN}


def assert_same(found: dict[str, list[str]], expected: dict[str, list[str]]) -> None:
    """Table by table, so that a failure names the first row that differs."""
    for name, rows in expected.items():
        for left, right in zip(found[name], rows, strict=False):
            assert left == right, name
        assert len(found[name]) == len(rows), name


def done_batches(settings: Settings) -> int:
    """How many trade batches have ended."""
    return Ledger(settings.tables).done_batches().num_rows


_UNDISTURBED: dict[str, Settings] = {}


def undisturbed(factory: pytest.TempPathFactory) -> Settings:
    """Where the market was traded in one go, in a ticks table of one commit; run once for all modules."""
    if not _UNDISTURBED:
        settings = workplace(factory.mktemp("undisturbed") / "work", [market()])
        run_once(settings)
        _UNDISTURBED["settings"] = settings
    return _UNDISTURBED["settings"]
