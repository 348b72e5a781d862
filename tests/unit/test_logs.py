"""Logs: JSON lines or a console, with the fields that were bound, and a level."""

from __future__ import annotations

import io
import json
import logging

from qts import logs
from qts.sections import Log


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_bound_fields_and_tracebacks(capsys):
    stream = io.StringIO()
    logs.configure(Log(), stream=stream)
    log = logs.logger(job="ingest").bind(batch=3)
    log.info("landed", rows=7)
    log.debug("not shown")
    try:
        raise ValueError("odd")
    except ValueError:
        log.exception("failed")
    landed, failed = lines(stream)
    assert {key: landed[key] for key in ("event", "job", "batch", "rows", "level")} == {
        "event": "landed", "job": "ingest", "batch": 3, "rows": 7, "level": "info",
    }  # fmt: skip
    assert "ValueError: odd" in str(failed["exception"])
    assert capsys.readouterr() == ("", "")


def test_libraries_log_the_same_way_and_once():
    stream = io.StringIO()
    logs.configure(Log(), stream=io.StringIO())
    logs.configure(Log(), stream=stream)
    logging.getLogger("some.library").warning("careful: %d", 5)
    logging.getLogger("mlflow").info("chatter")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("careful: 5", "warning", "some.library")


def test_the_level_and_the_console():
    stream = io.StringIO()
    logs.configure(Log(level="error", format="console"), stream=stream)
    logs.logger().warning("not shown")
    logs.logger(job="trade").error("halted", reason="drawdown")
    shown = stream.getvalue()
    assert "not shown" not in shown
    assert "halted" in shown
    assert "job=trade" in shown
    assert "\x1b" not in shown
