"""Bars from slots of one second: merged in any order, folded in time order, the same bits however rows arrive.

A batch of ticks is aggregated natively to *partials*, one row per (instrument, kind, slot). Partials merge like sets:
sums are of integers, and open and close carry the order key of their print, so it does not matter over how many
batches the ticks of a slot were spread. When the frontier has passed a slot it is folded, in time order, into the
open bar of every interval; floating sums then always add the same numbers in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from qts.market.returns import log_return

SECOND = 1_000_000_000
#: Sums of sizes and values are kept as whole units and billionths of a unit, both integers.
QUANTUM = 1_000_000_000

KEY = ["instrument", "kind", "slot"]
_SUMS = ["rows", "volume_whole", "volume_part", "value_whole", "value_part", "spread_parts"]
PARTIAL_COLUMNS = [*KEY, "open_key", "open", "close_key", "close", "high", "low", *_SUMS, "simulated"]

_VARIANCES = ["realised_variance", "bipower", "semivariance_minus", "semivariance_plus", "fourth"]
OPEN_BAR_COLUMNS = [
    "instrument",
    "interval_ns",
    "bar",
    "open",
    "high",
    "low",
    "close",
    "trades",
    "quotes",
    *_SUMS[1:],
    "simulated",
    "last_return",
    "returns",
    *_VARIANCES,
]


class Folded(NamedTuple):
    """Bars that are complete, and those that are still open."""

    closed: pd.DataFrame
    still_open: pd.DataFrame


def no_partials() -> pd.DataFrame:
    """An empty frame of partials with its types."""
    kinds: dict[str, object] = dict.fromkeys(PARTIAL_COLUMNS, "int64")
    kinds |= dict.fromkeys(["instrument", "kind"], object) | dict.fromkeys(["open", "close", "high", "low"], "float64")
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in (kinds | {"simulated": "bool"}).items()})


def no_open_bars() -> pd.DataFrame:
    """An empty frame of open bars with its types."""
    whole = {"interval_ns", "bar", "trades", "quotes", "returns", *_SUMS[1:]}
    kinds = {name: "int64" if name in whole else "float64" for name in OPEN_BAR_COLUMNS}
    kinds |= {"instrument": "object", "simulated": "bool"}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})


def merge(partials: pd.DataFrame) -> pd.DataFrame:
    """One row per (instrument, kind, slot), sorted by them.

    Args:
        partials: rows of `PARTIAL_COLUMNS`, any number for a key. `open_key` and `close_key` order the prints of a
            slot by (event time, source position).
    """
    instrument, kind = (pd.factorize(partials[name], sort=True)[0] for name in KEY[:2])
    slot = partials["slot"].to_numpy("int64")
    order = np.lexsort((slot, kind, instrument))
    same = [values[order][1:] == values[order][:-1] for values in (instrument, kind, slot)]
    if not np.logical_and.reduce(same).any():
        return partials[PARTIAL_COLUMNS].take(order).reset_index(drop=True)
    by_open = partials.sort_values([*KEY, "open_key", "open"], kind="stable", ignore_index=True)
    grouped = by_open.groupby(KEY, sort=True)
    merged = grouped[["open_key", "open"]].first()
    by_close = partials.sort_values([*KEY, "close_key", "close"], kind="stable")
    merged[["close_key", "close"]] = by_close.groupby(KEY, sort=True)[["close_key", "close"]].last()
    merged["high"] = grouped["high"].max()
    merged["low"] = grouped["low"].min()
    merged[_SUMS] = grouped[_SUMS].sum()
    merged["simulated"] = grouped["simulated"].max()
    return merged.reset_index()[PARTIAL_COLUMNS]


def slots(partials: pd.DataFrame, quote_driven: frozenset[str] | set[str] = frozenset()) -> pd.DataFrame:
    """One row per (instrument, slot): prices from trades, or from mid quotes for quote-driven instruments.

    Args:
        partials: merged partials.
        quote_driven: instruments whose bars are made of mid quotes (no trades are reported, as in spot FX).

    Returns:
        Sorted by (instrument, slot); slots without a print that counts have NaN prices and carry only their spread.
    """
    is_quote = (partials["kind"] == "quote").to_numpy()
    priced = np.where(partials["instrument"].isin(quote_driven).to_numpy(), is_quote, ~is_quote)
    prints = partials[priced].drop(columns=["kind", "spread_parts"]).rename(columns={"rows": "trades"})
    quotes = partials.loc[is_quote, ["instrument", "slot", "rows", "spread_parts", "simulated"]]
    if quotes.empty:
        return prints.assign(quotes=0, spread_parts=0).sort_values(["instrument", "slot"], ignore_index=True)
    quotes = quotes.rename(columns={"rows": "quotes", "simulated": "quote_simulated"})
    both = prints.merge(quotes, on=["instrument", "slot"], how="outer", sort=True)
    whole = ["trades", "volume_whole", "volume_part", "value_whole", "value_part", "quotes", "spread_parts"]
    both[whole] = both[whole].fillna(0).astype("int64")
    both["simulated"] = both["simulated"].eq(True) | both.pop("quote_simulated").eq(True)
    return both


def fold(
    still_open: pd.DataFrame,
    final: pd.DataFrame,
    intervals: tuple[int, ...],
    frontier: int,
    closed_until: Mapping[int, int] = MappingProxyType({}),
) -> Folded:
    """Adds final slots to the open bars and closes what the frontier has passed.

    Args:
        still_open: open bars of every interval (`OPEN_BAR_COLUMNS`).
        final: slots in (instrument, slot) order that no later tick can change; all at or after those folded before.
        intervals: bar lengths in nanoseconds, whole seconds.
        frontier: nanoseconds since the epoch; bars that end at or before it close.
        closed_until: by interval, the end of its newest closed bar: the end of an input closes bars early, and what
            comes after must not open them again.
    """
    parts = []
    for ns in intervals:
        new = _where(final, final["slot"].to_numpy("int64") >= closed_until.get(ns, 0) // SECOND)
        parts.append(_fold_interval(still_open[still_open["interval_ns"] == ns], new, ns))
    bars = pd.concat([part for part in parts if len(part)] or [still_open.iloc[:0]], ignore_index=True)
    # Compared in bars, not nanoseconds: the end of input is the largest integer; (bar + 1) * interval must not wrap.
    done = (bars["bar"] < frontier // bars["interval_ns"]).to_numpy()
    return Folded(_where(bars, done), _where(bars, ~done))


def _where(rows: pd.DataFrame, chosen: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """The chosen rows, numbered anew; all of them as they are, for a copy of history takes time."""
    return rows if chosen.all() else rows[chosen].reset_index(drop=True)


def _fold_interval(carried: pd.DataFrame, final: pd.DataFrame, interval: int) -> pd.DataFrame:
    if final.empty:
        return carried
    names = pd.Index(sorted(set(final["instrument"]) | set(carried["instrument"])), dtype=object)
    who = np.concatenate([names.get_indexer(carried["instrument"]), names.get_indexer(final["instrument"])])
    bar = np.concatenate([carried["bar"].to_numpy("int64"), final["slot"].to_numpy("int64") * SECOND // interval])
    fresh = np.concatenate([np.zeros(len(carried), dtype=bool), np.ones(len(final), dtype=bool)])
    # Within a bar what was carried comes first, then the new slots in time order: sums add up in the one true order.
    # The new slots are in that order already.
    order = np.lexsort((np.arange(len(who)), fresh, bar, who)) if len(carried) else slice(None)
    who, bar, fresh = who[order], bar[order], fresh[order]
    begins = np.r_[True, (who[1:] != who[:-1]) | (bar[1:] != bar[:-1])]
    starts, group = np.flatnonzero(begins), np.cumsum(begins) - 1

    def column(name: str) -> npt.NDArray[np.float64]:
        both: npt.NDArray[np.float64] = np.concatenate([carried[name].to_numpy(), final[name].to_numpy()])[order]
        return both

    prices = {name: column(name) for name in ("open", "high", "low", "close")}
    priced = np.isfinite(prices["close"])
    out: dict[str, npt.NDArray[np.generic]] = {
        "instrument": names.to_numpy()[who[starts]],
        "interval_ns": np.full(len(starts), interval, dtype=np.int64),
        "bar": bar[starts],
        "open": _pick(prices["open"], priced, group, len(starts), last=False),
        "high": _extreme(np.fmax, prices["high"], starts),
        "low": _extreme(np.fmin, prices["low"], starts),
        "close": _pick(prices["close"], priced, group, len(starts), last=True),
    }
    for name in ("trades", "quotes", *_SUMS[1:]):
        out[name] = np.add.reduceat(column(name), starts)
    out["simulated"] = np.logical_or.reduceat(column("simulated").astype(bool), starts)
    carried_sums = {
        name: np.concatenate([carried[name].to_numpy(), np.full(len(final), np.nan)])[order]
        for name in ("last_return", "returns", *_VARIANCES)
    }
    out |= _variances(prices, column("trades"), fresh, group, len(starts), carried_sums)
    return pd.DataFrame({name: out[name] for name in OPEN_BAR_COLUMNS}, copy=False)


def _variances(
    prices: dict[str, npt.NDArray[np.float64]],
    trades: npt.NDArray[np.float64],
    fresh: npt.NDArray[np.bool_],
    group: npt.NDArray[np.intp],
    bars: int,
    carried: dict[str, npt.NDArray[np.float64]],
) -> dict[str, npt.NDArray[np.generic]]:
    """Sums of powers of the log returns from slot close to slot close; a bar's first one starts at its open."""
    # What was carried without a price has no sums either, and a slot of quotes alone moves nothing.
    rows = np.flatnonzero(np.isfinite(prices["close"]))
    group, fresh = group[rows], fresh[rows]
    close, opened, prints = prices["close"][rows], prices["open"][rows], trades[rows]
    first = np.r_[True, group[1:] != group[:-1]]
    before = np.where(first, opened, np.r_[np.nan, close[:-1]])
    returns = np.where(fresh, log_return(before, close), 0.0)
    counts = fresh & ~(first & (prints < 2))
    last_carried = {name: values[rows] for name, values in carried.items()}
    previous = np.where(
        first, 0.0, np.r_[0.0, np.where(fresh, returns, np.nan_to_num(last_carried["last_return"]))[:-1]]
    )
    terms = {
        "realised_variance": returns**2,
        "bipower": np.abs(returns) * np.abs(previous),
        "semivariance_minus": np.where(returns < 0, returns**2, 0.0),
        "semivariance_plus": np.where(returns > 0, returns**2, 0.0),
        "fourth": returns**4,
        "returns": counts.astype(np.float64),
    }
    # bincount adds its weights one after another from zero, so a carried sum that comes first stays exact.
    sums = {
        name: np.bincount(group, np.where(fresh, term, np.nan_to_num(last_carried[name])), bars).astype(np.float64)
        for name, term in terms.items()
    }
    last = np.zeros(bars)
    last[group] = np.where(fresh, returns, np.nan_to_num(last_carried["last_return"]))
    return {"last_return": last, **sums, "returns": sums["returns"].astype(np.int64)}


def _pick(
    values: npt.NDArray[np.float64], ok: npt.NDArray[np.bool_], group: npt.NDArray[np.intp], bars: int, *, last: bool
) -> npt.NDArray[np.float64]:
    out = np.full(bars, np.nan)
    rows = np.flatnonzero(ok)
    rows = rows if last else rows[::-1]
    out[group[rows]] = values[rows]
    return out


def _extreme(ufunc: np.ufunc, values: npt.NDArray[np.float64], starts: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    out: npt.NDArray[np.float64] = ufunc.reduceat(values, starts)
    return out


def figures(closed: pd.DataFrame, labels: dict[int, str]) -> pd.DataFrame:
    """Closed bars as rows of the `bars` table (times as int64 nanoseconds), in (bar_time, interval, instrument) order.

    Bars without a print (quotes only) are left out. `realised_variance` and its kin are NaN with fewer than two prints.
    Bipower variation is pi/2 sum |r_i||r_i-1| and quarticity n/3 sum r^4 (Barndorff-Nielsen and Shephard, 2004).

    Args:
        labels: the interval's name ("1m") for its length in nanoseconds.
    """
    closed = closed[np.isfinite(closed["close"])]
    volume = closed["volume_whole"] + closed["volume_part"] / QUANTUM
    value = closed["value_whole"] + closed["value_part"] / QUANTUM
    seen = closed["returns"] > 0
    out = pd.DataFrame(
        {
            "instrument": closed["instrument"],
            "interval": closed["interval_ns"].map(labels),
            "bar_time": (closed["bar"] + 1) * closed["interval_ns"],
            **{name: closed[name] for name in ("open", "high", "low", "close")},
            "volume": volume,
            "vwap": (value / volume).where(volume > 0),
            "trades": closed["trades"],
            "spread": (closed["spread_parts"] / QUANTUM / closed["quotes"]).where(closed["quotes"] > 0),
            "realised_variance": closed["realised_variance"].where(seen),
            "bipower": (np.pi / 2 * closed["bipower"]).where(seen),
            "semivariance_minus": closed["semivariance_minus"].where(seen),
            "semivariance_plus": closed["semivariance_plus"].where(seen),
            "quarticity": (closed["returns"] / 3 * closed["fourth"]).where(seen),
            "provenance": np.where(closed["simulated"], "simulated_path", "real"),
        }
    )
    # By numbers: of history's rows, comparing strings would take longer than all else here.
    interval, instrument = (pd.factorize(out[name], sort=True)[0] for name in ("interval", "instrument"))
    return out.take(np.lexsort((instrument, interval, out["bar_time"]))).reset_index(drop=True)
