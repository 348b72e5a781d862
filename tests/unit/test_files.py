"""A table reads the same however its file is written."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from qts.commands.files import read_table
from qts.errors import DataError, MissingInput

_TABLE = pd.DataFrame(
    {
        "series": ["007", "NA", "caf\u00e9"],
        "timestamp": ["2020-01-31", "2020-02-29", "2020-03-31"],
        "y": [1.5, -2000.25, 3e-7],
        "n": [1, 2, 3],
    }
)
_CSV = _TABLE.to_csv(index=False)
_WRITTEN: dict[str, Callable[[Path], object]] = {
    "commas": lambda path: path.write_text(_CSV, encoding="utf-8"),
    "blanks after commas": lambda path: path.write_text(_CSV.replace(",", ", "), encoding="utf-8"),
    "semicolons": lambda path: _TABLE.to_csv(path, index=False, sep=";"),
    "semicolons, decimal commas": lambda path: _TABLE.to_csv(path, index=False, sep=";", decimal=","),
    "tabs": lambda path: _TABLE.to_csv(path, index=False, sep="\t"),
    "bars": lambda path: _TABLE.to_csv(path, index=False, sep="|"),
    "thousands in quotes": lambda path: path.write_text(_CSV.replace("-2000.25", '"-2,000.25"'), encoding="utf-8"),
    "byte order mark": lambda path: path.write_text(_CSV, encoding="utf-8-sig"),
    "utf-16": lambda path: path.write_text(_CSV, encoding="utf-16"),
    "latin-1": lambda path: path.write_text(_CSV, encoding="latin-1"),
    "latin-1, far down": lambda path: path.write_text(
        _CSV.replace("caf\u00e9", "caf\u00e9" * 30_000), encoding="latin-1"
    ),
    "line ends of Windows": lambda path: path.write_bytes(_CSV.replace("\n", "\r\n").encode()),
    "gzip without the ending": lambda path: path.write_bytes(gzip.compress(_CSV.encode())),
    "bz2": lambda path: path.write_bytes(bz2.compress(_CSV.encode())),
    "xz": lambda path: path.write_bytes(lzma.compress(_CSV.encode())),
    "parquet without the ending": lambda path: _TABLE.to_parquet(path),
    "parquet with an index": lambda path: _TABLE.set_index(["series", "timestamp"]).to_parquet(path),
}


@pytest.mark.parametrize("form", _WRITTEN)
def test_every_common_form_of_a_table(form: str, tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    _WRITTEN[form](path)
    found = read_table(path, "a table", ("series",))
    found["series"] = found["series"].str.slice(0, 4)
    pd.testing.assert_frame_equal(found, _TABLE)


def test_an_upper_case_ending_and_a_zip(tmp_path: Path) -> None:
    _TABLE.to_parquet(tmp_path / "table.PARQUET")
    _TABLE.to_csv(tmp_path / "table.csv.zip", index=False)
    for name in ("table.PARQUET", "table.csv.zip"):
        pd.testing.assert_frame_equal(read_table(tmp_path / name, "a table", ("series",)), _TABLE)


def test_texts_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "news.csv"
    path.write_bytes('headline;n\r\n"Profit \u201cdidn\u2019t\u201d rise;\nit fell";1,5\r\nNA;\r\n'.encode("cp1252"))
    found = read_table(path, "texts", as_text=True)
    assert found["headline"].tolist() == ["Profit \u201cdidn\u2019t\u201d rise;\nit fell", "NA"]
    assert found["n"].tolist() == ["1,5", ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a table: No columns"),
        (b"a,b\n", "has no rows"),
        (b"a,b\n1,2\n1,2,3\n", "Expected 2 fields in line 3, saw 3"),
        (bytes(range(256)) * 4, "it holds zero bytes, so it is no text"),
        (gzip.compress(b"a,b\n1,2\n")[:-9], "cannot be read as a table"),
        (b"PAR1 and no more", "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_told_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises((DataError, MissingInput), match=message) as raised:
        read_table(path, "a table")
    assert "\n" not in str(raised.value)
