"""The files of `qts bandit ope` as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from qts.bandit.ope import NEEDS_REPLAY, Log, Target, time_blocks
from qts.bandit.registry import BUILTIN
from qts.commands.files import read_table, require_columns
from qts.errors import DataError

#: How far the probabilities of a position may add up to something else than 1: files have rounded figures.
_SLACK = 0.01
#: Columns by which QTS's own log of decisions is known; their rewards are net of turning positions over.
_DECISIONS = {"policy", "arm", "propensity", "target", "acting"}


@dataclass(frozen=True)
class Columns:
    """Names of the columns of the log."""

    action: str
    reward: str
    propensity: str
    position: str | None
    time: str | None


def refuse_learners(policy: Path) -> None:
    """Refuses what is no table of probabilities but a policy that learns or holds positions.

    Raises:
        DataError: the name of a built-in policy, or a configuration (yaml, json) of one.
    """
    if policy.name in BUILTIN or policy.suffix in {".yml", ".yaml", ".json"}:
        raise DataError(
            f"--policy {policy} names a policy that learns. {NEEDS_REPLAY}, or give a table of its probabilities "
            "(action, position, probability) if they are fixed."
        )


def load(logged: Path, policy: Path, columns: Columns) -> tuple[Log, Target]:
    """The log in time order, and the policy over the cells (action, position) that either of them names.

    Raises:
        MissingInput, DataError, UnknownColumn: a file that cannot be used.
    """
    rows = read_table(logged, "a log with one round a row")
    if set(rows.columns) >= _DECISIONS:
        raise DataError(
            f"{logged} is a log of trading decisions, whose rewards carry the cost of turnover. {NEEDS_REPLAY}."
        )
    wanted = [columns.action, columns.reward, columns.propensity]
    require_columns(rows, [*wanted, *(name for name in (columns.position, columns.time) if name)], logged)
    table = read_table(policy, "action, position, probability")
    with_position = columns.position is not None and "position" in table.columns
    keys = ["action", "position"] if with_position else ["action"]
    require_columns(table, [*keys, "probability"], policy)
    if columns.position is None and "position" in table.columns and table["position"].nunique() > 1:
        raise DataError(
            f"{policy} has probabilities by position; say with --position which column of {logged} that is."
        )

    rows, time = _in_time_order(rows, columns.time, logged)
    played = pd.DataFrame({"action": _keys(rows[columns.action])})
    played["position"] = _keys(rows[columns.position]) if with_position and columns.position else ""
    offered = pd.DataFrame({"action": _keys(table["action"])})
    offered["position"] = _keys(table["position"]) if with_position else ""
    offered["probability"] = _numbers(table["probability"], "probability", policy)
    _check(offered, policy)
    cells = pd.concat([offered, played.assign(probability=0.0)]).drop_duplicates(
        ["action", "position"], ignore_index=True
    )
    if with_position and (unknown := set(played["position"]) - set(offered["position"])):
        raise DataError(
            f"{logged} has position {min(unknown)!r}, for which {policy} has no probabilities; it has "
            f"{', '.join(sorted(set(offered['position']))[:10])}."
        )
    place = pd.MultiIndex.from_frame(cells[["action", "position"]])
    strata = pd.Index(cells["position"].unique())
    log = Log(
        cell=place.get_indexer(pd.MultiIndex.from_frame(played)).astype(np.int64),
        stratum=strata.get_indexer(played["position"]).astype(np.int64),
        reward=_numbers(rows[columns.reward], columns.reward, logged),
        propensity=_numbers(rows[columns.propensity], columns.propensity, logged),
        block=time_blocks(time, len(rows)),
    )
    return log, Target(
        cells["probability"].to_numpy(np.float64), strata.get_indexer(cells["position"]).astype(np.int64)
    )


def _in_time_order(
    rows: pd.DataFrame, column: str | None, source: Path
) -> tuple[pd.DataFrame, np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None]:
    if column is None:
        if "timestamp" not in rows.columns:
            return rows, None
        column = "timestamp"
    values = rows[column]
    if pd.api.types.is_numeric_dtype(values):
        time = values.to_numpy(np.float64)
        bad = ~np.isfinite(time)
        _, codes = np.unique(time, return_inverse=True)
    else:
        stamps = pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601")
        bad = stamps.isna().to_numpy()
        codes = stamps.astype("int64").to_numpy()
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{source} has the time {values.iloc[row]!r} in row {row + 1}; expected ISO 8601 or numbers.")
    order = np.argsort(codes, kind="stable")
    return rows.iloc[order], codes[order].astype(np.int64)


def _keys(values: pd.Series) -> pd.Series:
    """Actions or positions as text, so that 3, 3.0 and '3' of two files are the same."""
    if pd.api.types.is_float_dtype(values) and bool((values.dropna() % 1 == 0).all()):
        values = values.astype("Int64")
    return values.astype("string").fillna("").astype(object).reset_index(drop=True)


def _numbers(values: pd.Series, name: str, source: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    numbers = pd.to_numeric(values, errors="coerce")
    if (bad := numbers.isna()).any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{source} has {name} {values.iloc[row]!r} in row {row + 1}; expected numbers without gaps.")
    return np.asarray(numbers.to_numpy(np.float64))


def _check(offered: pd.DataFrame, source: Path) -> None:
    twice = offered[offered.duplicated(["action", "position"])]
    if len(twice):
        raise DataError(f"{source} names action {twice['action'].iloc[0]!r} twice for one position; once is expected.")
    if not offered["probability"].between(0, 1).all():
        raise DataError(f"{source} has probabilities outside of 0 to 1.")
    sums = offered.groupby("position")["probability"].sum()
    for position, total in sums.items():
        if abs(total - 1) > _SLACK:
            where = f" of position {position}" if position else ""
            raise DataError(f"The probabilities{where} in {source} add up to {total:.4g}; expected 1.")
