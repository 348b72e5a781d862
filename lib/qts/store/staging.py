"""Data files that are written before they are committed: nobody sees one until a commit of the table's log names it.

A task writes the rows that it has at hand, wherever it runs, and hands back what Delta has to know of the file. One
commit (`Ledger.commit`) then shows all files of a batch at once, or none. Files that no commit ever names are what a
crash leaves; `qts maintain` deletes them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qts.errors import StoreError
from qts.store.tables import table

#: Columns whose lowest and highest value stand in the log, so that readers skip whole files by them.
_SEARCHED = ("event_time", "instrument")

#: A dictionary pays where values come often; in other columns it would only be built to be given up.
_LABELS = ("instrument", "kind", "side", "venue", "provenance", "source", "source_partition", "index_name")
_STAMPS = ("ingest_time", "checkpoint_id", "batch_id")


@dataclass(frozen=True)
class Staged:
    """A file that is written and not yet committed.

    Attributes:
        path: its name in the table's folder.
        size: bytes.
        rows: how many it holds.
        stats: Delta's statistics of it, JSON.
    """

    path: str
    size: int
    rows: int
    stats: str


@dataclass(frozen=True)
class Staging:
    """Where and how the files of one batch are written; small enough to be sent to every task.

    Attributes:
        folder: the table's folder, reachable from every task under this path.
        name: the declared table.
        stamps: values that are the same in every row of the batch, by column.
    """

    folder: str
    name: str
    stamps: Mapping[str, Any]

    def open(self) -> StagedFile:
        return StagedFile(self)

    def write(self, rows: pa.Table) -> list[Staged]:
        """One file of some rows; none where there are none."""
        with self.open() as file:
            file.write(rows)
        return file.staged

    def discard(self, files: Iterable[Staged]) -> None:
        """Deletes files that will not be committed."""
        for file in files:
            (Path(self.folder) / file.path).unlink(missing_ok=True)


class StagedFile:
    """A file under way: made with its first rows, gone if its writer fails."""

    def __init__(self, staging: Staging) -> None:
        self.staged: list[Staged] = []
        self._staging = staging
        self._declared = table(staging.name)
        self._path = Path(staging.folder) / f"part-{uuid.uuid4()}.snappy.parquet"
        self._writer: pq.ParquetWriter | None = None
        self._rows = 0
        self._ends: dict[str, tuple[Any, Any]] = {}
        self._nulls: dict[str, int] = {}

    def __enter__(self) -> StagedFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
                if error is None:
                    self.staged = [Staged(self._path.name, self._path.stat().st_size, self._rows, self._stats())]
        except OSError as failed:
            raise self._refused(failed) from failed
        finally:
            if not self.staged:
                self._path.unlink(missing_ok=True)

    def write(self, rows: pa.Table) -> None:
        """Adds rows as a row group of their own; a declared column that they lack is null throughout.

        Raises:
            StoreError: a value is missing where the table requires one, or the disk refuses the file.
        """
        if not rows.num_rows:
            return
        stamped = self._stamped(rows)
        try:
            if self._writer is None:
                labels = [name for name in (*_LABELS, *_STAMPS) if name in stamped.schema.names]
                self._writer = pq.ParquetWriter(
                    self._path, stamped.schema, compression="snappy", use_dictionary=labels, store_schema=False
                )
            self._writer.write_table(stamped, row_group_size=stamped.num_rows)
        except OSError as error:
            raise self._refused(error) from error
        self._rows += stamped.num_rows
        for name in _SEARCHED:
            if name in stamped.schema.names:
                self._nulls[name] = self._nulls.get(name, 0) + stamped[name].null_count
                ends = pc.min_max(stamped[name])
                self._widen(name, ends["min"].as_py(), ends["max"].as_py())

    def _stamped(self, rows: pa.Table) -> pa.Table:
        fields, columns = [], []
        for field in self._declared.schema:
            if field.name in self._staging.stamps:
                value = pa.scalar(self._staging.stamps[field.name], field.type)
                columns.append(pa.repeat(value, rows.num_rows))
            elif field.name in rows.schema.names:
                columns.append(rows[field.name].cast(field.type))
            elif field.nullable:
                continue
            else:
                raise StoreError(f"Rows for table {self._declared.name!r} lack {field.name!r}, which it requires.")
            fields.append(field)
        empty = [f.name for f, column in zip(fields, columns, strict=True) if not f.nullable and column.null_count]
        if empty:
            raise StoreError(
                f"Rows for table {self._declared.name!r} have nulls in {empty}, where a value is required."
            )
        return pa.Table.from_arrays(columns, schema=pa.schema(fields))

    def _widen(self, name: str, low: Any, high: Any) -> None:
        if low is not None:
            before = self._ends.get(name, (low, high))
            self._ends[name] = min(before[0], low), max(before[1], high)

    def _stats(self) -> str:
        low, high = ({name: _text(ends[which]) for name, ends in self._ends.items()} for which in (0, 1))
        return json.dumps({"numRecords": self._rows, "minValues": low, "maxValues": high, "nullCount": self._nulls})

    def _refused(self, error: OSError) -> StoreError:
        reason = str(error).splitlines()[0].rstrip(".")
        return StoreError(
            f"Table {self._declared.name!r} in {Path(self._staging.folder).parent} cannot be written: {reason}. Free "
            "disk space or grant write access, then start the job again; the batch will be replayed."
        )


def _text(value: Any) -> str:
    """As Delta's statistics have it; times with all microseconds, for readers trust these ends."""
    return value if isinstance(value, str) else f"{value:%Y-%m-%dT%H:%M:%S.%f}Z"
