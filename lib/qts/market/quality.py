"""What makes a tick unusable: the reason codes, their limits, and the two rules that depend on the order of rows.

Rows come in *lateness domains* (a file, a topic's partition, a watched folder) and in the order in which their source
gave them. The rules on a row alone are Spark expressions in `qts.pipeline.rules`; the two here look back:

- **late**: a row is late when its event time lies more than the allowance behind the newest event time among the
  earlier rows of its domain and instrument. The clock is moved by every row whose time and instrument are usable,
  whatever is wrong with its price.
- **price_jump**: a sound row (nothing else is wrong with it, and it is not late) jumps when its price is further than
  the limit, as a share, from the last good price of its domain, instrument and kind, and that price is not older than
  `jump_max_age`. A row that jumped never becomes the reference, so one bad print cannot drag the next ones in, and a
  real gap heals once the reference has aged.

Both are folds over rows in source order with a small carry, so their result does not depend on where batches are cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qts.market.bar import Array, IntArray

Mask = npt.NDArray[np.bool_]

#: Every reason for which a record may be refused, in the words of a person.
REASONS = {
    "unparseable_record": "the record cannot be read in its format",
    "unreadable_file": "the file cannot be read, or lacks a column of its mapping",
    "bad_time": "the time cannot be read",
    "bad_number": "a number cannot be read",
    "missing_time": "there is no time",
    "implausible_time": "the time lies before the earliest one allowed or in the future",
    "missing_instrument": "there is no instrument",
    "unknown_instrument": "the instrument is not on the list",
    "unsafe_instrument": "the instrument's name is too long or has characters that paths or SQL give a meaning to",
    "unknown_kind": "the row is neither a trade nor a quote",
    "price_not_finite": "a price is missing, NaN or infinite",
    "price_not_positive": "a price is zero or negative",
    "size_not_finite": "a size is NaN or infinite, or missing where the source gives sizes",
    "size_not_positive": "a size is negative, or zero for a trade",
    "quote_crossed": "the bid is above the ask",
    "value_not_finite": "the value is missing, NaN or infinite",
    "missing_text": "there is no text",
    "flagged": "the vendor marks the row as suspicious",
    "late": "the time lies too far behind a row that came earlier",
    "price_jump": "the price is too far from the last good one",
    "duplicate": "the record was delivered before",
}

#: The clock of an instrument that was never seen: nothing is late against it.
NEVER = int(np.iinfo(np.int64).min // 2)


@dataclass(frozen=True)
class Limits:
    """Limits of the row rules; times and durations in nanoseconds.

    Attributes:
        allowance: how far a row may lie behind the newest one of its domain and instrument.
        earliest: the first plausible event time since 1970-01-01 UTC.
        future_tolerance: how far an event time may lie ahead of the clock.
        jump_limit: largest move against the last good price, as a share of it; infinite: none is refused.
        jump_max_age: an older last good price judges nothing.
    """

    allowance: int
    earliest: int
    future_tolerance: int
    jump_limit: float
    jump_max_age: int


@dataclass(frozen=True)
class LastGood:
    """The last good price of one domain, instrument and kind; a NaN price where there is none."""

    price: float = float("nan")
    time: int = NEVER


def late(event_ns: IntArray, clock: int, allowance: int) -> tuple[Mask, int]:
    """Which rows of one domain and instrument are late, in source order.

    Args:
        event_ns: event times, shape (R,).
        clock: newest event time of all earlier rows, or `NEVER`.
        allowance: nanoseconds.

    Returns:
        The late rows, shape (R,), and the clock after them.

    >>> late(np.array([5, 9, 3, 6]), NEVER, allowance=4)[0].tolist()
    [False, False, True, False]
    """
    newest = np.maximum.accumulate(np.concatenate(([clock], event_ns)))
    return event_ns < newest[:-1] - allowance, int(newest[-1])


def jumps(event_ns: IntArray, price: Array, last: LastGood, limits: Limits) -> tuple[Mask, LastGood]:
    """Which sound, timely rows of one domain, instrument and kind jump, in source order.

    Args:
        event_ns: event times, shape (R,).
        price: finite prices, shape (R,).
        last: the last good price before them.

    Returns:
        The rows that jump, shape (R,), and the last good price after them.
    """
    rows = len(price)
    broken = np.zeros(rows, dtype=bool)
    if not rows:
        return broken, last
    # Row r is at r + 1, behind the reference that came in.
    prices, times = np.concatenate(([last.price], price)), np.concatenate(([last.time], event_ns))
    # A run of good rows has each row's predecessor as its reference, so only a far step can start a run of jumps.
    steps = np.flatnonzero(too_far(prices[1:], times[1:], prices[:-1], times[:-1], limits))
    reference, at = 0, 0
    while (found := int(np.searchsorted(steps, at))) < len(steps):
        start = int(steps[found])
        reference = start
        at = _end_of_jumps(prices, times, start, limits)
        broken[start:at] = True
        at += 1  # the row that ends the run is good; the next one is held against it
    good = np.flatnonzero(~broken)
    if len(good):
        reference = int(good[-1]) + 1
    return broken, LastGood(float(prices[reference]), int(times[reference]))


def _end_of_jumps(prices: Array, times: IntArray, start: int, limits: Limits) -> int:
    """The first row from `start` on that does not jump against the price before `start`, or the number of rows."""
    at, width, rows = start, 64, len(prices) - 1
    while at < rows:
        ahead = slice(at + 1, at + 1 + width)
        good = ~too_far(prices[ahead], times[ahead], prices[start], times[start], limits)
        if good.any():
            return at + int(good.argmax())
        at, width = min(at + width, rows), 2 * width
    return rows


def too_far(
    price: Array | float,
    time: IntArray | int,
    reference: Array | float,
    reference_time: IntArray | int,
    limits: Limits,
) -> Mask:
    """Whether prices jump against references: `|price - reference| > limit * reference`, the reference young enough."""
    if np.isinf(limits.jump_limit):
        return np.zeros(np.broadcast(price, reference).shape, dtype=bool)
    far = np.abs(np.subtract(price, reference)) > limits.jump_limit * np.asarray(reference)
    return np.asarray(far & (np.subtract(time, reference_time) <= limits.jump_max_age))
