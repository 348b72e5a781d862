"""One native aggregate over a batch, and what it proves: who is innocent, who has to be folded, what is remembered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from qts.market.bar import IntArray
from qts.market.innocence import Carried, Slots, slot_width, suspects
from qts.market.quality import NEVER, Limits
from qts.pipeline.memory import Memory
from qts.pipeline.rules import Landing

#: Nanoseconds do not fit into the floats that pandas makes of integers with nulls.
_INTEGERS = {pa.int64(): pd.Int64Dtype()}


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
        pieces: a row per domain, partition, instrument, kind and time slot; instrument, kind and slot are null for rows
            without usable time or instrument.
        limits: what the proof is about.
        memory: the state before the batch.
    """

    pieces: pd.DataFrame
    limits: Limits
    memory: Memory

    @classmethod
    def of(cls, candidates: DataFrame, landing: Landing, limits: Limits, memory: Memory) -> Survey:
        """Runs the aggregate: one job, one shuffle of aggregates, no sort."""
        timed, sound, order = landing.timed, landing.sound, source_order()
        # Times count from the earliest one, for `div` rounds towards zero.
        slot = F.expr(f"(event_ns - {limits.earliest}L) div {slot_width(limits.allowance)}L")
        identified = F.col("vendor_id").isNotNull() if landing.identity else F.lit(False)
        rows = candidates.select(
            F.col("lateness_domain").alias("domain"),
            *[column.alias(name) for name, column in order.items()],
            F.when(timed, landing.instrument).alias("instrument"),
            F.when(timed, F.coalesce(landing.kind, F.lit("unknown"))).alias("kind"),
            F.when(timed, slot).alias("slot"),
            F.when(timed, F.col("event_ns")).alias("time"),
            F.when(sound, landing.price).alias("price"),
            F.when(sound, F.col("source_offset")).alias("good"),
            F.when(sound & identified, 1).alias("identified"),
        )
        keys = ["domain", *[name for name in order if name != "place"], "instrument", "kind", "slot"]
        pieces = rows.groupBy(*keys).agg(
            F.count("*").alias("rows"),
            F.count("good").alias("sound"),
            F.count("identified").alias("identified"),
            F.min("place").alias("first"),
            F.max("place").alias("last"),
            F.min("time").alias("oldest"),
            F.max("time").alias("newest"),
            F.min("price").alias("low"),
            F.max("price").alias("high"),
            F.max("good").alias("good"),
            F.max_by("price", "good").alias("price"),
            F.max_by("time", "good").alias("time"),
        )
        return cls(pieces.toArrow().to_pandas(types_mapper=_INTEGERS.get), limits, memory)

    @property
    def rows(self) -> int:
        return int(self.pieces["rows"].sum())

    @property
    def sound(self) -> int:
        return int(self.pieces["sound"].sum())

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
        """Domains and instruments that may hold late rows or jumps: their number, and their clock before the batch."""
        groups = self._groups
        if not len(groups):
            return groups.assign(clock=pd.Series(dtype="int64"))
        return groups[suspects(self._slots, self._carried, self.limits)].reset_index(drop=True)

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
        timed = self.pieces[self.pieces["slot"].notna()].reset_index(drop=True)
        ranks = timed.groupby(["arrived", "partition"], sort=True, dropna=False).ngroup()
        groups = timed.groupby(["domain", "instrument"], sort=True).ngroup()
        return timed.assign(partition_rank=ranks, group=groups)

    @cached_property
    def _groups(self) -> pd.DataFrame:
        groups = self._timed[["domain", "instrument", "group"]].drop_duplicates("group").sort_values("group")
        clocks = self.memory.order.drop_duplicates(["domain", "instrument"])[["domain", "instrument", "clock"]]
        groups = groups.merge(clocks, how="left", on=["domain", "instrument"])
        return groups.assign(clock=groups["clock"].astype("Int64").fillna(NEVER).astype("int64"))

    @cached_property
    def _slots(self) -> Slots:
        timed = self._timed
        first, last = _ranks(timed)
        return Slots(
            timed["group"].to_numpy(np.int64),
            self._kind_codes(timed["kind"]),
            timed["slot"].to_numpy(np.int64),
            first,
            last,
            timed["oldest"].to_numpy(np.int64),
            timed["newest"].to_numpy(np.int64),
            timed["low"].to_numpy(np.float64, na_value=np.nan),
            timed["high"].to_numpy(np.float64, na_value=np.nan),
        )

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


def _ranks(timed: pd.DataFrame) -> tuple[IntArray, IntArray]:
    """First and last places as dense ranks over all partitions, so that one number orders them."""
    partition = timed["partition_rank"].to_numpy(np.int64)
    both = np.concatenate([partition, partition])
    place = np.concatenate([timed["first"].to_numpy(np.int64), timed["last"].to_numpy(np.int64)])
    order = np.lexsort((place, both))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (both[order][1:] != both[order][:-1]) | (place[order][1:] != place[order][:-1])
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.cumsum(new) - 1
    return rank[: len(timed)], rank[len(timed) :]
