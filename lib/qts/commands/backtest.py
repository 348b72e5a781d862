"""`qts backtest`: strategies and policies over a file of bars, and how much of what they show may be luck."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qts.commands.common import EXIT_BAD_INPUT, Config, Json, Summary, Workdir, load, report
from qts.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from qts.settings import Settings


def backtest(
    bars: Annotated[Path, typer.Option("--bars", help="csv or parquet; long, or wide with one close column a ticker.")],
    strategies: Annotated[
        str | None, typer.Option("--strategies", help="all, or names joined by commas.", show_default="all")
    ] = None,
    policy: Annotated[str | None, typer.Option("--policy", help="Bandit that chooses among them, say linucb.")] = None,
    instruments: Annotated[str | None, typer.Option("--instruments", help="Of the file, by commas; else all.")] = None,
    start: Annotated[str | None, typer.Option("--start", help="First day that is traded, say 2005-01-01.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Last day.")] = None,
    walk_forward: Annotated[
        bool, typer.Option("--walk-forward", help="Choose parameters on the past, measure on what came after.")
    ] = False,
    anchored: Annotated[bool, typer.Option("--anchored", help="Training always begins at the first bar.")] = False,
    scenarios: Annotated[
        str | None, typer.Option("--scenarios", help="all, or windows (2008, ...) and shocks (gap, ...), by commas.")
    ] = None,
    compare: Annotated[str | None, typer.Option("--compare", help="Two of them by a comma: paired tests.")] = None,
    cash: Annotated[float | None, typer.Option("--cash", help="To begin with.", show_default="1000000")] = None,
    limits: Annotated[bool, typer.Option("--limits", help="Let the limits of risk.yml bind, as they do live.")] = False,
    spark: Annotated[bool, typer.Option("--spark", help="Spread experiments over Spark tasks.")] = False,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes.", show_default="cores")] = None,
    config: Config = None,
    workdir: Workdir = None,
    as_json: Json = False,
) -> None:
    """Backtests strategies and policies.

    The live decision step over history, net of costs, beside buy-and-hold, corrected for the number of trials.
    """

    def work() -> Summary:
        given: dict[str, Any] = {
            "bars": bars.absolute(),
            "strategies": strategies,
            "policy": policy,
            "instruments": _names(instruments),
            "start": start,
            "end": end,
            "walk_forward": walk_forward or None,
            "anchored": anchored or None,
            "scenarios": _names(scenarios),
            "compare": _names(compare),
            "cash": cash,
            "limits": limits or None,
            "spark": spark or None,
            "workers": workers,
        }
        chosen = {key: value for key, value in given.items() if value is not None}
        settings = load(config, workdir, backtest=chosen, log={"level": "warning"})
        return run(settings)

    report(as_json, work, show)


def run(settings: Settings, once: bool = True) -> Summary:
    """Backtests the bars that the settings name. It is one pass, so `once` changes nothing."""
    from qts.backtest.market import NAMES, market_of
    from qts.commands.files import read_table
    from qts.pipeline.backtest import execute

    path = settings.backtest.bars
    if path is None:
        raise ConfigError("backtest.bars names no file; set it in the conf file, or run `qts backtest --bars FILE`.")
    began = time.monotonic()
    table = read_table(path, "bars, as csv or parquet", NAMES)
    summary = execute(settings, market_of(table, path.name.split(".")[0]))
    return summary | {"bars_file": str(path), "seconds": time.monotonic() - began}


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def show(console: Console, summary: Summary) -> None:
    """The experiments as a table, the benchmark first, then the verdict and the notes."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("strategy", no_wrap=True)
    for name in ("return", "Sharpe", "max dd", "trips", "t", "p", "deflated", "excess p"):
        table.add_column(name, justify="right")
    table.add_row("buy-and-hold", *_figures(summary["benchmark"]), style="bold")
    for row in sorted(summary["experiments"], key=_by_sharpe):
        if row["metrics"] is None:
            table.add_row(row["strategy"], "failed:", row["error"], style="red")
            continue
        tests = [_number(row[key], ".3f") for key in ("t", "p", "deflated_sharpe", "excess_p")]
        metrics = row["metrics"]
        table.add_row(row["strategy"], *_figures(metrics), f"{metrics['trades']:,}", *tests)
    console.print(table)
    for name, scenario in summary.get("scenarios", {}).items():
        total = scenario["benchmark"]["total_return"]
        console.print(f"\n{name}: {scenario['bars']:,} bars, buy-and-hold {total:+.1%}", style="bold")
        for row in sorted(scenario["experiments"], key=_by_sharpe):
            metrics = row["metrics"]
            if metrics is not None:
                console.print(
                    f"  {row['strategy']}: {metrics['total_return']:+.1%}, worst {metrics['max_drawdown']:.1%}"
                )
    console.print(f"\n{summary['verdict']}", style="bold", soft_wrap=True)
    if "comparison" in summary:
        console.print(summary["comparison"]["verdict"], soft_wrap=True)
    for note in summary["notes"]:
        console.print(f"- {note}", soft_wrap=True)
    console.print(f"Report: {summary['report']}", soft_wrap=True)
    console.print(f"Runs: mlflow ui --backend-store-uri {summary['tracking_uri']}", soft_wrap=True)


def _by_sharpe(row: Summary) -> float:
    sharpe = row["metrics"]["sharpe"] if row["metrics"] else None
    return float("inf") if sharpe is None else -float(sharpe)


def _figures(metrics: Summary) -> list[str]:
    shapes = {"annual_return": ".1%", "sharpe": ".2f", "max_drawdown": ".1%"}
    return [_number(metrics[key], shape) for key, shape in shapes.items()]


def _number(value: float | None, shape: str) -> str:
    return "-" if value is None else format(value, shape)


def parity(config: Config = None, workdir: Workdir = None, as_json: Json = False) -> None:
    """Backtests what was traded.

    The recorded bars of a workdir, and every order compared with the ledger's: none may differ by a bit.
    """

    def work() -> Summary:
        settings = load(config, workdir)
        from qts.pipeline import parity as job

        return job.run(settings)

    if not report(as_json, work)["identical"]:
        raise typer.Exit(EXIT_BAD_INPUT)


def register(app: typer.Typer) -> None:
    """Adds these commands to the program."""
    for command in (backtest, parity):
        app.command()(command)
