"""When the next values of a series will come, as its past values came: markets close at night and over weekends."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qts.market.bar import IntArray

_SLOT = 900_000_000_000  # nanoseconds: a quarter of an hour
_DAY, SLOTS = 96 * _SLOT, 7 * 96  # slots of a week, from midnight of Thursday, 1970-01-01 UTC
_WEEKS = 2  # that a series must span before an hour without values is taken for a closed one
_USUAL = 0.1  # share of weeks with a value in an hour that is open


def steps_of(times: IntArray, *, calendar: bool) -> tuple[int, npt.NDArray[np.bool_]]:
    """The usual step of one series, and the slots of the week in which it has values.

    Args:
        times: of known values, strictly increasing, shape (T,), T >= 2; nanoseconds where `calendar`.

    Returns:
        The step: the median one, or for steps beyond a day (months are not of one length) their mean, in which a gap
        counts as the steps that it has room for. And whether each quarter of an hour of the week is open, shape
        (SLOTS,); all are, where steps exceed a day or the series is short.
    """
    steps = np.diff(times)
    step, open_slots = int(np.median(steps)), np.ones(SLOTS, np.bool_)
    span = int(times[-1] - times[0])
    if not calendar:
        return step, open_slots
    if step > _DAY:
        return round(span / float(np.round(steps / step).clip(min=1).sum())), open_slots
    weeks = span / (7 * _DAY)
    if weeks >= _WEEKS:
        # One vote a week: a quarter of an hour may hold many values.
        seen = np.unique(times // _SLOT)
        open_slots = np.bincount(seen % SLOTS, minlength=SLOTS) >= _USUAL * weeks
    return step, open_slots


def next_times(last: IntArray, step: IntArray, open_slots: npt.NDArray[np.bool_], horizon: int) -> IntArray:
    """Times of the next values, shape (N, horizon): a step on, or where that is closed, when it is open next.

    Args:
        last: time of the last value, shape (N,).
        step: shape (N,).
        open_slots: shape (N, SLOTS).
    """
    row, found, at = np.arange(len(last)), np.empty((len(last), horizon), np.int64), last
    wait = _waits(open_slots)
    for h in range(horizon):
        at = at + step
        at = at + wait[row, at // _SLOT % SLOTS] * _SLOT
        found[:, h] = at
    return found


def _waits(open_slots: npt.NDArray[np.bool_]) -> IntArray:
    """Slots from each one to the next that is open, itself included, shape (N, SLOTS); 0 where none is."""
    twice = np.concatenate([open_slots, open_slots], axis=1)
    place = np.where(twice, np.arange(2 * SLOTS), 4 * SLOTS)
    following = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1][:, :SLOTS]
    return np.where(open_slots.any(axis=1, keepdims=True), following - np.arange(SLOTS), 0)
