"""The forecast job: fits the forecasters by bucket, registers their versions, and forecasts after every later bar.

A batch is planned like those of the streams: its plan names the versions of the tables and models that it reads, so a
restart repeats the same work, finds the model versions that it had registered, and skips the write that it had done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from qts import __version__
from qts.errors import MissingInput, ModelUnavailable
from qts.forecast.base import Params
from qts.forecast.history import FURTHER
from qts.forecast.registry import build
from qts.logs import logger
from qts.mlops.bundle import Bundle
from qts.mlops.cache import ChampionCache
from qts.mlops.registry import Registry
from qts.mlops.tracking import Tracking
from qts.pipeline.batches import BatchLog, Plan, checkpoint_id, lock
from qts.pipeline.forecast_buckets import FITTED, FORECASTS, INPUT, FitBucket, Mode, ScoreBucket
from qts.pipeline.forecast_versions import Fitted, Survey, Versions
from qts.pipeline.history import bars_of, ended, pinned
from qts.pipeline.session import spark_session
from qts.settings import Forecast, Settings, duration
from qts.store.ledger import Ledger

_MICRO = 1000  # nanoseconds


def run(settings: Settings, *, once: bool = True, train: bool = False) -> dict[str, Any]:
    """Forecasts of the next bar of every instrument, by every configured model.

    Args:
        once: one batch of what is there; else looks for new bars until it is stopped.
        train: fits and registers only, on a checkpoint of its own; with `once` every model, else those that are due.

    Returns:
        forecasts (rows written now), models (version, whether it was fitted now, methods, figures out of sample),
        instruments, bars, provenance, mlflow_runs, batch.

    Raises:
        MissingInput: there are no bars of the decision interval.
        ModelUnavailable: MLflow cannot be reached.
        ConfigError: a model's name is unknown.
    """
    build(settings.forecast.models)  # refuses an unknown name before anything starts
    job = "train" if train else "forecast"
    checkpoint = settings.checkpoint(job)
    with lock(checkpoint):
        ledger = Ledger(settings.tables)
        log = BatchLog(ledger, job, checkpoint_id(checkpoint))
        spark = spark_session(settings)
        tracking = Tracking(settings.tracking_uri, settings.mlflow.experiment, settings.workdir / "mlartifacts")
        registry = Registry(tracking, cache=ChampionCache(settings.workdir / "champions"))
        while True:
            summary = _next_batch(settings, spark, log, registry, fit_all=train and once)
            if once:
                return summary
            time.sleep(settings.monitor.trigger / 1e9)


class _NothingNewError(Exception):
    """No bar has come since the last batch."""


def _next_batch(
    settings: Settings, spark: SparkSession, log: BatchLog, registry: Registry, *, fit_all: bool
) -> dict[str, Any]:
    ledger, number = log.ledger, log.last_done() + 1
    surveyed: list[Survey] = []

    def make() -> Plan:
        tables = pinned(ledger)
        plan: Plan = {
            "tables": tables,
            "ended": ended(ledger, tables),
            "interval": settings.bars.decision,
            "config": settings.forecast.model_dump(mode="json"),
            "code": __version__,
        }
        if number and not fit_all and _input(plan) == _input(log.stored_plan(number - 1)):
            raise _NothingNewError
        surveyed.append(_survey(bars_of(spark, ledger, tables, plan["interval"])))
        if not surveyed[0].bars:
            raise MissingInput(
                f"There are no {plan['interval']} bars in {ledger.root}. Make some: `qts ingest`, then `qts trade` or "
                "`qts bars`. The setting bars.decision says which interval is forecast."
            )
        champions, down = registry.champions(settings.forecast.models)
        if down and log.job == "train":
            raise ModelUnavailable(down)
        return {**plan, "champions": champions, "registry_down": down, "fit_all": fit_all}

    try:
        plan = log.plan(number, make)
    except _NothingNewError:
        return {**log.summaries()[-1], "forecasts": 0, "mlflow_runs": 0}
    bars = bars_of(spark, ledger, plan["tables"], plan["interval"])
    return _Batch(number, plan, spark, log, registry).work(bars, surveyed[0] if surveyed else _survey(bars))


def _input(plan: Plan) -> list[Any]:
    """What of a plan says whether anything is new."""
    return [plan["tables"]["bars"], plan["tables"]["bars_history"], plan["ended"], plan["interval"], plan["config"]]


@dataclass(frozen=True)
class _Batch:
    """One planned batch: a function of its plan, the tables at the plan's versions, and the state after the one before.

    The state is, by model and instrument, the last bar that was forecast after (microseconds).
    """

    number: int
    plan: Plan
    spark: SparkSession
    log: BatchLog
    registry: Registry

    @property
    def conf(self) -> Forecast:
        return Forecast(**self.plan["config"])

    @property
    def interval(self) -> int:
        return duration(self.plan["interval"])

    def work(self, bars: DataFrame, survey: Survey) -> dict[str, Any]:
        versions: dict[str, str | None] = dict(self.plan["champions"])
        champions = {model: self.registry.load(model, v) for model, v in versions.items() if v is not None}
        # What is fitted has to be registered; while that cannot be, the last champions go on forecasting.
        fitted = {} if self.plan.get("registry_down") else self._fit(bars, survey, champions)
        versions |= {model: new.version for model, new in fitted.items() if new.promoted}
        used = {model: version for model, version in versions.items() if version is not None}
        bundles = {model: self.registry.load(model, version) for model, version in used.items()}
        if self.log.job != "train":
            self._forecast(bars, survey, bundles, used)
        for model, new in fitted.items():
            self._versions.name(model, new)
        summary = self._summary(survey, used, fitted, bundles)
        self.log.done(self.number, summary)
        return summary

    def _forecast(
        self, bars: DataFrame, survey: Survey, bundles: Mapping[str, Bundle], used: Mapping[str, str]
    ) -> None:
        """Writes the forecasts and moves on the marks."""
        marks: dict[str, dict[str, int]] = json.loads(self.log.load_state(self.number - 1).get("marks", b"{}"))
        if self.log.ledger.transaction("forecasts", self.log.checkpoint) < self.number:
            self._write(bars, bundles, used, marks)
        for model, bundle in bundles.items():
            seen = {name: survey.last[name] for name in bundle.parameters if name in survey.last}
            marks[model] = {**marks.get(model, {}), **seen}
        self.log.save_state(self.number, {"marks": json.dumps(marks, sort_keys=True).encode()})

    @property
    def _versions(self) -> Versions:
        return Versions(self.registry, self.number, f"{self.log.checkpoint}:{self.number}")

    def _fit(self, bars: DataFrame, survey: Survey, champions: Mapping[str, Bundle]) -> dict[str, Fitted]:
        """Fits what is due; what an interrupted batch made is taken as it is."""
        modes = {model: mode for model in self.conf.models if (mode := self._mode(model, champions, survey))}
        fitted = {model: made for model in modes if (made := self._versions.made(model)) is not None}
        due = {model: mode for model, mode in modes.items() if model not in fitted}
        if not due:
            return fitted
        held = {model: champions[model].parameters for model in due if model in champions}
        found = pa.concat_tables(self._fits(bars, held, due))
        for model, mode in due.items():
            own = found.filter(pc.field("model") == model).sort_by("instrument").to_pylist()
            new = {row["instrument"]: json.loads(row["params"]) for row in own}
            kept = held[model] if mode == "missing" else {}
            fitted[model] = self._versions.make(
                Bundle(model, self.interval, {**kept, **new}),
                [{**row, "scores": json.loads(row["scores"])} for row in own],
                compare=mode == "all" and model in held,
                plan=self.plan,
                survey=survey,
            )
        return fitted

    def _fits(
        self, bars: DataFrame, held: Mapping[str, Mapping[str, Params]], due: Mapping[str, Mode]
    ) -> Iterator[pa.Table]:
        """Fits by bucket; models that share parameters are fitted in one, so that results do not depend on buckets."""
        models = build(due)
        for joint, buckets in ((False, self.conf.buckets), (True, 1)):
            modes = {name: mode for name, mode in due.items() if models[name].joint is joint}
            if modes:
                task = FitBucket(self.interval, modes, self.conf.train_fraction, self.conf.min_history)
                fits = self._bucketed(bars, held, buckets).mapInArrow(task, FITTED)
                yield fits.withColumn("bucket", F.spark_partition_id()).toArrow()

    def _mode(self, model: str, champions: Mapping[str, Bundle], survey: Survey) -> Mode | None:
        """Whether to fit now: the first time, after `refit_every` bars, or those instruments that are new."""
        long_enough = [name for name, bars in survey.bars.items() if bars >= self.conf.min_history]
        if not long_enough:
            return None
        if model not in champions or self.plan.get("fit_all"):
            return "all"
        known = champions[model].parameters
        since = [survey.bars[name] - 1 - known[name]["seen"] for name in long_enough if name in known]
        if max(since, default=0) >= self.conf.refit_every:
            return "all"
        if all(name in known for name in long_enough):
            return None
        return "all" if build([model])[model].joint else "missing"

    def _write(
        self,
        bars: DataFrame,
        bundles: Mapping[str, Bundle],
        versions: Mapping[str, str],
        marks: Mapping[str, Mapping[str, int]],
    ) -> None:
        def after(model: str, name: str, params: Params) -> int:
            return max(int(params["trained_until"]), marks.get(model, {}).get(name, 0) * _MICRO)

        parameters = {
            model: {name: {**params, "after": after(model, name, params)} for name, params in bundle.parameters.items()}
            for model, bundle in bundles.items()
        }
        path = str(self.log.ledger.path("forecasts"))
        self.log.ledger.create("forecasts")
        (
            self._bucketed(bars, parameters)
            .mapInArrow(ScoreBucket(self.interval, versions), FORECASTS)
            .withColumns({name: F.timestamp_micros(name) for name in ("made_at", "target_time")})
            .withColumns({"checkpoint_id": F.lit(self.log.checkpoint), "batch_id": F.lit(self.number).cast("long")})
            .write.format("delta")
            .mode("append")
            .option("txnAppId", self.log.checkpoint)
            .option("txnVersion", self.number)
            .save(path)
        )

    def _bucketed(
        self, bars: DataFrame, parameters: Mapping[str, Mapping[str, Params]], buckets: int | None = None
    ) -> DataFrame:
        """Bars and parameters, all rows of an instrument in one bucket."""
        nothing = F.lit(None).cast("string")
        rows = bars.select(
            "instrument",
            F.unix_micros("bar_time").alias("at"),
            "close",
            "realised_variance",
            *FURTHER,
            nothing.alias("model"),
            nothing.alias("params"),
        )
        beside = _rows_of(parameters)
        if beside.num_rows:
            rows = rows.unionByName(self.spark.createDataFrame(beside, INPUT))
        return rows.repartition(buckets or self.conf.buckets, "instrument")

    def _alerts(self) -> list[dict[str, str]]:
        """What somebody should look at; also in the log, and with the summary in the table `batches`."""
        if not self.plan.get("registry_down"):
            return []
        champions = {model: version for model, version in self.plan["champions"].items() if version is not None}
        logger().warning("registry down", cause=self.plan["registry_down"], champions=champions)
        return [
            {"code": "registry_down", "message": f"{self.plan['registry_down']} Forecasts are by the last champions."}
        ]

    def _summary(
        self,
        survey: Survey,
        versions: Mapping[str, str],
        fitted: Mapping[str, Fitted],
        bundles: Mapping[str, Bundle],
    ) -> dict[str, Any]:
        mine = (pc.field("checkpoint_id") == self.log.checkpoint) & (pc.field("batch_id") == self.number)
        rows = self.log.ledger.read("forecasts", columns=("model",), where=mine, done_only=False)
        written = {found["values"]: found["counts"] for found in rows["model"].value_counts().to_pylist()}
        return {
            "batch": self.number,
            "forecasts": rows.num_rows,
            "instruments": len(survey.bars),
            "bars": sum(survey.bars.values()),
            "provenance": list(survey.provenance),
            "mlflow_runs": len(fitted),
            "alerts": self._alerts(),
            "models": {
                model: {
                    "version": versions[model],
                    "fitted": model in fitted,
                    "forecasts": written.get(model, 0),
                    "methods": bundle.methods(),
                    "out_of_sample": dict(fitted[model].metrics) if model in fitted else {},
                }
                for model, bundle in bundles.items()
            },
        }


def _survey(bars: DataFrame) -> Survey:
    at = F.unix_micros("bar_time")
    figures = (F.count("*").alias("bars"), F.min(at).alias("first"), F.max(at).alias("last"))
    labels = F.collect_set("provenance").alias("labels")
    usable = bars.where((F.col("close") > 0) & ~F.isnan("close"))
    rows = usable.groupBy("instrument").agg(*figures, labels).toArrow().sort_by("instrument").to_pylist()
    return Survey(
        {row["instrument"]: row["bars"] for row in rows},
        {row["instrument"]: row["last"] for row in rows},
        min((row["first"] for row in rows), default=0),
        tuple(sorted({label for row in rows for label in row["labels"]})),
    )


def _rows_of(parameters: Mapping[str, Mapping[str, Params]]) -> pa.Table:
    """Parameters as rows beside the bars."""
    flat = [(name, model, json.dumps(p)) for model, by_name in parameters.items() for name, p in by_name.items()]
    nothing = pa.nulls(len(flat), pa.float64())
    return pa.table(
        {
            "instrument": pa.array([name for name, _, _ in flat], pa.string()),
            "at": pa.nulls(len(flat), pa.int64()),
            "close": nothing,
            "realised_variance": nothing,
            **dict.fromkeys(FURTHER, nothing),
            "model": pa.array([model for _, model, _ in flat], pa.string()),
            "params": pa.array([text for _, _, text in flat], pa.string()),
        }
    )
