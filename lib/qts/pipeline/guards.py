"""A checkpoint and the tables beside it belong together; a job whose one half was lost refuses to start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc

from qts.errors import StoreError
from qts.pipeline.batches import BatchLog


def refuse_lost_progress(log: BatchLog, progress: Path) -> None:
    """Sees that Spark knows every batch that was planned: else it would count from 0, and all would seem done.

    Args:
        log: of the job.
        progress: Spark's part of the checkpoint.

    Raises:
        StoreError: it does not.
    """
    offsets = progress / "offsets"
    known = [int(file.name) for file in offsets.iterdir() if file.name.isdigit()] if offsets.is_dir() else []
    planned, newest = log.last_planned(), max(known, default=-1)
    if planned > newest:
        raise StoreError(
            f"Spark's progress in {progress} {f'ends at batch {newest}' if known else 'is gone'}, but table 'batches' "
            f"in {log.ledger.root} has its batch {planned}. Bring the folder back as it was, or start in a new "
            "workdir (--workdir)."
        )


def refuse_repetition(log: BatchLog, checkpoint: Path, names: Sequence[str]) -> None:
    """Sees that a new checkpoint finds none of its job's work done: it would do it all again, under the same keys.

    Args:
        log: of the job.
        checkpoint: its folder.
        names: the tables that the job writes.

    Raises:
        StoreError: a table holds rows that the job wrote from another checkpoint.
    """
    if log.last_planned() >= 0:
        return
    for name in names:
        foreign = log.ledger.read(name, columns=("checkpoint_id",), where=pc.field("checkpoint_id") != log.checkpoint)
        if foreign.num_rows:
            raise StoreError(
                f"Checkpoint {checkpoint} is new, but table {name!r} in {log.ledger.root} has {foreign.num_rows} rows "
                f"from the checkpoint that was there before ({foreign['checkpoint_id'][0].as_py()}): the job would do "
                "it all again and write the same rows twice. Bring the folder back to go on, or take a new workdir "
                f"(--workdir); to begin anew here, delete the tables {', '.join(names)} first."
            )
