"""One look over a batch, and what it proves: who is innocent, who has to be folded, what is remembered."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from qts.market.bar import IntArray
from qts.market.innocence import Carried, Slots, slot_width, suspects
from qts.market.quality import NEVER, Limits
from qts.market.sequence import Stretch, none_late, stretches
from qts.pipeline.memory import Memory
from qts.pipeline.rules import Landing

#: Nanoseconds do not fit into the floats that pandas makes of integers with nulls.
_INTEGERS = {pa.int64(): pd.Int64Dtype()}

#: What is kept of a stretch of rows, see `qts.market.sequence`.
_LOOKED = ["key", "came", "first", "last", "oldest", "newest", "lag"]
_LOOK = ", ".join(f"{name} long" for name in _LOOKED)
_LOOK_SCHEMA = pa.schema([pa.field(name, pa.int64()) for name in _LOOKED])


def source_order() -> dict[str, Column]:
    """The columns that put the rows of all partitions into the order in which they came, most significant first.

    It is the order of `arrival`, whose partition and offset are the source's; its first field, the time at which the
    partition arrived, is null where partitions are domains of their own.
    """
    return {
        "arrived": F.col("arrival.arrived"),
        "partition": F.col("source_partition"),
        "place": F.col("source_offset"),
    }


@dataclass(frozen=True)
class Survey:
    """The aggregates of a batch.

    Attributes:
        pieces: a row per domain, partition, instrument and kind; instrument and kind are null for rows without usable
            time or instrument.
        order: the first and last place of every domain, partition and time slot, over all instruments; no rows where a
            look at each row has shown that none is late.
        limits: what the proof is about.
        memory: the state before the batch.
    """

    pieces: pd.DataFrame
    order: pd.DataFrame
    limits: Limits
    memory: Memory

    @classmethod
    def of(
        cls, judged: DataFrame, landing: Landing, limits: Limits, memory: Memory, *, domain_prefix: str | None = None
    ) -> Survey:
        """Looks at `Landing.judged` rows in one job: no sort, and only groups are shuffled.

        Two native aggregates count and bound what came. The order of rows is looked at in Python, at 32 bytes a row:
        grouped by time slot, quiet instruments would make nearly as many groups as there are rows. Only where that look
        leaves doubts are slots made, and then apart from instruments, for the same reason.

        Args:
            domain_prefix: set where each partition is a lateness domain of its own (see `SourceStream`); then no row is
                asked for its domain.
        """
        apart = domain_prefix is not None
        rows = _rows(judged, landing, limits, domains=not apart)
        keys = ["domain", "arrived", "partition"]
        groups = rows.groupBy(*keys, "instrument", "kind").agg(*_counts(), *_figures())
        timed = rows.where("time is not null")
        key, arrived = F.xxhash64("partition"), F.coalesce(F.unix_micros("arrived"), F.lit(0))
        looks = timed.select(key.alias("key"), arrived.alias("came"), "place", "time").mapInArrow(_look, _LOOK)
        found = _in_memory(groups.unionByName(looks, allowMissingColumns=True))
        looked = found["key"].notna()
        pieces, seen = found[~looked].reset_index(drop=True), found.loc[looked, _LOOKED]
        partitions = pieces.loc[pieces["instrument"].notna(), "partition"].nunique()
        # As many keys as partitions: then no two partitions have the same.
        if seen["key"].nunique() == partitions and none_late(
            [Stretch(*row) for row in seen.astype("int64").itertuples(index=False)], limits.allowance, apart=apart
        ):
            order = pd.DataFrame(columns=[*keys, "slot", "first", "last"])
        else:
            order = _in_memory(timed.groupBy(*keys, "slot").agg(*_places()))
        if apart:
            pieces, order = (each.assign(domain=domain_prefix + each["partition"]) for each in (pieces, order))
        return cls(pieces, order, limits, memory)

    @property
    def rows(self) -> int:
        return int(self.pieces["rows"].sum())

    @property
    def sound(self) -> int:
        return int(self.pieces["sound"].sum())

    @property
    def names(self) -> list[str]:
        """The instruments of rows with usable time and instrument."""
        return [str(name) for name in self._timed["instrument"].unique()]

    @property
    def identified(self) -> int:
        """Sound rows that carry a vendor's id."""
        return int(self.pieces["identified"].sum())

    @property
    def span(self) -> tuple[int, int]:
        """Oldest and newest usable event time, nanoseconds."""
        return int(self._timed["oldest"].min()), int(self._timed["newest"].max())

    def places(self, which: str) -> pd.DataFrame:
        """The `first` or `last` place of every partition."""
        grouped = self.pieces.groupby("partition", as_index=False)[which]
        return (grouped.min() if which == "first" else grouped.max()).rename(columns={which: "place"})

    def by_instrument(self) -> pd.DataFrame:
        """A row per instrument and kind: rows, sound, low, high."""
        figures = {"rows": ("rows", "sum"), "sound": ("sound", "sum"), "low": ("low", "min"), "high": ("high", "max")}
        return self._timed.groupby(["instrument", "kind"], as_index=False).agg(**figures)

    def suspects(self) -> pd.DataFrame:
        """Domains and instruments that may hold late rows or jumps: their number, and their clock before the batch.

        All others hold none. For a domain whose rows came in the order of time there is nothing more to ask about
        lateness, and an instrument whose prices all lie within the limit of each other cannot have jumped.
        """
        if not len(self._groups):
            return self._groups
        slots = _slots(self._timed, self._timed["group"], self._kind_codes(self._timed["kind"]), ranked=False)
        guilty = suspects(slots, self._carried, self.limits)
        if len(self.order):
            guilty |= self._groups["domain"].isin(self._disorderly()).to_numpy(bool)
        return self._groups[guilty].reset_index(drop=True)

    def _disorderly(self) -> pd.Index[str]:
        """Domains in which some instrument may have late rows: only the order is asked, neither times nor prices."""
        numbers, domains = pd.factorize(self.order["domain"])
        order = _with_ranks(self.order).assign(oldest=0, newest=0, low=math.nan, high=math.nan)
        slots = _slots(order, pd.Series(numbers), np.zeros(len(numbers), dtype=np.int64), ranked=True)
        nothing = Carried(_never(len(domains)), np.full((len(domains), 1), np.nan), _never(len(domains), 1))
        return domains[suspects(slots, nothing, replace(self.limits, jump_limit=math.inf))]

    def rows_of(self, groups: pd.DataFrame) -> int:
        """Rows of some domains and instruments."""
        return int(self._timed.loc[self._timed["group"].isin(groups["group"]), "rows"].sum())

    def refined(self, judged: DataFrame, landing: Landing, groups: pd.DataFrame) -> pd.DataFrame:
        """Those of the suspects that are not cleared by a second look, at every instrument's own slots."""
        keys = ["group", "arrived", "partition", "kind", "slot"]
        wanted = judged.sparkSession.createDataFrame(groups[["domain", "instrument", "group"]])
        rows = _rows(judged.where("timed"), landing, self.limits).join(F.broadcast(wanted), ["domain", "instrument"])
        found = rows.groupBy(*keys).agg(*_figures()).toArrow().to_pandas(types_mapper=_INTEGERS.get)
        slots = _slots(_with_ranks(found), found["group"], self._kind_codes(found["kind"]), ranked=True)
        guilty = np.flatnonzero(suspects(slots, self._carried, self.limits))
        return groups[groups["group"].isin(guilty)].reset_index(drop=True)

    def last_good(self) -> pd.DataFrame:
        """Last good prices before the batch, by group number and kind."""
        held = self.memory.order[self.memory.order["price"].notna()]
        return held.merge(self._groups[["domain", "instrument", "group"]])[["group", "kind", "price", "time"]]

    def remember(self, batch: int, folded: pd.DataFrame) -> Memory:
        """The state after the batch.

        Args:
            folded: last good prices of folded groups after the batch: group, kind, price, time.
        """
        key = ["group", "kind"]
        seen = self._timed.groupby([*key, "domain", "instrument"], as_index=False).agg(clock=("newest", "max"))
        good = self._timed[self._timed["good"].notna()].sort_values([*key, "partition_rank", "good"])
        prices = pd.concat([self.last_good(), good[[*key, "price", "time"]], folded[[*key, "price", "time"]]])
        # The price before, unless a sound row came; and where rows were folded the fold has the last word.
        prices = prices.astype({"price": "float64", "time": "Int64"}).drop_duplicates(key, keep="last")
        order = seen.merge(prices, how="left", on=key).drop(columns="group")
        order = order.assign(time=order["time"].fillna(NEVER)).astype({"time": "int64", "clock": "int64"})
        return self.memory.after(batch, order, self.places("last"))

    @cached_property
    def _timed(self) -> pd.DataFrame:
        timed = _with_ranks(self.pieces[self.pieces["instrument"].notna()].reset_index(drop=True))
        return timed.assign(group=timed.groupby(["domain", "instrument"], sort=True).ngroup())

    @cached_property
    def _groups(self) -> pd.DataFrame:
        groups = self._timed[["domain", "instrument", "group"]].drop_duplicates("group").sort_values("group")
        clocks = self.memory.order.drop_duplicates(["domain", "instrument"])[["domain", "instrument", "clock"]]
        groups = groups.merge(clocks, how="left", on=["domain", "instrument"])
        return groups.assign(clock=groups["clock"].astype("Int64").fillna(NEVER).astype("int64"))

    @cached_property
    def _kinds(self) -> list[str]:
        return sorted(self._timed["kind"].dropna().unique())

    def _kind_codes(self, kinds: pd.Series[str]) -> IntArray:
        # A row of unknown kind is never sound, so the number that it gets meets no price.
        codes: IntArray = np.maximum(pd.Categorical(kinds, categories=self._kinds).codes, 0).astype(np.int64)
        return codes

    @cached_property
    def _carried(self) -> Carried:
        groups, kinds = len(self._groups), max(len(self._kinds), 1)
        price, time = np.full((groups, kinds), np.nan), np.full((groups, kinds), NEVER, dtype=np.int64)
        known = self.last_good()
        known = known[known["kind"].isin(self._kinds)]
        at = (known["group"].to_numpy(np.int64), self._kind_codes(known["kind"]))
        price[at], time[at] = known["price"].to_numpy(np.float64), known["time"].to_numpy(np.int64)
        return Carried(self._groups["clock"].to_numpy(np.int64), price, time)


def _in_memory(frame: DataFrame) -> pd.DataFrame:
    found: pd.DataFrame = frame.toArrow().to_pandas(types_mapper=_INTEGERS.get)
    return found


def _look(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """A task's stretches of rows (key, came, place, time)."""
    pieces = ((each[0].to_numpy(), each[1].to_numpy(), each[2].to_numpy(), each[3].to_numpy()) for each in batches)
    rows = list(stretches(pieces))
    yield pa.RecordBatch.from_pylist([dict(zip(_LOOKED, row, strict=True)) for row in rows], _LOOK_SCHEMA)


def _rows(judged: DataFrame, landing: Landing, limits: Limits, *, domains: bool = True) -> DataFrame:
    """What the aggregates are made of."""
    timed, sound = F.col("timed"), F.col("sound")
    # Times count from the earliest one, for `div` rounds towards zero.
    slot = F.expr(f"(event_ns - {limits.earliest}L) div {slot_width(limits.allowance)}L")
    identified = F.col("vendor_number").isNotNull() | F.col("vendor_id").isNotNull()
    if not landing.identity:
        identified = F.lit(False)
    return judged.select(
        (F.col("lateness_domain") if domains else F.lit("")).alias("domain"),
        *[column.alias(name) for name, column in source_order().items()],
        F.when(timed, landing.instrument).alias("instrument"),
        F.when(timed, F.coalesce(landing.kind, F.lit("unknown"))).alias("kind"),
        F.when(timed, slot).alias("slot"),
        F.when(timed, F.col("event_ns")).alias("time"),
        F.when(sound, landing.price).alias("price"),
        F.when(sound, F.col("source_offset")).alias("good"),
        F.when(sound & identified, 1).alias("identified"),
    )


def _counts() -> list[Column]:
    return [
        F.count("*").alias("rows"),
        F.count("good").alias("sound"),
        F.count("identified").alias("identified"),
    ]


def _places() -> list[Column]:
    return [F.min("place").alias("first"), F.max("place").alias("last")]


def _figures() -> list[Column]:
    return [
        *_places(),
        F.min("time").alias("oldest"),
        F.max("time").alias("newest"),
        F.min("price").alias("low"),
        F.max("price").alias("high"),
        F.max("good").alias("good"),
        F.max_by("price", "good").alias("price"),
        F.max_by("time", "good").alias("time"),
    ]


def _with_ranks(pieces: pd.DataFrame) -> pd.DataFrame:
    """With the rank of each piece's partition in the order of arrival."""
    ranks = pieces.groupby(["arrived", "partition"], sort=True, dropna=False).ngroup()
    return pieces.assign(partition_rank=ranks)


def _slots(pieces: pd.DataFrame, group: pd.Series[int], kind: IntArray, *, ranked: bool) -> Slots:
    """Pieces as the proof wants them; without ranks all are in one slot, and nothing is asked about their order."""
    first, last = _ranks(pieces) if ranked else (kind * 0, kind * 0)
    return Slots(
        group.to_numpy(np.int64),
        kind,
        pieces["slot"].to_numpy(np.int64) if ranked else kind * 0,
        first,
        last,
        pieces["oldest"].to_numpy(np.int64),
        pieces["newest"].to_numpy(np.int64),
        pieces["low"].to_numpy(np.float64, na_value=np.nan),
        pieces["high"].to_numpy(np.float64, na_value=np.nan),
    )


def _never(*shape: int) -> IntArray:
    return np.full(shape, NEVER, dtype=np.int64)


def _ranks(pieces: pd.DataFrame) -> tuple[IntArray, IntArray]:
    """First and last places as dense ranks over all partitions, so that one number orders them."""
    partition = pieces["partition_rank"].to_numpy(np.int64)
    both = np.concatenate([partition, partition])
    place = np.concatenate([pieces["first"].to_numpy(np.int64), pieces["last"].to_numpy(np.int64)])
    order = np.lexsort((place, both))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (both[order][1:] != both[order][:-1]) | (place[order][1:] != place[order][:-1])
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.cumsum(new) - 1
    return rank[: len(pieces)], rank[len(pieces) :]
