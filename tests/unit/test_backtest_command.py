"""`qts backtest` from a file to its JSON, tables, runs and report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qts.backtest.scenario import WINDOWS
from qts.cli import main
from qts.pipeline.models import tracking_of
from qts.settings import Settings
from qts.store.ledger import Ledger


def prices(bars: int = 130, instruments: int = 3, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    closes = 50 * np.exp(np.cumsum(rng.normal(0.0003, 0.01, (bars, instruments)), axis=0))
    dates = pd.bdate_range("2020-01-01", periods=bars)
    return pd.DataFrame(closes, columns=list("CAB")[:instruments]).assign(Date=dates.strftime("%Y-%m-%d"))


def run(folder: Path, capsys: pytest.CaptureFixture[str], *more: str, table: pd.DataFrame | None = None) -> Any:
    path = folder / "bars.csv.gz"
    (prices() if table is None else table).to_csv(path, index=False)
    code = main(["backtest", "--bars", str(path), "--workdir", str(folder / "work"), "--json", *more])
    captured = capsys.readouterr()
    return json.loads(captured.out) if code == 0 else (code, captured.err)


def test_a_study_from_file_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ("--strategies", "Flat,BuyAndHold,ewma_cross", "--policy", "linucb", "--scenarios", "gap")
    chosen += ("--compare", "BuyAndHold,ewma_cross")
    found = run(tmp_path, capsys, *chosen)
    rows = {row["strategy"]: row for row in found["experiments"]}
    assert list(rows) == ["Flat", "BuyAndHold", "ewma_cross", "linucb"]
    assert found["trials"] == 4
    days = prices()["Date"]
    assert found["from_to"] == [days.iloc[0], days.iloc[-1]]
    assert 0 <= found["spa_p"] <= 1
    assert rows["Flat"]["metrics"]["total_return"] == 0
    assert rows["Flat"]["t"] is None
    assert rows["BuyAndHold"]["metrics"]["beta"] == pytest.approx(1, abs=0.15)
    wanted = {"total_return", "annual_return", "volatility", "sharpe", "sortino", "max_drawdown", "win_rate", "trades"}
    for row in rows.values():
        assert wanted <= row["metrics"].keys()
        assert {"t", "p", "deflated_sharpe"} <= row.keys()
    assert found["scenarios"]["gap"]["benchmark"]["max_drawdown"] < -0.09

    assert "ewma_cross" in found["comparison"]["verdict"]

    kept = Ledger(tmp_path / "work" / "tables").read("experiments").to_pandas()
    assert len(kept) == 8
    assert set(kept["scenario"]) == {"history", "gap"}
    page = Path(found["report"]).read_text()
    assert "<svg" in page
    assert ">2020-01-02<" in page  # the first bar's end, at the axis
    assert not re.search(r"(src|href)=|@import|url\(", page)

    # The same again is no new trial, and no new row; another strategy is one.
    again = run(tmp_path, capsys, *chosen)
    assert again["trials"] == 4
    assert [row["metrics"] for row in again["experiments"]] == [row["metrics"] for row in found["experiments"]]
    assert len(Ledger(tmp_path / "work" / "tables").read("experiments")) == 8
    more = run(tmp_path, capsys, "--strategies", "Macd,BuyAndHold")
    assert more["trials"] == 5
    assert len(Ledger(tmp_path / "work" / "tables").read("experiments")) == 10


def test_a_study_that_is_killed_as_it_is_written_is_whole_after_the_next_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ("--strategies", "Flat,BuyAndHold", "--scenarios", "gap")
    append = Ledger.append

    def killed(self: Ledger, name: str, *rows: Any, **options: Any) -> bool:
        append(self, name, *rows, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "append", killed)
        code, _ = run(tmp_path, capsys, *chosen)
    assert code == 130
    run(tmp_path, capsys, *chosen)
    kept = Ledger(tmp_path / "work" / "tables").read("experiments").to_pandas()
    assert sorted(zip(kept["scenario"], kept["strategy"], strict=True)) == [
        (scenario, strategy) for scenario in ("gap", "history") for strategy in ("BuyAndHold", "Flat")
    ]


def test_walk_forward_measures_what_came_after(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(tmp_path, capsys, "--strategies", "SmaCross,Flat", "--walk-forward")
    first = found["walk_forward"][0]
    assert first["train_first"] == 0
    assert first["train_stop"] < first["test_first"]
    assert found["bars"] == 130 - first["test_first"]
    assert found["trials"] == 4
    assert "Walk-forward over" in found["experiments"][0]["notes"][0]


def test_instruments_days_and_a_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = tmp_path / "conf.yml"
    grid.write_text("backtest: {grid: {SmaCross: {fast: [2, 5], slow: [10, 20]}}}")
    days = ("--start", "2020-03-02", "--end", "2020-05-29", "--instruments", "A,B")
    found = run(tmp_path, capsys, "--strategies", "SmaCross", "--config", str(grid), *days)
    assert found["from_to"] == ["2020-03-02", "2020-05-29"]
    assert found["instruments"] == ["A", "B"]
    assert found["trials"] == len(found["experiments"]) == 5
    assert found["experiments"][1]["strategy"].startswith("SmaCross(fast=2, slow=10")


def test_parts_of_a_file_are_studies_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its own trials, report and run in MLflow; the same instruments again add to their trials."""
    parts = (("--instruments", "A"), ("--instruments", "B"), ("--end", "2020-04-30"), ())
    found = [run(tmp_path, capsys, "--strategies", "Flat,BuyAndHold", *part) for part in parts]
    assert [each["trials"] for each in found] == [2, 2, 2, 4]
    assert len({each["report"] for each in found}) == len({each["mlflow_run"] for each in found}) == len(parts)


def test_a_studys_run_says_what_came_of_it_and_holds_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(tmp_path, capsys, "--strategies", "Flat,BuyAndHold")
    tracking = tracking_of(Settings(workdir=tmp_path / "work"))
    parent = tracking.client.get_run(found["mlflow_run"])
    assert parent.info.artifact_uri.startswith((tmp_path / "work" / "mlartifacts").as_uri())
    report = tracking.client.download_artifacts(found["mlflow_run"], "report.html")
    assert Path(report).read_bytes() == Path(found["report"]).read_bytes()
    told = parent.data.tags["mlflow.note.content"]
    assert told.startswith(found["verdict"])
    assert f"| {found['benchmark']['annual_return']:+.1%} |" in told
    assert [parent.data.params["data_from"], parent.data.params["data_to"]] == found["from_to"]
    children = tracking.client.search_runs(
        [tracking.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
    )
    assert {(child.info.run_name, child.data.tags["qts.job"]) for child in children} == {
        ("Flat", "backtest"),
        ("BuyAndHold", "backtest"),
    }


def test_all_scenarios_are_those_that_the_bars_can_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(tmp_path, capsys, "--strategies", "BuyAndHold", "--scenarios", "all", table=prices(instruments=1))
    assert list(found["scenarios"]) == ["gap", "volatility-doubling", "spread-widening"]
    left_out = [note for note in found["notes"] if "is left out" in note]
    assert [note.split()[1] for note in left_out] == [*WINDOWS, "correlation-one"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--strategies", "SmaCros"), "Did you mean 'SmaCross'?"),
        (("--policy", "linucbb"), "Did you mean 'linucb'?"),
        (("--scenarios", "2009"), "there are dot-com, 2008"),
        (("--compare", "Flat,Flatt"), "Did you mean 'Flat'?"),
        (("--start", "2030-01-01"), "There are 0 bar times"),
        (("--start", "soon"), "backtest.start"),
        (("--instruments", "D"), "There are no bars of 'D'; there are A, B, C"),
        (("--scenarios", "2008"), "where these bars have 0 bar times"),
    ],
)
def test_what_does_not_exist_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    code, error = run(tmp_path, capsys, "--strategies", "Flat", *more)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
