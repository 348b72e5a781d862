"""Small tables through delta-rs: idempotent appends of about 10 ms, and reads of done batches only.

An append carries an application transaction (checkpoint id, batch id), so a batch that is replayed after a crash finds
its rows already there and skips the write. Spark honours the same transactions, so both kinds of writer agree.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction
from pyarrow.dataset import Dataset
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from qts.errors import StoreError
from qts.store.staging import Staged
from qts.store.tables import Table, table

#: Log clean-up belongs to the maintenance job; the log checkpoints every hundredth commit, or opening would grow slow.
_HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)

#: Appends never contradict each other, so one that finds its version taken tries the next. With delta-rs's 15 times a
#: fifth of the commits of 16 busy sources was refused. A lost turn is another writer's commit, so this has an end.
_TURNS = 10_000


class Ledger:
    """The plain Delta tables under one root folder, one folder a table.

    Args:
        root: a local folder; object stores and Unity Catalog are written by Spark instead.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._handles: dict[str, DeltaTable] = {}

    def path(self, name: str) -> Path:
        """Folder of a declared table."""
        return self.root / table(name).name

    def exists(self, name: str) -> bool:
        return DeltaTable.is_deltatable(str(self.path(name)))

    def create(self, name: str) -> None:
        """Makes an empty table where there is none.

        Raises:
            StoreError: the folder cannot be written.
        """
        declared = table(name)
        if self.exists(name):
            return
        try:
            DeltaTable.create(str(self.path(name)), schema=declared.schema, mode="ignore")
        except (OSError, DeltaError) as error:
            raise StoreError(
                f"Table {name!r} cannot be made in {self.root}: {_one_line(error)}. "
                "Name a folder you can write in (--workdir)."
            ) from error

    def open(self, name: str, version: int | None = None) -> DeltaTable:
        """The table at a version, by default the newest.

        Raises:
            StoreError: the table does not exist, or not at that version.
        """
        try:
            return DeltaTable(str(self.path(name)), version=version)
        except TableNotFoundError as error:
            raise StoreError(
                f"Table {name!r} is not in {self.root}. Run `qts ingest` or `qts demo` first, or name its --workdir."
            ) from error
        except DeltaError as error:
            at = "" if version is None else f" at version {version}"
            raise StoreError(
                f"Table {name!r} in {self.root} cannot be read{at}: {error}. Maintenance deletes old versions; a "
                "longer retention keeps them."
            ) from error

    def version(self, name: str) -> int:
        """The newest version, or -1 where the table does not exist."""
        handle = self._newest(name)
        return -1 if handle is None else handle.version()

    def transaction(self, name: str, application: str) -> int:
        """The newest version of an application that the table holds, or -1."""
        handle = self._newest(name)
        held = None if handle is None else handle.transaction_version(application)
        return -1 if held is None else held

    def _newest(self, name: str) -> DeltaTable | None:
        """The table as it is now; a handle is kept, for reading on from a known version is quicker than from none."""
        handle = self._handles.get(name)
        if handle is None:
            if not self.exists(name):
                return None
            handle = self._handles[name] = self.open(name)
        else:
            handle.update_incremental()
        return handle

    def _at(self, name: str, version: int) -> DeltaTable:
        """The table at a version; a live batch plans the newest ones, which are open already."""
        handle = self._handles.get(name)
        return handle if handle is not None and handle.version() == version else self.open(name, version)

    def append(self, name: str, rows: pa.Table, *, transaction: tuple[str, int] | None = None) -> bool:
        """Appends rows, once.

        Args:
            transaction: (application id, version), usually (checkpoint id, batch id). A table that already holds
                this version, or a later one, is left as it is.

        Returns:
            Whether rows were written.

        Raises:
            StoreError: the rows do not fit the declared schema, or the disk refuses them.
        """
        declared = table(name)
        _refuse_checked(declared)
        if rows.num_rows == 0:
            return False
        if self._newest(name) is None:
            self.create(name)
        if transaction is not None and self.transaction(name, transaction[0]) >= transaction[1]:
            return False
        try:
            write_deltalake(
                self._handles.get(name) or self.path(name),
                conform(rows, declared),
                mode="append",
                commit_properties=_properties(transaction),
                post_commithook_properties=_HOOKS,
            )
        except (OSError, DeltaError) as error:
            raise StoreError(
                f"Table {name!r} in {self.root} refused {rows.num_rows} rows: {_one_line(error)}. "
                "Free disk space or grant write access, then start the job again; the batch will be replayed."
            ) from error
        return True

    def commit(self, name: str, files: Sequence[Staged], *, transaction: tuple[str, int]) -> bool:
        """Shows staged files, all at once, and once.

        Args:
            transaction: as of `append`.

        Returns:
            Whether they were committed; if not, they are nobody's and may be deleted.

        Raises:
            StoreError: the table does not exist, or its log cannot be written.
        """
        if not files or self.transaction(name, transaction[0]) >= transaction[1]:
            return False
        handle = self._newest(name) or self.open(name)
        now = int(time.time() * 1000)
        added: list[AddAction | RemoveAction] = [
            AddAction(file.path, file.size, {}, now, True, file.stats) for file in files
        ]
        try:
            handle.create_write_transaction(
                added,
                "append",
                handle.schema(),
                commit_properties=_properties(transaction),
                post_commithook_properties=_HOOKS,
            )
        except (OSError, DeltaError) as error:
            raise StoreError(
                f"Table {name!r} in {self.root} refused a commit of {len(files)} files: {_one_line(error)}. "
                "Free disk space or grant write access, then start the job again; the batch will be replayed."
            ) from error
        return True

    def read(
        self,
        name: str,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        done_only: bool = True,
        done_at: int | None = None,
    ) -> pa.Table:
        """Rows of a table as Arrow, by default those of done batches only; no rows where the table does not exist.

        Args:
            done_at: version of the table `batches` that says which are done, by default the newest. A plan that pins a
                version of a batched table pins this one, too: a batch may end after its rows are there.

        Raises:
            StoreError: the table never had that version, or its files were vacuumed since.
        """
        declared = table(name)
        names = list(columns) if columns is not None else declared.schema.names
        handle = self._newest(name) if version is None else self._at(name, version)
        if handle is None:
            return declared.schema.empty_table().select(names)
        hidden = done_only and declared.batched
        wanted = names + [c for c in ("checkpoint_id", "batch_id") if hidden and c not in names]
        with self._files_of(name, handle):
            rows = _scan(_dataset(handle, self.path(name)), wanted, where)
        if hidden:
            rows = only_done(rows, self.done_batches(done_at))
        return rows.select(names)

    def added(
        self, name: str, before: int, now: int, columns: Sequence[str], where: pc.Expression, most: int
    ) -> pa.Table | None:
        """Rows of the files that a version has and an earlier one had not; the earlier one's own, too, if rewritten.

        Args:
            before: -1 for no version: all files count.
            most: rows that are read.

        Returns:
            The rows, in no order; None where these files hold more rows.

        Raises:
            StoreError: a version is gone, or its files were vacuumed since.
        """
        if now < 0 or now == before:
            return table(name).schema.empty_table().select(list(columns))
        handle = self._at(name, now)
        root, dataset = str(self.path(name)), _dataset(handle, self.path(name))
        old = [] if before < 0 else self.open(name, before).file_uris()
        known = {uri.removeprefix(root).lstrip("/") for uri in old}
        fragments = [part for part in dataset.get_fragments() if part.path.lstrip("/") not in known]
        with self._files_of(name, handle):
            if sum(part.count_rows() for part in fragments) > most:
                return None
            parts = pads.FileSystemDataset(fragments, dataset.schema, dataset.format, dataset.filesystem)
            return _scan(parts, list(columns), where)

    @contextmanager
    def _files_of(self, name: str, handle: DeltaTable) -> Iterator[None]:
        """Says that a version's files are gone, where they are."""
        try:
            yield
        except FileNotFoundError as error:
            raise StoreError(
                f"Version {handle.version()} of table {name!r} in {self.root} lacks files: {error}. Maintenance has "
                "deleted them; a longer retention keeps old versions."
            ) from error

    def done_batches(self, version: int | None = None) -> pa.Table:
        """(checkpoint_id, batch_id) of every batch that has ended, or had at a version of `batches`; none at -1."""
        names = ("checkpoint_id", "batch_id")
        if version == -1:
            return table("batches").schema.empty_table().select(names)
        rows = self.read("batches", version=version, columns=names, where=pc.field("phase") == "done")
        return rows.group_by(["checkpoint_id", "batch_id"]).aggregate([])


def _properties(transaction: tuple[str, int] | None) -> CommitProperties:
    transactions = None if transaction is None else [Transaction(*transaction)]
    return CommitProperties(max_commit_retries=_TURNS, app_transactions=transactions)


def _dataset(handle: DeltaTable, folder: Path) -> Dataset:
    """A table's files for Arrow, opened by Arrow itself.

    delta-rs would have Arrow's threads open them through Python. One that still closes a file when the program ends
    asks a dead interpreter for its lock, and the process aborts (SIGABRT) after all its work: of 80 processes that read
    a table of 12 files and end, 6 did.
    """
    return handle.to_pyarrow_dataset(filesystem=SubTreeFileSystem(str(folder.absolute()), LocalFileSystem()))


def _scan(dataset: Dataset, columns: list[str], where: pc.Expression | None) -> pa.Table:
    try:
        return dataset.to_table(columns=columns, filter=where)
    except pa.ArrowNotImplementedError:
        # A file that delta-rs has deleted rows from holds string views, which Arrow cannot compare while it scans.
        return dataset.to_table().filter(where).select(columns)


def only_done(rows: pa.Table, done: pa.Table) -> pa.Table:
    """The rows whose batch is done, or that belong to no batch, in their given order."""
    kinds = {name: done.schema.field(name).type for name in ("checkpoint_id", "batch_id")}
    numbered = rows.append_column("_row", pa.array(range(rows.num_rows), pa.int64()))
    keys = pa.table({name: numbered[name].cast(kind) for name, kind in kinds.items()} | {"_row": numbered["_row"]})
    held = keys.join(done, keys=["checkpoint_id", "batch_id"], join_type="left semi")["_row"]
    loose = keys.filter(pc.is_null(keys["batch_id"]))["_row"]
    chosen = pa.chunked_array([*held.chunks, *loose.chunks], pa.int64())
    return rows.take(pc.sort_indices(chosen) if not len(chosen) else chosen.take(pc.sort_indices(chosen)))


def conform(rows: pa.Table, declared: Table) -> pa.Table:
    """The rows in the declared columns' order and types; missing nullable columns become null.

    Raises:
        StoreError: a required column is missing or has nulls, an unknown one is there, or a value cannot be cast.
    """
    unknown = set(rows.schema.names) - set(declared.schema.names)
    missing = [f.name for f in declared.schema if not f.nullable and f.name not in rows.schema.names]
    if unknown or missing:
        raise StoreError(
            f"Rows for table {declared.name!r} have unknown columns {sorted(unknown)} and lack {missing}; "
            f"declared are {declared.schema.names}."
        )
    if empty := [f.name for f in declared.schema if not f.nullable and rows[f.name].null_count]:
        raise StoreError(f"Rows for table {declared.name!r} have nulls in {empty}, where a value is required.")
    try:
        columns = [
            rows[f.name].cast(f.type) if f.name in rows.schema.names else pa.nulls(rows.num_rows, f.type)
            for f in declared.schema
        ]
        return pa.Table.from_arrays(columns, schema=declared.schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise StoreError(f"Rows for table {declared.name!r} do not fit its schema: {error}.") from error


def _refuse_checked(declared: Table) -> None:
    """delta-rs would have to understand the checks, which are in Spark's SQL."""
    if declared.checks:
        raise StoreError(f"Table {declared.name!r} has checks: only its own job writes it, by staged files.")


def _one_line(error: Exception) -> str:
    """All of an error's lines as one: delta-rs puts the cause, such as a full disk, below the rest."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
