"""What was known before a bar closed: forecasts, regimes, sentiment and indices as arrays beside the bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from qts.market.bar import Array, IntArray
from qts.market.sentiment.decay import FORGOTTEN, decayed, is_news
from qts.settings import duration
from qts.store.ledger import Ledger

#: A value older than this many bars is no longer news, and at least these days bridge a long weekend.
_BARS, _DAYS = 5, 5
_DAY_NS = 86_400_000_000_000
_REGIME = ("calm", "normal", "stressed", "volatility")
#: Half of the weight of a text is gone after so many bars, and not before so many nanoseconds (6 hours).
_HALF_LIFE_BARS, _HALF_LIFE = 2, 6 * 3_600_000_000_000


def extras(
    ledger: Ledger,
    versions: Mapping[str, int],
    names: Sequence[str],
    times: IntArray,
    interval: int,
) -> dict[str, Array]:
    """What else was known before each bar ended, each of shape (T, N).

    `forecast.<model>.<target>` and its `.sd`; `regime.calm`, `.normal`, `.stressed` (probabilities) and `.volatility`
    (sd of the next bar); `sentiment.score` and `sentiment.news` (tone and amount, decayed) and the same of the whole
    market as `sentiment.market`; `index.<name>`.

    A forecast and a regime count from the bar after the one that they were made at: live they are written after that
    bar's decision, and a replay must not know more. An index value or a text counts when its time lies strictly before
    the bar's end: its own, the vendor's, for a file of past texts has no other. A text that says the same as one
    before it, of the same instrument, counts once, whoever sends it. One without an instrument is about the market.

    Args:
        versions: table versions of the plan; a table at -1 did not exist. That of `batches` says which batches were
            done: what another job had written but not ended then is not seen by a replay either.
        names: instruments, N.
        times: bar ends, nanoseconds, T.
        interval: bar length, nanoseconds.
    """
    if not len(times):
        return {}
    tolerance = max(_BARS * interval, _DAYS * _DAY_NS if interval >= _DAY_NS else 0)
    done_at = versions.get("batches")
    found: dict[str, Array] = {}
    if versions.get("forecasts", -1) >= 0:
        found |= _forecasts(ledger, versions["forecasts"], done_at, names, times, tolerance)
    if versions.get("regimes", -1) >= 0:
        found |= _regimes(ledger, versions["regimes"], done_at, names, times, interval, tolerance)
    if versions.get("sentiment", -1) >= 0:
        found |= _sentiment(ledger, versions["sentiment"], done_at, names, times, interval)
    if versions.get("indices", -1) >= 0:
        found |= _indices(ledger, versions["indices"], done_at, len(names), times, tolerance)
    return found


def _window(field: str, times: IntArray, tolerance: int) -> pc.Expression:
    start, end = (pd.Timestamp(ns, unit="ns", tz="UTC") for ns in (int(times[0]) - tolerance, int(times[-1])))
    return (pc.field(field) >= start) & (pc.field(field) < end)


def _forecasts(
    ledger: Ledger, version: int, done_at: int | None, names: Sequence[str], times: IntArray, tolerance: int
) -> dict[str, Array]:
    columns = ("instrument", "model", "target", "made_at", "horizon", "version", "mean", "sd")
    where = _window("made_at", times, tolerance)
    rows = ledger.read("forecasts", version=version, columns=columns, where=where, done_at=done_at)
    frame = rows.to_pandas()
    frame = frame[frame["horizon"] == 1]
    found: dict[str, Array] = {}
    place = {name: column for column, name in enumerate(names)}
    for (model, target), group in frame.groupby(["model", "target"], sort=True):
        group = group.sort_values(["made_at", "version"], kind="stable")
        for column, suffix in (("mean", ""), ("sd", ".sd")):
            values = np.full((len(times), len(names)), np.nan)
            for instrument, own in group.groupby("instrument", sort=False):
                if instrument in place:
                    made = _nanoseconds(own["made_at"])
                    values[:, place[instrument]] = _as_of(made, own[column].to_numpy(), times, tolerance)
            found[f"forecast.{model}.{target}{suffix}"] = values
    return found


def _regimes(
    ledger: Ledger,
    version: int,
    done_at: int | None,
    names: Sequence[str],
    times: IntArray,
    interval: int,
    tolerance: int,
) -> dict[str, Array]:
    columns = ("instrument", "interval", "bar_time", "version", *_REGIME)
    where = _window("bar_time", times, tolerance)
    frame = ledger.read("regimes", version=version, columns=columns, where=where, done_at=done_at).to_pandas()
    frame = frame[frame["interval"].map(duration) == interval]
    frame = frame.sort_values(["bar_time", "version"], kind="stable")
    place = {name: column for column, name in enumerate(names)}
    found = {f"regime.{name}": np.full((len(times), len(names)), np.nan) for name in _REGIME if len(frame)}
    for instrument, own in frame.groupby("instrument", sort=False):
        if instrument in place:
            known = _nanoseconds(own["bar_time"])
            for name in _REGIME:
                values = _as_of(known, own[name].to_numpy(), times, tolerance)
                found[f"regime.{name}"][:, place[instrument]] = values
    return found


def _sentiment(
    ledger: Ledger, version: int, done_at: int | None, names: Sequence[str], times: IntArray, interval: int
) -> dict[str, Array]:
    half_life = max(_HALF_LIFE_BARS * interval, _HALF_LIFE)
    remembered = FORGOTTEN * half_life
    columns = ("instrument", "event_time", "score", "text_hash")
    # Twice as far back: whether the oldest text that counts is news depends on those as long before it.
    where = _window("event_time", times, 2 * remembered)
    frame = ledger.read("sentiment", version=version, columns=columns, where=where, done_at=done_at).to_pandas()
    shape = (len(times), len(names))
    tone, news, market = np.zeros(shape), np.zeros(shape), np.zeros(shape)

    def of(rows: pd.DataFrame) -> tuple[Array, Array]:
        rows = rows.sort_values(["event_time", "score"], kind="stable")
        rows = rows[is_news(_nanoseconds(rows["event_time"]), rows["text_hash"].to_numpy(np.int64), remembered)]
        return decayed(_nanoseconds(rows["event_time"]), rows["score"].to_numpy(np.float64), times, half_life)

    by_instrument = dict(list(frame.groupby("instrument", sort=False)))
    for column, name in enumerate(names):
        if name in by_instrument:
            tone[:, column], news[:, column] = of(by_instrument[name])
    market[:] = of(frame[frame["instrument"].isna()])[0][:, None]
    return {"sentiment.score": tone, "sentiment.news": news, "sentiment.market": market}


def _indices(
    ledger: Ledger, version: int, done_at: int | None, count: int, times: IntArray, tolerance: int
) -> dict[str, Array]:
    columns = ("index_name", "event_time", "value")
    where = _window("event_time", times, tolerance)
    rows = ledger.read("indices", version=version, columns=columns, where=where, done_at=done_at)
    frame = rows.to_pandas().sort_values(["index_name", "event_time", "value"], kind="stable")
    return {
        f"index.{name}": np.repeat(
            _as_of(_nanoseconds(own["event_time"]), own["value"].to_numpy(), times, tolerance)[:, None], count, axis=1
        )
        for name, own in frame.groupby("index_name", sort=True)
    }


def _nanoseconds(times: pd.Series) -> IntArray:
    nanoseconds: IntArray = times.to_numpy("datetime64[ns]").astype(np.int64)
    return nanoseconds


def _as_of(known: IntArray, values: npt.NDArray[np.float64], times: IntArray, tolerance: int) -> Array:
    """The last value known strictly before each time, NaN where it is older than `tolerance`."""
    last = np.searchsorted(known, times, side="left") - 1
    usable = (last >= 0) & (times - known[np.maximum(last, 0)] <= tolerance)
    return np.where(usable, values[np.maximum(last, 0)], np.nan)
