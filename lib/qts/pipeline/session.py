"""One way to a SparkSession: local[*], a standalone cluster, or the running session of Databricks."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from qts.errors import SetupError
from qts.pipeline import jars, java

if TYPE_CHECKING:
    from qts.settings import Settings

#: What makes Delta and the jobs behave the same everywhere; a user's own `spark.conf` keys come on top.
_COMMON = {
    "spark.sql.session.timeZone": "UTC",
    # A cast that fails is an error of ours: quarantine uses try_cast by name.
    "spark.sql.ansi.enabled": "true",
    # Nanosecond parquet timestamps arrive as the integers they are; Delta keeps microseconds only.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # No limit in bytes, which is what this number says: to keep one, Spark adds up every vector after every row, which
    # is half the time of handing rows to Python. Batches are limited by rows.
    "spark.sql.execution.arrow.maxBytesPerBatch": "2147483647",
    "spark.sql.streaming.stateStore.providerClass": (
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    ),
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
    # One line of a long plan is of no use in a log, and building it costs time in every batch.
    "spark.sql.debug.maxToStringFields": "200",
}

_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}

#: For one machine: the defaults are meant for clusters and make a small table's first write take tens of seconds.
_LOCAL = {
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.adaptive.coalescePartitions.initialPartitionNum": "8",
    # Before a session can be told to be quiet its JVM has already warned of everything that is normal on a laptop.
    "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}",
}


def spark_session(settings: Settings) -> SparkSession:
    """The session to work with; on Databricks the one that runs.

    Raises:
        SetupError: Java is missing or too old, the jars cannot be resolved, or the master cannot be reached.
    """
    running = SparkSession.getActiveSession()
    if running is not None:
        return running
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return SparkSession.builder.getOrCreate()
    # Under spark-submit the JVM is there already, with the jars and the memory that its options said.
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not submitted and (runtime := java.look()).fix:
        raise SetupError(f"Spark cannot start; Java: {runtime.found}. To mend it, {runtime.fix}.")
    # Workers must start the Python that has these packages, not whatever `python3` the PATH finds first.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    wanted = settings.spark
    builder = SparkSession.builder.appName("qts")
    if wanted.master is not None:
        builder = builder.master(wanted.master)
    conf = _COMMON | _DELTA
    if not submitted:
        conf |= _jar_conf() | {"spark.driver.memory": wanted.driver_memory}
    if (wanted.master or "").startswith("local"):
        conf |= _LOCAL
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    conf["spark.sql.shuffle.partitions"] = str(wanted.shuffle_partitions)
    for key, value in (conf | dict(wanted.conf)).items():
        builder = builder.config(key, value)
    try:
        session: SparkSession = builder.getOrCreate()
    except (PySparkException, OSError) as error:
        raise SetupError(
            f"Spark did not start on {wanted.master or 'the given master'}: {str(error).splitlines()[0]}. "
            "`qts doctor` checks Java, jars and ports."
        ) from error
    session.sparkContext.setLogLevel("ERROR")
    if submitted:
        _refuse_without_delta(session)
    return session


def _refuse_without_delta(session: SparkSession) -> None:
    """Spark itself starts without a missing extension, and fails much later at the first table."""
    loader = session.sparkContext._jvm.java.lang.Thread.currentThread().getContextClassLoader()  # type: ignore[union-attr]
    try:
        loader.loadClass(_DELTA["spark.sql.catalog.spark_catalog"])
    except Py4JJavaError as error:
        session.stop()
        raise SetupError(
            f"Delta's jar is not among those that spark-submit was given. Add: --packages {','.join(jars.PACKAGES)}"
        ) from error


def _jar_conf() -> dict[str, str]:
    cached = jars.cached_jars()
    if cached:
        return {"spark.jars": ",".join(str(jar) for jar in cached)}
    return {"spark.jars.packages": ",".join(jars.PACKAGES), "spark.jars.ivy": str(jars.ivy_folder())}
