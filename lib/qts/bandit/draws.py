"""Random numbers that belong to a decision, not to a generator: hashes of (seed, time, instrument, name, index).

A replay finds the same numbers, in any order of batches and in any cut of the instruments into buckets. The numbers are
part of every past decision: to change one bit of this file is to break replays, which a test holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from qts.market.bar import Array

Words = npt.NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def uniforms(seed: int, time: int, instruments: Sequence[str], name: str, n: int) -> Array:
    """Independent numbers, uniform on the open interval (0, 1), shape (N, n).

    Each row is a SplitMix64 stream whose start is the hash of its coordinates.

    Source: Steele, Lea and Flood, Fast splittable pseudorandom number generators (OOPSLA 2014).

    Args:
        seed: of the run.
        time: of the decision, nanoseconds.
        instruments: names, N of them.
        name: what the numbers are for, such as the policy's name.
        n: numbers per instrument.

    >>> both = uniforms(1, 2, ["A", "B"], "thompson", 3)
    >>> bool((both[1:] == uniforms(1, 2, ["B"], "thompson", 3)).all())
    True
    """
    rows = hashed(word(seed), word(time), codes((name,)), codes(tuple(instruments)))
    words = _splitmix64(rows[:, None] + _STEP * np.arange(n, dtype=np.uint64))
    # 52 bits and a half: exact in a double, and neither 0 nor 1.
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def word(number: int) -> Words:
    """An integer, negative or long ones modulo 2**64, as a word of shape (1,)."""
    return np.array([number % 2**64], dtype=np.uint64)


def hashed(*words: Words) -> Words:
    """One word from several, elementwise; their order counts."""
    key = np.zeros(1, dtype=np.uint64)
    for each in words:
        # Mixed before the next one comes in, or two words could be swapped: seed 1, time 2 and seed 2, time 1.
        key = _splitmix64(key ^ each)
    return key


def _splitmix64(state: Words) -> Words:
    mixed = state + _STEP
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))


@lru_cache(maxsize=1024)
def codes(names: tuple[str, ...]) -> Words:
    """A word for each name, shape (N,), the same in every process."""
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
