"""What somebody should look at: a row in `alerts` when it begins, one in `alert_events` when it is over.

Every job says in every batch what is wrong then. What was not wrong before opens an alert, what no longer is clears it:
an outage of an hour is one alert, not one a batch, and nobody has to close it by hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from qts.errors import ModelRefused, ModelUnavailable
from qts.logs import logger
from qts.mlops.registry import Registry, Served
from qts.pipeline.batches import BatchLog

CLEARED = "cleared"
REGISTRY_DOWN, MODEL_REFUSED = "registry_down", "model_refused"


@dataclass(frozen=True)
class Alert:
    """Something that is wrong now.

    Attributes:
        code: what kind of thing; one alert of a code is open at a time in a job.
        message: what was found, what the job does meanwhile, what to do.
    """

    code: str
    severity: Literal["warning", "error"]
    message: str


class Alerts:
    """The alerts of one job on one checkpoint.

    Args:
        log: of the job's batches. An alert and its end are written once a batch and code, whatever is killed.
    """

    def __init__(self, log: BatchLog) -> None:
        self.log = log
        self._open: dict[str, str] | None = None

    def settle(self, batch: int, at: datetime, found: Sequence[Alert]) -> list[dict[str, str]]:
        """Opens what is new among all that is wrong in a batch, clears what is open and no longer wrong.

        Returns:
            What is wrong, for the batch's summary.
        """
        for alert in found:
            self.raise_(batch, at, alert)
        wrong = {alert.code for alert in found}
        for code, alert_id in sorted(self._opened().items()):
            if code not in wrong:
                row = {"alert_id": alert_id, "at": at, "code": code, "event": CLEARED}
                self._append("alert_events", batch, row)
                del self._opened()[code]
                logger().info("alert cleared", job=self.log.job, code=code)
        return [asdict(alert) for alert in found]

    def raise_(self, batch: int, at: datetime, alert: Alert) -> None:
        """Opens an alert, unless one of its code is open."""
        if alert.code in self._opened():
            return
        alert_id = f"{self.log.checkpoint}:{batch}:{alert.code}"
        self._append("alerts", batch, {"alert_id": alert_id, "at": at, **asdict(alert)})
        self._opened()[alert.code] = alert_id
        logger().warning("alert", job=self.log.job, code=alert.code, message=alert.message)

    @property
    def any_open(self) -> bool:
        """Whether an alert was raised and not cleared."""
        return bool(self._opened())

    def _opened(self) -> dict[str, str]:
        """Alerts that were raised and not cleared, by code."""
        if self._open is None:
            mine = pc.field("checkpoint_id") == self.log.checkpoint
            raised = self.log.ledger.read("alerts", columns=("code", "alert_id"), where=mine).to_pylist()
            over = self.log.ledger.read("alert_events", columns=("alert_id",), where=mine)["alert_id"].to_pylist()
            self._open = {row["code"]: row["alert_id"] for row in raised if row["alert_id"] not in set(over)}
        return self._open

    def _append(self, name: str, batch: int, row: Mapping[str, Any]) -> None:
        stamp = {"job": self.log.job, "checkpoint_id": self.log.checkpoint, "batch_id": batch}
        rows = pa.Table.from_pylist([{**row, **stamp}])
        self.log.ledger.append(name, rows, transaction=(f"{self.log.checkpoint}/{row['code']}", batch))


def about_models(served: Served, meanwhile: str) -> list[Alert]:
    """What is wrong with the models that a job serves.

    Args:
        meanwhile: what the job does until it is mended.
    """
    found = []
    if served.down:
        found.append(Alert(REGISTRY_DOWN, "warning", f"{served.down} {meanwhile}"))
    if served.refused:
        found.append(Alert(MODEL_REFUSED, "error", f"{' '.join(served.refused.values())} {meanwhile}"))
    return found


def mended(alerts: Alerts, registry: Registry, models: Sequence[str]) -> bool:
    """Whether an alert is open and the registry has all champions again: then what waited for it can be done."""
    if not alerts.any_open:
        return False
    served = registry.serve(models)
    return not (served.down or served.refused)


def batches(next_batch: Callable[[], dict[str, Any]], alerts: Alerts, *, once: bool, trigger: int) -> dict[str, Any]:
    """Runs a job that looks for work every so often: one batch, or on and on until it is stopped.

    A batch that cannot be had without the registry raises an alert; a job that has ended a batch before waits for the
    registry to come back, any other stops, for it has probably been told a wrong address.

    Args:
        trigger: pause between two batches, nanoseconds.

    Raises:
        ModelUnavailable: the registry is down, and this is one batch only or the first.
    """
    while True:
        try:
            summary = next_batch()
        except ModelUnavailable as error:
            code = MODEL_REFUSED if isinstance(error, ModelRefused) else REGISTRY_DOWN
            last = alerts.log.last_done()
            alerts.raise_(last + 1, datetime.now(UTC), Alert(code, "error", str(error)))
            if once or last < 0:
                raise
        else:
            if once:
                return summary
        time.sleep(trigger / 1e9)
