"""Ticks from the configured sources into the ticks and quarantine tables. See README, "Jobs"."""

from qts.cli import job
from qts.pipeline import ingest

if __name__ == "__main__":
    raise SystemExit(job(ingest.run))
