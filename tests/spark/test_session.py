"""The one SparkSession factory, and the jars that it starts with."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pyspark
import pytest

from qts.pipeline import jars
from qts.pipeline.session import spark_session
from qts.settings import Settings


def test_the_running_session_is_taken(spark):
    assert spark_session(Settings()) is spark or spark_session(Settings())._jsparkSession.equals(spark._jsparkSession)
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.conf.get("spark.sql.ansi.enabled") == "true"


def test_another_thread_gets_the_same_application(spark):
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(spark_session(Settings()).sparkContext.applicationId))
    thread.start()
    thread.join()
    assert found == [spark.sparkContext.applicationId]


def named_jars() -> list[str]:
    return ["{}_{}-{}.jar".format(*package.split(":")) for package in jars.PACKAGES]


def folder_of(tmp_path: Path, *names: str) -> None:
    (tmp_path / "jars").mkdir(parents=True)
    for name in names:
        (tmp_path / "jars" / name).touch()


def test_jars_are_cached_only_when_all_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("QTS_JARS", str(tmp_path))
    assert jars.cached_jars() == []
    folder_of(tmp_path, named_jars()[0])
    assert jars.cached_jars() == []
    (tmp_path / "jars" / named_jars()[1]).touch()
    assert [jar.name for jar in jars.cached_jars()] == sorted(named_jars())


def test_jars_that_pyspark_brings_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("QTS_JARS", str(tmp_path))
    brought = next((Path(pyspark.__file__).parent / "jars").glob("commons-lang3-*.jar")).name
    folder_of(tmp_path, *named_jars(), f"org.apache.commons_{brought}", "org.apache.kafka_kafka-clients-3.9.2.jar")
    assert [jar.name for jar in jars.cached_jars()] == sorted(
        [*named_jars(), "org.apache.kafka_kafka-clients-3.9.2.jar"]
    )


def test_the_folder_of_jars_is_named_for_their_versions(tmp_path, monkeypatch):
    monkeypatch.delenv("QTS_JARS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert jars.ivy_folder() == tmp_path / "qts" / "jars-4.4.0-4.2.0"


def start_elsewhere(**environment: str) -> subprocess.CompletedProcess[str]:
    """The factory's answer in a fresh process."""
    program = """
        from qts.errors import SetupError
        from qts.pipeline.session import spark_session
        from qts.settings import Settings
        try:
            spark_session(Settings())
        except SetupError as error:
            print(f"SetupError: {error}")
    """
    kept = {key: value for key, value in os.environ.items() if key not in ("JAVA_HOME", "SPARK_HOME")}
    lib = Path(__file__).resolve().parents[2] / "lib"
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**kept, "PYTHONPATH": str(lib), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("java", "told"),
    [
        (None, "Java: there is none; Spark 4.2 needs 17 or newer. To mend it, install it"),
        ("", "has no bin/java. To mend it, set JAVA_HOME to a Java or unset it."),
        ('openjdk version "11.0.2"', "is Java 11; Spark 4.2 needs 17 or newer. To mend it, install it"),
        ("hello", "does not tell its version"),
    ],
    ids=["missing", "empty JAVA_HOME", "too old", "not a Java"],
)
def test_a_java_that_spark_cannot_use_is_told(java, told, tmp_path):
    if java:
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin" / "java"
        program.write_text(f"#!/bin/sh\necho '{java}' >&2\n")
        program.chmod(0o755)
    answer = start_elsewhere(PATH=str(tmp_path)) if java is None else start_elsewhere(JAVA_HOME=str(tmp_path))
    assert answer.stdout.startswith("SetupError: Spark cannot start; "), answer.stderr
    assert told in answer.stdout
    assert answer.stderr == ""


def test_a_java_that_dies_is_told(tmp_path):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "java"
    program.write_text('#!/bin/sh\n[ "$1" = -version ] && echo \'version "17.0.1"\' || exit 1\n')
    program.chmod(0o755)
    answer = start_elsewhere(JAVA_HOME=str(tmp_path))
    assert answer.stdout.startswith("SetupError: Spark did not start on local[*]:"), answer.stderr
    assert "qts doctor" in answer.stdout
