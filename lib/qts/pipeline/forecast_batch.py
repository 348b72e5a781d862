"""One batch of the forecast job: fits what is due, forecasts after every new bar, and says what it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from qts.errors import ModelUnavailable
from qts.forecast.base import Params
from qts.mlops.bundle import Bundle
from qts.mlops.registry import Registry, Served
from qts.pipeline.alerts import Alerts, about_models
from qts.pipeline.batches import BatchLog, Plan
from qts.pipeline.forecast_buckets import FORECASTS, SCORED, ScoreBucket
from qts.pipeline.forecast_fits import Fits, bucketed
from qts.pipeline.forecast_online import Online, Position, tried_part
from qts.pipeline.forecast_survey import Survey
from qts.pipeline.forecast_versions import Fitted, Versions
from qts.pipeline.history import bars_of
from qts.settings import duration

_MICRO = 1000  # nanoseconds
#: Bars times models whose forecasts this process collects and writes; of more of them Spark's tasks write their own.
_COLLECTED = 250_000


@dataclass(frozen=True)
class Start:
    """What a batch starts from.

    Attributes:
        survey: of all bars that the plan sees.
        position: after the batch before; None where none was kept.
        new: the bars since; None where the history has to be read.
        tried: bars of each instrument when a model was last fitted to all of them in vain: it did not take over.
    """

    survey: Survey
    position: Position | None
    new: pa.Table | None
    tried: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Models:
    """What a batch forecasts with: versions by model, their bundles, and those of them that it fitted itself."""

    versions: Mapping[str, str]
    bundles: Mapping[str, Bundle]
    fitted: Mapping[str, Fitted]


def models_of(served: Served) -> Plan:
    """What a plan says of the models that are served."""
    return {"champions": dict(served.versions), "registry_down": served.down, "refused": dict(served.refused)}


@dataclass(frozen=True)
class Batch:
    """One planned batch: a function of its plan, the tables at the plan's versions, and the state after the one before.

    Attributes:
        spark: makes the session; a batch of new bars alone needs none.
    """

    number: int
    plan: Plan
    spark: Callable[[], SparkSession]
    log: BatchLog
    registry: Registry
    alerts: Alerts
    start: Start

    @property
    def interval(self) -> int:
        return duration(self.plan["interval"])

    def work(self) -> tuple[dict[str, Any], Position | None]:
        """The batch's summary and the position after it (None in the train job); all but its done row is written."""
        try:
            champions = self._champions()
        except ModelUnavailable as error:
            return self._amended(error, self.registry.serve(list(self.plan["champions"]))).work()
        try:
            models = self._models(champions)
        except ModelUnavailable as error:
            served = replace(self.registry.serve(list(self.plan["champions"])), down=str(error))
            return self._amended(error, served).work()
        tried = self._tried(models.fitted)
        written: Mapping[str, int] = {}
        position: Position | None = None
        if self.log.job == "train":
            self.log.save_state(self.number, tried_part(tried))
        else:
            online, written, stepped = self._forecast(models.bundles, models.versions)
            position = self._position(online, models.bundles)
            position = position.save(self.log, self.number, self.start.new if stepped else None, tried)
        for model, new in models.fitted.items():
            self._made.name(model, new)
        return self._summary(models, written), position

    def _champions(self) -> dict[str, Bundle]:
        """The plan's champions, but for those of other bars, from before `bars.decision` was changed."""
        versions = self.plan["champions"]
        loaded = {model: self.registry.load(model, version) for model, version in versions.items() if version}
        return {model: bundle for model, bundle in loaded.items() if bundle.interval == self.interval}

    def _models(self, champions: Mapping[str, Bundle]) -> Models:
        """Fits what is due. What has to be fitted has to be registered: while that cannot be, the champions go on."""
        fits = Fits(self.plan, self._made)
        due = {} if self.plan["registry_down"] else fits.due(champions, self.start.survey, self.start.tried)
        fitted = fits.make(self.spark(), self._bars(), self.start.survey, champions, due) if due else {}
        used = {model: self.plan["champions"][model] for model in self.plan["champions"] if model in champions}
        used |= {model: new.version for model, new in fitted.items() if new.promoted}
        return Models(used, {model: self.registry.load(model, version) for model, version in used.items()}, fitted)

    def _amended(self, error: ModelUnavailable, served: Served) -> Batch:
        """The batch by another plan, for a version that it names is gone, or the registry went down since.

        Raises:
            ModelUnavailable: there is nothing to go on with, or the plan was amended before, or the batch had begun to
                write by it. Then it has to wait for the registry.
        """
        nothing = bool(served.down) and (self.log.job == "train" or not any(served.versions.values()))
        if nothing or self.plan.get("amended") or self.log.wrote(self.number, "forecasts"):
            raise error
        plan = {**self.plan, **models_of(served), "amended": True}
        return replace(self, plan=self.log.amend(self.number, plan))

    @property
    def _made(self) -> Versions:
        return Versions(self.registry, self.number, f"{self.log.checkpoint}:{self.number}", self.log.ledger)

    def _tried(self, fitted: Mapping[str, Fitted]) -> Mapping[str, Mapping[str, int]]:
        """`Start.tried` after this batch."""
        kept = {model: bars for model, bars in self.start.tried.items() if model not in fitted}
        return kept | {model: self.start.survey.bars for model, new in fitted.items() if not new.promoted}

    def _forecast(
        self, bundles: Mapping[str, Bundle], used: Mapping[str, str]
    ) -> tuple[Online | None, Mapping[str, int], bool]:
        """Writes the forecasts. The states after them, rows by model, and whether the states stepped there."""
        before, new = self.start.position, self.start.new
        if before is not None and before.online is not None and new is not None and before.online.versions == used:
            online, rows = before.online.advance(bundles, before.survey, new, self.interval)
            return online, self._append(rows), True
        if self._expected(bundles) > _COLLECTED:
            return None, self._written_by_spark(bundles, used), False
        scored = self._scored(bundles, ScoreBucket(self.interval, used, states=True), SCORED).toArrow()
        kept = scored.filter(scored["state"].is_valid()).select(["model", "state"]).to_pylist()
        rows = scored.filter(scored["state"].is_null()).drop_columns(["state"])
        return Online.of(used, ((row["model"], row["state"]) for row in kept)), self._append(rows), False

    def _append(self, rows: pa.Table) -> Mapping[str, int]:
        self.log.append("forecasts", self.number, rows)
        return Counter(rows["model"].to_pylist()) if rows.num_rows else {}

    def _written_by_spark(self, bundles: Mapping[str, Bundle], used: Mapping[str, str]) -> Mapping[str, int]:
        ledger, mine = self.log.ledger, self.log.checkpoint
        ledger.create("forecasts")
        if ledger.transaction("forecasts", mine) < self.number:
            (
                self._scored(bundles, ScoreBucket(self.interval, used), FORECASTS)
                .withColumns({name: F.timestamp_micros(name) for name in ("made_at", "target_time")})
                .withColumns({"checkpoint_id": F.lit(mine), "batch_id": F.lit(self.number).cast("long")})
                .write.format("delta")
                .mode("append")
                .option("txnAppId", mine)
                .option("txnVersion", self.number)
                .save(str(ledger.path("forecasts")))
            )
        here = (pc.field("checkpoint_id") == mine) & (pc.field("batch_id") == self.number)
        rows = ledger.read("forecasts", columns=("model",), where=here, done_only=False)
        return {found["values"]: found["counts"] for found in rows["model"].value_counts().to_pylist()}

    def _scored(self, bundles: Mapping[str, Bundle], task: ScoreBucket, schema: str) -> DataFrame:
        """Forecasts after every bar that no batch before has forecast after, from the whole history."""
        parameters = {
            model: {name: {**p, "after": self._after(model, name, p)} for name, p in bundle.parameters.items()}
            for model, bundle in bundles.items()
        }
        buckets = int(self.plan["config"]["buckets"])
        return bucketed(self.spark(), self._bars(), parameters, buckets).mapInArrow(task, schema)

    def _bars(self) -> DataFrame:
        return bars_of(self.spark(), self.log.ledger, self.plan["tables"], self.plan["interval"])

    @property
    def _marks(self) -> Mapping[str, Mapping[str, int]]:
        return self.start.position.marks if self.start.position is not None else {}

    def _after(self, model: str, name: str, params: Params) -> int:
        return max(int(params["trained_until"]), self._marks.get(model, {}).get(name, 0) * _MICRO)

    def _expected(self, bundles: Mapping[str, Bundle]) -> int:
        """Bars times models that have not been forecast after, at most."""
        before = self.start.position.survey.bars if self.start.position is not None else {}
        found = 0
        for model, bundle in bundles.items():
            marked = self._marks.get(model, {})
            for name, params in bundle.parameters.items():
                seen = before.get(name, 0) if name in marked else params["bars"]
                found += max(self.start.survey.bars.get(name, 0) - seen, 0)
        return found

    def _position(self, online: Online | None, bundles: Mapping[str, Bundle]) -> Position:
        last = self.start.survey.last
        marks = dict(self._marks)
        for model, bundle in bundles.items():
            seen = {name: last[name] for name in bundle.parameters if name in last}
            marks[model] = {**marks.get(model, {}), **seen}
        snapshot = self.number if self.start.position is None else self.start.position.snapshot
        return Position(self.start.survey, marks, online, snapshot)

    def _summary(self, models: Models, written: Mapping[str, int]) -> dict[str, Any]:
        served = Served(self.plan["champions"], self.plan["registry_down"], self.plan["refused"])
        # Training mends a file that was refused; to forecast by the last good version does not.
        wrong = [] if self.log.job == "train" else about_models(served, "Forecasts are by the last champions.")
        survey = self.start.survey
        return {
            "batch": self.number,
            "forecasts": sum(written.values()),
            "instruments": len(survey.bars),
            "bars": sum(survey.bars.values()),
            "provenance": list(survey.provenance),
            "mlflow_runs": len(models.fitted),
            "alerts": self.alerts.settle(self.number, datetime.fromisoformat(self.plan["now"]), wrong),
            "models": {
                model: {
                    "version": models.versions[model],
                    "fitted": model in models.fitted,
                    "forecasts": written.get(model, 0),
                    "methods": bundle.methods(),
                    "out_of_sample": dict(models.fitted[model].metrics) if model in models.fitted else {},
                }
                for model, bundle in models.bundles.items()
            },
        }
