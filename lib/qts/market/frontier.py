"""When is bar time T complete? The frontier of event time over all (source, instrument) pairs.

Spark's one global watermark lets the quickest instrument close the others' bars; here every pair has a frontier of its
own, as Flink has one per partition, and a silent pair is passed over after an idle timeout of the clock.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

#: The frontier once all input has ended: everything closes.
END = int(np.iinfo(np.int64).max)

PAIR = ["source", "instrument"]


def no_pairs() -> pd.DataFrame:
    """No (source, instrument) pair seen yet.

    Columns: source, instrument, rows (consumed so far), newest_ns (newest event time), seen_ns (clock reading of the
    batch that last brought a row).
    """
    kinds = {"source": "object", "instrument": "object", "rows": "int64", "newest_ns": "int64", "seen_ns": "int64"}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})


def advance(pairs: pd.DataFrame, arrived: pd.DataFrame, now_ns: int) -> pd.DataFrame:
    """The pairs after a batch.

    Args:
        pairs: as `no_pairs`.
        arrived: source, instrument, rows, newest_ns of the batch; any number of rows for a pair.
        now_ns: the batch's planned clock reading.
    """
    if arrived.empty:
        return pairs
    both = pd.concat([pairs, arrived[[*PAIR, "rows", "newest_ns"]].assign(seen_ns=now_ns)], ignore_index=True)
    aggregates = {"rows": "sum", "newest_ns": "max", "seen_ns": "max"}
    return both.groupby(PAIR, sort=True, as_index=False).agg(aggregates)


def live_frontier(pairs: pd.DataFrame, now_ns: int, allowance: int, idle_timeout: int) -> int:
    """Event time that every active pair has passed, nanoseconds; 0 before the first tick.

    A pair is active until `idle_timeout` after its last row. Silent ones follow the market's clock: the wall clock, set
    back by how far the freshest pair's event time lay behind it, and by the timeout.

    Args:
        pairs: from `advance`.
        now_ns: the batch's planned clock reading.
        allowance: how late an accepted tick may be.
        idle_timeout: see above; both in nanoseconds.
    """
    if pairs.empty:
        return 0
    newest = pairs["newest_ns"].to_numpy("int64")
    seen = pairs["seen_ns"].to_numpy("int64")
    market_now = now_ns + int((newest - seen).max())
    idle = now_ns - seen > idle_timeout
    reached = np.where(idle, np.maximum(newest - allowance, market_now - idle_timeout - allowance), newest - allowance)
    return max(int(reached.min()), 0)


def replay_frontier(pairs: pd.DataFrame, totals: pd.DataFrame, allowance: int) -> int:
    """Event time that every pair with rows still to come has passed; `END` when there is none.

    Args:
        pairs: from `advance`.
        totals: source, instrument, rows: all that there is to consume. No clock is needed: the input is finite.
        allowance: how late an accepted tick may be, nanoseconds.
    """
    both = totals[[*PAIR, "rows"]].merge(pairs, on=PAIR, how="left", suffixes=("_total", ""))
    to_come = both["rows"].fillna(0) < both["rows_total"]
    if not to_come.any():
        return END
    newest = both.loc[to_come, "newest_ns"]
    return 0 if newest.isna().any() else max(int(newest.astype("int64").min()) - allowance, 0)
