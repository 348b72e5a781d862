"""One Spark session for all tests of this folder, as a user's jobs would get it."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from pyspark.sql import SparkSession

from qts.pipeline.session import spark_session


@pytest.fixture(scope="session", autouse=True)  # or a job of a test that names no session starts one of its own kind
def spark() -> Iterator[SparkSession]:
    wanted = SimpleNamespace(master="local[2]", driver_memory="2g", shuffle_partitions=2, conf={})
    session = spark_session(SimpleNamespace(spark=wanted))  # type: ignore[arg-type]
    yield session
    session.stop()
