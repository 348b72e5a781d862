"""What every run of a training says of the data that it saw and of the series that got a simpler model."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from qts.mlops.bundle import Bundle
from qts.pipeline.batches import Plan
from qts.pipeline.forecast_survey import Survey

#: How many instruments' reasons for a simpler model a run's parameters show; the accuracy table has them all.
_SHOWN = 20


def parameters(bundle: Bundle, plan: Plan, survey: Survey, section: str) -> dict[str, Any]:
    """What went into a version, as an MLflow run shows it.

    Args:
        section: the part of the configuration that the plan holds, such as forecast.
    """
    simpler = {name: p["fallback"] for name, p in sorted(bundle.parameters.items()) if p["fallback"]}
    return {
        "model": bundle.model,
        "interval": plan["interval"],
        "data_from": _iso(survey.first),
        "data_to": _iso(max(survey.last.values())),
        "rows": sum(survey.bars.values()),
        "instruments": len(bundle.parameters),
        **{f"version_of_{name}": version for name, version in plan["tables"].items()},
        **{f"{section}.{name}": value for name, value in plan["config"].items() if name != "models"},
        "fallbacks": len(simpler),
        "fallback_reasons": json.dumps(dict(list(simpler.items())[:_SHOWN])),
    }


def at_of(plan: Plan) -> int:
    """Time of a run's metrics, milliseconds since 1970-01-01 UTC."""
    return int(datetime.fromisoformat(plan["now"]).timestamp() * 1000)


def _iso(micros: int) -> str:
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)).isoformat()
