"""The forecast job: fits the forecasters by bucket, registers their versions, and forecasts after every later bar.

A batch is planned like those of the streams: its plan names the versions of the tables and models that it reads, so a
restart repeats the same work, finds the model versions that it had registered, and skips the write that it had done.
New bars are stepped through in this process, from the state after the batch before; Spark reads the history where
there is no such state: the first time, and after models were fitted or changed by hand.
"""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession

from qts import __version__
from qts.errors import MissingInput, ModelUnavailable
from qts.forecast.registry import build
from qts.mlops.registry import Registry
from qts.pipeline.alerts import Alerts, batches, mended
from qts.pipeline.batches import BatchLog, NothingNewError, Plan, checkpoint_id, lock
from qts.pipeline.forecast_batch import Batch, Start, models_of
from qts.pipeline.forecast_online import Position, tried_of
from qts.pipeline.forecast_survey import Survey, new_bars
from qts.pipeline.history import bars_of, ended, pinned
from qts.pipeline.models import cache_of, tracking_of
from qts.pipeline.session import spark_session
from qts.settings import Settings, duration
from qts.store.ledger import Ledger


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
        ModelUnavailable: MLflow cannot be reached, and this machine knows no champion; or there is something to train.
        ConfigError: a model's name is unknown.
    """
    build(settings.forecast.models)  # refuses an unknown name before anything starts
    name = "train" if train else "forecast"
    with lock(settings.checkpoint(name)):
        job = Job(settings, name, fit_all=train and once)
        return batches(job.next_batch, job.alerts, once=once, trigger=settings.monitor.trigger)


class Job:
    """The job between batches: it remembers the position after the last one, and the champions.

    Args:
        settings: of the run; its checkpoint is locked by the caller.
        name: forecast or train.
        fit_all: whether every batch fits every model.
    """

    def __init__(self, settings: Settings, name: str = "forecast", *, fit_all: bool = False) -> None:
        self.settings = settings
        self.fit_all = fit_all
        self.log = BatchLog(Ledger(settings.tables), name, checkpoint_id(settings.checkpoint(name)))
        self.registry = Registry(tracking_of(settings), cache=cache_of(settings))
        self.alerts = Alerts(self.log)
        self._held: tuple[int, Position | None] | None = None

    def next_batch(self) -> dict[str, Any]:
        """One batch of what is there; the last one's summary, without forecasts, where nothing is new."""
        log, number = self.log, self.log.last_done() + 1
        started: list[Start] = []

        def make() -> Plan:
            tables = pinned(log.ledger)
            plan: Plan = {
                "tables": tables,
                "ended": ended(log.ledger, tables),
                "interval": self.settings.bars.decision,
                "config": self.settings.forecast.model_dump(mode="json"),
                "code": __version__,
            }
            models = self.settings.forecast.models
            same = number and not self.fit_all and _input(plan) == _input(log.stored_plan(number - 1))
            if same and not mended(self.alerts, self.registry, models):
                raise NothingNewError
            started.append(self._start(number, plan))
            if not started[0].survey.bars:
                raise MissingInput(
                    f"There are no {plan['interval']} bars in {log.ledger.root}. Make some: `qts ingest`, then `qts "
                    "trade` or `qts bars`. The setting bars.decision says which interval is forecast."
                )
            served = self.registry.serve(models)
            if log.job != "train":
                served.check()
            elif served.down:
                raise ModelUnavailable(served.down)
            return {**plan, **models_of(served), "fit_all": self.fit_all}

        try:
            plan = log.plan(number, make)
        except NothingNewError:
            return {**log.summaries()[-1], "forecasts": 0, "mlflow_runs": 0}
        start = started[0] if started else self._start(number, plan)  # a batch that was planned before
        summary, position = Batch(number, plan, self._spark, log, self.registry, self.alerts, start).work()
        self._held = number, position
        log.done(number, summary)
        return summary

    def _spark(self) -> SparkSession:
        return spark_session(self.settings)

    def _start(self, number: int, plan: Plan) -> Start:
        """The position after the batch before, and the bars since; all bars where nobody knows which came since."""
        ledger, interval, position, new = self.log.ledger, plan["interval"], None, None
        before = self.log.stored_plan(number - 1) if number else plan
        same = number > 0 and before["interval"] == interval  # else nothing that was kept is about these bars
        tried = tried_of(self.log.load_state(number - 1)) if same else {}
        if same and self.log.job != "train":
            if self._held is None or self._held[0] != number - 1:
                self._held = number - 1, Position.load(self.log, number - 1, self.registry.load, duration(interval))
            position = self._held[1]
            if position is not None:
                new = new_bars(ledger, before["tables"], plan["tables"], interval, position.survey)
        if position is not None and new is not None:
            return Start(position.survey.after(new), position, new, tried)
        return Start(Survey.of(bars_of(self._spark(), ledger, plan["tables"], interval)), position, None, tried)


def _input(plan: Plan) -> list[Any]:
    """What of a plan says whether anything is new."""
    return [plan["tables"]["bars"], plan["tables"]["bars_history"], plan["ended"], plan["interval"], plan["config"]]
