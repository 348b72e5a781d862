"""Tables that commands are given as files."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qts.commands.dialect import dialect
from qts.commands.pipes import seekable
from qts.errors import DataError, MissingInput, UnknownColumn, did_you_mean

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: Path, expected: str, names: Collection[str] = (), *, as_text: bool = False) -> pd.DataFrame:
    """A csv file in any common dialect (see `dialect`), plain or compressed, or a parquet file.

    Args:
        path: may be a pipe; parquet is told by its first bytes, or by the ending .parquet or .pq.
        expected: what the file should hold, for the message.
        names: columns, in any case, whose cells of a csv are names: 000001 keeps its zeros and NA is a name like any
            other. An empty cell is missing.
        as_text: whether all cells of a csv stay the text that they are, "NA" and "null" too.

    Raises:
        MissingInput: there is no such file.
        DataError: it cannot be read as a table, or has no rows.
    """
    try:
        with seekable(path, expected) as file:
            table = _read_parquet(file) if _is_parquet(file) else _read_csv(file, names, as_text)
    except (ValueError, OSError, EOFError) as error:
        reason = str(error).strip().split("\n")[0]
        hint = " Texts with commas belong in quotes." if as_text else ""
        raise DataError(f"{path} cannot be read as a table: {reason}. Expected csv or parquet.{hint}") from error
    if table.empty:
        raise MissingInput(f"{path} has no rows; expected {expected}.")
    return table


def _is_parquet(path: Path) -> bool:
    if path.suffix.lower() in {".parquet", ".pq"}:
        return True
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    table = pd.read_parquet(path)
    return table.reset_index() if any(name is not None for name in table.index.names) else table


def _read_csv(path: Path, names: Collection[str], as_text: bool) -> pd.DataFrame:
    found = dialect(path)
    for encoding in found.encodings[:-1]:
        try:
            return _decoded(path, names, as_text, {**found.options, "encoding": encoding})
        except UnicodeDecodeError:
            continue
    return _decoded(path, names, as_text, {**found.options, "encoding": found.encodings[-1]})


def _decoded(path: Path, names: Collection[str], as_text: bool, options: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    if as_text:
        options = {key: value for key, value in options.items() if key not in {"thousands", "decimal"}}
        return pd.read_csv(path, dtype=str, keep_default_na=False, **options)
    header = pd.read_csv(path, nrows=0, **options).columns
    named = [column for column in header if str(column).strip().lower() in names]
    # A converter is the one way by which pandas leaves both "NA" and "007" alone in one column and not in others.
    table = pd.read_csv(path, converters=dict.fromkeys(named, str.strip), skipinitialspace=True, **options)
    for column in named:
        table[column] = table[column].where(table[column] != "", None)
    return table.rename(columns=str.strip)


def require_columns(table: pd.DataFrame, names: Iterable[str], source: object) -> None:
    """Refuses a table that lacks a column.

    Raises:
        UnknownColumn: names the first missing column, the nearest one that is there, and some of the others.
    """
    known = [str(column) for column in table.columns]
    for name in names:
        if name not in known:
            shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
            raise UnknownColumn(f"{source} has no column {name!r}; it has {shown}.{did_you_mean(name, known)}")


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a csv file, or parquet by the ending .parquet or .pq.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, index=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be written: {error}. Name a file in a folder that exists.") from error
