"""A sweep of 2,415 moving-average crosses over 5,031 days of the S&P 500 with fees, beside vectorbt.

The subject is `qts.backtest.sweep`: signals, sizing in whole lots, fills at the next close, costs, an account each. The
peer does the same pairs with vectorbt (all cash in, all out) in the Python of `--peer`, an environment of its own:
`uv venv peer && uv pip install --python peer/bin/python vectorbt "plotly<6"`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from harness import publish, record_of

from qts.backtest.experiment import Terms
from qts.backtest.sweep import returns_of
from qts.execution.costs import Execution
from qts.market.bar import FIELDS, Array, BarPanel
from qts.market.sample import sp500_nasdaq
from qts.portfolio.sizing import Sizing
from qts.risk.limits import RiskLimits

WINDOWS = range(2, 72)  # 70 windows, 2,415 pairs
FEE = 0.001

#: Times itself after a first, smaller run has compiled what it compiles; prints seconds.
PEER = """
import json, sys, time
import numpy as np, vectorbt as vbt
close = np.load(sys.argv[1]); windows = list(range(2, 2 + int(sys.argv[2])))
import pandas as pd
def sweep(windows, price):
    fast, slow = vbt.MA.run_combs(price, window=windows, r=2, short_names=["fast", "slow"])
    portfolio = vbt.Portfolio.from_signals(
        price, fast.ma_crossed_above(slow), fast.ma_crossed_below(slow), fees=float(sys.argv[4]), freq="1D")
    return portfolio.total_return()
series = pd.Series(close, pd.date_range("1999-01-04", periods=len(close)))
sweep(windows[:4], series.iloc[:300])
seconds = []
for _ in range(int(sys.argv[3])):
    began = time.perf_counter(); found = sweep(windows, series); seconds.append(time.perf_counter() - began)
print(json.dumps({"seconds": seconds, "pairs": len(found)}))
"""


def crosses(close: Array, windows: range) -> np.ndarray:
    """1 where the fast mean is above the slow one, for all pairs, shape (T, P, 1)."""
    sums = np.concatenate([[0.0], np.cumsum(close)])
    means = np.full((len(windows), len(close)), np.nan)
    for row, window in enumerate(windows):
        means[row, window - 1 :] = (sums[window:] - sums[:-window]) / window
    pairs = np.array(list(itertools.combinations(range(len(windows)), 2)))
    found = np.empty((len(close), len(pairs), 1), dtype=np.int8)
    for t in range(len(close)):
        found[t, :, 0] = means[pairs[:, 0], t] > means[pairs[:, 1], t]
    return found


def sweep(close: Array, windows: range) -> Array:
    """Total return of each pair, shape (P,)."""
    shape = (len(close), 1)
    values = {field: np.full(shape, np.nan) for field in FIELDS} | {"close": close.reshape(shape)}
    panel = BarPanel(("SP500",), (10_000 + np.arange(len(close), dtype=np.int64)) * 86_400_000_000_000, values)
    execution = Execution(fee_bps=FEE * 1e4, half_spread_bps=0.0, slippage_bps=0.0)
    risk = RiskLimits(min_cash=None, execution=execution, sizing=Sizing(rebalance_band=0.99, weighting="equal"))
    returns = returns_of(crosses(close, windows), panel, Terms(risk=risk))
    total: Array = np.prod(1.0 + returns, axis=0) - 1.0
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--peer", type=Path, required=True, help="a Python that has vectorbt")
    parser.add_argument("--quick", action="store_true", help="a small run that leaves no record")
    parser.add_argument("--json", action="store_true", help="print the records as JSON, one a line")
    given = parser.parse_args()
    sys.argv = [sys.argv[0], "--peer", "PYTHON"]  # the record's command: it names no folder of one machine
    daily = sp500_nasdaq()
    close = daily.close[daily.instrument == "SP500"]
    windows, turns = (range(2, 12), 1) if given.quick else (WINDOWS, 3)
    ratios, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "close.npy"
        np.save(path, close)
        sweep(close[:300], range(2, 6))
        for _ in range(turns):
            command = [str(given.peer), "-W", "ignore", "-c", PEER, str(path), str(len(windows)), "1", str(FEE)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"The peer failed: {done.stderr.strip().splitlines()[-1]}")
            theirs.append(json.loads(done.stdout.splitlines()[-1])["seconds"][0])
            began = time.perf_counter()
            total = sweep(close, windows)
            ours.append(time.perf_counter() - began)
            ratios.append(ours[-1] / theirs[-1])
    details = {
        "qts, s": statistics.median(ours),
        "vectorbt, s": statistics.median(theirs),
        "pairs": float(len(total)),
        "days": float(len(close)),
    }
    publish(record_of("sweep_vectorbt", ratios, source="real", details=details), given)


if __name__ == "__main__":
    main()
