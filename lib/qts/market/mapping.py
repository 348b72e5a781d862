"""Mappings: which of a vendor's columns is which of ours, so that any file or message can be read.

A mapping is a small YAML file:

```yaml
kind: trade                  # trade, quote, index, headline, or daily (bars, for the replay source only)
timezone: America/New_York   # of times that name none; default UTC
columns:                     # our name: their name
  event_time: ts
  instrument: symbol
  price: px
constants: {venue: NYSE}     # the same for every row
```
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from qts.conf import read_yaml
from qts.errors import ConfigError, UnknownColumn, did_you_mean

Kind = Literal["trade", "quote", "index", "headline", "daily"]
TimeUnit = Literal["s", "ms", "us", "ns"]

_COMMON = ("event_time", "instrument")
_TICK = ("venue", "vendor_id")
#: Our names by kind: those that a mapping has to give (as a column or a constant), and those that it may.
REQUIRED: dict[Kind, tuple[str, ...]] = {
    "trade": (*_COMMON, "price"),
    "quote": (*_COMMON, "bid", "ask"),
    "index": ("event_time", "index_name", "value"),
    "headline": ("event_time", "text"),
    "daily": (*_COMMON, "close"),
}
OPTIONAL: dict[Kind, tuple[str, ...]] = {
    "trade": ("size", *_TICK),
    "quote": ("bid_size", "ask_size", *_TICK),
    "index": (),
    "headline": ("instrument",),
    "daily": ("open", "high", "low", "volume", "venue"),
}
#: Other words for our names, which users write without looking them up.
SYNONYMS = {"id": "vendor_id", "trade_id": "vendor_id"}
#: What a cell of a wide file is, and what names its column.
WIDE: dict[Kind, tuple[str, str]] = {
    "trade": ("instrument", "price"),
    "index": ("index_name", "value"),
    "daily": ("instrument", "close"),
}
_NUMBERS = frozenset(
    ("price", "size", "bid", "bid_size", "ask", "ask_size", "value", "open", "high", "low", "close", "volume")
)


#: The columns of a tick that a mapping may leave without a value.
_GIVEN = ("price", "size", "bid", "bid_size", "ask", "ask_size", "side", *_TICK)


def _texts(value: object) -> object:
    """YAML reads `true` and `1` as a boolean and a number; the data's cells are compared as lower-case text."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return tuple(str(item).lower() for item in values)


def _text_keys(value: object) -> object:
    return {str(key).lower(): item for key, item in value.items()} if isinstance(value, MappingABC) else value


class _Part(BaseModel):
    """A group of keys: frozen, and an unknown one is refused with the nearest known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, MappingABC):
            known = list(cls.model_fields)
            for key in data:
                if key not in known:
                    hint = did_you_mean(str(key), known) or f" Known are {', '.join(known)}."
                    raise PydanticCustomError("key", "unknown key {key}.{hint}", {"key": repr(key), "hint": hint})
        return data


class Side(_Part):
    """Which side was the aggressor, from a column of the vendor.

    >>> Side(column="buyer_is_maker", values={True: "sell", False: "buy"}).values
    {'true': 'sell', 'false': 'buy'}
    """

    column: str
    values: Annotated[dict[str, Literal["buy", "sell"]], BeforeValidator(_text_keys)] = Field(
        default={"buy": "buy", "sell": "sell"}
    )


class Flag(_Part):
    """A vendor's own mark on records that are not to be trusted."""

    column: str
    value: Annotated[tuple[str, ...], BeforeValidator(_texts)] = ("1", "true")


class Mapping(_Part):
    """How one family of files or messages is read.

    Attributes:
        kind: what a record is.
        timezone: IANA zone of times that do not name one.
        columns: our name to their name.
        constants: our name to a value that holds for every record.
        instruments: the instruments that are expected; others are refused by ingest. `any` expects no particular ones.
        unit: of times that are numbers, since 1970-01-01 UTC.
        time_format: Spark datetime pattern of times that are not ISO 8601.
        time_of_day: when in the day a record without a time of day became known, in `timezone`: "16:00".
        wide: one column an instrument instead of one row; columns that are not mapped are instruments.
        side, flag: see `Side` and `Flag`.
        delimiter: of csv.
        header: names of csv columns where the data has none.
    """

    kind: Kind
    timezone: str = "UTC"
    columns: dict[str, str]
    constants: dict[str, str | float] = Field(default_factory=dict)
    instruments: Literal["any"] | tuple[str, ...] = "any"
    unit: TimeUnit | None = None
    time_format: str | None = None
    time_of_day: str | None = None
    wide: bool = False
    side: Side | None = None
    flag: Flag | None = None
    delimiter: str = Field(",", min_length=1, max_length=1)
    header: tuple[str, ...] | None = None
    _name: str = PrivateAttr("mapping")

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self._name

    @property
    def used_columns(self) -> tuple[str, ...]:
        """Every column of theirs that this mapping names, each once."""
        extra = [part.column for part in (self.side, self.flag) if part is not None]
        return tuple(dict.fromkeys([*self.columns.values(), *extra]))

    @property
    def wide_columns(self) -> tuple[str, str]:
        """(our name for the column's name, our name for a cell) of a wide file."""
        return WIDE[self.kind]

    @property
    def absent(self) -> frozenset[str]:
        """The columns of a tick that no record of this mapping has a value for.

        >>> columns = {"event_time": "t", "instrument": "i", "bid": "b", "ask": "a"}
        >>> sorted(Mapping.of({"kind": "quote", "columns": columns}).absent)
        ['ask_size', 'bid_size', 'price', 'side', 'size', 'vendor_id', 'venue']
        """
        given = {*self.columns, *self.constants, *(self.wide_columns if self.wide else ())}
        return frozenset(_GIVEN) - given - ({"side"} if self.side is not None else set())

    def check_columns(self, available: Iterable[str], file: str) -> None:
        """Refuses data that lacks a column of the mapping.

        Raises:
            UnknownColumn: with the file, what it has, and the nearest column.
        """
        has = list(available)
        for named in self.used_columns:
            if named not in has:
                listed = ", ".join(repr(column) for column in sorted(has)) or "no columns"
                raise UnknownColumn(
                    f"mapping {self.name} names {named!r} but {file} has {listed}.{did_you_mean(named, has)}"
                )

    def cells(self, available: Iterable[str]) -> tuple[str, ...]:
        """The columns of a wide file that are instruments, in file order; none for a long file.

        Raises:
            UnknownColumn: an instrument of the mapping's list has no column, or there are none at all.
        """
        if not self.wide:
            return ()
        free = tuple(column for column in available if column not in self.used_columns)
        if self.instruments == "any":
            if not free:
                raise UnknownColumn(f"mapping {self.name} is wide, but no column is left that could be an instrument.")
            return free
        for instrument in self.instruments:
            if instrument not in free:
                raise UnknownColumn(
                    f"mapping {self.name} expects a column for {instrument!r}; there are "
                    f"{', '.join(map(repr, free)) or 'none'}.{did_you_mean(instrument, free)}"
                )
        return tuple(column for column in free if column in self.instruments)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a mapping file.

        Raises:
            MissingInput: there is no such file.
            ConfigError: an unknown key, column or zone, or a required column that is neither mapped nor constant.
        """
        return cls.of(read_yaml(path), name=path.name)

    @classmethod
    def of(cls, data: MappingABC[str, Any], *, name: str = "mapping") -> Self:
        """A mapping from the keys that its file would have; errors as for `load`."""
        try:
            mapping = cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError("\n".join(_line(fault, name) for fault in error.errors())) from error
        mapping._name = name
        return mapping

    @field_validator("columns", mode="before")
    @classmethod
    def _our_words(cls, value: object) -> object:
        if not isinstance(value, MappingABC):
            return value
        ours = [SYNONYMS.get(name, name) for name in value]
        if len(set(ours)) < len(ours):
            _fail(f"columns name one of ours twice: {', '.join(map(str, value))}; keep one")
        return dict(zip(ours, value.values(), strict=True))

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise PydanticCustomError(
                "zone",
                "{zone} is no time zone; expected an IANA name such as 'America/New_York'",
                {"zone": repr(value)},
            ) from error
        return value

    @field_validator("time_of_day", mode="before")
    @classmethod
    def _time_of_day(cls, value: object) -> object:
        # YAML 1.1 reads an unquoted 16:00 as the number 960, base sixty.
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 3600:
            minutes = value if value < 24 * 60 else value // 60
            value = f"{minutes // 60:02d}:{minutes % 60:02d}:{0 if value < 24 * 60 else value % 60:02d}"
        if value is None:
            return None
        if isinstance(value, str) and re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", value):
            try:
                return time.fromisoformat(
                    value.zfill(len("0:00:00" if value.count(":") == 2 else "0:00") + 1)
                ).isoformat()
            except ValueError:
                pass
        raise PydanticCustomError(
            "time", "{value} is no time of day; expected one such as '16:00'", {"value": repr(value)}
        )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        known = REQUIRED[self.kind] + tuple(name for name in OPTIONAL[self.kind] if name not in REQUIRED[self.kind])
        for group, names in (("columns", self.columns), ("constants", self.constants)):
            for given in names:
                if given not in known or (group == "constants" and given == "event_time"):
                    hint = did_you_mean(given, known) or f" Known are {', '.join(known)}."
                    _fail(f"{group} name {given!r}, which a {self.kind} does not have.{hint}")
        if twice := sorted(set(self.columns) & set(self.constants)):
            _fail(f"{', '.join(twice)} stand in columns and in constants; keep one")
        for given, value in self.constants.items():
            if (given in _NUMBERS) != isinstance(value, float):
                _fail(f"constant {given} is {value!r}; expected {'a number' if given in _NUMBERS else 'text'}")
        if self.wide and self.kind not in WIDE:
            _fail(f"wide: one column an instrument is for {', '.join(WIDE)}, not for a {self.kind}")
        melted = self.wide_columns if self.wide else ()
        given_names = {*self.columns, *self.constants}
        if extra := [name for name in melted if name in given_names]:
            _fail(f"wide files have no column for {', '.join(extra)}: the header names it")
        if missing := [name for name in REQUIRED[self.kind] if name not in given_names and name not in melted]:
            _fail(
                f"a {self.kind} needs {', '.join(missing)} in columns"
                + (" or constants" if missing != ["event_time"] else "")
            )
        if self.side is not None and self.kind != "trade":
            _fail(f"side is for trades, not for a {self.kind}")
        if self.unit is not None and (self.time_format is not None or self.time_of_day is not None):
            _fail("unit is for times that are numbers; leave out time_format and time_of_day")
        return self


def _fail(message: str) -> None:
    raise PydanticCustomError("mapping", "{message}", {"message": message})


def _line(fault: Any, name: str) -> str:
    place = ".".join(str(key) for key in fault["loc"])
    message = fault["msg"].removeprefix("Input should be ")
    expected = f"expected {message}, not {fault['input']!r}" if fault["msg"].startswith("Input should be ") else message
    end = "" if expected.endswith(("?", ".")) else "."
    return f"mapping {name}: {place + ': ' if place else ''}{expected}{end}"
