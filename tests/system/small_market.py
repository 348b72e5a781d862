"""A small market for whole runs: real daily bars, and a vendor's files with all the faults that files have."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from qts.settings import Settings, load_settings
from qts.store.ledger import Ledger
from qts.store.tables import table

DAYS = pd.bdate_range("2017-01-03", periods=70, tz="UTC")
NAMES = ("COPPER", "NICKEL", "ZINC")
HEADER = ("ts", "symbol", "px", "qty", "id")
STRATEGIES = {
    "flat": {"class": "Flat"},
    "hold": {"class": "BuyAndHold"},
    "cross": {"class": "EwmaCross", "fast": 3, "slow": 8},
    "breakout": {"class": "ChannelBreakout", "entry": 5, "leave": 3},
    "bollinger": {"class": "BollingerReversion", "length": 10, "entry": 1.5},
    "forecast": {"class": "ForecastVolatility", "model": "log_har", "target": 0.01},
}
#: A process that is about to be killed should not spend its time on optimising its code.
SHORT_LIVED = {"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
#: Records that must be refused, as (time, symbol, price, size), every one for another reason.
FAULTS = (
    ("2017-01-05T15:00:01Z", "COPPER", "nan", "1"),
    ("2017-01-05T15:00:02Z", "COPPER", "inf", "1"),
    ("2017-01-05T15:00:03Z", "COPPER", "-4", "1"),
    ("2017-01-05T15:00:04Z", "COPPER", "1e9", "1"),
    ("2017-01-05T15:00:05Z", "COPPER", "100", "0"),
    ("2017-13-45T99:00:00Z", "COPPER", "100", "1"),
    ("2017-01-05T15:00:06Z", "../etc/passwd", "100", "1"),
    ("2017-01-05T15:00:07Z", "x'; DROP TABLE ticks", "100", "1"),
    ("2017-01-05T15:00:08Z", "", "100", "1"),
    ("2017-01-04T15:00:00Z", "COPPER", "100", "1"),
    ("2117-01-05T15:00:00Z", "NICKEL", "100", "1"),
    ("2017-01-05T15:00:09Z", "COPPER", "many", "1"),
)


@dataclass(frozen=True)
class Market:
    """Where the vendor's files are, and how many records each source has.

    Attributes:
        files: the vendor's folder.
        news: headlines, one a line.
        records: by source; None where nobody but the source itself knows.
    """

    files: Path
    news: Path
    records: dict[str, int | None]


def make(folder: Path) -> Market:
    """Writes the vendor's files: four of good prints, one of faults, one that repeats records, one half written."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(11)
    paths = {name: 100 * np.exp(np.cumsum(random.normal(0, 0.01, 2 * len(DAYS)))) for name in NAMES}
    rows: list[tuple[str, ...]] = []
    for number, day in enumerate(DAYS):
        for half, hour in enumerate((15, 20)):
            for name in NAMES:
                price = f"{paths[name][2 * number + half]:.4f}"
                at = (day + pd.Timedelta(hours=hour)).isoformat()
                rows.append((at, name, price, str(1000 + 100 * number), f"{name}-{number}-{half}"))
    quarter = -(-len(rows) // 4)
    parts = {f"prints_{part}.csv": rows[part * quarter : (part + 1) * quarter] for part in range(4)}
    faults = [("2017-01-05T15:00:00Z", "COPPER", rows[12][2], "1", "before-the-jump")]
    parts["faults.csv"] = [*faults, *((*fault, f"bad-{place}") for place, fault in enumerate(FAULTS))]
    # Across files, and of a record of this very file.
    parts["redelivered.csv"] = [*rows[5:60:7], *rows[200:260:9], rows[251], rows[251]]
    for age, (name, part) in enumerate(parts.items()):
        with (folder / name).open("w", newline="") as handle:
            csv.writer(handle).writerows([HEADER, *part])
        os.utime(folder / name, (1_600_000_000 + age, 1_600_000_000 + age))
    (folder / "half.parquet").write_bytes(b"PAR1 and then the disk was full")
    os.utime(folder / "half.parquet", (1_600_000_100, 1_600_000_100))
    news = folder.with_name("news.json")
    news.write_text("\n".join(json.dumps(line) for line in headlines()) + "\nnot json\n")
    records = {"prints": sum(map(len, parts.values())) + 1, "news": len(DAYS) + 1}
    return Market(folder, news, {**records, "sp500_nasdaq": None, "vix": None})


def headlines() -> Iterator[dict[str, str]]:
    """One a day, good and bad in turn."""
    for number, day in enumerate(DAYS):
        text = ("profits rise to a record", "a strike halts production", "the mine reports its output")[number % 3]
        name = NAMES[number % len(NAMES)]
        at = (day + pd.Timedelta(hours=12)).isoformat()
        yield {"at": at, "about": name, "text": f"{name.title()}: {text}"}


def conf(market: Market, folder: Path, workdir: Path | None = None) -> Path:
    """A conf file in a folder, for a run in its subfolder `work` or in another one."""
    folder.mkdir(parents=True, exist_ok=True)
    mapping, news, strategies = folder / "mapping.yml", folder / "news.yml", folder / "strategies.yml"
    columns = {"event_time": "ts", "instrument": "symbol", "price": "px", "size": "qty", "vendor_id": "id"}
    mapping.write_text(yaml.safe_dump({"kind": "trade", "columns": columns}))
    texts = {"event_time": "at", "instrument": "about", "text": "text"}
    news.write_text(yaml.safe_dump({"kind": "headline", "columns": texts}))
    strategies.write_text(yaml.safe_dump({"strategies": STRATEGIES}, sort_keys=False))
    span = {"start": str(DAYS[0].date()), "end": str(DAYS[-1].date())}
    sources = [
        {"name": "prints", "type": "files", "path": str(market.files), "mapping": str(mapping)},
        {"name": "sp500_nasdaq", "type": "replay", "dataset": "sp500_nasdaq", **span},
        {"name": "news", "type": "files", "path": str(market.news), "mapping": str(news), "into": "headlines"},
        {"name": "vix", "type": "replay", "dataset": "vix_wti", "kind": "index", "into": "indices", **span},
    ]
    return write_conf(folder, workdir, sources=sources, strategies=str(strategies))


def write_conf(folder: Path, workdir: Path | None = None, **sections: Any) -> Path:
    """A conf file with small sizes everywhere, and the given sections."""
    data: dict[str, Any] = {
        "workdir": str(workdir or folder / "work"),
        "spark": {"master": "local[2]", "driver_memory": "1g", "shuffle_partitions": 1, "conf": SHORT_LIVED},
        "ingest": {"max_files_per_trigger": 4},
        "bars": {"intervals": ["1h", "1d"]},
        "forecast": {"min_history": 20, "buckets": 2},
        "regime": {"states": 2, "min_history": 60, "train_fraction": 0.9, "starts": 1, "buckets": 2},
        "sentiment": {"buckets": 2},
        "trade": {"buckets": 2},
        **sections,
    }
    file = folder / "conf.yml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


def prepare(market: Market, folder: Path, workdir: Path | None = None) -> Path:
    """A conf file, and a manual override that is there before the run."""
    file = conf(market, folder, workdir)
    add_control(settings_of(file), "reduce", "ZINC")
    return file


def settings_of(file: Path) -> Settings:
    return load_settings(file)


def add_control(settings: Settings, action: str, scope: str) -> None:
    """A manual override at a fixed time."""
    at = pd.Timestamp("2017-01-01T00:00:00Z").to_pydatetime()
    row = {"control_id": f"{action}-{scope}", "at": at, "action": action, "scope": scope, "reason": "r", "actor": "a"}
    Ledger(settings.tables).append("controls", pa.Table.from_pylist([row], schema=table("controls").schema))
