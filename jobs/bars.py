"""Bars of history by native batch aggregation, into the bars_history table. See README, "Jobs"."""

from qts.cli import job
from qts.pipeline import bars

if __name__ == "__main__":
    raise SystemExit(job(bars.run))
