"""What a declaration of a table says, and the types and columns that many share.

Times are UTC timestamps in microseconds, which is what Delta keeps; `*_ns` columns carry the full nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Layer = Literal["reference", "bronze", "silver", "gold", "control"]

TIME = pa.timestamp("us", tz="UTC")
STR, F64, I64, BOOL = pa.string(), pa.float64(), pa.int64(), pa.bool_()
#: The largest finite double. Delta works its checks out row by row: a literal costs nothing, a cast of 'infinity' does.
LARGEST = "1.7976931348623157E308D"

BATCH = {"checkpoint_id": STR, "batch_id": I64}
POSITION = {"source": STR, "source_partition": STR, "source_offset": I64}


@dataclass(frozen=True)
class Table:
    """One Delta table.

    Attributes:
        key: columns that identify a row among the rows of done batches.
        writer: the one job that writes it.
        clustered_by: columns by which the maintenance job places rows together (Z-order); empty for ledgers.
        checks: Delta CHECK constraints in Spark's SQL, by name. Spark holds every writer to them; the job that writes
            the table by staged files (`qts.store.staging`) lets no such row through to begin with.
        varying: columns that a replay may fill differently beside those of `BATCH`, such as clock times and run ids.
        batched: whether rows carry checkpoint_id and batch_id, so that readers can see done batches only.
    """

    name: str
    layer: Layer
    schema: pa.Schema
    key: tuple[str, ...]
    writer: str
    clustered_by: tuple[str, ...] = ()
    checks: tuple[tuple[str, str], ...] = ()
    varying: tuple[str, ...] = ()
    batched: bool = True

    @property
    def replayed(self) -> tuple[str, ...]:
        """Columns that a replay may fill differently; all others must be equal."""
        return (*self.varying, *(name for name in BATCH if name in self.schema.names))


def schema(required: dict[str, pa.DataType], optional: dict[str, pa.DataType] | None = None) -> pa.Schema:
    """Columns that are never null, then those that may be."""
    return pa.schema(
        [pa.field(name, kind, nullable=False) for name, kind in required.items()]
        + [pa.field(name, kind) for name, kind in (optional or {}).items()]
    )
