"""The sections of the settings: each key with its type, its range and its default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from qts.conf import conf_file
from qts.errors import ConfigError, did_you_mean

#: Nanoseconds of each unit that a duration may have, the largest first.
_UNITS = {
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}


def duration(text: str) -> int:
    """Nanoseconds of a duration such as "10s", "5m", "1.5h" or "1d" (a day is 24 hours).

    Raises:
        ConfigError: no number with a unit, or not a whole number of nanoseconds.

    >>> duration("10s")
    10000000000
    """
    given = re.fullmatch(r"\s*(\d+)(?:\.(\d+))?\s*(ns|us|ms|s|m|h|d)\s*", text) if isinstance(text, str) else None
    if given is None:
        raise ConfigError(
            f"{text!r} is not a duration; expected a number and a unit (ns, us, ms, s, m, h, d), say '10s'."
        )
    whole, decimals, unit = given[1], given[2] or "", given[3]
    nanoseconds, rest = divmod(int(whole + decimals) * _UNITS[unit], int("1" + "0" * len(decimals)))
    if rest:
        raise ConfigError(f"{text!r} is not a whole number of nanoseconds; use fewer decimals.")
    return nanoseconds


def format_duration(nanoseconds: int) -> str:
    """The shortest text that `duration` reads back as the same number.

    >>> format_duration(300_000_000_000)
    '5m'
    """
    if nanoseconds == 0:
        return "0s"
    return next(f"{nanoseconds // size}{unit}" for unit, size in _UNITS.items() if nanoseconds % size == 0)


def _read_duration(value: object) -> object:
    try:
        return duration(value)  # type: ignore[arg-type]
    except ConfigError as error:
        raise PydanticCustomError("duration", "{message}", {"message": str(error).rstrip(".")}) from error


def _check_interval(value: str) -> str:
    if _read_duration(value) == 0:
        raise PydanticCustomError("interval", "a bar needs a length above zero")
    return value


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


#: Nanoseconds, written as "10s".
Duration = Annotated[int, BeforeValidator(_read_duration), PlainSerializer(format_duration, when_used="json")]
#: A time; without a zone it is UTC.
Time = Annotated[datetime, AfterValidator(_in_utc)]
#: The length of a bar as it stands in the bars table, say "1m".
Interval = Annotated[str, AfterValidator(_check_interval)]
#: A name that may become part of a folder's or a query's name.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


def refuse_unknown(model: type[BaseModel], data: Any) -> Any:
    """The data as it is; an error with the nearest known keys where it is a mapping with unknown ones."""
    if not isinstance(data, Mapping):
        return data
    known = list(model.model_fields)
    if unknown := [str(key) for key in data if key not in known]:
        listed = f" Known are {', '.join(known)}."
        hints = [f"unknown key {key!r}.{did_you_mean(key, known) or listed}" for key in unknown]
        raise PydanticCustomError("unknown_key", "{hints}", {"hints": " ".join(hints).rstrip("."), "keys": unknown})
    return data


class Section(BaseModel):
    """A group of settings: frozen, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        return refuse_unknown(cls, data)


class Spark(Section):
    """The Spark session; a session that already runs (Databricks) is taken as it is."""

    master: str | None = "local[*]"  # None: what spark-submit says
    driver_memory: str = Field("2g", pattern=r"^\d+[kmgKMG]$")
    shuffle_partitions: int = Field(4, ge=1)
    conf: dict[str, str] = Field(default_factory=dict)


class _Source(Section):
    name: Name
    into: Literal["ticks", "indices", "headlines"] = "ticks"


class FilesSource(_Source):
    """A file, or a folder of files, of one vendor."""

    type: Literal["files"] = "files"
    path: str
    format: Literal["auto", "csv", "json", "parquet"] = "auto"
    mapping: Path
    watch: bool = False  # keep looking for new files; --once ends after those that are there


class KafkaSource(_Source):
    """A topic; one record is one message's value."""

    type: Literal["kafka"] = "kafka"
    servers: str
    topic: str = Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")
    format: Literal["json", "csv"] = "json"
    mapping: Path


class ReplaySource(_Source):
    """Recorded ticks, daily bars or an index, played again in the order of event time."""

    type: Literal["replay"] = "replay"
    dataset: str | None = None  # packaged: sp500_nasdaq, stocks20, vix_wti
    path: str | None = None
    mapping: Path | None = None
    kind: Literal["ticks", "daily", "index"] = "daily"
    speed: float | None = Field(None, gt=0)  # seconds of market per second; None: as fast as it goes
    start: Time | None = None
    end: Time | None = None
    instruments: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.dataset is None) == (self.path is None):
            raise PydanticCustomError("origin", "name either a dataset (packaged data) or a path (own data)")
        return self


Source = Annotated[FilesSource | KafkaSource | ReplaySource, Field(discriminator="type")]


class Jump(Section):
    """When a price is too far from the last good one."""

    limit: float = Field(0.5, gt=0)  # |price / last good price - 1|
    max_age: Duration = duration("1h")  # an older last good price judges nothing: markets open with gaps


class Ingest(Section):
    """From sources into ticks and quarantine."""

    allowance: Duration = duration("10s")  # how far a tick may lie behind the newest of its instrument
    future_tolerance: Duration = duration("5s")  # how far a tick may lie ahead of the clock
    earliest: Time = datetime(1980, 1, 1, tzinfo=UTC)
    jump: Jump = Jump()
    instruments: Literal["any"] | tuple[str, ...] = "any"
    max_files_per_trigger: int = Field(64, ge=1)
    gate: Literal["warn", "stop"] = "warn"
    expectations: Path = Field(default_factory=lambda: conf_file("expectations/ticks.yml"))


class Bars(Section):
    """Which bars are built, and on which of them decisions are taken."""

    base: Interval = "1s"
    intervals: tuple[Interval, ...] = ("1s", "1m", "1d")
    decision: Interval = "1d"

    @model_validator(mode="after")
    def _nested(self) -> Self:
        base = duration(self.base)
        if bad := [interval for interval in (*self.intervals, self.decision) if duration(interval) % base]:
            raise PydanticCustomError(
                "interval", "{bad} are no multiples of base {base}", {"bad": ", ".join(bad), "base": self.base}
            )
        if self.decision not in self.intervals:
            raise PydanticCustomError(
                "interval", "decision {decision} has to be one of intervals", {"decision": self.decision}
            )
        return self


class Forecast(Section):
    """Forecasters and when they are fitted."""

    models: tuple[str, ...] = ("naive", "ewma", "log_har", "har_rls", "arima")
    train_fraction: float = Field(0.5, gt=0, lt=1)  # share of history that the first fit sees
    refit_every: int = Field(250, ge=1)  # bars
    min_history: int = Field(60, ge=2)  # bars
    buckets: int = Field(4, ge=1, le=4096)


class Regime(Section):
    """Regime models and when they are fitted."""

    states: int | None = Field(None, ge=1, le=3)  # None: one to three, by BIC for each instrument
    train_fraction: float = Field(0.5, gt=0, lt=1)  # share of history that the first fit sees
    refit_every: int = Field(250, ge=1)  # bars
    min_history: int = Field(250, ge=60)  # bars
    starts: int = Field(2, ge=1, le=100)  # of each fit's search
    buckets: int = Field(4, ge=1, le=4096)
    trigger: Duration = duration("10s")


class Sentiment(Section):
    """How headlines are scored."""

    scorer: str = "lexicon"  # or the folder of a transformers model
    buckets: int = Field(4, ge=1, le=4096)
    trigger: Duration = duration("10s")


class Trade(Section):
    """The decision step and its account."""

    account: Name = "paper"
    cash: float = Field(1_000_000, gt=0, allow_inf_nan=False)
    seed: int = Field(7, ge=0)
    buckets: int = Field(4, ge=1, le=4096)
    policies: dict[str, dict[str, Any]] = {"hedge": {}, "thompson": {}, "linucb": {}}
    acting: str | None = None  # the first of the policies
    hold: int = Field(20, ge=1)  # bars for which a chosen strategy is kept
    reward_cost: float = Field(0.0005, ge=0, lt=1)  # of the traded value
    idle_timeout: Duration = duration("30s")  # after which a silent instrument no longer holds up a bar
    trigger: Duration = duration("1s")

    @model_validator(mode="after")
    def _acting_is_there(self) -> Self:
        if not self.policies or (self.acting is not None and self.acting not in self.policies):
            raise PydanticCustomError(
                "acting",
                "acting policy {acting} is not among policies ({known}).{hint}",
                {
                    "acting": repr(self.acting),
                    "known": ", ".join(self.policies),
                    "hint": did_you_mean(self.acting or "", self.policies),
                },
            )
        return self


class Mlflow(Section):
    """Where runs and model versions go."""

    tracking_uri: str | None = None  # None: sqlite in the workdir
    experiment: str = "qts"


class Backtest(Section):
    """What jobs/backtest.py runs; the options of `qts backtest` win over it."""

    bars: Path | None = None
    strategies: str = "all"
    policy: str | None = None
    instruments: tuple[str, ...] = ()
    start: date | None = None
    end: date | None = None
    walk_forward: bool = False
    anchored: bool = False
    scenarios: tuple[str, ...] = ()
    compare: tuple[str, ...] = ()
    grid: dict[str, dict[str, list[Any]]] = Field(default_factory=dict)
    cash: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1_000_000.0
    lot_size: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4
    borrow: Annotated[float, Field(ge=0, lt=1)] = 0.005
    limits: bool = False
    spark: bool = False
    workers: Annotated[int, Field(ge=1)] | None = None


class Monitor(Section):
    """Batch figures and forecast scores."""

    trigger: Duration = duration("10s")


class Log(Section):
    """Logs on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"  # auto: console on a terminal, else JSON lines
