"""Model versions that a forecast batch makes: one MLflow run and one registered version a model, once a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qts.forecast.scores import Score, loss_name
from qts.mlops.bundle import Bundle
from qts.mlops.registry import CHALLENGER, CHAMPION, Registry
from qts.pipeline import training
from qts.pipeline.batches import Plan
from qts.pipeline.forecast_buckets import BASELINES
from qts.pipeline.forecast_evidence import Row, accuracy, calibration_plot
from qts.pipeline.forecast_survey import Survey
from qts.store.ledger import Ledger

_SENSE = (
    "`return`: the next bar's log return, close to close; `variance`: its variance, the realised one where bars have "
    "it, else the squared return. `rmse`: in the target's units. `qlike` (of the variance) and `log_score` (negative "
    "log density of the return): the lower the better. `versus_B.*`: what the baseline B reached on the same bars. "
    "`method.M`: instruments that got the model M in the end."
)


@dataclass(frozen=True)
class Fitted:
    """A version that was made, whether it takes over, and its figures out of sample."""

    version: str
    promoted: bool
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Versions:
    """Versions of one batch.

    Attributes:
        registry: where they go.
        batch: number of the batch.
        key: identity of the batch; a version is found again by it.
        ledger: of the bars.
    """

    registry: Registry
    batch: int
    key: str
    ledger: Ledger

    def made(self, model: str) -> Fitted | None:
        """What this batch made before it was interrupted."""
        found = self.registry.find(model, self._key(model))
        if found is None:
            return None
        version, tags = found
        return Fitted(version, json.loads(tags["qts.promoted"]), json.loads(tags["qts.metrics"]))

    def make(self, bundle: Bundle, rows: Sequence[Row], compare: bool, plan: Plan, survey: Survey) -> Fitted:
        """Logs a run and registers a version.

        Args:
            rows: for each instrument fitted now its name, bucket and `scores`: the sums of `Score` by target, `new`,
                and `old` for the parameters that would be replaced (None where there are none).
            compare: whether the version has to be as good as the one it replaces.
        """
        model, champion = bundle.model, plan["champions"].get(bundle.model)
        scores = [row["scores"] for row in rows]
        metrics = _figures(scores, "new")
        verdict = _compared(scores, champion) if compare else training.Verdict.unopposed(bundle, rows, champion)
        beside = {name: found for name in BASELINES if (found := _figures(scores, name))}
        both = [score for score in scores if score["old"] is not None]
        shown = {"this version": metrics}
        if compare:
            shown |= {f"version {champion}": _figures(both, "old")}
        text = training.note(bundle, plan, survey, verdict, shown | beside)
        tracking, tags = self.registry.tracking, training.tags(bundle, plan, survey, "forecast", verdict)
        run_id = tracking.run(f"forecast {model}", self._key(model), tags, training.at_of(plan)).info.run_id
        tracking.read(run_id, training.sources(self.ledger, plan))
        tracking.log(
            run_id,
            params=training.parameters(bundle, plan, survey, "forecast"),
            metrics={
                **metrics,
                **{f"versus_{other}.{name}": value for other, found in beside.items() for name, value in found.items()},
                **training.by_bucket(rows, lambda own: _figures(own, "new")),
                "trained_on_bars": sum(p["bars"] for p in bundle.parameters.values()),
                **{f"method.{name}": count for name, count in bundle.methods().items()},
            },
            tags=training.note_of_run(bundle, text, _SENSE),
            step=self.batch,
            at=training.at_of(plan),
        )
        table = accuracy(bundle, rows)
        tracking.attach(run_id, "accuracy.csv", table.to_csv(index=False).encode())
        tracking.attach(run_id, "calibration.svg", calibration_plot(table, model))
        # The run ends before there is a version: a replay that finds the version does not look at its run any more.
        tracking.finish(run_id)
        kept = {name: tags[name] for name in ("qts.promoted", "qts.provenance")} | {"qts.metrics": json.dumps(metrics)}
        version = self.registry.register(bundle, run_id, self._key(model), kept, text)
        return Fitted(version, verdict.promoted, metrics)

    def name(self, model: str, fitted: Fitted) -> None:
        """Moves the aliases: a version that takes over is the champion, any other the challenger."""
        if fitted.promoted:
            self.registry.set_alias(model, CHAMPION, fitted.version)
            self.registry.drop_alias(model, CHALLENGER)
        else:
            self.registry.set_alias(model, CHALLENGER, fitted.version)

    def _key(self, model: str) -> str:
        return f"{self.key}:{model}"


def _compared(scores: Sequence[Mapping[str, Any]], champion: str | None) -> training.Verdict:
    """Whether new parameters forecast no worse than those they would replace, on the same bars.

    Judged by QLIKE of the variance where the model forecasts it, else by the log score of the return.

    Neither was fitted to those bars, for the training window only grows.
    """
    both = [score for score in scores if score["old"] is not None]
    target = "variance" if any("variance" in score["new"] for score in both) else "return"
    new, old = _total(both, "new", target), _total(both, "old", target)
    if not new.n or not old.n:
        return training.Verdict(True, f"there are no forecasts of it and of version {champion} to compare")
    ours, theirs = new.loss / new.n, old.loss / old.n
    told = f"its {target}.{loss_name(target)} of {ours:.6g} is {{}} than the {theirs:.6g} of version {champion}"
    told += f", on the same bars, of {len(both)} instruments"
    return training.Verdict(ours <= theirs, told.format("no worse" if ours <= theirs else "worse"))


def _figures(scores: Sequence[Mapping[str, Any]], which: str) -> dict[str, float]:
    """Means over all instruments, of all targets; none of a baseline that the model is itself."""
    if not scores or which not in scores[0]:
        return {}
    targets = scores[0]["new"]
    return {name: v for target in targets for name, v in _total(scores, which, target).metrics(target).items()}


def _total(scores: Sequence[Mapping[str, Any]], which: str, target: str) -> Score:
    return sum((Score(*score[which][target]) for score in scores), Score())
