"""Strategies and policies over history, judged together. See README, "Jobs"."""

from qts.cli import job
from qts.commands import backtest

if __name__ == "__main__":
    raise SystemExit(job(backtest.run))
