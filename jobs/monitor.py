"""Scores of matured forecasts and batch figures, to tables and MLflow. See README, "Jobs"."""

from qts.cli import job
from qts.pipeline import monitor

if __name__ == "__main__":
    raise SystemExit(job(monitor.run))
