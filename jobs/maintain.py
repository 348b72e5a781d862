"""Compacts, clusters and vacuums all tables. See README, "Jobs"."""

from typing import Any

from qts.cli import job
from qts.pipeline import tables
from qts.settings import Settings


def run(settings: Settings, *, once: bool) -> dict[str, Any]:
    """Maintains every table; it always ends, with --once or without."""
    return tables.maintain(settings)


if __name__ == "__main__":
    raise SystemExit(job(run))
