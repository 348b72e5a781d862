"""How a csv file is written: compression, encoding, separator and decimal mark, as read off its first bytes."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HEAD = 65_536  # bytes that are looked at
_OPENERS: dict[bytes, tuple[str, Callable[..., Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bz2", bz2.open),
    b"\xfd7zXZ": ("xz", lzma.open),
}
_SEPARATORS = (",", ";", "\t", "|")
_COMMA_DECIMAL = re.compile(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*")
_POINT_DECIMAL = re.compile(r"\s*[-+]?\d*\.\d+([eE][-+]?\d+)?\s*")
_THOUSANDS = re.compile(r"\s*[-+]?\d{1,3}(,\d{3})+(\.\d+)?\s*")
#: Many a collection of old news is cp1252, the superset of latin-1 that has curly quotes; latin-1 reads any byte.
_ENCODINGS = ("utf-8-sig", "cp1252", "latin-1")


@dataclass(frozen=True)
class Dialect:
    """What pandas has to be told to read a file.

    Attributes:
        encodings: to be tried in this order.
        options: further arguments of `pandas.read_csv`.
    """

    encodings: tuple[str, ...]
    options: dict[str, Any]


def dialect(path: Path) -> Dialect:
    """The dialect of a file.

    A comma is a decimal mark where another separator leaves it free, as in files of a German or French spreadsheet;
    between groups of three digits in quotes it parts thousands.

    Raises:
        ValueError: it is no text at all.
    """
    with path.open("rb") as file:
        magic = file.read(6)
    packed = next((found for begin, found in _OPENERS.items() if magic.startswith(begin)), None)
    if packed is None and path.suffix in {".zip", ".zst", ".tar"}:
        return Dialect(_ENCODINGS, {})  # pandas opens it by its ending
    compression, opener = packed or (None, Path.open)
    with opener(path, "rb") as file:
        head: bytes = file.read(_HEAD)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings: tuple[str, ...] = ("utf-16",)
    elif b"\0" in head:
        raise ValueError("it holds zero bytes, so it is no text")
    else:
        encodings = _ENCODINGS
    options: dict[str, Any] = {"compression": compression}
    lines = head.decode(encodings[0], errors="replace").lstrip().splitlines()
    if lines:
        options["sep"] = max(_SEPARATORS, key=_outside_quotes(lines[0]).count)
        options |= _marks(lines[1:], options["sep"])
    return Dialect(encodings, options)


def _outside_quotes(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line)


def _marks(lines: list[str], separator: str) -> dict[str, str]:
    cells = list(_cells(lines, separator))
    if separator == ",":
        return {"thousands": ","} if any(map(_THOUSANDS.fullmatch, cells)) else {}
    with_comma, with_point = (any(map(form.fullmatch, cells)) for form in (_COMMA_DECIMAL, _POINT_DECIMAL))
    return {"decimal": ","} if with_comma and not with_point else {}


def _cells(lines: list[str], separator: str) -> Iterator[str]:
    try:
        for row in csv.reader(lines, delimiter=separator):
            yield from row
    except csv.Error:  # a quote that is not closed in the part that is looked at: what was seen must do
        return
