"""When is bar time T complete? The frontier of event time, live and over a finite input.

Spark's one global watermark lets the quickest instrument close the others' bars. Live, every (source, instrument) pair
has a frontier of its own here, as Flink has one per partition, and a silent pair is passed over after an idle timeout
of the clock. A finite input needs no guess: its rows are counted by stretches of time, and the frontier stands where
the first of them is incomplete.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

#: The frontier once all input has ended: everything closes.
END = int(np.iinfo(np.int64).max)

SECOND = 1_000_000_000
#: Finite inputs are counted by minutes: few enough to hold for decades, and short enough to keep few slots waiting.
STRETCH = 60 * SECOND

PAIR = ["source", "instrument"]


def no_pairs() -> pd.DataFrame:
    """No (source, instrument) pair seen yet.

    Columns: source, instrument, newest_ns (newest event time), seen_ns (clock reading of the batch that last brought a
    row).
    """
    kinds = {"source": "object", "instrument": "object", "newest_ns": "int64", "seen_ns": "int64"}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})


def advance(pairs: pd.DataFrame, arrived: pd.DataFrame, now_ns: int, idle_timeout: int) -> pd.DataFrame:
    """The pairs after a batch.

    When rows come after all pairs had been idle, every pair's timeout begins anew: such a silence was an outage or a
    closed market, and the first instrument that is back must not make the others late.

    Args:
        pairs: as `no_pairs`.
        arrived: source, instrument, newest_ns of the batch; any number of rows for a pair.
        now_ns: the batch's planned clock reading.
        idle_timeout: nanoseconds.
    """
    if arrived.empty:
        return pairs
    if silent(pairs, now_ns, idle_timeout):
        pairs = pairs.assign(seen_ns=now_ns)
    both = pd.concat([pairs, arrived[[*PAIR, "newest_ns"]].assign(seen_ns=now_ns)], ignore_index=True)
    return both.groupby(PAIR, sort=True, as_index=False)[["newest_ns", "seen_ns"]].max()


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


def silent(pairs: pd.DataFrame, now_ns: int, idle_timeout: int) -> bool:
    """Whether every pair is idle, so that the clock alone moves the frontier; false before the first tick.

    Args:
        pairs: from `advance`.
        now_ns: the batch's planned clock reading.
        idle_timeout: nanoseconds.
    """
    return bool(len(pairs)) and bool((now_ns - pairs["seen_ns"].to_numpy("int64") > idle_timeout).all())


def replay_frontier(come: pd.DataFrame, totals: pd.DataFrame) -> int:
    """Start of the first stretch of time that rows are still to come of; `END` when all have come.

    Rows are counted, not compared with the newest time seen: however files, partitions and batches cut or shuffle a
    finite input, no row of it is ever late. Both counts leave out what was folded before.

    Args:
        come: slot (seconds since the epoch), rows: what has come, any number of rows for a slot.
        totals: stretch (number of `STRETCH` since the epoch), rows: all that there is, one row a stretch.
    """
    here = totals.set_index("stretch")["rows"].sort_index()
    arrived = come["rows"].groupby(come["slot"].to_numpy("int64") * SECOND // STRETCH).sum()
    missing = here.index[here.to_numpy("int64") > arrived.reindex(here.index, fill_value=0).to_numpy("int64")]
    return int(missing[0]) * STRETCH if len(missing) else END
