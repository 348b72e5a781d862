"""The monitor job: scores every forecast once its bar is known, and keeps each model's error in MLflow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from qts.errors import ModelUnavailable
from qts.forecast.history import variance_floor
from qts.forecast.scores import loss_name
from qts.mlops.tracking import Tracking
from qts.pipeline import training
from qts.pipeline.alerts import REGISTRY_DOWN, Alert, Alerts, batches
from qts.pipeline.batches import BatchLog, NothingNewError, Plan, checkpoint_id, lock
from qts.pipeline.history import BAR_TABLES, bars_of, ended, pinned, read_done
from qts.pipeline.models import tracking_of
from qts.pipeline.session import spark_session
from qts.settings import Settings, duration
from qts.store.ledger import Ledger
from qts.store.tables import table

_KEY = list(table("forecast_scores").key)
#: What the page of a model's run in MLflow begins with.
_NOTE = (
    "Errors of all forecasts of **{model}** whose bar is known, whichever version made them; the table "
    "`forecast_scores` has them one by one. A step is a batch of `qts monitor`, so the charts show how the figures "
    "moved. Their names, units and senses are those of the runs `forecast {model}`, which tell of the same figures out "
    "of sample, before a version served."
)


def run(settings: Settings, *, once: bool = True) -> dict[str, Any]:
    """Scores of matured forecasts, and each model's figures over all that were ever scored.

    Args:
        once: one batch of what is there; else looks for more until it is stopped.

    Returns:
        scored (rows written now), models {name: {variance.qlike, variance.rmse, variance.coverage_80, ..., return.n}},
        provenance (labels of the bars that the forecasts were compared with), alerts, batch, health {job: batches}.
        While MLflow cannot be reached the scores are kept; as its figures are of all scores, it lacks no more than a
        point of each curve then.
    """
    checkpoint = settings.checkpoint("monitor")
    with lock(checkpoint):
        log = BatchLog(Ledger(settings.tables), "monitor", checkpoint_id(checkpoint))
        spark = spark_session(settings)
        tracking = tracking_of(settings)
        alerts = Alerts(log)
        return batches(
            lambda: _next_batch(settings, spark, log, tracking, alerts),
            alerts,
            once=once,
            trigger=settings.monitor.trigger,
        )


def _next_batch(
    settings: Settings, spark: SparkSession, log: BatchLog, tracking: Tracking, alerts: Alerts
) -> dict[str, Any]:
    ledger, number = log.ledger, log.last_done() + 1

    def make() -> Plan:
        tables = pinned(ledger, (*BAR_TABLES, "forecasts", "forecast_scores"))
        plan: Plan = {
            "tables": tables,
            "ended": [ended(ledger, tables, name) for name in ("bars", "forecasts")],
            "interval": settings.bars.decision,
        }
        if tables["forecasts"] < 0 or (number and _input(plan) == _input(log.stored_plan(number - 1))):
            raise NothingNewError
        return plan

    try:
        plan = log.plan(number, make)
    except NothingNewError:
        last = log.summaries()[-1] if number else {"batch": -1, "models": {}, "provenance": []}
        return {**last, "scored": 0, "health": _health(ledger)}
    summary = _Batch(number, plan, spark, log, tracking, alerts).work()
    return {**summary, "health": _health(ledger)}


def _input(plan: Plan) -> list[Any]:
    """What of a plan says whether anything is new."""
    return [*(plan["tables"][name] for name in ("bars", "bars_history", "forecasts")), plan["ended"], plan["interval"]]


@dataclass(frozen=True)
class _Batch:
    """One planned batch: a function of its plan and the tables at the plan's versions."""

    number: int
    plan: Plan
    spark: SparkSession
    log: BatchLog
    tracking: Tracking
    alerts: Alerts

    def work(self) -> dict[str, Any]:
        ledger, versions = self.log.ledger, self.plan["tables"]
        bars = bars_of(self.spark, ledger, versions, self.plan["interval"])
        if ledger.transaction("forecast_scores", self.log.checkpoint) < self.number:
            forecasts = read_done(self.spark, ledger, "forecasts", versions)
            before = read_done(self.spark, ledger, "forecast_scores", versions)
            actuals = outcomes(bars, duration(self.plan["interval"]))
            self._write(scores(forecasts, actuals).join(before.select(_KEY), _KEY, "left_anti"))
        mine = (F.col("checkpoint_id") == self.log.checkpoint) & (F.col("batch_id") == self.number)
        now = pinned(ledger, ("batches", "forecast_scores"))
        new = self.spark.read.format("delta").load(str(ledger.path("forecast_scores"))).where(mine)
        rows = read_done(self.spark, ledger, "forecast_scores", now).unionByName(new)
        models = figures(rows)
        provenance = _labels(bars)
        wrong = []
        try:
            for model, metrics in models.items():
                self._log(model, metrics, provenance)
        except ModelUnavailable as down:
            wrong.append(Alert(REGISTRY_DOWN, "warning", f"{down} Scores are kept, and logged by the next batch."))
        summary = {
            "batch": self.number,
            "scored": new.count(),
            "models": models,
            "provenance": provenance,
            "alerts": self.alerts.settle(self.number, datetime.fromisoformat(self.plan["now"]), wrong),
        }
        self.log.done(self.number, summary)
        return summary

    def _write(self, rows: DataFrame) -> None:
        self.log.ledger.create("forecast_scores")
        (
            rows.withColumns({"checkpoint_id": F.lit(self.log.checkpoint), "batch_id": F.lit(self.number).cast("long")})
            .write.format("delta")
            .mode("append")
            .option("txnAppId", self.log.checkpoint)
            .option("txnVersion", self.number)
            .save(str(self.log.ledger.path("forecast_scores")))
        )

    def _log(self, model: str, metrics: Mapping[str, float], provenance: list[str]) -> None:
        run_id = self.tracking.run(
            f"monitor {model}", f"monitor:{self.log.checkpoint}:{model}", {"qts.job": "monitor", "qts.model": model}
        ).info.run_id
        self.tracking.log(
            run_id,
            metrics=metrics,
            tags={"qts.provenance": ",".join(provenance), "mlflow.note.content": _NOTE.format(model=model)},
            step=self.number,
            at=training.at_of(self.plan),
        )
        # It goes on with the next batch, if there is one; no run of a job that ended, or was killed, seems to be alive.
        self.tracking.finish(run_id)


def outcomes(bars: DataFrame, interval: int) -> DataFrame:
    """What came after each bar: (instrument, target, made_at, target_time, actual).

    The next bar of the instrument itself, so a forecast made on a Friday is compared with Monday's bar. The same
    figures as `History.pack` makes: the log return from close to close; the realised variance where it is finite and
    positive, else the squared return, at least the floor.
    """
    usable = bars.where((F.col("close") > 0) & (F.col("close") < math.inf))
    own = Window.partitionBy("instrument").orderBy("bar_time")
    change = F.log("close") - F.log(F.lag("close").over(own))
    rv = F.col("realised_variance")
    proxy = F.when((rv > 0) & (rv < math.inf), rv).otherwise(F.col("return") * F.col("return"))
    return (
        usable.select(
            "instrument",
            F.lag("bar_time").over(own).alias("made_at"),
            F.col("bar_time").alias("target_time"),
            change.alias("return"),
            "realised_variance",
        )
        .withColumn("variance", F.greatest(proxy, F.lit(variance_floor(interval))))
        .where("made_at IS NOT NULL")
        .unpivot(["instrument", "made_at", "target_time"], ["return", "variance"], "target", "actual")
    )


def scores(forecasts: DataFrame, actuals: DataFrame) -> DataFrame:
    """Rows of `forecast_scores`: the forecasts whose bar is known.

    `loss` is QLIKE for the target `variance` and the negative log density of a normal forecast for `return`
    (`qts.forecast.scores` has the formulas).
    """
    y, mean, sd = F.col("actual"), F.col("mean"), F.col("sd")
    qlike = y / mean - F.log(y / mean) - 1
    log_score = 0.5 * F.log(2 * math.pi * sd * sd) + 0.5 * F.pow((y - mean) / sd, 2)
    return (
        forecasts.drop("target_time")
        .join(actuals, ["instrument", "target", "made_at"])
        .select(
            "instrument",
            "target",
            "made_at",
            "target_time",
            "model",
            "version",
            "actual",
            (y - mean).alias("error"),
            F.when(F.col("target") == "variance", qlike).otherwise(log_score).alias("loss"),
            y.between(F.col("lower_80"), F.col("upper_80")).alias("inside_80"),
            y.between(F.col("lower_95"), F.col("upper_95")).alias("inside_95"),
        )
    )


def figures(rows: DataFrame) -> dict[str, dict[str, float]]:
    """Each model's figures over all its scores, named as `Score.metrics` names them."""
    found: dict[str, dict[str, float]] = {}
    means = (
        F.count("*").alias("n"),
        F.sqrt(F.avg(F.col("error") * F.col("error"))).alias("rmse"),
        F.avg("loss").alias("loss"),
        F.avg(F.col("inside_80").cast("double")).alias("coverage_80"),
        F.avg(F.col("inside_95").cast("double")).alias("coverage_95"),
    )
    by_target = rows.groupBy("model", "target").agg(*means).toArrow().to_pylist()
    for row in sorted(by_target, key=lambda row: (row["model"], row["target"])):
        model, target, loss = row.pop("model"), row.pop("target"), row.pop("loss")
        named = {f"{target}.{name}": float(value) for name, value in row.items()}
        found.setdefault(model, {}).update(named | {f"{target}.{loss_name(target)}": float(loss)})
    return found


def _labels(bars: DataFrame) -> list[str]:
    labels = bars.select("provenance").distinct().toArrow()["provenance"].to_pylist()
    return sorted(label for label in labels if label is not None)


def _health(ledger: Ledger) -> dict[str, int]:
    """Streaming batches noted so far, by job."""
    jobs = ledger.read("pipeline_health", columns=("job",))["job"]
    return {found["values"]: found["counts"] for found in pc.value_counts(jobs.combine_chunks()).to_pylist()}
