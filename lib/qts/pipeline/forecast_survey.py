"""What the bars hold, instrument by instrument: counted once by Spark, then kept up to date bar by bar."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from qts.errors import StoreError
from qts.forecast.history import FURTHER
from qts.pipeline.history import done_between
from qts.store.ledger import Ledger

#: Bars that are taken up one by one in this process; after a longer pause Spark reads the whole history again.
MOST_NEW = 200_000

_COLUMNS = ("instrument", "bar_time", "close", "realised_variance", *FURTHER, "provenance")


@dataclass(frozen=True)
class Survey:
    """What the bars hold, instrument by instrument; only bars with a positive close count.

    Attributes:
        bars: how many there are.
        last: time of the last one, microseconds since 1970-01-01 UTC.
        close: of the last one.
        first: time of the first bar of all, as `last`.
        provenance: labels that the bars carry, such as `real` and `simulated_path`.
    """

    bars: Mapping[str, int]
    last: Mapping[str, int]
    close: Mapping[str, float]
    first: int
    provenance: tuple[str, ...]

    @classmethod
    def of(cls, bars: DataFrame) -> Survey:
        """Of all bars."""
        at = F.unix_micros("bar_time")
        figures = (
            F.count("*").alias("bars"),
            F.min(at).alias("first"),
            F.max(at).alias("last"),
            # Of a bar that is there twice the lower close counts, as in `History.pack`.
            F.max_by("close", F.struct(F.col("bar_time"), -F.col("close"))).alias("close"),
            F.collect_set("provenance").alias("labels"),
        )
        usable = bars.where((F.col("close") > 0) & (F.col("close") < float("inf")))
        rows = usable.groupBy("instrument").agg(*figures).toArrow().sort_by("instrument").to_pylist()
        return cls(
            {row["instrument"]: row["bars"] for row in rows},
            {row["instrument"]: row["last"] for row in rows},
            {row["instrument"]: row["close"] for row in rows},
            min((row["first"] for row in rows), default=0),
            tuple(sorted({label for row in rows for label in row["labels"]})),
        )

    def after(self, new: pa.Table) -> Survey:
        """With the bars of `new_bars`."""
        bars, last, close = dict(self.bars), dict(self.last), dict(self.close)
        for name, at, price in zip(*(new[key].to_pylist() for key in ("instrument", "at", "close")), strict=True):
            bars[name] = bars.get(name, 0) + 1
            last[name], close[name] = at, price  # rows are in the order of time
        labels = {label for label in new["provenance"].unique().to_pylist() if label is not None}
        first = min(self.first, pc.min(new["at"]).as_py()) if new.num_rows else self.first
        return Survey(bars, last, close, first, tuple(sorted({*self.provenance, *labels})))

    def to_json(self) -> bytes:
        return json.dumps(vars(self), sort_keys=True, default=dict).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Survey:
        found = json.loads(text)
        return cls(**{**found, "provenance": tuple(found["provenance"])})


def new_bars(
    ledger: Ledger, before: Mapping[str, int], now: Mapping[str, int], interval: str, survey: Survey
) -> pa.Table | None:
    """The usable bars that a plan sees and the plan before it did not, in the order of instrument and time.

    Only what was added is read: the rows of the streamed batches that were done meanwhile, and the files that came to
    the history. A bar that is no newer than its instrument's last one is left out: the forecasts behind it are made.
    Where a bar was streamed and is in the history, too, the streamed one counts, as in `bars_of`.

    Args:
        before, now: versions of tables, by the two plans.
        survey: as of the plan before.

    Returns:
        Columns instrument, at (microseconds), close, realised_variance, FURTHER and provenance; None where there are
        more than `MOST_NEW`, or where nobody knows any more what the plan before saw.
    """
    try:
        return _new_bars(ledger, before, now, interval, survey)
    except StoreError:  # a version is gone, with the logs that maintenance cleans up
        return None


def _new_bars(
    ledger: Ledger, before: Mapping[str, int], now: Mapping[str, int], interval: str, survey: Survey
) -> pa.Table | None:
    mine = pc.field("interval") == interval
    parts = []
    past = before["bars_history"], now["bars_history"]
    for from_history, rows in enumerate(
        (
            done_between(ledger, "bars", before, now, _COLUMNS, mine, MOST_NEW),
            ledger.added("bars_history", *past, _COLUMNS, mine, MOST_NEW),
        )
    ):
        if rows is None:
            return None
        parts.append(rows.append_column("history", pa.array(np.full(rows.num_rows, from_history))))
    rows = pa.concat_tables(parts)
    rows = rows.append_column("at", rows["bar_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
    rows = rows.filter((pc.field("close") > 0) & (pc.field("close") < float("inf")))
    rows = rows.sort_by([(key, "ascending") for key in ("instrument", "at", "history", "close")])
    names, at = np.array(rows["instrument"].to_pylist(), dtype=object), rows["at"].to_numpy()
    repeated = np.zeros(len(at), np.bool_)
    repeated[1:] = (names[1:] == names[:-1]) & (at[1:] == at[:-1])
    known = np.array([survey.last.get(name, np.iinfo(np.int64).min) for name in names], np.int64)
    kept = rows.filter(pa.array(~repeated & (at > known)))
    return kept.select(["instrument", "at", "close", "realised_variance", *FURTHER, "provenance"]).combine_chunks()
