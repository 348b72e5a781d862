"""propose() as a UDF: one row of a small DataFrame is one bucket of instruments, packed as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

from qts.market.bar import BarPanel, State
from qts.store.columns import arrays_bytes, arrays_of
from qts.trading.decide import Result, Runner, Work, in_process
from qts.trading.propose import Desk, Proposals, propose

#: Instruments times bar times times strategies that are decided on in this process: each takes about 2 us, so more of
#: them take longer than a Spark job does to start.
SMALL = 100_000


def spark_runner(spark: SparkSession) -> Runner:
    """Runs buckets as Spark tasks, small work here; the desk travels with the function, state and bars in the rows."""

    def run(desk: Desk, work: Sequence[Work]) -> Sequence[Result]:
        cells = sum(len(panel.instruments) * len(panel.times) for _, panel in work)
        if cells * len(desk.strategies) <= SMALL:
            return in_process(desk, work)
        rows = pd.DataFrame({"bucket": range(len(work)), "work": [_pack_work(*item) for item in work]})
        tasks = spark.createDataFrame(rows, "bucket int, work binary")
        done = tasks.mapInPandas(_proposing(desk), "bucket int, result binary").collect()
        return [_unpack_result(bytes(row["result"])) for row in sorted(done, key=lambda row: int(row["bucket"]))]

    return run


def _proposing(desk: Desk) -> Callable[[Iterator[pd.DataFrame]], Iterator[pd.DataFrame]]:
    def buckets(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            results = [_pack_result(*propose(desk, *_unpack_work(data))) for data in batch["work"]]
            yield pd.DataFrame({"bucket": batch["bucket"], "result": results})

    return buckets


def _pack_work(state: State, panel: BarPanel) -> bytes:
    arrays = {f"state/{key}": value for key, value in state.items()}
    arrays |= {f"value/{key}": value for key, value in panel.values.items()}
    arrays |= {f"extra/{key}": value for key, value in panel.extra.items()}
    arrays |= {"names": np.array(panel.instruments, dtype=str), "times": panel.times}
    return arrays_bytes(arrays)


def _unpack_work(data: bytes) -> Work:
    arrays = arrays_of(data)

    def part(prefix: str) -> State:
        return {key[len(prefix) :]: value for key, value in arrays.items() if key.startswith(prefix)}

    panel = BarPanel(tuple(arrays["names"].tolist()), arrays["times"], part("value/"), part("extra/"))
    return part("state/"), panel


def _pack_result(state: State, proposals: Proposals) -> bytes:
    arrays = {f"state/{key}": value for key, value in state.items()}
    arrays |= {field.name: getattr(proposals, field.name) for field in fields(Proposals)}
    return arrays_bytes(arrays)


def _unpack_result(data: bytes) -> Result:
    arrays = arrays_of(data)
    state = {key.removeprefix("state/"): value for key, value in arrays.items() if key.startswith("state/")}
    return state, Proposals(*(arrays[field.name] for field in fields(Proposals)))
