"""The command line: help, exit codes, one line for bad input, nothing but the result on stdout."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import qts
from qts import __version__, cli
from qts.commands import common, demo
from qts.errors import DataError, MissingInput

COMMANDS = [
    (name,)
    for name in ("demo", "ingest", "bars", "forecast", "train", "trade", "monitor", "tables", "maintain", "explain")
] + [
    ("scorecard",), ("doctor",), ("risk", "check"), ("regime", "fit"), ("sentiment", "score"),
    ("regime", "run"), ("sentiment", "run"),
    *(("control", action) for action in ("halt", "reduce", "flatten", "resume", "status")),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_and_json(command, capsys):
    assert cli.main([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: qts {' '.join(command)}" in shown
    assert "--json" in shown
    assert "--workdir" in shown or command in {("risk", "check"), ("regime", "fit"), ("sentiment", "score")}


def test_version_and_bare_command(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"qts {__version__}\n"
    assert cli.main([]) == 0
    assert "demo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["contrl"], "Did you mean 'control'"),
        (["tables", "--jsn"], "--json"),
        (["tables", "--config", "nope.yml"], "There is no conf file"),
        (["ingest", "--path", "x.csv"], "--path and --mapping belong together"),
        (["control", "halt"], "Missing option '--reason'"),
        (["control", "halt", "--reason", " "], "--reason is empty"),
        (["control", "halt", "--reason", "x", "--instrument", "AAPL"], "There is no instrument 'AAPL'"),
        (["explain"], "Missing argument"),
        (["risk", "check", "--orders", "o.csv", "--limits", "l.yml", "--portfolio", "p.json"], "There is no"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_an_unknown_variable_stops_every_command(monkeypatch, capsys):
    monkeypatch.setenv("QTS_TRAED__SEED", "1")
    assert cli.main(["control", "status"]) == 2
    assert "Did you mean 'QTS_TRADE__SEED'?" in capsys.readouterr().err


def test_exit_codes(capsys):
    def fails(error: BaseException):
        def call() -> None:
            raise error

        return common.guard(call)

    assert common.guard(lambda: None) == 0
    assert common.guard(lambda: 3) == 3
    assert fails(DataError("no rows")) == 2
    assert capsys.readouterr().err == "qts: no rows\n"
    assert fails(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "t/x")) == 2
    told = capsys.readouterr().err
    assert told.startswith("qts: [Errno 28] No space left on device: 't/x'. Free disk space")
    assert told.count("\n") == 1
    assert fails(RuntimeError("o133.save: java.io.IOException: No space left on device\n\tat Raw.write")) == 2
    assert capsys.readouterr().err.startswith("qts: No space left on device. Free disk space")
    assert fails(KeyboardInterrupt()) == 130
    capsys.readouterr()
    assert fails(RuntimeError("boom")) == 1
    out, err = capsys.readouterr()
    logged, told = err.splitlines()
    assert out == ""
    assert "Traceback" in json.loads(logged)["exception"]
    assert told.startswith("qts: RuntimeError: boom. This is a fault of QTS")


def test_a_job_is_called_with_settings_and_prints_json(tmp_path, capsys):
    def run(settings, *, once):
        """Does it.

        And more.
        """
        print("noise")
        os.write(1, b"")
        return {"once": once, "seed": settings.trade.seed, "workdir": settings.workdir}

    (tmp_path / "own.yml").write_text("trade: {seed: 3}")
    assert cli.job(run, ["--config", "own.yml", "--once", "--workdir", "w", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"once": True, "seed": 3, "workdir": str(tmp_path / "w")}
    assert "noise" in err


def test_a_job_that_cannot_run_says_so(capsys):
    def run(settings, *, once):
        raise MissingInput("There is no folder ticks/.")

    assert cli.job(run, []) == 2
    assert capsys.readouterr().err == "qts: There is no folder ticks/.\n"


def test_results_alone_are_on_stdout_even_when_a_child_prints(capfd):
    def work():
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        return {"value": 1}

    common.report(True, work)
    out, err = capfd.readouterr()
    assert json.loads(out) == {"value": 1}
    assert "from a child" in err


def test_json_has_null_for_what_is_not_known(capsys):
    """NaN and Infinity are no JSON: other programs' parsers stop at them."""
    given = {"a": float("nan"), "b": [np.float64("inf"), np.int64(3), np.bool_(True)], "c": np.array([1.5, np.nan])}
    common.report(True, lambda: {**given, "when": datetime(2024, 1, 2, tzinfo=UTC), "where": Path("x"), "none": None})

    def refuse(text):
        raise AssertionError(text)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert found == {
        "a": None,
        "b": [None, 3, True],
        "c": [1.5, None],
        "when": "2024-01-02T00:00:00+00:00",
        "where": "x",
        "none": None,
    }


def test_a_summary_for_people_keeps_brackets_and_nested_keys(capsys):
    common.report(False, lambda: {"a": {"b": 12345}, "c": "[bold]", "rows": [{"x": True}], "none": []})
    out = capsys.readouterr().out
    assert "a.b" in out
    assert "12,345" in out
    assert "[bold]" in out
    assert "rows[0].x" in out


def test_the_demo_tells_what_its_prices_are(capsys):
    counts = {"in": 1010, "accepted": 1000, "quarantined": 7, "duplicates": 3}
    account = {"bar_time": datetime(1999, 12, 31, tzinfo=UTC), "equity": 1e6, "fees": 5.0, "trading_state": "active"}
    account |= {"drawdown": 0.002, "max_drawdown": 0.25}
    summary = {"ticks": counts, "indices": counts, "bars": 9, "forecasts": 8, "decisions": 7, "orders": 6, "denied": 2}
    summary |= {
        "regimes": 8,
        "fills": 4,
        "last_order": "o1",
        "mlflow_runs": 3,
        "seconds": {"ingest": 1.2, "trade": 2.0},
        "workdir": "w",
        "account": account,
        "performance": {},
    }
    summary |= {"provenance": "real daily bars, intraday path simulated", "tracking_uri": "sqlite:///w/mlflow.db"}
    common.report(False, lambda: summary, demo.show)
    out = capsys.readouterr().out
    for shown in (
        "2,020",
        "7 quarantined, 3 duplicates",
        "intraday path simulated",
        "qts tables --workdir w",
        "qts explain o1 --workdir w",
        "3 in all",
    ):
        assert shown in out
    assert "(worst 25.0%)" in " ".join(out.split())  # the console wraps lines


def test_help_imports_nothing_heavy():
    heavy = ("pandas", "pyspark", "mlflow", "pyarrow", "pydantic", "structlog", "numpy")
    found = f"print(*(m for m in {heavy} if m in sys.modules), file=sys.stderr)"
    code = f"import sys, qts.cli; qts.cli.main(['--help']); {found}"
    # Not all of sys.path: MLflow puts the code that a loaded model carries in front of it.
    path = str(Path(qts.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_every_job_file_is_a_job():
    jobs = sorted((Path(__file__).resolve().parents[2] / "jobs").glob("*.py"))
    assert {"ingest", "bars", "forecast", "train", "trade", "monitor", "maintain"} <= {job.stem for job in jobs}
    for file in jobs:
        assert "raise SystemExit(job(" in file.read_text()
