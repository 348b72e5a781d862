"""One error hierarchy. A message says what was given, what was expected and what to do."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable


class QtsError(Exception):
    """Base of every error that QTS raises on purpose; the command line prints it as one line and exits with 2."""

    exit_code = 2


class ConfigError(QtsError):
    """A setting is unknown, missing, of the wrong type or out of range."""


class DataError(QtsError):
    """Input data cannot be used as a whole (single bad rows go to quarantine instead)."""


class MissingInput(DataError):
    """A named file, folder, table or topic does not exist or holds nothing."""


class UnknownColumn(DataError):
    """A mapping or an option names a column that the data does not have."""


class SetupError(QtsError):
    """The machine lacks something: Java, jars, write access, a port."""


class CheckpointInUse(QtsError):
    """Another process runs on the same checkpoint."""


class StoreError(QtsError):
    """A table is missing, has another schema, or cannot be written."""


class QualityGateFailed(QtsError):
    """An expectation suite failed on a batch and its configuration says that the job stops."""


class ModelUnavailable(QtsError):
    """No model version can be loaded for the alias that was asked for."""


class ModelRefused(ModelUnavailable):
    """A model version's file is not the one that was registered."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A hint ` Did you mean 'bid'?` with the nearest of `known`, or an empty string when nothing is near.

    >>> did_you_mean("Bidd", ["ask", "bid", "ts"])
    " Did you mean 'bid'?"
    """
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(given.lower(), list(by_lower), n=1, cutoff=0.6)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


#: What a disk may answer anywhere: it is full, beyond the user's quota, read-only or not ours.
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def disk_refusal(error: BaseException) -> str | None:
    """What the disk said, if it is the disk that refused: to Python, or to Spark, whose errors quote it; else None."""
    if isinstance(error, OSError):
        return str(error) if error.errno in _REFUSALS else None
    text = str(error)
    return next((said for said in map(os.strerror, _REFUSALS) if said in text), None)
