"""Which candidates of a batch are accepted: the row rules natively, and exact folds for the few that need them.

In a large batch ticks cross neither a window nor into Python: one aggregate (`survey`) clears almost every instrument
of late rows and jumps, and only the rows of the others are folded (`marks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from qts.market.quality import Limits
from qts.pipeline.marks import POSITION, Held, mark_by_spark, mark_here
from qts.pipeline.memory import Memory
from qts.pipeline.rules import Landing, RowRule, all_safe, with_reasons
from qts.pipeline.survey import Survey

#: Rows of a batch that is marked in this process; larger ones are left to Spark.
SMALL = 50_000

_REFUSED = ["reasons", "payload", "source", "source_partition", "source_offset"]


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
    candidates: DataFrame,
    landing: Landing,
    limits: Limits,
    memory: Memory,
    batch: int,
    held: Held,
    *,
    keep: bool = True,
    domain_prefix: str | None = None,
) -> Verdict:
    """Judges the candidates of a batch.

    A record that was delivered before is a `duplicate` and nothing else is said of its order: by its place, when its
    partition was read further before; by its vendor's id, when a row of the same identity (instrument, venue, kind, id
    and event time, for many venues count from one each day) came earlier and was accepted.

    Args:
        keep: hold the parsed rows until `Verdict.release`. It pays unless the batch is large and cheap to read again.
        domain_prefix: see `SourceStream`.
    """
    judged = (landing if keep else landing.trusting()).judged(candidates)
    cached = [judged.persist()] if keep else []
    survey = Survey.of(judged, landing, limits, memory, domain_prefix=domain_prefix)
    if not survey.rows:
        return Verdict(survey, None, None, 0, 0, memory, tuple(cached))
    again = memory.repeated(survey.places("first"))
    if again:
        landing = landing.with_rule(RowRule("duplicate", _read_before(again), untimed=True))
    if again or not (keep or all_safe(survey.names)):
        judged = landing.judged(candidates)
        survey = Survey.of(judged, landing, limits, memory, domain_prefix=domain_prefix)
    if survey.rows <= SMALL:
        marks = mark_here(judged, landing, survey, held)
    else:
        marks = mark_by_spark(judged, landing, survey, held, few=SMALL)
    good = survey.sound - marks.on_sound
    # A frame without a mark on a sound row would only cost a join.
    refusing = marks.frame if marks.on_sound else None
    return Verdict(
        survey,
        _accepted(judged, survey, refusing) if good else None,
        _refused(candidates, judged, landing, survey, marks.frame) if good < survey.rows else None,
        survey.rows,
        good,
        survey.remember(batch, marks.folded),
        (*cached, *marks.cached),
    )


def _accepted(judged: DataFrame, survey: Survey, marks: DataFrame | None) -> DataFrame:
    rows = judged if survey.sound == survey.rows else judged.where("sound")
    return rows if marks is None else _at_position(rows, marks.where("sound"), "left_anti")


def _refused(
    candidates: DataFrame, judged: DataFrame, landing: Landing, survey: Survey, marks: DataFrame | None
) -> DataFrame:
    """Refused rows with their reasons; of sound ones the raw records are looked up again, for only few need them."""
    parts = []
    if survey.sound < survey.rows:
        rows, further = judged.where(~F.col("sound")), F.lit(None).cast("string")
        if marks is not None:
            rows, further = (
                _at_position(rows, marks.where("not sound").select("code", *POSITION), "left"),
                F.col("code"),
            )
        parts.append(with_reasons(rows, landing.rules, further).select(*_REFUSED))
    if marks is not None:
        rows = _at_position(candidates, marks.where("sound").select("code", *POSITION), "inner")
        parts.append(rows.withColumn("reasons", F.array("code")).select(*_REFUSED))
    return reduce(DataFrame.unionByName, parts)


def _at_position(rows: DataFrame, marks: DataFrame, how: str) -> DataFrame:
    named = marks.withColumnsRenamed({"partition": "mark_partition", "place": "mark_place"})
    on = (rows["source_partition"] == named["mark_partition"]) & (rows["source_offset"] == named["mark_place"])
    return rows.join(named, on, how)


def _read_before(again: Mapping[str, int]) -> Column:
    highest = F.create_map(*[F.lit(item) for pair in again.items() for item in pair])
    return F.coalesce(F.col("source_offset") <= highest[F.col("source_partition")], F.lit(False))
