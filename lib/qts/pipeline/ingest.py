"""Ticks, indices and headlines from the configured sources into Delta: checked, once, and nothing lost.

Every source has a query and a checkpoint of its own. For each: rows in = accepted + quarantined + duplicates.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.errors import PySparkException, StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from qts.errors import ConfigError, MissingInput, StoreError, disk_refusal
from qts.market.mapping import Mapping
from qts.market.quality import Limits
from qts.pipeline.batches import BatchLog, checkpoint_id, lock
from qts.pipeline.expectations import Suite, warm_up
from qts.pipeline.guards import refuse_lost_progress
from qts.pipeline.landing import Lander
from qts.pipeline.listener import noting
from qts.pipeline.session import spark_session
from qts.pipeline.sources import open_stream
from qts.pipeline.streams import Guarded, readable, start_query
from qts.pipeline.tables import create_table
from qts.sections import Ingest
from qts.settings import FilesSource, Settings, Source
from qts.store.ledger import Ledger

JOB = "ingest"
_INTO = {"trade": "ticks", "quote": "ticks", "daily": "ticks", "index": "indices", "headline": "headlines"}
_COUNTS = ("in", "accepted", "quarantined", "duplicates")


def run(
    settings: Settings, *, once: bool = False, path: str | Path | None = None, mapping: Path | None = None
) -> dict[str, Any]:
    """Lands what the sources give, until stopped or, with `once`, all that is there.

    Args:
        path: an own file or folder in place of the configured sources; what was read from it under the same mapping is
            not read again.
        mapping: its mapping, needed with `path`.

    Returns:
        Rows of this run: in, accepted, quarantined, duplicates, reasons {code: rows}; table, the path of the one that
        was filled (ticks, where there were several); sources {name: the same, and note where the source has one}.

    Raises:
        ConfigError: there is no source, or a path without mapping.
        MissingInput, UnknownColumn, DataError: a source cannot be read.
        QualityGateFailed: a batch failed its expectations and the configuration says stop.
        CheckpointInUse: another process ingests one of the sources.
        StoreError: the tables cannot be written.
    """
    sources = _sources(settings, path, mapping)
    suites = {source.into: _suite(settings.ingest, source.into) for source in sources}
    if any(suite.rules for suite in suites.values()):
        warm_up()
    with ExitStack() as held:
        for source in sources:
            held.enter_context(lock(_checkpoint(settings, source)))
        spark = spark_session(settings)
        feeds = [_open(spark, settings, source, suites[source.into], once=once) for source in sources]
        ledger = Ledger(settings.tables)
        _make_tables(spark, ledger, {source.into for source in sources})
        with noting(spark, ledger, JOB):
            if once:
                _one_after_another(feeds)
            else:
                _side_by_side(feeds)
    return _summary(settings, feeds)


@dataclass
class Feed:
    """One source on its way into a table."""

    source: Source
    lander: Lander
    work: Guarded
    checkpoint: Path
    done_before: int

    def start(self, *, once: bool) -> StreamingQuery:
        writer = self.lander.stream.frame.writeStream.queryName(f"{JOB}-{self.source.name}")
        writer = writer.option("checkpointLocation", str(self.checkpoint / "spark"))
        return start_query(writer, self.work, once=once, trigger_ns=0)


def _one_after_another(feeds: Sequence[Feed]) -> None:
    """In the order of the settings: which of two sources brought a record first does not depend on threads."""
    errors: list[Exception] = []
    for feed in feeds:
        query = feed.start(once=True)
        try:
            query.awaitTermination()
        except StreamingQueryException as error:
            errors.append(_named(feed, readable(error, feed.work)))
        except BaseException:
            query.stop()
            raise
    if errors:
        raise errors[0]


def _side_by_side(feeds: Sequence[Feed]) -> None:
    """Until one fails or the user interrupts; the others end after what they are at, and lose nothing."""
    queries = [(feed, feed.start(once=False)) for feed in feeds]
    try:
        while queries:
            queries = [(feed, query) for feed, query in queries if not _ended(feed, query)]
    except KeyboardInterrupt:
        return
    finally:
        for _, query in queries:
            query.stop()


def _ended(feed: Feed, query: StreamingQuery) -> bool:
    try:
        return bool(query.awaitTermination(1))
    except StreamingQueryException as error:
        raise _named(feed, readable(error, feed.work)) from error


def _named(feed: Feed, error: Exception) -> Exception:
    """An error that says which source it came from."""
    if not isinstance(error, PySparkException) or disk_refusal(error):
        return error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    reason = (causes[-1] if causes else lines[0])[:400].rstrip(".")
    return MissingInput(f"Source {feed.source.name!r} ended: {reason}. See that it is there, then start the job again.")


def _sources(settings: Settings, path: str | Path | None, mapping: Path | None) -> Sequence[Source]:
    if path is None:
        if mapping is not None:
            raise ConfigError("--mapping is given without --path; name the file or folder that it is for.")
        if not settings.sources:
            raise ConfigError("There are no sources. Name some in the settings, or a file or folder with --path.")
        return settings.sources
    if mapping is None:
        raise ConfigError(f"--path {path} needs --mapping FILE, which says what its columns are.")
    return [adhoc_source(str(path), mapping)]


def adhoc_source(path: str, mapping: Path) -> FilesSource:
    """A source for a path that no setting names; the same path and mapping always give the same name and checkpoint."""
    resolved = path if re.match(r"[a-z][a-z0-9+]*:/", path) else str(Path(path).expanduser().resolve())
    kind = Mapping.load(mapping).kind
    digest = hashlib.sha256(resolved.encode() + b"\0" + mapping.read_bytes()).hexdigest()[:12]
    words = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(resolved).stem).strip("-._")[:40] or "path"
    return FilesSource.model_validate(
        {"name": f"{words}-{digest}", "path": resolved, "mapping": mapping, "into": _INTO[kind]}
    )


def _suite(config: Ingest, into: str) -> Suite:
    path = config.expectations
    if into == "ticks" and not path.exists():
        raise MissingInput(f"There is no suite {path}, which ingest.expectations names.")
    return Suite.load(path if into == "ticks" else path.with_name(f"{into}.yml"), into, config.gate)


def _checkpoint(settings: Settings, source: Source) -> Path:
    return settings.checkpoint(JOB) / source.name


def _open(spark: SparkSession, settings: Settings, source: Source, suite: Suite, *, once: bool) -> Feed:
    config = settings.ingest
    stream = open_stream(spark, source, once=once, max_files=config.max_files_per_trigger)
    checkpoint = _checkpoint(settings, source)
    ledger = Ledger(settings.tables)
    log = BatchLog(ledger, JOB, checkpoint_id(checkpoint))
    refuse_lost_progress(log, checkpoint / "spark")
    own = stream.mapping.instruments
    instruments = config.instruments if own == "any" else own
    lander = Lander(stream, source.into, ledger, log, limits_of(config), instruments, suite)
    return Feed(source, lander, Guarded(lander), checkpoint, log.last_done())


def limits_of(config: Ingest) -> Limits:
    """The limits of the row rules from the settings."""
    return Limits(
        allowance=config.allowance,
        earliest=pd.Timestamp(config.earliest).value,
        future_tolerance=config.future_tolerance,
        jump_limit=config.jump.limit,
        jump_max_age=config.jump.max_age,
    )


def _make_tables(spark: SparkSession, ledger: Ledger, into: Iterable[str]) -> None:
    """All tables that ingest writes, so that readers find them from the start."""
    for name in ("instruments", "quarantine", "quality_results", *(set(into) - {"ticks"})):
        ledger.create(name)
    if "ticks" in into:
        try:
            create_table(spark, ledger.root, "ticks")
        except PySparkException as error:
            reason = str(error).splitlines()[0]
            raise StoreError(
                f"Table 'ticks' cannot be made in {ledger.root}: {reason}. "
                "Name a folder that you can write in (--workdir)."
            ) from error


def _summary(settings: Settings, feeds: Sequence[Feed]) -> dict[str, Any]:
    by_source: dict[str, dict[str, Any]] = {}
    for feed in feeds:
        batches = feed.lander.log.summaries()[feed.done_before + 1 :]
        total = _total(batches) | {"table": str(settings.tables / feed.source.into)}
        by_source[feed.source.name] = total | ({"note": feed.lander.stream.note} if feed.lander.stream.note else {})
    tables = [summary["table"] for summary in by_source.values()]
    ticks = str(settings.tables / "ticks")
    return {**_total(by_source.values()), "table": ticks if ticks in tables else tables[0], "sources": by_source}


def _total(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    counts, reasons = Counter[str](dict.fromkeys(_COUNTS, 0)), Counter[str]()
    for part in parts:
        counts.update({key: part[key] for key in _COUNTS})
        reasons.update(part["reasons"])
    return {**counts, "reasons": dict(sorted(reasons.items()))}
