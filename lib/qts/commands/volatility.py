"""`qts volatility evaluate`: which model forecasts the next day's variance best, and by how much, honestly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qts.commands.common import Json, Summary, report
from qts.commands.files import read_table, write_table

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(help="Volatility models.", no_args_is_help=True)


def _column(option: str, what: str) -> Any:
    return typer.Option(option, help=what, show_default=False, metavar="COL")


@app.callback()
def _group() -> None:
    """Volatility models."""


@app.command()
def evaluate(
    file: Annotated[Path, typer.Option("--input", help="csv or parquet, one day a row.")],
    date: Annotated[str, _column("--date", "Column of the day.")],
    rv: Annotated[str, _column("--rv", "Column of the realised variance.")],
    rq: Annotated[str | None, _column("--rq", "Column of the realised quarticity, for harq.")] = None,
    rs_minus: Annotated[str | None, _column("--rs-minus", "Column of the semivariance of falls.")] = None,
    rs_plus: Annotated[str | None, _column("--rs-plus", "Column of the semivariance of rises.")] = None,
    returns: Annotated[str | None, _column("--returns", "Column of daily returns, for leverage and GARCH.")] = None,
    close: Annotated[str | None, _column("--close", "Column of closing prices, in place of --returns.")] = None,
    train: Annotated[
        int | None, typer.Option("--train", help="Days before the first test day; by default two fifths of all.")
    ] = None,
    models: Annotated[str, typer.Option("--models", help="Names, by commas; the benchmarks come along.")] = "all",
    output: Annotated[
        Path | None, typer.Option("--output", help="Where to write every day's forecasts (csv or parquet).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compares forecasts of the next day's realised variance.

    The window expands after the first N days. One model is chosen inside them; all are judged on all days after.
    """

    def work() -> Summary:
        from qts.forecast.volatility import evaluation, table
        from qts.forecast.volatility.models import COMBINATION, build

        named = () if models == "all" else tuple(name.strip() for name in models.split(",") if name.strip())
        columns = table.Columns(date, rv, rq, rs_minus, rs_plus, returns, close)
        days = table.read_days(read_table(file, "one day a row"), columns)
        known = len(days.dates)
        result = evaluation.evaluate(
            days.measures,
            build(named),
            evaluation.default_train(known) if train is None else train,
            combined=not named or COMBINATION in named,
        )
        if output is not None:
            write_table(_daily(days.dates[result.train :], result), output)
        return {
            "n_test": len(result.variance),
            "chosen": result.chosen,
            "train": result.train,
            "days": known,
            "first_test_day": days.dates[result.train],
            "last_test_day": days.dates[-1],
            "models": dict(result.figures),
            "notes": [*days.notes, *result.notes],
            **({"output": str(output)} if output is not None else {}),
        }

    report(as_json, work, _show)


def _daily(dates: tuple[str, ...], result: Any) -> Any:
    import pandas as pd

    columns: dict[str, Any] = {"date": list(dates), "variance": result.variance}
    for name, forecast in result.forecast.items():
        columns |= {name: forecast, f"{name}_lower90": result.lower[name], f"{name}_upper90": result.upper[name]}
    return pd.DataFrame(columns)


def _show(console: Console, summary: Summary) -> None:
    from rich.table import Table

    first, last, days = summary["first_test_day"], summary["last_test_day"], summary["n_test"]
    console.print(f"{days:,} days tested, {first} to {last}, after {summary['train']:,} days of training.")
    names = ("model", "RMSE", "QLIKE", "cut RW", "EWMA", "t RW", "EWMA", "90%", "worst")
    table = Table(*names, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    table.columns[0].no_wrap = True
    for name, figures in sorted(summary["models"].items(), key=lambda item: item[1]["qlike"]):
        table.add_row(
            f"{name} *" if name == summary["chosen"] else name,
            f"{figures['rmse']:.2e}",
            f"{figures['qlike']:.3f}",
            f"{figures['rmse_cut_vs_random_walk']:.1%}",
            f"{figures['rmse_cut_vs_ewma']:.1%}",
            f"{figures['dm_qlike_t_vs_random_walk']:.1f}",
            f"{figures['dm_qlike_t_vs_ewma']:.1f}",
            f"{figures['coverage90']:.1%}",
            f"{figures['coverage90_worst250']:.1%}",
        )
    console.print(table)
    best = summary["models"][summary["chosen"]]
    low, high = best["rmse_cut_vs_random_walk_interval"]
    console.print(
        "Cut: by how much the RMSE lies below that of the random walk and of EWMA. t: Diebold-Mariano on QLIKE, "
        "negative where the model is better. 90%: how often its 90% interval held, over all days and in the worst 250."
    )
    console.print(
        f"* chosen by QLIKE in the training days alone. Its cut against the random walk is {low:.1%} to {high:.1%} "
        f"with 95% confidence; its t on squared errors is {best['dm_se_t_vs_random_walk']:.1f}, and "
        f"{best['dm_se_t_vs_ewma']:.1f} against EWMA, for a few wild days carry the RMSE."
    )
    for note in summary["notes"]:
        console.print(f"Note: {note}")
