"""Commands that run one job each, as jobs/*.py do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qts.commands.common import Config, Json, Once, Summary, Workdir, load, report


def ingest(
    path: Annotated[
        str | None, typer.Option("--path", help="A file or folder to take in, in place of the conf's sources.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option("--mapping", help="Which of its columns is what: a file, or a name in conf/mappings.")
    ] = None,
    once: Once = False,
    config: Config = None,
    workdir: Workdir = None,
    as_json: Json = False,
) -> None:
    """Lands ticks, indices and headlines.

    Good rows go into Delta tables, bad ones into quarantine with every reason.
    """

    def work() -> Summary:
        if (path is None) != (mapping is None):
            raise typer.BadParameter(
                "--path and --mapping belong together: the data, and which of its columns is what."
            )
        settings = load(config, workdir)
        from qts.conf import conf_file
        from qts.pipeline import ingest as job

        file = mapping
        if file is not None and not file.exists():
            packaged = conf_file(f"mappings/{file.name.removesuffix('.yml')}.yml")
            file = packaged if packaged.exists() else file
        return job.run(settings, once=once, path=path, mapping=file)

    report(as_json, work)


def bars(config: Config = None, workdir: Workdir = None, as_json: Json = False) -> None:
    """Builds the bars of history.

    Of all ticks that are there, by native batch aggregation; equal to the streamed ones.
    """

    def work() -> Summary:
        settings = load(config, workdir)
        from qts.pipeline import bars as job

        return job.run(settings, once=True)

    report(as_json, work)


def train(once: Once = False, config: Config = None, workdir: Workdir = None, as_json: Json = False) -> None:
    """Fits the forecasters and registers their versions.

    One MLflow run a model; a version that is no worse than the champion takes its place, any other is the challenger.
    """

    def work() -> Summary:
        settings = load(config, workdir)
        from qts.pipeline import train as job

        return job.run(settings, once=once)

    report(as_json, work)


def trade(once: Once = False, config: Config = None, workdir: Workdir = None, as_json: Json = False) -> None:
    """Builds live bars and trades on them.

    Strategies, policies, risk rules, orders, fills, positions: one query, one decision step.
    """

    def work() -> Summary:
        settings = load(config, workdir)
        from qts.pipeline import trade as job

        return job.run(settings, once=once)

    report(as_json, work)


def monitor(once: Once = False, config: Config = None, workdir: Workdir = None, as_json: Json = False) -> None:
    """Scores forecasts, keeps batch figures.

    Both go to tables and MLflow.
    """

    def work() -> Summary:
        settings = load(config, workdir)
        from qts.pipeline import monitor as job

        return job.run(settings, once=once)

    report(as_json, work)


def register(app: typer.Typer) -> None:
    """Adds these commands to the program."""
    for command in (ingest, bars, train, trade, monitor):
        app.command()(command)
