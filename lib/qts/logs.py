"""Structured logs on stderr: JSON lines for machines, coloured lines for a terminal. Results alone go to stdout."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor

    from qts.sections import Log

#: Libraries that tell more than a user wants at their info level.
_QUIET = ("alembic", "great_expectations", "mlflow", "py4j", "urllib3")


class _Handler(logging.StreamHandler[TextIO]):
    """Our own, so that a second `configure` finds it again."""


def configure(log: Log, *, stream: TextIO | None = None) -> None:
    """Sets up logs for this process; a second call replaces the first.

    Args:
        log: level, and console or JSON; `auto` takes the console on a terminal.
        stream: where to, by default stderr.
    """
    stream = stream or sys.stderr
    level = logging.getLevelNamesMapping()[log.level.upper()]
    console = log.format == "console" or (log.format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Plain tracebacks on the console: rich ones print local variables, and with them a user's data.
    shown: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *shown],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shown],
        )
    )
    # On the handler, for some libraries set their loggers' levels when they are imported.
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or not record.name.startswith(_QUIET))
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, _Handler)] + [handler]
    root.setLevel(level)


def is_configured() -> bool:
    """Whether `configure` was called in this process."""
    return structlog.is_configured()


def logger(job: str | None = None, **fields: object) -> FilteringBoundLogger:
    """A logger with fields that every line of it carries.

    >>> log = logger("ingest", source="own").bind(batch=3)
    """
    bound: FilteringBoundLogger = structlog.get_logger(**({"job": job} if job else {}), **fields)
    return bound
