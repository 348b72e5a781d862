"""Planned batches: the plan, the state and the end of every streaming batch. DESIGN.md, section 5.

Before batch b writes anything it appends its plan: what it read from the clock and which version of every side table it
uses. A replay after a crash finds that plan and repeats the same work; tables that already hold the batch skip their
write; a done row ends it. So a batch is a pure function of its rows, the state after b - 1, and its plan.
"""

from __future__ import annotations

import fcntl
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from qts.errors import CheckpointInUse, StoreError
from qts.store.ledger import Ledger

Plan = dict[str, Any]

#: 64 random bits: enough for all checkpoints that will ever share tables, and it stands in every row.
_ID_LENGTH = 16


class NothingNewError(Exception):
    """Nothing that a job reads has come since its last batch, so there is no batch to plan."""


@contextmanager
def lock(checkpoint: Path) -> Iterator[None]:
    """Holds a checkpoint for this process.

    Raises:
        CheckpointInUse: another process holds it.
        StoreError: the folder cannot be written.
    """
    try:
        checkpoint.mkdir(parents=True, exist_ok=True)
        handle = (checkpoint / "qts.lock").open("w")
    except OSError as error:
        raise StoreError(
            f"Checkpoint {checkpoint} cannot be written: {error}. Grant write access or move it."
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointInUse(
                f"Another process runs on checkpoint {checkpoint}. Stop it, or give this job another --workdir."
            ) from None
        yield


def checkpoint_id(checkpoint: Path) -> str:
    """The identity of a checkpoint folder; a folder that was deleted and made anew gets a new one.

    Delta skips a write whose (application, version) it has seen, so a reset checkpoint under its old name would lose
    its first batches in silence.
    """
    file = checkpoint / "qts-id"
    if not file.exists():
        checkpoint.mkdir(parents=True, exist_ok=True)
        draft = checkpoint / f".qts-id.{uuid.uuid4().hex}"
        draft.write_text(uuid.uuid4().hex[:_ID_LENGTH])
        draft.rename(file)
    return file.read_text().strip()


class BatchLog:
    """Plans, states and done rows of one job on one checkpoint.

    Args:
        ledger: where the tables `batches` and `state` are.
        job: name of the job, for readers.
        checkpoint: identity from `checkpoint_id`.
    """

    def __init__(self, ledger: Ledger, job: str, checkpoint: str) -> None:
        self.ledger = ledger
        self.job = job
        self.checkpoint = checkpoint
        self._state: dict[str, bytes] = {}
        self._state_batch: int | None = None
        ledger.create("batches")
        ledger.create("state")

    def plan(self, batch: int, make: Callable[[], Plan]) -> Plan:
        """The plan of a batch: the stored one, or else what `make` returns, stored first.

        `now` (ISO 8601, UTC) is added: the only clock reading that a batch may use.
        """
        if self.last_planned() >= batch:
            return self.stored_plan(batch)
        # Through JSON and back, so that the first run works with exactly what a replay would read.
        plan: Plan = json.loads(json.dumps({"now": datetime.now(UTC).isoformat(), **make()}))
        self._write(batch, "plan", plan)
        return plan

    def amend(self, batch: int, plan: Plan) -> Plan:
        """Replaces the plan of a batch, once: what it relied on is gone for good, or for longer than one can wait.

        Only for a batch that has written nothing (`wrote`): what it did by the old plan would not fit to the new one.
        """
        self._write(batch, "amended", plan)
        return self.stored_plan(batch)

    def wrote(self, batch: int, *tables: str) -> bool:
        """Whether a batch has rows in any of the tables, or its state."""
        marks = [("state", f"{self.checkpoint}/state"), *((name, self.checkpoint) for name in tables)]
        return any(self.ledger.transaction(name, application) >= batch for name, application in marks)

    def is_done(self, batch: int) -> bool:
        return self.last_done() >= batch

    def stored_plan(self, batch: int) -> Plan:
        """The plan of a batch that was planned before, as it was amended last.

        Raises:
            StoreError: there is none.
        """
        mine = (pc.field("batch_id") == batch) & pc.field("phase").isin(["plan", "amended"])
        rows = self._rows(mine).sort_by("phase")  # amended comes before plan
        if not rows.num_rows:
            raise StoreError(f"Batch {batch} of checkpoint {self.checkpoint} has no plan in table 'batches'.")
        return dict(json.loads(rows["payload"][0].as_py()))

    def done(self, batch: int, summary: Mapping[str, Any]) -> None:
        """Ends a batch; from here on readers see its rows."""
        self._write(batch, "done", summary)

    def summaries(self) -> list[Plan]:
        """What `done` was given for every batch of this checkpoint, in order."""
        rows = self._rows(pc.field("phase") == "done").sort_by("batch_id")
        return [json.loads(payload) for payload in rows["payload"].to_pylist()]

    def last_planned(self) -> int:
        """Number of the newest planned batch of this checkpoint, or -1."""
        return self.ledger.transaction("batches", f"{self.checkpoint}/plan")

    def last_done(self) -> int:
        """Number of the newest done batch of this checkpoint, or -1."""
        return self.ledger.transaction("batches", f"{self.checkpoint}/done")

    def save_state(self, batch: int, parts: Mapping[str, bytes]) -> None:
        """Keeps the whole state after a batch, in named parts."""
        rows = pa.table(
            {
                "job": [self.job] * len(parts),
                "checkpoint_id": [self.checkpoint] * len(parts),
                "batch_id": pa.array([batch] * len(parts), pa.int64()),
                "part": list(parts),
                "blob": pa.array(list(parts.values()), pa.binary()),
            }
        )
        self.ledger.append("state", rows, transaction=(f"{self.checkpoint}/state", batch))
        self._state, self._state_batch = dict(parts), batch

    def load_state(self, batch: int) -> dict[str, bytes]:
        """The state after a batch, part by part; empty for batch -1 or when nothing was ever saved."""
        if self._state_batch != batch:
            mine = (pc.field("checkpoint_id") == self.checkpoint) & (pc.field("batch_id") == batch)
            rows = self.ledger.read("state", columns=("part", "blob"), where=mine, done_only=False)
            self._state = dict(zip(rows["part"].to_pylist(), rows["blob"].to_pylist(), strict=True))
            self._state_batch = batch
        return dict(self._state)

    def append(self, name: str, batch: int, rows: pa.Table) -> bool:
        """Appends a batch's rows to a ledger table, stamped with this checkpoint and batch, once."""
        count = rows.num_rows
        stamped = rows.append_column("checkpoint_id", pa.array([self.checkpoint] * count, pa.string()))
        stamped = stamped.append_column("batch_id", pa.array([batch] * count, pa.int64()))
        return self.ledger.append(name, stamped, transaction=(self.checkpoint, batch))

    def _rows(self, where: pc.Expression) -> pa.Table:
        mine = (pc.field("checkpoint_id") == self.checkpoint) & where
        return self.ledger.read("batches", columns=("batch_id", "phase", "payload"), where=mine)

    def _write(self, batch: int, phase: str, payload: Mapping[str, Any]) -> None:
        rows = pa.table(
            {
                "job": [self.job],
                "checkpoint_id": [self.checkpoint],
                "batch_id": pa.array([batch], pa.int64()),
                "phase": [phase],
                "at": pa.array([datetime.now(UTC)], pa.timestamp("us", tz="UTC")),
                "payload": [json.dumps(payload)],
            }
        )
        self.ledger.append("batches", rows, transaction=(f"{self.checkpoint}/{phase}", batch))
