"""What a source gives to ingest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame

from qts.market.mapping import Mapping


@dataclass(frozen=True)
class Batch:
    """The records of one micro-batch.

    Attributes:
        candidates: see `normalise.CANDIDATE`.
        about: how many there are, roughly, where that is known before they are read.
        again: whether reading them again takes less time than keeping them.
    """

    candidates: DataFrame
    about: int | None = None
    again: bool = False


@dataclass(frozen=True)
class SourceStream:
    """An open source.

    Attributes:
        name: the source's name.
        mapping: how its records are read.
        frame: the streaming frame to start a query on. Its rows are records for Kafka and replay; for files a row is
            a file, and the files of a batch are read inside of it, each by its own schema.
        batch: turns a batch of `frame` (inside foreachBatch) into candidates. The same batch gives the same ones.
        sized: whether a trade without a size is a broken one; daily bars often have no volume, and are fine.
        domain_prefix: where each partition is a lateness domain of its own, what its domain's name has before its own;
            None where rows say their domain.
        absent: columns of a tick that are null throughout, so that they need not be written.
        note: what a summary has to say about this data, say that paths within the day are simulated; or empty.
    """

    name: str
    mapping: Mapping
    frame: DataFrame
    batch: Callable[[DataFrame], Batch]
    sized: bool = True
    domain_prefix: str | None = None
    absent: frozenset[str] = frozenset()
    note: str = ""
