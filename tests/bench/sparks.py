"""A Spark session and a throw-away workdir for the benchmarks that need them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from qts.logs import configure
from qts.pipeline.session import spark_session
from qts.settings import Log, Settings


@contextlib.contextmanager
def spark_and_settings(**sections: Any) -> Iterator[tuple[SparkSession, Settings]]:
    """Settings as they come but for the sections given, in a temporary workdir, and a session on all cores."""
    folder = Path(tempfile.mkdtemp(prefix="qts-bench-"))
    configure(Log(level="error"))
    settings = Settings(workdir=folder / "work", **sections)
    spark = spark_session(settings)
    try:
        yield spark, settings
    finally:
        spark.stop()
        shutil.rmtree(folder, ignore_errors=True)


def drain(frame: DataFrame) -> None:
    """Computes all rows and throws them away."""
    frame.write.format("noop").mode("overwrite").save()
