"""A disk that is full or read-only: one line says so, and a restart with room goes on as if nothing had happened."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import Moment, Pipeline, qts
from small_market import conf, make, prepare, settings_of
from undisturbed import Undisturbed, assert_undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.system]


FULL = (
    "ingest: before commit ticks",
    "ingest: after commit ticks",
    "ingest: after done",
    "forecast: after plan",
    "forecast: before append forecasts",
    "trade: after plan",
    "trade: before state",
)


@dataclass(frozen=True)
class Disk:
    """A small file system in memory."""

    folder: Path

    def fill(self) -> None:
        """Takes all the room that is left."""
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for size in (1 << 20, 1 << 12, 1):
                while _written(filler.fileno(), size):
                    pass

    def free(self) -> None:
        (self.folder / "filler").unlink()

    def protect(self, mode: str) -> None:
        """Read-only (ro) or writable (rw); permissions would not stop root."""
        subprocess.run(["mount", "-o", f"remount,{mode}", str(self.folder)], check=True)


def _written(file: int, size: int) -> bool:
    try:
        return os.write(file, bytes(size)) == size
    except OSError:
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "qts-test", str(folder)], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def assert_one_line(stderr: str, *signs: str) -> None:
    """One line for the user among what Spark says, with one of the signs in it."""
    complaint = [line for line in stderr.splitlines() if line.startswith("qts: ")]
    assert len(complaint) == 1, stderr[-4000:]
    assert any(sign in complaint[0] for sign in signs), complaint


@pytest.mark.slow
@pytest.mark.system
def test_a_full_or_read_only_disk_loses_nothing(tmp_path: Path, disk: Disk, undisturbed: Undisturbed) -> None:
    file = prepare(undisturbed.market, tmp_path / "conf", disk.folder / "work")
    disk.fill()
    refused = qts("ingest", "--once", "--config", str(file), cwd=tmp_path)
    disk.free()
    assert refused.returncode == 2, refused.stderr
    assert_one_line(refused.stderr, "No space left")
    for step in FULL:
        with Pipeline(file, hold=step) as pipeline:
            assert pipeline.until(Moment(step, exact=True)), pipeline.stderr[-4000:]
            disk.fill()
            pipeline.go_on()
            code = pipeline.exit_code()
        disk.free()
        assert code == 2, (step, pipeline.stderr[-4000:])
        assert_one_line(pipeline.stderr, "No space left", "disk is full", "disk I/O error")
    disk.protect("ro")
    refused = qts("trade", "--once", "--config", str(file), cwd=tmp_path)
    disk.protect("rw")
    assert refused.returncode == 2, refused.stderr
    assert_one_line(refused.stderr, "Read-only file system")
    with Pipeline(file) as pipeline:
        pipeline.succeed()
    assert_undisturbed(settings_of(file), undisturbed)


@pytest.mark.parametrize("place", ["work", "work/checkpoints", "work/checkpoints/ingest/prints"])
def test_a_file_where_a_folder_should_be(tmp_path: Path, place: str) -> None:
    file = conf(make(tmp_path / "files"), tmp_path)
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("in the way")
    refused = qts("ingest", "--once", "--config", str(file), cwd=tmp_path)
    assert refused.returncode == 2, refused.stderr
    assert_one_line(refused.stderr, "cannot be written")
