"""`qts regime`: market regimes of a file's series, and the job that keeps those of the instruments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qts.commands.common import Config, Json, Once, Summary, Workdir, load, report
from qts.errors import ConfigError, DataError, MissingInput, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from qts.regime.fit import Fit
    from qts.regime.model import Regimes

app = typer.Typer(help="Market regimes: fit, filter.")

#: Names, in any case, of a column that says when a row was.
_TIMES = ("timestamp", "date", "datetime", "time", "ts", "ds", "t")
_MODELS = ("auto", "hmm", "markov_switching", "hamilton")


@app.command("fit")
def fit_file(
    source: Annotated[
        Path, typer.Option("--input", help="csv or parquet, one observation a row, oldest first or dated.")
    ],
    column: Annotated[str, typer.Option("--column", help="The series: returns, growth rates.")],
    states: Annotated[
        int | None, typer.Option("--states", help="Number of regimes; left out: 1 to 3, by BIC.", min=1, max=8)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Filtered probabilities go here, csv or parquet.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help=f"One of {', '.join(_MODELS)}.")] = "auto",
    order: Annotated[
        int | None, typer.Option("--order", help="Lags of the autoregression; by default 4 for hamilton, else 0.")
    ] = None,
    train: Annotated[int | None, typer.Option("--train", help="Fit to so many first rows; filter all.", min=1)] = None,
    save: Annotated[Path | None, typer.Option("--save", help="The fitted parameters go here, as JSON.")] = None,
    params: Annotated[Path | None, typer.Option("--params", help="Saved parameters: filter by them, fit none.")] = None,
    starts: Annotated[int, typer.Option("--starts", help="Random starts of the search.", min=1, max=200)] = 12,
    seed: Annotated[int, typer.Option("--seed", help="Of the starts.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Fits regimes to a series.

    hmm is a Gaussian hidden Markov model; markov_switching the same with the chain's stationary distribution as its
    start, or an autoregression with --order; hamilton an AR(4) around a switching mean with one variance. auto takes
    hmm, or for two states of a short series hamilton where its AIC is lower. Probabilities of a row use the parameters,
    that row and earlier rows only; with --train or --params they do not change when rows are appended.
    """

    def work() -> Summary:
        if model not in _MODELS:
            raise ConfigError(f"--model is {model!r}; expected {', '.join(_MODELS)}.{did_you_mean(model, _MODELS)}")
        if params is not None and (train is not None or states is not None or order is not None):
            raise ConfigError("--params brings a fitted model: leave --states, --order and --train out.")
        table, values, disorder = _series(source, column)
        if params is not None:
            summary, regimes = _saved(params, values, column)
        else:
            fits = _fits(values[:train], states, model, order, starts, seed)
            summary, regimes = _summary(fits, values[:train], column), fits[0].regimes
            if save is not None:
                _save(fits[0], save)
                summary["saved"] = str(save)
        summary["notes"] = [*disorder, *summary["notes"]]
        if output is not None:
            _write(table, column, regimes, values, output)
            summary["output"] = str(output)
        return summary

    report(as_json, work)


@app.command("run")
def run_job(once: Once = False, config: Config = None, workdir: Workdir = None, as_json: Json = False) -> None:
    """Fits regimes to bars, filters every bar.

    Versions go to MLflow, probabilities per bar and instrument to the table regimes.
    """

    def work() -> Summary:
        settings = load(config, workdir)
        from qts.pipeline import regimes as job

        return job.run(settings, once=once)

    report(as_json, work)


def _series(source: Path, column: str) -> tuple[pd.DataFrame, Any, list[str]]:
    """The rows in order of time, their values, and what was mended."""
    import numpy as np
    import pandas as pd

    from qts.commands.files import read_table, require_columns

    table = read_table(source, "a table with a column of numbers")
    require_columns(table, [column], source)
    table, notes = _in_order(table)
    numbers = pd.to_numeric(table[column], errors="coerce")
    bad = table[column].notna() & numbers.isna()
    if bad.any():
        raise DataError(
            f"Column {column!r} of {source} has {int(bad.sum())} values that are no numbers, the first "
            f"{table[column][bad].iloc[0]!r}; expected numbers or empty cells."
        )
    return table, numbers.to_numpy(np.float64), notes


def _in_order(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows by a column of times, where there is one that tells them apart; whole repeats of a row are left out."""
    import pandas as pd

    from qts.market.times import written_times

    name = next((one for one in table.columns if str(one).strip().lower() in _TIMES), None)
    if name is None:
        return table, []
    notes: list[str] = []
    once = table[~table.duplicated()]
    times = once[name] if pd.api.types.is_numeric_dtype(once[name]) else written_times(once[name])
    if times.isna().any() or not times.is_unique:
        return table, notes
    if repeats := len(table) - len(once):
        notes.append(f"{repeats} row{'s' * (repeats > 1)} left out: they repeat another row whole.")
    if not times.is_monotonic_increasing:
        notes.append(f"Rows were not in order of {str(name)!r} and have been sorted.")
        once = once.loc[times.sort_values().index]
    return once.reset_index(drop=True), notes


def _fits(values: Any, states: int | None, model: str, order: int | None, starts: int, seed: int) -> list[Fit]:
    """The fit that is reported first, then what it was compared with."""
    from qts.regime.fit import KINDS, choose_kind, choose_states, fit

    kind = next((known for known in KINDS if known == model), None)
    if states is None:
        if order is not None:
            raise ConfigError("--order needs --states: the number of states is chosen among models without lags.")
        return [choose_states(values, kind=kind or "hmm", starts=starts, seed=seed)]
    if kind is None and order is None:
        return choose_kind(values, states, starts=starts, seed=seed)
    return [fit(values, states, kind or "markov_switching", order=order, starts=starts, seed=seed)]


def _summary(fits: list[Fit], values: Any, column: str) -> Summary:
    import numpy as np

    from qts.regime.fit import EXPLAINED, explained

    best = fits[0]
    counts = explained(best.regimes, values[np.isfinite(values)])
    outliers = [
        f"State {name} explains {count:.1f} observations: it is an outlier and no regime. Take fewer states, or check "
        "the series."
        for name, count in zip(best.regimes.names, counts, strict=True)
        if count < EXPLAINED
    ]
    return {
        "model": best.kind,
        "column": column,
        "log_likelihood": best.log_likelihood,
        "observations": best.observations,
        **_described(best.regimes, values),
        "parameters": best.parameters,
        "aic": best.aic,
        "bic": best.bic,
        "optima": list(best.optima),
        "notes": outliers,
        "others": [{"model": f.kind, "log_likelihood": f.log_likelihood, "aic": f.aic, "bic": f.bic} for f in fits[1:]],
    }


def _described(regimes: Regimes, values: Any) -> Summary:
    import numpy as np

    # JSON has no infinity: a state that is never left has no duration.
    durations = [float(d) if np.isfinite(d) else None for d in regimes.expected_duration]
    figures = zip(regimes.names, regimes.mean, regimes.sd, durations, regimes.stationary, strict=True)
    return {
        "missing": int((~np.isfinite(values)).sum()),
        "states": [
            {"name": name, "mean": float(mean), "sd": float(sd), "expected_duration": duration, "stationary": float(pi)}
            for name, mean, sd, duration, pi in figures
        ],
        "transition": regimes.transition.tolist(),
        "start": regimes.start.tolist(),
        "ar": regimes.ar.tolist(),
    }


def _save(best: Fit, path: Path) -> None:
    try:
        path.write_text(json.dumps({"model": best.kind, **best.regimes.to_params()}, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}. Name a file in a folder that exists.") from error


def _saved(path: Path, values: Any, column: str) -> tuple[Summary, Regimes]:
    """What saved parameters make of a series."""
    import numpy as np

    from qts.regime.forward import filter_series
    from qts.regime.model import Regimes

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingInput(f"There is no file {path}; expected what --save wrote.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}. Expected what --save wrote.") from error
    regimes = Regimes.of_params(content if isinstance(content, dict) else {})
    density = filter_series(regimes, values).log_density
    summary = {
        "model": content.get("model"),
        "column": column,
        "log_likelihood": float(np.nansum(density)),
        "observations": int(np.isfinite(density).sum()),
        "notes": [],
        **_described(regimes, values),
    }
    return summary, regimes


def _write(table: pd.DataFrame, column: str, regimes: Regimes, values: Any, output: Path) -> None:
    """One row an input row: its columns that are no numbers (times, names), the series, the probabilities."""
    import pandas as pd

    from qts.commands.files import write_table
    from qts.regime.forward import filter_series

    found = filter_series(regimes, values)
    labels = [name for name in table.columns if name == column or not pd.api.types.is_numeric_dtype(table[name])]
    rows = table[labels].copy()
    for k, name in enumerate(regimes.names):
        rows[f"p_{name}"] = found.probability[:, k]
    rows["regime"] = pd.Series(regimes.names, dtype=object).to_numpy()[found.probability.argmax(axis=1)]
    write_table(rows, output)


def register(program: typer.Typer) -> None:
    """Adds these commands to the program."""
    program.add_typer(app, name="regime")
