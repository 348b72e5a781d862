"""Fits regime models, registers their versions in MLflow, and writes the regimes table. See README, "Jobs"."""

from qts.cli import job
from qts.pipeline import regimes

if __name__ == "__main__":
    raise SystemExit(job(regimes.run))
