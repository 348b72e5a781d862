"""What all commands share: options, settings, results on stdout, errors on stderr, exit codes."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qts.errors import QtsError, disk_refusal

if TYPE_CHECKING:
    from rich.console import Console

    from qts.settings import Settings

Summary = dict[str, Any]

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="Conf file; by default conf/local.yml.", show_default=False)
]
Workdir = Annotated[
    Path | None, typer.Option("--workdir", "-w", help="Folder for tables and checkpoints.", show_default=False)
]
Once = Annotated[bool, typer.Option("--once", help="Work off what is there, then end.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]

EXIT_BUG, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


def load(config: Path | None, workdir: Path | None, **overrides: Any) -> Settings:
    """The settings of this run, with logs set up as they say."""
    from qts import logs
    from qts.settings import load_settings

    settings = load_settings(config, **overrides, **({"workdir": workdir} if workdir is not None else {}))
    logs.configure(settings.log)
    return settings


def report(
    as_json: bool, work: Callable[[], Summary], show: Callable[[Console, Summary], None] | None = None
) -> Summary:
    """Runs a command's work and prints its result, alone, on stdout.

    Args:
        as_json: whether to print JSON; else `show` prints for people.
        work: does the work; whatever it or a library prints goes to stderr.
        show: by default one line a key.
    """
    with _stdout_kept_clean():
        summary = work()
    if as_json:
        typer.echo(json.dumps(_without_nan(summary), indent=2, allow_nan=False))
    else:
        from rich.console import Console

        (show or show_summary)(Console(highlight=False, markup=False), summary)
    return summary


def show_summary(console: Console, summary: Mapping[str, Any]) -> None:
    """A table of keys and values; nested keys are joined by dots."""
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in _flat(summary):
        table.add_row(key, value)
    console.print(table)


def guard(call: Callable[[], int | None]) -> int:
    """Runs a program's body and turns its errors into exit codes: one line on stderr for bad input, never a traceback.

    Returns:
        0, or what `call` returns; 2 for bad input or a disk that refuses; 130 after Ctrl-C; 1 for an error of QTS
        itself, which is logged.
    """
    try:
        return call() or 0
    except QtsError as error:
        _say(str(error))
        return error.exit_code
    except typer.TyperException as error:
        _say(error.format_message())
        return EXIT_BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        _say("Stopped.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has left; Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if refusal := disk_refusal(error):
            _say(f"{refusal}. Free disk space or grant write access, then start again; a begun batch is repeated.")
            return EXIT_BAD_INPUT
        from qts import logs
        from qts.sections import Log

        if not logs.is_configured():
            logs.configure(Log())
        logs.logger().exception("unexpected error")
        _say(f"{type(error).__name__}: {error}. This is a fault of QTS; the log above says where. Please report it.")
        return EXIT_BUG


def _say(message: str) -> None:
    typer.echo(f"qts: {message}", err=True)


@contextlib.contextmanager
def _stdout_kept_clean() -> Iterator[None]:
    """Sends all output to stderr meanwhile: print() of libraries, and descriptor 1, which the JVM inherits."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of them is closed, as in some services: nothing to keep clean
        kept = None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        for place, item in enumerate(value):
            yield from _flat(item, f"{path}[{place}]")
    elif isinstance(value, float):
        yield path, f"{value:,.6g}" if abs(value) < 1e5 else f"{value:,.2f}"
    else:
        yield path, f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(_plain(value))


def _without_nan(value: Any) -> Any:
    """The same for JSON, which has neither NaN nor infinity: null stands for what is not known."""
    if isinstance(value, Mapping):
        return {str(key): _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    plain = _plain(value)
    return plain if isinstance(plain, str) else _without_nan(plain)


def _plain(value: Any) -> Any:
    """JSON for numpy's numbers, paths and times."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value if isinstance(value, (int, float)) else str(value)
