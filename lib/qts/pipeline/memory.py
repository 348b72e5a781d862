"""What ingest remembers of a source between batches: clocks, last good prices, how far each partition was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa

from qts.market.quality import NEVER
from qts.store.columns import frame_of, table_bytes

_ORDER = pa.schema(
    {
        "domain": pa.string(),
        "instrument": pa.string(),
        "kind": pa.string(),
        "clock": pa.int64(),
        "price": pa.float64(),
        "time": pa.int64(),
        "seen": pa.int64(),
    }
)
_POSITIONS = pa.schema({"partition": pa.string(), "place": pa.int64()})

#: Rows that are kept. A file is a domain of its own, so a folder of a million files would otherwise grow the state for
#: ever; a file that is through needs no clock any more, and the domains that were silent longest go first.
KEPT = 200_000


@dataclass(frozen=True)
class Memory:
    """The state after a batch.

    Attributes:
        order: a row per lateness domain, instrument and kind: the newest event time of the domain and instrument
            (`clock`), the last good price and its event time (NaN, `NEVER` where there is none), and the batch that
            last saw it.
        positions: the highest place that was read of every source partition.
    """

    order: pd.DataFrame = field(default_factory=lambda: _ORDER.empty_table().to_pandas())
    positions: pd.DataFrame = field(default_factory=lambda: _POSITIONS.empty_table().to_pandas())

    @classmethod
    def load(cls, parts: Mapping[str, bytes]) -> Memory:
        """From `BatchLog.load_state`; empty where nothing was saved."""
        if not parts:
            return cls()
        return cls(_read(parts["order"]), _read(parts["positions"]))

    def parts(self) -> dict[str, bytes]:
        """For `BatchLog.save_state`."""
        return {"order": _write(self.order, _ORDER), "positions": _write(self.positions, _POSITIONS)}

    def after(self, batch: int, order: pd.DataFrame, positions: pd.DataFrame) -> Memory:
        """With what a batch saw: rows of the same key are replaced, clocks and places only move forward."""
        key = ["domain", "instrument", "kind"]
        seen = order.assign(seen=batch)
        both = pd.concat([self.order, seen], ignore_index=True) if len(self.order) else seen
        both = both.drop_duplicates(key, keep="last")
        both["clock"] = both.groupby(["domain", "instrument"])["clock"].transform("max")
        read = pd.concat([self.positions, positions], ignore_index=True) if len(self.positions) else positions
        return Memory(
            _newest(both.sort_values(key, ignore_index=True)),
            read.groupby("partition", as_index=False)["place"].max(),
        )

    def repeated(self, positions: pd.DataFrame) -> dict[str, int]:
        """The partitions of which a batch brings places again, with the highest place read before.

        Args:
            positions: partition and the lowest place that came.
        """
        both = positions.merge(self.positions, on="partition", suffixes=("", "_read"))
        again = both[both["place"] <= both["place_read"]]
        return dict(zip(again["partition"], again["place_read"].astype(int).tolist(), strict=True))


def _newest(order: pd.DataFrame) -> pd.DataFrame:
    if len(order) <= KEPT:
        return order
    domains = order.groupby("domain").agg(seen=("seen", "max"), rows=("seen", "size")).reset_index()
    domains = domains.sort_values(["seen", "domain"], ascending=False)
    kept = domains.loc[(domains["rows"].cumsum() <= KEPT) | (domains["seen"] == domains["seen"].max()), "domain"]
    return order[order["domain"].isin(kept)].reset_index(drop=True)


def _write(rows: pd.DataFrame, schema: pa.Schema) -> bytes:
    return table_bytes(pa.Table.from_pandas(rows, schema=schema, preserve_index=False), "zstd")


def _read(blob: bytes) -> pd.DataFrame:
    rows = frame_of(blob)
    return rows.fillna({"time": NEVER}) if "time" in rows else rows
