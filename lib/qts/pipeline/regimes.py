"""The regime job: fits a regime model to every instrument's returns, registers it, and filters every later bar.

A batch is planned like those of the other jobs. The filters' states are kept in the state table, so a batch reads only
the bars that came since; a new version filters the history once, up to where the one before stood.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from qts import __version__
from qts.errors import MissingInput, ModelUnavailable
from qts.mlops.bundle import Bundle
from qts.mlops.regimes import RegimeBundle
from qts.mlops.registry import Registry, Served
from qts.pipeline.alerts import Alerts, about_models, batches, mended
from qts.pipeline.batches import BatchLog, NothingNewError, Plan, checkpoint_id, lock
from qts.pipeline.forecast_survey import Survey
from qts.pipeline.history import bars_of, ended, pinned
from qts.pipeline.models import cache_of, tracking_of
from qts.pipeline.regime_buckets import FILTERED, FITTED, INPUT, FilterBucket, FitBucket
from qts.pipeline.regime_versions import MODEL, Fitted, Versions
from qts.pipeline.session import spark_session
from qts.regime.panel import Params
from qts.settings import Regime, Settings, duration
from qts.store.ledger import Ledger

_MICRO = 1000  # nanoseconds


def run(settings: Settings, *, once: bool = True) -> dict[str, Any]:
    """Regime probabilities after every bar of the decision interval.

    Args:
        once: one batch of what is there; else looks for new bars until it is stopped.

    Returns:
        regimes (rows written now), version, fitted (instruments fitted now), states {number: instruments}, metrics (out
        of sample, when fitted now), instruments, mlflow_runs, alerts, batch.

    Raises:
        MissingInput: there are no bars of the decision interval.
        ModelUnavailable: MLflow cannot be reached, and this machine knows no champion.
    """
    checkpoint = settings.checkpoint("regime")
    with lock(checkpoint):
        log = BatchLog(Ledger(settings.tables), "regime", checkpoint_id(checkpoint))
        spark = spark_session(settings)
        registry = Registry(tracking_of(settings), "regime", RegimeBundle, cache_of(settings))
        alerts = Alerts(log)
        return batches(
            lambda: _next_batch(settings, spark, log, registry, alerts),
            alerts,
            once=once,
            trigger=settings.regime.trigger,
        )


def _next_batch(
    settings: Settings, spark: SparkSession, log: BatchLog, registry: Registry, alerts: Alerts
) -> dict[str, Any]:
    ledger, number = log.ledger, log.last_done() + 1

    def make() -> Plan:
        tables = pinned(ledger)
        plan: Plan = {
            "tables": tables,
            "ended": ended(ledger, tables),
            "interval": settings.bars.decision,
            "config": settings.regime.model_dump(mode="json"),
            "code": __version__,
        }
        same = number and _input(plan) == _input(log.stored_plan(number - 1))
        if same and not mended(alerts, registry, [MODEL]):
            raise NothingNewError
        if not bars_of(spark, ledger, tables, plan["interval"]).head(1):
            raise MissingInput(
                f"There are no {plan['interval']} bars in {ledger.root}. Make some: `qts ingest`, then `qts trade` or "
                "`qts bars`. The setting bars.decision says of which interval regimes are kept."
            )
        served = registry.serve([MODEL])
        served.check()
        return {**plan, **_model_of(served)}

    try:
        plan = log.plan(number, make)
    except NothingNewError:
        return {**log.summaries()[-1], "regimes": 0, "fitted": 0, "mlflow_runs": 0}
    return _Batch(number, plan, spark, log, registry, alerts).work()


def _model_of(served: Served) -> Plan:
    """What a plan says of the model that is served."""
    refused = served.refused.get(MODEL, "")
    return {"champion": served.versions[MODEL], "registry_down": served.down, "refused": refused}


def _input(plan: Plan) -> list[Any]:
    """What of a plan says whether anything is new."""
    return [plan["tables"]["bars"], plan["tables"]["bars_history"], plan["ended"], plan["interval"], plan["config"]]


@dataclass(frozen=True)
class _Batch:
    """One planned batch: a function of its plan, the tables at the plan's versions, and the state after the one before.

    The state is, by instrument, where its filter stands (the version, the last bar as `mark`, nanoseconds, its close,
    the filter's arrays), and how many bars it had when it was last fitted, also where that fit did not take over.
    """

    number: int
    plan: Plan
    spark: SparkSession
    log: BatchLog
    registry: Registry
    alerts: Alerts

    @property
    def conf(self) -> Regime:
        return Regime(**self.plan["config"])

    def work(self) -> dict[str, Any]:
        bars = bars_of(self.spark, self.log.ledger, self.plan["tables"], self.plan["interval"])
        bars = bars.where((F.col("close") > 0) & ~F.isnan("close"))
        survey = Survey.of(bars)
        before, tried = self._before()
        try:
            champion = self._champion()
        except ModelUnavailable as error:
            return self._amended(error, self.registry.serve([MODEL])).work()
        try:
            version, fitted = self._version(bars, survey, champion, tried)
            parameters = dict(self.registry.load(MODEL, version).parameters) if version is not None else {}
        except ModelUnavailable as error:
            return self._amended(error, replace(self.registry.serve([MODEL]), down=str(error))).work()
        standing, rows = before, 0
        if version is not None:
            found = self._filter(bars, parameters, version, before)
            rows = self._write(found)
            moved = found.filter(found["standing"].is_valid()).select(["instrument", "standing"]).to_pylist()
            standing = {**before, **{r["instrument"]: {"version": version, **json.loads(r["standing"])} for r in moved}}
        tried = dict(survey.bars) if fitted is not None else tried
        parts = {"filters": standing, "tried": tried}
        self.log.save_state(self.number, {name: json.dumps(p, sort_keys=True).encode() for name, p in parts.items()})
        if fitted is not None:
            self._versions.name(fitted)
        states = [len(p.get("mean", ())) for p in parameters.values()]
        summary = {
            "batch": self.number,
            "regimes": rows,
            "version": version,
            "fitted": fitted.instruments if fitted is not None else 0,
            "states": {str(k): states.count(k) for k in sorted(set(states))},
            "metrics": dict(fitted.metrics) if fitted is not None else {},
            "instruments": len(survey.bars),
            "mlflow_runs": int(fitted is not None),
            "alerts": self._alerts(),
        }
        self.log.done(self.number, summary)
        return summary

    def _before(self) -> tuple[dict[str, Params], dict[str, int]]:
        """The state after the batch before; none where that was about bars of another length."""
        if self.number and self.log.stored_plan(self.number - 1)["interval"] != self.plan["interval"]:
            return {}, {}
        state = self.log.load_state(self.number - 1)
        return json.loads(state.get("filters", b"{}")), json.loads(state.get("tried", b"{}"))

    def _amended(self, error: ModelUnavailable, served: Served) -> _Batch:
        """The batch by another plan, for the version that it names is gone, or the registry went down since.

        Raises:
            ModelUnavailable: there is nothing to go on with, or the plan was amended before, or the batch had begun to
                write by it. Then it has to wait for the registry.
        """
        nothing = bool(served.down) and served.versions[MODEL] is None
        if nothing or self.plan.get("amended") or self.log.wrote(self.number, "regimes"):
            raise error
        plan = {**self.plan, **_model_of(served), "amended": True}
        return replace(self, plan=self.log.amend(self.number, plan))

    def _alerts(self) -> list[dict[str, str]]:
        refused = {MODEL: self.plan["refused"]} if self.plan["refused"] else {}
        served = Served({MODEL: self.plan["champion"]}, self.plan["registry_down"], refused)
        wrong = about_models(served, "Regimes are by the last champion.")
        return self.alerts.settle(self.number, datetime.fromisoformat(self.plan["now"]), wrong)

    def _champion(self) -> Bundle | None:
        """The plan's champion, unless it is of other bars, from before `bars.decision` was changed."""
        version = self.plan["champion"]
        found = self.registry.load(MODEL, version) if version is not None else None
        return found if found is not None and found.interval == duration(self.plan["interval"]) else None

    def _version(
        self, bars: DataFrame, survey: Survey, champion: Bundle | None, tried: Mapping[str, int]
    ) -> tuple[str | None, Fitted | None]:
        """The version to filter by, and what was fitted now."""
        # What is fitted has to be registered; while that cannot be, the last champion goes on.
        fitted = None if self.plan["registry_down"] else self._fit(bars, survey, champion, tried)
        if fitted is not None and fitted.promoted:
            return fitted.version, fitted
        return self.plan["champion"] if champion is not None else None, fitted

    @property
    def _versions(self) -> Versions:
        return Versions(self.registry, self.number, f"{self.log.checkpoint}:{self.number}", self.log.ledger)

    def _fit(self, bars: DataFrame, survey: Survey, champion: Bundle | None, tried: Mapping[str, int]) -> Fitted | None:
        """Fits what is due, if anything is; what an interrupted batch made is taken as it is."""
        if champion is None and self.plan["refused"]:
            return None  # for somebody to look into, not to be replaced in silence
        counts, held = survey.bars, dict(champion.parameters) if champion is not None else {}
        enough = [name for name, count in counts.items() if count >= self.conf.min_history]
        seen = {name: max(held[name]["seen"] + 1, tried.get(name, 0)) for name in held}
        late = any(counts[name] - seen[name] >= self.conf.refit_every for name in enough if name in held)
        missing = not late and any(name not in held for name in enough)
        if not late and not missing:
            return None
        if (made := self._versions.made()) is not None:
            return made
        conf = self.conf
        task = FitBucket(missing, conf.train_fraction, conf.min_history, conf.states, conf.starts)
        fits = self._bucketed(bars, held).mapInArrow(task, FITTED).withColumn("bucket", F.spark_partition_id())
        found = fits.toArrow().sort_by("instrument").to_pylist()
        new = {row["instrument"]: json.loads(row["params"]) for row in found}
        bundle = RegimeBundle(MODEL, duration(self.plan["interval"]), {**(held if missing else {}), **new})
        rows = [{**row, "scores": json.loads(row["scores"])} for row in found]
        return self._versions.make(bundle, rows, self.plan, survey, compare=late)

    def _filter(
        self, bars: DataFrame, parameters: Mapping[str, Params], version: str, before: Mapping[str, Params]
    ) -> pa.Table:
        """Regimes after bars that are new, and where the filters stand then."""
        told = {}
        for name, params in parameters.items():
            kept = before.get(name)
            told[name] = {**params, "after": max(int(params["trained_until"]), kept["mark"] if kept else 0)}
            if kept is not None and kept["version"] == version:
                told[name]["standing"] = kept
        marks = {name: params["standing"]["mark"] // _MICRO for name, params in told.items() if "standing" in params}
        if marks:
            schema = "instrument string, mark long"
            known = self.spark.createDataFrame(sorted(marks.items()), schema)
            bars = bars.join(F.broadcast(known), "instrument", "left")
            bars = bars.where(F.col("mark").isNull() | (F.unix_micros("bar_time") > F.col("mark")))
        return self._bucketed(bars, told).mapInArrow(FilterBucket(version), FILTERED).toArrow()

    def _write(self, found: pa.Table) -> int:
        """Appends the regimes, once; returns how many rows this batch has in the table."""
        rows = found.filter(found["standing"].is_null()).sort_by([("at", "ascending"), ("instrument", "ascending")])
        at = rows["at"].cast(pa.timestamp("us", tz="UTC"))
        rows = rows.drop_columns(["at", "standing"]).append_column("bar_time", at)
        for name, text in (("interval", self.plan["interval"]), ("model", MODEL)):
            rows = rows.append_column(name, pa.array([text] * rows.num_rows, pa.string()))
        self.log.append("regimes", self.number, rows)
        return int(rows.num_rows)

    def _bucketed(self, bars: DataFrame, parameters: Mapping[str, Params]) -> DataFrame:
        """Bars and parameters, all rows of an instrument in one bucket."""
        rows = bars.select(
            "instrument", F.unix_micros("bar_time").alias("at"), "close", F.lit(None).cast("string").alias("params")
        )
        if parameters:
            beside = [(name, None, None, json.dumps(params)) for name, params in sorted(parameters.items())]
            rows = rows.unionByName(self.spark.createDataFrame(beside, INPUT))
        return rows.repartition(self.conf.buckets, "instrument")
