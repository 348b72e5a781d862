"""Settings of a run: defaults, then a conf file, then a `.env`, then `QTS_*` variables, then what the caller says.

`QTS_TRADE__SEED=7` sets `trade.seed`; lists are JSON. An unknown key or variable is refused with the nearest known one.
Paths in a conf file are relative to that file, all others (and `workdir` always) to the current folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError
from pydantic_settings.sources import DotEnvSettingsSource, EnvSettingsSource

from qts.conf import conf_chain, conf_file, merge
from qts.errors import ConfigError, did_you_mean
from qts.sections import (
    Backtest,
    Bars,
    FilesSource,
    Forecast,
    Ingest,
    Jump,
    KafkaSource,
    Log,
    Mlflow,
    Monitor,
    Regime,
    ReplaySource,
    Sentiment,
    Source,
    Spark,
    Trade,
    duration,
    format_duration,
    refuse_unknown,
)

__all__ = [
    "Backtest",
    "Bars",
    "FilesSource",
    "Forecast",
    "Ingest",
    "Jump",
    "KafkaSource",
    "Log",
    "Mlflow",
    "Monitor",
    "Regime",
    "ReplaySource",
    "Sentiment",
    "Settings",
    "Source",
    "Spark",
    "Trade",
    "duration",
    "format_duration",
    "load_settings",
]

_PREFIX, _NESTING = "QTS_", "__"
#: Variables that are no settings: the folder of the resolved jars, which `make setup` needs before any conf is read.
_OTHER_VARIABLES = {"QTS_JARS"}


#: What no work folder's path may hold: delta-rs takes paths for URLs, in which %20 is a blank, and refuses the others
#: or ends in a panic; SQLAlchemy cuts at a question mark. A name that is no UTF-8 has no URL at all.
_UNUSABLE = re.compile(r"%[0-9A-Fa-f]{2}|[][?\\^|\x00-\x1f\x7f\ud800-\udfff]")


class Settings(BaseSettings):
    """Everything that a job is told. `Settings()` holds defaults only; `load_settings` reads files and environment."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix=_PREFIX, env_nested_delimiter=_NESTING)

    workdir: Path = Path("work")
    sources: tuple[Source, ...] = ()
    spark: Spark = Spark()
    ingest: Ingest = Field(default_factory=Ingest)
    bars: Bars = Bars()
    forecast: Forecast = Forecast()
    regime: Regime = Regime()
    sentiment: Sentiment = Sentiment()
    trade: Trade = Field(default_factory=Trade)
    risk: Path = Field(default_factory=lambda: conf_file("risk.yml"))
    strategies: Path = Field(default_factory=lambda: conf_file("strategies.yml"))
    mlflow: Mlflow = Mlflow()
    monitor: Monitor = Monitor()
    backtest: Backtest = Field(default_factory=Backtest)
    log: Log = Log()

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        return refuse_unknown(cls, data)

    @field_validator("workdir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        path = os.path.abspath(value.expanduser())
        if found := _UNUSABLE.search(path):
            raise PydanticCustomError(
                "workdir",
                "its path holds {what}, which a library that keeps tables or models there reads as something else; "
                "rename the folder, or name another one (letters of any alphabet, blanks and quotes are fine)",
                {"what": ascii(found[0])},
            )
        return Path(path)

    @field_validator("sources")
    @classmethod
    def _names_differ(cls, value: tuple[Source, ...]) -> tuple[Source, ...]:
        names = [source.name for source in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise PydanticCustomError("sources", "two sources are called {twice}", {"twice": ", ".join(twice)})
        return value

    @property
    def tables(self) -> Path:
        """Root folder of the Delta tables."""
        return self.workdir / "tables"

    def checkpoint(self, job: str) -> Path:
        """Folder where one streaming job keeps its progress."""
        return self.workdir / "checkpoints" / job

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking and registry store."""
        return self.mlflow.tracking_uri or f"sqlite:///{self.workdir / 'mlflow.db'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the arguments: `load_settings` merges the other sources itself, to say where a bad value comes from."""
        return (init_settings,)


#: Keys whose relative paths count from the conf file that names them; `*` is any place in a list.
_CONF_PATHS = (
    ("risk",),
    ("strategies",),
    ("ingest", "expectations"),
    ("backtest", "bars"),
    ("sources", "*", "mapping"),
    ("sources", "*", "path"),
)


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """The settings of a run.

    Args:
        config: a conf file; by default conf/local.yml of the current folder, else the one that comes with QTS.
        overrides: top-level keys with their values or nested dicts; they win over everything.

    Raises:
        MissingInput: the conf file does not exist.
        ConfigError: unknown keys, wrong types or values out of range: one line each, with where it was given.
    """
    layers: list[tuple[str, dict[str, Any]]] = []
    for path, data in conf_chain(config if config is not None else conf_file("local.yml")):
        layers.append((f"in {path}", _from_conf_folder(data, path.parent)))
    dotenv = {key: value for key, value in dotenv_values(".env").items() if key.upper().startswith(_PREFIX)}
    _refuse_unknown_variables(dotenv, "in .env")
    _refuse_unknown_variables(os.environ, "in the environment")
    try:
        layers.append(("in .env", DotEnvSettingsSource(Settings, env_file=".env", dotenv_filtering="only_existing")()))
        layers.append(("in the environment", EnvSettingsSource(Settings)()))
    except SettingsError as error:
        named = re.search(r'field "(\w+)"', str(error))
        variable = _PREFIX + (named[1].upper() if named else "*")
        raise ConfigError(f"Variable {variable} is not JSON ({error.__cause__}), as lists and mappings are.") from error
    layers.append(("as an option", overrides))
    data = merge(*(layer for _, layer in layers))
    try:
        return Settings(**data)
    except ValidationError as error:
        raise ConfigError("\n".join(_lines(error, data, layers))) from error


def _refuse_unknown_variables(variables: Mapping[str, Any], where: str) -> None:
    for variable in variables:
        if variable.upper().startswith(_PREFIX) and variable not in _OTHER_VARIABLES:
            section, *rest = variable.upper().removeprefix(_PREFIX).split(_NESTING)
            if section.lower() not in Settings.model_fields:
                known = [_NESTING.join((_PREFIX + name.upper(), *rest)) for name in Settings.model_fields]
                hint = did_you_mean(variable, known) or f" Known are {', '.join(known)}."
                raise ConfigError(f"Unknown variable {variable} {where}.{hint}")


def _from_conf_folder(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    def resolve(value: Any, keys: tuple[str, ...]) -> Any:
        if not keys:
            remote = not isinstance(value, str) or re.match(r"[a-z][a-z0-9+]*:/", value)
            return value if remote else str(folder / Path(value).expanduser())
        if keys[0] == "*" and isinstance(value, list):
            return [resolve(item, keys[1:]) for item in value]
        if isinstance(value, dict) and keys[0] in value:
            return {**value, keys[0]: resolve(value[keys[0]], keys[1:])}
        return value

    for keys in _CONF_PATHS:
        data = resolve(data, keys)
    return data


def _lines(error: ValidationError, data: dict[str, Any], layers: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """One line for each key at fault: its path, what is wrong, and where it was given."""
    faults: dict[tuple[str | int, ...], list[str]] = {}
    for fault in error.errors():
        keys, given = _keys_and_value(fault["loc"], data, missing=fault["type"] == "missing")
        context = fault.get("ctx", {})
        text = fault["msg"]
        if fault["type"] == "unknown_key":
            keys = (*keys, context["keys"][0])
        elif fault["type"] == "union_tag_invalid":
            keys = (*keys, "type")
            tags = [tag.strip("' ") for tag in context["expected_tags"].split(",")]
            text = f"expected {', '.join(tags)}, not {context['tag']!r}.{did_you_mean(context['tag'], tags)}"
        elif fault["type"] == "union_tag_not_found":
            text = "type is missing; it says what kind of source this is: files, kafka or replay"
        elif fault["type"] == "missing":
            text = "is required"
        elif text.startswith("Input should be "):
            shown = "" if isinstance(given, (Mapping, list, tuple)) else f", not {given!r}"
            wanted = text.removeprefix("Input should be ").split(", unable to parse")[0].replace("valid tuple", "list")
            text = f"expected {wanted}{shown}"
        faults.setdefault(keys, []).append(text.rstrip("."))
    for keys, texts in faults.items():
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
        yield f"{path}: {' or '.join(dict.fromkeys(texts))} ({_origin(keys, layers)})."


def _keys_and_value(loc: tuple[str | int, ...], data: Any, missing: bool) -> tuple[tuple[str | int, ...], Any]:
    """The keys that a user wrote; pydantic's locations also name branches of unions."""
    keys: list[str | int] = []
    for place, part in enumerate(loc):
        inside = (isinstance(data, Mapping) and part in data) or (
            isinstance(data, (list, tuple)) and isinstance(part, int) and part < len(data)
        )
        if inside:
            data = data[part]
            keys.append(part)
        elif missing and place == len(loc) - 1:
            keys.append(part)
    return tuple(keys), data


def _origin(keys: tuple[str | int, ...], layers: list[tuple[str, dict[str, Any]]]) -> str:
    """Which layer gave the value, or the section that lacks it: the topmost that has most of its keys."""
    depths: dict[str, int] = {}
    for where, data in layers:
        value: Any = data
        depths[where] = 0
        for key in keys:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                break
            depths[where] += 1
    return max(reversed(depths), key=depths.__getitem__)
