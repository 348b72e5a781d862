"""The live query without `--once`: the frontier, silent instruments, controls in a quiet market, and a clean stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
import yaml
from deltalake import DeltaTable
from pyspark.sql.streaming import StreamingQuery
from trade_help import SECOND, START, commit, control, instruments, settings_for

from qts.pipeline import trade
from qts.pipeline.streams import Guarded, await_query
from qts.settings import Settings
from qts.store.ledger import Ledger
from qts.store.tables import table

NAMES = ("X", "Y", "Z")
#: Far beyond what anything here takes; only a hang gets there.
PATIENCE = 900.0


def ticks(seconds: range, names: tuple[str, ...], offset: int) -> pd.DataFrame:
    """A trade of every instrument in the middle of each second."""
    random = np.random.default_rng(offset)
    rows = [
        {
            "event_ns": START + second * SECOND + SECOND // 2,
            "instrument": name,
            "kind": "trade",
            "price": float(100 + random.normal()),
            "size": 1e6,
            "source": "s",
            "source_partition": "0",
            "source_offset": offset + number,
            "provenance": "real",
        }
        for number, (second, name) in enumerate((second, name) for second in seconds for name in names)
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(event_time=pd.to_datetime(frame["event_ns"] // 1000, unit="us", utc=True))


def live(workdir: Path) -> Settings:
    """Decisions each second by strategies that change their minds, and nothing that is late."""
    workdir.mkdir(parents=True)
    spec = {f"dice_{seed}": {"class": "Random", "seed": seed, "hold": 1} for seed in range(2)}
    (workdir / "strategies.yml").write_text(yaml.safe_dump({"strategies": spec}))
    settings = settings_for(
        workdir,
        bars={"intervals": ["1s"], "decision": "1s"},
        ingest={"allowance": "0s"},
        idle_timeout="2s",
        trigger="300ms",
    )
    DeltaTable.create(settings.tables / "ticks", schema=table("ticks").schema)
    instruments(settings.tables, NAMES)
    Ledger(settings.tables).create("controls")
    return settings


class Watch:
    """Reads the ledger while the query writes it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def last_bar(self, name: str = "X") -> int:
        """End of an instrument's newest bar, seconds after the start; 0 when there is none."""
        rows = Ledger(self.settings.tables).read("bars", columns=("bar_time",), where=pc.field("instrument") == name)
        newest = pc.max(rows["bar_time"]).as_py() if rows.num_rows else None
        return 0 if newest is None else int(newest.timestamp()) - START // SECOND

    def events(self, event: str) -> list[dict[str, Any]]:
        rows = Ledger(self.settings.tables).read("order_events", where=pc.field("event") == event).to_pylist()
        return sorted(rows, key=lambda row: row["bar_time"])

    def batches(self) -> int:
        return int(Ledger(self.settings.tables).done_batches().num_rows)


#: Waits for what is named until it holds.
Wait = Callable[[str, Callable[[], bool]], None]


@contextmanager
def beside(script: Callable[[Wait], None]) -> Iterator[None]:
    """Runs a script in another thread while the query runs in this one, and stops the query when it ends."""
    failures: list[BaseException] = []
    # Of the job itself: after other tests its session may be another one than this thread's, which lists no such query.
    running: list[StreamingQuery] = []
    ended = threading.Event()

    def wait_for(what: str, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not holds():
            assert not ended.wait(0.2), f"the query ended before there was {what}"
            assert time.monotonic() < until, f"waited in vain for {what}"

    def play() -> None:
        try:
            script(wait_for)
        except BaseException as error:
            failures.append(error)
        while not ended.wait(0.2):  # again, should the query not have begun
            for query in running:
                query.stop()

    def awaited(query: StreamingQuery, work: Guarded) -> None:
        running.append(query)
        await_query(query, work)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trade, "await_query", awaited)
            yield
    finally:
        ended.set()
        thread.join()
    if failures:
        raise failures[0]


def test_a_live_market(tmp_path):
    settings = live(tmp_path / "work")
    root = settings.tables
    watch = Watch(settings)

    def day(wait_for: Wait) -> None:
        wait_for("a batch in an empty market", lambda: watch.batches() > 0)
        assert watch.last_bar() == 0
        # All instruments reach second 9, so the frontier stands in it, and the bars up to its begin close.
        commit(root, ticks(range(10), NAMES, 0))
        wait_for("bars that the frontier closes", lambda: watch.last_bar() >= 9)
        # Z is silent: its bars end, and after the timeout the others' bars close without it.
        commit(root, ticks(range(10, 14), ("X", "Y"), 100))
        wait_for("bars that a silent instrument does not hold up", lambda: watch.last_bar() >= 13)
        assert watch.last_bar("Z") == 10
        wait_for("the last bar, which no tick closes", lambda: watch.last_bar() >= 14)
        # No tick from here on.
        assert not any("halted" in row["detail"] for row in watch.events("cancelled"))
        control(root, "halt", "*", 1)
        wait_for("orders that a halt cancels", lambda: any("halted" in r["detail"] for r in watch.events("cancelled")))
        seen = watch.batches()
        wait_for("the clock's batches", lambda: watch.batches() > seen)

    with beside(day):
        figures = trade.run(settings, once=False)
    assert figures["ticks"] == 38
    assert figures["late_for_bars"] == 0
    assert figures["bars"] == 38
    assert figures["orders"] > 0
    assert figures["fills"] > 0
    ledger = Ledger(root)
    cancelled = [row for row in watch.events("cancelled") if "halted" in row["detail"]]
    # Right after the last bar, with no bar of its own.
    last = ledger.read("bars", columns=("bar_time",)).to_pandas()["bar_time"].max()
    assert {pd.Timestamp(row["bar_time"]) - last for row in cancelled} == {pd.Timedelta(microseconds=1)}
    assert ledger.read("portfolio").sort_by("bar_time")["trading_state"][-1].as_py() == "halted"
    times = ledger.read("portfolio").sort_by("bar_time")["bar_time"].to_pylist()
    assert len(set(times)) == len(times)

    # It goes on from where it was stopped, halted as it is. All was silent meanwhile, so what comes is not late, an
    # instrument a file though it may be.
    for number, name in enumerate(NAMES):
        commit(root, ticks(range(14, 18), (name,), 200 + 10 * number))
    with beside(lambda wait_for: wait_for("bars after the restart", lambda: watch.last_bar("Z") >= 17)):
        again = trade.run(settings, once=False)
    assert again["ticks"] == 50
    assert again["late_for_bars"] == 0
    health = ledger.read("pipeline_health").to_pylist()
    assert {row["job"] for row in health} == {"trade"}
    assert sum(row["rows_in"] for row in health) == 50
    rows = ledger.read("orders", where=pc.field("bar_time") > last.to_pydatetime()).to_pylist()
    assert {row["verdict"] for row in rows} <= {"deny"}
