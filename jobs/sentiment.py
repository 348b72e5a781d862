"""Scores headlines into the sentiment table. See README, "Jobs"."""

from qts.cli import job
from qts.pipeline import sentiment

if __name__ == "__main__":
    raise SystemExit(job(sentiment.run))
