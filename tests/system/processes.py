"""Pipeline processes that are watched step by step, killed with all their children, and started again."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from pipeline_driver import HELD, MARK

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("ingest", "bars", "forecast", "regime", "sentiment", "trade", "monitor")
#: Longest time that a test waits for a step, seconds; only a process that hangs takes so long.
PATIENCE = 900.0


@dataclass(frozen=True)
class Moment:
    """When to kill: so many seconds after a step has come for the nth time, or when its stage ends before that.

    Attributes:
        step: as the driver tells it, say "trade: after plan".
        exact: whether the process is to wait at the step, so that nothing after it has happened.
    """

    step: str
    nth: int = 1
    delay: float = 0.0
    exact: bool = False

    @property
    def stage(self) -> str:
        return self.step.partition(":")[0]

    def __str__(self) -> str:
        return f"{self.step} #{self.nth}" + ("" if self.exact else f" + {self.delay:.2f} s")


class Pipeline:
    """One process of the driver, in a session of its own; at the end of the `with` nothing of it is left.

    Args:
        conf: the conf file; its folder is the working directory.
        stages: to be run.
        hold: step to wait at, the nth time.
        files: files of the ticks table in one batch.
    """

    def __init__(
        self, conf: Path, stages: tuple[str, ...] = STAGES, hold: str = "", nth: int = 1, files: int = 3
    ) -> None:
        self.steps: list[tuple[float, str]] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._errors = conf.with_suffix(".stderr")
        driver = [sys.executable, str(Path(__file__).with_name("pipeline_driver.py")), str(conf)]
        options = ["--stages", ",".join(stages), "--hold", hold, "--nth", str(nth), "--files", str(files)]
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [*driver, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=conf.parent,
                env=environment(),
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def stderr(self) -> str:
        return self._errors.read_text()

    @property
    def complaint(self) -> list[str]:
        """What it told the user: its lines on stderr that are neither logs nor Spark's."""
        return [line for line in self.stderr.splitlines() if line.startswith("qts: ")]

    def _read(self, output: IO[str]) -> None:
        for line in output:
            if line.startswith(MARK):
                self.steps.append((time.monotonic(), line.removeprefix(MARK).strip()))
                self._lines.put(self.steps[-1][1])
        self._lines.put(None)

    def until(self, moment: Moment) -> bool:
        """Waits for the moment.

        Returns:
            Whether it came; false when the stage or the process ended before.
        """
        left = moment.nth
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            left -= line == moment.step
            if left == 0 and moment.exact:
                assert self._lines.get(timeout=PATIENCE) == HELD
                return True
            if left == 0:
                time.sleep(moment.delay)
                return True
            if line == f"{moment.stage}: ends":
                return False
        return False

    def go_on(self) -> None:
        """Ends the wait at the held step."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def exit_code(self) -> int:
        """Waits for the process to end by itself."""
        return self._process.wait(timeout=PATIENCE)

    def succeed(self) -> None:
        """Waits for the end of the process, which has to be a good one."""
        code = self.exit_code()
        assert code == 0, self.stderr[-4000:]

    def kill(self) -> None:
        """SIGKILL to the process group, and to what is left of the session: PySpark's workers are a group apart."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + PATIENCE
        while left := members(self._process.pid):
            for process in left:
                kill(process)
            assert time.monotonic() < deadline, f"processes {left} outlive SIGKILL"
            time.sleep(0.05)
        self._reader.join(PATIENCE)  # nobody holds the other end any more
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def kill(process: int) -> None:
    """SIGKILL to one process, which may be gone already."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def members(session: int) -> list[int]:
    """Processes of a session that are alive."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(") ")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(status.parent.name))
    return found


def environment() -> dict[str, str]:
    """This process's, without settings of its own, and with the package on the path."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("QTS_") or key == "QTS_JARS"}
    return kept | {"PYTHONPATH": str(ROOT / "lib"), "PYTHONUNBUFFERED": "1"}


def qts(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A `qts` command as a user would type it."""
    command = [sys.executable, "-m", "qts.cli", *arguments]
    return subprocess.run(
        command, check=False, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=PATIENCE
    )
