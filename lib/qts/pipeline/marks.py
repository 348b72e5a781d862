"""What the order of rows says of them: late, price_jump, and vendors' ids that were delivered before.

A mark is (code, partition, place, sound): the reason that a row gets on top of what the row rules say. Small batches
are marked in this process, large ones by Spark; one fold judges both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from qts.market.quality import LastGood, Limits, jumps, late
from qts.pipeline.look import INTEGERS
from qts.pipeline.rules import Landing
from qts.pipeline.survey import Survey, source_order
from qts.store.ledger import Ledger

POSITION = ["partition", "place"]
SOURCE_ORDER = ("arrived", *POSITION)
_MARK = ["code", *POSITION, "sound"]
_FOLDED = pa.schema(
    {
        "code": pa.string(),
        "partition": pa.string(),
        "place": pa.int64(),
        "sound": pa.bool_(),
        "group": pa.int64(),
        "kind": pa.string(),
        "price": pa.float64(),
        "time": pa.int64(),
    }
)
_SUSPECT = [*POSITION, "kind", "time", "sound", "price", "group"]
_ROW = ["domain", "instrument", "arrived", *_SUSPECT[:-1]]
_MICROS = pa.timestamp("us", tz="UTC")
_HOUR = 3_600_000_000_000  # nanoseconds


@dataclass(frozen=True)
class Held:
    """The ticks that were accepted before a batch: those of the version that its plan names."""

    spark: SparkSession
    ledger: Ledger
    version: int

    def reaches(self, span: tuple[int, int]) -> bool:
        """Whether a file of the table reaches into a span of event time (nanoseconds, both ends included)."""
        if self.version < 0:
            return False
        files = pa.table(self.ledger.open("ticks", self.version).get_add_actions(flatten=True))
        if not {"min.event_time", "max.event_time"} <= set(files.column_names):
            return bool(files.num_rows)
        low, high = (pc.cast(pc.cast(files[f"{end}.event_time"], _MICROS), pa.int64()) for end in ("min", "max"))
        apart = pc.or_(pc.greater(low, span[1] // 1000), pc.less(high, span[0] // 1000))
        return not pc.all(pc.fill_null(apart, False)).as_py()

    def rows(self, span: tuple[int, int], columns: list[str]) -> pa.Table:
        """Identified ticks of the span, in memory."""
        first, last = (pa.scalar(end // 1000, pa.int64()).cast(_MICROS) for end in span)
        time = pc.field("event_time")
        where = (time >= first) & (time <= last) & pc.field("vendor_id").is_valid()
        return self.ledger.read("ticks", version=self.version, columns=columns, where=where, done_only=False)

    def frame(self, span: tuple[int, int]) -> DataFrame:
        """Identified ticks of the span."""
        path: Path = self.ledger.path("ticks")
        rows = self.spark.read.format("delta").option("versionAsOf", self.version).load(str(path))
        ends = (F.timestamp_micros(F.lit(end // 1000)) for end in span)
        return rows.where(F.col("event_time").between(*ends) & F.col("vendor_id").isNotNull())


@dataclass(frozen=True)
class Marks:
    """The marks of a large batch.

    Attributes:
        frame: code, partition, place, sound; None where there is none.
        on_sound: how many of them are on rows that are sound by themselves.
        folded: last good prices of the folded groups after the batch: group, kind, price, time.
        cached: what to unpersist in the end.
    """

    frame: DataFrame | None
    on_sound: int
    folded: pd.DataFrame
    cached: tuple[DataFrame, ...] = ()


def mark_here(rows: pa.Table, landing: Landing, survey: Survey, held: Held) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Marks of a batch that is in this process: no job, no worker.

    Args:
        rows: timed and others, with the columns domain, arrived, partition, place, instrument, kind, time, price, sound
            and timed, and those of the landing's identity.

    Returns:
        The marks (code, partition, place, sound), and `folded` as in `Marks`.
    """
    marks = _FOLDED.empty_table().to_pandas()[_MARK].astype({"sound": bool})
    folded, suspects = survey.last_good().head(0), survey.suspects() if survey.orderly else survey.groups
    if len(suspects):
        timed = rows.filter(rows["timed"]).select(_ROW).to_pandas(types_mapper=INTEGERS.get)
        timed = timed.merge(suspects[["domain", "instrument", "group"]], on=["domain", "instrument"])
        timed = timed.sort_values(["group", *SOURCE_ORDER], kind="stable")[_SUSPECT]
        found = _fold(survey, suspects)(iter(pa.Table.from_pandas(timed, preserve_index=False).to_batches()))
        verdicts = pa.Table.from_batches(found, _FOLDED).to_pandas(types_mapper=INTEGERS.get)
        marks = verdicts.loc[verdicts["code"].notna(), _MARK].astype({"place": "int64", "sound": bool})
        folded = verdicts.loc[verdicts["code"].isna(), ["group", "kind", "price", "time"]]
    if survey.identified:
        repeated = _repeated_here(rows, landing, survey, marks, held)
        other = marks.merge(repeated[POSITION], on=POSITION, how="left", indicator=True)["_merge"] == "left_only"
        marks = pd.concat([marks[other.to_numpy()], repeated], ignore_index=True)
    return marks, folded


def mark_by_spark(judged: DataFrame, landing: Landing, survey: Survey, held: Held, few: int = 0) -> Marks:
    """Marks of a large batch: only suspects' rows go through Python, in groups; ids are compared by hash first.

    Args:
        few: so many suspects' rows are folded without a second look.
    """
    frame, on_sound, folded = None, 0, survey.last_good().head(0)
    cached: list[DataFrame] = []
    suspects = survey.suspects()
    if survey.rows_of(suspects) > few:
        suspects = survey.refined(judged, landing, suspects)
    if len(suspects):
        rows = _suspect_rows(judged, landing, suspects).repartition("group")
        rows = rows.sortWithinPartitions("group", *source_order())
        schema = ", ".join(f"{f.name} {_SQL[f.type]}" for f in _FOLDED)
        verdicts = rows.mapInArrow(_fold(survey, suspects), schema).persist()
        cached.append(verdicts)
        folded = verdicts.where("code is null").select("group", "kind", "price", "time").toArrow().to_pandas()
        frame = verdicts.where("code is not null").select(*_MARK)
    if survey.identified:
        repeated = _repeated_by_spark(judged, landing, survey, frame, held)
        if repeated is not None:
            cached.append(repeated)
            frame = repeated if frame is None else frame.join(repeated, POSITION, "left_anti").unionByName(repeated)
    if frame is not None:
        on_sound = frame.where("sound").count()
    return Marks(frame, on_sound, folded, tuple(cached))


_SQL = {pa.string(): "string", pa.int64(): "long", pa.bool_(): "boolean", pa.float64(): "double"}


def _suspect_rows(judged: DataFrame, landing: Landing, suspects: pd.DataFrame) -> DataFrame:
    rows = judged.where("timed").select(
        F.col("lateness_domain").alias("domain"),
        landing.instrument.alias("instrument"),
        *[column.alias(name) for name, column in source_order().items()],
        landing.kind.alias("kind"),
        F.col("event_ns").alias("time"),
        "sound",
        F.coalesce(landing.price, F.lit(float("nan"))).alias("price"),
    )
    wanted = judged.sparkSession.createDataFrame(suspects[["domain", "instrument", "group"]])
    return rows.join(F.broadcast(wanted), ["domain", "instrument"]).drop("domain", "instrument")


def _fold(survey: Survey, suspects: pd.DataFrame) -> _Fold:
    clocks = dict(zip(suspects["group"].tolist(), suspects["clock"].tolist(), strict=True))
    known = survey.last_good()
    last = {
        (group, kind): LastGood(price, time)
        for group, kind, price, time in zip(*(known[name].tolist() for name in known.columns), strict=True)
        if group in clocks
    }
    return _Fold(survey.limits, clocks, last)


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


def _verdicts(
    found: pa.Table, codes: npt.NDArray[np.object_], ends: list[tuple[int, str, LastGood]]
) -> Iterator[pa.RecordBatch]:
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


def _repeated_here(rows: pa.Table, landing: Landing, survey: Survey, marks: pd.DataFrame, held: Held) -> pd.DataFrame:
    """Marks of sound rows whose vendor's id belongs to an earlier accepted row."""
    identity = list(landing.identity)
    asked = pc.and_(rows["sound"], pc.is_valid(rows["vendor_id"]))
    ids = rows.filter(asked).select([*identity, *SOURCE_ORDER]).to_pandas()
    ids = ids.sort_values(list(SOURCE_ORDER), ignore_index=True).merge(
        marks[[*POSITION, "code"]], on=POSITION, how="left"
    )
    good = ids["code"].isna().astype("int64")
    earlier = good.groupby([ids[name] for name in identity], dropna=False).cumsum() - good > 0
    if held.reaches(survey.span):
        known = held.rows(survey.span, identity).to_pandas().drop_duplicates()
        earlier |= ids[identity].merge(known, on=identity, how="left", indicator=True)["_merge"].to_numpy() == "both"
    found = ids.loc[earlier, POSITION]
    return found.assign(code="duplicate", sound=True)[_MARK]


def _all_differ(rows: DataFrame) -> bool:
    """Whether the ids are numbers, and no two of one instrument and hour the same: then no identity comes twice.

    Vendors count, so the ids of an hour fill words of 64 bits densely: an aggregate of a few groups, where comparing
    hashes would shuffle every row. False says nothing.
    """
    number = F.coalesce("vendor_number", F.col("vendor_id").try_cast("bigint"))
    bit = F.expr("shiftleft(1L, cast(number & 63 as int))")
    numbered = rows.select("instrument", F.expr(f"event_ns div {_HOUR}L").alias("hour"), number.alias("number"))
    groups = numbered.groupBy("instrument", "hour", F.shiftright("number", 6).alias("word"))
    words = groups.agg(F.count("*").alias("rows"), F.bit_or(bit).alias("bits"))
    return words.where("coalesce(bit_count(bits), 0) <> rows").isEmpty()


def _repeated_by_spark(
    judged: DataFrame, landing: Landing, survey: Survey, marks: DataFrame | None, held: Held
) -> DataFrame | None:
    """Sound rows whose vendor's id belongs to an earlier accepted row (partition, place, code, sound), or None."""
    identity = list(landing.identity)
    # Where all rows are sound, and all have an id, none need be asked.
    whole = survey.identified == survey.rows
    rows = judged if whole else judged.where(F.col("sound") & F.col("vendor_id").isNotNull())
    before = held.frame(survey.span) if held.reaches(survey.span) else None
    if before is None and _all_differ(rows):
        return None
    rows = rows.withColumn("_hash", F.xxhash64(*identity))
    hashes = rows.select("_hash", F.lit(0).alias("old"))
    if before is not None:
        before = before.withColumn("_hash", F.xxhash64(*identity))
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
        alike = alike.join(marks.select("code", *POSITION), POSITION, "left").withColumn(
            "good", F.col("code").isNull().cast("int")
        )
    earlier = Window.partitionBy(*identity).orderBy(*order).rowsBetween(Window.unboundedPreceding, -1)
    alike = alike.withColumn("earlier", F.coalesce(F.sum("good").over(earlier), F.lit(0)))
    if before is not None:
        known = before.join(clashes, "_hash", "left_semi")
        known = known.select(*[F.col(name).alias(f"_{name}") for name in identity]).distinct()
        same = [alike[name].eqNullSafe(known[f"_{name}"]) for name in identity]
        alike = alike.join(known.withColumn("known", F.lit(1)), same, "left")
        alike = alike.withColumn("earlier", F.col("earlier") + F.coalesce("known", F.lit(0)))
    found = alike.where("earlier > 0").select(F.lit("duplicate").alias("code"), *POSITION, F.lit(True).alias("sound"))
    found = found.persist()
    found.count()
    clashes.unpersist()
    return found
