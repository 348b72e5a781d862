"""Versions of the regime models: one MLflow run and one registered version a fit, once a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qts.mlops.bundle import Bundle
from qts.mlops.registry import CHALLENGER, CHAMPION, Registry
from qts.pipeline import training
from qts.pipeline.batches import Plan
from qts.pipeline.forecast_survey import Survey
from qts.pipeline.regime_evidence import Row, accuracy, calibration_plot, metrics
from qts.regime.panel import UNFITTED
from qts.store.ledger import Ledger

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
        ledger: of the bars.
    """

    registry: Registry
    batch: int
    key: str
    ledger: Ledger

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
        figures, champion = metrics([score["new"] for score in scores]), plan["champion"]
        both = [(score["new"], score["old"]) for score in scores if score["old"] is not None]
        verdict = _compared(both, champion) if compare else training.Verdict.unopposed(bundle, rows, champion)
        shown = {"this version": figures}
        if compare:
            shown |= {f"version {champion}": metrics([old for _, old in both])}
        text = training.note(bundle, plan, survey, verdict, shown)
        tracking, tags = self.registry.tracking, training.tags(bundle, plan, survey, "regime", verdict)
        run_id = tracking.run(f"regime {MODEL}", self.key, tags, training.at_of(plan)).info.run_id
        tracking.read(run_id, training.sources(self.ledger, plan))
        unfitted = sum(p["method"] == UNFITTED for p in bundle.parameters.values())
        states = [len(p.get("mean", ())) for p in bundle.parameters.values()]
        tracking.log(
            run_id,
            params={**training.parameters(bundle, plan, survey, "regime"), "unfitted": unfitted},
            metrics={
                **figures,
                **training.by_bucket(rows, lambda own: metrics([score["new"] for score in own])),
                "trained_on_bars": sum(p["bars"] for p in bundle.parameters.values()),
                **{f"states.{k}": states.count(k) for k in sorted(set(states))},
            },
            tags=training.note_of_run(bundle, text, _SENSE),
            step=self.batch,
            at=training.at_of(plan),
        )
        table = accuracy(bundle, rows)
        tracking.attach(run_id, "accuracy.csv", table.to_csv(index=False).encode())
        tracking.attach(run_id, "calibration.svg", calibration_plot(table, rows, MODEL))
        tracking.finish(run_id)
        told = {"promoted": verdict.promoted, "instruments": len(scores), "metrics": figures}
        kept = {f"qts.{name}": json.dumps(value) for name, value in told.items()}
        kept["qts.provenance"] = tags["qts.provenance"]
        version = self.registry.register(bundle, run_id, self.key, kept, text)
        return Fitted(version, verdict.promoted, len(scores), figures)

    def name(self, fitted: Fitted) -> None:
        """Moves the aliases: a version that takes over is the champion, any other the challenger."""
        if fitted.promoted:
            self.registry.set_alias(MODEL, CHAMPION, fitted.version)
            self.registry.drop_alias(MODEL, CHALLENGER)
        else:
            self.registry.set_alias(MODEL, CHALLENGER, fitted.version)


def _compared(both: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], champion: str | None) -> training.Verdict:
    """Whether new parameters foretell no worse than the champion's, by the log density of the same bars."""
    ours, theirs = metrics([new for new, _ in both]), metrics([old for _, old in both])
    if not ours or not theirs:
        return training.Verdict(True, f"there are no bars that are new to version {champion}, too, to compare them on")
    promoted = ours["n"] * ours["log_density"] >= theirs["n"] * theirs["log_density"]
    told = f"its log density a bar of {ours['log_density']:.6g} is {'no worse' if promoted else 'worse'} than the "
    told += f"{theirs['log_density']:.6g} of version {champion}, on the same bars, of {len(both)} instruments"
    return training.Verdict(promoted, told)
