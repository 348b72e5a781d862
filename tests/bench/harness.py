"""Two ways to do the same thing, run in turns, and a record of how they compare.

A script measures a subject beside a bare baseline or a peer in the same session, so that the ratio does not depend on
the machine. It prints one line a claim (`--json`: one JSON object a line). A full run leaves its record in
tests/bench/results, which `qts scorecard` reads; a `--quick` run only shows that the script works.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from qts.conf import conf_file
from qts.mlops.scorecard import Claim, DataSource, Record, read_claims

RESULTS = Path(__file__).parent / "results"
#: Other programs on the machine slow a subject and its peer alike, but not a figure in seconds.
_LOAD = os.getloadavg()[0]
_PACKAGES = ("numpy", "pandas", "pyarrow", "pyspark", "delta-spark", "deltalake")


@dataclass(frozen=True)
class Comparison:
    """Seconds of a subject and of its peer, turn by turn."""

    subject: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """Subject over peer, one a turn: both saw the same load of the machine."""
        return [ours / theirs for ours, theirs in zip(self.subject, self.peer, strict=True)]


def alternate(
    subject: Callable[[], object],
    peer: Callable[[], object],
    *,
    repetitions: int,
    warm_ups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Runs both in turns, the one that goes first changing each time.

    Args:
        clock: `time.perf_counter` for wall time, `time.process_time` for CPU time of this process.
    """
    for _ in range(warm_ups):
        peer()
        subject()
    taken: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(repetitions):
        for ours in (True, False) if turn % 2 else (False, True):
            began = clock()
            (subject if ours else peer)()
            taken[ours].append(clock() - began)
    return Comparison(tuple(taken[True]), tuple(taken[False]))


def seconds_of(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """What one call takes, by default in CPU seconds."""
    began = clock()
    work()
    return clock() - began


def quantile_interval(values: Sequence[float], quantile: float, seed: int = 0) -> tuple[float, float, float]:
    """A quantile with its 95% bootstrap interval: (value, low, high)."""
    sample = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    drawn = np.quantile(rng.choice(sample, (2000, len(sample))), quantile, axis=1)
    value = float(np.quantile(sample, quantile))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return value, min(float(low), value), max(float(high), value)


def options(description: str | None, rows: Mapping[str, tuple[int, int]] | None = None) -> argparse.Namespace:
    """The options of a script: --quick, --json, and one a size.

    Args:
        rows: option name to (default, default with --quick).
    """
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small run that leaves no record")
    parser.add_argument("--json", action="store_true", help="print the records as JSON, one a line")
    for name, (full, quick) in (rows or {}).items():
        parser.add_argument(f"--{name}", type=int, help=f"by default {full:,}, with --quick {quick:,}")
    given = parser.parse_args()
    for name, (full, quick) in (rows or {}).items():
        if getattr(given, name) is None:
            setattr(given, name, quick if given.quick else full)
    return given


def claim_of(name: str) -> Claim:
    """A declared claim; a benchmark measures nothing that conf/claims.yml does not say."""
    return next(claim for claim in read_claims(conf_file("claims.yml")) if claim.id == name)


def record_of(
    name: str,
    values: Sequence[float],
    *,
    source: DataSource,
    value: float | None = None,
    details: Mapping[str, float] | None = None,
    repetitions: int | None = None,
) -> Record:
    """A record of the run that goes on.

    Args:
        values: one a repetition; their range is the interval.
        value: by default their median.
        repetitions: by default as many as values.
    """
    middle = statistics.median(values) if value is None else value
    return Record(
        claim=name,
        value=_short(middle),
        interval=(_short(min(values)), _short(max(values))),
        repetitions=repetitions or len(values),
        unit=claim_of(name).unit,
        source=source,
        command=_command(),
        date=datetime.now(UTC).replace(microsecond=0),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        versions=_versions(),
        details={key: _short(figure) for key, figure in ({**(details or {}), "load before": _LOAD}).items()},
    )


def publish(record: Record, given: argparse.Namespace, folder: Path = RESULTS) -> None:
    """Prints a record, and keeps it unless the run was a quick one."""
    text = record.model_dump_json(indent=2)
    if not given.quick:
        folder.mkdir(exist_ok=True)
        (folder / f"{record.claim}.json").write_text(text + "\n")
    print(json.dumps(record.model_dump(mode="json")) if given.json else line(record), flush=True)


def line(record: Record) -> str:
    """A record on one line, with its claim's target and verdict."""
    claim = claim_of(record.claim)
    low, high = record.interval
    bound = f"{'<=' if claim.better == 'lower' else '>='} {claim.target:g}"
    more = "".join(f", {key} {figure:g}" for key, figure in record.details.items())
    return (
        f"{record.claim}: {record.value:g} {record.unit} [{low:g}, {high:g}] over {record.repetitions}, "
        f"target {bound}: {'met' if claim.is_met(record.value) else 'MISSED'} "
        f"({record.source} data, {record.cores} cores{more})"
    )


def _command() -> str:
    script = Path(sys.argv[0])
    where = script.resolve()
    root = Path(__file__).resolve().parents[2]
    name = where.relative_to(root).as_posix() if where.is_relative_to(root) else script.name
    return shlex.join(["python", name, *sys.argv[1:]])


def _versions() -> dict[str, str]:
    from qts import __version__

    found = {"python": platform.python_version(), "qts": __version__}
    for package in _PACKAGES:
        found[package] = importlib.metadata.version(package)
    return found


def _short(value: float) -> float:
    """Four digits that count: more would be noise."""
    return float(f"{value:.4g}")
