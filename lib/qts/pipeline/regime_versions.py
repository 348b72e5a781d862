"""Versions of the regime models: one MLflow run and one registered version a fit, once a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from qts.mlops.bundle import Bundle
from qts.mlops.registry import CHALLENGER, CHAMPION, Registry
from qts.pipeline.batches import Plan
from qts.regime.panel import UNFITTED

MODEL = "hmm"
#: How many instruments' reasons for a simpler model a run shows; the version's file has them all.
_SHOWN = 20


@dataclass(frozen=True)
class Fitted:
    """A version that was made, whether it takes over, how many instruments were fitted, figures out of sample."""

    version: str
    promoted: bool
    instruments: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Versions:
    """The version of one batch.

    Attributes:
        registry: where it goes.
        batch: number of the batch.
        key: identity of the batch; the version is found again by it.
    """

    registry: Registry
    batch: int
    key: str

    def made(self) -> Fitted | None:
        """What this batch made before it was interrupted."""
        found = self.registry.find(MODEL, self.key)
        if found is None:
            return None
        version, tags = found
        return Fitted(version, *(json.loads(tags[f"qts.{name}"]) for name in ("promoted", "instruments", "metrics")))

    def make(self, bundle: Bundle, scores: Mapping[str, Mapping[str, Any]], plan: Plan, *, compare: bool) -> Fitted:
        """Logs a run and registers a version.

        Args:
            scores: of each instrument fitted now, see `qts.regime.panel.scores`: `new`, and `old` for the parameters
                that would be replaced (None where there are none, or where they had seen the bars).
            compare: whether the version has to foretell no worse than the one it replaces.
        """
        new = [score["new"] for score in scores.values()]
        metrics = _metrics(new)
        both = [(score["new"], score["old"]) for score in scores.values() if score["old"] is not None]
        promoted = not compare or sum(a["log_score"] for a, _ in both) >= sum(b["log_score"] for _, b in both)
        tracking = self.registry.tracking
        run_id = tracking.run(f"regime {MODEL}", self.key, {"qts.job": "regime"}).info.run_id
        tracking.log(
            run_id,
            params=_parameters(bundle, plan),
            metrics={**metrics, "trained_on_bars": sum(p["bars"] for p in bundle.parameters.values())},
            step=self.batch,
            at=int(datetime.fromisoformat(plan["now"]).timestamp() * 1000),
        )
        tracking.finish(run_id)
        tags = {"promoted": promoted, "instruments": len(scores), "metrics": metrics}
        kept = {f"qts.{name}": json.dumps(value) for name, value in tags.items()}
        return Fitted(self.registry.register(bundle, run_id, self.key, kept), promoted, len(scores), metrics)

    def name(self, fitted: Fitted) -> None:
        """Moves the aliases: a version that takes over is the champion, any other the challenger."""
        if fitted.promoted:
            self.registry.set_alias(MODEL, CHAMPION, fitted.version)
            self.registry.drop_alias(MODEL, CHALLENGER)
        else:
            self.registry.set_alias(MODEL, CHALLENGER, fitted.version)


def _metrics(scores: list[Mapping[str, float]]) -> dict[str, float]:
    """Figures out of sample: the log density of a bar, and what it gains on one normal distribution."""
    bars = sum(score["n"] for score in scores)
    if not bars:
        return {}
    log_score = sum(score["log_score"] for score in scores) / bars
    return {"n": bars, "log_score": log_score, "gain_over_normal": log_score - sum(s["normal"] for s in scores) / bars}


def _parameters(bundle: Bundle, plan: Plan) -> dict[str, Any]:
    """What went into a version, as an MLflow run shows it."""
    simpler = {name: p["fallback"] for name, p in sorted(bundle.parameters.items()) if p["fallback"]}
    return {
        "model": bundle.model,
        "interval": plan["interval"],
        "instruments": len(bundle.parameters),
        **{f"version_of_{name}": version for name, version in plan["tables"].items()},
        **{f"regime.{name}": value for name, value in plan["config"].items()},
        "unfitted": sum(p["method"] == UNFITTED for p in bundle.parameters.values()),
        "fallbacks": len(simpler),
        "fallback_reasons": json.dumps(dict(list(simpler.items())[:_SHOWN])),
    }
