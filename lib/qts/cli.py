"""The command `qts`, and what the files of jobs/ share with it. Imports nothing heavy, so that `--help` is instant."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from qts import __version__
from qts.commands import backtest, bandit, control, demo, forecasting, inspect, jobs, regime, sentiment, volatility
from qts.commands.common import guard, load, report

app = typer.Typer(
    name="qts",
    help="Trading and pricing that learns while it runs. Begin with `qts demo`. Research software: markets take money.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,  # importing rich for it takes longer than all else
    pretty_exceptions_enable=False,
)
demo.register(app)
jobs.register(app)
forecasting.register(app)
inspect.register(app)
regime.register(app)
backtest.register(app)
sentiment.register(app)
app.add_typer(control.app, name="control")
app.add_typer(bandit.app, name="bandit")
app.add_typer(volatility.app, name="volatility")


@app.callback()
def _top(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        typer.echo(f"qts {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `qts`.

    Args:
        arguments: by default those of the process.

    Returns:
        0 when all went well, 2 for bad input (one line on stderr), 1 for a fault of QTS, 130 after Ctrl-C.
    """
    command = typer.main.get_command(app)
    return guard(lambda: command.main(arguments, prog_name="qts", standalone_mode=False))


def job(run: Callable[..., dict[str, Any]], arguments: Sequence[str] | None = None) -> int:
    """Runs one job the way spark-submit starts it: `jobs/ingest.py --config conf/local.yml --once`.

    Args:
        run: the job, called as `run(settings, once=...)`; what it returns is printed.
        arguments: by default those of the process.

    Returns:
        The exit code, as of `main`.
    """
    parser = argparse.ArgumentParser(description=(run.__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=Path, help="conf file; by default conf/local.yml")
    parser.add_argument("--workdir", type=Path, help="folder for tables and checkpoints")
    parser.add_argument("--once", action="store_true", help="work off what is there, then end")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    given = parser.parse_args(arguments)

    def body() -> None:
        report(given.json, lambda: run(load(given.config, given.workdir), once=given.once))

    return guard(body)


if __name__ == "__main__":
    raise SystemExit(main())
