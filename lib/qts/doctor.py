"""What a machine needs before QTS can run: each check says what was found, and how to fix it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from qts.errors import SetupError
from qts.pipeline.java import INSTALL, look, output
from qts.settings import Settings

Status = Literal["ok", "warn", "fail"]

_GIB = 1 << 30
_MLFLOW_UI = 5000


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        status: `fail` when QTS cannot run, `warn` when something may go wrong later.
        fix: what to do about it; empty when all is well.
    """

    name: str
    status: Status
    found: str
    fix: str = ""


def examine(settings: Settings) -> dict[str, Any]:
    """All checks.

    Returns:
        {"ok": whether none failed, "checks": [{"name", "status", "found", "fix"}]}.
    """
    checks = [
        python(),
        *java(),
        jars(),
        *packages(metadata.requires("qts") or []),
        *folders(settings),
        memory(settings.spark.driver_memory),
        loopback(),
        port(_MLFLOW_UI, "mlflow ui"),
    ]
    return {"ok": all(check.status != "fail" for check in checks), "checks": [asdict(check) for check in checks]}


def resolve_jars(settings: Settings) -> None:
    """Fetches the Delta and Kafka jars unless they are there.

    Raises:
        SetupError: Java is missing, or the jars cannot be fetched.
    """
    from qts.pipeline.jars import cached_jars

    if cached_jars():
        return
    if bad := next((check for check in java() if check.status == "fail"), None):
        raise SetupError(f"{bad.name}: {bad.found}. To fix it, {bad.fix}, then run this again.")
    from qts.pipeline.session import spark_session

    spark_session(settings).stop()


def python() -> Check:
    """The Python that runs this, and that Spark's workers will run."""
    found = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info >= (3, 12):
        return Check("python", "warn", found, "3.11 is what is tested: make clean setup")
    return Check("python", "ok", found)


def java() -> Iterator[Check]:
    """Java: found, new enough, and with the module that Spark's vectorised code wants."""
    runtime = look()
    if runtime.fix:
        yield Check("java", "fail", runtime.found, runtime.fix)
        return
    yield Check("java", "ok", runtime.found)
    if "jdk.incubator.vector" not in output(runtime.binary, "--list-modules"):
        fix = "take a full Java runtime, not a cut-down one: " + INSTALL
        yield Check("java modules", "fail", f"{runtime.binary} lacks jdk.incubator.vector, which Spark 4.2 uses", fix)


def jars() -> Check:
    """The Delta and Kafka jars in their cache folder."""
    from qts.pipeline.jars import PACKAGES, cached_jars, ivy_folder

    found = cached_jars()
    if found:
        return Check("jars", "ok", f"{len(found)} in {ivy_folder()}")
    fix = f"qts doctor --resolve (needs the network once); without one, copy {ivy_folder()} from another machine"
    return Check("jars", "warn", f"{', '.join(PACKAGES)} are not in {ivy_folder()}; the first start fetches them", fix)


def packages(required: list[str]) -> Iterator[Check]:
    """Installed packages against the versions that QTS asks for (without extras)."""
    wanted = [Requirement(text) for text in required]
    wrong = []
    for requirement in wanted:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, wanted {requirement.specifier}")
    if wrong:
        yield Check("packages", "fail", "; ".join(wrong), "make setup, or pip install --upgrade qts")
    elif wanted:
        yield Check("packages", "ok", "all as asked for")
    else:
        yield Check("packages", "warn", "qts is not installed, so its versions are unknown", "make setup")


def folders(settings: Settings) -> Iterator[Check]:
    """Write access and space where tables go, and a temporary folder that native libraries can be loaded from."""
    workdir = settings.workdir
    if refusal := _refusal(workdir):
        yield Check(
            "workdir", "fail", f"{workdir} cannot be written: {refusal}", "grant write access or use --workdir DIR"
        )
    else:
        yield Check("workdir", "ok", str(workdir))
        free = shutil.disk_usage(_existing(workdir)).free / _GIB
        fix = "free some, or use --workdir on another disk; a demo takes well under 1 GiB"
        yield (
            Check("disk", "ok", f"{free:.1f} GiB free")
            if free >= 2
            else Check("disk", "warn", f"{free:.1f} GiB free", fix)
        )
    temporary = Path(tempfile.gettempdir())
    noexec = getattr(os, "ST_NOEXEC", 0)
    if refusal := _refusal(temporary):
        yield Check("tmp", "fail", f"{temporary} cannot be written: {refusal}", "set TMPDIR to a folder that can")
    elif noexec and os.statvfs(temporary).f_flag & noexec:
        fix = "set spark.conf {spark.driver.extraJavaOptions: -Djava.io.tmpdir=DIR} to a folder that allows it"
        yield Check("tmp", "fail", f"{temporary} is mounted noexec; RocksDB and zstd load libraries from it", fix)
    else:
        yield Check("tmp", "ok", str(temporary))


def memory(driver: str) -> Check:
    """Memory for the driver's JVM, with room for Python beside it."""
    wanted = int(driver[:-1]) * {"k": 1 << 10, "m": 1 << 20, "g": _GIB}[driver[-1].lower()]
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return Check(
            "memory", "warn", "unknown on this system", f"make sure that {driver} and 2 GiB beside it are free"
        )
    found = f"{total / _GIB:.1f} GiB, of which Spark's driver takes {driver}"
    if total < wanted + _GIB:
        return Check("memory", "warn", found, "lower spark.driver_memory, or use a larger machine")
    return Check("memory", "ok", found)


def loopback() -> Check:
    """Spark binds to loopback and asks for the address of this machine's name."""
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
        socket.gethostbyname(socket.gethostname())
    except socket.gaierror:
        name = socket.gethostname()
        fix = f"add the line `127.0.0.1 {name}` to /etc/hosts, or set SPARK_LOCAL_IP=127.0.0.1"
        return Check("network", "warn", f"the host name {name} has no address", fix)
    except OSError as error:
        return Check("network", "fail", f"cannot listen on 127.0.0.1: {error}", "allow local connections")
    return Check("network", "ok", f"loopback and the host name {socket.gethostname()}")


def port(number: int, user: str) -> Check:
    """Whether a port that a tool of the user wants is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return Check(f"port {number}", "warn", "taken", f"{user} needs another one: {user} --port {number + 1}")
    return Check(f"port {number}", "ok", f"free for {user}")


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def _refusal(folder: Path) -> str:
    """Why nothing can be written into a folder, or into the one it would be made in; empty when it can."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return ""
    except OSError as error:
        return error.strerror or str(error)
