"""`qts scorecard`: every claim of the README beside what was measured, from recorded runs.

Claims are declared in conf/claims.yml; a benchmark or an evaluation leaves one record a claim. Nothing is measured
here, and a claim that nobody has recorded says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from qts.conf import conf_file, read_yaml
from qts.errors import ConfigError, DataError

#: What a figure was measured on: market data as it was, the same played again, or made up.
DataSource = Literal["real", "replayed", "simulated"]
Name = Field(pattern=r"^[a-z][a-z0-9_]*$")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Claim(_Strict):
    """A sentence of the README with the figure that it stands or falls with.

    Attributes:
        claim: the sentence.
        target: the bound, in `unit`; a value on it still meets it.
        better: which side of the target is the good one.
        source: the data that the command measures on by default.
        command: how to measure it again.
    """

    id: str = Name
    claim: str = Field(min_length=1)
    target: float
    better: Literal["lower", "higher"]
    unit: str = Field(min_length=1)
    source: DataSource
    command: str = Field(min_length=1)

    def is_met(self, value: float) -> bool:
        return value <= self.target if self.better == "lower" else value >= self.target


class Record(_Strict):
    """One measurement of one claim.

    Attributes:
        claim: id of the claim.
        value, interval: the figure and its range over `repetitions`, in `unit`; the figure lies inside.
        source: the data that it was measured on.
        cores: of the machine.
        versions: of what was measured and what it runs on.
        details: further figures of the same run, by name.
    """

    claim: str = Name
    value: float
    interval: tuple[float, float]
    repetitions: int = Field(ge=1)
    unit: str = Field(min_length=1)
    source: DataSource
    command: str = Field(min_length=1)
    date: AwareDatetime
    cores: int = Field(ge=1)
    versions: dict[str, str]
    details: dict[str, float] = {}

    @model_validator(mode="after")
    def _inside(self) -> Self:
        low, high = self.interval
        if not low <= self.value <= high:
            raise ValueError(f"value {self.value} lies outside its interval [{low}, {high}]")
        return self


def scorecard(settings: object = None, *, claims: Path | None = None, records: Path | None = None) -> dict[str, Any]:
    """Joins claims with recorded runs.

    Args:
        settings: every command takes them; records belong to the code, not to a workdir, so none is used.
        claims: the file of claims, by default conf/claims.yml.
        records: the folder of records, by default the one that comes with QTS.

    Returns:
        claims: a list of {id, claim, target, better, unit, source, command, value, interval, repetitions, date, cores,
        versions, details, met}; met is yes, no or "not recorded", and what a record would tell is null then.
        met, missed, not_recorded: how many of each. unclaimed: ids of records that belong to no claim.

    Raises:
        ConfigError: the claims are not as `Claim` says.
        DataError: a record is not as `Record` says, or measures in another unit than its claim.
    """
    declared = read_claims(claims or conf_file("claims.yml"))
    recorded = read_records(records or records_folder())
    rows = [_row(claim, recorded.get(claim.id)) for claim in declared]
    verdicts = [row["met"] for row in rows]
    return {
        "claims": rows,
        "met": verdicts.count("yes"),
        "missed": verdicts.count("no"),
        "not_recorded": verdicts.count("not recorded"),
        "unclaimed": sorted(set(recorded) - {claim.id for claim in declared}),
    }


def records_folder() -> Path:
    """The recorded runs that come with QTS: inside the installed wheel, or tests/bench/results of a checkout."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "_results"
    return packaged if packaged.is_dir() else package.parents[1] / "tests" / "bench" / "results"


def read_claims(path: Path) -> list[Claim]:
    """The claims of a file `claims: [{id: .., claim: .., target: .., ..}]`.

    Raises:
        ConfigError: one is not as `Claim` says, or two have the same id.
    """
    given = read_yaml(path).get("claims")
    if not isinstance(given, list):
        raise ConfigError(f"{path} has no list `claims:`; expected one with id, claim, target, better, unit, ...")
    claims: list[Claim] = []
    for place, item in enumerate(given):
        try:
            claims.append(Claim.model_validate(item))
        except ValidationError as error:
            raise ConfigError(f"{path}: claims[{place}] {_faults(error)}.") from error
    ids = [claim.id for claim in claims]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ConfigError(f"{path}: two claims are called {', '.join(twice)}. Give each an id of its own.")
    return claims


def read_records(folder: Path) -> dict[str, Record]:
    """The records of a folder by claim, one a file `<claim>.json`; none where there is no such folder.

    Raises:
        DataError: a file is not as `Record` says, or its name is not that of its claim.
    """
    found: dict[str, Record] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            record = Record.model_validate(json.loads(file.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise DataError(f"Record {file}: {_faults(error)}. Run its benchmark again.") from error
        except (OSError, ValueError) as error:
            raise DataError(f"Record {file} cannot be read: {error}. Run its benchmark again.") from error
        if record.claim != file.stem:
            raise DataError(f"Record {file} is of claim {record.claim!r}; expected file name {record.claim}.json.")
        found[record.claim] = record
    return found


def _row(claim: Claim, record: Record | None) -> dict[str, Any]:
    row = claim.model_dump()
    if record is None:
        empty = dict.fromkeys(("value", "interval", "repetitions", "date", "cores", "versions", "details"))
        return {**row, **empty, "met": "not recorded"}
    if record.unit != claim.unit:
        raise DataError(
            f"The record of claim {claim.id!r} is in {record.unit!r}, the claim in {claim.unit!r}. "
            f"Measure again: {claim.command}"
        )
    # The record knows what was measured and how; the claim only what its command does by default.
    measured: Mapping[str, Any] = record.model_dump(exclude={"claim"})
    date: datetime = record.date
    met = "yes" if claim.is_met(record.value) else "no"
    return {**row, **measured, "interval": list(record.interval), "date": date.isoformat(), "met": met}


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'record'}: {fault['msg']}" for fault in error.errors()
    )
