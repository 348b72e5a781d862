"""`qts demo`: the whole pipeline with a progress display, and a table of what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qts.commands.common import Config, Json, Summary, Workdir, load, report

if TYPE_CHECKING:
    from rich.console import Console

_TOLD = {
    "ingest": "ticks, indices: checked and landed in Delta",
    "bars": "bars of history",
    "forecast": "forecasters fitted, registered in MLflow, scored bar by bar",
    "regime": "calm, normal or stressed: filtered bar by bar",
    "sentiment": "headlines scored, where a source brings any",
    "trade": "strategies, policies, risk rules, orders, fills",
    "monitor": "forecast errors and batch figures",
}


def demo(
    config: Config = None,
    workdir: Workdir = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the logs of every stage.")] = False,
    as_json: Json = False,
) -> None:
    """Runs the whole pipeline on real data.

    Ticks to orders on packaged daily data in a few minutes, then a summary.
    """

    def work() -> Summary:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        settings = load(config, workdir, **({} if verbose else {"log": {"level": "warning"}}))
        console = Console(stderr=True)
        columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=console, disable=verbose) as progress:
            console.print("Starting Spark ...", style="dim")
            from qts.pipeline import demo as pipeline

            tasks: list[Any] = []

            def on_stage(name: str) -> None:
                if tasks:
                    progress.update(tasks[-1], completed=1)
                tasks.append(progress.add_task(f"{name:<9} {_TOLD[name]}", total=1))

            summary = pipeline.run(settings, on_stage=on_stage)
            progress.update(tasks[-1], completed=1)
        return summary | {"tracking_uri": settings.tracking_uri}

    report(as_json, work, show)


def show(console: Console, summary: Summary) -> None:
    """The summary for people: in, out, seconds, where to look next."""
    from rich.table import Table

    ticks, indices, account = summary["ticks"], summary["indices"], summary["account"]
    table = Table(
        "", "rows", "", title="What went in and what came out", title_justify="left", title_style="bold", box=None
    )
    table.columns[1].justify = "right"
    refused = f"{ticks['quarantined']:,} quarantined, {ticks['duplicates']:,} duplicates"
    table.add_row("in", f"{ticks['in'] + indices['in']:,}", "records read from the sources")
    table.add_row("ticks", f"{ticks['accepted']:,}", f"accepted; {refused}")
    table.add_row("indices", f"{indices['accepted']:,}", "accepted, say VIX")
    table.add_row("bars", f"{summary['bars']:,}", "open, high, low, close, volume, realised variance, ...")
    table.add_row("forecasts", f"{summary['forecasts']:,}", "with 80 and 95% intervals")
    table.add_row("regimes", f"{summary['regimes']:,}", "calm, normal, stressed: probabilities without look-ahead")
    table.add_row("decisions", f"{summary['decisions']:,}", "each with its propensity")
    table.add_row("orders", f"{summary['orders']:,}", f"{summary['denied']:,} of them denied by a risk rule")
    table.add_row("fills", f"{summary['fills']:,}", "at the next tradable price, with fees, half-spread and slippage")
    table.add_row("MLflow runs", f"{summary['mlflow_runs']:,}", "")
    console.print(table)
    if account:
        console.print(
            f"\nAccount after {account['bar_time']:%Y-%m-%d}: equity {account['equity']:,.2f}, "
            f"fees {account['fees']:,.2f}, drawdown {account['drawdown']:.1%} "
            f"(worst {account['max_drawdown']:.1%}), trading {account['trading_state']}."
        )
    if summary["performance"]:
        beside(console, summary["performance"])
    console.print(f"All prices and profits above: {summary['provenance']}. Paper trading; no claim of skill.")
    spent = ", ".join(f"{name} {seconds:.0f}" for name, seconds in summary["seconds"].items())
    console.print(f"\nSeconds: {spent}; {sum(summary['seconds'].values()):.0f} in all.")
    where = f"--workdir {summary['workdir']}"
    console.print("\nWhere to look next:", style="bold")
    for command in (
        f"qts tables {where}",
        *([f"qts explain {summary['last_order']} {where}"] if summary["last_order"] else []),
        f"qts scorecard {where}",
        f"mlflow ui --backend-store-uri {summary['tracking_uri']}",
        "notebooks/tour.ipynb, with any Jupyter",
    ):
        console.print(f"  {command}", soft_wrap=True)


def beside(console: Console, figures: Summary) -> None:
    """The account beside buying and holding, and what the prices are."""
    from rich.table import Table

    table = Table("", "return", "a year", "Sharpe", "worst drawdown", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    shapes = {"total_return": "+.1%", "annual_return": "+.1%", "sharpe": ".2f", "max_drawdown": ".1%"}
    for name, label in (("account", "account"), ("buy_and_hold", "buy and hold")):
        own = figures[name]
        table.add_row(label, *("-" if own[key] is None else format(own[key], shape) for key, shape in shapes.items()))
    console.print(table)
    source = "simulated path" if figures["provenance"] == "simulated_path" else "replayed"
    console.print(
        f"Both net of costs, prices: {source}. "
        f"Buy and hold: the same {figures['instruments']} instruments in equal parts."
    )


def register(app: typer.Typer) -> None:
    """Adds this command to the program."""
    app.command()(demo)
