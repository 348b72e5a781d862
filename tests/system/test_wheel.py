"""The wheel, as a user gets it: built, installed into an environment of its own, and used far from the checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from processes import ROOT, environment

pytestmark = [pytest.mark.slow, pytest.mark.system]

QUOTES = """\
ts,instrument,bid,ask
2024-03-01T10:00:00Z,EURUSD,1.0810,1.0811
2024-03-01T10:00:01Z,EURUSD,1.0811,1.0812
2024-03-01T10:00:02Z,EURUSD,1.0813,1.0812
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the files that git would hand out, so that nothing which only lies about here gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.splitlines():
        copy = folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(folder / "dist"),
        str(folder / "source"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = (folder / "dist").glob("qts-*.whl")
    return built


@pytest.fixture(scope="module")
def binaries(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; the packages that it depends on are borrowed from this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # .pth files of a folder that is named in one are not read: the editable install of the checkout stays out.
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin"


def run(binary: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of the fresh environment, without a path to the checkout."""
    env = {key: value for key, value in environment().items() if key != "PYTHONPATH"}
    return subprocess.run([str(binary), *arguments], check=False, cwd=cwd, env=env, capture_output=True, text=True)


def test_the_wheel_holds_the_package_its_conf_and_the_records(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [path for path in (ROOT / "lib" / "qts").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    package = {path.relative_to(ROOT / "lib").as_posix() for path in files}
    conf = {f"qts/_conf/{path.relative_to(ROOT / 'conf').as_posix()}" for path in (ROOT / "conf").glob("*.yml")}
    records = {f"qts/_results/{path.name}" for path in (ROOT / "tests/bench/results").glob("*.json")}
    assert package | conf | records <= names
    assert not [name for name in names if name.startswith("tests")]


def test_commands_work_outside_the_checkout(binaries: Path, tmp_path: Path) -> None:
    found = run(binaries / "python", tmp_path, "-c", "import qts; print(qts.__file__)").stdout
    assert found.startswith(str(binaries.parent)), found
    shown = run(binaries / "qts", tmp_path, "--help")
    assert shown.returncode == 0
    assert "qts demo" in shown.stdout
    doctor = run(binaries / "qts", tmp_path, "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(doctor.stdout)["checks"]}
    assert (doctor.returncode, checks["packages"]["status"]) == (0, "ok"), doctor.stdout
    card = run(binaries / "qts", tmp_path, "scorecard", "--json")
    assert card.returncode == 0, card.stderr
    recorded = [claim for claim in json.loads(card.stdout)["claims"] if claim.get("value") is not None]
    assert recorded


def test_a_job_with_a_packaged_mapping_works_outside_the_checkout(binaries: Path, tmp_path: Path) -> None:
    (tmp_path / "quotes.csv").write_text(QUOTES)
    done = run(
        binaries / "qts", tmp_path, "ingest", "--path", "quotes.csv", "--mapping", "fx_quotes", "--once", "--json"
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    assert (told["in"], told["accepted"], told["reasons"]) == (3, 2, {"quote_crossed": 1})
    assert told["table"] == str(tmp_path / "work" / "tables" / "ticks")
