"""Exactly once: a live query that is killed at every step of a batch, while the tables beside it change."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import write_deltalake
from trade_help import (
    WRITTEN,
    assert_same,
    by_time,
    contents,
    control,
    done_batches,
    files_per_trigger,
    market,
    run_once,
    undisturbed,
    workplace,
)

from qts.pipeline import trade
from qts.pipeline.batches import BatchLog
from qts.pipeline.trade import TradeBatches
from qts.settings import Settings
from qts.store.ledger import Ledger
from qts.store.tables import table

pytestmark = pytest.mark.usefixtures("spark")

SIDE = ("forecasts", "controls", "instruments")


class Killed(RuntimeError):
    """Stands for the end of the process."""


#: Where a batch is killed: a method that is given the batch's number, and whether before or after it has done its work.
STEPS: dict[str, tuple[Any, str, bool]] = {
    "before the plan": (BatchLog, "plan", False),
    "after the plan": (BatchLog, "plan", True),
    "before the first table": (TradeBatches, "_write", False),
    "between tables": (BatchLog, "append", False),
    "before the state": (BatchLog, "save_state", False),
    "before the done row": (BatchLog, "done", False),
    "before Spark notes the end": (BatchLog, "done", True),
}
#: Tables that are written before the killing; four threads write side by side.
TABLES_BEFORE = 4


@contextmanager
def kill_at(step: str, batch: int) -> Iterator[None]:
    """The batch function raises at a step of one batch."""
    owner, name, after = STEPS[step]
    plain = getattr(owner, name)
    lock, tables = threading.Lock(), iter(range(100))

    def dying(self: Any, *args: Any) -> Any:
        mine = batch in args[:2]
        if mine and name == "append":
            with lock:
                mine = next(tables) >= TABLES_BEFORE
        if mine and not after:
            raise Killed
        result = plain(self, *args)
        if mine:
            raise Killed
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, dying)
        yield


def overwrite(settings: Settings, name: str, rows: pa.Table) -> None:
    write_deltalake(settings.tables / name, rows.cast(table(name).schema), mode="overwrite")


def poison(settings: Settings) -> None:
    """What must not reach a batch that was planned before."""
    ledger = Ledger(settings.tables)
    forecasts = ledger.read("forecasts")
    place = forecasts.schema.get_field_index("mean")
    overwrite(settings, "forecasts", forecasts.set_column(place, "mean", pc.multiply(forecasts["mean"], 50.0)))
    control(settings.tables, "halt", "*", 9)
    known = ledger.read("instruments")
    place = known.schema.get_field_index("lot_size")
    overwrite(settings, "instruments", known.set_column(place, "lot_size", pc.multiply(known["lot_size"], 500.0)))


def test_a_batch_killed_at_any_step_ends_as_if_nothing_had_happened(tmp_path, tmp_path_factory, monkeypatch):
    expected = contents(undisturbed(tmp_path_factory))
    settings = workplace(tmp_path / "work", by_time(market(), len(STEPS) + 2))
    ledger = Ledger(settings.tables)
    clean = {name: ledger.read(name) for name in SIDE}
    poisoned: list[bool] = []
    plain = TradeBatches._plan

    def plan(self: TradeBatches, *args: Any) -> dict[str, Any]:
        # Only a batch that is new comes here: the one that was killed has its plan.
        if poisoned:
            for name, rows in clean.items():
                overwrite(settings, name, rows)
            poisoned.clear()
        return plain(self, *args)

    monkeypatch.setattr(TradeBatches, "_plan", plan)
    for batch, step in enumerate(STEPS, start=1):
        with kill_at(step, batch), files_per_trigger(1), pytest.raises(Killed):
            trade.run(settings, once=True)
        assert done_batches(settings) == batch + (step == "before Spark notes the end"), step
        poison(settings)
        poisoned.append(True)
    assert run_once(settings, 1)["batches"] == len(STEPS) + 2
    assert_same(contents(settings), expected)
    # Not even a reader that does not ask which batches are done sees a row twice.
    for name in WRITTEN:
        assert ledger.read(name, done_only=False).num_rows == len(expected[name]), name


def test_a_replay_keeps_the_configuration_of_its_plan(tmp_path, tmp_path_factory):
    expected = contents(undisturbed(tmp_path_factory))
    settings = workplace(tmp_path / "work", [market()])
    with kill_at("before the done row", 0), pytest.raises(Killed):
        run_once(settings)
    assert all(not rows for rows in contents(settings).values())
    other = settings.model_copy(update={"trade": settings.trade.model_copy(update={"seed": 99, "cash": 5.0})})
    run_once(other)
    assert_same(contents(settings), expected)


def test_a_done_batch_is_skipped(spark, tmp_path_factory, monkeypatch):
    settings = undisturbed(tmp_path_factory)
    ledger = Ledger(settings.tables)
    before = {name: ledger.version(name) for name in (*WRITTEN, "batches", "state")}
    checkpoint = ledger.read("batches", columns=("checkpoint_id",))["checkpoint_id"][0].as_py()
    monkeypatch.setattr(trade, "slot_partials", None)
    work = TradeBatches(spark, ledger, BatchLog(ledger, "trade", checkpoint), {}, once=True)
    work(spark.range(1), 0)
    assert {name: ledger.version(name) for name in before} == before
