"""Proof, from a few aggregates, that no row of an instrument is late and none jumps.

Folding every row in source order would bring all ticks into Python. Instead Spark aggregates each domain and instrument
into time slots of half the allowance (first and last place in source order, lowest and highest price), and this module
says which instruments could have a late row or a jump. Only their rows are folded; all others are innocent for certain:

- Two rows in the same or in neighbouring slots differ by at most the allowance, so neither makes the other late. If no
  row of a slot two or more further on stands before a row of slot k, no row of k is late.
- If nothing is late, the good row before a row stands at most three occupied slots away: rows of any slot between that
  is two or more from both ends would have to stand between the two. So if over each such pair of slots the highest
  price is within the limit of the lowest (or the reference would be too old), no row jumps. `max - min <= limit * min`
  implies `|price - reference| <= limit * reference` in floating point too, because rounding is monotone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from qts.market.bar import Array, IntArray
from qts.market.quality import NEVER, Limits, Mask

#: How many occupied slots lie at most between a row's slot and its reference's, when the order of slots is proven.
_NEIGHBOURS = 3


@dataclass(frozen=True)
class Slots:
    """Aggregates of timely rows, one entry per piece: a group's rows of one kind in one slot of one source partition.

    Attributes:
        group: which domain and instrument, 0..G-1, shape (S,).
        kind: trade, quote, ... as a number, shape (S,).
        slot: event time divided by `slot_width`, rounded down, shape (S,).
        first, last: places in source order of the first and last row, comparable within a domain, shape (S,).
        oldest, newest: event times, nanoseconds, shape (S,).
        low, high: prices of the sound rows, NaN where there is none, shape (S,).
    """

    group: IntArray
    kind: IntArray
    slot: IntArray
    first: IntArray
    last: IntArray
    oldest: IntArray
    newest: IntArray
    low: Array
    high: Array

    def take(self, index: npt.NDArray[np.generic]) -> Slots:
        return Slots(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True)
class Carried:
    """What earlier batches left: clocks by group, and last good prices by group and kind.

    Attributes:
        clock: newest event time of each group or `NEVER`, shape (G,).
        price, time: last good price and its event time, NaN and `NEVER` where there is none, shape (G, K).
    """

    clock: IntArray
    price: Array
    time: IntArray


def slot_width(allowance: int) -> int:
    """Width of a slot, nanoseconds: at most half the allowance, so neighbouring slots never make each other late."""
    return max(allowance // 2, 1)


def suspects(slots: Slots, carried: Carried, limits: Limits) -> Mask:
    """The groups that might hold a late row or a jump; for all others there is none, shape (G,)."""
    guilty = np.zeros(len(carried.clock), dtype=bool)
    if len(slots.group):
        _late(guilty, slots, carried, limits)
        if not np.isinf(limits.jump_limit):
            _jumping(guilty, slots, carried, limits)
    return guilty


def _reach(allowance: int) -> int:
    """Slots that are at least this far apart may hold rows further apart than the allowance."""
    return 2 if allowance > 0 else 1


def _late(guilty: Mask, slots: Slots, carried: Carried, limits: Limits) -> None:
    np.logical_or.at(guilty, slots.group, slots.oldest < carried.clock[slots.group] - limits.allowance)
    merged = _merge(slots, (slots.slot, slots.group))
    count = len(merged.group)
    # Lifting each group above the one before lets one running minimum from the end serve all groups.
    top = int(max(merged.last.max(), merged.first.max())) + 1
    _, dense = np.unique(merged.group, return_inverse=True)
    first_after = np.minimum.accumulate((merged.first + dense * top)[::-1])[::-1]
    ahead = np.arange(count) + 1
    reach = _reach(limits.allowance)
    for _ in range(reach - 1):
        near = np.minimum(ahead, count - 1)
        close = (merged.group[near] == merged.group) & (merged.slot[near] < merged.slot + reach)
        ahead = np.where((ahead < count) & close, ahead + 1, ahead)
    near = np.minimum(ahead, count - 1)
    inside = (ahead < count) & (merged.group[near] == merged.group)
    guilty[merged.group[inside & (first_after[near] <= merged.last + dense * top)]] = True


def _jumping(guilty: Mask, slots: Slots, carried: Carried, limits: Limits) -> None:
    sound = slots.take(np.flatnonzero(~np.isnan(slots.low)))
    if not len(sound.group):
        return
    merged = _merge(_with_references(sound, carried), ())
    for step in range(_NEIGHBOURS + 1):
        left = slice(0, len(merged.group) - step)
        right = slice(step, None)
        same = (merged.group[left] == merged.group[right]) & (merged.kind[left] == merged.kind[right])
        low = np.minimum(merged.low[left], merged.low[right])
        high = np.maximum(merged.high[left], merged.high[right])
        # Neighbouring slots may interleave, so the older row of such a pair is not always the reference.
        ordered = merged.slot[left] <= merged.slot[right] - _reach(limits.allowance)
        aged = ordered & (merged.oldest[right] - merged.newest[left] > limits.jump_max_age)
        guilty[merged.group[left][same & ~aged & ~(high - low <= limits.jump_limit * low)]] = True


def _with_references(slots: Slots, carried: Carried) -> Slots:
    """The slots and, before the first one of each group and kind, its last good price as a slot of its own."""
    pairs = np.unique(np.stack([slots.group, slots.kind]), axis=1)
    group, kind = pairs
    price, time = carried.price[group, kind], carried.time[group, kind]
    held = ~np.isnan(price)
    group, kind, price, time = group[held], kind[held], price[held], time[held]
    before = np.full(len(group), NEVER)
    references = (group, kind, before, before, before, time, time, price, price)
    return Slots(
        *(np.concatenate([getattr(slots, f.name), own]) for f, own in zip(fields(Slots), references, strict=True))
    )


def _merge(slots: Slots, keys: tuple[IntArray, ...]) -> Slots:
    """One entry per slot and group (and kind, when `keys` is empty), ordered by group, then kind, then slot."""
    chosen = keys or (slots.slot, slots.kind, slots.group)
    order = np.lexsort(chosen)
    sorted_slots = slots.take(order)
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.logical_or.reduce([key[order][1:] != key[order][:-1] for key in chosen])
    at = np.flatnonzero(new)
    return Slots(
        sorted_slots.group[at],
        sorted_slots.kind[at],
        sorted_slots.slot[at],
        np.minimum.reduceat(sorted_slots.first, at),
        np.maximum.reduceat(sorted_slots.last, at),
        np.minimum.reduceat(sorted_slots.oldest, at),
        np.maximum.reduceat(sorted_slots.newest, at),
        np.fmin.reduceat(sorted_slots.low, at),
        np.fmax.reduceat(sorted_slots.high, at),
    )
