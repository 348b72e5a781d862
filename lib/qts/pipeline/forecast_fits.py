"""Fits by bucket of instruments: which models are due, and the versions that come of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from qts.forecast.base import Params
from qts.forecast.history import FURTHER
from qts.forecast.registry import build
from qts.mlops.bundle import Bundle
from qts.pipeline.batches import Plan
from qts.pipeline.forecast_buckets import FITTED, INPUT, FitBucket, Mode
from qts.pipeline.forecast_survey import Survey
from qts.pipeline.forecast_versions import Fitted, Versions
from qts.settings import Forecast, duration


@dataclass(frozen=True)
class Fits:
    """The fits of one batch.

    Attributes:
        plan: of the batch.
        versions: where they are registered.
    """

    plan: Plan
    versions: Versions

    @cached_property
    def conf(self) -> Forecast:
        return Forecast(**self.plan["config"])

    def due(
        self, champions: Mapping[str, Bundle], survey: Survey, tried: Mapping[str, Mapping[str, int]]
    ) -> dict[str, Mode]:
        """What has to be fitted now.

        Args:
            tried: bars of each instrument at the last fit of a model that did not take over.
        """
        found = {m: self._mode(m, champions.get(m), survey, tried.get(m, {})) for m in self.conf.models}
        return {model: mode for model, mode in found.items() if mode is not None}

    def make(
        self,
        spark: SparkSession,
        bars: DataFrame,
        survey: Survey,
        champions: Mapping[str, Bundle],
        modes: Mapping[str, Mode],
    ) -> dict[str, Fitted]:
        """Fits what is due; what an interrupted batch made is taken as it is."""
        fitted = {model: made for model in modes if (made := self.versions.made(model)) is not None}
        due = {model: mode for model, mode in modes.items() if model not in fitted}
        if not due:
            return fitted
        held = {model: champions[model].parameters for model in due if model in champions}
        found = pa.concat_tables(self._fits(spark, bars, held, due))
        for model, mode in due.items():
            own = found.filter(pc.field("model") == model).sort_by("instrument").to_pylist()
            new = {row["instrument"]: json.loads(row["params"]) for row in own}
            kept = held[model] if mode == "missing" else {}
            fitted[model] = self.versions.make(
                Bundle(model, duration(self.plan["interval"]), {**kept, **new}),
                [{**row, "scores": json.loads(row["scores"])} for row in own],
                compare=mode == "all" and model in held,
                plan=self.plan,
                survey=survey,
            )
        return fitted

    def _fits(
        self,
        spark: SparkSession,
        bars: DataFrame,
        held: Mapping[str, Mapping[str, Params]],
        due: Mapping[str, Mode],
    ) -> Iterator[pa.Table]:
        """Fits by bucket; models that share parameters are fitted in one, so that results do not depend on buckets."""
        models, interval = build(due), duration(self.plan["interval"])
        for joint, buckets in ((False, self.conf.buckets), (True, 1)):
            modes = {name: mode for name, mode in due.items() if models[name].joint is joint}
            if modes:
                task = FitBucket(interval, modes, self.conf.train_fraction, self.conf.min_history)
                fits = bucketed(spark, bars, held, buckets).mapInArrow(task, FITTED)
                yield fits.withColumn("bucket", F.spark_partition_id()).toArrow()

    def _mode(self, model: str, champion: Bundle | None, survey: Survey, tried: Mapping[str, int]) -> Mode | None:
        """Whether to fit now: the first time, after `refit_every` bars, or those instruments that are new."""
        enough = {name: bars for name, bars in survey.bars.items() if bars >= self.conf.min_history}
        if not enough:
            return None
        if self.plan["fit_all"]:
            return "all"
        if champion is None:
            # A champion that was refused is for somebody to look into, not to be replaced in silence.
            return None if model in self.plan["refused"] else "all"
        known = champion.parameters
        seen = {name: max(known[name]["seen"] + 1 if name in known else 0, tried.get(name, 0)) for name in enough}
        if max((n - seen[name] for name, n in enough.items() if seen[name]), default=0) >= self.conf.refit_every:
            return "all"
        if all(seen.values()):
            return None
        return "all" if build([model])[model].joint else "missing"


def bucketed(
    spark: SparkSession, bars: DataFrame, parameters: Mapping[str, Mapping[str, Params]], buckets: int
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
        rows = rows.unionByName(spark.createDataFrame(beside, INPUT))
    return rows.repartition(buckets, "instrument")


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
