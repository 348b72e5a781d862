"""Fits the forecasters, registers their versions in MLflow, and writes the forecasts table. See README, "Jobs"."""

from qts.cli import job
from qts.pipeline import forecast

if __name__ == "__main__":
    raise SystemExit(job(forecast.run))
