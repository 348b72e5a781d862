"""The pipeline as one process that tells on stdout what it does, and waits where a test asks it to.

    python pipeline_driver.py CONF [--stages ingest,trade] [--hold "trade: after plan" --nth 2] [--files 3]

Sources and tables are read in small pieces, so that there are several batches. Every step of a batch is told before
and after it is done, as `@@ trade: after plan`; at the step of `--hold` the process waits for a line on stdin.
"""

from __future__ import annotations

import argparse
import functools
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARK = "@@ "
HELD = "held"
ROWS = 300  # of one batch of a replay

_told = threading.Lock()


class Teller:
    """Says each step, and waits at one of them.

    Args:
        hold: the step, say "trade: after plan"; none where empty.
        nth: how many times it has to come.
    """

    def __init__(self, hold: str, nth: int) -> None:
        self.hold = hold
        self.left = nth
        self.stage = "start"

    def __call__(self, step: str) -> None:
        line = f"{self.stage}: {step}"
        with _told:
            print(f"{MARK}{line}", flush=True)
            if line == self.hold:
                self.left -= 1
                if self.left == 0:
                    print(f"{MARK}{HELD}", flush=True)
                    sys.stdin.readline()

    def watch(self, owner: Any, name: str, label: Callable[..., str]) -> None:
        """Tells before and after each call of a method; `label` gives the step's name from its arguments."""
        plain = getattr(owner, name)

        @functools.wraps(plain)
        def told(*args: Any, **kwargs: Any) -> Any:
            step = label(*args, **kwargs)
            self(f"before {step}")
            result = plain(*args, **kwargs)
            self(f"after {step}")
            return result

        setattr(owner, name, told)


def _watch_all(tell: Teller) -> None:
    from pyspark.sql.readwriter import DataFrameWriter

    from qts.mlops.registry import Registry
    from qts.pipeline.batches import BatchLog
    from qts.store.ledger import Ledger

    tell.watch(BatchLog, "plan", lambda *_: "plan")
    tell.watch(BatchLog, "save_state", lambda *_: "state")
    tell.watch(BatchLog, "done", lambda *_: "done")
    tell.watch(Ledger, "append", lambda _, name, *__, **___: f"append {name}")
    tell.watch(Ledger, "commit", lambda _, name, *__, **___: f"commit {name}")
    tell.watch(DataFrameWriter, "save", lambda _, path, *__: f"write {Path(path).name}")
    tell.watch(Registry, "register", lambda *_: "register")
    tell.watch(Registry, "set_alias", lambda *_: "alias")


def _in_small_pieces(files: int) -> None:
    from pyspark.sql.streaming.readwriter import DataStreamReader

    from qts.pipeline import ingest

    plain = DataStreamReader.format

    def limited(self: DataStreamReader, source: str) -> DataStreamReader:
        reader = plain(self, source)
        return reader.option("maxFilesPerTrigger", files) if source == "delta" else reader

    DataStreamReader.format = limited  # type: ignore[method-assign]
    ingest.open_stream = functools.partial(ingest.open_stream, max_rows=ROWS)  # type: ignore[assignment]


def main() -> int:
    """Runs the stages; the exit code is that of `qts`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("conf", type=Path)
    parser.add_argument("--stages", default="ingest,bars,forecast,regime,sentiment,trade,monitor")
    parser.add_argument("--hold", default="")
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--files", type=int, default=3, help="files of the ticks table in one batch")
    given = parser.parse_args()
    from qts.commands.common import guard, load
    from qts.pipeline.demo import STAGES

    tell = Teller(given.hold, given.nth)
    _watch_all(tell)
    _in_small_pieces(given.files)

    def work() -> None:
        settings = load(given.conf, None)
        for name in given.stages.split(","):
            tell.stage = name
            tell("begins")
            STAGES[name](settings, once=True)
            tell("ends")

    return guard(work)


if __name__ == "__main__":
    sys.exit(main())
