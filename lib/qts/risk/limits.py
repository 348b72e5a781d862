"""Limits as conf/risk.yml writes them, and as arrays over instruments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from qts.errors import ConfigError, did_you_mean
from qts.execution.costs import Execution
from qts.market.bar import Array
from qts.portfolio.sizing import Sizing

_Positive = Annotated[float, Field(gt=0)]
_Amount = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Limits:
    """Limits of one account as arrays; inf where there is no limit.

    Attributes:
        max_order_notional, max_order_size, max_position, max_position_notional: per instrument, shape (N,).
        max_order_notional_fraction, max_position_notional_fraction: the same as fractions of equity, shape (N,). Of an
            amount and a fraction the stricter one holds.
        price_collar: largest distance of an order's price from the last good price, a share of it, shape (N,).
        max_price_age: seconds, shape (N,).
        restricted: instruments that may not be traded at all, shape (N,).
        allow_short: whether a position may be below zero, shape (N,).
        lot_size, tick_size: NaN where the limits name none, shape (N,).
        max_gross_exposure, max_net_exposure, min_cash: of the account, account currency.
        max_gross_exposure_fraction, max_net_exposure_fraction: of its equity.
        cash_buffer: share by which an order may turn out dearer than its price; cash is held back for it.
        trading_state: code of `controls.STATES`.
        breakers: see `risk.breakers`.
    """

    max_order_notional: Array
    max_order_size: Array
    max_position: Array
    max_position_notional: Array
    max_order_notional_fraction: Array
    max_position_notional_fraction: Array
    price_collar: Array
    max_price_age: Array
    restricted: npt.NDArray[np.bool_]
    allow_short: npt.NDArray[np.bool_]
    lot_size: Array
    tick_size: Array
    max_gross_exposure: float
    max_net_exposure: float
    max_gross_exposure_fraction: float
    max_net_exposure_fraction: float
    min_cash: float
    cash_buffer: float
    trading_state: int
    breakers: Breakers

    @property
    def relative(self) -> bool:
        """Whether any limit is a fraction of equity."""
        account = (self.max_gross_exposure_fraction, self.max_net_exposure_fraction)
        return min(account) < np.inf or any(
            bool((limit < np.inf).any())
            for limit in (self.max_order_notional_fraction, self.max_position_notional_fraction)
        )


def of_equity(fraction: Array, equity: float) -> Array:
    """Fractions of an account's equity in account currency; of one without equity, or of an unknown one, nothing."""
    capital = equity if equity > 0 else 0.0
    return np.where(np.isposinf(fraction), np.inf, np.where(np.isposinf(fraction), 0.0, fraction) * capital)


#: Keys that hold several values; null says that there are none.
_GROUPS = ("restricted", "instruments", "breakers", "sizing", "execution")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Breaker(_Model):
    """One circuit breaker: what trips it, what it does then, and until when."""

    limit: _Positive
    action: Literal["reducing", "halted"] = "reducing"
    until: Literal["resume", "next_day"] = "resume"

    @model_validator(mode="before")
    @classmethod
    def _limit_alone(cls, data: Any) -> Any:
        """`max_drawdown: 0.3` is short for `max_drawdown: {limit: 0.3}`."""
        return {"limit": data} if isinstance(data, (int, float)) and not isinstance(data, bool) else data


class Breakers(_Model):
    """The circuit breakers; one that is left out never trips.

    Attributes:
        max_drawdown: loss from the highest equity, a share of it.
        max_daily_loss: loss since the day's start, a share of the equity then.
        max_orders_per_bar: orders that one bar time may bring.
    """

    max_drawdown: Breaker | None = None
    max_daily_loss: Breaker | None = None
    max_orders_per_bar: Breaker | None = None


class InstrumentLimits(_Model):
    """What `instruments:` may say about one instrument; all else is as for everybody."""

    max_order_notional: _Amount | None = None
    max_order_size: _Amount | None = None
    max_position: _Amount | None = None
    max_position_notional: _Amount | None = None
    max_order_notional_fraction: _Amount | None = None
    max_position_notional_fraction: _Amount | None = None
    price_collar: _Amount | None = None
    max_price_age: _Positive | None = None
    restricted: bool | None = None
    allow_short: bool | None = None
    lot_size: _Positive | None = None
    tick_size: _Amount | None = None


class RiskLimits(_Model):
    """The form of conf/risk.yml; a limit that is null or left out does not bind.

    Attributes are described in conf/risk.yml itself.
    """

    trading_state: Literal["active", "reducing", "halted"] = "active"
    restricted: tuple[str, ...] = ()
    max_order_notional: _Amount | None = None
    max_order_size: _Amount | None = None
    max_position: _Amount | None = None
    max_position_notional: _Amount | None = None
    max_order_notional_fraction: _Amount | None = None
    max_position_notional_fraction: _Amount | None = None
    max_gross_exposure: _Amount | None = None
    max_net_exposure: _Amount | None = None
    max_gross_exposure_fraction: _Amount | None = None
    max_net_exposure_fraction: _Amount | None = None
    min_cash: Annotated[float, Field(allow_inf_nan=False)] | None = 0.0
    cash_buffer: Annotated[float, Field(ge=0, lt=1)] = 0.0
    price_collar: _Amount | None = None
    max_price_age: _Positive | None = None
    allow_short: bool = True
    lot_size: _Positive | None = None
    tick_size: _Amount | None = None
    breakers: Breakers = Breakers()
    instruments: dict[str, InstrumentLimits] = Field(default_factory=dict)
    sizing: Sizing = Sizing()
    execution: Execution = Execution()

    @classmethod
    def parse(cls, raw: Mapping[str, Any] | None, source: str = "the limits file") -> RiskLimits:
        """Limits from a mapping, as YAML or JSON reads it.

        Raises:
            ConfigError: an unknown key (the nearest known one is named), a wrong type, or a value out of range.
        """
        if raw is None:
            return cls()
        if not isinstance(raw, Mapping):
            raise ConfigError(f"{source} holds {type(raw).__name__}; a mapping in the form of conf/risk.yml is needed.")
        try:
            return cls.model_validate({k: v for k, v in raw.items() if v is not None or k not in _GROUPS})
        except ValidationError as error:
            problems = [_explain(dict(problem)) for problem in error.errors()]
            raise ConfigError(f"{source}: {' '.join(problems)}") from error

    def arrays(self, instruments: Sequence[str]) -> Limits:
        """The limits over instruments, in their order; overrides for others are ignored."""
        count = len(instruments)
        position = {name: index for index, name in enumerate(instruments)}
        unlimited = (
            *("max_order_notional", "max_order_size", "max_position", "max_position_notional"),
            *("max_order_notional_fraction", "max_position_notional_fraction"),
        )
        columns: dict[str, npt.NDArray[Any]] = {
            **{
                name: _filled(getattr(self, name), count, np.inf)
                for name in (*unlimited, "price_collar", "max_price_age")
            },
            **{name: _filled(getattr(self, name), count, np.nan) for name in ("lot_size", "tick_size")},
            "allow_short": np.full(count, self.allow_short),
            "restricted": np.isin(np.array(instruments, dtype=object), np.array(self.restricted, dtype=object)),
        }
        for name, override in self.instruments.items():
            if name in position:
                for key, value in override.model_dump(exclude_none=True).items():
                    columns[key][position[name]] = value
        return Limits(
            **columns,
            max_gross_exposure=_or(self.max_gross_exposure, np.inf),
            max_net_exposure=_or(self.max_net_exposure, np.inf),
            max_gross_exposure_fraction=_or(self.max_gross_exposure_fraction, np.inf),
            max_net_exposure_fraction=_or(self.max_net_exposure_fraction, np.inf),
            min_cash=_or(self.min_cash, -np.inf),
            cash_buffer=self.cash_buffer,
            trading_state=("active", "reducing", "halted").index(self.trading_state),
            breakers=self.breakers,
        )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _filled(value: float | None, count: int, otherwise: float) -> Array:
    return np.full(count, _or(value, otherwise), dtype=np.float64)


def _explain(problem: dict[str, Any]) -> str:
    """One validation problem in one sentence: which key, what is wrong, what was given, what is near."""
    where = ".".join(str(part) for part in problem["loc"]) or "the whole"
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _known_keys(problem["loc"][:-1])
        return f"unknown key {where!r}; known are {', '.join(known)}.{did_you_mean(str(problem['loc'][-1]), known)}"
    return f"{where!r} is {problem['input']!r}: {problem['msg']}."


def _known_keys(section: tuple[str | int, ...]) -> list[str]:
    """The keys that a section of the limits may have."""
    sections: dict[str, type] = {"sizing": Sizing, "execution": Execution, "breakers": Breakers}
    if not section:
        model: type = RiskLimits
    elif section[0] == "instruments":
        model = InstrumentLimits
    else:
        model = Breaker if len(section) > 1 else sections[str(section[0])]
    return [f.name for f in fields(model)] if is_dataclass(model) else list(model.model_fields)  # type: ignore[attr-defined]
