"""Versions of the regime models: one MLflow run and one registered version a fit, once a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qts.mlops.bundle import Bundle
from qts.mlops.registry import CHALLENGER, CHAMPION, Registry
from qts.pipeline import training
from qts.pipeline.batches import Plan
from qts.pipeline.forecast_survey import Survey
from qts.pipeline.regime_evidence import Row, accuracy, by_bucket, calibration_plot, metrics
from qts.regime.panel import UNFITTED

MODEL = "hmm"
_SENSE = (
    "`log_density`: mean log density of a bar's log return, the higher the better. `gain_over_normal`: by how much it "
    "exceeds that of one normal distribution with the moments of the training window. `states.K`: instruments that "
    "have K states."
)


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

    def make(self, bundle: Bundle, rows: Sequence[Row], plan: Plan, survey: Survey, *, compare: bool) -> Fitted:
        """Logs a run and registers a version.

        Args:
            rows: for each instrument fitted now its name, bucket and `scores` (`qts.regime.panel.scores`): `new`, and
                `old` for the parameters that would be replaced (None where there are none, or where they had seen the
                bars).
            compare: whether the version has to foretell no worse than the one it replaces.
        """
        scores = [row["scores"] for row in rows]
        figures = metrics([score["new"] for score in scores])
        both = [(score["new"], score["old"]) for score in scores if score["old"] is not None]
        promoted = not compare or sum(a["log_score"] for a, _ in both) >= sum(b["log_score"] for _, b in both)
        provenance = ",".join(survey.provenance)
        tracking, tags = self.registry.tracking, {"qts.job": "regime", "qts.provenance": provenance}
        run_id = tracking.run(f"regime {MODEL}", self.key, tags).info.run_id
        unfitted = sum(p["method"] == UNFITTED for p in bundle.parameters.values())
        states = [len(p.get("mean", ())) for p in bundle.parameters.values()]
        tracking.log(
            run_id,
            params={**training.parameters(bundle, plan, survey, "regime"), "unfitted": unfitted},
            metrics={
                **figures,
                **by_bucket(rows),
                "trained_on_bars": sum(p["bars"] for p in bundle.parameters.values()),
                **{f"states.{k}": states.count(k) for k in sorted(set(states))},
            },
            tags=training.note(bundle, figures, _SENSE),
            step=self.batch,
            at=training.at_of(plan),
        )
        table = accuracy(bundle, rows)
        tracking.attach(run_id, "accuracy.csv", table.to_csv(index=False).encode())
        tracking.attach(run_id, "calibration.svg", calibration_plot(table, rows, MODEL))
        tracking.finish(run_id)
        told = {"promoted": promoted, "instruments": len(scores), "metrics": figures}
        kept = {f"qts.{name}": json.dumps(value) for name, value in told.items()} | {"qts.provenance": provenance}
        return Fitted(self.registry.register(bundle, run_id, self.key, kept), promoted, len(scores), figures)

    def name(self, fitted: Fitted) -> None:
        """Moves the aliases: a version that takes over is the champion, any other the challenger."""
        if fitted.promoted:
            self.registry.set_alias(MODEL, CHAMPION, fitted.version)
            self.registry.drop_alias(MODEL, CHALLENGER)
        else:
            self.registry.set_alias(MODEL, CHALLENGER, fitted.version)
