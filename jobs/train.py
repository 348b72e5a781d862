"""Fits the forecasters and registers their versions in MLflow. See README, "Jobs"."""

from qts.cli import job
from qts.pipeline import train

if __name__ == "__main__":
    raise SystemExit(job(train.run))
