"""The Delta and Kafka jars: resolved once through Spark's own Ivy, then read from a cache folder.

Asking Spark for `spark.jars.packages` at every start costs seconds each time, even when nothing is to be fetched.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

DELTA = "io.delta:delta-spark_4.2_2.13:4.4.0"
KAFKA = "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0"
PACKAGES = (DELTA, KAFKA)


def ivy_folder() -> Path:
    """Where the jars are kept: `QTS_JARS`, or a folder of the user's cache named for the pinned versions."""
    named = os.environ.get("QTS_JARS")
    if named:
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return cache / "qts" / "jars-{}-{}".format(*(package.rsplit(":", 1)[1] for package in PACKAGES))


def cached_jars() -> list[Path]:
    """The jars to hand to Spark, without those that pyspark brings itself; empty when they must be resolved first."""
    folder = ivy_folder() / "jars"
    found = sorted(folder.glob("*.jar"))
    named = {"{}_{}-{}.jar".format(*package.split(":")) for package in PACKAGES}
    if not named <= {jar.name for jar in found}:
        return []
    brought = {_artifact(jar.name) for jar in _pyspark_jars()}
    return [jar for jar in found if jar.name in named or _artifact(jar.name.split("_", 1)[1]) not in brought]


def _pyspark_jars() -> list[Path]:
    import pyspark

    return list((Path(pyspark.__file__).parent / "jars").glob("*.jar"))


def _artifact(jar: str) -> str:
    """`kafka-clients-3.9.2.jar` -> `kafka-clients`."""
    return re.sub(r"-\d[\w.\-]*\.jar$", "", jar)
