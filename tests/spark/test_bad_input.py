"""The table of what happens to bad input, typed as a user would type it.

Two outcomes only. *Refused*: one line on stderr, nothing on stdout, exit code 2, and no row in any table.
*Quarantined*: exit code 0, the good rows land, each bad one is kept with its reasons, and the sums add up.
A topic that does not exist is in tests/system/test_kafka.py, a full or read-only disk in tests/system/test_disk.py.
"""

from __future__ import annotations

import base64
import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qts import cli
from qts.pipeline.batches import lock
from qts.pipeline.ingest import adhoc_source
from qts.store.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]
MAPPING = "kind: trade\ncolumns: {event_time: ts, instrument: sym, price: px, size: qty}\n"
HEADER = "ts,sym,px,qty\n"
GOOD = "2024-03-01T10:00:00Z,AAA,10.0,5\n2024-03-01T10:00:09Z,AAA,10.1,5\n"
TIME = "2024-03-01T10:00:05Z"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("m.yml").write_text(MAPPING)


def ingest(path: str | Path, *more: str) -> int:
    return cli.main(["ingest", "--path", str(path), "--mapping", "m.yml", "--once", "--json", "--workdir", "w", *more])


def rows(name: str) -> int:
    ledger = Ledger(Path("w/tables").absolute())
    return ledger.read(name, done_only=False).num_rows if ledger.exists(name) else 0


def _nothing() -> str:
    return "none.csv"


def _file(name: str, content: str | bytes = "") -> Callable[[], str]:
    def make() -> str:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return make


def _folder() -> str:
    Path("ticks").mkdir()
    return "ticks"


def _half_parquet() -> str:
    table = pa.table({"ts": [TIME] * 50, "sym": ["AAA"] * 50, "px": [1.0] * 50, "qty": [1.0] * 50})
    pq.write_table(table, "half.parquet")
    whole = Path("half.parquet").read_bytes()
    Path("half.parquet").write_bytes(whole[: len(whole) // 2])
    return "half.parquet"


def _with_mapping(text: str) -> Callable[[], str]:
    def make() -> str:
        Path("m.yml").write_text(text)
        return _file("t.csv", HEADER + GOOD)()

    return make


def _without_mapping() -> str:
    Path("m.yml").unlink()
    return _file("t.csv", HEADER + GOOD)()


def _blocked() -> str:
    Path("w").write_text("a file where the work folder should be")
    return _file("t.csv", HEADER + GOOD)()


REFUSED: dict[str, tuple[Callable[[], str], tuple[str, ...]]] = {
    "a missing file": (_nothing, ("none.csv",)),
    "a folder without files": (_folder, ("ticks",)),
    "an empty file": (_file("t.csv"), ("t.csv",)),
    "a file of a header only": (_file("t.csv", HEADER), ("t.csv", "no rows")),
    "a file of blank lines": (_file("t.csv", "\n\n\n"), ("t.csv",)),
    "a wrong column": (_file("t.csv", "ts,symbol,px,qty\n" + GOOD), ("'sym'", "Did you mean 'symbol'")),
    "a half-written parquet": (_half_parquet, ("half.parquet",)),
    "text that calls itself parquet": (_file("t.parquet", HEADER + GOOD), ("t.parquet",)),
    "a torn gzip": (_file("t.csv.gz", b"\x1f\x8b\x08\x00torn"), ("t.csv.gz",)),
    "a file of an unknown kind": (_file("t.xlsx", b"PK"), ("t.xlsx",)),
    "no mapping": (_without_mapping, ("m.yml",)),
    "a mapping with an unknown key": (_with_mapping(MAPPING + "zone: UTC\n"), ("zone",)),
    "a mapping that is no YAML": (_with_mapping("kind: [trade"), ("m.yml", "YAML")),
    "a work folder that is a file": (_blocked, ("cannot be written",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(spark, capfd, case):
    make, signs = REFUSED[case]
    path = make()
    capfd.readouterr()
    code = ingest(path)
    out, err = capfd.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("qts: ")
    assert all(sign in err for sign in signs), err
    assert not Path("w").is_dir() or (rows("ticks"), rows("quarantine")) == (0, 0)


#: A record beside two good ones, and the reasons that it is kept with.
QUARANTINED: dict[str, tuple[str, set[str]]] = {
    "price NaN": (f"{TIME},AAA,NaN,5", {"price_not_finite"}),
    "price infinite": (f"{TIME},AAA,Infinity,5", {"price_not_finite"}),
    "price minus infinite": (f"{TIME},AAA,-Infinity,5", {"price_not_finite", "price_not_positive"}),
    "price inf": (f"{TIME},AAA,inf,5", {"bad_number", "price_not_finite"}),
    "price beyond a double": (f"{TIME},AAA,1e999,5", {"price_not_finite"}),
    "price missing": (f"{TIME},AAA,,5", {"price_not_finite"}),
    "price negative": (f"{TIME},AAA,-10,5", {"price_not_positive"}),
    "price zero": (f"{TIME},AAA,0,5", {"price_not_positive"}),
    "price a word": (f"{TIME},AAA,ten,5", {"bad_number", "price_not_finite"}),
    "price out of line": (f"{TIME},AAA,99,5", {"price_jump"}),
    "size NaN": (f"{TIME},AAA,10,nan", {"size_not_finite"}),
    "size negative": (f"{TIME},AAA,10,-5", {"size_not_positive"}),
    "time a word": ("yesterday,AAA,10,5", {"bad_time"}),
    "time that no calendar has": ("2024-02-30T10:00:00Z,AAA,10,5", {"bad_time"}),
    "time beyond nanoseconds": ("2999-01-01T00:00:00Z,AAA,10,5", {"bad_time"}),
    "time in the future": ("2199-01-01T00:00:00Z,AAA,10,5", {"implausible_time"}),
    "time long ago": ("1969-01-01T00:00:00Z,AAA,10,5", {"implausible_time"}),
    "time missing": (",AAA,10,5", {"missing_time"}),
    "name of a path": (f"{TIME},../../etc/passwd,10,5", {"unsafe_instrument"}),
    "name of SQL": (f"{TIME},x'; DROP TABLE ticks; --,10,5", {"unsafe_instrument"}),
    "name with a control character": (f"{TIME},A\x07A,10,5", {"unsafe_instrument"}),
    "name too long": (f"{TIME},{'A' * 65},10,5", {"unsafe_instrument"}),
    "name missing": (f"{TIME},,10,5", {"missing_instrument"}),
    "a field too few": (f"{TIME},AAA,10", {"unparseable_record"}),
    "a field too many": (f"{TIME},AAA,10,5,6", {"unparseable_record"}),
    "bytes that are no UTF-8": (f"{TIME},A\udcffA,10,5", {"unparseable_record"}),
}


def test_quarantined_with_its_reasons_and_nothing_lost(spark, capfd):
    first, last = GOOD.splitlines()
    records = [record for record, _ in QUARANTINED.values()]
    text = "\n".join([HEADER.strip(), first, *records, last, ""])
    Path("t.csv").write_bytes(text.encode(errors="surrogateescape"))
    assert ingest("t.csv") == 0
    told = json.loads(capfd.readouterr().out)
    ledger = Ledger(Path("w/tables").absolute())
    kept = {row["source_offset"]: row for row in ledger.read("quarantine").to_pylist()}
    start = ledger.read("ticks").sort_by("source_offset")["source_offset"][0].as_py() + 1
    found = {case: set(kept[start + place]["reasons"]) for place, case in enumerate(QUARANTINED)}
    assert found == {case: reasons for case, (_, reasons) in QUARANTINED.items()}
    payloads = [kept[start + place]["payload"] for place in range(len(records))]
    *texts, no_text = records
    assert all(max(text.split(","), key=len) in payload for text, payload in zip(texts, payloads[:-1], strict=True))
    assert base64.b64decode(payloads[-1].removeprefix("base64:")) == no_text.encode(errors="surrogateescape")
    assert (told["in"], told["accepted"], rows("ticks")) == (len(records) + 2, 2, 2)
    assert (told["quarantined"], told["duplicates"]) == (len(records), 0)
    assert told["reasons"] == Counter(code for _, codes in QUARANTINED.values() for code in codes)


def test_numbers_of_parquet_are_judged_like_those_of_text(spark, capfd):
    """Real NaN, infinity and null in columns of numbers, which no parser has seen."""
    prices = [10.0, math.nan, math.inf, -math.inf, None, -10.0, 0.0, 10.1]
    times = [f"2024-03-01T10:00:0{second}Z" for second in range(len(prices))]
    table = pa.table({"ts": times, "sym": ["AAA"] * 8, "px": pa.array(prices, pa.float64()), "qty": [1.0] * 8})
    pq.write_table(table, "t.parquet")
    assert ingest("t.parquet") == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["in"], told["accepted"], told["quarantined"], told["duplicates"]) == (8, 2, 6, 0)
    assert told["reasons"] == {"price_not_finite": 4, "price_not_positive": 3}


def test_a_broken_file_among_good_ones_is_one_record_of_quarantine(spark, capfd):
    folder = Path(_folder())
    (folder / "good.csv").write_text(HEADER + GOOD)
    (folder / "other.csv").write_text("a,b\n1,2\n")
    Path(_half_parquet()).rename(folder / "half.parquet")
    (folder / "empty.csv").touch()
    assert ingest(folder) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["accepted"] == 2
    assert told["in"] == told["accepted"] + told["quarantined"] + told["duplicates"]
    assert told["reasons"] == {"unreadable_file": told["quarantined"]}
    kept = Ledger(Path("w/tables").absolute()).read("quarantine").to_pylist()
    assert {row["source_partition"] for row in kept} >= {"half.parquet", "other.csv"}


def test_a_second_process_on_the_same_checkpoint_is_refused_in_one_line(capfd):
    path = _file("t.csv", HEADER + GOOD)()
    name = adhoc_source(path, Path("m.yml")).name
    with lock(Path("w/checkpoints/ingest") / name):
        assert ingest(path) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1), err
    assert err.startswith("qts: Another process runs on checkpoint")
    with lock(Path("w/checkpoints/trade")):
        Ledger(Path("w/tables").absolute()).create("ticks")
        assert cli.main(["trade", "--once", "--workdir", "w"]) == 2
    assert "Another process runs on checkpoint" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (None, "Java: there is none; Spark 4.2 needs 17 or newer. To mend it, install it"),
        ('openjdk version "11.0.2" 2019-01-15', "is Java 11; Spark 4.2 needs 17 or newer. To mend it, install it"),
    ],
    ids=["missing", "too old"],
)
def test_java_that_is_missing_or_too_old_is_one_line(tmp_path, version, told):
    path = _file("t.csv", HEADER + GOOD)()
    (tmp_path / "bin").mkdir()
    if version is not None:
        java = tmp_path / "bin" / "java"
        java.write_text(f"#!/bin/sh\necho '{version}' >&2\n")
        java.chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if key not in ("JAVA_HOME", "SPARK_HOME")}
    command = ["-m", "qts.cli", "ingest", "--path", path, "--mapping", "m.yml", "--once", "--workdir", "w"]
    done = subprocess.run(
        [sys.executable, *command],
        env={**kept, "PYTHONPATH": str(ROOT / "lib"), "PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert told in done.stderr
