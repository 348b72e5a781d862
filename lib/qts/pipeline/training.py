"""What every run of a training says of the data that it saw and of the series that got a simpler model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from qts.mlops.bundle import Bundle
from qts.pipeline.batches import Plan
from qts.pipeline.forecast_survey import Survey

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
        "trained_to": _iso(max(p.get("trained_until", 0) for p in bundle.parameters.values()) // 1000),
        "rows": sum(survey.bars.values()),
        "instruments": len(bundle.parameters),
        **{f"version_of_{name}": version for name, version in plan["tables"].items()},
        **{f"{section}.{name}": value for name, value in plan["config"].items() if name != "models"},
        "fallbacks": len(simpler),
        "fallback_reasons": json.dumps(dict(list(simpler.items())[:_SHOWN])),
    }


def note(bundle: Bundle, metrics: Mapping[str, float], further: str) -> dict[str, str]:
    """What the page of a run in MLflow begins with: the figures' names, units and senses.

    Args:
        metrics: out of sample.
        further: what the metrics are called beyond those that all models have.
    """
    figures = "\n".join(f"| {name} | {value:.6g} |" for name, value in metrics.items())
    text = (
        f"**{bundle.model}** of {len(bundle.parameters)} instruments. All figures are out of sample: of bars behind "
        f"the training window.\n\n| metric | |\n|---|---|\n{figures}\n\n"
        "`n`: bars times instruments. `coverage_80`, `coverage_95`: share of outcomes inside the intervals, best at "
        f".80 and .95. {further} `bucket.K.*`: the same of the instruments in one Spark task. `accuracy.csv` has them "
        "by instrument, with the reason wherever a simpler model took over; `calibration.svg` shows them."
    )
    return {"mlflow.note.content": text}


def at_of(plan: Plan) -> int:
    """Time of a run's metrics, milliseconds since 1970-01-01 UTC."""
    return int(datetime.fromisoformat(plan["now"]).timestamp() * 1000)


def _iso(micros: int) -> str:
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)).isoformat()
