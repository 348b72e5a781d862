"""`qts ... --input <(command)` and `command | qts ... --input /dev/stdin`: what comes once is read like a file."""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qts.cli import main


@pytest.fixture
def piped() -> Iterator[object]:
    """Gives the path of an anonymous pipe through which some bytes come."""
    ends, writers = [], []

    def give(data: bytes) -> str:
        reading, writing = os.pipe()

        def write() -> None:
            with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as file:
                file.write(data)

        ends.append(reading)
        writers.append(threading.Thread(target=write))
        writers[-1].start()
        return f"/dev/fd/{reading}"

    yield give
    for end in ends:  # first, for a writer whose bytes nobody has read would wait for ever
        os.close(end)
    for writer in writers:
        writer.join()


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


def _parquet(table: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    table.to_parquet(sink, index=False)
    return sink.getvalue()


@pytest.mark.parametrize("written", [_csv, _parquet])
def test_series_come_through_a_pipe(piped, written, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk = np.random.default_rng(0).normal(size=8_000).cumsum()  # more than a pipe holds
    table = pd.DataFrame({"r": walk, "x": 1.0})
    file = tmp_path / "walk.csv"
    file.write_bytes(_csv(table))
    options = ("--column", "x", "--params", str(_params(tmp_path)), "--json")
    assert main(["regime", "fit", "--input", piped(written(table)), *options]) == 0
    through = json.loads(capsys.readouterr().out)
    assert main(["regime", "fit", "--input", str(file), *options]) == 0
    assert through == json.loads(capsys.readouterr().out)
    assert through["observations"] == 8_000


def _params(folder: Path) -> Path:
    file = folder / "params.json"
    file.write_text(json.dumps({"mean": [1.0], "sd": [1.0], "transition": [[1.0]], "start": [1.0], "ar": []}))
    return file


def test_every_file_of_a_risk_check_may_be_a_pipe(piped, capsys: pytest.CaptureFixture[str]) -> None:
    orders = pd.DataFrame({"order_id": ["1"], "instrument": ["007"], "side": ["buy"], "quantity": [10]})
    portfolio = {"cash": 600, "positions": {}, "prices": {"007": 100}}
    code = main(
        [
            *("risk", "check", "--json", "--orders", piped(_csv(orders))),
            *("--limits", piped(b"max_order_size: 7\n"), "--portfolio", piped(json.dumps(portfolio).encode())),
        ]
    )
    assert code == 0
    [row] = json.loads(capsys.readouterr().out)["orders"]
    assert (row["verdict"], row["quantity"], row["codes"]) == ("cut", 6, ["max_order_size", "cash"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be read as a table: No columns to parse"),
        (b"t,y\n", "has no rows"),
        (b"PAR1 and no more", "cannot be read as a table"),
    ],
)
def test_a_pipe_with_nothing_of_use_is_one_line(piped, data, message, capsys: pytest.CaptureFixture[str]) -> None:
    path = piped(data)
    assert main(["forecast", "evaluate", "--input", path, "--horizon", "1"]) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert path in said
    assert message in said


@pytest.mark.parametrize("path", [".", "/no/such/file"])
def test_what_is_no_file_is_one_line(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", "evaluate", "--input", path, "--horizon", "1"]) == 2
    assert "There is no file" in capsys.readouterr().err


def test_texts_come_through_a_pipe(piped, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = pd.DataFrame({"text": ["Profit rose.", "NA", "L\u00e4ngere Verluste; and losses."]})
    out = tmp_path / "scored.csv"
    options = ("--text", "text", "--output", str(out), "--json")
    assert main(["sentiment", "score", "--input", piped(_csv(texts)), *options]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3
    scored = pd.read_csv(out, keep_default_na=False)
    assert scored["text"].tolist() == texts["text"].tolist()
    assert scored["label"].tolist()[:2] == ["positive", "neutral"]
