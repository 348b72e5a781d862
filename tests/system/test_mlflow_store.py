"""MLflow makes its database by many migrations; a process that is killed among them must not leave it half made."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import environment

pytestmark = [pytest.mark.slow, pytest.mark.system]


#: Opens the store in folder argv[1], and dies after the first SQL statement that creates table argv[2].
OPEN = """
import os, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from qts.mlops.tracking import Tracking

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *_):
    if sys.argv[2] and f"CREATE TABLE {sys.argv[2]} " in " ".join(statement.split()):
        os.kill(os.getpid(), 9)

folder = Path(sys.argv[1])
print(Tracking(f"sqlite:///{folder / 'mlflow.db'}", "qts", folder / "artifacts").experiment_id)
"""


def open_store(folder: Path, table: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", OPEN, str(folder), table]
    return subprocess.run(command, check=False, env=environment(), capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("table", ["registered_models", pytest.param("_alembic_tmp_metrics", marks=pytest.mark.slow)])
def test_a_store_that_was_half_made_is_made_anew(tmp_path: Path, table: str) -> None:
    for _ in range(2):
        assert open_store(tmp_path, table).returncode == -signal.SIGKILL
    made = open_store(tmp_path, "")
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == "1"
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", ".mlflow.db.lock"}
