"""qts control: every override is kept with who, when and why, and folds into what holds now."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qts import cli
from qts.commands.control import append_control, folded
from qts.errors import ConfigError, DataError
from qts.store.ledger import Ledger
from qts.trading.controls import ACTIONS

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "tables")
    row = {"currency": "USD", "multiplier": 1.0, "inverse": False, "lot_size": 1.0, "tick_size": 0.01}
    row |= {"price_from": "trade", "tradable": True}
    ledger.append("instruments", pa.Table.from_pylist([{"instrument": name, **row} for name in ("AAPL", "IBM")]))
    return ledger


def test_overrides_are_kept_and_folded(ledger):
    append_control(ledger, "halt", "*", "outage", "ann", START)
    append_control(ledger, "resume", "IBM", " checked ", "bob", START + timedelta(seconds=1))
    now = folded(ledger)
    assert (now["state"], now["instruments"], now["flattened"]) == ("halted", {"IBM": "active"}, [])
    assert [(row["action"], row["actor"], row["reason"]) for row in now["history"]] == [
        ("halt", "ann", "outage"),
        ("resume", "bob", "checked"),
    ]


def test_flatten_one_instrument(ledger):
    append_control(ledger, "flatten", "AAPL", "news", "ann", START)
    now = folded(ledger)
    assert (now["state"], now["instruments"], now["flattened"]) == ("active", {"AAPL": "reducing"}, ["AAPL"])


def test_nothing_is_written_for_a_typing_error(ledger):
    with pytest.raises(DataError, match="Did you mean 'AAPL'"):
        append_control(ledger, "halt", "AAPLE", "x", "ann", START)
    with pytest.raises(ConfigError, match="reason is empty"):
        append_control(ledger, "halt", "*", "\t", "ann", START)
    assert folded(ledger)["history"] == []


@given(st.text(min_size=1).filter(lambda text: text.strip() and not any("\ud800" <= c <= "\udfff" for c in text)))
def test_any_reason_is_kept_as_it_is(tmp_path_factory, reason):
    ledger = Ledger(tmp_path_factory.mktemp("control") / "tables")
    append_control(ledger, "halt", "*", reason, "ann", START)
    assert folded(ledger)["history"][0]["reason"] == reason.strip()


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_has_a_command(action, tmp_path, capsys):
    arguments = ["control", action, "--reason", "drill", "--workdir", str(tmp_path / "w"), "--json"]
    assert cli.main(arguments) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["action"], row["scope"], row["reason"]) == (action, "*", "drill")
    assert row["actor"]
    assert datetime.fromisoformat(row["at"]).tzinfo is not None
    assert cli.main(["control", "status", "--workdir", str(tmp_path / "w"), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["state"] == row["state"]
    assert len(status["history"]) == 1


def test_status_for_people(tmp_path, capsys):
    workdir = ["--workdir", str(tmp_path / "w")]
    assert cli.main(["control", "halt", "--reason", "odd [prices]", *workdir]) == 0
    assert cli.main(["control", "status", *workdir]) == 0
    out = capsys.readouterr().out
    assert "Trading is halted." in out
    assert "odd [prices]" in out
