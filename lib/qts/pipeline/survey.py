"""One look over a batch, and what it proves: who is innocent, who has to be folded, what is remembered."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from qts.market.bar import IntArray
from qts.market.innocence import Carried, Slots, slot_width, suspects
from qts.market.quality import NEVER, Limits
from qts.market.sequence import Stretch, none_late
from qts.pipeline.look import INTEGERS, Found
from qts.pipeline.memory import Memory
from qts.pipeline.rules import Landing

_ORDER = ["domain", "arrived", "partition", "slot", "first", "last"]


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
        pieces: see `qts.pipeline.look.Found`.
        limits: what the proof is about.
        memory: the state before the batch.
        orderly: whether no row is late with respect to others of the batch; False says nothing.
        order: where that is not known, the first and last place of every domain, partition and time slot, over all
            instruments.
    """

    pieces: pd.DataFrame
    limits: Limits
    memory: Memory
    orderly: bool
    order: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=_ORDER))

    @classmethod
    def of(cls, found: Found, limits: Limits, memory: Memory, *, domain_prefix: str | None = None) -> Survey:
        """What a look says.

        Args:
            domain_prefix: set where each partition is a lateness domain of its own (see `SourceStream`).
        """
        pieces, apart = found.pieces, domain_prefix is not None
        if apart:
            pieces = pieces.assign(domain=domain_prefix + pieces["partition"])
        seen = found.stretches
        # Numbered by name, which is the order in which partitions stand that arrived at once.
        keys = pd.factorize(seen["partition"], sort=True)[0].tolist()
        figures = seen[["arrived", "first", "last", "oldest", "newest", "lag"]].itertuples(index=False)
        order = [Stretch(key, *row) for key, row in zip(keys, figures, strict=True)]
        return cls(pieces, limits, memory, none_late(order, limits.allowance, apart=apart))

    def looked_into(self, judged: DataFrame, landing: Landing, domain_prefix: str | None) -> Survey:
        """With the order of rows slot by slot, over all instruments: quiet ones make nearly as many slots as rows."""
        apart = domain_prefix is not None
        rows = _rows(judged.where("timed"), landing, self.limits, domains=not apart)
        order = _in_memory(rows.groupBy(*_ORDER[:4]).agg(*_places()))
        return replace(self, order=order.assign(domain=domain_prefix + order["partition"]) if apart else order)

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
    def newest(self) -> int:
        """The newest usable event time, nanoseconds, or `NEVER`."""
        return int(self._timed["newest"].max()) if len(self._timed) else NEVER

    @property
    def identified(self) -> int:
        """Sound rows that carry a vendor's id."""
        return int(self.pieces["identified"].sum())

    @property
    def span(self) -> tuple[int, int]:
        """Oldest and newest usable event time, nanoseconds."""
        return int(self._timed["oldest"].min()), self.newest

    def places(self, which: str) -> pd.DataFrame:
        """The `first` or `last` place of every partition."""
        grouped = self.pieces.groupby("partition", as_index=False)[which]
        return (grouped.min() if which == "first" else grouped.max()).rename(columns={which: "place"})

    def by_instrument(self) -> pd.DataFrame:
        """A row per instrument and kind: rows, sound, low, high."""
        figures = {"rows": ("rows", "sum"), "sound": ("sound", "sum"), "low": ("low", "min"), "high": ("high", "max")}
        return self._timed.groupby(["instrument", "kind"], as_index=False).agg(**figures)

    def suspects(self) -> pd.DataFrame:
        """Those of the `groups` that may hold late rows or jumps.

        All others hold none. For a domain whose rows came in the order of time there is nothing more to ask about
        lateness, and an instrument whose prices all lie within the limit of each other cannot have jumped.
        """
        if not len(self.groups):
            return self.groups
        slots = _slots(self._timed, self._timed["group"], self._kind_codes(self._timed["kind"]), ranked=False)
        guilty = suspects(slots, self._carried, self.limits)
        if len(self.order):
            guilty |= self.groups["domain"].isin(self._disorderly()).to_numpy(bool)
        return self.groups[guilty].reset_index(drop=True)

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
        found = _in_memory(rows.groupBy(*keys).agg(*_figures()))
        slots = _slots(_with_ranks(found), found["group"], self._kind_codes(found["kind"]), ranked=True)
        guilty = np.flatnonzero(suspects(slots, self._carried, self.limits))
        return groups[groups["group"].isin(guilty)].reset_index(drop=True)

    def last_good(self) -> pd.DataFrame:
        """Last good prices before the batch, by group number and kind."""
        held = self.memory.order[self.memory.order["price"].notna()]
        return held.merge(self.groups[["domain", "instrument", "group"]])[["group", "kind", "price", "time"]]

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
    def groups(self) -> pd.DataFrame:
        """All domains and instruments: their number, and their clock before the batch."""
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
        groups, kinds = len(self.groups), max(len(self._kinds), 1)
        price, time = np.full((groups, kinds), np.nan), np.full((groups, kinds), NEVER, dtype=np.int64)
        known = self.last_good()
        known = known[known["kind"].isin(self._kinds)]
        at = (known["group"].to_numpy(np.int64), self._kind_codes(known["kind"]))
        price[at], time[at] = known["price"].to_numpy(np.float64), known["time"].to_numpy(np.int64)
        return Carried(self.groups["clock"].to_numpy(np.int64), price, time)


def _in_memory(frame: DataFrame) -> pd.DataFrame:
    found: pd.DataFrame = frame.toArrow().to_pandas(types_mapper=INTEGERS.get)
    return found


def _rows(judged: DataFrame, landing: Landing, limits: Limits, *, domains: bool = True) -> DataFrame:
    """What the aggregates are made of."""
    timed, sound = F.col("timed"), F.col("sound")
    # Times count from the earliest one, for `div` rounds towards zero.
    slot = F.expr(f"(event_ns - {limits.earliest}L) div {slot_width(limits.allowance)}L")
    return judged.select(
        (F.col("lateness_domain") if domains else F.lit("")).alias("domain"),
        *[column.alias(name) for name, column in source_order().items()],
        F.when(timed, landing.instrument).alias("instrument"),
        F.when(timed, F.coalesce(landing.kind, F.lit("unknown"))).alias("kind"),
        F.when(timed, slot).alias("slot"),
        F.when(timed, F.col("event_ns")).alias("time"),
        F.when(sound, landing.price).alias("price"),
        F.when(sound, F.col("source_offset")).alias("good"),
    )


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
