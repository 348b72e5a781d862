"""Files of one vendor: csv, JSON lines or parquet; a file, a folder with its subfolders, or a pattern (`trades_*.csv`).

The stream itself is a list of files, kept by Spark's file source (which file came in which batch is in its checkpoint).
The files of a batch are read inside of it, natively, grouped by what is in them: one schema for a whole folder would
fail on the first file that differs, and a half-written one would stop the good ones behind it.

A record's place is its file's path below the folder and its row: of parquet the row index that Spark knows, of text the
number of the line (the first line of the file is 0, header or not). For that a text file is never split over tasks.

A file is read once, when it is first seen: put new ones in by renaming, not by writing in place.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal

import pyarrow.fs as pafs
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from qts.errors import ConfigError, DataError, MissingInput, UnknownColumn
from qts.market.mapping import Mapping
from qts.pipeline.sources import inspect as look
from qts.pipeline.sources.lines import parse_lines
from qts.pipeline.sources.normalise import (
    CANDIDATE,
    UNREADABLE,
    Expressions,
    Field,
    Raw,
    as_json,
    expressions,
    normalise,
)
from qts.pipeline.sources.stream import Batch, SourceStream

_LISTING = "path STRING, modificationTime TIMESTAMP, length LONG, content BINARY"
_SPECIAL = re.compile(r"([\\\[\]{}*?,^])")
_PATTERN = re.compile(r"[*?\[{]")
#: Paths that Spark hands on as they are, a byte a character.
_PLAIN = re.compile(r"[A-Za-z0-9/:._~=-]+")
_ROW_BITS = (1 << 33) - 1  # monotonically_increasing_id is the row within the task in its lower 33 bits
_WHOLE = str(1 << 40)  # bytes; larger than any file
_LONGEST = (1 << 31) - 1  # characters
_LOOK_AT = 256  # files that are inspected before a query starts
_LINE, _CELL = 20, 6  # bytes that a line of a time, a name and a price has at least, and a cell of a wide file
_PACKED = 10  # how many times as long text is once it is unpacked


@dataclass(frozen=True)
class Files:
    """Where the files are, and how they are read.

    Attributes:
        root: the folder, a local path or a URI.
        pattern: which file names in it, as a Hadoop glob; None for all of a known format.
        format: None to tell by each file's name.
        once: each file is its own lateness domain; else the folder is one, in the order of arrival.
    """

    name: str
    root: str
    pattern: str | None
    format: look.Format | None
    mapping: Mapping
    once: bool
    #: Expressions of files that were read before: most files of a folder look alike.
    _known: dict[tuple[look.Inspected, bool], Expressions] = field(default_factory=dict, compare=False)

    @property
    def domain_prefix(self) -> str | None:
        return f"{self.name}:" if self.once else None

    def batch(self, listing: DataFrame) -> Batch:
        """The records of the files that are listed; an unreadable file is one candidate with that parse error."""
        session = listing.sparkSession
        listed = listing.select("path", "modificationTime", "length").collect()
        listed.sort(key=lambda row: (row.modificationTime, row.path))
        groups: dict[look.Inspected, list[str]] = {}
        parts: list[DataFrame] = []
        about = 0
        for file in listed:
            try:
                found = look.inspect(file.path, self.format_of(file.path), self.mapping)
                self.mapping.check_columns(found.names, file.path.rsplit("/", 1)[-1])
                groups.setdefault(found, []).append(file.path)
                about += _about(found, file, wide=self.mapping.wide)
            except (look.Unreadable, UnknownColumn) as error:
                parts.append(self._unreadable(session, file, str(error)))
        parts += [self._read(session, found, paths) for found, paths in groups.items()]
        candidates = reduce(DataFrame.unionByName, parts) if parts else session.createDataFrame([], CANDIDATE)
        # Text would be parsed again, which takes longer than keeping what was parsed.
        return Batch(candidates, about, again=all(found.schema is not None for found in groups))

    def format_of(self, path: str) -> look.Format:
        """The format of one file."""
        found = self.format or look.format_of(path)
        if found is None:
            raise ConfigError(
                f"The format of {path} cannot be told by its name; say `format: csv`, `json` or `parquet`."
            )
        return found

    def _read(self, session: SparkSession, found: look.Inspected, paths: Sequence[str]) -> DataFrame:
        escaped = [_SPECIAL.sub(r"\\\1", path) for path in paths]
        if found.schema is not None:
            return self._parquet(session, found, found.schema, escaped)
        # One task a file, or a row's number would depend on where a file is cut, and that on the number of cores.
        session.conf.set("spark.sql.files.maxPartitionBytes", _WHOLE)
        session.conf.set("spark.sql.files.openCostInBytes", _WHOLE)
        return normalise(self._text(session, found, escaped), self.mapping, self.name)

    def _parquet(
        self, session: SparkSession, found: look.Inspected, schema: T.StructType, paths: Sequence[str]
    ) -> DataFrame:
        # Set here as well, for a running session (Databricks) was not made by us.
        session.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
        frame = session.read.schema(schema).parquet(*paths)
        key = (found, _plain(paths))
        if key in self._known:
            return self._known[key].over(frame)
        partition = self._partition(paths)
        nanos = dict(found.nanos)
        fields = {
            given.name: Field(F.col(_quoted(given.name)), given.dataType, nanos.get(given.name)) for given in schema
        }
        raw = Raw(
            frame,
            fields,
            partition,
            F.col("_metadata.row_index"),
            self._domain(partition),
            as_json(fields),
            F.col("_metadata.file_modification_time"),
        )
        if self.mapping.wide:
            return normalise(raw, self.mapping, self.name)
        self._known[key] = expressions(raw, self.mapping, self.name)
        return self._known[key].over(frame)

    def _text(self, session: SparkSession, found: look.Inspected, paths: Sequence[str]) -> Raw:
        numbered = session.read.text(list(paths)).select(
            "value",
            F.monotonically_increasing_id().bitwiseAND(F.lit(_ROW_BITS)).alias("_row"),
            self._partition(paths).alias("_file"),
            F.col("_metadata.file_modification_time").alias("_arrived"),
        )
        mark = (F.col("_row") == 0) & F.col("value").startswith("\ufeff")
        line = F.when(mark, F.substring("value", 2, _LONGEST)).otherwise(F.col("value"))
        records = numbered.where(F.trim("value") != "").withColumn("_line", line)
        if found.format == "csv" and self.mapping.header is None:
            records = records.where("_row > 0")
        names = found.names if found.format == "csv" else self.mapping.used_columns
        return parse_lines(
            records,
            "_line",
            "csv" if found.format == "csv" else "json",
            found.names if self.mapping.wide else names,
            self.mapping,
            partition=F.col("_file"),
            offset=F.col("_row"),
            domain=self._domain(F.col("_file")),
            arrived=F.col("_arrived"),
        )

    def _partition(self, paths: Sequence[str]) -> Column:
        """The file's path below the root, worked out row by row: in bytes, and decoded only where it may be encoded."""
        path, start = F.col("_metadata.file_path"), len(_uri(self.root)) + 2
        if _plain(paths):
            return F.substring(path.cast("binary"), start, _LONGEST).cast("string")
        decoded = F.when(path.contains("%"), F.url_decode(F.replace(path, F.lit("+"), F.lit("%2B")))).otherwise(path)
        return F.substring(decoded, start, _LONGEST)

    def _domain(self, partition: Column) -> Column:
        return F.lit(self.name) if self.domain_prefix is None else F.concat(F.lit(self.domain_prefix), partition)

    def _unreadable(self, session: SparkSession, file: Row, reason: str) -> DataFrame:
        inside = file.path[len(_uri(self.root)) + 1 :]
        row = {out.name: None for out in CANDIDATE} | {
            "source": self.name,
            "source_partition": inside,
            "source_offset": -1,  # the file as a whole
            "payload": json.dumps({"file": inside, "error": reason}),
            "parse_errors": [UNREADABLE],
            "flagged": False,
            "lateness_domain": self.name if self.domain_prefix is None else f"{self.domain_prefix}{inside}",
            "arrival": (file.modificationTime, inside, -1),
        }
        return session.createDataFrame([tuple(row[out.name] for out in CANDIDATE)], CANDIDATE)


def open_files(
    spark: SparkSession,
    name: str,
    path: str,
    mapping: Mapping,
    *,
    file_format: Literal["auto", "csv", "json", "parquet"] = "auto",
    once: bool,
    watch: bool = False,
    max_files: int = 64,
) -> SourceStream:
    """A stream over files.

    Args:
        path: a file, a folder (with its subfolders), or a folder and a pattern in the last part.
        once: read what is there; otherwise new files as they come.
        watch: a folder that is still empty is fine.
        max_files: of one batch.

    Raises:
        MissingInput: nothing is there, or nothing but empty files (unless it is watched).
        UnknownColumn: no file has the mapping's columns.
        DataError: no file can be read.
        ConfigError: the mapping is for daily bars, which only replay turns into prints; or the path holds a colon
            beside a character of patterns, which Hadoop cannot read even where it is escaped.
    """
    if mapping.kind == "daily":
        raise ConfigError(f"mapping {mapping.name} is for daily bars; play them with a source of type replay.")
    root, pattern = _split(path)
    if (special := _SPECIAL.search(root)) and ":" in re.sub(r"^[A-Za-z][\w+.-]*:(?=/)", "", root):
        raise ConfigError(
            f"Source {name!r} is {path}, whose folder holds a colon and {special[0]!r}: Hadoop cannot read both in one "
            "path. Rename the folder."
        )
    chosen = None if file_format == "auto" else file_format
    files = Files(name, root, pattern, chosen, mapping, once)
    if not (watch and not once):
        _check(files, path)
    reader = (
        spark.readStream.format("binaryFile")
        .schema(_LISTING)
        .option("maxFilesPerTrigger", max_files)
        .option("recursiveFileLookup", pattern is None)
    )
    glob = pattern if pattern is not None else _known_names() if chosen is None else None
    if glob is not None:
        reader = reader.option("pathGlobFilter", glob)
    listed = reader.load(_SPECIAL.sub(r"\\\1", root))
    prefix = files.domain_prefix
    return SourceStream(name, mapping, listed, files.batch, domain_prefix=prefix, absent=mapping.absent)


def _plain(paths: Sequence[str]) -> bool:
    return all(_PLAIN.fullmatch(given) for given in paths)


def _about(found: look.Inspected, file: Row, *, wide: bool) -> int:
    """Records of a file: a parquet file tells its rows, of a text there is only the size."""
    cells = len(found.names) if wide else 1
    if found.rows is not None:
        return found.rows * cells
    unpacked = int(file.length) * (_PACKED if file.path.endswith(".gz") else 1)
    return unpacked // (_CELL if wide else _LINE)


def _check(files: Files, given: str) -> None:
    """Refuses a source from which not one record can come, before a query starts."""
    seen, empty, faults = 0, 0, list[Exception]()
    for path, size in _present(files):
        seen += 1
        if size == 0:
            empty += 1
            continue
        try:
            found = look.inspect(path, files.format_of(path), files.mapping)
            files.mapping.check_columns(found.names, os.path.basename(path))
            files.mapping.cells(found.names)
            if found.holds_rows:
                return
            empty += 1
        except (look.Unreadable, UnknownColumn) as error:
            faults.append(error if isinstance(error, UnknownColumn) else DataError(_unreadable(path, error)))
        if seen == _LOOK_AT:
            break
    if faults:
        raise next((fault for fault in faults if isinstance(fault, UnknownColumn)), faults[0])
    if empty:
        raise MissingInput(f"{given} holds no rows ({empty} empty file{'s' * (empty > 1)}).")
    expected = f"files of format {files.format}" if files.format else f"files with names in {', '.join(look.SUFFIXES)}"
    raise MissingInput(f"{given} holds no {expected}. Name a file or folder that has some, or say `watch: true`.")


def _unreadable(path: str, error: Exception) -> str:
    return f"{path} cannot be read: {error}. It may be half written or damaged: get it again, or name another."


def _present(files: Files) -> Iterator[tuple[str, int]]:
    """(path, bytes) of the files that the stream would list, in the order of names."""
    filesystem, inside = look.locate(files.root)
    matches = _matcher(files)
    for entry in sorted(
        filesystem.get_file_info(pafs.FileSelector(inside, recursive=True)), key=lambda item: item.path
    ):
        below = os.path.relpath(entry.path, inside)
        hidden = any(part.startswith(("_", ".")) for part in below.split(os.sep))
        flat = files.pattern is None or os.sep not in below
        if entry.is_file and flat and not hidden and matches(entry.base_name):
            yield (
                (entry.path if "://" not in files.root else files.root.partition("://")[0] + "://" + entry.path),
                entry.size,
            )


def _matcher(files: Files) -> Callable[[str], bool]:
    if files.pattern is not None:
        wanted = re.compile(_as_regex(files.pattern))
        return lambda name: wanted.fullmatch(name) is not None
    if files.format is None:
        return lambda name: look.format_of(name) is not None
    return lambda name: True


def _as_regex(glob: str) -> str:
    """A regular expression for a Hadoop glob of one path part: * ? [ab] [^a] {a,b} and escapes by backslash."""
    out, depth, place = "", 0, 0
    plain: MappingABC[str, str] = {"*": ".*", "?": ".", "{": "(?:", "}": ")"}
    while place < len(glob):
        char = glob[place]
        if char == "\\" and place + 1 < len(glob):
            place += 1
            out += re.escape(glob[place])
        elif char == "[" and (end := glob.find("]", place)) > 0:
            out += glob[place : end + 1]
            place = end
        elif char == "," and depth:
            out += "|"
        else:
            depth += (char == "{") - (char == "}")
            out += plain.get(char) or re.escape(char)
        place += 1
    return out


def _known_names() -> str:
    """A Hadoop glob for all names of a known format, in lower or upper case."""
    return "*{" + ",".join(suffix for name in look.SUFFIXES for suffix in (name, name.upper())) + "}"


def _split(path: str) -> tuple[str, str | None]:
    """(folder, pattern of file names or None) of what the user named.

    Raises:
        MissingInput: it does not exist.
    """
    absolute = path if "://" in path else os.path.abspath(path.removeprefix("file:"))
    filesystem, inside = look.locate(absolute)
    folder, _, last = absolute.rstrip("/").rpartition("/")
    kind = filesystem.get_file_info(inside).type
    if kind == pafs.FileType.Directory:
        return absolute.rstrip("/"), None
    if kind == pafs.FileType.File:
        return folder or "/", _SPECIAL.sub(r"\\\1", last)
    if _PATTERN.search(last) and filesystem.get_file_info(look.locate(folder)[1]).type == pafs.FileType.Directory:
        return folder or "/", last
    raise MissingInput(
        f"{path} does not exist. Name a file, a folder, or a folder and a pattern such as 'trades_*.csv'."
    )


def _uri(root: str) -> str:
    """The root as Spark writes it in front of a file's path."""
    return root if "://" in root else "file:" + root.rstrip("/")


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
