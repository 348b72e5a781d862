"""Commands that look: tables, one order's story, a file of orders against limits, the README's claims, the machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qts.commands.common import EXIT_BAD_INPUT, Config, Json, Summary, Workdir, load, report
from qts.errors import DataError, MissingInput

if TYPE_CHECKING:
    from rich.console import Console

risk = typer.Typer(help="Risk rules on their own.")


def tables(config: Config = None, workdir: Workdir = None, as_json: Json = False) -> None:
    """Lists tables: rows, version, size."""

    def work() -> Summary:
        settings = load(config, workdir)
        from qts.pipeline import tables as job

        return job.list_tables(settings)

    report(as_json, work, _show_tables)


def maintain(
    retention: Annotated[str, typer.Option("--retention", help="How far back older versions stay readable.")] = "7d",
    config: Config = None,
    workdir: Workdir = None,
    as_json: Json = False,
) -> None:
    """Compacts, clusters and vacuums the tables."""

    def work() -> Summary:
        settings = load(config, workdir)
        from qts.pipeline import tables as job

        return job.maintain(settings, retention=retention)

    report(as_json, work)


def explain(
    order_id: Annotated[str, typer.Argument(help="As in the orders table.")],
    config: Config = None,
    workdir: Workdir = None,
    as_json: Json = False,
) -> None:
    """Tells the story of one order.

    Ticks, bar, signals, context, model versions, propensity, every rule; then the decision is executed again.
    """

    def work() -> Summary:
        settings = load(config, workdir)
        from qts.pipeline import explain as story

        return story.run(settings, order_id)

    report(as_json, work)


def scorecard(config: Config = None, workdir: Workdir = None, as_json: Json = False) -> None:
    """Shows every claim with its evidence.

    Value, interval, data source, command and date, from recorded runs.
    """

    def work() -> Summary:
        settings = load(config, workdir)
        from qts.mlops.scorecard import scorecard as scored

        return scored(settings)

    report(as_json, work, _show_scorecard)


@risk.command()
def check(
    orders: Annotated[Path, typer.Option("--orders", help="csv or parquet, one order a row.")],
    limits: Annotated[Path, typer.Option("--limits", help="A file like conf/risk.yml.")],
    portfolio: Annotated[Path, typer.Option("--portfolio", help='json: {"cash": .., "positions": {}, "prices": {}}.')],
    as_json: Json = False,
) -> None:
    """Judges every order of a file.

    A verdict (accept, cut, deny), the quantity that remains, and reason codes.
    """

    def work() -> Summary:
        from qts.commands.files import read_table
        from qts.conf import read_yaml
        from qts.risk.commands import NAMES, check_files
        from qts.risk.limits import RiskLimits

        return check_files(
            read_table(orders, "csv or parquet with one order a row", NAMES),
            RiskLimits.parse(read_yaml(limits), str(limits)),
            _read_json(portfolio),
        )

    report(as_json, work, _show_verdicts)


def doctor(
    resolve: Annotated[
        bool, typer.Option("--resolve", help="Fetch the Delta and Kafka jars if they are missing.")
    ] = False,
    config: Config = None,
    workdir: Workdir = None,
    as_json: Json = False,
) -> None:
    """Checks this machine.

    Java, jars, ports, write access, space and versions: each with its fix.
    """

    def work() -> Summary:
        from qts import doctor as checks

        settings = load(config, workdir)
        if resolve:
            checks.resolve_jars(settings)
        return checks.examine(settings)

    if not report(as_json, work, _show_doctor)["ok"]:
        raise typer.Exit(EXIT_BAD_INPUT)


def register(app: typer.Typer) -> None:
    """Adds these commands to the program."""
    for command in (tables, maintain, explain, scorecard, doctor):
        app.command()(command)
    app.add_typer(risk, name="risk")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingInput(f"There is no file {path}; expected json.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as json: {error}.") from error
    if not isinstance(data, dict):
        raise DataError(
            f"{path} holds a {type(data).__name__}; expected a json object with cash, positions and prices."
        )
    return data


def _show_tables(console: Console, summary: Summary) -> None:
    from rich.table import Table

    table = Table("layer", "table", "rows", "version", "files", "MB", "written by", box=None, pad_edge=False)
    for column in table.columns[2:6]:
        column.justify = "right"
    for row in summary["tables"]:
        figures = [f"{row[key]:,}" for key in ("rows", "version", "files")] if row["exists"] else ["-", "-", "-"]
        table.add_row(row["layer"], row["name"], *figures, f"{row['bytes'] / 1e6:,.1f}", row["writer"])
    console.print(f"Tables in {summary['workdir']}", soft_wrap=True)
    console.print(table)


def _show_scorecard(console: Console, summary: Summary) -> None:
    from rich.table import Table

    table = Table("met", "claim", "target", "value [range]", "data", "measured", box=None, padding=(0, 2, 1, 0))
    for row in summary["claims"]:
        target = f"{'<=' if row['better'] == 'lower' else '>='} {row['target']:g} {row['unit']}"
        claim = f"{row['claim']}\n{row['command']}"
        if row["value"] is None:
            table.add_row(row["met"], claim, target, "-", "-", "-")
        else:
            low, high = row["interval"]
            value, measured = f"{row['value']:g} [{low:g}, {high:g}]", f"{row['date'][:10]}, {row['cores']} cores"
            table.add_row(row["met"], claim, target, value, row["source"], measured)
    console.print(table)
    console.print(f"{summary['met']} met, {summary['missed']} missed, {summary['not_recorded']} not recorded.")


def _show_verdicts(console: Console, summary: Summary) -> None:
    from rich.table import Table

    table = Table("order", "verdict", "quantity", "codes", box=None, pad_edge=False)
    for row in summary["orders"]:
        table.add_row(str(row["order_id"]), row["verdict"], f"{row['quantity']:,}", ", ".join(row["codes"]))
    console.print(table)


def _show_doctor(console: Console, summary: Summary) -> None:
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    for check in summary["checks"]:
        console.print(f"{check['status']:<5}", style=colours[check["status"]], end="")
        console.print(f"{check['name']}: {check['found']}", soft_wrap=True)
        if check["status"] != "ok":
            console.print(f"     fix: {check['fix']}", soft_wrap=True)
    console.print("All is ready." if summary["ok"] else "QTS cannot run yet: see the lines marked fail.", style="bold")
