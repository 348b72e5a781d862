"""Which candidates of a batch are accepted: the row rules natively, and exact folds for the few that need them.

Ticks cross neither a window nor into Python: one aggregate (`survey`) clears almost every instrument of late rows and
jumps, and only the rows of the others are folded. Duplicates of a vendor's ids are looked for by hash first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from qts.market.quality import LastGood, Limits, jumps, late
from qts.pipeline.memory import Memory
from qts.pipeline.rules import Landing, RowRule, with_reasons
from qts.pipeline.survey import Survey, source_order

_FOLDED = "code string, partition string, place long, sound boolean, group long, kind string, price double, time long"
_POSITION = ["partition", "place"]

#: Looks up accepted rows of earlier batches in a span of event time (nanoseconds, both ends included), or none.
Held = Callable[[int, int], DataFrame | None]


@dataclass(frozen=True)
class Verdict:
    """A judged batch.

    Attributes:
        survey: its aggregates.
        accepted: the good rows; None where there are none.
        refused: all others with their `reasons`; None where there are none.
        rows, good: how many came and how many are accepted.
        memory: the state after the batch.
    """

    survey: Survey
    accepted: DataFrame | None
    refused: DataFrame | None
    rows: int
    good: int
    memory: Memory
    _cached: tuple[DataFrame, ...] = ()

    def release(self) -> None:
        """Frees what was kept for the writes."""
        for frame in self._cached:
            frame.unpersist()


def validate(
    candidates: DataFrame, landing: Landing, limits: Limits, memory: Memory, batch: int, held: Held
) -> Verdict:
    """Judges the candidates of a batch.

    A record that was delivered before is a `duplicate` and nothing else is said of its order: by its place, when its
    partition was read further before; by its vendor's id, when a row of the same identity (instrument, venue, kind, id
    and event time, for many venues count from one each day) came earlier and was accepted.
    """
    survey = Survey.of(candidates, landing, limits, memory)
    if not survey.rows:
        return Verdict(survey, None, None, 0, 0, memory)
    again = memory.repeated(survey.places("first"))
    if again:
        landing = landing.with_rule(RowRule("duplicate", _read_before(again), untimed=True))
        survey = Survey.of(candidates, landing, limits, memory)
    cached: list[DataFrame] = []
    marks, marked, folded = None, 0, survey.last_good().head(0)
    suspects = survey.suspects()
    if len(suspects):
        verdicts = _fold(candidates, landing, survey, suspects).persist()
        cached.append(verdicts)
        folded = verdicts.where("code is null").select("group", "kind", "price", "time").toArrow().to_pandas()
        marks = verdicts.where("code is not null").select("code", *_POSITION, "sound")
    if survey.identified:
        repeated = _repeated(candidates, landing, survey, marks, held)
        if repeated is not None:
            cached.append(repeated)
            marks = repeated if marks is None else marks.join(repeated, _POSITION, "left_anti").unionByName(repeated)
    if marks is not None:
        marked = marks.where("sound").count()
    good = survey.sound - marked
    return Verdict(
        survey,
        _accepted(candidates, landing, survey, marks if marked else None) if good else None,
        _refused(candidates, landing, marks) if good < survey.rows else None,
        survey.rows,
        good,
        survey.remember(batch, folded),
        tuple(cached),
    )


def _accepted(candidates: DataFrame, landing: Landing, survey: Survey, marks: DataFrame | None) -> DataFrame:
    rows = candidates if survey.sound == survey.rows else candidates.where(landing.sound)
    return rows if marks is None else _at_position(rows, marks, "left_anti")


def _refused(candidates: DataFrame, landing: Landing, marks: DataFrame | None) -> DataFrame:
    if marks is None:
        return with_reasons(candidates.where(~landing.sound), landing.rules)
    rows = _at_position(candidates, marks.select("code", *_POSITION), "left")
    return with_reasons(rows.where(~landing.sound | F.col("code").isNotNull()), landing.rules, F.col("code"))


def _at_position(rows: DataFrame, marks: DataFrame, how: str) -> DataFrame:
    named = marks.withColumnsRenamed({"partition": "mark_partition", "place": "mark_place"})
    on = (rows["source_partition"] == named["mark_partition"]) & (rows["source_offset"] == named["mark_place"])
    return rows.join(named, on, how)


def _read_before(again: Mapping[str, int]) -> Column:
    highest = F.create_map(*[F.lit(item) for pair in again.items() for item in pair])
    return F.coalesce(F.col("source_offset") <= highest[F.col("source_partition")], F.lit(False))


def _fold(candidates: DataFrame, landing: Landing, survey: Survey, suspects: pd.DataFrame) -> DataFrame:
    """Verdicts on the suspects' rows, and their last good prices (rows without a code)."""
    order = source_order()
    wanted = candidates.sparkSession.createDataFrame(suspects[["domain", "instrument", "group"]])
    rows = candidates.where(landing.timed).select(
        F.col("lateness_domain").alias("domain"),
        landing.instrument.alias("instrument"),
        *[column.alias(name) for name, column in order.items()],
        landing.kind.alias("kind"),
        F.col("event_ns").alias("time"),
        landing.sound.alias("sound"),
        F.coalesce(landing.price, F.lit(float("nan"))).alias("price"),
    )
    sorted_rows = (
        rows.join(F.broadcast(wanted), ["domain", "instrument"])
        .repartition("group")
        .sortWithinPartitions("group", *order)
        .select("group", "kind", "time", "sound", "price", *_POSITION)
    )
    clocks = dict(zip(suspects["group"].tolist(), suspects["clock"].tolist(), strict=True))
    known = survey.last_good()
    last = {
        (group, kind): LastGood(price, time)
        for group, kind, price, time in zip(*(known[name].tolist() for name in known.columns), strict=True)
        if group in clocks
    }
    return sorted_rows.mapInArrow(_Fold(survey.limits, clocks, last), _FOLDED)


@dataclass(frozen=True)
class _Fold:
    """Folds one task's groups, each of which is there as a whole and in source order."""

    limits: Limits
    clocks: Mapping[int, int]
    last: Mapping[tuple[int, str], LastGood]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # Arrow cuts a task into batches wherever it likes, so the groups are put together again first.
        pieces = list(batches)
        if not pieces:
            return
        rows = pa.Table.from_batches(pieces)
        group = rows["group"].to_numpy()
        kind = rows["kind"].combine_chunks().dictionary_encode()
        names, kinds = kind.dictionary.to_pylist(), kind.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        time, price = rows["time"].to_numpy(), rows["price"].to_numpy()
        sound = rows["sound"].to_numpy()
        codes = np.full(len(group), None, dtype=object)
        ends: list[tuple[int, str, LastGood]] = []
        edges = np.flatnonzero(np.r_[True, group[1:] != group[:-1], True])
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            number = int(group[start])
            is_late, _ = late(time[start:end], self.clocks[number], self.limits.allowance)
            codes[start:end][is_late] = "late"
            for code, name in enumerate(names):
                at = start + np.flatnonzero(sound[start:end] & ~is_late & (kinds[start:end] == code))
                if len(at):
                    before = self.last.get((number, name), LastGood())
                    jumped, last = jumps(time[at], price[at], before, self.limits)
                    codes[at[jumped]] = "price_jump"
                    ends.append((number, name, last))
                elif (number, name) in self.last:
                    ends.append((number, name, self.last[number, name]))
        broken = np.flatnonzero(codes != None)  # noqa: E711
        found = rows.take(broken)
        yield from _verdicts(found, codes[broken], ends)


def _verdicts(found: pa.Table, codes: np.ndarray, ends: list[tuple[int, str, LastGood]]) -> Iterator[pa.RecordBatch]:
    rows, groups = found.num_rows, len(ends)
    table = pa.table(
        {
            "code": pa.array([*codes.tolist(), *[None] * groups], pa.string()),
            "partition": pa.array([*found["partition"].to_pylist(), *[None] * groups], pa.string()),
            "place": pa.array([*found["place"].to_pylist(), *[None] * groups], pa.int64()),
            "sound": pa.array([*found["sound"].to_pylist(), *[False] * groups], pa.bool_()),
            "group": pa.array([*[None] * rows, *[end[0] for end in ends]], pa.int64()),
            "kind": pa.array([*[None] * rows, *[end[1] for end in ends]], pa.string()),
            "price": pa.array([*[None] * rows, *[end[2].price for end in ends]], pa.float64()),
            "time": pa.array([*[None] * rows, *[end[2].time for end in ends]], pa.int64()),
        }
    )
    yield from table.to_batches()


def _repeated(
    candidates: DataFrame, landing: Landing, survey: Survey, marks: DataFrame | None, held: Held
) -> DataFrame | None:
    """Sound rows whose vendor's id belongs to an earlier accepted row (partition, place, code, sound), or None."""
    identity = list(landing.identity)
    rows = candidates.where(landing.sound & F.col("vendor_id").isNotNull()).withColumn("_hash", F.xxhash64(*identity))
    before = held(*survey.span)
    hashes = rows.select("_hash", F.lit(0).alias("old"))
    if before is not None:
        before = before.where(F.col("vendor_id").isNotNull()).withColumn("_hash", F.xxhash64(*identity))
        hashes = hashes.unionByName(before.select("_hash", F.lit(1).alias("old")))
    # Eight bytes a row are shuffled, not the identities; only clashes are looked at in full.
    clashes = hashes.groupBy("_hash").agg(F.count("*").alias("rows"), F.min("old").alias("old"))
    clashes = clashes.where("rows > 1 and old = 0").select("_hash").persist()
    if clashes.isEmpty():
        clashes.unpersist()
        return None
    order = source_order()
    alike = rows.join(clashes, "_hash", "left_semi").select(*identity, *[c.alias(n) for n, c in order.items()])
    if marks is None:
        alike = alike.withColumn("good", F.lit(1))
    else:
        judged = marks.select("code", *_POSITION)
        alike = alike.join(judged, _POSITION, "left").withColumn("good", F.col("code").isNull().cast("int"))
    earlier = Window.partitionBy(*identity).orderBy(*order).rowsBetween(Window.unboundedPreceding, -1)
    alike = alike.withColumn("earlier", F.coalesce(F.sum("good").over(earlier), F.lit(0)))
    if before is not None:
        known = before.join(clashes, "_hash", "left_semi")
        known = known.select(*[F.col(name).alias(f"_{name}") for name in identity]).distinct()
        same = [alike[name].eqNullSafe(known[f"_{name}"]) for name in identity]
        alike = alike.join(known.withColumn("known", F.lit(1)), same, "left")
        alike = alike.withColumn("earlier", F.col("earlier") + F.coalesce("known", F.lit(0)))
    found = alike.where("earlier > 0").select(F.lit("duplicate").alias("code"), *_POSITION, F.lit(True).alias("sound"))
    found = found.persist()
    found.count()
    clashes.unpersist()
    return found
