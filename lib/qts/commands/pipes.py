"""Files that can be read once only: /dev/stdin, /dev/fd/N, named pipes."""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qts.errors import MissingInput


@contextmanager
def seekable(path: Path, expected: str) -> Iterator[Path]:
    """The file itself, or a copy of what comes through a pipe, for a reader that looks at the beginning twice.

    Args:
        expected: what the file should hold, for the message.

    Raises:
        MissingInput: there is no such file, or it is a folder or a disk.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        mode = 0
    if stat.S_ISREG(mode):
        yield path
    elif stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        with tempfile.NamedTemporaryFile(suffix=path.suffix) as copy:
            with path.open("rb") as source:
                shutil.copyfileobj(source, copy)
            copy.flush()
            yield Path(copy.name)
    else:
        raise MissingInput(f"There is no file {path}; expected {expected}.")
