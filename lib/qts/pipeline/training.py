"""What every version and its run say of the data that they saw, of their figures, and why they serve or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from qts.mlops.bundle import Bundle
from qts.pipeline.batches import Plan
from qts.pipeline.forecast_survey import Survey
from qts.store.ledger import Ledger

#: How many instruments' reasons for a simpler model a run's parameters show; the accuracy table has them all.
_SHOWN = 20


def parameters(bundle: Bundle, plan: Plan, survey: Survey, section: str) -> dict[str, Any]:
    """What went into a version, as an MLflow run shows it.

    Bars up to `trained_to`, of the series that has the latest, were fitted to; metrics are of those after.

    Args:
        section: the part of the configuration that the plan holds, such as forecast.
    """
    simpler = {name: p["fallback"] for name, p in sorted(bundle.parameters.items()) if p["fallback"]}
    return {
        "model": bundle.model,
        "interval": plan["interval"],
        "data_from": _iso(survey.first),
        "data_to": _iso(max(survey.last.values())),
        "trained_to": _iso(_trained_to(bundle)),
        "rows": sum(survey.bars.values()),
        "instruments": len(bundle.parameters),
        **{f"version_of_{name}": "none" if version < 0 else version for name, version in plan["tables"].items()},
        **{f"{section}.{name}": value for name, value in plan["config"].items() if name != "models"},
        "fallbacks": len(simpler),
        "fallback_reasons": json.dumps(dict(list(simpler.items())[:_SHOWN])),
    }


@dataclass(frozen=True)
class Verdict:
    """Whether a version takes over, and why, as the end of a sentence."""

    promoted: bool
    reason: str

    @classmethod
    def unopposed(cls, bundle: Bundle, rows: Sequence[Any], champion: str | None) -> Verdict:
        """Of a version that is compared with none.

        Args:
            rows: of the instruments that were fitted now; all others have the champion's parameters.
        """
        if champion is not None and len(rows) < len(bundle.parameters):
            more = f"{len(rows)} more instrument{'s' * (len(rows) != 1)}"
            return cls(True, f"it is version {champion} with {more}; all others are as they were")
        return cls(True, "there was no champion before it")

    def __str__(self) -> str:
        took = "Became the champion" if self.promoted else "Did not become the champion, is the challenger"
        return f"**{took}**: {self.reason}."


def note(
    bundle: Bundle, plan: Plan, survey: Survey, verdict: Verdict, figures: Mapping[str, Mapping[str, float]]
) -> str:
    """What the page of a version begins with, and that of its run: why it serves or not, its data and figures.

    Args:
        figures: out of sample, by name, of what the column's head says; the first are the version's own.
    """
    columns = list(figures)
    names = list(dict.fromkeys(name for column in figures.values() for name in column))
    cells = {name: [_cell(figures[column].get(name)) for column in columns] for name in names}
    rows = "\n".join(f"| {name} | {' | '.join(cells[name])} |" for name in names)
    read = ", ".join(f"{name} at version {version}" for name, version in read_by(plan).items())
    simpler = sum(bool(p["fallback"]) for p in bundle.parameters.values())
    return (
        f"{verdict}\n\nFitted to {plan['interval']} bars of {len(bundle.parameters)} instruments up to "
        f"{_short(_trained_to(bundle))}, judged on those after it, up to {_short(max(survey.last.values()))}. There "
        f"are {sum(survey.bars.values()):,} bars from {_short(survey.first)} on, {_of(survey)}; read from {read}. "
        f"{simpler or 'No'} instruments got a simpler model.\n\n"
        f"| out of sample | {' | '.join(columns)} |\n|{'---|' * (1 + len(columns))}\n{rows}"
    )


def note_of_run(bundle: Bundle, text: str, further: str) -> dict[str, str]:
    """The note of a version as its run shows it, with the names, units and senses of all metrics.

    Args:
        further: what the metrics are called beyond those that all models have.
    """
    told = (
        f"**{bundle.model}**. {text}\n\n`n`: bars times instruments. `coverage_80`, `coverage_95`: share of outcomes "
        f"inside the intervals, best at .80 and .95. {further} `within_bucket.K.*`: the same of the instruments in one "
        "Spark task. `accuracy.csv` has them by instrument, with the reason wherever a simpler model took over; "
        "`calibration.svg` shows them. The run's duration is that of its batch until it was registered."
    )
    return {"mlflow.note.content": told}


def tags(bundle: Bundle, plan: Plan, survey: Survey, job: str, verdict: Verdict) -> dict[str, str]:
    """What runs can be filtered by."""
    return {
        "qts.job": job,
        "qts.model": bundle.model,
        "qts.interval": plan["interval"],
        "qts.promoted": json.dumps(verdict.promoted),
        "qts.provenance": ",".join(survey.provenance),
        "qts.code": plan["code"],
    }


def by_bucket(
    rows: Sequence[Mapping[str, Any]], figures: Callable[[list[Mapping[str, Any]]], Mapping[str, float]]
) -> dict[str, float]:
    """Metrics of each bucket by name, `within_bucket.003.variance.rmse`.

    MLflow draws charts in the order of the alphabet: those of all instruments come first.

    Args:
        rows: fitted instruments with their `bucket` and `scores`.
        figures: of the scores of some instruments.
    """
    found: dict[str, float] = {}
    for bucket in sorted({row["bucket"] for row in rows}):
        own = figures([row["scores"] for row in rows if row["bucket"] == bucket])
        found |= {f"within_bucket.{bucket:03d}.{name}": value for name, value in own.items()}
    return found


def read_by(plan: Plan) -> dict[str, int]:
    """The versions of the tables of bars that a batch reads; without those that were not there."""
    return {name: version for name, version in plan["tables"].items() if version >= 0 and name != "batches"}


def sources(ledger: Ledger, plan: Plan) -> dict[str, tuple[str, int]]:
    """The same with the place of each table."""
    return {name: (str(ledger.path(name)), version) for name, version in read_by(plan).items()}


def at_of(plan: Plan) -> int:
    """Time of a run's metrics, milliseconds since 1970-01-01 UTC."""
    return int(datetime.fromisoformat(plan["now"]).timestamp() * 1000)


def _iso(micros: int) -> str:
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)).isoformat()


def _trained_to(bundle: Bundle) -> int:
    """Microseconds since 1970-01-01 UTC, of the series that has the latest."""
    return int(max(p.get("trained_until", 0) for p in bundle.parameters.values()) // 1000)


def _short(micros: int) -> str:
    return _iso(micros)[:16].replace("T", " ").removesuffix(" 00:00")


def _of(survey: Survey) -> str:
    """What the bars are, by their labels."""
    return " and ".join(label.replace("_", " ") for label in survey.provenance) or "unlabelled"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.5g}"
