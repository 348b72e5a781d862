"""A standalone Spark cluster on loopback, of pip's pyspark: a master, a worker, and jobs that are submitted to them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark
from processes import PATIENCE, ROOT, environment, kill, members

from qts.pipeline.jars import ivy_folder

SPARK_HOME = Path(pyspark.__file__).parent
#: Every address is loopback, and nothing of this process's own Spark settings is passed on.
LOOPBACK = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(SPARK_HOME), "SPARK_NO_DAEMONIZE": "1"}
#: A process that lives for seconds should not spend them on optimising its code.
QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
#: Longest wait for a daemon to say that it is there, seconds.
START = PATIENCE


@dataclass(frozen=True)
class Cluster:
    """A master that has a worker.

    Attributes:
        master: its URL.
    """

    master: str

    def submit(self, job: str, *arguments: str, packages: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        """`spark-submit --master URL --packages ... jobs/JOB.py ...`, as README has it.

        Ivy is told where the jars were resolved before, so that a test asks no registry.
        """
        options = ["--master", self.master, "--driver-memory", "1g", "--driver-java-options", QUICK_START]
        options += ["--conf", f"spark.jars.ivy={ivy_folder()}"]
        named = ["--packages", ",".join(packages)] if packages else []
        return subprocess.run(
            [str(SPARK_HOME / "bin" / "spark-submit"), *options, *named, str(ROOT / "jobs" / f"{job}.py"), *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=_environment() | {"PYSPARK_PYTHON": sys.executable},
            timeout=PATIENCE,
        )


def _environment() -> dict[str, str]:
    return environment() | LOOPBACK


@contextmanager
def running_cluster(folder: Path, cores: int = 2) -> Iterator[Cluster]:
    """A master and one worker that keep their files in a folder; both are gone at the end of the `with`."""
    with _daemon("master.Master", "--port", "0", folder=folder) as said:
        url = _wait_for(said, "Starting Spark master at ")
        worker = ("worker.Worker", "--cores", str(cores), "--memory", "2g", "--work-dir", str(folder / "work"), url)
        with _daemon(*worker, folder=folder) as answered:
            _wait_for(answered, "Successfully registered with master ")
            yield Cluster(url)


@contextmanager
def _daemon(name: str, *arguments: str, folder: Path) -> Iterator[Path]:
    """One of Spark's daemons; yields the file that its log goes to."""
    log = folder / f"{name}.log"
    command = [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--webui-port", "0", *arguments],
            stdout=output,
            stderr=output,
            env=_environment() | _log_of_daemons(folder),
            cwd=folder,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        # Its executors are in its session too.
        for left in members(process.pid):
            kill(left)
        process.wait()


def _log_of_daemons(folder: Path) -> Mapping[str, str]:
    """What pyspark logs by default is errors only; the daemons say that they are ready at level info."""
    file = folder / "log4j2.properties"
    file.write_text(
        "rootLogger.level = info\nrootLogger.appenderRef.out.ref = out\n"
        "appender.out.type = Console\nappender.out.name = out\nappender.out.layout.type = PatternLayout\n"
        "appender.out.layout.pattern = %p %c{1}: %m%n%ex\n"
    )
    return {"SPARK_DAEMON_JAVA_OPTS": f"{QUICK_START} -Dlog4j2.configurationFile={file}"}


def _wait_for(log: Path, words: str) -> str:
    """The rest of the line that has the words."""
    deadline = time.monotonic() + START
    while words not in (said := log.read_text()):
        assert time.monotonic() < deadline, said[-4000:]
        time.sleep(0.1)
    return said.partition(words)[2].split()[0].rstrip(".")
