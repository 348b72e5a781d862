"""What is kept of a study: rows of the `experiments` table, and runs in MLflow."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qts.backtest.experiment import Experiment, Outcome
from qts.backtest.market import Market
from qts.backtest.significance import sharpe
from qts.backtest.study import Study, verdict
from qts.mlops.tracking import Tracking
from qts.store.ledger import Ledger

#: How many experiments the description of a study's run shows.
_SHOWN = 25
#: Parameters of a study's run, and the bars whose days they are.
_ENDS = {"data_from": 0, "data_to": -1}


@dataclass(frozen=True)
class Earlier:
    """Trials that were made on the same instruments before, each experiment counted once.

    Attributes:
        trials: how many.
        sharpes: of those that finished, per bar.
    """

    trials: int
    sharpes: tuple[float, ...]


def universe_of(market: Market) -> str:
    """Names a set of instruments; another stretch of their history is the same set."""
    return hashlib.blake2b(repr(market.panel.instruments).encode(), digest_size=8).hexdigest()


def earlier(ledger: Ledger, market: Market, now: set[str]) -> Earlier:
    """The trials before a study, without the experiments that it runs (again).

    Scenarios are no trials: nobody chooses a strategy by how it would have done in one.
    """
    where = (pc.field("universe") == universe_of(market)) & (pc.field("scenario") == "history")
    rows = ledger.read("experiments", columns=("experiment_id", "trials", "sharpe"), where=where).to_pylist()
    first = {row["experiment_id"]: row for row in rows if row["experiment_id"] not in now}
    sharpes = (row["sharpe"] for row in first.values())
    return Earlier(
        sum(row["trials"] for row in first.values()),
        tuple(value for value in sharpes if value is not None and math.isfinite(value)),
    )


def holds(ledger: Ledger, study_id: str) -> bool:
    """Whether the table has a study already: the same experiments on the same data are no new one."""
    return bool(ledger.read("experiments", columns=("study_id",), where=pc.field("study_id") == study_id).num_rows)


def keep(ledger: Ledger, study_id: str, parts: Sequence[tuple[Study, list[Experiment]]], market: Market) -> None:
    """Appends a row for each experiment of a study, those of its scenarios too, in one commit: all or none."""
    always = {
        "study_id": study_id,
        "at": datetime.now(UTC),
        "universe": universe_of(market),
        "data": market.fingerprint,
    }
    rows = [
        _row(outcome, experiment, study, place) | always
        for study, experiments in parts
        for place, (outcome, experiment) in enumerate(zip(study.outcomes, experiments, strict=True))
    ]
    ledger.append("experiments", pa.Table.from_pylist(rows))


def _row(outcome: Outcome, experiment: Experiment, study: Study, place: int) -> dict[str, Any]:
    evidence = study.evidence[place]
    times = study.times if len(study.times) else [0, 0]
    start, end = (datetime.fromtimestamp(int(time) / 1e9, UTC) for time in (times[0], times[-1]))
    return {
        "experiment_id": outcome.identity,
        "strategy": outcome.name,
        "kind": outcome.kind,
        "parameters": json.dumps(parameters(experiment)),
        "scenario": outcome.scenario,
        "start": start,
        "end": end,
        "bars": len(outcome.times),
        "trials": outcome.trials,
        "metrics": json.dumps(plain(evidence.metrics) if evidence else {}),
        "error": outcome.error,
        "sharpe": None if outcome.error else sharpe(outcome.returns),
        "t": evidence.t if evidence else None,
        "p": evidence.p if evidence else None,
        "deflated_sharpe": evidence.deflated_sharpe if evidence else None,
        "spa_p": study.contests["buy_and_hold"].spa_p,
    }


def parameters(experiment: Experiment) -> dict[str, str]:
    """What was run, as text."""
    shown = {name: repr(strategy) for name, strategy in experiment.strategies.items()}
    return shown if experiment.policy is None else {"policy": repr(experiment.policy), **shown}


def plain(values: Any) -> Any:
    """The same with null for numbers that are not finite, as JSON has none."""
    if isinstance(values, dict):
        return {key: plain(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [plain(value) for value in values]
    if isinstance(values, float) and not math.isfinite(values):
        return None
    return values


def track(
    tracking: Tracking, study_id: str, study: Study, experiments: list[Experiment], market: Market, report: bytes
) -> str:
    """One MLflow run for the study with its report, and a child for each experiment. Returns the run's id."""
    parent = tracking.run(f"backtest {study_id}", f"backtest/{study_id}", {"qts.job": "backtest"}).info.run_id
    at = int(datetime.now(UTC).timestamp() * 1000)
    contests = {f"spa_p_{name}": contest.spa_p for name, contest in study.contests.items()}
    tracking.log(
        parent,
        params={
            "instruments": len(market.panel.instruments),
            "bars": len(study.times),
            "data": market.fingerprint,
            "experiments": len(experiments),
            **{name: day(study.times[place]) for name, place in _ENDS.items() if len(study.times)},
        },
        metrics=_finite({"trials": float(study.trials), "pbo": study.pbo, **contests}),
        tags={"mlflow.note.content": _note(study)},
        at=at,
    )
    tracking.attach(parent, "report.html", report)
    for outcome, experiment, evidence in zip(study.outcomes, experiments, study.evidence, strict=True):
        tags = {"mlflow.parentRunId": parent, "qts.job": "backtest", "qts.kind": outcome.kind}
        tags |= {"qts.scenario": outcome.scenario}
        child = tracking.run(outcome.name, f"backtest/{study_id}/{outcome.identity}", tags).info.run_id
        figures = {}
        if evidence:
            figures = evidence.metrics | {
                name: getattr(evidence, name) for name in ("t", "p", "deflated_sharpe", "psr", "excess_t", "excess_p")
            }
        failed = {"qts.error": outcome.error} if outcome.error else {}
        told = {"mlflow.note.content": "\n\n".join(outcome.notes)} if outcome.notes else {}
        tracking.log(child, params=parameters(experiment), metrics=_finite(figures), tags=failed | told, at=at)
        tracking.finish(child, failed=bool(outcome.error))
    tracking.finish(parent)
    return str(parent)


def _note(study: Study) -> str:
    """What the page of a study's run begins with: the verdict, and the best beside buy-and-hold."""
    judged = [(outcome.name, found) for outcome, found in zip(study.outcomes, study.evidence, strict=True) if found]
    judged.sort(key=lambda each: -np.nan_to_num(each[1].metrics["sharpe"], nan=-math.inf))
    rows = [(name, found.metrics, f"{found.deflated_sharpe:.2f}") for name, found in judged[:_SHOWN]]
    rows.append(("*buy and hold*", study.benchmark_metrics, ""))
    table = "\n".join(
        f"| {name} | {figures['annual_return']:+.1%} | {figures['volatility']:.1%} | {figures['sharpe']:.2f} | "
        f"{figures['max_drawdown']:.1%} | {deflated} |"
        for name, figures, deflated in rows
    )
    more = f" The best {_SHOWN} of {len(judged)} are shown; each has a run of its own." if len(judged) > _SHOWN else ""
    return (
        f"{verdict(study)}\n\n| | a year | volatility | Sharpe | worst drawdown | deflated Sharpe |\n"
        f"|---|---|---|---|---|---|\n{table}\n\nAll net of costs.{more} Deflated Sharpe: probability that the true "
        "ratio is above what the best of all trials shows by luck. `spa_p_B`: p of Hansen's test that none is better "
        "than B. `pbo`: probability of backtest overfitting. Metrics of returns, volatility and drawdowns are "
        "fractions. `report.html` has the curves."
    )


def day(end: int) -> str:
    """The day of a bar, which is before its end: for a daily bar that is midnight."""
    return str(np.datetime64(int(end) - 1, "ns").astype("datetime64[D]"))


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in values.items() if math.isfinite(value)}
