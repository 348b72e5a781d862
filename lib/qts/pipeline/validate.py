"""Which candidates of a batch are accepted: the row rules natively, and exact folds for the few that need them.

A large batch is read once where it is: that pass (`qts.pipeline.look`) clears almost every instrument of late rows and
jumps and writes the sound rows as it goes. Only where it leaves doubts are rows read again, and only where some of the
sound ones turn out to be refused are they written again. A small batch is brought into this process, in one job. Rules,
look and fold are the same functions for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from qts.market.quality import Limits
from qts.pipeline.look import Found, Look, written
from qts.pipeline.marks import POSITION, Held, mark_by_spark, mark_here
from qts.pipeline.memory import Memory
from qts.pipeline.rules import Landing, RowRule, with_reasons
from qts.pipeline.sources.stream import Batch
from qts.pipeline.survey import Survey
from qts.store.staging import Staged, Staging

#: Rows of a batch that is judged in this process; larger ones are left to Spark.
SMALL = 50_000

REFUSED = ("reasons", "payload", "source", "source_partition", "source_offset")

#: Good rows of a batch, in memory or written and not yet committed.
Accepted: TypeAlias = pa.Table | tuple[Staged, ...]


@dataclass(frozen=True)
class Verdict:
    """A judged batch.

    Attributes:
        survey: its aggregates.
        accepted: the good rows.
        refused: all others, with the columns `REFUSED`; None where there are none.
        rows, good: how many came and how many are accepted.
        memory: the state after the batch.
    """

    survey: Survey
    accepted: Accepted
    refused: DataFrame | pa.Table | None
    rows: int
    good: int
    memory: Memory
    _cached: tuple[DataFrame, ...] = ()

    def release(self) -> None:
        """Frees what was kept for the counts."""
        for frame in self._cached:
            frame.unpersist()

    def discard(self, staging: Staging) -> None:
        """Deletes what was written, for it will not be committed."""
        if isinstance(self.accepted, tuple):
            staging.discard(self.accepted)


@dataclass(frozen=True)
class Judge:
    """How the batches of one source are judged.

    Attributes:
        landing, limits: the rules.
        glance: `Landing.trusting` of them; as the clock does not stand in it, it can be that of an earlier batch.
        memory: the state before the batch.
        held: the ticks that were there before.
        columns: those of the table, from candidates.
        staging: where good rows are written to.
        domain_prefix: see `SourceStream`.
    """

    landing: Landing
    glance: Landing
    limits: Limits
    memory: Memory
    held: Held
    columns: dict[str, Column]
    staging: Staging
    domain_prefix: str | None = None

    def judge(self, batch: Batch, number: int) -> Verdict:
        """Judges a batch.

        A record that was delivered before is a `duplicate` and nothing else is said of its order: by its place, when
        its partition was read further before; by its vendor's id, when a row of the same identity (instrument, venue,
        kind, id and event time, for many venues count from one each day) came earlier and was accepted.
        """
        if batch.about is not None and batch.about <= SMALL:
            return self._here(batch.candidates, number)
        return self._spread(batch, number)

    def _here(self, candidates: DataFrame, number: int) -> Verdict:
        """In this process: one job, and a second one for the reasons of rows that are refused."""
        landing = self.landing
        rows, survey = self._taken(candidates, self.glance)
        if (exact := self._exact(survey)) is not None:
            landing = exact
            rows, survey = self._taken(candidates, landing)
        if not survey.rows:
            return Verdict(survey, (), None, 0, 0, self.memory)
        roles, _ = self._roles(landing)
        others = [name for name in landing.identity if name not in roles]
        view = rows.select([*roles.values(), *others]).rename_columns([*roles, *others])
        marks, folded = mark_here(view, landing, survey, self.held)
        codes = _codes(view, marks)
        sound = view["sound"].to_numpy(zero_copy_only=False)
        marked = sound & pd.notna(codes)
        good = sound & ~marked
        refused = []
        if marked.any():
            refused.append(_told(rows.filter(pa.array(marked)), codes[marked]))
        if not sound.all():
            broken = landing.judged(candidates).where(~F.col("sound"))
            found = with_reasons(broken, landing.rules).select(*_raw()).toArrow()
            places = found.select(REFUSED[-2:]).rename_columns(POSITION)
            refused.append(_told(found, _codes(places, marks)))
        return Verdict(
            survey,
            rows.filter(pa.array(good)).select(list(self.columns)),
            pa.concat_tables(refused) if refused else None,
            survey.rows,
            int(good.sum()),
            survey.remember(number, folded),
        )

    def _taken(self, candidates: DataFrame, landing: Landing) -> tuple[pa.Table, Survey]:
        """The judged rows, and what a look at them says."""
        roles, added = self._roles(landing)
        further = {name: F.col(name) for name in (*REFUSED[1:], *landing.identity)}
        columns = further | self.columns | added
        rows = landing.judged(candidates).select(*[column.alias(name) for name, column in columns.items()]).toArrow()
        found = Look(roles, ()).here(rows)
        return rows, Survey.of(found, self.limits, self.memory, domain_prefix=self.domain_prefix)

    def _spread(self, batch: Batch, number: int) -> Verdict:
        """By Spark, where the rows are."""
        landing, candidates = self.landing, batch.candidates
        judged = _kept(self.glance, batch)
        found, survey = self._looked(judged, landing)
        try:
            if (exact := self._exact(survey)) is not None:
                landing = exact
                self.staging.discard(found.files)
                judged.unpersist()
                judged = _kept(landing, batch)
                found, survey = self._looked(judged, landing)
            if not survey.rows:
                return Verdict(survey, (), None, 0, 0, self.memory, (judged,))
            if not survey.orderly:
                survey = survey.looked_into(judged, landing, self.domain_prefix)
            marks = mark_by_spark(judged, landing, survey, self.held, few=SMALL)
            if marks.frame is not None and marks.on_sound:
                self.staging.discard(found.files)
                rows = _at_position(judged.where("sound"), marks.frame.where("sound"), "left_anti")
                found = replace(found, files=written(rows.select(*_named(self.columns)), self.staging))
            good = survey.sound - marks.on_sound
            refused = None
            if good < survey.rows:
                refused = _refused(candidates, judged, landing, survey, marks.frame)
            memory = survey.remember(number, marks.folded)
        except BaseException:
            self.staging.discard(found.files)
            raise
        return Verdict(survey, found.files, refused, survey.rows, good, memory, (judged, *marks.cached))

    def _looked(self, judged: DataFrame, landing: Landing) -> tuple[Found, Survey]:
        """The one pass over a large batch: its sound rows are written as they are looked at."""
        roles, added = self._roles(landing, apart=self.domain_prefix is not None)
        rows = judged.select(*_named(self.columns | added))
        found = Look(roles, tuple(self.columns), self.staging).spread(rows)
        return found, Survey.of(found, self.limits, self.memory, domain_prefix=self.domain_prefix)

    def _exact(self, survey: Survey) -> Landing | None:
        """The rules word by word, where glances do not do; and those on places that were read before."""
        if not survey.rows:
            return None
        again = self.memory.repeated(survey.places("first"))
        if again:
            return self.landing.with_rule(RowRule("duplicate", _read_before(again), untimed=True))
        return None if self.landing.holds(survey.names, survey.newest) else self.landing

    def _roles(self, landing: Landing, *, apart: bool = False) -> tuple[dict[str, str], dict[str, Column]]:
        """Which column of the rows is what (see `Look`), and those of them that the table does not have."""
        wanted = {"timed": F.col("timed"), "sound": F.col("sound"), "price": landing.price}
        wanted["identified"] = F.col("vendor_number").isNotNull() | F.col("vendor_id").isNotNull()
        if not landing.identity:
            wanted["identified"] = F.lit(False)
        if not apart:
            wanted |= {"domain": F.col("lateness_domain"), "arrived": F.col("arrival.arrived")}
        roles = {"partition": "source_partition", "place": "source_offset"}
        if landing.table == "ticks":
            roles |= {"instrument": "instrument", "kind": "kind", "time": "event_ns"}
        else:
            wanted |= {"instrument": landing.instrument, "kind": landing.kind, "time": F.col("event_ns")}
        return roles | {role: f"_{role}" for role in wanted}, {f"_{role}": column for role, column in wanted.items()}


def _raw() -> list[Column]:
    return [F.coalesce(name, F.lit("")).alias(name) if name == "payload" else F.col(name) for name in REFUSED]


def _kept(landing: Landing, batch: Batch) -> DataFrame:
    """The judged candidates, with a payload only where it is needed; held where reading them again takes longer."""
    judged = landing.judged(batch.candidates)
    judged = judged.withColumn("payload", F.when(~F.col("sound"), F.col("payload")))
    return judged if batch.again else judged.persist()


def _named(columns: Mapping[str, Column]) -> list[Column]:
    return [column.alias(name) for name, column in columns.items()]


def _codes(rows: pa.Table, marks: pd.DataFrame) -> npt.NDArray[np.object_]:
    """The mark of each row (partition, place), or None."""
    codes = np.full(rows.num_rows, None, dtype=object)
    if len(marks):
        places = rows.select(POSITION).to_pandas().assign(row=np.arange(rows.num_rows))
        found = places.merge(marks[[*POSITION, "code"]], on=POSITION)
        codes[found["row"].to_numpy()] = found["code"].to_numpy()
    return codes


def _told(rows: pa.Table, codes: npt.NDArray[np.object_]) -> pa.Table:
    """Refused rows with their reasons; a mark is named last."""
    found = rows["reasons"].to_pylist() if "reasons" in rows.schema.names else [[]] * rows.num_rows
    reasons = [[*told, code] if code is not None else told for told, code in zip(found, codes, strict=True)]
    columns = {name: rows[name] for name in REFUSED[1:]}
    columns["payload"] = pc.fill_null(columns["payload"], "")
    return pa.table({"reasons": pa.array(reasons, pa.list_(pa.string())), **columns})


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
        parts.append(with_reasons(rows, landing.rules, further).select(*_raw()))
    if marks is not None:
        rows = _at_position(candidates, marks.where("sound").select("code", *POSITION), "inner")
        parts.append(rows.withColumn("reasons", F.array("code")).select(*_raw()))
    return reduce(DataFrame.unionByName, parts)


def _at_position(rows: DataFrame, marks: DataFrame, how: str) -> DataFrame:
    named = marks.withColumnsRenamed({"partition": "mark_partition", "place": "mark_place"})
    on = (rows["source_partition"] == named["mark_partition"]) & (rows["source_offset"] == named["mark_place"])
    return rows.join(named, on, how)


def _read_before(again: Mapping[str, int]) -> Column:
    highest = F.create_map(*[F.lit(item) for pair in again.items() for item in pair])
    return F.coalesce(F.col("source_offset") <= highest[F.col("source_partition")], F.lit(False))
