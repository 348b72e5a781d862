"""`qts risk check`: a verdict and reason codes for every order of a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from qts.errors import DataError, UnknownColumn, did_you_mean
from qts.market.bar import Array
from qts.risk.check import check
from qts.risk.limits import RiskLimits
from qts.risk.orders import BookView, Orders, Verdicts

REQUIRED = ("order_id", "instrument", "side", "quantity")
OPTIONAL = ("timestamp", "type", "limit_price", "strategy")
#: Columns whose cells are names, though they may look like numbers or like missing ones.
NAMES = ("order_id", "instrument", "strategy")

_SIDES = {"buy": 1.0, "sell": -1.0}


def check_files(orders: pd.DataFrame, limits: RiskLimits, portfolio: Mapping[str, Any]) -> dict[str, Any]:
    """Checks orders, in the file's order, as one batch: each takes up what the account has left for the next.

    A cell that cannot be used denies its order: bad_order_id, duplicate_order_id, bad_timestamp, bad_side, bad_type,
    bad_quantity, bad_price. An instrument is known when the portfolio or the limits name it.

    Args:
        orders: columns order_id, instrument, side (buy, sell), quantity (> 0); and, where given, timestamp, type
            (market, limit; without it an order with a limit price is a limit order), limit_price, strategy.
        portfolio: {cash, positions {instrument: quantity}, prices {instrument: last good price}}; equity, which some
            limits are fractions of, is the cash and the positions at these prices.

    Returns:
        {orders [{order_id, verdict (accept, cut, deny), quantity, codes, figures {code: {figure, limit}}}],
        accepted, cut, denied}; figures are those of the rules that the order broke, None where one is unknown.

    Raises:
        UnknownColumn: a column is missing.
        DataError: the portfolio lacks a key, or holds something that is not a number.
    """
    for column in REQUIRED:
        if column not in orders.columns:
            given = [str(name) for name in orders.columns]
            raise UnknownColumn(f"The orders have no column {column!r}, only {given}.{did_you_mean(column, given)}")
    cash, positions, prices = _portfolio(portfolio)
    names = tuple(sorted({*positions, *prices, *limits.instruments, *limits.restricted}))
    problems, parsed = _parse(orders, names, prices)
    arrays = limits.arrays(names)
    view = _view(names, cash, positions, prices, arrays.lot_size, arrays.tick_size)
    verdicts = check(parsed, arrays, view)
    rows = [_row(row, str(order), problems, verdicts) for row, order in enumerate(_text(orders["order_id"]))]
    counts = {"accepted": "accept", "cut": "cut", "denied": "deny"}
    return {"orders": rows, **{name: sum(r["verdict"] == v for r in rows) for name, v in counts.items()}}


def _portfolio(portfolio: Mapping[str, Any]) -> tuple[float, dict[str, float], dict[str, float]]:
    if not isinstance(portfolio, Mapping):
        raise DataError(f"The portfolio is a {type(portfolio).__name__}; {{cash, positions, prices}} is needed.")
    for key in ("cash", "positions", "prices"):
        if key not in portfolio:
            given = [str(name) for name in portfolio]
            raise DataError(f"The portfolio has no {key!r}, only {given}.{did_you_mean(key, given)}")
    for key in ("positions", "prices"):
        if not isinstance(portfolio[key], Mapping):
            raise DataError(f"The portfolio's {key!r} is {portfolio[key]!r}; {{instrument: number}} is needed.")
    cash = _number(portfolio["cash"], "cash")
    positions = {str(name): _number(value, f"positions.{name}") for name, value in portfolio["positions"].items()}
    prices = {
        str(n): math.nan if v is None else _number(v, f"prices.{n}", True) for n, v in portfolio["prices"].items()
    }
    return cash, positions, prices


def _number(value: Any, where: str, unknown: bool = False) -> float:
    """A number; NaN or infinite only where it may be unknown."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, bool) or not (unknown or math.isfinite(number)):
        raise DataError(f"The portfolio's {where} is {value!r}; a finite number is needed.")
    return number


def _parse(
    orders: pd.DataFrame, names: tuple[str, ...], prices: Mapping[str, float]
) -> tuple[dict[str, npt.NDArray[np.bool_]], Orders]:
    """The orders as arrays, and by code which of them have a cell that cannot be used; these have no quantity."""
    count = len(orders)
    ids, sides = _text(orders["order_id"]), np.array([s.lower() for s in _text(orders["side"])], dtype=object)
    limit_price = _numbers(orders["limit_price"]) if "limit_price" in orders else np.full(count, np.nan)
    default = np.where(np.isnan(limit_price), "market", "limit").astype(object)
    kinds = np.array([s.lower() for s in _text(orders["type"])], dtype=object) if "type" in orders else default
    kinds = np.where(kinds == "", default, kinds)
    quantity = _numbers(orders["quantity"])
    problems = {
        "bad_order_id": ids == "",
        "duplicate_order_id": pd.Series(ids).duplicated().to_numpy() & (ids != ""),
        "bad_timestamp": _untimed(orders["timestamp"]) if "timestamp" in orders else np.zeros(count, dtype=bool),
        "bad_side": ~np.isin(sides, list(_SIDES)),
        "bad_type": ~np.isin(kinds, ["market", "limit"]),
        "bad_quantity": ~(np.isfinite(quantity) & (quantity > 0)),
    }
    spoilt = np.any(list(problems.values()), axis=0)
    position = {name: index for index, name in enumerate(names)}
    instrument = np.array([position.get(name, -1) for name in _text(orders["instrument"])], dtype=np.int64)
    side = np.array([_SIDES.get(s, np.nan) for s in sides], dtype=np.float64)
    last = np.append([prices.get(name, np.nan) for name in names], np.nan)[instrument]
    limit = kinds == "limit"
    return problems, Orders(
        instrument, np.where(spoilt, np.nan, side * quantity), np.where(limit, limit_price, last), limit
    )


def _text(column: pd.Series[Any]) -> npt.NDArray[np.object_]:
    """Cells as text without blanks around it; empty where there is none."""
    return np.array(["" if pd.isna(cell) else str(cell).strip() for cell in column], dtype=object)


def _numbers(column: pd.Series[Any]) -> Array:
    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


def _untimed(column: pd.Series[Any]) -> npt.NDArray[np.bool_]:
    """Cells that are no time; bare numbers are taken as times since 1970."""
    if pd.api.types.is_numeric_dtype(column):
        return ~np.isfinite(_numbers(column))
    return np.asarray(pd.to_datetime(column, errors="coerce", utc=True, format="mixed").isna())


def _view(
    names: tuple[str, ...],
    cash: float,
    positions: Mapping[str, float],
    prices: Mapping[str, float],
    lot_size: Array,
    tick_size: Array,
) -> BookView:
    count = len(names)
    price = np.array([prices.get(name, np.nan) for name in names], dtype=np.float64)
    nothing, quantity = np.zeros(count), np.array([positions.get(name, 0.0) for name in names], dtype=np.float64)
    exposure = np.where((price > 0) & np.isfinite(price), price, np.nan)
    worth = np.where(quantity == 0, 0.0, quantity * exposure)  # what is not held needs no price
    return BookView(
        quantity=quantity,
        buys=nothing,
        sells=nothing,
        price=price,
        price_age=nothing,
        exposure=exposure,
        inverse=np.zeros(count, dtype=bool),
        multiplier=np.ones(count),
        lot_size=lot_size,
        tick_size=tick_size,
        tradable=np.ones(count, dtype=bool),
        state=np.zeros(count, dtype=np.int8),
        cash=cash,
        equity=math.fsum([cash, *worth.tolist()]),
    )


def _row(row: int, order: str, problems: Mapping[str, npt.NDArray[np.bool_]], verdicts: Verdicts) -> dict[str, Any]:
    own = [code for code, mask in problems.items() if mask[row]]
    # A spoilt order has lost its quantity on the way to the rules: what they then say of the quantity is not its fault.
    codes = own + [code for code in verdicts.codes[row] if not (own and code == "bad_quantity")]
    figures = {}
    for code in (code for code in codes if code in verdicts.figures):
        figure, limit = (float(values[row]) for values in verdicts.figures[code])
        figures[code] = {"figure": _finite(figure), "limit": _finite(limit)}
    return {
        "order_id": order,
        "verdict": str(verdicts.verdict[row]),
        "quantity": float(verdicts.quantity[row]),
        "codes": codes,
        "figures": figures,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
