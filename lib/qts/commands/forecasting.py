"""`qts forecast`: the job, and the evaluation of models on a file of series."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qts.commands.common import Config, Json, Once, Summary, Workdir, load, report
from qts.commands.files import read_table, write_table

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(help="Fits the forecasters and forecasts; `evaluate` judges models on a file.")

_FIGURES = (
    *("rmse", "mae", "mase", "rmsse", "smape"),
    *("crps", "wis", "coverage80", "coverage95"),
    *("theil_u", "dm_t_vs_naive"),
)


@app.callback(invoke_without_command=True)
def forecast(
    context: typer.Context, once: Once = False, config: Config = None, workdir: Workdir = None, as_json: Json = False
) -> None:
    """Fits the forecasters and forecasts.

    Model versions go to MLflow; every bar that has no forecast yet gets one. `qts forecast evaluate` judges models on a
    file.
    """
    if context.invoked_subcommand is not None:
        return

    def work() -> Summary:
        settings = load(config, workdir)
        from qts.pipeline import forecast as job

        return job.run(settings, once=once)

    report(as_json, work)


@app.command()
def evaluate(
    file: Annotated[Path, typer.Option("--input", help="csv or parquet: series, timestamp (or t), y.")],
    horizon: Annotated[int, typer.Option("--horizon", min=1, help="Steps ahead.")],
    models: Annotated[
        str | None, typer.Option("--models", help="Names joined by commas, or all; by default those that fit fast.")
    ] = None,
    season: Annotated[
        int | None, typer.Option("--season", min=1, help="Periods in a season; by default what the calendar says.")
    ] = None,
    test: Annotated[
        float, typer.Option("--test", help="Share of each series that is forecast and scored; a horizon at least.")
    ] = 0.3,
    refit_every: Annotated[
        int | None,
        typer.Option(
            "--refit-every", min=1, help="Origins between two fits; by default 12 to 100, fewer where fits are quick."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", help="csv or parquet for every single forecast.")] = None,
    as_json: Json = False,
) -> None:
    """Judges forecasters on a file of series.

    Rolling origin without look-ahead, intervals calibrated as they would have been then; RMSE, MAE, MASE, RMSSE, sMAPE
    (percent), CRPS, coverage, Theil's U, and Diebold-Mariano against no change. Progress is told on stderr.
    """

    def work() -> Summary:
        from qts.forecast.point.evaluate import Design
        from qts.forecast.point.evaluate import evaluate as judge
        from qts.forecast.point.registry import DEFAULT, build, names
        from qts.forecast.point.series import NAMES, read_long

        wanted = DEFAULT if models is None else names() if models == "all" else _listed(models)
        design = Design(horizon, min(0.5, 1 - test), test, refit_every)
        table = read_long(read_table(file, "columns series, timestamp or t, y", NAMES), season)
        found = judge(table, build(wanted), design, _progress)
        if output is not None:
            write_table(found.rows(), output)
        return found.summary()

    report(as_json, work, _show)


def register(program: typer.Typer) -> None:
    """Adds these commands to the program."""
    program.add_typer(app, name="forecast")


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _progress(model: str, done: int, origins: int) -> None:
    print(f"{model}: {done} of {origins} origins", file=sys.stderr, flush=True)  # noqa: T201  # for who waits


def _show(console: Console, summary: Summary) -> None:
    from rich.table import Table

    console.print(
        f"{summary['n_series']} series, {summary['forecasts']:,} forecasts from {summary['origins']} origins, "
        f"1 to {summary['horizon']} steps ahead"
    )
    table = Table("", *summary["models"], box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for key in (*_FIGURES, "fallbacks"):
        values = [found[key] for found in summary["models"].values()]
        table.add_row(key, *("-" if value is None else f"{value:,.4g}" for value in values))
    console.print(table)
    for reason, count in summary["notes"].items():
        console.print(f"{reason.replace('_', ' ')}: {count:,}")
    console.print(summary["verdict"])
