"""One pass over a batch's judged rows: what came, in which order, and the good rows written as files to be committed.

Each task reads its rows once, as Arrow batches, and keeps three things: figures of every group of rows (`pieces`), how
far rows fall back in time (`qts.market.sequence`), and, where the batch is written as it is read, staged files of the
sound rows. A batch that fits into this process is looked at by the same function.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Row

from qts.market.bar import IntArray
from qts.market.sequence import stretches
from qts.store.columns import table_bytes, table_of
from qts.store.staging import Staged, StagedFile, Staging

#: Rows that are looked at, and written as a row group, together.
_CHUNK = 1 << 17

#: Partial figures that a task holds before it puts those of the same group together.
_PIECES = 200_000

#: Groups that could be, beyond which those that are get numbers of their own.
_MANY = 1 << 31

_PACKED = "pieces binary, stretches binary, files string"

#: What tells groups of rows apart, and the figures of each.
KEYS = ("domain", "arrived", "partition", "instrument", "kind")
_FIGURES = pa.schema(
    {
        "domain": pa.string(),
        "arrived": pa.timestamp("us", tz="UTC"),
        "partition": pa.string(),
        "instrument": pa.string(),
        "kind": pa.string(),
        **dict.fromkeys(("rows", "sound", "identified", "first", "last", "oldest", "newest"), pa.int64()),
        **dict.fromkeys(("low", "high"), pa.float64()),
        "good": pa.int64(),
        "price": pa.float64(),
        "time": pa.int64(),
    }
)
_STRETCHES = pa.schema(
    {"partition": pa.string()} | dict.fromkeys(("arrived", "first", "last", "oldest", "newest", "lag"), pa.int64())
)

_MERGE = {
    **dict.fromkeys(("rows", "sound", "identified"), "sum"),
    **dict.fromkeys(("first", "oldest", "low"), "min"),
    **dict.fromkeys(("last", "newest", "high"), "max"),
    **dict.fromkeys(("good", "price", "time"), "last"),
}

#: Nanoseconds do not fit into the floats that pandas makes of integers with nulls.
INTEGERS = {pa.int64(): pd.Int64Dtype()}


@dataclass(frozen=True)
class Found:
    """What a look found.

    Attributes:
        pieces: a row per domain, arrival, partition, instrument and kind, the last two null for rows without usable
            time or instrument: how many rows came, were sound and had a vendor's id; first and last place; oldest and
            newest time; lowest and highest price of sound rows; the last sound row's place (`good`), price and time.
        stretches: see `qts.market.sequence`, with the partition's name.
        files: the sound rows, where they were staged.
    """

    pieces: pd.DataFrame
    stretches: pd.DataFrame
    files: tuple[Staged, ...] = ()


@dataclass(frozen=True)
class Look:
    """The look as a function for `mapInArrow`.

    Attributes:
        roles: which column of the rows is what: timed, sound, identified, price, partition, place, instrument, kind,
            time, and, unless partitions are domains of their own, domain and arrived.
        columns: those that are staged.
        staging: where to; None to write nothing.
    """

    roles: Mapping[str, str]
    columns: tuple[str, ...]
    staging: Staging | None = None

    def spread(self, rows: DataFrame) -> Found:
        """Looks at all rows where they are, in one job."""
        packed = rows.mapInArrow(self, _PACKED).collect()
        pieces = pa.concat_tables([table_of(row["pieces"]) for row in packed] or [_FIGURES.empty_table()])
        seen = pa.concat_tables([table_of(row["stretches"]) for row in packed] or [_STRETCHES.empty_table()])
        return Found(merged(pieces), seen.to_pandas(), _all_of(packed))

    def here(self, rows: pa.Table) -> Found:
        """Looks at rows in this process."""
        pieces, seen, files = self._over(rows.to_batches())
        return Found(merged(pieces), seen.to_pandas(), tuple(files))

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """A task's findings, packed."""
        pieces, seen, files = self._over(batches)
        row = {
            "pieces": table_bytes(pieces),
            "stretches": table_bytes(seen),
            "files": _as_text(files),
        }
        yield pa.RecordBatch.from_pylist([row])

    def _over(self, batches: Iterable[pa.RecordBatch]) -> tuple[pa.Table, pa.Table, list[Staged]]:
        pieces, numbers = list[pa.Table](), dict[str, int]()

        def read(file: StagedFile | None) -> Iterator[tuple[IntArray, IntArray, IntArray, IntArray]]:
            for rows in _chunks(batches):
                view = _View(rows, self.roles)
                pieces.append(view.pieces())
                if sum(part.num_rows for part in pieces) > _PIECES:
                    pieces[:] = [pa.Table.from_pandas(merged(pa.concat_tables(pieces)), _FIGURES, preserve_index=False)]
                if file is not None:
                    file.write((rows if view.sound.all() else rows.filter(pa.array(view.sound))).select(self.columns))
                yield view.order(numbers)

        with ExitStack() as held:
            file = held.enter_context(self.staging.open()) if self.staging is not None else None
            seen = list(stretches(read(file)))
        names = list(numbers)
        order = [(names[each.key], *each[1:]) for each in seen]
        return (
            pa.concat_tables(pieces or [_FIGURES.empty_table()]),
            pa.Table.from_pylist([dict(zip(_STRETCHES.names, row, strict=True)) for row in order], _STRETCHES),
            [] if file is None else file.staged,
        )


@dataclass(frozen=True)
class _Write:
    """Writes a task's rows as one file."""

    staging: Staging

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with self.staging.open() as file:
            for rows in _chunks(batches):
                file.write(rows)
        yield pa.RecordBatch.from_pylist([{"files": _as_text(file.staged)}])


def written(rows: DataFrame, staging: Staging) -> tuple[Staged, ...]:
    """The files of rows that were judged before, written where the rows are."""
    packed = rows.mapInArrow(_Write(staging), "files string").collect()
    return _all_of(packed)


def _as_text(files: Iterable[Staged]) -> str:
    return json.dumps([asdict(file) for file in files])


def _all_of(rows: Iterable[Row]) -> tuple[Staged, ...]:
    """The files that tasks tell of in their column `files`."""
    return tuple(Staged(**given) for row in rows for given in json.loads(row["files"]))


class _View:
    """Some rows as arrays."""

    def __init__(self, rows: pa.Table, roles: Mapping[str, str]) -> None:
        self._column = {role: rows[name].combine_chunks() for role, name in roles.items()}
        self.timed = self._flags("timed")
        self.sound = self._flags("sound")
        self._place = self._numbers("place")
        self._time = self._numbers("time")
        self._keys = {role: self._encoded(role) for role in KEYS if role in self._column}

    def order(self, numbers: dict[str, int]) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        """Partition (numbered as they come), arrival, place and time of the timed rows."""
        codes, names = self._keys["partition"]
        known = np.array([numbers.setdefault(name, len(numbers)) for name in names.to_pylist()], dtype=np.int64)
        arrived = self._numbers("arrived") if "arrived" in self._column else np.zeros(len(codes), dtype=np.int64)
        rows = slice(None) if self.timed.all() else self.timed
        return known[codes][rows], arrived[rows], self._place[rows], self._time[rows]

    def pieces(self) -> pa.Table:
        """Figures of each group of rows."""
        group = self._groups()
        order, starts = _sorted(group, self._place)
        ends = np.r_[starts[1:], len(group)] - 1
        place, time, sound = self._place[order], self._time[order], self.sound[order]
        price = pc.fill_null(self._column["price"], np.nan).to_numpy(zero_copy_only=False)[order]
        sound_price = np.where(sound, price, np.nan)
        good = np.maximum.reduceat(np.where(sound, np.arange(len(sound)), -1), starts)
        untimed, none_good = ~self.timed[order][starts], good < 0
        figures: dict[str, Any] = {
            **{role: names.take(pa.array(codes[order][starts])) for role, (codes, names) in self._keys.items()},
            "rows": ends - starts + 1,
            "sound": np.add.reduceat(sound.astype(np.int64), starts),
            "identified": np.add.reduceat((self._flags("identified")[order] & sound).astype(np.int64), starts),
            "first": place[starts],
            "last": place[ends],
            "oldest": pa.array(np.minimum.reduceat(time, starts), mask=untimed),
            "newest": pa.array(np.maximum.reduceat(time, starts), mask=untimed),
            "low": pa.array(np.fmin.reduceat(sound_price, starts), mask=none_good),
            "high": pa.array(np.fmax.reduceat(sound_price, starts), mask=none_good),
            "good": pa.array(place[good], mask=none_good),
            "price": pa.array(price[good], mask=none_good),
            "time": pa.array(time[good], mask=none_good),
        }
        lacking = {field.name: pa.nulls(len(starts), field.type) for field in _FIGURES if field.name not in figures}
        return pa.table({**figures, **lacking}).select(_FIGURES.names).cast(_FIGURES)

    def _groups(self) -> IntArray:
        """The number of each row's group."""
        group: IntArray = np.zeros(len(self.timed), dtype=np.int64)
        size = 1
        for codes, names in self._keys.values():
            group, size = group * len(names) + codes, size * len(names)
            if size > _MANY:
                used, group = np.unique(group, return_inverse=True)
                size = len(used)
        return group

    def _encoded(self, role: str) -> tuple[IntArray, pa.Array]:
        """A key's values as numbers, and what these stand for; an instrument is null where a row is not timed."""
        found = pc.dictionary_encode(self._column[role], null_encoding="encode")
        codes, names = found.indices.to_numpy(zero_copy_only=False).astype(np.int64), found.dictionary
        if role == "kind":
            names = names.fill_null("unknown")
        if role in ("instrument", "kind") and not self.timed.all():
            codes = np.where(self.timed, codes, len(names))
            names = pa.concat_arrays([names, pa.nulls(1, names.type)])
        return codes, names

    def _flags(self, role: str) -> npt.NDArray[np.bool_]:
        flags: npt.NDArray[np.bool_] = self._column[role].to_numpy(zero_copy_only=False)
        return flags

    def _numbers(self, role: str) -> IntArray:
        numbers: IntArray = pc.fill_null(self._column[role].cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        return numbers


def _sorted(group: IntArray, place: IntArray) -> tuple[IntArray | slice, IntArray]:
    """What puts rows in the order of groups and places, and where each group starts."""
    low, high = int(group.min()), int(group.max())
    order: IntArray | slice = slice(None)
    if low < high:
        # Numbers of 16 bits are sorted without comparing them.
        order = np.argsort(group.astype(np.uint16) if high < 1 << 16 else group, kind="stable")
    ordered, places = group[order], place[order]
    same = ordered[1:] == ordered[:-1]
    if (same & (places[1:] < places[:-1])).any():
        order = np.lexsort((place, group))
    return order, np.flatnonzero(np.r_[True, ~same])


def merged(pieces: pa.Table) -> pd.DataFrame:
    """Pieces with those of the same group put together."""
    rows = pieces.to_pandas(types_mapper=INTEGERS.get)
    if not rows.duplicated(list(KEYS)).any():
        return rows
    # The last good row is the one of the highest place.
    rows = rows.sort_values("good", na_position="first")
    figures = rows.groupby(list(KEYS), dropna=False, as_index=False, sort=False).agg(_MERGE)
    return figures[_FIGURES.names]


def _chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    held, count = list[pa.RecordBatch](), 0
    for batch in batches:
        if batch.num_rows:
            held.append(batch)
            count += batch.num_rows
        if count >= _CHUNK:
            yield pa.Table.from_batches(held)
            held, count = [], 0
    if held:
        yield pa.Table.from_batches(held)
