"""Live bars and the decision step, from the ticks table to the ledger. See README, "Jobs"."""

from qts.cli import job
from qts.pipeline import trade

if __name__ == "__main__":
    raise SystemExit(job(trade.run))
