"""The sentiment job: every headline of an ended ingest batch once, whatever is killed, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from qts.errors import ConfigError
from qts.market.sentiment.lexicon import Lexicon
from qts.pipeline import sentiment
from qts.pipeline.batches import BatchLog
from qts.settings import Sentiment, Settings
from qts.store.ledger import Ledger

pytestmark = pytest.mark.usefixtures("spark")
TEXTS = ["Profit rose to EUR 5 mn from EUR 3 mn.", "The mill lays off 40 people.", "The meeting is on Monday.", ""]


def settings_of(workdir: Path, **changes: Any) -> Settings:
    return Settings(workdir=workdir, sentiment=Sentiment(**{"buckets": 2, **changes}))


def arrive(ledger: Ledger, batch: int, count: int = 8, *, ends: bool = True) -> None:
    rows = [
        {
            "event_time": datetime(2020, 1, 1 + batch, 9, n, tzinfo=UTC),
            "text": TEXTS[n % len(TEXTS)],
            "instrument": ("A", "B", None)[n % 3],
            "provenance": "real",
            "source": "news",
            "source_partition": "0",
            "source_offset": 100 * batch + n,
            "checkpoint_id": "ingest-1",
            "batch_id": batch,
        }
        for n in range(count)
    ]
    ledger.append("headlines", pa.Table.from_pylist(rows))
    if ends:
        end(ledger, batch)


def end(ledger: Ledger, batch: int) -> None:
    row = {"job": "ingest", "checkpoint_id": "ingest-1", "batch_id": batch, "phase": "done", "payload": "{}"}
    ledger.append("batches", pa.Table.from_pylist([{**row, "at": datetime(2020, 1, 1, tzinfo=UTC)}]))


def read(settings: Settings) -> pd.DataFrame:
    rows: pd.DataFrame = Ledger(settings.tables).read("sentiment").to_pandas()
    return rows.drop(columns=["checkpoint_id", "batch_id"]).sort_values("source_offset", ignore_index=True)


def test_headlines_of_ended_batches_are_scored_once(tmp_path) -> None:
    settings = settings_of(tmp_path)
    ledger = Ledger(settings.tables)
    assert sentiment.run(settings)["scored"] == 0
    arrive(ledger, 0)
    arrive(ledger, 1, ends=False)
    first = sentiment.run(settings)
    assert first["scored"] == 8
    assert first["labels"] == {"negative": 2, "neutral": 4, "positive": 2}
    assert sentiment.run(settings)["scored"] == 0
    end(ledger, 1)
    arrive(ledger, 2, 3)
    assert sentiment.run(settings)["scored"] == 11
    rows = read(settings)
    assert rows["source_offset"].tolist() == [*range(8), *range(100, 108), *range(200, 203)]
    expected = Lexicon().score([TEXTS[n % 100 % 4] for n in rows["source_offset"]])
    assert rows["score"].tolist() == expected.score.tolist()
    assert rows["label"].tolist() == expected.label
    assert set(rows["scorer"]) == {Lexicon().name}
    assert rows["instrument"].isna().sum() == 5
    assert set(rows["provenance"]) == {"real"}


def test_texts_that_differ_in_case_space_and_punctuation_alone_are_the_same(tmp_path) -> None:
    settings = settings_of(tmp_path)
    ledger = Ledger(settings.tables)
    texts = ["Profit rose 5%.", " PROFIT  rose 5% ", "Profit rose, 5%", "Profit rose 6%.", "Profit rose 5"]
    rows = [
        {
            "event_time": datetime(2020, 1, 1, 9, n, tzinfo=UTC),
            "text": text,
            "source_offset": n,
            "checkpoint_id": "ingest-1",
            "batch_id": 0,
        }
        for n, text in enumerate(texts)
    ]
    ledger.append("headlines", pa.Table.from_pylist(rows))
    end(ledger, 0)
    assert sentiment.run(settings)["scored"] == 5
    hashes = read(settings)["text_hash"].tolist()
    assert len(set(hashes[:3])) == 1
    assert len(set(hashes)) == 3


class KilledError(Exception):
    """The process ended here."""


@pytest.mark.parametrize("place", ["write", *(pytest.param(p, marks=pytest.mark.slow) for p in ("plan", "done"))])
def test_a_batch_that_was_killed_is_repeated_exactly(place, tmp_path, monkeypatch) -> None:
    settings = settings_of(tmp_path)
    ledger = Ledger(settings.tables)
    owner, name = (sentiment, "_write") if place == "write" else (BatchLog, place)
    original = getattr(owner, name)

    def killed(*arguments: Any) -> None:
        original(*arguments)
        raise KilledError

    for batch in range(2):
        arrive(ledger, 2 * batch)
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, killed)
            with pytest.raises(KilledError):
                sentiment.run(settings)
        arrive(ledger, 2 * batch + 1)  # in between: it belongs to the next batch
        sentiment.run(settings)
        sentiment.run(settings)
    assert read(settings)["source_offset"].tolist() == [100 * batch + n for batch in range(4) for n in range(8)]


def test_an_unknown_scorer_is_refused_before_anything_starts(tmp_path) -> None:
    with pytest.raises(ConfigError, match="There is no scorer"):
        sentiment.run(settings_of(tmp_path, scorer="finbert"))
    assert not (tmp_path / "tables").exists()
